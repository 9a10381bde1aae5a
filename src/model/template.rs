//! Recognises a body that differs from an earlier one in nothing but its values.
//!
//! A batch job pushes the same series again and again. The template of its last body holds the bytes
//! between the values; a new body is compared with them piece by piece and only its values are read.
//! Any difference, and any value that would change what the body means, ends the attempt and leaves
//! the body to the parser, which then says what is wrong or takes it.
//!
//! # Invariants
//!
//! 1. What a template reads of a body is what the parser of that syntax would: the same values, the same
//!    messages kept as they came, everything else as in the body that the template was cut from.
//! 2. A template reads bodies of its own syntax only: bytes that are a text may announce themselves as
//!    protobuf.

mod protobuf;
mod text;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::memory::{held_by, held_bytes};
use super::{Families, Field, MetricType, Number, SampleSpan, Series};

/// What templates can be cut from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// The text exposition format 0.0.4.
    #[default]
    Text,
    /// Delimited `MetricFamily` messages.
    Protobuf,
}

/// A whole body of a syntax that templates read.
#[derive(Clone, Copy, Debug)]
pub struct Body<'b> {
    pub syntax: Syntax,
    pub bytes: &'b [u8],
}

/// Bytes that nobody says more of are text, as in HTTP.
impl<'b> From<&'b [u8]> for Body<'b> {
    fn from(bytes: &'b [u8]) -> Body<'b> {
        Body { syntax: Syntax::Text, bytes }
    }
}

/// What a template reads of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known<'b> {
    /// As the template was told to place them: whole counts as they are, everything else as float64 bits.
    pub values: Box<[u64]>,
    /// Value messages to be kept as they came, in body order, each behind the place of its series' first
    /// value. See [`Detail`](super::Detail).
    pub details: Vec<(u32, &'b [u8])>,
}

/// The places between the constant bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pieces {
    Text(Arc<[text::Piece]>),
    Protobuf(Arc<[protobuf::Piece]>),
}

/// In a piece: the series is not stored.
const NOWHERE: u32 = u32::MAX;

/// What whoever stands between body and store keeps with a template.
pub trait Kept: Any + Send + Sync + Debug {
    /// Memory that it takes.
    fn size_bytes(&self) -> usize;
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Template {
    /// The body without its values.
    constant: Arc<[u8]>,
    pieces: Pieces,
    value_count: usize,
    /// See [`Template::chain`].
    chain: u64,
    kept: Option<Arc<dyn Kept>>,
}

/// What is kept with a template follows from the rest and the shape, so one serves as well as another.
impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.chain == other.chain
            && self.value_count == other.value_count
            && self.kept.is_some() == other.kept.is_some()
            && self.pieces == other.pieces
            && self.constant == other.constant
    }
}

impl Eq for Template {}

/// What of a parsed body a template is cut from, for where the families are gone by then.
#[derive(Debug, Default)]
pub struct Outline {
    syntax: Syntax,
    /// Of text.
    samples: Vec<SampleSpan>,
    /// In the order of [`Families::series`].
    series: Vec<OutlineSeries>,
}

#[derive(Clone, Copy, Debug)]
struct OutlineSeries {
    kind: MetricType,
    parts: u32,
    float_counts: bool,
    /// Whether its value message is kept as it came.
    is_detailed: bool,
}

impl OutlineSeries {
    /// Where the value of `field` lies among those of the series: the parts, then value or sum, then count.
    fn offset(self, field: Field) -> u32 {
        match field {
            Field::Part(at) => at,
            Field::Value => self.parts,
            Field::Count => self.parts + 1,
            Field::Ignored => 0,
        }
    }
}

impl Outline {
    /// Empties it, keeping its allocations.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.series.clear();
    }

    /// Takes the outline of `families`, which were parsed from a body of the syntax that they name.
    pub fn take(&mut self, families: &Families<'_>) {
        self.clear();
        self.syntax = families.syntax;
        self.samples.extend_from_slice(&families.samples);
        let series = |kind, series: &Series| {
            let parts = families.parts_of(series);
            let is_float = |number: Number| matches!(number, Number::Float(_));
            OutlineSeries {
                kind,
                parts: parts.len() as u32,
                float_counts: kind.has_buckets()
                    && (is_float(series.count) || parts.iter().any(|part| is_float(part.value))),
                is_detailed: false,
            }
        };
        let nothing =
            OutlineSeries { kind: MetricType::Untyped, parts: 0, float_counts: false, is_detailed: false };
        self.series.resize(families.series.len(), nothing);
        for family in &families.families {
            for at in family.series.range() {
                self.series[at] = series(family.kind, &families.series[at]);
            }
        }
        for detail in &families.details {
            self.series[detail.series as usize].is_detailed = true;
        }
    }

    /// Type and number of parts of each series, in the order of [`Families::series`].
    pub fn series(&self) -> impl ExactSizeIterator<Item = (MetricType, usize)> {
        self.series.iter().map(|series| (series.kind, series.parts as usize))
    }

    /// Cuts the template of `body`, from which the outline was taken. `first_value` says for a series
    /// where its values begin among the `value_count` values of the push, or `None` if the series is
    /// not stored. See [`Template::chain`] for `chain`.
    ///
    /// Returns `None` for bodies whose meaning hangs on more than that.
    pub fn cut(
        &self,
        body: &[u8],
        value_count: usize,
        chain: u64,
        first_value: impl Fn(u32) -> Option<u32>,
    ) -> Option<Template> {
        // Whether such a count is one at all depends on its value.
        if self.series.iter().any(|series| series.float_counts) {
            return None;
        }
        let (constant, pieces) = match self.syntax {
            Syntax::Text => {
                let (constant, pieces) = text::cut(body, &self.samples, &self.series, first_value)?;
                (constant, Pieces::Text(pieces.into()))
            }
            Syntax::Protobuf => {
                let (constant, pieces) = protobuf::cut(body, &self.series, first_value)?;
                (constant, Pieces::Protobuf(pieces.into()))
            }
        };
        Some(Template { constant: constant.into(), pieces, value_count, chain, kept: None })
    }
}

impl Template {
    /// Cuts the template of `body`, which was parsed to `families` and is stored as it is. See
    /// [`Outline::cut`].
    pub fn cut(
        body: &[u8],
        families: &Families<'_>,
        value_count: usize,
        first_value: impl Fn(u32) -> Option<u32>,
    ) -> Option<Template> {
        let mut outline = Outline::default();
        outline.take(families);
        outline.cut(body, value_count, 0, first_value)
    }

    /// What lies between the body and what is stored: zero for nothing, else the number of the plugins
    /// that made one of the other. A template speaks for pushes on the same way only. `None` if its
    /// values are those of the body as it was received, for somebody who keeps something with it.
    pub fn chain(&self) -> Option<u64> {
        self.kept.is_none().then_some(self.chain)
    }

    /// The template with something kept beside it. Its values are then not what is stored.
    #[must_use]
    pub fn keeping(mut self, kept: Arc<dyn Kept>) -> Template {
        self.kept = Some(kept);
        self
    }

    /// What is kept with it.
    pub fn kept(&self) -> Option<&Arc<dyn Kept>> {
        self.kept.as_ref()
    }

    /// Memory that it takes.
    pub fn size_bytes(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.size_bytes());
        let pieces = match &self.pieces {
            Pieces::Text(pieces) => held_by(pieces),
            Pieces::Protobuf(pieces) => held_by(pieces),
        };
        held_bytes(size_of::<Template>()) + held_by(&self.constant) + pieces + kept
    }

    /// What `body` says if it differs from the template's body in values alone.
    pub fn read<'b>(&self, body: impl Into<Body<'b>>) -> Option<Known<'b>> {
        let Body { syntax, bytes } = body.into();
        match (syntax, &self.pieces) {
            (Syntax::Text, Pieces::Text(pieces)) => {
                text::read(&self.constant, pieces, self.value_count, bytes)
            }
            (Syntax::Protobuf, Pieces::Protobuf(pieces)) => {
                protobuf::read(&self.constant, pieces, self.value_count, bytes)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

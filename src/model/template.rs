//! Recognises a text body that differs from an earlier one in nothing but its sample values.
//!
//! A batch job pushes the same series again and again. The template of its last body holds the bytes
//! between the values; a new body is compared with them piece by piece and only its values are read.
//! Any difference, and any value that would change what the body means, ends the attempt and leaves
//! the body to the parser, which then says what is wrong or takes it.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::{Families, Field, MetricType, Number, SampleSpan, Series};
use crate::format::float;

/// How a value of the body is read and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// As float64 bits.
    Float,
    /// As a whole number; anything else would turn the histogram's counts into floats.
    WholeCount,
    /// As a summary's count: cut to a whole number as the reference cuts it.
    CutCount,
    /// Checked and forgotten.
    Ignored,
}

#[derive(Debug, PartialEq, Eq)]
struct Piece {
    /// Constant bytes before the value.
    before: u32,
    /// Where the value goes among the values of the push; [`NOWHERE`] if it is only checked.
    value: u32,
    reading: Reading,
}

/// In [`Piece::value`]: the series is not stored.
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
    pieces: Arc<[Piece]>,
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
    samples: Vec<SampleSpan>,
    /// In the order of [`Families::series`].
    series: Vec<OutlineSeries>,
}

#[derive(Clone, Copy, Debug)]
struct OutlineSeries {
    kind: MetricType,
    parts: u32,
    float_counts: bool,
}

impl Outline {
    /// Empties it, keeping its allocations.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.series.clear();
    }

    /// Takes the outline of `families`, which were parsed from text.
    pub fn take(&mut self, families: &Families<'_>) {
        self.clear();
        self.samples.extend_from_slice(&families.samples);
        let series = |kind, series: &Series| {
            let parts = families.parts_of(series);
            let is_float = |number: Number| matches!(number, Number::Float(_));
            OutlineSeries {
                kind,
                parts: parts.len() as u32,
                float_counts: is_float(series.count) || parts.iter().any(|part| is_float(part.value)),
            }
        };
        let nothing = OutlineSeries { kind: MetricType::Untyped, parts: 0, float_counts: false };
        self.series.resize(families.series.len(), nothing);
        for family in &families.families {
            for at in family.series.range() {
                self.series[at] = series(family.kind, &families.series[at]);
            }
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
        if self.samples.is_empty() && !self.series.is_empty() {
            return None;
        }
        let mut constant = Vec::with_capacity(body.len());
        let mut pieces = Vec::with_capacity(self.samples.len());
        let mut read = 0;
        for sample in &self.samples {
            let before = &body[read..sample.start as usize];
            constant.extend_from_slice(before);
            read = sample.end as usize;
            let series = self.series[sample.series as usize];
            let first = first_value(sample.series);
            // A series that is not stored must still be one that the parser takes.
            let (value, reading) = place(series, sample.field, first.unwrap_or(0))?;
            let value = if first.is_some() { value } else { NOWHERE };
            pieces.push(Piece { before: before.len() as u32, value, reading });
        }
        constant.extend_from_slice(&body[read..]);
        let (constant, pieces) = (constant.into(), pieces.into());
        Some(Template { constant, pieces, value_count, chain, kept: None })
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
        size_of::<Template>() + self.constant.len() + size_of_val(&*self.pieces) + kept
    }

    /// The values of `body` if it differs from the template's body in values alone.
    pub fn read(&self, body: &[u8]) -> Option<Box<[u64]>> {
        // Every value takes at least one byte; the longest float that a client prints takes about 25.
        let least = self.constant.len() + self.pieces.len();
        if body.len() < least {
            return None;
        }
        let mut values = vec![0; self.value_count].into_boxed_slice();
        let (mut constant, mut rest) = (&self.constant[..], body);
        for piece in &*self.pieces {
            let (before, constant_rest) = constant.split_at(piece.before as usize);
            constant = constant_rest;
            rest = rest.strip_prefix(before)?;
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let number = float::parse_float(&rest[..end])?;
            rest = &rest[end..];
            let bits = match piece.reading {
                Reading::Float => number.to_bits(),
                Reading::WholeCount => whole(number)?,
                Reading::CutCount => cut_count(number)?,
                Reading::Ignored => continue,
            };
            if let Some(value) = values.get_mut(piece.value as usize) {
                *value = bits;
            }
        }
        (rest == constant).then_some(values)
    }
}

/// Where a sample's value goes, and how it is read; `None` if its meaning depends on other values.
fn place(series: OutlineSeries, field: Field, first: u32) -> Option<(u32, Reading)> {
    let sum = first + series.parts;
    let histogram = series.kind.has_buckets();
    if histogram && series.float_counts {
        return None;
    }
    Some(match field {
        Field::Ignored => (0, Reading::Ignored),
        Field::Value => (sum, Reading::Float),
        Field::Part(at) if histogram => (first + at, Reading::WholeCount),
        Field::Part(at) => (first + at, Reading::Float),
        Field::Count if histogram => (sum + 1, Reading::WholeCount),
        Field::Count => (sum + 1, Reading::CutCount),
    })
}

/// The whole number that `number` is, if it is one that fits.
fn whole(number: f64) -> Option<u64> {
    // 2^64, the first float64 that is too large.
    let fits = (0.0..18_446_744_073_709_551_616.0).contains(&number);
    (fits && number.fract() == 0.0).then_some(number as u64)
}

/// A summary's count as the reference (on amd64) makes it of a float: the fraction is cut, and what fits
/// no 64-bit number becomes 2^63. A negative one is the parser's to refuse.
fn cut_count(number: f64) -> Option<u64> {
    if number < 0.0 {
        return None;
    }
    // 2^64, the first float64 that is too large.
    let fits = (0.0..18_446_744_073_709_551_616.0).contains(&number);
    Some(if fits { number as u64 } else { 1 << 63 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NameRules;
    use crate::parse::text;

    const BODY: &str = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\n\
                        h_count 3\n# TYPE s summary\ns{quantile=\"0.5\"} 7\ns{quantile=\"NaN\"} 8\ns_count 2\ng 1\n";

    fn template() -> Template {
        let families = text::parse(BODY.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        // The histogram's four values, the summary's three, the gauge's one.
        let firsts = [0, 4, 7];
        Template::cut(BODY.as_bytes(), &families, 8, |series| Some(firsts[series as usize])).unwrap()
    }

    #[test]
    fn a_body_of_the_same_shape_gives_its_values() {
        let other = BODY.replace("4.5", "-1e3").replace("g 1", "g NaN").replace("count 2", "count 2.7");
        let values = template().read(other.as_bytes()).unwrap();
        let float = |x: f64| x.to_bits();
        assert_eq!(values[..7], [2, 3, float(-1e3), 3, float(7.0), float(0.0), 2]);
        assert!(f64::from_bits(values[7]).is_nan());
    }

    #[test]
    fn any_other_difference_is_left_to_the_parser() {
        let others = [
            BODY.replace("g 1", "g 1 2"),
            BODY.replace("g 1", "g x"),
            BODY.replace("g 1", "gg 1"),
            BODY.replace("h_count 3", "h_count 3.5"),
            BODY.replace("} 2\n", "} -2\n"),
            format!("{BODY}\n"),
            BODY[..BODY.len() - 1].to_string(),
            BODY.replace("le=\"1\"", "le=\"2\""),
            String::new(),
        ];
        for other in others {
            assert!(template().read(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn series_that_are_not_stored_are_checked_and_forgotten() {
        let families = text::parse(BODY.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        // Only the gauge is stored.
        let first = |series| (series == 2).then_some(0);
        let template = Template::cut(BODY.as_bytes(), &families, 1, first).unwrap();
        assert_eq!(template.read(BODY.as_bytes()).as_deref(), Some(&[1f64.to_bits()][..]));
        let other = BODY.replace("4.5", "5.5").replace("g 1", "g 2");
        assert_eq!(template.read(other.as_bytes()).as_deref(), Some(&[2f64.to_bits()][..]));
        assert!(template.read(BODY.replace("h_count 3", "h_count -3").as_bytes()).is_none());
    }

    #[test]
    fn summary_counts_are_cut_as_the_reference_cuts_them() {
        assert_eq!(cut_count(2.7), Some(2));
        assert_eq!(cut_count(-1.0), None);
        assert_eq!(cut_count(f64::NAN), Some(1 << 63));
        assert_eq!(cut_count(f64::INFINITY), Some(1 << 63));
        assert_eq!(cut_count(1e300), Some(1 << 63));
    }
}

//! OpenMetrics 1.0 and 0.0.1, told by its Content-Type.
//!
//! A body is first rewritten line by line into text 0.0.4, which the text parser then reads: names get
//! the suffixes that they are exposed with, types become the nearest ones that Prometheus' older formats
//! have, exemplars and created times are set aside and kept as [`Detail`]s. So whatever the two formats
//! share means the same in both.
//!
//! | OpenMetrics | kept as |
//! |---|---|
//! | counter `x`, samples `x_total` | counter `x_total` |
//! | info `x`, samples `x_info` | gauge `x_info` |
//! | stateset `x` | gauge `x` |
//! | gaugehistogram `x`, `x_gcount`, `x_gsum` | gauge histogram `x` |
//! | unknown, or no TYPE | untyped |
//! | `x_created` of a counter, summary or histogram | created time in the value message |
//!
//! # Where this is more tolerant than the standard
//!
//! `# EOF` may be missing. Families and their lines may come in any order that the text format takes.
//! Counters may be negative. Whoever calls may read a body that fails here as text instead, unless the
//! fault [is final](ParseError::is_final): clients announce OpenMetrics and then send plain text.

mod detail;
mod error;
mod exemplar;
mod line;
mod rewrite;

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::ops::Range;

pub use error::{ErrorKind, ParseError};
use rapidhash::quality::GlobalState;

use self::detail::Extra;
use self::rewrite::{Rewriter, declared_kinds};
use crate::model::{Detail, Families, Family, Label, MetricType, NameRules, Rules};
use crate::parse::text;

/// A body rewritten as text, with what text cannot say.
#[derive(Debug, Default)]
pub struct OpenMetrics<'b> {
    /// Without the line that ends OpenMetrics.
    text: Cow<'b, [u8]>,
    /// Whether any sample carried a timestamp, which the text does not repeat.
    timestamped: bool,
    /// Those timestamps in milliseconds, each with the number of its sample line, where they fit.
    timestamps: Vec<(usize, i64)>,
    /// `Exemplar` messages, one behind the other.
    exemplar_bytes: Vec<u8>,
    /// Where each lies in these, with the number of its sample line.
    exemplars: Vec<(usize, Range<usize>)>,
    /// From the name of the family that created times were written as to that of the family they
    /// belong to.
    created: HashMap<String, String, GlobalState>,
    /// By the exposed name of the family.
    units: HashMap<Cow<'b, str>, Cow<'b, str>, GlobalState>,
}

/// Rewrites `body`.
///
/// # Errors
///
/// The first fault of the body in what is not left to the text parser.
pub fn read(body: &[u8], names: NameRules) -> Result<OpenMetrics<'_>, ParseError> {
    let declared = declared_kinds(body);
    let mut rewriter = Rewriter::new(body, &declared, names);
    let mut at = 0;
    while at < body.len() {
        if let Some(next) = rewriter.plain_line(at) {
            at = next;
            continue;
        }
        let fault = |at: usize, kind| {
            let line = 1 + memchr::memchr_iter(b'\n', &body[..at]).count();
            ParseError { line, kind }
        };
        let rest = &body[at..];
        let next = match memchr::memchr(b'\n', rest) {
            Some(len) => at + len + 1,
            // Only the last line need not end.
            None if rest == b"# EOF" => body.len(),
            None => return Err(fault(at, ErrorKind::EndOfInput)),
        };
        let is_last = rewriter.line(at..next).map_err(|kind| fault(at, kind))?;
        if is_last && next < body.len() {
            return Err(fault(next, ErrorKind::AfterEof));
        }
        if is_last {
            break;
        }
        at = next;
    }
    Ok(rewriter.finish(at))
}

impl OpenMetrics<'_> {
    /// Whether the body is text as it stands, so that what is said of it as text needs no second look.
    pub fn is_text(&self) -> bool {
        matches!(self.text, Cow::Borrowed(_))
    }

    /// The families of the body, read into the allocations of `into`.
    ///
    /// # Errors
    ///
    /// The first fault of the body in what OpenMetrics and text share.
    pub fn families(
        &self,
        rules: impl Into<Rules>,
        into: Families<'static>,
    ) -> Result<Families<'_>, ParseError> {
        let mut families = text::parse(&self.text, rules, into)?;
        // A blank within a value is the text format's way to a timestamp.
        families.timestamped |= self.timestamped;
        let timed = self.timestamps.iter();
        let timed = timed.filter_map(|(sample, at)| Some((families.samples.get(*sample)?.series, *at)));
        families.timestamps.extend(timed);
        families.details = self.details(&families);
        families.samples.clear();
        if !self.created.is_empty() {
            families.families.retain(|family| !self.created.contains_key(&*family.name));
        }
        if !self.units.is_empty() {
            for family in &mut families.families {
                family.unit = self.units.get(&*family.name).map(|unit| Cow::Borrowed(&**unit));
            }
        }
        Ok(families)
    }

    fn details<'t>(&'t self, families: &Families<'t>) -> Vec<Detail<'t>> {
        let mut extras = Vec::with_capacity(self.exemplars.len());
        for (sample, exemplar) in &self.exemplars {
            // With such a timestamp there are none, and the push is refused for it.
            let Some(span) = families.samples.get(*sample) else { break };
            extras.push((span.series, Extra::Exemplar(span.field, &self.exemplar_bytes[exemplar.clone()])));
        }
        if !self.created.is_empty() {
            self.match_created(families, &mut extras);
        }
        if extras.is_empty() {
            return Vec::new();
        }
        // Those of one series stay in their order.
        extras.sort_by_key(|(series, _)| *series);
        let mut kinds = vec![MetricType::Untyped; families.series.len()];
        for family in &families.families {
            kinds[family.series.range()].fill(family.kind);
        }
        let of_series = extras.chunk_by(|one, other| one.0 == other.0);
        let details = of_series.filter_map(|extras| {
            let (position, _) = extras[0];
            let series = &families.series[position as usize];
            let kind = kinds[position as usize];
            let message = detail::message(kind, series, families.parts_of(series), extras)?;
            Some(Detail { series: position, message: Cow::Owned(message) })
        });
        details.collect()
    }

    /// Gives each series the created time that stands beside it.
    fn match_created<'t>(&'t self, families: &Families<'t>, extras: &mut Vec<(u32, Extra<'t>)>) {
        let mut by_name: HashMap<&str, &Family<'t>, GlobalState> = HashMap::default();
        by_name.extend(families.families.iter().map(|family| (&*family.name, family)));
        // By their hash: the series of the family at hand.
        let mut by_labels: HashMap<u64, u32, GlobalState> = HashMap::default();
        // From the series that a created time was written as to the one it belongs to.
        let mut owners: Vec<Option<u32>> = vec![None; families.series.len()];
        for (aside, name) in &self.created {
            let (Some(aside), Some(family)) = (by_name.get(aside.as_str()), by_name.get(name.as_str()))
            else {
                continue;
            };
            by_labels.clear();
            by_labels.extend(
                family.series.range().map(|position| (hash_of_labels(families, position), position as u32)),
            );
            for position in aside.series.range() {
                let owner = by_labels.get(&hash_of_labels(families, position)).copied();
                owners[position] =
                    owner.filter(|owner| have_same_labels(families, position, *owner as usize));
            }
        }
        for sample in &families.samples {
            if let Some(owner) = owners[sample.series as usize] {
                extras.push((owner, Extra::Created(&self.text[sample.start as usize..sample.end as usize])));
            }
        }
    }
}

/// Does not depend on the order of the labels.
fn hash_of_labels(families: &Families<'_>, series: usize) -> u64 {
    let labels = families.labels_of(&families.series[series]).iter();
    labels.fold(0, |sum, label| sum.wrapping_add(GlobalState::new().hash_one((&*label.name, &*label.value))))
}

fn have_same_labels(families: &Families<'_>, one: usize, other: usize) -> bool {
    let labels = |series: usize| families.labels_of(&families.series[series]);
    let sorted = |series: usize| {
        let mut labels: Vec<&Label<'_>> = labels(series).iter().collect();
        labels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        labels
    };
    labels(one) == labels(other) || sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests;

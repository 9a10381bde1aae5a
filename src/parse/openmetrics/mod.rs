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
use std::collections::{BTreeMap, HashMap};

pub use error::{ErrorKind, ParseError};

use self::detail::Extra;
use self::rewrite::{Rewriter, declared_kinds};
use crate::model::{Detail, Families, Family, Label, MetricType, NameRules, Rules};
use crate::parse::text;

/// A body rewritten as text, with what text cannot say.
#[derive(Debug, Default)]
pub struct OpenMetrics {
    text: Vec<u8>,
    /// Whether any sample carried a timestamp, which the text does not repeat.
    timestamped: bool,
    /// Those timestamps in milliseconds, each with the number of its sample line, where they fit.
    timestamps: Vec<(usize, i64)>,
    /// `Exemplar` messages, each with the number of its sample line.
    exemplars: Vec<(usize, Vec<u8>)>,
    /// From the name of the family that created times were written as to that of the family they
    /// belong to.
    created: HashMap<String, String>,
    /// By the exposed name of the family.
    units: HashMap<String, String>,
}

/// Rewrites `body`.
///
/// # Errors
///
/// The first fault of the body in what is not left to the text parser.
pub fn read(body: &[u8], names: NameRules) -> Result<OpenMetrics, ParseError> {
    let declared = declared_kinds(body);
    let out = OpenMetrics { text: Vec::with_capacity(body.len() + body.len() / 8), ..OpenMetrics::default() };
    let mut rewriter = Rewriter::new(&declared, names, out);
    let mut rest = body;
    let mut line = 1;
    let mut ended = false;
    while !rest.is_empty() {
        let fault = |kind| ParseError { line, kind };
        if ended {
            return Err(fault(ErrorKind::AfterEof));
        }
        let (text, after) = match memchr::memchr(b'\n', rest) {
            Some(len) => (&rest[..len], &rest[len + 1..]),
            // Only the last line need not end.
            None if rest == b"# EOF" => (rest, &rest[rest.len()..]),
            None => return Err(fault(ErrorKind::EndOfInput)),
        };
        ended = rewriter.line(text).map_err(fault)?;
        rest = after;
        line += 1;
    }
    Ok(rewriter.finish())
}

impl OpenMetrics {
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
        families.families.retain(|family| !self.created.contains_key(&*family.name));
        for family in &mut families.families {
            family.unit = self.units.get(&*family.name).map(|unit| Cow::Borrowed(unit.as_str()));
        }
        Ok(families)
    }

    fn details<'t>(&'t self, families: &Families<'t>) -> Vec<Detail<'t>> {
        let mut extras: BTreeMap<u32, Extra<'t>> = BTreeMap::new();
        for (sample, exemplar) in &self.exemplars {
            // With such a timestamp there are none, and the push is refused for it.
            let Some(span) = families.samples.get(*sample) else { break };
            extras.entry(span.series).or_default().exemplars.push((span.field, exemplar));
        }
        if !self.created.is_empty() {
            self.match_created(families, &mut extras);
        }
        if extras.is_empty() {
            return Vec::new();
        }
        let mut kinds = vec![MetricType::Untyped; families.series.len()];
        for family in &families.families {
            kinds[family.series.range()].fill(family.kind);
        }
        let details = extras.iter().filter_map(|(position, extra)| {
            let series = &families.series[*position as usize];
            let kind = kinds[*position as usize];
            let message = detail::message(kind, series, families.parts_of(series), extra)?;
            Some(Detail { series: *position, message: Cow::Owned(message) })
        });
        details.collect()
    }

    /// Gives each series the created time that stands beside it.
    fn match_created<'t>(&self, families: &Families<'t>, extras: &mut BTreeMap<u32, Extra<'t>>) {
        let by_name: HashMap<&str, &Family<'t>> =
            families.families.iter().map(|family| (&*family.name, family)).collect();
        // From the series that a created time was written as to the one it belongs to.
        let mut owners: HashMap<u32, u32> = HashMap::new();
        for (aside, name) in &self.created {
            let (Some(aside), Some(family)) = (by_name.get(aside.as_str()), by_name.get(name.as_str()))
            else {
                continue;
            };
            let by_labels: HashMap<Vec<&Label<'t>>, u32> = family
                .series
                .range()
                .map(|position| (sorted_labels(families, position), position as u32))
                .collect();
            for position in aside.series.range() {
                let owner = by_labels.get(&sorted_labels(families, position));
                owners.extend(owner.map(|owner| (position as u32, *owner)));
            }
        }
        for sample in &families.samples {
            if let Some(owner) = owners.get(&sample.series) {
                let text = &self.text[sample.start as usize..sample.end as usize];
                extras.entry(*owner).or_default().created = exemplar::timestamp(text);
            }
        }
    }
}

fn sorted_labels<'f, 't>(families: &'f Families<'t>, series: usize) -> Vec<&'f Label<'t>> {
    let mut labels: Vec<&Label<'t>> = families.labels_of(&families.series[series]).iter().collect();
    labels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    labels
}

#[cfg(test)]
mod tests;

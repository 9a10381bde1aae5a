//! Everything about a push but its values: which families, of which type and help, with which series
//! in which order.
//!
//! A fleet of jobs runs the same program, so thousands of groups push bodies that differ only in their
//! values and grouping key. A shape is kept once for all of them (see [`intern`](super::intern)); a
//! group's state is then a shape and its numbers. Equal shapes are one allocation, so "the group
//! pushed what it pushed last time" is a comparison of two pointers.
//!
//! # Invariants
//!
//! 1. Families are sorted by name; `series` of one family are contiguous and in the order of the body.
//! 2. A series' `run` is its label text without the grouping labels: `name="value",` for each label,
//!    sorted by name, escaped as the text format escapes, names outside the old character set quoted.
//!    `instance="",` is part of it where neither body nor key has an `instance`.
//! 3. `cuts` holds, for each series and each grouping label, where in the run that label belongs.
//! 4. Values lie in body order: for each series its parts, then the sum (or plain value), then the
//!    count if the type has one.

use std::sync::{Arc, Mutex, Weak};

use super::usage::Tally;
use crate::model::memory::{held_by, held_bytes};
use crate::model::template::Template;
use crate::model::{MetricType, Span};

/// Templates that a shape remembers.
const TEMPLATES_MAX: usize = 4;

/// What the table of shapes keeps for each.
const SHAPE_ENTRY_BYTES: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Shape {
    /// Hash of everything below; equal shapes have equal hashes.
    pub(super) hash: u64,
    /// Label names of the grouping key this shape was made for, sorted.
    pub(super) grouping_names: Box<[Box<str>]>,
    pub(super) families: Box<[FamilyShape]>,
    pub(super) series: Box<[SeriesShape]>,
    pub(super) cuts: Box<[u32]>,
    /// Names, helps and units of the families.
    pub(super) words: Box<str>,
    pub(super) runs: Box<str>,
    pub(super) bounds: Box<[f64]>,
    pub(super) value_count: u32,
    /// Templates of bodies of this shape that some group holds; not part of its content.
    pub(super) templates: Mutex<Vec<Weak<KnownTemplate>>>,
    /// Not part of its content either.
    pub(super) tally: Tally,
}

/// A template that groups may share.
#[derive(Debug)]
pub struct KnownTemplate {
    template: Template,
    pub(super) tally: Tally,
}

impl std::ops::Deref for KnownTemplate {
    type Target = Template;

    fn deref(&self) -> &Template {
        &self.template
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct FamilyShape {
    /// Pieces of [`Shape::words`].
    pub(super) name: Span,
    pub(super) help: Option<Span>,
    pub(super) unit: Option<Span>,
    pub kind: MetricType,
    /// Whether the name or any label name is outside the old character set, so that the text depends
    /// on the escaping that a scraper asks for.
    pub exotic: bool,
    /// Positions in [`Shape::series`].
    pub series: Span,
    /// The same series as they are exposed, by labels: positions in [`Shape::series`], relative.
    pub(super) exposed: Box<[u32]>,
    /// Hash of each series' run labels with its position (relative), sorted by hash.
    pub(super) by_hash: Box<[(u64, u32)]>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct SeriesShape {
    /// Piece of [`Shape::runs`].
    pub(super) run: Span,
    /// Bounds of its quantiles or buckets: piece of [`Shape::bounds`].
    pub(super) parts: Span,
    /// Position of its first value among the values of the push.
    pub first_value: u32,
    /// Whether its counts are floats; otherwise they are whole numbers.
    pub float_counts: bool,
}

impl Shape {
    /// The families, sorted by name.
    pub fn families(&self) -> &[FamilyShape] {
        &self.families
    }

    /// How many values a push of this shape has.
    pub fn value_count(&self) -> usize {
        self.value_count as usize
    }

    /// How many series it has.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Label names of the grouping keys it fits, sorted.
    pub fn grouping_names(&self) -> &[Box<str>] {
        &self.grouping_names
    }

    pub fn name(&self, family: &FamilyShape) -> &str {
        &self.words[family.name.range()]
    }

    pub fn help(&self, family: &FamilyShape) -> Option<&str> {
        family.help.map(|span| &self.words[span.range()])
    }

    pub fn unit(&self, family: &FamilyShape) -> Option<&str> {
        family.unit.map(|span| &self.words[span.range()])
    }

    /// Position of the family `name`.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.families.binary_search_by(|family| self.name(family).cmp(name)).ok()
    }

    /// Where `family` stood in the body, to sort by. Families without series have a place too.
    pub fn body_place(&self, family: &FamilyShape) -> impl Ord + use<> {
        family.name.start
    }

    /// The series of `family` in the order of the body.
    pub fn series(&self, family: &FamilyShape) -> &[SeriesShape] {
        &self.series[family.series.range()]
    }

    /// The series of `family` in the order in which they are exposed: position, shape, cuts.
    pub fn exposed(
        &self,
        family: &FamilyShape,
    ) -> impl ExactSizeIterator<Item = (usize, &SeriesShape, &[u32])> {
        let start = family.series.start;
        family.exposed.iter().map(move |at| {
            let position = (start + at) as usize;
            let (series, cuts) = self.series_at(position);
            (position, series, cuts)
        })
    }

    /// Bytes of label text of all series of `family`.
    pub fn run_bytes(&self, family: &FamilyShape) -> usize {
        let series = self.series(family);
        match (series.first(), series.last()) {
            (Some(first), Some(last)) => (last.run.end - first.run.start) as usize,
            _ => 0,
        }
    }

    /// Hash of the labels of the series at `position` that its run holds.
    pub fn run_hash(&self, position: usize) -> u64 {
        run_labels(self.run(&self.series[position]))
            .fold(0, |sum, (name, value)| sum.wrapping_add(super::hash::of_label(&name, &value)))
    }

    /// The series at a position of the whole shape, with its cuts.
    pub fn series_at(&self, position: usize) -> (&SeriesShape, &[u32]) {
        let width = self.grouping_names.len();
        (&self.series[position], &self.cuts[position * width..(position + 1) * width])
    }

    /// The label text of a series without the grouping labels; see invariant 2.
    pub fn run(&self, series: &SeriesShape) -> &str {
        &self.runs[series.run.range()]
    }

    /// Bounds of a series' quantiles or buckets, in the order of the body.
    pub fn bounds(&self, series: &SeriesShape) -> &[f64] {
        &self.bounds[series.parts.range()]
    }

    /// The positions of the values of `family` among the values of the push.
    pub fn values_of(&self, family: &FamilyShape) -> std::ops::Range<usize> {
        let first = |position: u32| match self.series.get(position as usize) {
            Some(series) => series.first_value as usize,
            None => self.value_count(),
        };
        if family.series.is_empty() { 0..0 } else { first(family.series.start)..first(family.series.end) }
    }

    /// Memory that it takes, its place in the table of shapes included; without the names, which shapes share.
    pub(super) fn size_bytes(&self) -> usize {
        let families: usize = self.families.iter().map(|f| held_by(&f.exposed) + held_by(&f.by_hash)).sum();
        held_bytes(size_of::<Shape>())
            + SHAPE_ENTRY_BYTES
            + families
            + held_by(&self.families)
            + held_by(&self.series)
            + held_by(&self.cuts)
            + held_by(self.words.as_bytes())
            + held_by(self.runs.as_bytes())
            + held_by(&self.bounds)
    }

    /// The template equal to `template` that some group of this shape holds already, or `template`
    /// itself from now on: a fleet's groups share one, as they share the shape.
    pub(super) fn share(&self, template: Template) -> Arc<KnownTemplate> {
        let mut known = self.templates.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(equal) = known.iter().filter_map(Weak::upgrade).find(|known| known.template == template) {
            return equal;
        }
        let tally = Tally::new(template.size_bytes());
        let template = Arc::new(KnownTemplate { template, tally });
        known.retain(|template| template.strong_count() > 0);
        // Bodies that spell the same shape in ever new ways gain nothing from being remembered.
        if known.len() < TEMPLATES_MAX {
            known.push(Arc::downgrade(&template));
        }
        template
    }

    /// Positions, in the whole shape, of the series of `family` whose run labels hash to `hash`.
    pub(super) fn with_hash(&self, family: &FamilyShape, hash: u64) -> impl Iterator<Item = usize> {
        let start = family.by_hash.partition_point(|entry| entry.0 < hash);
        let series = family.series.start;
        family.by_hash[start..].iter().take_while(move |e| e.0 == hash).map(move |e| (series + e.1) as usize)
    }
}

/// Content decides; the hash only makes unequal shapes cheap to tell apart.
impl PartialEq for Shape {
    fn eq(&self, other: &Shape) -> bool {
        let bits = |shape: &Shape| shape.bounds.iter().map(|b| b.to_bits()).collect::<Vec<_>>();
        self.hash == other.hash
            && self.grouping_names == other.grouping_names
            && self.families == other.families
            && self.series == other.series
            && self.cuts == other.cuts
            && self.words == other.words
            && self.runs == other.runs
            && bits(self) == bits(other)
    }
}

/// One label of a run, names unquoted and values unescaped.
pub fn run_labels(run: &str) -> RunLabels<'_> {
    RunLabels { rest: run }
}

/// Iterates over the labels of a run. Only texts made by the shape builder may be given.
pub struct RunLabels<'r> {
    rest: &'r str,
}

impl<'r> Iterator for RunLabels<'r> {
    type Item = (std::borrow::Cow<'r, str>, std::borrow::Cow<'r, str>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let name = if let Some(quoted) = self.rest.strip_prefix('"') {
            let end = closing_quote(quoted);
            self.rest = &quoted[end + 1..];
            unescape(&quoted[..end])
        } else {
            let end = self.rest.find('=').expect("a run's label has its =");
            let name = &self.rest[..end];
            self.rest = &self.rest[end..];
            name.into()
        };
        let quoted = &self.rest[2..];
        let end = closing_quote(quoted);
        // The quote and the comma behind the value.
        self.rest = &quoted[end + 2..];
        Some((name, unescape(&quoted[..end])))
    }
}

/// Where the quoted text at the start of `text` ends.
fn closing_quote(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut position = 0;
    while bytes[position] != b'"' {
        position += if bytes[position] == b'\\' { 2 } else { 1 };
    }
    position
}

fn unescape(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        plain.push(match c {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_gives_its_labels_back() {
        let run = "a=\"1\",b=\"x\\\"y\\\\\",\"c.d\"=\"l\\nm\",e=\"\",";
        let labels: Vec<(String, String)> =
            run_labels(run).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        let want = [("a", "1"), ("b", "x\"y\\"), ("c.d", "l\nm"), ("e", "")];
        assert_eq!(labels, want.map(|(n, v)| (n.to_string(), v.to_string())));
        assert_eq!(run_labels("").count(), 0);
    }
}

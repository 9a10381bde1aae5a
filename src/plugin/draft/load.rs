//! From the families of a body to a draft and back.

use std::borrow::Cow;

use super::labels::Recent;
use super::{Draft, DraftFamily, DraftSample, Label, Text};
use crate::model::{self, Detail, Families, GroupingKey, LooseLine, NameRules, Series, Span};

/// What a parsed push is loaded from.
pub struct Received<'r, 'b> {
    pub families: &'r Families<'b>,
    /// The body that the families mostly borrow from; text from elsewhere is copied.
    pub body: &'r [u8],
    /// Where each series of `families` stood, if a lenient reading let pass what is not valid.
    pub loose: &'r [LooseLine],
}

/// Where a borrowed text lies in the body, if it does.
struct Source<'b> {
    body: &'b [u8],
    /// Whether the whole body stands at the start of the arena.
    copied: bool,
}

impl Source<'_> {
    fn find(&self, text: &str) -> Option<Text> {
        let start = (text.as_ptr() as usize).checked_sub(self.body.as_ptr() as usize)?;
        let end = start + text.len();
        (self.copied && end <= self.body.len()).then_some(Text { start: start as u32, end: end as u32 })
    }
}

impl Draft {
    /// Empties the draft for the next push, which goes to `key`. Vectors that one huge push has grown
    /// are given back.
    pub fn clear(&mut self, names: NameRules, key: &GroupingKey) {
        const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
        if self.arena.capacity() > KEPT_BYTES_MAX || self.samples.capacity() > KEPT_BYTES_MAX / 64 {
            *self = Draft::new(names);
        }
        self.arena.clear();
        self.families.clear();
        self.samples.clear();
        self.labels.clear();
        self.parts.clear();
        self.blobs.clear();
        self.timestamps.clear();
        self.group.clear();
        self.recent = Recent::default();
        self.outline.clear();
        self.sample_of.clear();
        (self.known, self.received_bytes) = (None, 0);
        (self.timestamped, self.names, self.is_loose) = (false, names, false);
        (self.received, self.body_bytes, self.written, self.added, self.dropped) = (0, 0, 0, 0, 0);
        for (name, value) in key.labels() {
            let label = Label { name: self.write(name), value: self.write(value) };
            self.group.push(label);
        }
    }

    /// Reads what a body held. The grouping labels stay.
    pub fn load(&mut self, received: &Received<'_, '_>) {
        let families = received.families;
        // One copy of the body is cheaper than a copy of each name and value in it.
        let copied = std::str::from_utf8(received.body);
        self.put_before_group(copied.unwrap_or_default());
        let source = Source { body: received.body, copied: copied.is_ok() };
        self.body_bytes = received.body.len();
        self.timestamped = families.timestamped;
        self.is_loose = !received.loose.is_empty();
        self.parts.extend_from_slice(&families.parts);
        self.labels.reserve(families.labels.len());
        for label in &families.labels {
            let name = self.take(&source, &label.name);
            let value = self.take(&source, &label.value);
            self.labels.push(Label { name, value });
        }
        for family in &families.families {
            let at = self.families.len() as u32;
            let name = self.take(&source, &family.name);
            let help = family.help.as_ref().map(|help| self.take(&source, help));
            let unit = family.unit.as_ref().map(|unit| self.take(&source, unit));
            let n_samples = family.series.len() as u32;
            self.families.push(DraftFamily {
                name,
                help,
                unit,
                kind: family.kind,
                n_samples,
                merged_into: None,
            });
            for (position, series) in family.series.range().zip(families.series_of(family)) {
                self.samples.push(DraftSample {
                    family: at,
                    labels: series.labels,
                    parts: series.parts,
                    value: series.value,
                    count: series.count,
                    detail: None,
                    dropped: false,
                    loose: received.loose.get(position).copied().unwrap_or_default(),
                });
            }
        }
        self.load_details(families);
        self.received = self.samples.len();
    }

    /// Puts text at the start of the arena, which holds nothing but the grouping labels yet.
    pub(super) fn put_before_group(&mut self, text: &str) {
        let shift = text.len() as u32;
        self.arena.insert_str(0, text);
        for label in &mut self.group {
            for text in [&mut label.name, &mut label.value] {
                (text.start, text.end) = (text.start + shift, text.end + shift);
            }
        }
    }

    fn load_details(&mut self, families: &Families<'_>) {
        if families.details.is_empty() && families.timestamps.is_empty() {
            return;
        }
        // The series of the families in order are the samples, whatever order the spans have.
        let mut sample_of = vec![u32::MAX; families.series.len()];
        let in_order = families.families.iter().flat_map(|family| family.series.range());
        for (sample, series) in in_order.enumerate() {
            sample_of[series] = sample as u32;
        }
        for detail in &families.details {
            let sample = sample_of.get(detail.series as usize).copied().unwrap_or(u32::MAX);
            let Some(sample) = self.samples.get_mut(sample as usize) else { continue };
            let start = self.blobs.len() as u32;
            self.blobs.extend_from_slice(&detail.message);
            sample.detail = Some(Span { start, end: self.blobs.len() as u32 });
        }
        let timestamps = families.timestamps.iter();
        self.timestamps.extend(timestamps.map(|(series, at)| (sample_of[*series as usize], *at)));
        self.timestamps.sort_by_key(|timestamp| timestamp.0);
        self.timestamps.dedup_by_key(|timestamp| timestamp.0);
    }

    /// The place of a text: in the body where it was borrowed from there, else at the arena's end.
    fn take(&mut self, source: &Source<'_>, text: &str) -> Text {
        source.find(text).unwrap_or_else(|| self.write(text))
    }

    /// The first line of the body whose sample is still not valid, of those that a lenient reading let
    /// pass; zero if the line is not known.
    pub fn first_illegal_line(&self) -> Option<u32> {
        if !self.is_loose {
            return None;
        }
        let legal = |(at, sample): &(usize, &DraftSample)| {
            !sample.loose.null
                && self.names.is_metric_name(self.family_name(sample.family))
                && self.own(*at as u32).iter().all(|label| self.names.is_label_name(self.text(label.name)))
        };
        let left = self.samples.iter().enumerate().filter(|(_, sample)| !sample.dropped);
        left.filter(|sample| !legal(sample)).map(|(_, sample)| sample.loose.line).min()
    }

    /// The push as it is now, in the vectors of `into`. Families without samples are left out, and so
    /// are labels that plugins use among themselves (`__tmp...`).
    pub fn families_into(&self, into: Families<'static>) -> Families<'_> {
        let mut out = into.recycle();
        let text = |text: Text| Cow::Borrowed(self.text(text));
        let order = self.samples_by_family();
        let mut at = 0;
        for (position, family) in self.families.iter().enumerate() {
            let start = out.series.len() as u32;
            while let Some(sample) = order.get(at).map(|sample| &self.samples[*sample as usize]) {
                if sample.family as usize != position {
                    break;
                }
                at += 1;
                self.push_series(&mut out, sample);
            }
            let span = Span { start, end: out.series.len() as u32 };
            if !span.is_empty() {
                out.families.push(model::Family {
                    name: text(family.name),
                    help: family.help.map(text),
                    unit: family.unit.map(text),
                    kind: family.kind,
                    series: span,
                });
            }
        }
        out.parts.extend_from_slice(&self.parts);
        out.timestamped = self.timestamped;
        out
    }

    fn push_series<'d>(&'d self, out: &mut Families<'d>, sample: &DraftSample) {
        let start = out.labels.len() as u32;
        for label in &self.labels[sample.labels.range()] {
            let name = self.text(label.name);
            if !name.starts_with("__tmp") {
                let value = Cow::Borrowed(self.text(label.value));
                out.labels.push(model::Label { name: Cow::Borrowed(name), value });
            }
        }
        if let Some(detail) = sample.detail {
            let message = Cow::Borrowed(&self.blobs[detail.range()]);
            out.details.push(Detail { series: out.series.len() as u32, message });
        }
        out.series.push(Series {
            labels: Span { start, end: out.labels.len() as u32 },
            parts: sample.parts,
            value: sample.value,
            count: sample.count,
        });
    }

    /// Positions of the samples that are left, the families in order, those of one family in order.
    pub(super) fn samples_by_family(&self) -> Vec<u32> {
        let left = |at: &u32| !self.samples[*at as usize].dropped;
        let mut order: Vec<u32> = (0..self.samples.len() as u32).filter(left).collect();
        let family = |at: &u32| self.samples[*at as usize].family;
        // Nearly always sorted already, which this sort finds out in one pass.
        order.sort_by_key(family);
        order
    }

    /// The grouping key as it is now.
    pub fn grouping_key(&self) -> GroupingKey {
        GroupingKey::of_sorted(self.group())
    }

    /// The same, for callers that have a key which it is likely to be.
    pub fn grouping_key_or<'k>(&self, likely: &'k GroupingKey) -> Cow<'k, GroupingKey> {
        let is_likely = self.group.len() == likely.len() && self.group().eq(likely.labels());
        if is_likely { Cow::Borrowed(likely) } else { Cow::Owned(self.grouping_key()) }
    }
}

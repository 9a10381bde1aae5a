//! Changing a draft.

use super::{Draft, DraftFamily, DraftSample, Label, Text};
use crate::limits::{LABEL_VALUE_BYTES_MAX, SERIES_LABELS_MAX};
use crate::model::{LooseLine, MetricType, Number, Part, Span, detail};
use crate::plugin::fault::{Code, Fault};

/// The outcome of an edit: what it did, or why it is not allowed.
pub type Edit<T> = Result<T, Fault>;

/// A sample that a plugin adds.
pub struct NewSample<'n> {
    pub name: &'n str,
    pub kind: MetricType,
    pub help: Option<&'n str>,
    pub labels: &'n [(String, String)],
    pub value: f64,
}

/// Labels on their way into a draft that is still looked at: their new text stands here, as if it stood
/// behind all that the draft holds.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    pub labels: Vec<Label>,
    text: String,
}

impl Fresh {
    pub fn clear(&mut self) {
        self.labels.clear();
        self.text.clear();
    }
}

/// Texts of labels that edits wrote last, since a hook writes the same into sample after sample. They lie in the
/// draft that is worked on, and the names among them are legal for a label of any of its samples.
#[derive(Debug, Default)]
pub(super) struct Recent {
    names: Ring<4>,
    values: Ring<2>,
}

/// The last texts of a kind; no text is empty that was written.
#[derive(Debug)]
struct Ring<const N: usize> {
    texts: [Text; N],
    next: usize,
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Ring<N> {
        Ring { texts: [Text::default(); N], next: 0 }
    }
}

impl<const N: usize> Ring<N> {
    fn push(&mut self, text: Text) {
        self.texts[self.next] = text;
        self.next = (self.next + 1) % N;
    }
}

fn fault<T>(code: Code, text: impl Into<String>) -> Edit<T> {
    Err(Fault::new(code, text))
}

/// Whether samples of this type are one number.
fn is_plain(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter | MetricType::Gauge | MetricType::Untyped)
}

impl Draft {
    /// Begins the accounts of the next plugin.
    pub fn begin_plugin(&mut self) {
        (self.written, self.added) = (0, 0);
    }

    /// Writes text on behalf of a plugin, within its allowance.
    pub(super) fn write_for_plugin(&mut self, text: &str) -> Edit<Text> {
        self.check_room_for_text(text.len())?;
        Ok(self.write(text))
    }

    /// Takes text that is to be written off a plugin's allowance.
    fn check_room_for_text(&mut self, bytes: usize) -> Edit<()> {
        self.account(bytes)?;
        // Positions are 32 bits; the body is far below, and plugins append bounded amounts.
        if self.arena.len() + bytes > u32::MAX as usize {
            return fault(Code::Limit, "the push holds too much text");
        }
        Ok(())
    }

    /// Takes bytes off a plugin's allowance.
    fn account(&mut self, bytes: usize) -> Edit<()> {
        self.written = self.written.saturating_add(bytes);
        if self.written > 1024 * 1024 + 4 * self.body_bytes {
            return fault(Code::Limit, "too many bytes written into names, labels, help and messages");
        }
        Ok(())
    }

    /// Puts a value message in the place of a sample's own.
    fn put_detail(&mut self, sample: u32, message: Option<Vec<u8>>) -> Edit<()> {
        let detail = match message {
            Some(message) => {
                self.account(message.len())?;
                // Appended, so that a snapshot need not hold the old ones.
                let start = self.blobs.len() as u32;
                self.blobs.extend_from_slice(&message);
                Some(Span { start, end: self.blobs.len() as u32 })
            }
            None => None,
        };
        self.samples[sample as usize].detail = detail;
        Ok(())
    }

    /// Where a text was written of late.
    fn find_recent(&self, recent: &[Text], text: &str) -> Option<Text> {
        recent.iter().find(|recent| recent.len() > 0 && self.is(**recent, text.as_bytes())).copied()
    }

    fn check_label_name(&self, name: &str) -> Edit<()> {
        if name == "__name__" {
            return fault(Code::Name, "__name__ is not a label here, use name");
        }
        if !self.names.is_label_name(name) {
            return fault(Code::Name, format!("{name:?} is not a valid label name"));
        }
        Ok(())
    }

    /// Writes the name of a label, which is legal.
    fn write_name(&mut self, name: &str) -> Edit<Text> {
        let text = self.write_for_plugin(name)?;
        self.recent.names.push(text);
        Ok(text)
    }

    /// Writes the value of a label, unless that is what was written of late.
    fn write_value(&mut self, value: &str) -> Edit<Text> {
        if let Some(recent) = self.find_recent(&self.recent.values.texts, value) {
            return Ok(recent);
        }
        let text = self.write_for_plugin(value)?;
        self.recent.values.push(text);
        Ok(text)
    }

    /// Sets a label of a sample; an empty value deletes it. True if anything changed.
    ///
    /// # Errors
    ///
    /// The name is not valid or a grouping label's, or a limit is reached.
    pub fn set_label(&mut self, sample: u32, name: &str, value: &str) -> Edit<bool> {
        let recent = self.find_recent(&self.recent.names.texts, name);
        if recent.is_none() {
            self.check_label_name(name)?;
        }
        if value.len() > LABEL_VALUE_BYTES_MAX {
            return fault(Code::Limit, format!("label values hold at most {LABEL_VALUE_BYTES_MAX} bytes"));
        }
        if recent.is_none() && self.is_grouped(name) {
            return fault(Code::Value, format!("{name} is a grouping label; change it in on_request"));
        }
        if value.is_empty() {
            return Ok(self.remove_label(sample, name));
        }
        let span = self.samples[sample as usize].labels;
        let found = self.labels[span.range()].iter().position(|label| self.is(label.name, name.as_bytes()));
        if let Some(at) = found {
            let at = span.start as usize + at;
            if self.is(self.labels[at].value, value.as_bytes()) {
                return Ok(false);
            }
            self.labels[at].value = self.write_value(value)?;
            return Ok(true);
        }
        if span.len() + self.group.len() >= SERIES_LABELS_MAX {
            return fault(Code::Limit, format!("a series holds at most {SERIES_LABELS_MAX} labels"));
        }
        let value = self.write_value(value)?;
        let name = recent.map_or_else(|| self.write_name(name), Ok)?;
        self.append_label(sample, Label { name, value });
        Ok(true)
    }

    /// Appends to a sample's run of labels, moving the run to the end of the vector if need be.
    fn append_label(&mut self, sample: u32, label: Label) {
        let span = self.samples[sample as usize].labels;
        let start = if span.end as usize == self.labels.len() {
            span.start
        } else {
            let start = self.labels.len() as u32;
            self.labels.extend_from_within(span.range());
            start
        };
        self.labels.push(label);
        self.samples[sample as usize].labels = Span { start, end: self.labels.len() as u32 };
    }

    fn remove_label(&mut self, sample: u32, name: &str) -> bool {
        let mut span = self.samples[sample as usize].labels;
        let before = span.len();
        let mut at = span.start;
        while at < span.end {
            if self.is(self.labels[at as usize].name, name.as_bytes()) {
                self.labels.copy_within(at as usize + 1..span.end as usize, at as usize);
                span.end -= 1;
            } else {
                at += 1;
            }
        }
        self.samples[sample as usize].labels = span;
        span.len() != before
    }

    /// Renames a label, overwriting one of the new name. True if there was one to rename.
    ///
    /// # Errors
    ///
    /// As [`set_label`](Draft::set_label).
    pub fn rename_label(&mut self, sample: u32, from: &str, to: &str) -> Edit<bool> {
        let recent = self.find_recent(&self.recent.names.texts, to);
        if recent.is_none() {
            self.check_label_name(to)?;
        }
        if self.is_grouped(from) || recent.is_none() && self.is_grouped(to) {
            return fault(Code::Value, "grouping labels are changed in on_request");
        }
        let own = self.own(sample);
        let find = |name: &str| own.iter().position(|label| self.is(label.name, name.as_bytes()));
        let Some(first) = find(from) else { return Ok(false) };
        if from == to {
            return Ok(true);
        }
        let overwrites = find(to).is_some();
        let new = recent.map_or_else(|| self.write_name(to), Ok)?;
        let mut span = self.samples[sample as usize].labels;
        if overwrites {
            self.remove_label(sample, to);
            span = self.samples[sample as usize].labels;
        } else {
            self.labels[span.start as usize + first].name = new;
            span.start += first as u32 + 1;
        }
        // A protobuf body may name a label twice.
        for at in span.range() {
            if self.is(self.labels[at].name, from.as_bytes()) {
                self.labels[at].name = new;
            }
        }
        Ok(true)
    }

    /// Deletes the labels not in `kept`; true if any went. Grouping labels stay.
    pub fn keep_labels(&mut self, sample: u32, kept: &[String]) -> bool {
        let gone = |name: &&str| !kept.iter().any(|kept| kept == *name);
        let doomed: Vec<String> =
            self.own_labels(sample).map(|label| label.0).filter(gone).map(str::to_owned).collect();
        for name in &doomed {
            self.remove_label(sample, name);
        }
        !doomed.is_empty()
    }

    /// Takes the place of all own labels of a sample.
    ///
    /// # Errors
    ///
    /// A limit is reached.
    pub fn replace_labels<'l>(
        &mut self,
        sample: u32,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> Edit<()> {
        let start = self.labels.len() as u32;
        for (name, value) in labels {
            if value.len() > LABEL_VALUE_BYTES_MAX {
                return fault(
                    Code::Limit,
                    format!("label values hold at most {LABEL_VALUE_BYTES_MAX} bytes"),
                );
            }
            let label = Label { name: self.write_for_plugin(name)?, value: self.write_for_plugin(value)? };
            self.labels.push(label);
        }
        self.samples[sample as usize].labels = Span { start, end: self.labels.len() as u32 };
        Ok(())
    }

    /// Where a text is that came from the draft, or is once `fresh` was [put](Draft::put_labels) there.
    pub(super) fn place(&self, fresh: &mut Fresh, text: &str) -> Text {
        let end = self.arena.len();
        let (start, arena) = (text.as_ptr() as usize, self.arena.as_ptr() as usize);
        if start >= arena && start + text.len() <= arena + end {
            let start = (start - arena) as u32;
            return Text { start, end: start + text.len() as u32 };
        }
        let start = (end + fresh.text.len()) as u32;
        fresh.text.push_str(text);
        Text { start, end: start + text.len() as u32 }
    }

    /// As [`replace_labels`](Draft::replace_labels), where nothing was written since the labels got their
    /// [places](Draft::place).
    ///
    /// # Errors
    ///
    /// A limit is reached.
    pub(super) fn put_labels(&mut self, sample: u32, fresh: &Fresh) -> Edit<()> {
        if fresh.labels.iter().any(|label| label.value.len() > LABEL_VALUE_BYTES_MAX) {
            return fault(Code::Limit, format!("label values hold at most {LABEL_VALUE_BYTES_MAX} bytes"));
        }
        self.write_for_plugin(&fresh.text)?;
        let start = self.labels.len() as u32;
        self.labels.extend_from_slice(&fresh.labels);
        self.samples[sample as usize].labels = Span { start, end: self.labels.len() as u32 };
        Ok(())
    }

    pub fn drop_sample(&mut self, sample: u32) {
        let sample = &mut self.samples[sample as usize];
        if !sample.dropped {
            sample.dropped = true;
            self.families[sample.family as usize].n_samples -= 1;
            self.dropped += 1;
        }
    }

    /// Drops every sample of a family.
    pub fn drop_family(&mut self, family: u32) {
        for at in 0..self.samples.len() as u32 {
            if self.samples[at as usize].family == family {
                self.drop_sample(at);
            }
        }
    }

    /// The family of this name that takes samples.
    pub fn find_family(&self, name: &str) -> Option<u32> {
        let at = self.families.iter().position(|family| {
            family.merged_into.is_none() && family.n_samples > 0 && self.text(family.name) == name
        });
        at.map(|at| at as u32)
    }

    fn check_name(&self, name: &str) -> Edit<()> {
        if !self.names.is_metric_name(name) {
            return fault(Code::Name, format!("{name:?} is not a valid metric name"));
        }
        Ok(())
    }

    fn check_mergeable(&self, from: u32, to: u32) -> Edit<()> {
        let (from, to) = (self.family(from).kind, self.family(to).kind);
        let untyped = MetricType::Untyped;
        if from == to || (is_plain(from) && is_plain(to) && (from == untyped || to == untyped)) {
            return Ok(());
        }
        fault(Code::Type, format!("a {} family cannot take samples of type {}", to.text(), from.text()))
    }

    /// Renames a family; if one of that name exists, its samples go there. Returns where they are.
    ///
    /// # Errors
    ///
    /// The name is not valid, or the types do not agree.
    pub fn rename_family(&mut self, family: u32, name: &str) -> Edit<u32> {
        self.check_name(name)?;
        if self.family_name(family) == name {
            return Ok(family);
        }
        match self.find_family(name) {
            None => {
                self.families[family as usize].name = self.write_for_plugin(name)?;
                Ok(family)
            }
            Some(other) => {
                self.check_mergeable(family, other)?;
                for sample in &mut self.samples {
                    if sample.family == family {
                        sample.family = other;
                    }
                }
                let moved = std::mem::take(&mut self.families[family as usize].n_samples);
                self.families[other as usize].n_samples += moved;
                self.families[family as usize].merged_into = Some(other);
                Ok(other)
            }
        }
    }

    /// Moves a sample to the family `name`, made like its own if there is none.
    ///
    /// # Errors
    ///
    /// As [`rename_family`](Draft::rename_family).
    pub fn move_sample(&mut self, sample: u32, name: &str) -> Edit<()> {
        self.check_name(name)?;
        let from = self.samples[sample as usize].family;
        if self.family_name(from) == name {
            return Ok(());
        }
        let to = match self.find_family(name) {
            Some(to) => {
                self.check_mergeable(from, to)?;
                to
            }
            None => {
                let name = self.write_for_plugin(name)?;
                self.families.push(DraftFamily {
                    name,
                    n_samples: 0,
                    merged_into: None,
                    ..self.families[from as usize]
                });
                self.families.len() as u32 - 1
            }
        };
        self.assign(sample, to);
        Ok(())
    }

    fn assign(&mut self, sample: u32, to: u32) {
        let sample = &mut self.samples[sample as usize];
        if !sample.dropped {
            self.families[sample.family as usize].n_samples -= 1;
            self.families[to as usize].n_samples += 1;
        }
        sample.family = to;
    }

    fn check_room(&mut self, more: usize) -> Edit<()> {
        self.added += more;
        let most = (4 * self.received).max(1000);
        if self.added > most {
            return fault(Code::Limit, format!("a plugin may add {most} samples to this push"));
        }
        Ok(())
    }

    /// Adds a sample of one number.
    ///
    /// # Errors
    ///
    /// The type has parts, a name is not valid, the family has another type, or a limit is reached.
    pub fn add(&mut self, new: &NewSample<'_>) -> Edit<u32> {
        if !is_plain(new.kind) {
            return fault(Code::Type, "only counters, gauges and untyped samples can be added");
        }
        self.check_name(new.name)?;
        self.check_room(1)?;
        let family = match self.find_family(new.name) {
            Some(family) if self.family(family).kind == new.kind => family,
            Some(_) => return fault(Code::Type, format!("the family {} has another type", new.name)),
            None => {
                let name = self.write_for_plugin(new.name)?;
                let help = match new.help {
                    Some(help) => Some(self.write_for_plugin(help)?),
                    None => None,
                };
                self.families.push(DraftFamily {
                    name,
                    help,
                    unit: None,
                    kind: new.kind,
                    n_samples: 0,
                    merged_into: None,
                });
                self.families.len() as u32 - 1
            }
        };
        let sample = self.push_plain(family, new.value);
        for (name, value) in new.labels {
            self.set_label(sample, name, value)?;
        }
        Ok(sample)
    }

    pub(super) fn push_plain(&mut self, family: u32, value: f64) -> u32 {
        self.samples.push(DraftSample {
            family,
            labels: Span::default(),
            parts: Span::default(),
            value,
            count: Number::Int(0),
            detail: None,
            dropped: false,
            loose: LooseLine::default(),
        });
        self.families[family as usize].n_samples += 1;
        self.samples.len() as u32 - 1
    }

    /// Copies a family with its samples under a new name.
    ///
    /// # Errors
    ///
    /// There is a family of that name, or the name is not valid.
    pub fn copy_family(&mut self, family: u32, name: &str) -> Edit<u32> {
        self.check_name(name)?;
        if self.find_family(name).is_some() {
            return fault(Code::Name, format!("there is a family {name} already"));
        }
        self.check_room(self.family(family).n_samples as usize)?;
        let name = self.write_for_plugin(name)?;
        let to = self.families.len() as u32;
        self.families.push(DraftFamily { name, n_samples: 0, ..self.families[family as usize] });
        for at in 0..self.samples.len() {
            let sample = self.samples[at];
            if sample.family != family || sample.dropped {
                continue;
            }
            let start = self.labels.len() as u32;
            self.labels.extend_from_within(sample.labels.range());
            let labels = Span { start, end: self.labels.len() as u32 };
            self.samples.push(DraftSample { family: to, labels, ..sample });
            self.families[to as usize].n_samples += 1;
        }
        Ok(to)
    }

    /// Sets the value of a counter, gauge or untyped sample.
    ///
    /// # Errors
    ///
    /// The sample is a histogram or summary.
    pub fn set_value(&mut self, sample: u32, value: f64) -> Edit<()> {
        if !is_plain(self.family(self.samples[sample as usize].family).kind) {
            return fault(Code::Type, "histograms and summaries have no single value");
        }
        let data = &mut self.samples[sample as usize];
        data.value = value;
        data.loose.null = false;
        match data.detail {
            Some(span) => {
                let message = detail::with_value(&self.blobs[span.range()], value);
                self.put_detail(sample, message)
            }
            None => Ok(()),
        }
    }

    /// Multiplies value, sum, bounds, quantile values and exemplar values by `factor`; counts stay.
    ///
    /// # Errors
    ///
    /// The factor is not finite and positive (for gauges and untyped: not zero), or the sample is a native
    /// histogram, or a limit is reached.
    pub fn scale(&mut self, sample: u32, factor: f64) -> Edit<()> {
        let DraftSample { family, parts, detail, .. } = self.samples[sample as usize];
        let kind = self.family(family).kind;
        let signed = matches!(kind, MetricType::Gauge | MetricType::Untyped);
        if !factor.is_finite() || factor == 0.0 || (factor < 0.0 && !signed) {
            return fault(Code::Value, format!("cannot scale a {} by {factor}", kind.text()));
        }
        let message = detail.map(|span| &self.blobs[span.range()]);
        if kind.has_buckets() && message.is_some_and(detail::is_native) {
            return fault(Code::Type, "native histograms cannot be scaled");
        }
        let scaled = message.and_then(|message| detail::scaled(kind, message, factor));
        self.account(parts.len() * size_of::<Part>())?;
        self.put_detail(sample, scaled)?;
        // Appended, so that a snapshot need not hold the old ones.
        let start = self.parts.len() as u32;
        for at in parts.range() {
            let Part { bound, value } = self.parts[at];
            self.parts.push(if kind.has_buckets() {
                Part { bound: bound * factor, value }
            } else {
                Part { bound, value: Number::Float(value.as_f64() * factor) }
            });
        }
        let sample = &mut self.samples[sample as usize];
        sample.parts = Span { start, end: start + parts.len() as u32 };
        sample.value *= factor;
        Ok(())
    }

    /// Sets type, help or unit of a family.
    ///
    /// # Errors
    ///
    /// The type is, or would be, one with parts; or a limit is reached.
    pub fn set_family_kind(&mut self, family: u32, kind: MetricType) -> Edit<()> {
        if !is_plain(kind) || !is_plain(self.family(family).kind) {
            return fault(Code::Type, "the type can change among counter, gauge and untyped only");
        }
        self.families[family as usize].kind = kind;
        Ok(())
    }

    pub fn set_help(&mut self, family: u32, help: Option<&str>) -> Edit<()> {
        let help = match help {
            Some(help) => Some(self.write_for_plugin(help)?),
            None => None,
        };
        self.families[family as usize].help = help;
        Ok(())
    }

    pub fn set_unit(&mut self, family: u32, unit: Option<&str>) -> Edit<()> {
        let unit = match unit {
            Some(unit) => Some(self.write_for_plugin(unit)?),
            None => None,
        };
        self.families[family as usize].unit = unit;
        Ok(())
    }

    /// Sets a grouping label, or deletes it.
    ///
    /// # Errors
    ///
    /// The name is not valid or begins with `__`, or the job would be missing.
    pub fn set_group_label(&mut self, name: &str, value: Option<&str>) -> Edit<()> {
        if name.starts_with("__") || !self.names.is_label_name(name) {
            return fault(Code::Name, format!("{name:?} is not a valid grouping label name"));
        }
        if name == "job" && value.unwrap_or_default().is_empty() {
            return fault(Code::Value, "the job cannot be empty or deleted");
        }
        self.recent = Recent::default();
        let found = self.group.binary_search_by(|label| self.text(label.name).cmp(name));
        match (found, value) {
            (Ok(at), None) => {
                self.group.remove(at);
            }
            (Err(_), None) => {}
            (_, Some(value)) if value.len() > LABEL_VALUE_BYTES_MAX => {
                return fault(
                    Code::Limit,
                    format!("label values hold at most {LABEL_VALUE_BYTES_MAX} bytes"),
                );
            }
            (Ok(at), Some(value)) => self.group[at].value = self.write_for_plugin(value)?,
            (Err(at), Some(value)) => {
                if self.group.len() >= crate::limits::GROUPING_LABELS_MAX {
                    return fault(Code::Limit, "too many grouping labels");
                }
                let label =
                    Label { name: self.write_for_plugin(name)?, value: self.write_for_plugin(value)? };
                self.group.insert(at, label);
            }
        }
        Ok(())
    }
}

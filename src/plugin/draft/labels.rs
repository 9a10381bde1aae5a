//! Changing the labels of a draft: those of its samples, and its grouping labels.

use super::edit::{Edit, fault};
use super::{Draft, Label, Text};
use crate::limits::{GROUPING_LABELS_MAX, LABEL_VALUE_BYTES_MAX, SERIES_LABELS_MAX};
use crate::model::Span;
use crate::plugin::fault::Code;

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

impl Draft {
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
                if self.group.len() >= GROUPING_LABELS_MAX {
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

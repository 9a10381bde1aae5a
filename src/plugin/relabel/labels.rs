//! The labels of one series while rules change them.
//!
//! # Invariants
//!
//! 1. Names are unique and values are not empty: an empty value is an absent label.
//! 2. Labels that the series came with stand first, sorted by name once [`sort`](LabelSet::sort) was
//!    called; labels set later follow in the order of setting. A label set anew moves to the end. This
//!    is the order in which `labelmap` sees them.
//! 3. Text that came with the series, or stands in a rule, is borrowed: only what a rule puts together is
//!    owned.

use std::borrow::Cow;

use smallvec::SmallVec;

/// The name under which the metric name is one of the labels.
pub const METRIC_NAME: &str = "__name__";

#[derive(Clone, Debug)]
struct Entry<'t> {
    name: Cow<'t, str>,
    value: Cow<'t, str>,
    original: bool,
}

#[derive(Clone, Debug, Default)]
pub struct LabelSet<'t> {
    entries: SmallVec<[Entry<'t>; 16]>,
    changed: bool,
}

impl<'t> LabelSet<'t> {
    /// Adds a label that the series came with. Of equal names the first one counts.
    pub fn push(&mut self, name: &'t str, value: &'t str) {
        if !value.is_empty() && self.position(name).is_none() {
            let (name, value) = (Cow::Borrowed(name), Cow::Borrowed(value));
            self.entries.push(Entry { name, value, original: true });
        }
    }

    /// Brings the labels that the series came with into their order.
    pub fn sort(&mut self) {
        self.entries.sort_by(|a, b| a.name.cmp(&b.name));
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == name)
    }

    /// The value of `name`; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.position(name).map_or("", |at| &self.entries[at].value)
    }

    /// The same, to be kept while the labels change.
    pub fn value(&self, name: &str) -> Cow<'t, str> {
        self.position(name).map_or(Cow::Borrowed(""), |at| self.entries[at].value.clone())
    }

    /// Sets a label, or deletes it if the value is empty.
    pub fn set(&mut self, name: Cow<'t, str>, value: Cow<'t, str>) {
        let found = self.position(&name);
        if value.is_empty() {
            return self.remove_at(found);
        }
        match found {
            Some(at) if self.entries[at].value == value && !self.entries[at].original => {}
            Some(at) if !self.entries[at].original => {
                self.entries[at].value = value;
                self.changed = true;
            }
            Some(at) => {
                let mut entry = self.entries.remove(at);
                self.changed |= entry.value != value;
                entry.original = false;
                entry.value = value;
                self.entries.push(entry);
            }
            None => {
                self.entries.push(Entry { name, value, original: false });
                self.changed = true;
            }
        }
    }

    fn remove_at(&mut self, at: Option<usize>) {
        if let Some(at) = at {
            self.entries.remove(at);
            self.changed = true;
        }
    }

    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|entry| keep(&entry.name));
        self.changed |= self.entries.len() != before;
    }

    /// Name and value of each label.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (&*entry.name, &*entry.value))
    }

    /// The same, to be kept while the labels change.
    pub fn texts(&self) -> impl Iterator<Item = (&Cow<'t, str>, &Cow<'t, str>)> {
        self.entries.iter().map(|entry| (&entry.name, &entry.value))
    }

    /// Whether a rule changed any name or value; an order alone is no change.
    pub fn is_changed(&self) -> bool {
        self.changed
    }
}

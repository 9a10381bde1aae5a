//! The labels of one series while rules change them.
//!
//! # Invariants
//!
//! 1. Names are unique and values are not empty: an empty value is an absent label.
//! 2. Labels that the series came with stand first, sorted by name once [`sort`](LabelSet::sort) was
//!    called; labels set later follow in the order of setting. A label set anew moves to the end. This
//!    is the order in which `labelmap` sees them.

use smallvec::SmallVec;

/// The name under which the metric name is one of the labels.
pub const METRIC_NAME: &str = "__name__";

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the label that the series came with under this number.
    Came(u32),
    /// From the text of a rule.
    Rule,
    /// A rule made it of the values of labels.
    Made,
}

#[derive(Clone, Copy, Debug)]
pub struct Entry<'t> {
    pub name: &'t str,
    pub value: &'t str,
    pub of: Origin,
    /// The number that it came with; none once a rule has set it.
    pub origin: Option<u32>,
}

#[derive(Clone, Debug, Default)]
pub struct LabelSet<'t> {
    entries: SmallVec<[Entry<'t>; 16]>,
    /// The [`bit`] of each name that is there or was: most names that are not are found out by theirs.
    bits: u64,
    changed: bool,
    made: bool,
}

/// One of 64, by length, first and last byte.
fn bit(name: &str) -> u64 {
    let (first, last) = match name.as_bytes() {
        [] => (0, 0),
        [only] => (*only, *only),
        [first, .., last] => (*first, *last),
    };
    1 << ((name.len() * 5 + usize::from(first) * 3 + usize::from(last)) % 64)
}

impl<'t> LabelSet<'t> {
    /// Adds a label that the series came with, under a number of the caller's. Of equal names the first one
    /// counts.
    pub fn push(&mut self, number: u32, name: &'t str, value: &'t str) {
        if value.is_empty() || self.position(name).is_some() {
            return;
        }
        self.bits |= bit(name);
        self.entries.push(Entry { name, value, of: Origin::Came(number), origin: Some(number) });
    }

    /// Brings the labels that the series came with into their order.
    pub fn sort(&mut self) {
        self.entries.sort_by_key(|entry| entry.name);
    }

    #[inline]
    fn position(&self, name: &str) -> Option<usize> {
        if self.bits & bit(name) == 0 {
            return None;
        }
        self.entries.iter().position(|entry| entry.name == name)
    }

    /// The value of `name`; empty if there is none.
    pub fn get(&self, name: &str) -> &'t str {
        self.position(name).map_or("", |at| self.entries[at].value)
    }

    /// Where the value of `name` comes from, if there is one.
    pub fn origin(&self, name: &str) -> Option<Origin> {
        self.position(name).map(|at| self.entries[at].of)
    }

    /// Sets a label, or deletes it if the value is empty.
    pub fn set(&mut self, name: &'t str, value: &'t str, of: Origin) {
        self.made |= of == Origin::Made;
        let found = self.position(name);
        if value.is_empty() {
            if let Some(at) = found {
                self.entries.remove(at);
                self.changed = true;
            }
            return;
        }
        match found {
            Some(at) if self.entries[at].origin.is_none() => {
                self.changed |= self.entries[at].value != value;
                (self.entries[at].value, self.entries[at].of) = (value, of);
            }
            Some(at) => {
                let entry = self.entries.remove(at);
                self.changed |= entry.value != value;
                self.entries.push(Entry { value, of, origin: None, ..entry });
            }
            None => {
                self.bits |= bit(name);
                self.entries.push(Entry { name, value, of, origin: None });
                self.changed = true;
            }
        }
    }

    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|entry| keep(entry.name));
        self.changed |= self.entries.len() != before;
    }

    /// The labels as they are.
    pub fn entries(&self) -> &[Entry<'t>] {
        &self.entries
    }

    /// Name and value of each label.
    pub fn iter(&self) -> impl Iterator<Item = (&'t str, &'t str)> {
        self.entries.iter().map(|entry| (entry.name, entry.value))
    }

    /// Whether a rule made a value of the values of labels, be it that it is not there any more.
    pub fn is_made(&self) -> bool {
        self.made
    }

    /// Whether a rule changed any name or value; an order alone is no change.
    pub fn is_changed(&self) -> bool {
        self.changed
    }
}

//! Reading the labels of a sample.

use super::{Draft, Label};
use crate::plugin::selector::Labels;

impl Draft {
    /// The sample's own labels that no grouping label overrides.
    pub fn own_labels(&self, sample: u32) -> impl Iterator<Item = (&str, &str)> {
        self.own(sample)
            .iter()
            .map(|label| (self.text(label.name), self.text(label.value)))
            .filter(|(name, _)| !self.is_grouped(name))
    }

    /// All labels of a sample, grouping labels included, in no promised order.
    pub fn labels(&self, sample: u32) -> impl Iterator<Item = (&str, &str)> {
        self.group().chain(self.own_labels(sample))
    }

    pub(super) fn own(&self, sample: u32) -> &[Label] {
        &self.labels[self.samples[sample as usize].labels.range()]
    }

    pub fn label(&self, sample: u32, name: &str) -> Option<&str> {
        self.group_label(name).or_else(|| self.own_label(sample, name))
    }

    pub(super) fn own_label(&self, sample: u32, name: &str) -> Option<&str> {
        let found = self.own(sample).iter().find(|label| self.is(label.name, name.as_bytes()));
        found.map(|label| self.text(label.value))
    }

    /// As [`label`](Draft::label), for names that may not be text at all.
    pub fn label_bytes(&self, sample: u32, name: &[u8]) -> Option<&[u8]> {
        let own = || self.own(sample).iter().find(|label| self.is(label.name, name));
        let found = self.group.iter().find(|label| self.is(label.name, name)).or_else(own);
        found.map(|label| self.bytes(label.value))
    }

    /// The sample as selectors see it: `__name__` is the family name, a missing label is empty.
    pub fn view(&self, sample: u32) -> SampleView<'_> {
        SampleView { draft: self, sample }
    }

    /// The grouping labels alone, as selectors see them.
    pub fn group_view(&self) -> GroupView<'_> {
        GroupView { draft: self }
    }
}

/// See [`Draft::view`].
#[derive(Clone, Copy)]
pub struct SampleView<'d> {
    draft: &'d Draft,
    sample: u32,
}

impl Labels for SampleView<'_> {
    fn get(&self, name: &str) -> &str {
        if name == "__name__" {
            return self.draft.family_name(self.draft.sample(self.sample).family);
        }
        self.draft.label(self.sample, name).unwrap_or_default()
    }
}

/// See [`Draft::group_view`].
#[derive(Clone, Copy)]
pub struct GroupView<'d> {
    draft: &'d Draft,
}

impl Labels for GroupView<'_> {
    fn get(&self, name: &str) -> &str {
        self.draft.group_label(name).unwrap_or_default()
    }
}

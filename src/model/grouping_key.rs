//! The label set that identifies a group.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::format::quote::{quoted, shortened};
use crate::limits::ECHO_LABELS_BYTES_MAX;

use super::{Reason, Refusal};

/// The label set spelled in a push URL. Two pushes with equal keys address the same group; an empty
/// value is part of the identity.
///
/// Invariant: sorted by label name bytewise, names are unique, `job` is present and not empty. But for one
/// key: the [bare](GroupingKey::bare) one has no labels.
#[derive(Clone)]
pub struct GroupingKey {
    /// Name, value, name, value, ... without separators.
    text: Box<str>,
    /// Where each of those pieces ends in `text`.
    ends: Box<[u32]>,
}

impl GroupingKey {
    /// The key without labels, of the group that keeps pushes to no group.
    pub fn bare() -> GroupingKey {
        GroupingKey::new("", [])
    }

    /// Makes a key of `job` and further labels. A name given twice keeps its last value, and a label
    /// named `job` gives way to the job itself. Without a job only the bare key can be made.
    pub fn new<'l>(job: &'l str, labels: impl IntoIterator<Item = (&'l str, &'l str)>) -> GroupingKey {
        let mut sorted: Vec<(&str, &str)> = labels.into_iter().collect();
        if !job.is_empty() {
            sorted.push(("job", job));
        }
        // The sort is stable, so of equal names the last one given stands last.
        sorted.sort_by(|a, b| a.0.cmp(b.0));
        let mut text = String::with_capacity(sorted.iter().map(|(n, v)| n.len() + v.len()).sum());
        let mut ends = Vec::with_capacity(sorted.len() * 2);
        for (position, (name, value)) in sorted.iter().enumerate() {
            if sorted.get(position + 1).is_some_and(|next| next.0 == *name) {
                continue;
            }
            text.push_str(name);
            ends.push(text.len() as u32);
            text.push_str(value);
            ends.push(text.len() as u32);
        }
        GroupingKey { text: text.into(), ends: ends.into() }
    }

    /// Makes a key of labels that are sorted by name, of different names, the job among them or none at all;
    /// see [`check`](GroupingKey::check).
    pub fn of_sorted<'l>(labels: impl ExactSizeIterator<Item = (&'l str, &'l str)> + Clone) -> GroupingKey {
        let mut text = String::with_capacity(labels.clone().map(|(n, v)| n.len() + v.len()).sum());
        let mut ends = Vec::with_capacity(labels.len() * 2);
        for piece in labels.flat_map(|(name, value)| [name, value]) {
            text.push_str(piece);
            ends.push(text.len() as u32);
        }
        let key = GroupingKey { text: text.into(), ends: ends.into() };
        debug_assert!(key.labels().map(|label| label.0).is_sorted_by(|a, b| a < b));
        key
    }

    /// How many grouping labels there are.
    #[expect(clippy::len_without_is_empty, reason = "only one key is, and is called bare")]
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// The grouping label at `position`: its name and value.
    pub fn label(&self, position: usize) -> (&str, &str) {
        (self.piece(2 * position), self.piece(2 * position + 1))
    }

    /// The grouping labels, sorted by name.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        (0..self.len()).map(|position| self.label(position))
    }

    /// The value of the grouping label `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.labels().find(|label| label.0 == name).map(|label| label.1)
    }

    /// The job, which every key has but the bare one, where this is empty.
    pub fn job(&self) -> &str {
        self.get("job").unwrap_or_default()
    }

    /// Whether it has a job, or no labels at all: what was made of the bare key may have neither.
    ///
    /// # Errors
    ///
    /// It has neither; [`Reason::BadKey`].
    pub fn check(&self) -> Result<(), Refusal> {
        let is_sound = self.is_bare() || !self.job().is_empty();
        if is_sound { Ok(()) } else { Err(Refusal::new(Reason::BadKey, "job name is required")) }
    }

    /// Whether it is the one without labels.
    pub fn is_bare(&self) -> bool {
        self.ends.is_empty()
    }

    fn piece(&self, position: usize) -> &str {
        let start = if position == 0 { 0 } else { self.ends[position - 1] as usize };
        &self.text[start..self.ends[position] as usize]
    }
}

impl PartialEq for GroupingKey {
    fn eq(&self, other: &GroupingKey) -> bool {
        self.text == other.text && self.ends == other.ends
    }
}

impl Eq for GroupingKey {}

impl Hash for GroupingKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.as_bytes().hash(state);
        self.ends.hash(state);
    }
}

/// As `{instance="i",job="j"}`, for logs and refusals: long values are cut, and `...` stands for labels
/// behind the first [`ECHO_LABELS_BYTES_MAX`] bytes.
impl fmt::Display for GroupingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        let mut written = 0;
        for (position, (name, value)) in self.labels().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            if written > ECHO_LABELS_BYTES_MAX {
                write!(f, "{comma}...")?;
                break;
            }
            let (name, value) = (shortened(name), quoted(value.as_bytes()));
            write!(f, "{comma}{name}={value}")?;
            written += name.len() + value.len();
        }
        f.write_str("}")
    }
}

impl fmt::Debug for GroupingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_the_last_of_a_name_wins() {
        let key = GroupingKey::new("j", [("z", "1"), ("a", ""), ("z", "2"), ("job", "other")]);
        let labels: Vec<_> = key.labels().collect();
        assert_eq!(labels, [("a", ""), ("job", "j"), ("z", "2")]);
        assert_eq!(key.job(), "j");
        assert_eq!(key.get("a"), Some(""));
        assert_eq!(key.get("b"), None);
    }

    #[test]
    fn the_bare_key_has_nothing() {
        let bare = GroupingKey::bare();
        assert_eq!((bare.len(), bare.job(), bare.to_string()), (0, "", "{}".to_owned()));
        assert!(bare.is_bare() && !GroupingKey::new("j", []).is_bare());
    }

    #[test]
    fn order_does_not_matter_and_an_empty_value_does() {
        let one = GroupingKey::new("j", [("a", "1"), ("b", "2")]);
        let two = GroupingKey::new("j", [("b", "2"), ("a", "1")]);
        let three = GroupingKey::new("j", [("b", "2"), ("a", "1"), ("c", "")]);
        assert_eq!(one, two);
        assert_ne!(one, three);
    }

    #[test]
    fn pieces_that_run_together_stay_apart() {
        assert_ne!(GroupingKey::new("j", [("a", "bc")]), GroupingKey::new("j", [("ab", "c")]));
    }
}

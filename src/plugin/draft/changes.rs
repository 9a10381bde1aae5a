//! What became of samples between two looks at a draft: for plugins in shadow, and for traces.
//!
//! Names are told, values are not: what is found here goes to logs.

use std::collections::BTreeSet;

use super::{Draft, DraftFamily, DraftSample, Label};

/// Names that are told of each kind of change.
const NAMES_MAX: usize = 64;

/// Samples as they were.
#[derive(Debug, Default)]
pub struct Mark {
    samples: Vec<Marked>,
    /// How many samples and families there were in all.
    sample_count: usize,
    dropped: usize,
    group: Vec<Label>,
}

#[derive(Debug)]
struct Marked {
    at: u32,
    sample: DraftSample,
    family: DraftFamily,
    labels: Box<[Label]>,
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names of labels.
    pub labels_added: BTreeSet<String>,
    pub labels_removed: BTreeSet<String>,
    pub labels_changed: BTreeSet<String>,
    /// Names of families that samples left for another, or that got another name.
    pub renamed: BTreeSet<String>,
    /// Samples whose value, sum or parts are others.
    pub values: usize,
    /// Samples whose family has another type, help or unit.
    pub described: usize,
    pub added: usize,
    pub dropped: usize,
}

impl Changes {
    /// Whether there is any besides dropped samples.
    pub fn is_change(&self) -> bool {
        let Changes {
            labels_added, labels_removed, labels_changed, renamed, values, described, added, ..
        } = self;
        ![labels_added, labels_removed, labels_changed, renamed].into_iter().all(BTreeSet::is_empty)
            || *values + *described + *added > 0
    }

    /// Adds what another look has found.
    pub fn merge(&mut self, more: Changes) {
        for (names, more) in [
            (&mut self.labels_added, more.labels_added),
            (&mut self.labels_removed, more.labels_removed),
            (&mut self.labels_changed, more.labels_changed),
            (&mut self.renamed, more.renamed),
        ] {
            more.into_iter().for_each(|name| note(names, &name));
        }
        self.values += more.values;
        self.described += more.described;
        self.added += more.added;
        self.dropped += more.dropped;
    }

    /// For a log record: names, no values.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        for (what, names) in [
            ("adds labels", &self.labels_added),
            ("removes labels", &self.labels_removed),
            ("changes labels", &self.labels_changed),
            ("renames", &self.renamed),
        ] {
            if !names.is_empty() {
                parts.push(format!("{what} {}", names.iter().cloned().collect::<Vec<_>>().join(", ")));
            }
        }
        for (what, count) in [
            ("changes values of", self.values),
            ("describes otherwise", self.described),
            ("adds", self.added),
            ("drops", self.dropped),
        ] {
            if count > 0 {
                parts.push(format!("{what} {count} samples"));
            }
        }
        parts.join("; ")
    }
}

fn note(names: &mut BTreeSet<String>, name: &str) {
    if names.len() < NAMES_MAX && !names.contains(name) {
        names.insert(name.to_owned());
    }
}

impl Draft {
    /// Remembers these samples, and the grouping labels.
    pub fn mark(&self, samples: impl Iterator<Item = u32>) -> Mark {
        let marked = samples.map(|at| {
            let sample = *self.sample(at);
            Marked { at, sample, family: *self.family(sample.family), labels: self.own(at).into() }
        });
        Mark {
            samples: marked.collect(),
            sample_count: self.samples.len(),
            dropped: self.dropped,
            group: self.group.clone(),
        }
    }

    /// Remembers all samples.
    pub fn mark_all(&self) -> Mark {
        self.mark(0..self.samples.len() as u32)
    }

    /// What happened since to the samples remembered, and which were added.
    pub fn changes_since(&self, mark: &Mark) -> Changes {
        let mut changes = Changes {
            added: self.samples.len() - mark.sample_count,
            dropped: self.dropped.saturating_sub(mark.dropped),
            ..Changes::default()
        };
        self.compare_labels(&mark.group, &self.group, &mut changes);
        for was in &mark.samples {
            let now = self.sample(was.at);
            if now.dropped {
                continue;
            }
            self.compare_labels(&was.labels, self.own(was.at), &mut changes);
            let family = self.family(now.family);
            if self.text(family.name) != self.text(was.family.name) {
                note(&mut changes.renamed, self.text(was.family.name));
            }
            let described = |family: &DraftFamily| {
                (
                    family.kind,
                    family.help.map(|text| self.text(text)),
                    family.unit.map(|text| self.text(text)),
                )
            };
            changes.described += usize::from(described(family) != described(&was.family));
            let same = now.value.to_bits() == was.sample.value.to_bits() && now.parts == was.sample.parts;
            changes.values += usize::from(!same);
        }
        changes
    }

    /// Both lists are short: a series has few labels.
    fn compare_labels(&self, was: &[Label], now: &[Label], changes: &mut Changes) {
        if was == now {
            return;
        }
        let value = |labels: &[Label], name: &str| {
            labels.iter().find(|label| self.text(label.name) == name).map(|label| label.value)
        };
        for label in was {
            let name = self.text(label.name);
            match value(now, name) {
                None => note(&mut changes.labels_removed, name),
                Some(after) if self.text(after) != self.text(label.value) => {
                    note(&mut changes.labels_changed, name);
                }
                Some(_) => {}
            }
        }
        for label in now {
            let name = self.text(label.name);
            if value(was, name).is_none() {
                note(&mut changes.labels_added, name);
            }
        }
    }
}

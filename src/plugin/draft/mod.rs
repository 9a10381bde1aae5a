//! The working copy of a push that plugins see and change.
//!
//! All text lies in one arena that only grows, and everything else is flat vectors of positions. So an
//! edit is an appended piece of text and a changed position, a snapshot for undo is a copy of plain
//! numbers, and nothing is converted that no plugin touches: an untouched value keeps its bits.
//!
//! # Invariants
//!
//! 1. A [`Text`] points at whole characters of the arena, and text once written never changes.
//! 2. The own labels of a sample are a run of `labels`; grouping labels are kept beside, and win over an
//!    own label of the same name, as they do in the store.
//! 3. Samples that were dropped stay in place, so positions stay valid while a push is in the chain.

mod changes;
mod edit;
mod image;
mod labels;
mod load;
mod plan;
mod relabel;
mod remembered;
mod series;
mod template;

use std::sync::Arc;

use crate::format::same::is_same;
use crate::model::template::{Outline, Template};
use crate::model::{LooseLine, MetricType, NameRules, Number, Part, Span};

use image::{Image, Scene};
use labels::{Fresh, Recent};
use plan::Plans;

pub use changes::{Changes, Mark};
pub use edit::{Edit, NewSample};
pub use load::Received;
pub use relabel::RelabelCounts;
pub use remembered::{LookWriter, Remembered};

/// A piece of the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    start: u32,
    end: u32,
}

impl Text {
    fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    pub name: Text,
    pub value: Text,
}

#[derive(Clone, Copy, Debug)]
pub struct DraftFamily {
    pub name: Text,
    pub help: Option<Text>,
    pub unit: Option<Text>,
    pub kind: MetricType,
    /// How many of its samples are left.
    pub n_samples: u32,
    /// The family that took its samples over, if it was merged into one.
    pub merged_into: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub struct DraftSample {
    /// Position in [`Draft::families`].
    pub family: u32,
    labels: Span,
    /// Buckets or quantiles.
    pub parts: Span,
    /// Counter, gauge, untyped: the value. Histogram, summary: the sum.
    pub value: f64,
    pub count: Number,
    /// Its protobuf value message, a piece of `blobs`.
    detail: Option<Span>,
    pub dropped: bool,
    /// Where it stood, if a lenient reading let its line pass.
    pub loose: LooseLine,
}

impl DraftSample {
    /// Whether a protobuf value message came with it.
    pub fn has_detail(&self) -> bool {
        self.detail.is_some()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Draft {
    arena: String,
    families: Vec<DraftFamily>,
    samples: Vec<DraftSample>,
    labels: Vec<Label>,
    parts: Vec<Part>,
    blobs: Vec<u8>,
    timestamped: bool,
    /// Of samples as they came, sorted by sample: milliseconds.
    timestamps: Vec<(u32, i64)>,
    names: NameRules,
    /// Whether names may break the rules and values may be null until the last plugin is through.
    is_loose: bool,
    /// The grouping labels, sorted by name.
    group: Vec<Label>,
    /// Samples as they came in.
    received: usize,
    /// The body they came from, where a template of it may be cut, and which sample each of its series
    /// became.
    outline: Outline,
    sample_of: Vec<u32>,
    /// The draft as it was loaded, and how much of the arena was written then, where an image of it may be
    /// kept.
    received_scene: Scene,
    received_bytes: usize,
    /// What recognised the body, if it was not parsed.
    known: Option<(Template, Arc<Image>)>,
    /// Bytes of the body.
    pub body_bytes: usize,
    fresh: Fresh,
    recent: Recent,
    /// Of the lists of rules that ran last.
    plans: Vec<Plans>,
    /// Bytes that edits appended since the current plugin began, and samples it added.
    written: usize,
    added: usize,
    dropped: usize,
}

/// What undo needs: a copy of everything but the text.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    families: Vec<DraftFamily>,
    samples: Vec<DraftSample>,
    labels: Vec<Label>,
    group: Vec<Label>,
    dropped: usize,
}

impl Draft {
    pub fn new(names: NameRules) -> Draft {
        Draft {
            arena: String::new(),
            families: Vec::new(),
            samples: Vec::new(),
            labels: Vec::new(),
            parts: Vec::new(),
            blobs: Vec::new(),
            timestamped: false,
            timestamps: Vec::new(),
            names,
            is_loose: false,
            group: Vec::new(),
            received: 0,
            outline: Outline::default(),
            sample_of: Vec::new(),
            received_scene: Scene::default(),
            received_bytes: 0,
            known: None,
            body_bytes: 0,
            fresh: Fresh::default(),
            recent: Recent::default(),
            plans: Vec::new(),
            written: 0,
            added: 0,
            dropped: 0,
        }
    }

    pub fn names(&self) -> NameRules {
        self.names
    }

    pub fn text(&self, text: Text) -> &str {
        &self.arena[text.start as usize..text.end as usize]
    }

    fn bytes(&self, text: Text) -> &[u8] {
        &self.arena.as_bytes()[text.start as usize..text.end as usize]
    }

    /// Whether a piece of text is `bytes`; cheaper than looking at it as text.
    fn is(&self, text: Text, bytes: &[u8]) -> bool {
        text.len() == bytes.len() && is_same(self.bytes(text), bytes)
    }

    fn write(&mut self, text: &str) -> Text {
        let start = self.arena.len() as u32;
        self.arena.push_str(text);
        Text { start, end: self.arena.len() as u32 }
    }

    pub fn families(&self) -> &[DraftFamily] {
        &self.families
    }

    pub fn family(&self, family: u32) -> &DraftFamily {
        &self.families[family as usize]
    }

    pub fn family_name(&self, family: u32) -> &str {
        self.text(self.families[family as usize].name)
    }

    pub fn samples(&self) -> &[DraftSample] {
        &self.samples
    }

    pub fn sample(&self, sample: u32) -> &DraftSample {
        &self.samples[sample as usize]
    }

    pub fn parts_of(&self, sample: u32) -> &[Part] {
        &self.parts[self.samples[sample as usize].parts.range()]
    }

    /// The timestamp that came with a sample, in milliseconds.
    pub fn timestamp(&self, sample: u32) -> Option<i64> {
        let at = self.timestamps.binary_search_by_key(&sample, |timestamp| timestamp.0).ok()?;
        Some(self.timestamps[at].1)
    }

    /// Samples the body held.
    pub fn received(&self) -> usize {
        self.received
    }

    /// Samples that plugins removed.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    pub fn n_samples(&self) -> usize {
        self.samples.iter().filter(|sample| !sample.dropped).count()
    }

    pub fn n_families(&self) -> usize {
        self.families.iter().filter(|family| family.n_samples > 0).count()
    }

    /// Exposed lines: a histogram or summary counts each of its parts, its sum and its count.
    pub fn n_series(&self) -> usize {
        let lines = |sample: &DraftSample| match self.families[sample.family as usize].kind {
            MetricType::Counter | MetricType::Gauge | MetricType::Untyped => 1,
            _ => sample.parts.len() + 2,
        };
        self.samples.iter().filter(|sample| !sample.dropped).map(lines).sum()
    }

    pub fn group(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.group.iter().map(|label| (self.text(label.name), self.text(label.value)))
    }

    fn is_grouped(&self, name: &str) -> bool {
        self.group.iter().any(|label| self.is(label.name, name.as_bytes()))
    }

    pub fn group_label(&self, name: &str) -> Option<&str> {
        let found = self.group.iter().find(|label| self.is(label.name, name.as_bytes()));
        found.map(|label| self.text(label.value))
    }

    /// Copies the state into `snapshot`, keeping its allocations.
    pub fn save(&self, snapshot: &mut Snapshot) {
        snapshot.families.clone_from(&self.families);
        snapshot.samples.clone_from(&self.samples);
        snapshot.labels.clone_from(&self.labels);
        snapshot.group.clone_from(&self.group);
        snapshot.dropped = self.dropped;
    }

    /// Takes everything back that was done since `snapshot` was saved.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.families.clone_from(&snapshot.families);
        self.samples.clone_from(&snapshot.samples);
        self.labels.clone_from(&snapshot.labels);
        self.group.clone_from(&snapshot.group);
        self.recent = Recent::default();
        self.dropped = snapshot.dropped;
    }
}

#[cfg(test)]
mod tests;

//! A group as it was at one instant, for whoever lists groups: the API, the page, an export.

use std::borrow::Cow;
use std::sync::Arc;

use super::Store;
use super::consistency::all_labels;
use super::group::{Block, GroupState, Held};
use super::life::Life;
use super::shape::{FamilyShape, Shape};
use crate::clock::UnixNanos;
use crate::model::{GroupingKey, MetricType, Number};

/// One group at one instant. Owns what it shows, so it may be kept across waits.
pub struct GroupView {
    pub key: Arc<GroupingKey>,
    state: GroupState,
}

impl Store {
    /// One group as it is now.
    pub fn view(&self, key: &GroupingKey) -> Option<GroupView> {
        let group = self.get(key)?;
        group.load().map(|state| GroupView::new(group.key.clone(), state))
    }

    /// Every group as it is now, sorted by grouping key.
    pub fn views(&self) -> Vec<GroupView> {
        let groups = self.groups();
        let view = |group: &Arc<super::group::Group>| {
            group.load().map(|state| GroupView::new(group.key.clone(), state))
        };
        let mut views: Vec<GroupView> = groups.iter().filter_map(view).collect();
        views.sort_by(|a, b| a.key.labels().cmp(b.key.labels()));
        views
    }
}

impl GroupView {
    pub(super) fn new(key: Arc<GroupingKey>, state: GroupState) -> GroupView {
        GroupView { key, state }
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.state.blocks.iter()
    }

    /// Time of the last accepted push; [`UnixNanos::NEVER`] if there was none.
    pub fn push_time(&self) -> UnixNanos {
        self.state.push_time
    }

    /// Time of the last push refused by the store; [`UnixNanos::NEVER`] if there was none.
    pub fn failure_time(&self) -> UnixNanos {
        self.state.failure_time
    }

    /// Whether no push failed after the last accepted one.
    pub fn last_push_successful(&self) -> bool {
        self.state.push_time >= self.state.failure_time
    }

    /// What is known of its end.
    pub fn life(&self) -> Life {
        self.state.life
    }

    /// How many series it holds, the two push times not counted.
    pub fn series_count(&self) -> usize {
        self.state.series_count()
    }

    /// The families by name, bytewise, without the two push time families.
    pub fn families(&self) -> Vec<FamilyView<'_>> {
        let all = self.state.families();
        let mut families: Vec<_> = all
            .map(|(held, _, family)| FamilyView {
                name: held.block.shape.name(family),
                help: held.block.shape.help(family),
                kind: family.kind,
                pushed_at: held.block.pushed_at,
                key: &self.key,
                block: &held.block,
                family,
            })
            .collect();
        families.sort_unstable_by_key(|family| family.name);
        families
    }
}

/// One family of a group.
pub struct FamilyView<'g> {
    pub name: &'g str,
    pub help: Option<&'g str>,
    pub kind: MetricType,
    /// Time of the push that brought it.
    pub pushed_at: UnixNanos,
    key: &'g GroupingKey,
    block: &'g Block,
    family: &'g FamilyShape,
}

impl<'g> FamilyView<'g> {
    /// The series in stored order, which is the order of the body.
    pub fn series(&self) -> impl ExactSizeIterator<Item = SeriesView<'g>> {
        let (key, block, kind) = (self.key, self.block, self.kind);
        self.family.series.range().map(move |position| SeriesView {
            labels: all_labels(&block.shape, position, key),
            value: value(block, kind, position),
        })
    }
}

/// One series with its whole label set: grouping labels and `instance` included, sorted by name.
pub struct SeriesView<'g> {
    pub labels: Vec<(Cow<'g, str>, Cow<'g, str>)>,
    pub value: ValueView<'g>,
}

/// The value of a series.
#[derive(Debug)]
pub enum ValueView<'g> {
    /// Counter, gauge, untyped.
    Plain(f64),
    Summary {
        quantiles: Vec<(f64, f64)>,
        sum: f64,
        count: u64,
    },
    /// `detail` is the protobuf `Histogram` message where the push held more than classic buckets.
    Histogram {
        buckets: Vec<(f64, Number)>,
        sum: f64,
        count: Number,
        detail: Option<&'g [u8]>,
    },
}

/// The value of the series at `position` of the block's shape.
pub fn value(block: &Block, kind: MetricType, position: usize) -> ValueView<'_> {
    let shape: &Shape = &block.shape;
    let (series, _) = shape.series_at(position);
    let values = &block.values[series.first_value as usize..];
    let bounds = shape.bounds(series);
    let sum = || f64::from_bits(values[bounds.len()]);
    let number = |bits: u64| {
        if series.float_counts { Number::Float(f64::from_bits(bits)) } else { Number::Int(bits) }
    };
    match kind {
        MetricType::Counter | MetricType::Gauge | MetricType::Untyped => {
            ValueView::Plain(f64::from_bits(values[0]))
        }
        MetricType::Summary => ValueView::Summary {
            quantiles: bounds.iter().zip(values).map(|(b, v)| (*b, f64::from_bits(*v))).collect(),
            sum: sum(),
            count: values[bounds.len() + 1],
        },
        MetricType::Histogram | MetricType::GaugeHistogram => ValueView::Histogram {
            buckets: bounds.iter().zip(values).map(|(b, v)| (*b, number(*v))).collect(),
            sum: sum(),
            count: number(values[bounds.len() + 1]),
            detail: block.details.get(series.first_value),
        },
    }
}

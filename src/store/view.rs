//! A group as it was at one instant, for whoever lists groups: the API, the page, an export.

use std::borrow::Cow;
use std::sync::Arc;

use crate::clock::UnixNanos;
use crate::model::{GroupingKey, MetricType, Number};

/// One group at one instant. Owns what it shows, so it may be kept across waits.
pub struct GroupView {
    pub key: Arc<GroupingKey>,
    /// Time of the last accepted push; [`UnixNanos::NEVER`] if there was none.
    pub push_time: UnixNanos,
    /// Time of the last push refused by the store; [`UnixNanos::NEVER`] if there was none.
    pub failure_time: UnixNanos,
}

impl GroupView {
    /// Whether no push failed after the last accepted one.
    pub fn last_push_successful(&self) -> bool {
        self.push_time >= self.failure_time
    }

    /// The families by name, bytewise, without the two push time families.
    pub fn families(&self) -> Vec<FamilyView<'_>> {
        todo!()
    }
}

/// One family of a group.
pub struct FamilyView<'g> {
    pub name: &'g str,
    pub help: Option<&'g str>,
    pub kind: MetricType,
    /// Time of the push that brought it.
    pub pushed_at: UnixNanos,
}

impl<'g> FamilyView<'g> {
    /// The series in stored order, which is the order of the body.
    pub fn series(&self) -> Vec<SeriesView<'g>> {
        todo!()
    }
}

/// One series with its whole label set: grouping labels and `instance` included, sorted by name.
pub struct SeriesView<'g> {
    pub labels: Vec<(Cow<'g, str>, Cow<'g, str>)>,
    pub value: ValueView<'g>,
}

/// The value of a series.
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

//! What one body says: metric families with their series, borrowed from the body where the bytes
//! allow.
//!
//! The parts lie in flat vectors and point at each other by [`Span`], so a push of any size costs a
//! handful of allocations, and none once a worker reuses its [`Families`].
//!
//! # Invariants
//!
//! 1. The series of a family are contiguous, and so are the labels and the parts of a series.
//! 2. The labels of a series are in the order of the body. `le` and `quantile` of bucket and quantile
//!    lines are not among them; they are the bounds of [`Part`]s.
//! 3. A histogram's counts are all [`Number::Int`] or all [`Number::Float`].

use std::borrow::Cow;

use super::template::Syntax;

/// The type of a metric family, as the protobuf data model numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MetricType {
    Counter = 0,
    Gauge = 1,
    Summary = 2,
    Untyped = 3,
    Histogram = 4,
    GaugeHistogram = 5,
}

impl MetricType {
    /// As the text format writes it after `# TYPE`; a gauge histogram is shown as a histogram.
    pub fn text(self) -> &'static str {
        match self {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Summary => "summary",
            MetricType::Untyped => "untyped",
            MetricType::Histogram | MetricType::GaugeHistogram => "histogram",
        }
    }

    /// The protobuf enum's name, as the JSON API and the reference's error texts write it.
    pub fn upper(self) -> &'static str {
        match self {
            MetricType::Counter => "COUNTER",
            MetricType::Gauge => "GAUGE",
            MetricType::Summary => "SUMMARY",
            MetricType::Untyped => "UNTYPED",
            MetricType::Histogram => "HISTOGRAM",
            MetricType::GaugeHistogram => "GAUGE_HISTOGRAM",
        }
    }

    /// The number of the field of the protobuf message `Metric` that holds values of this type.
    pub fn value_field(self) -> u32 {
        match self {
            MetricType::Gauge => 2,
            MetricType::Counter => 3,
            MetricType::Summary => 4,
            MetricType::Untyped => 5,
            MetricType::Histogram | MetricType::GaugeHistogram => 7,
        }
    }

    /// True for the two types made of buckets.
    pub fn has_buckets(self) -> bool {
        matches!(self, MetricType::Histogram | MetricType::GaugeHistogram)
    }
}

/// A range of positions in one of the vectors of [`Families`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// A count: whole as almost always, or a float as native histograms and recording rules make them.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Int(u64),
    Float(f64),
}

impl Number {
    /// The value as a float64, which is what the text format prints.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(n) => n as f64,
            Number::Float(x) => x,
        }
    }

    /// The 64 bits in which the store keeps it; the series' shape remembers which of the two it is.
    pub fn to_bits(self) -> u64 {
        match self {
            Number::Int(n) => n,
            Number::Float(x) => x.to_bits(),
        }
    }
}

/// One metric family of the body.
#[derive(Clone, Debug)]
pub struct Family<'b> {
    pub name: Cow<'b, str>,
    /// `None` where the body gave none. An empty help can only come by protobuf, and is kept apart.
    pub help: Option<Cow<'b, str>>,
    pub unit: Option<Cow<'b, str>>,
    pub kind: MetricType,
    /// Positions in [`Families::series`].
    pub series: Span,
}

/// One label as the body wrote it, unescaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label<'b> {
    pub name: Cow<'b, str>,
    pub value: Cow<'b, str>,
}

/// One series: its labels and its value of whatever type the family has.
#[derive(Clone, Debug)]
pub struct Series {
    /// Positions in [`Families::labels`].
    pub labels: Span,
    /// Quantiles or buckets: positions in [`Families::parts`], in order of arrival.
    pub parts: Span,
    /// Counter, gauge and untyped: the value. Summary and histogram: the sum.
    pub value: f64,
    /// Summary (always `Int`) and histogram: the count. Otherwise `Int(0)`.
    pub count: Number,
}

/// One quantile of a summary (its value is `Float`) or one cumulative bucket of a histogram.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The `quantile` or the upper bound `le`.
    pub bound: f64,
    pub value: Number,
}

/// What a series holds beyond what text can say: its protobuf value message (`Counter`,
/// `Histogram`, ...) as it was pushed, for exemplars, created times and native histograms.
#[derive(Clone, Debug)]
pub struct Detail<'b> {
    /// Position in [`Families::series`].
    pub series: u32,
    pub message: Cow<'b, [u8]>,
}

/// Which value of a series a sample line gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// [`Series::value`]: a plain value, or the sum of a summary or histogram.
    Value,
    Count,
    /// The part at this position among the series' own parts.
    Part(u32),
    /// A value that is read, checked and then not kept, such as that of `quantile="NaN"`.
    Ignored,
}

/// Where in a text body the value of a sample stands. A template of text is cut from these.
#[derive(Clone, Copy, Debug)]
pub struct SampleSpan {
    /// Byte offsets of the value's text; the next byte is the line feed.
    pub start: u32,
    pub end: u32,
    /// Position in [`Families::series`].
    pub series: u32,
    pub field: Field,
}

/// All families of one body.
#[derive(Debug, Default)]
pub struct Families<'b> {
    pub families: Vec<Family<'b>>,
    pub series: Vec<Series>,
    pub labels: Vec<Label<'b>>,
    pub parts: Vec<Part>,
    pub details: Vec<Detail<'b>>,
    /// What the body is written in, where it is one that templates read; else it says nothing.
    pub syntax: Syntax,
    /// In body order. Empty for bodies that are not text 0.0.4.
    pub samples: Vec<SampleSpan>,
    /// Whether any sample carried a timestamp; such a push is refused by the store.
    pub timestamped: bool,
    /// Series (by position) and their timestamps, in milliseconds, as far as they are known.
    pub timestamps: Vec<(u32, i64)>,
}

impl<'b> Families<'b> {
    /// An empty set that keeps this one's allocations, free to borrow from another body.
    pub fn recycle<'c>(mut self) -> Families<'c> {
        self.families.clear();
        self.labels.clear();
        self.details.clear();
        self.series.clear();
        self.parts.clear();
        self.samples.clear();
        self.timestamps.clear();
        Families {
            // Collecting an emptied vector into one of the same layout keeps its allocation.
            families: self.families.into_iter().map(|_| unreachable!("cleared above")).collect(),
            labels: self.labels.into_iter().map(|_| unreachable!("cleared above")).collect(),
            details: self.details.into_iter().map(|_| unreachable!("cleared above")).collect(),
            series: self.series,
            parts: self.parts,
            syntax: Syntax::default(),
            samples: self.samples,
            timestamped: false,
            timestamps: self.timestamps,
        }
    }

    /// The series of `family`.
    pub fn series_of(&self, family: &Family<'b>) -> &[Series] {
        &self.series[family.series.range()]
    }

    /// The labels of `series` as the body gave them.
    pub fn labels_of(&self, series: &Series) -> &[Label<'b>] {
        &self.labels[series.labels.range()]
    }

    /// The quantiles or buckets of `series`.
    pub fn parts_of(&self, series: &Series) -> &[Part] {
        &self.parts[series.parts.range()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recycling_keeps_allocations_and_drops_content() {
        let body = String::from("x");
        let mut families = Families::default();
        families.labels.reserve_exact(100);
        families.labels.push(Label { name: Cow::Borrowed(&body), value: Cow::Borrowed("v") });
        families.timestamped = true;
        let capacity = families.labels.capacity();
        let recycled = families.recycle();
        drop(body);
        assert!(recycled.labels.is_empty());
        assert!(!recycled.timestamped);
        assert_eq!(recycled.labels.capacity(), capacity);
    }
}

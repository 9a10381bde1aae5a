//! The same messages by `prost`, the second opinion in tests, and random ones of them.

use proptest::prelude::*;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct LabelPair {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    #[prost(double, optional, tag = "2")]
    pub value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    pub timestamp: Option<Timestamp>,
}

/// Both `Gauge` and `Untyped`.
#[derive(Clone, PartialEq, Message)]
pub struct Plain {
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Counter {
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
    #[prost(message, optional, tag = "2")]
    pub exemplar: Option<Exemplar>,
    #[prost(message, optional, tag = "3")]
    pub created_timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Quantile {
    #[prost(double, optional, tag = "1")]
    pub quantile: Option<f64>,
    #[prost(double, optional, tag = "2")]
    pub value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    #[prost(uint64, optional, tag = "1")]
    pub sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub quantile: Vec<Quantile>,
    #[prost(message, optional, tag = "4")]
    pub created_timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    pub cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub upper_bound: Option<f64>,
    #[prost(message, optional, tag = "3")]
    pub exemplar: Option<Exemplar>,
    #[prost(double, optional, tag = "4")]
    pub cumulative_count_float: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    pub offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub length: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    pub sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub bucket: Vec<Bucket>,
    #[prost(double, optional, tag = "4")]
    pub sample_count_float: Option<f64>,
    #[prost(sint32, optional, tag = "5")]
    pub schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    pub zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    pub zero_count: Option<u64>,
    #[prost(double, optional, tag = "8")]
    pub zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "9")]
    pub negative_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "10")]
    pub negative_delta: Vec<i64>,
    #[prost(double, repeated, packed = "false", tag = "11")]
    pub negative_count: Vec<f64>,
    #[prost(message, repeated, tag = "12")]
    pub positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "true", tag = "13")]
    pub positive_delta: Vec<i64>,
    #[prost(double, repeated, packed = "true", tag = "14")]
    pub positive_count: Vec<f64>,
    #[prost(message, optional, tag = "15")]
    pub created_timestamp: Option<Timestamp>,
    #[prost(message, repeated, tag = "16")]
    pub exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    pub gauge: Option<Plain>,
    #[prost(message, optional, tag = "3")]
    pub counter: Option<Counter>,
    #[prost(message, optional, tag = "4")]
    pub summary: Option<Summary>,
    #[prost(message, optional, tag = "5")]
    pub untyped: Option<Plain>,
    #[prost(int64, optional, tag = "6")]
    pub timestamp_ms: Option<i64>,
    #[prost(message, optional, tag = "7")]
    pub histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub help: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub r#type: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    pub metric: Vec<Metric>,
    #[prost(string, optional, tag = "5")]
    pub unit: Option<String>,
}

pub fn encoded(families: &[MetricFamily]) -> Vec<u8> {
    families.iter().flat_map(MetricFamily::encode_length_delimited_to_vec).collect()
}

pub fn decoded(mut bytes: &[u8]) -> Result<Vec<MetricFamily>, prost::DecodeError> {
    let mut families = Vec::new();
    while !bytes.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut bytes)?);
    }
    Ok(families)
}

pub fn label(name: &str, value: &str) -> LabelPair {
    LabelPair { name: Some(name.into()), value: Some(value.into()) }
}

fn double() -> impl Strategy<Value = f64> {
    // NaN does not equal itself; tests that compare messages would need another comparison.
    prop_oneof![Just(0.0), Just(-0.0), Just(f64::INFINITY), -1e3..1e3, Just(1.0)]
}

fn timestamp() -> impl Strategy<Value = Option<Timestamp>> {
    prop::option::weighted(
        0.2,
        (any::<i64>(), 0..5).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos }),
    )
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    (prop::option::of(double()), timestamp()).prop_map(|(value, timestamp)| Exemplar {
        label: vec![label("trace", "1")],
        value,
        timestamp,
    })
}

fn plain() -> impl Strategy<Value = Plain> {
    prop::option::weighted(0.9, double()).prop_map(|value| Plain { value })
}

fn counter() -> impl Strategy<Value = Counter> {
    (prop::option::weighted(0.9, double()), prop::option::weighted(0.2, exemplar()), timestamp())
        .prop_map(|(value, exemplar, created_timestamp)| Counter { value, exemplar, created_timestamp })
}

fn summary() -> impl Strategy<Value = Summary> {
    let quantile = (prop::option::weighted(0.9, double()), prop::option::weighted(0.9, double()))
        .prop_map(|(quantile, value)| Quantile { quantile, value });
    (
        prop::option::weighted(0.9, any::<u64>()),
        prop::option::weighted(0.9, double()),
        prop::collection::vec(quantile, 0..3),
        timestamp(),
    )
        .prop_map(|(sample_count, sample_sum, quantile, created_timestamp)| Summary {
            sample_count,
            sample_sum,
            quantile,
            created_timestamp,
        })
}

fn bucket() -> impl Strategy<Value = Bucket> {
    (
        prop::option::weighted(0.9, any::<u64>()),
        prop::option::weighted(0.9, double()),
        prop::option::weighted(0.1, exemplar()),
        prop::option::weighted(0.1, 0.0..9.0),
    )
        .prop_map(|(cumulative_count, upper_bound, exemplar, cumulative_count_float)| Bucket {
            cumulative_count,
            upper_bound,
            exemplar,
            cumulative_count_float,
        })
}

/// Classic buckets, and native ones that add up.
fn histogram() -> impl Strategy<Value = Histogram> {
    let side = || prop::collection::vec((0i32..5, prop::collection::vec(0i64..9, 1..4)), 0..3);
    let classic = (
        prop::option::weighted(0.9, 0u64..99),
        prop::option::weighted(0.9, double()),
        prop::collection::vec(bucket(), 0..3),
        timestamp(),
        prop::collection::vec(exemplar(), 0..2),
    );
    let native = (any::<bool>(), -4i32..=8, side(), side());
    (classic, prop::option::weighted(0.4, native)).prop_map(|(classic, native)| {
        let (sample_count, sample_sum, bucket, created_timestamp, exemplars) = classic;
        let mut histogram = Histogram {
            sample_count,
            sample_sum,
            bucket,
            created_timestamp,
            exemplars,
            ..Default::default()
        };
        let Some((float, schema, negative, positive)) = native else { return histogram };
        histogram.schema = Some(schema);
        histogram.zero_threshold = Some(0.5);
        let total: i64 = negative.iter().chain(&positive).flat_map(|(_, counts)| counts).sum();
        let (spans, counts): (Vec<_>, Vec<_>) = [negative, positive].map(unpack).into_iter().unzip();
        [histogram.negative_span, histogram.positive_span] = spans.try_into().unwrap();
        if float {
            histogram.sample_count = None;
            histogram.sample_count_float = Some(total as f64 + 0.5);
            let floats: Vec<Vec<f64>> =
                counts.iter().map(|counts| counts.iter().map(|count| *count as f64).collect()).collect();
            [histogram.negative_count, histogram.positive_count] = floats.try_into().unwrap();
        } else {
            histogram.sample_count = Some(total as u64);
            let deltas: Vec<Vec<i64>> = counts
                .iter()
                .map(|counts| {
                    let before = std::iter::once(&0).chain(counts);
                    counts.iter().zip(before).map(|(count, before)| count - before).collect()
                })
                .collect();
            [histogram.negative_delta, histogram.positive_delta] = deltas.try_into().unwrap();
        }
        histogram
    })
}

fn unpack(side: Vec<(i32, Vec<i64>)>) -> (Vec<BucketSpan>, Vec<i64>) {
    let spans = side
        .iter()
        .map(|(offset, counts)| BucketSpan { offset: Some(*offset), length: Some(counts.len() as u32) });
    (spans.collect(), side.iter().flat_map(|(_, counts)| counts.clone()).collect())
}

/// A metric of the type of this number, without labels.
fn metric(kind: i32) -> BoxedStrategy<Metric> {
    match kind {
        0 => counter().prop_map(|it| Metric { counter: Some(it), ..Default::default() }).boxed(),
        1 => plain().prop_map(|it| Metric { gauge: Some(it), ..Default::default() }).boxed(),
        2 => summary().prop_map(|it| Metric { summary: Some(it), ..Default::default() }).boxed(),
        3 => plain().prop_map(|it| Metric { untyped: Some(it), ..Default::default() }).boxed(),
        _ => histogram().prop_map(|it| Metric { histogram: Some(it), ..Default::default() }).boxed(),
    }
}

/// A family that every check lets pass; its series differ in a label `i`.
pub fn family(name: impl Into<String>, kind: i32) -> impl Strategy<Value = MetricFamily> {
    let name = name.into();
    let help = prop::option::of("[a-z\\\\\"\né]{0,5}");
    let extra = prop::option::of(("[c-f]{1,2}", "[a-z\\\\\"\né]{0,3}"));
    let metrics = prop::collection::vec((metric(kind), extra), 0..4);
    (help, metrics).prop_map(move |(help, metrics)| {
        let numbered = metrics.into_iter().enumerate().map(|(at, (metric, extra))| {
            let mut labels = vec![label("i", &at.to_string())];
            labels.extend(extra.map(|(name, value)| label(&name, &value)));
            Metric { label: labels, ..metric }
        });
        let metric = numbered.collect();
        MetricFamily { name: Some(name.clone()), help, r#type: Some(kind), metric, unit: None }
    })
}

/// Families of every type with names of their own.
pub fn families() -> impl Strategy<Value = Vec<MetricFamily>> {
    prop::sample::subsequence((0..6).collect::<Vec<i32>>(), 0..=6).prop_flat_map(|kinds| {
        kinds.into_iter().map(|kind| family(format!("family_{kind}"), kind)).collect::<Vec<_>>()
    })
}

/// The same families with other values, counts and created times, which `seed` decides.
pub fn revalued(families: &[MetricFamily], seed: u64) -> Vec<MetricFamily> {
    let mut state = seed;
    // Of every length, and every float64 among them.
    let mut number = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.rotate_left(23) >> (state % 64)
    };
    let mut families = families.to_vec();
    for metric in families.iter_mut().flat_map(|family| &mut family.metric) {
        let (mut doubles, mut counts, mut created) = (Vec::new(), Vec::new(), None);
        if let Some(plain) = metric.gauge.as_mut().or(metric.untyped.as_mut()) {
            doubles.push(&mut plain.value);
        }
        if let Some(counter) = &mut metric.counter {
            doubles.push(&mut counter.value);
            created = counter.created_timestamp.as_mut();
        }
        if let Some(summary) = &mut metric.summary {
            counts.push(&mut summary.sample_count);
            doubles.push(&mut summary.sample_sum);
            doubles.extend(summary.quantile.iter_mut().map(|quantile| &mut quantile.value));
            created = summary.created_timestamp.as_mut();
        }
        if let Some(histogram) = &mut metric.histogram {
            counts.push(&mut histogram.sample_count);
            counts.extend(histogram.bucket.iter_mut().map(|bucket| &mut bucket.cumulative_count));
            doubles.push(&mut histogram.sample_sum);
            created = histogram.created_timestamp.as_mut();
        }
        doubles.into_iter().flatten().for_each(|value| *value = f64::from_bits(number()));
        counts.into_iter().flatten().for_each(|count| *count = number());
        if let Some(created) = created {
            // Zeros are left out, as nothing is.
            created.seconds = if created.seconds == 0 { 0 } else { number().max(1) as i64 };
            created.nanos = if created.nanos == 0 { 0 } else { number().max(1) as i32 | 1 };
        }
    }
    families
}

//! The protobuf reader against hand-made bodies, and against `prost` with random and damaged ones.

use proptest::prelude::*;
use prost::Message as _;

use super::oracle::{
    self, Bucket, Counter, Exemplar, Histogram, Metric, MetricFamily, Plain, Quantile, Summary,
};
use super::*;
use crate::limits::{LABEL_VALUE_BYTES_MAX, SERIES_LABELS_MAX};
use crate::model::{Limit, Number, Part, Reason};
use crate::wire::push_bytes_field;

fn read(body: &[u8]) -> Result<Families<'_>, ParseError> {
    parse(body, NameRules::Legacy, Families::default())
}

fn family(kind: i32, metric: Metric) -> MetricFamily {
    MetricFamily { name: Some("m".into()), r#type: Some(kind), metric: vec![metric], ..Default::default() }
}

fn gauge(value: f64) -> Metric {
    Metric { gauge: Some(Plain { value: Some(value) }), ..Default::default() }
}

fn refused(families: &[MetricFamily]) -> ParseError {
    read(&oracle::encoded(families)).unwrap_err()
}

fn text(families: &[MetricFamily]) -> String {
    refused(families).to_string()
}

#[test]
fn everything_of_a_family_is_borrowed() {
    let mut metric = gauge(1.5);
    metric.label = vec![oracle::label("a", "b\n"), oracle::label("c", "")];
    let mut family = family(1, metric);
    family.help = Some(String::new());
    family.unit = Some("seconds".into());
    let body = oracle::encoded(&[family]);
    let families = read(&body).unwrap();
    let family = &families.families[0];
    assert!(matches!(family.name, Cow::Borrowed("m")));
    assert_eq!((family.help.as_deref(), family.unit.as_deref()), (Some(""), Some("seconds")));
    let series = &families.series_of(family)[0];
    assert_eq!(families.labels_of(series)[0], Label { name: "a".into(), value: "b\n".into() });
    assert_eq!(families.labels_of(series).len(), 2);
    assert_eq!(series.value, 1.5);
    assert!(families.details.is_empty() && !families.timestamped && families.samples.is_empty());
}

#[test]
fn the_type_may_stand_last_and_its_absence_means_counter() {
    let counter = Metric { counter: Some(Counter::default()), ..Default::default() };
    let mut none = family(0, counter);
    none.r#type = None;
    let families = oracle::encoded(&[none]);
    assert_eq!(read(&families).unwrap().families[0].kind, MetricType::Counter);
    let metric = gauge(1.0).encode_to_vec();
    let body =
        [&[metric.len() as u8 + 2 + 3 + 2, 0x22, metric.len() as u8], &metric[..], b"\x0a\x01m\x18\x01"];
    let body = body.concat();
    assert_eq!(read(&body).unwrap().families[0].kind, MetricType::Gauge);
}

#[test]
fn a_value_in_pieces_is_one_message() {
    let (first, second) = (
        Counter { value: Some(1.0), ..Default::default() },
        Counter { exemplar: Some(Exemplar { value: Some(2.0), ..Default::default() }), ..Default::default() },
    );
    let pieces = [first.clone(), second.clone()]
        .map(|counter| Metric { counter: Some(counter), ..Default::default() }.encode_to_vec());
    let metric = pieces.concat();
    let mut body = vec![metric.len() as u8 + 5, 0x0a, 1, b'm', 0x22, metric.len() as u8];
    body.extend_from_slice(&metric);
    let families = read(&body).unwrap();
    assert_eq!(families.series[0].value, 1.0);
    let both = [first.encode_to_vec(), second.encode_to_vec()].concat();
    assert_eq!(&*families.details[0].message, &both);
}

#[test]
fn details_are_kept_where_plain_values_would_not_do() {
    let metric = |counter| family(0, Metric { counter: Some(counter), ..Default::default() });
    let summary = |summary| family(2, Metric { summary: Some(summary), ..Default::default() });
    let histogram = |histogram| family(4, Metric { histogram: Some(histogram), ..Default::default() });
    let bucket = Bucket { cumulative_count: Some(1), upper_bound: Some(2.0), ..Default::default() };
    let whole = Histogram {
        sample_count: Some(1),
        sample_sum: Some(2.0),
        bucket: vec![bucket],
        ..Default::default()
    };
    let sample = Exemplar::default();
    let stamp = Some(oracle::Timestamp::default());
    for (family, kept) in [
        (metric(Counter { value: Some(0.0), ..Default::default() }), false),
        (metric(Counter::default()), true),
        (metric(Counter { value: Some(1.0), created_timestamp: stamp, ..Default::default() }), true),
        (metric(Counter { value: Some(1.0), exemplar: Some(sample), ..Default::default() }), true),
        (summary(Summary { sample_count: Some(1), sample_sum: Some(0.0), ..Default::default() }), false),
        (summary(Summary { sample_count: Some(1), ..Default::default() }), true),
        (histogram(whole.clone()), false),
        (histogram(Histogram { sample_sum: None, ..whole.clone() }), true),
        (histogram(Histogram { schema: Some(1), ..whole.clone() }), true),
        (histogram(Histogram { sample_count_float: Some(0.0), ..whole.clone() }), true),
        (histogram(Histogram { sample_count: None, sample_count_float: Some(2.5), ..whole }), true),
    ] {
        let body = oracle::encoded(std::slice::from_ref(&family));
        let families = read(&body).unwrap();
        assert_eq!(!families.details.is_empty(), kept, "{family:?}");
        if kept {
            let metric = family.metric[0].encode_to_vec();
            assert!(metric.ends_with(&families.details[0].message), "{family:?}");
        }
    }
}

#[test]
fn float_counts_make_all_counts_floats() {
    let bucket = |whole, float| Bucket {
        cumulative_count: Some(whole),
        cumulative_count_float: float,
        upper_bound: Some(1.0),
        ..Default::default()
    };
    let histogram = Histogram {
        sample_count: Some(3),
        bucket: vec![bucket(1, None), bucket(9, Some(1.5)), bucket(2, Some(0.0))],
        ..Default::default()
    };
    let metric = Metric { histogram: Some(histogram), ..Default::default() };
    let body = oracle::encoded(&[family(5, metric)]);
    let families = read(&body).unwrap();
    let counts: Vec<f64> = families
        .parts
        .iter()
        .map(|part| match part.value {
            Number::Float(count) => count,
            Number::Int(_) => panic!("whole"),
        })
        .collect();
    assert_eq!(counts, [1.0, 1.5, 2.0]);
    assert!(matches!(families.series[0].count, Number::Float(3.0)));
}

#[test]
fn bodies_that_are_cut_or_are_none() {
    let body = oracle::encoded(&[family(1, gauge(1.0))]);
    for end in 1..body.len() {
        assert_eq!(read(&body[..end]).unwrap_err().to_string(), "unexpected EOF", "{end}");
    }
    assert_eq!(read(b"").unwrap().families.len(), 0);
    assert_eq!(read(b"\x80").unwrap_err().to_string(), "unexpected EOF");
    let overflow = "proto: variable length integer overflow";
    assert_eq!(read(&[0xff; 11]).unwrap_err().to_string(), overflow);
    let malformed = "proto: cannot parse invalid wire-format data";
    for body in [&b"\x01\x0f"[..], b"\x02\x0a\x05", b"\x02\x08\x01", b"\x03\x0a\x01m\x04\x22\x02\x0a\x09"] {
        assert!(matches!(read(body), Err(ParseError::Wire(_) | ParseError::NoName)), "{body:x?}");
    }
    assert_eq!(read(b"\x02\x08\x01").unwrap_err().to_string(), malformed);
    assert_eq!(read(b"\x03\x0a\x01\xff").unwrap_err(), ParseError::Wire(crate::wire::Fault::NotUtf8));
}

#[test]
fn what_would_break_scrapes_is_refused() {
    assert_eq!(text(&[MetricFamily::default()]), "metric family without a name");
    assert_eq!(text(&[family(6, gauge(1.0))]), "unknown metric type 6 of metric family \"m\"");
    assert_eq!(text(&[family(-1, gauge(1.0))]), "unknown metric type -1 of metric family \"m\"");
    let twice = [family(1, gauge(1.0)), family(1, gauge(2.0))];
    assert_eq!(text(&twice), "second metric family named \"m\"");
    let negative = Histogram { sample_count_float: Some(-1.0), ..Default::default() };
    let negative = Metric { histogram: Some(negative), ..Default::default() };
    assert_eq!(text(&[family(4, negative)]), "negative count for histogram \"m\"");
    let native = Histogram { sample_count: Some(1), zero_count: Some(2), ..Default::default() };
    let native = Metric { histogram: Some(native), ..Default::default() };
    let fault = "histogram \"m\" has a count of 1, but its native buckets hold 2 observations";
    assert_eq!(text(&[family(5, native)]), fault);
}

#[test]
fn values_of_another_type_and_none() {
    let mut metric = gauge(1.0);
    metric.label = vec![oracle::label("a", "1")];
    let other = refused(&[family(0, metric)]);
    assert_eq!(other.reason(), Reason::Inconsistent);
    assert_eq!(
        other.to_string(),
        "pushed metrics are invalid or inconsistent with existing metrics: collected metric \"m\" { \
         label:{name:\"a\"  value:\"1\"}  gauge:{}} is not a COUNTER"
    );
    let none = refused(&[family(4, Metric::default())]);
    assert_eq!(none.reason(), Reason::Malformed);
    assert!(none.to_string().ends_with("collected metric \"m\" { } is not a HISTOGRAM"), "{none}");
}

#[test]
fn names_follow_the_rules_in_force() {
    let mut dotted = family(1, gauge(1.0));
    dotted.name = Some("a.b".into());
    assert_eq!(text(std::slice::from_ref(&dotted)), "invalid metric name \"a.b\"");
    let mut metric = gauge(1.0);
    metric.label = vec![oracle::label("l:x", "")];
    let labelled = family(1, metric);
    assert_eq!(text(std::slice::from_ref(&labelled)), "invalid label name \"l:x\"");
    let body = oracle::encoded(&[dotted, labelled]);
    assert!(parse(&body, NameRules::Utf8, Families::default()).is_ok());
}

#[test]
fn limits_hold() {
    let mut metric = gauge(1.0);
    metric.label = vec![oracle::label("a", &"x".repeat(LABEL_VALUE_BYTES_MAX + 1))];
    assert_eq!(refused(&[family(1, metric.clone())]).reason(), Reason::TooLarge(Limit::LabelValueBytes));
    metric.label = vec![oracle::label("a", ""); SERIES_LABELS_MAX + 1];
    assert_eq!(refused(&[family(1, metric)]).reason(), Reason::TooLarge(Limit::SeriesLabels));
}

#[test]
fn a_timestamp_is_noted() {
    let metric = Metric { timestamp_ms: Some(0), ..gauge(1.0) };
    let body = oracle::encoded(&[family(1, metric)]);
    assert!(read(&body).unwrap().timestamped);
}

/// The message of plain values.
fn plain(kind: MetricType, series: &Series, parts: &[Part]) -> Metric {
    let whole = |number: Number| match number {
        Number::Int(count) => Some(count),
        Number::Float(_) => None,
    };
    let float = |number: Number| match number {
        Number::Int(_) => None,
        Number::Float(count) => Some(count),
    };
    let value = Some(series.value);
    let mut metric = Metric::default();
    match kind {
        MetricType::Counter => metric.counter = Some(Counter { value, ..Default::default() }),
        MetricType::Gauge => metric.gauge = Some(Plain { value }),
        MetricType::Untyped => metric.untyped = Some(Plain { value }),
        MetricType::Summary => {
            let quantile = |part: &Part| Quantile { quantile: Some(part.bound), value: float(part.value) };
            metric.summary = Some(Summary {
                sample_count: whole(series.count),
                sample_sum: value,
                quantile: parts.iter().map(quantile).collect(),
                created_timestamp: None,
            });
        }
        MetricType::Histogram | MetricType::GaugeHistogram => {
            let bucket = |part: &Part| Bucket {
                cumulative_count: whole(part.value),
                cumulative_count_float: float(part.value),
                upper_bound: Some(part.bound),
                exemplar: None,
            };
            metric.histogram = Some(Histogram {
                sample_count: whole(series.count),
                sample_count_float: float(series.count),
                sample_sum: value,
                bucket: parts.iter().map(bucket).collect(),
                ..Default::default()
            });
        }
    }
    metric
}

/// The families as the parser sees them, given back as messages: details as they came, all else anew.
fn back(families: &Families<'_>) -> Vec<MetricFamily> {
    let mut details = families.details.iter().peekable();
    let mut one = |family: &Family<'_>, at: usize| {
        let series = &families.series[at];
        let mut metric = match details.next_if(|detail| detail.series as usize == at) {
            Some(detail) => {
                let mut bytes = Vec::new();
                push_bytes_field(&mut bytes, family.kind.value_field(), &detail.message);
                Metric::decode(&bytes[..]).unwrap()
            }
            None => plain(family.kind, series, families.parts_of(series)),
        };
        let labels = families.labels_of(series).iter();
        metric.label = labels.map(|label| oracle::label(&label.name, &label.value)).collect();
        metric
    };
    families
        .families
        .iter()
        .map(|family| MetricFamily {
            name: Some(family.name.to_string()),
            help: family.help.as_deref().map(str::to_string),
            r#type: Some(family.kind as i32),
            metric: family.series.range().map(|at| one(family, at)).collect(),
            unit: family.unit.as_deref().map(str::to_string),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn prost_says_the_same(families in oracle::families()) {
        let body = oracle::encoded(&families);
        prop_assert_eq!(back(&read(&body).unwrap()), families);
    }

    /// Whatever is done to the bytes: no panic, and what is taken is what prost reads.
    #[test]
    fn damaged_bodies(
        families in oracle::families(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut body = oracle::encoded(&families);
        prop_assume!(!body.is_empty());
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let prost = oracle::decoded(&body);
        match read(&body) {
            Ok(families) => {
                let prost = prost.unwrap();
                prop_assert_eq!(families.families.len(), prost.len());
                let series: usize = prost.iter().map(|family| family.metric.len()).sum();
                prop_assert_eq!(families.series.len(), series);
            }
            Err(ParseError::Wire(fault)) => prop_assert!(prost.is_err(), "{}: {:?}", fault, prost),
            Err(_) => {}
        }
    }
}

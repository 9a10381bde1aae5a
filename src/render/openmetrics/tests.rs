//! OpenMetrics from messages: each type, its quirks, and that our own parser reads it back.

use prost::Message as _;

use super::*;
use crate::model::{Families, NameRules};
use crate::parse::openmetrics;
use crate::parse::protobuf::oracle::{
    self, Bucket, Counter, Exemplar, Histogram, Metric, MetricFamily, Plain,
};

fn label(name: &str, value: &str) -> oracle::LabelPair {
    oracle::label(name, value)
}

fn family(name: &str, kind: i32, metric: Vec<Metric>) -> MetricFamily {
    MetricFamily {
        name: Some(name.into()),
        help: Some("a \"b\"\n\\".into()),
        r#type: Some(kind),
        metric,
        unit: None,
    }
}

fn check(family: MetricFamily, expected: &str) {
    let text = String::from_utf8(of_delimited(&family.encode_length_delimited_to_vec())).unwrap();
    assert_eq!(text, format!("{expected}# EOF\n"));
    let read = openmetrics::read(text.as_bytes(), NameRules::Utf8).unwrap();
    read.families(NameRules::Utf8, Families::default()).unwrap();
}

fn exemplar(time: Option<oracle::Timestamp>) -> Exemplar {
    Exemplar { label: vec![label("id", "K")], value: Some(0.5), timestamp: time }
}

#[test]
fn counters_with_and_without_their_suffix() {
    let metric = |value| Metric {
        label: vec![label("l", "a\"b")],
        counter: Some(Counter {
            value: Some(value),
            exemplar: Some(exemplar(Some(oracle::Timestamp { seconds: 1_520_879_607, nanos: 789_000_000 }))),
            created_timestamp: Some(oracle::Timestamp { seconds: 5, nanos: 0 }),
        }),
        ..Metric::default()
    };
    check(
        family("c_total", 0, vec![metric(17.0)]),
        "# HELP c a \\\"b\\\"\\n\\\\\n# TYPE c counter\nc_total{l=\"a\\\"b\"} 17.0 # {id=\"K\"} 0.5 1.520879607789e+09\n",
    );
    check(
        family("c", 0, vec![metric(1e21)]),
        "# HELP c a \\\"b\\\"\\n\\\\\n# TYPE c unknown\nc{l=\"a\\\"b\"} 1e+21\n",
    );
}

#[test]
fn plain_types_and_quoted_names() {
    let plain = |value| Some(Plain { value: Some(value) });
    check(
        family("g", 1, vec![Metric { gauge: plain(f64::INFINITY), ..Metric::default() }]),
        "# HELP g a \\\"b\\\"\\n\\\\\n# TYPE g gauge\ng +Inf\n",
    );
    check(
        family(
            "u.x",
            3,
            vec![Metric { untyped: plain(0.25), label: vec![label("y.z", "")], ..Metric::default() }],
        ),
        "# HELP \"u.x\" a \\\"b\\\"\\n\\\\\n# TYPE \"u.x\" unknown\n{\"u.x\",\"y.z\"=\"\"} 0.25\n",
    );
    check(family("empty", 1, Vec::new()), "");
}

#[test]
fn distributions() {
    let histogram = Histogram {
        sample_count: Some(3),
        sample_sum: Some(-2.0),
        bucket: vec![Bucket {
            cumulative_count: Some(2),
            upper_bound: Some(1.0),
            exemplar: Some(exemplar(None)),
            cumulative_count_float: None,
        }],
        ..Histogram::default()
    };
    let metric = |histogram| vec![Metric { histogram: Some(histogram), ..Metric::default() }];
    let lines = "h_bucket{le=\"1.0\"} 2 # {id=\"K\"} 0.5\nh_bucket{le=\"+Inf\"} 3\n";
    let help = "# HELP h a \\\"b\\\"\\n\\\\\n";
    check(
        family("h", 4, metric(histogram.clone())),
        &format!("{help}# TYPE h histogram\n{lines}h_sum -2.0\nh_count 3\n"),
    );
    let float = Histogram { sample_count_float: Some(3.0), ..histogram.clone() };
    check(
        family("h", 5, metric(float)),
        &format!(
            "{help}# TYPE h gaugehistogram\n{}h_gsum -2.0\nh_gcount 3.0\n",
            lines.replace("} 3", "} 3.0")
        ),
    );
    let summary = oracle::Summary {
        sample_count: Some(9),
        sample_sum: Some(4.5),
        quantile: vec![oracle::Quantile { quantile: Some(1.0), value: Some(f64::NAN) }],
        created_timestamp: None,
    };
    check(
        family("h", 2, vec![Metric { summary: Some(summary), ..Metric::default() }]),
        &format!("{help}# TYPE h summary\nh{{quantile=\"1.0\"}} NaN\nh_sum 4.5\nh_count 9\n"),
    );
}

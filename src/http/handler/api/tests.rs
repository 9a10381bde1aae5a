//! API answers against the reference's shapes.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::clock::Now;
use crate::config::Paths;
use crate::gateway::{Mode, Settings};
use crate::http::Body;
use crate::model::GroupingKey;
use crate::telemetry::Telemetry;

fn gateway() -> Gateway {
    let settings = Settings::default();
    Gateway::new(settings, Arc::new(Telemetry::new(1))).unwrap()
}

fn push(gateway: &Gateway, key: GroupingKey, seconds: u64, body: &str) -> bool {
    let now = Now { wall: UnixNanos(seconds * 1_000_000_000 + 5), ..Now::read() };
    gateway.push(Mode::ReplaceGroup, &key, None, &Bytes::from(body.to_owned()), now).is_ok()
}

fn text(answer: &Answer) -> String {
    let Body::Slices(slices) = &answer.body else { panic!("an API answer is slices") };
    String::from_utf8(slices.list().concat()).unwrap()
}

#[test]
fn no_groups() {
    let answer = metrics(&gateway());
    assert_eq!(text(&answer), r#"{"status":"success","data":[]}"#);
    assert_eq!(answer.status, 200);
    for (name, value) in [
        ("Content-Type", "application/json"),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin"),
        ("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"),
        ("Access-Control-Expose-Headers", "Date"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ] {
        assert!(answer.headers.iter().any(|(n, v)| *n == name && v == value), "{name}");
    }
}

/// The whole of a group, byte for byte, with times in whatever zone the machine is in.
#[test]
fn a_group_byte_for_byte() {
    let gateway = gateway();
    let body = "# HELP h <h>\n# TYPE h histogram\nh_bucket{le=\"10\"} 2\nh_bucket{le=\"2\"} 1\nh_bucket{le=\"+Inf\"} 3\n\
                h_sum 1e6\nh_count 12345678901\nm{x=\"y\"} -0\nm 1\n\
                # TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum 3\ns_count 4\n# TYPE z counter\nz 7\n";
    assert!(push(&gateway, GroupingKey::new("a1", [("zone", "<&")]), 1_795_250_221, body));
    let at = time::rfc3339(UnixNanos(1_795_250_221_000_000_005), &TimeZone::system());
    let labels = r#"{"instance":"","job":"a1","zone":"\u003c\u0026"}"#;
    let with_x = r#"{"instance":"","job":"a1","x":"y","zone":"\u003c\u0026"}"#;
    let expect = [
        r#"{"status":"success","data":[{"h":{"time_stamp":"AT","type":"HISTOGRAM","help":"\u003ch\u003e","metrics":["#,
        r#"{"buckets":{"+Inf":"3","10":"2","2":"1"},"count":"12345678901","labels":LABELS,"sum":"1e+06"}]},"#,
        r#""labels":{"job":"a1","zone":"\u003c\u0026"},"last_push_successful":true,"#,
        r#""m":{"time_stamp":"AT","type":"UNTYPED","metrics":[{"labels":WITHX,"value":"-0"},{"labels":LABELS,"value":"1"}]},"#,
        r#""push_failure_time_seconds":{"time_stamp":"AT","type":"GAUGE","#,
        r#""help":"Last Unix time when changing this group in the Pushgateway failed.","metrics":[{"labels":LABELS,"value":"0"}]},"#,
        r#""push_time_seconds":{"time_stamp":"AT","type":"GAUGE","#,
        r#""help":"Last Unix time when changing this group in the Pushgateway succeeded.","metrics":[{"labels":LABELS,"value":"1.795250221e+09"}]},"#,
        r#""s":{"time_stamp":"AT","type":"SUMMARY","metrics":[{"count":"4","labels":LABELS,"quantiles":{"0.5":"NaN"},"sum":"3"}]},"#,
        r#""z":{"time_stamp":"AT","type":"COUNTER","metrics":[{"labels":LABELS,"value":"7"}]}}]}"#,
    ];
    let expect = expect.concat().replace("LABELS", labels).replace("WITHX", with_x).replace("AT", &at);
    assert_eq!(text(&metrics(&gateway)), expect);
}

#[test]
fn failed_pushes_show() {
    let gateway = gateway();
    let key = || GroupingKey::new("j", [("instance", "i")]);
    assert!(!push(&gateway, key(), 50, "m 1 5\n"));
    let json: serde_json::Value = serde_json::from_str(&text(&metrics(&gateway))).unwrap();
    let group = &json["data"][0];
    assert_eq!(group["last_push_successful"], false);
    assert_eq!(group["push_time_seconds"]["metrics"][0]["value"], "0");
    assert_eq!(group["push_failure_time_seconds"]["metrics"][0]["labels"]["instance"], "i");
    assert_eq!(group["push_time_seconds"]["time_stamp"], group["push_failure_time_seconds"]["time_stamp"]);
    assert!(push(&gateway, key(), 60, "m 1\n"));
    let json: serde_json::Value = serde_json::from_str(&text(&metrics(&gateway))).unwrap();
    assert_eq!(json["data"][0]["last_push_successful"], true);
    assert_eq!(json["data"][0]["m"]["metrics"][0]["labels"]["instance"], "i");
}

#[test]
fn a_family_named_like_a_key_takes_its_place() {
    let gateway = gateway();
    assert!(push(&gateway, GroupingKey::new("j", []), 60, "labels 1\nlast_push_successful 2\n"));
    let json: serde_json::Value = serde_json::from_str(&text(&metrics(&gateway))).unwrap();
    assert_eq!(json["data"][0]["labels"]["type"], "UNTYPED");
    assert_eq!(json["data"][0]["last_push_successful"]["metrics"][0]["value"], "2");
}

#[test]
fn equal_bounds_keep_the_last_value_and_gauge_histograms_show_zero() {
    let mut out = Writer::new();
    let buckets = [(0.5, Number::Int(1)), (f64::INFINITY, Number::Float(1e6)), (0.5, Number::Int(2))];
    push_bounds(&mut out, buckets.into_iter());
    push_bounds(&mut out, std::iter::empty());
    let value = ValueView::Histogram { buckets: Vec::new(), sum: 0.0, count: Number::Int(0), detail: None };
    push_series(&mut out, MetricType::GaugeHistogram, &SeriesView { labels: Vec::new(), value });
    assert_eq!(out.finish().concat(), br#"{"+Inf":"1e+06","0.5":"2"}{}{"labels":{},"value":"0"}"#);
}

#[test]
fn native_buckets_take_the_place_of_classic_ones() {
    // Schema 0, a zero bucket of one, a negative bucket of two, positive ones of one and three.
    let message = b"\x08\x07\x11\0\0\0\0\0\0\x0c\x40\x28\0\x31\0\0\0\0\0\0\xe0\x3f\x38\x01\
                    \x4a\x04\x08\x02\x10\x01\x50\x04\x62\x04\x08\x02\x10\x02\x68\x02\x68\x04";
    let shown = |detail: &[u8]| {
        let mut out = Writer::new();
        let buckets = vec![(1.0, Number::Int(7))];
        let value = ValueView::Histogram { buckets, sum: 3.5, count: Number::Int(7), detail: Some(detail) };
        push_series(&mut out, MetricType::Histogram, &SeriesView { labels: Vec::new(), value });
        String::from_utf8(out.finish().concat()).unwrap()
    };
    assert_eq!(
        shown(message),
        r#"{"buckets":[[1,"-2","-1","2"],[3,"-0.5","0.5","1"],[0,"1","2","1"],[0,"2","4","3"]],"count":"7","labels":{},"sum":"3.5"}"#
    );
    // Without spans a detail is something else, such as an exemplar.
    assert_eq!(shown(&message[..11]), r#"{"buckets":{"1":"7"},"count":"7","labels":{},"sum":"3.5"}"#);
}

#[test]
fn status_has_flags_build_and_start() {
    let flags = vec![("log.level", "info".to_owned()), ("web.external-url", "http://a/?b&c".to_owned())];
    let info = Info { flags, started: UnixNanos(1), paths: Paths::default() };
    let answer = text(&status(&info));
    assert!(answer.starts_with(r#"{"status":"success","data":{"build_information":{"branch":""#), "{answer}");
    assert!(
        answer.contains(
            r#"},"flags":{"log.level":"info","web.external-url":"http://a/?b\u0026c"},"start_time":"19"#
        ),
        "{answer}"
    );
    let json: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(json["data"]["build_information"]["version"], build_info::VERSION);
    assert_eq!(json["data"]["build_information"].as_object().unwrap().len(), 6);
}

//! `/api/v1/status` and `/api/v1/metrics`: every key, every kind of family, and what wraps them.

mod common;

use common::Server;
use serde_json::{Value, json};

const CORS: [(&str, &str); 5] = [
    ("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin"),
    ("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Date"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
];

/// RFC 3339 with at most nine fraction digits that do not end in zero.
fn is_time(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let (Some(date_time), Some(rest)) = (text.get(..19), text.get(19..)) else { return false };
    let shape: String = date_time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone_at);
    let fraction_is_fine = fraction.is_empty()
        || fraction.strip_prefix('.').is_some_and(|digits| {
            (1..=9).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                && !digits.ends_with('0')
        });
    shape == "0000-00-00T00:00:00" && fraction_is_fine && (zone == "Z" || zone.len() == 6)
}

/// `family` of group `j` without its time, which must be one.
#[track_caller]
fn family(server: &Server, name: &str) -> Value {
    let mut family = server.group(&json!({"job": "j"})).expect("the group is there")[name].take();
    let time = family.as_object_mut().expect(name).remove("time_stamp").expect("every family has a time");
    assert!(is_time(&time), "{time}");
    family
}

#[test]
fn families_of_every_type() {
    let server = Server::start(&[]);
    let rows = [
        (
            "# HELP m <help> & more\n# TYPE m counter\nm{z=\"1\"} 1000000\nm -0\n",
            json!({"type": "COUNTER", "help": "<help> & more", "metrics": [
                {"labels": {"instance": "", "job": "j", "z": "1"}, "value": "1e+06"},
                {"labels": {"instance": "", "job": "j"}, "value": "-0"},
            ]}),
        ),
        (
            "# TYPE m gauge\nm NaN\n",
            json!({"type": "GAUGE", "metrics": [{"labels": {"instance": "", "job": "j"}, "value": "NaN"}]}),
        ),
        (
            "m{instance=\"i\"} -Inf\n",
            json!({"type": "UNTYPED", "metrics": [{"labels": {"instance": "i", "job": "j"}, "value": "-Inf"}]}),
        ),
        (
            "# TYPE m summary\nm{quantile=\"0.5\"} NaN\nm{quantile=\"0.99\"} 1e-7\nm_sum 3\nm_count 12345678901\n",
            json!({"type": "SUMMARY", "metrics": [{
                "labels": {"instance": "", "job": "j"}, "count": "12345678901", "sum": "3",
                "quantiles": {"0.5": "NaN", "0.99": "1e-07"},
            }]}),
        ),
        // No bucket is made up.
        (
            "# TYPE m histogram\nm_bucket{le=\"0.5\"} 1\nm_bucket{le=\"10\"} 3\nm_sum 1e6\nm_count 4\n",
            json!({"type": "HISTOGRAM", "metrics": [{
                "labels": {"instance": "", "job": "j"}, "count": "4", "sum": "1e+06",
                "buckets": {"0.5": "1", "10": "3"},
            }]}),
        ),
        (
            "# TYPE m histogram\nm_bucket{le=\"1\"} 0.5\nm_count 1.5\n",
            json!({"type": "HISTOGRAM", "metrics": [{
                "labels": {"instance": "", "job": "j"}, "count": "1.5", "sum": "0", "buckets": {"1": "0.5"},
            }]}),
        ),
    ];
    for (body, expected) in rows {
        server.must_put("/metrics/job/j", body);
        // Series are compared as a set: only their text is promised an order.
        let by_labels = |mut family: Value| {
            let series = family["metrics"].as_array_mut().unwrap();
            series.sort_by_key(|series| series["labels"].to_string());
            family
        };
        assert_eq!(by_labels(family(&server, "m")), by_labels(expected), "{body}");
    }
}

#[test]
fn the_times_are_families_too() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/j", "");
    let failure = family(&server, "push_failure_time_seconds");
    assert_eq!(failure["type"], "GAUGE");
    assert_eq!(failure["help"], "Last Unix time when changing this group in the Pushgateway failed.");
    assert_eq!(failure["metrics"], json!([{"labels": {"instance": "", "job": "j"}, "value": "0"}]));
    let push = family(&server, "push_time_seconds");
    assert_eq!(push["help"], "Last Unix time when changing this group in the Pushgateway succeeded.");
    assert!(push["metrics"][0]["value"].as_str().unwrap().ends_with("e+09"));
}

#[test]
fn groups_by_their_labels() {
    let server = Server::start(&[]);
    assert_eq!(server.api("/api/v1/metrics"), json!([]));
    server.must_put("/metrics/job/j", "m 1\n");
    server.must_put("/metrics/job/j/a@base64/PCYiXD4KCQ", "m{b=\"<&>\\\"\\\\ é\u{1F600}\u{2028}\"} 2\n");
    server.must_put("/metrics/job/j/instance/i", "");
    let labels = json!({"job": "j", "a": "<&\"\\>\n\t"});
    let group = server.group(&labels).unwrap();
    assert_eq!(group["m"]["metrics"][0]["labels"]["b"], "<&>\"\\ é\u{1F600}\u{2028}");
    assert_eq!(group["m"]["metrics"][0]["value"], "2");
    let empty = server.group(&json!({"job": "j", "instance": "i"})).unwrap();
    let keys: Vec<&String> = empty.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["labels", "last_push_successful", "push_failure_time_seconds", "push_time_seconds"]);
    assert_eq!(server.api("/api/v1/metrics").as_array().unwrap().len(), 3);
    // Characters that mean something to a page are escaped, as Go does it.
    let raw = server.get("/api/v1/metrics");
    assert!(raw.text().contains(r#""a":"\u003c\u0026\"\\\u003e\n\t""#), "{}", raw.text());
    assert!(raw.text().contains(r"\u2028") && !raw.text().ends_with('\n'));
    server.delete("/metrics/job/j").is_empty_with(202);
    assert_eq!(server.group(&json!({"job": "j"})), None);
}

#[test]
fn the_last_push_of_a_group_succeeded_or_not() {
    let server = Server::start(&[]);
    let says = || server.group(&json!({"job": "j"})).unwrap()["last_push_successful"].clone();
    assert_eq!(server.put("/metrics/job/j", "m 1 1\n").status, 400);
    assert_eq!(says(), false);
    server.must_put("/metrics/job/j", "m 1\n");
    assert_eq!(says(), true);
    assert_eq!(server.put("/metrics/job/j", "does not parse").status, 400);
    assert_eq!(says(), true);
    assert_eq!(server.post("/metrics/job/j", "m{a=\"1\"} 1\nm{a=\"1\"} 1\n").status, 400);
    assert_eq!(says(), false);
    assert_eq!(server.group(&json!({"job": "j"})).unwrap()["m"]["metrics"][0]["value"], "1");
}

#[test]
fn a_family_has_the_time_of_the_push_that_brought_it() {
    let server = Server::start(&[]);
    let time = |name: &str| server.group(&json!({"job": "j"})).unwrap()[name]["time_stamp"].clone();
    server.must_put("/metrics/job/j", "a 1\nb 1\n");
    let first = time("a");
    assert_eq!(first, time("b"));
    server.must_post("/metrics/job/j", "b 2\n");
    assert_eq!(time("a"), first);
    assert_ne!(time("b"), first);
}

#[test]
fn status_shows_build_flags_and_start() {
    let server =
        Server::start(&["--web.enable-admin-api", "--persistence.interval=90s", "--web.route-prefix=p/"]);
    let status = server.api("/p/api/v1/status");
    assert!(is_time(&status["start_time"]), "{status}");
    for key in ["branch", "buildDate", "buildUser", "goVersion", "revision", "version"] {
        assert!(status["build_information"][key].is_string(), "{key}");
    }
    let shown = &status["flags"];
    for (flag, value) in [
        ("log.format", "logfmt"),
        ("log.level", "info"),
        ("persistence.file", ""),
        ("persistence.interval", "1m30s"),
        ("push.disable-consistency-check", "false"),
        ("push.enable-utf8-names", "false"),
        ("web.config.file", ""),
        ("web.enable-admin-api", "true"),
        ("web.enable-lifecycle", "false"),
        ("web.external-url", ""),
        ("web.listen-address", "127.0.0.1:0"),
        ("web.route-prefix", "/p"),
        ("web.systemd-socket", "false"),
        ("web.telemetry-path", "/metrics"),
    ] {
        assert_eq!(shown[flag], value, "{flag}");
    }
    assert!(shown.get("help").is_none() && shown.get("version").is_none());
}

#[test]
fn pages_of_other_sites_may_read_the_answers() {
    let server = Server::start(&["--web.enable-admin-api"]);
    for path in ["/api/v1/status", "/api/v1/metrics"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/json")));
        for (name, value) in CORS {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
    for path in ["/api/v1/status", "/api/v1/metrics", "/api/v1/nope", "/api/v1/"] {
        let answer = server.send("OPTIONS", path, &[("Origin", "http://example.org")], b"");
        answer.is_empty_with(200);
        assert_eq!(answer.header("Allow"), None);
        for (name, value) in CORS {
            assert_eq!(answer.header(name), Some(value), "OPTIONS {path}");
        }
    }
    for answer in [
        server.get("/api/v1/nope"),
        server.post("/api/v1/status", ""),
        server.get("/api/v1/status/"),
        server.put("/api/v1/admin/wipe", ""),
    ] {
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    }
}

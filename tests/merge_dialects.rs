//! The ways of other gateways that add up: bare pushes, defaults by type, gravel's clear modes.

use serde_json::json;

mod common;
#[path = "support/process.rs"]
#[allow(dead_code)]
mod process;

use common::Server;
use process::Scratch;

const COUNTER: &str = "# TYPE c counter\nc 1\n";

/// The sample lines of the exposition that begin with `prefix`, sorted.
fn lines(server: &Server, prefix: &str) -> Vec<String> {
    let answer = server.get("/metrics");
    let lines = answer.text().lines().filter(|line| line.starts_with(prefix)).map(str::to_owned);
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

#[test]
fn nobody_is_taken_at_the_bare_path_without_a_dialect() {
    let server = Server::start(&[]);
    for method in ["PUT", "POST", "DELETE"] {
        assert_eq!(server.send(method, "/metrics", &[], b"c 1\n").status, 405);
    }
    assert_eq!(server.get("/group/job@base64/=").status, 404);
    assert!(!common::run(&["--merge.dialect=other"]).status.success());
}

#[test]
fn a_bare_push_goes_to_a_group_without_labels() {
    let scratch = Scratch::new();
    let flag = format!("--persistence.file={}", scratch.path("groups").display());
    let flags = ["--merge.dialect=aggregation-gateway", &flag];
    let server = Server::start(&flags);
    server.must_post("/metrics", COUNTER);
    server.must_put("/metrics", "# TYPE c counter\nc 2\nc{x=\"1\"} 5\n# TYPE g gauge\ng 1\n");
    server.must_post("/metrics", "# TYPE g gauge\ng 2\n");
    server.must_put("/metrics/job/j", COUNTER);
    server.must_put("/metrics/job/j", COUNTER);
    let quantiles = "# TYPE s summary\ns{quantile=\"0.5\"} 9\ns_sum 4\ns_count 2\n";
    server.must_post("/metrics", quantiles);
    server.must_post("/metrics", quantiles);
    let check = |server: &Server| {
        assert_eq!(lines(server, "c"), ["c 3", "c{instance=\"\",job=\"j\"} 2", "c{x=\"1\"} 5"]);
        assert_eq!(
            (lines(server, "g "), lines(server, "s")),
            (vec!["g 3".into()], vec!["s_count 4".into(), "s_sum 8".into()])
        );
        let times = lines(server, "push_time_seconds");
        assert!(
            times.len() == 1 && times[0].starts_with("push_time_seconds{instance=\"\",job=\"j\"}"),
            "{times:?}"
        );
        assert_eq!(lines(server, "push_failure_time_seconds").len(), 1);
        assert_eq!(server.group(&json!({})).unwrap()["c"]["type"], "COUNTER");
    };
    check(&server);
    let accept =
        [("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text")];
    assert!(server.send("GET", "/metrics", &accept, b"").text().contains("name: \"c\""));
    drop(server);
    let server = Server::start(&flags);
    check(&server);
    // It has a page, too.
    assert_eq!(server.get("/group/job@base64/=").status, 200);
    assert!(server.get("/").text().contains("job@base64/="));
    // A series that a group has is not taken twice, and a label of the body stays.
    server.must_post("/metrics", "# TYPE d counter\nd{job=\"k\"} 1\n");
    assert_eq!(lines(&server, "d"), ["d{instance=\"\",job=\"k\"} 1"]);
    let answer = server.post("/metrics/job/k", "# TYPE d counter\nd 1\n");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("was collected before"), "{}", answer.text());
    assert_eq!(server.post("/metrics", "# TYPE c counter\nc{job=\"j\"} 1\n").status, 400);
    server.send("POST", "/metrics", &[("Idempotency-Key", "k")], COUNTER.as_bytes()).is_empty_with(200);
    let again = server.send("POST", "/metrics", &[("Idempotency-Key", "k")], COUNTER.as_bytes());
    assert_eq!(again.header("Push-Replayed"), Some("true"));
    server.delete("/metrics").is_empty_with(202);
    assert_eq!(lines(&server, "c"), ["c{instance=\"\",job=\"j\"} 2"]);
    drop(server);
    let server = Server::start(&flags);
    assert_eq!(lines(&server, "c"), ["c{instance=\"\",job=\"j\"} 2"]);
}

#[test]
fn gravel_replaces_gauges_and_reads_clear_modes() {
    let server = Server::start(&["--merge.dialect=gravel"]);
    let push = |value: u64, version: &str| {
        let body = format!(
            "# TYPE value_total counter\nvalue_total {value}\n# TYPE plain gauge\nplain{{a=\"1\"}} {value}\n\
             # TYPE value2 gauge\nvalue2{{clearmode=\"aggregate\"}} 1\n\
             # TYPE value3 counter\nvalue3{{a=\"1\",clearmode=\"replace\",b=\"2\"}} {value}\n\
             # TYPE version gauge\nversion{{version=\"{version}\",clearmode=\"family\"}} 1\n"
        );
        server.must_post("/metrics", &body);
    };
    push(1, "0.0.1");
    push(3, "0.0.2");
    server.must_put("/metrics", "# TYPE plain gauge\nplain{a=\"2\"} 7\nu{clearmode=\"nonsense\"} 2\n");
    let expect = [
        "plain{a=\"1\"} 3",
        "plain{a=\"2\"} 7",
        "u 2",
        "value2 2",
        "value3{a=\"1\",b=\"2\"} 3",
        "value_total 4",
        "version{version=\"0.0.2\"} 1",
    ];
    let own = |line: &String| ["plain", "u", "value", "version"].iter().any(|name| line.starts_with(name));
    assert_eq!(lines(&server, "").into_iter().filter(own).collect::<Vec<_>>(), expect);
    for (body, says) in [
        ("# TYPE x gauge\nx{clearmode=\"mean5m\"} 1\n", "no clear modes over a window of time"),
        ("# TYPE x gauge\nx{clearmode=\"sum5m\"} 1\n", "no clear modes over a window of time"),
        ("# TYPE x gauge\nx{clearmode=\"sum\"} 1\nx{a=\"1\"} 1\n", "different clear modes"),
    ] {
        let answer = server.post("/metrics", body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains(says), "{}", answer.text());
    }
    assert!(lines(&server, "x").is_empty());
}

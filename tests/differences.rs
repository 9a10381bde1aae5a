//! Every deliberate difference from the reference that a client can see, one test each. The comment on
//! each test is the sentence that the README has for it.

mod common;

use common::Server;
use serde_json::json;

const J: &str = "/metrics/job/j";

/// Refused, nothing stored, and no group made to carry a failure time.
#[track_caller]
fn is_refused_without_a_trace(server: &Server, path: &str, body: &[u8]) {
    let before = (server.scrape().samples("push_failure_time_seconds").len(), server.pushed());
    for method in ["PUT", "POST"] {
        let answer = server.send(method, path, &[], body);
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
        answer.has_error_shape();
    }
    let after = (server.scrape().samples("push_failure_time_seconds").len(), server.pushed());
    assert_eq!(after, before, "{path}");
}

/// A group whose job or label values are not UTF-8 is refused; the reference stores its failure and
/// then fails every scrape.
#[test]
fn grouping_values_that_are_not_utf8_are_refused() {
    let server = Server::start(&[]);
    for path in
        ["/metrics/job/%FF", "/metrics/job/j/l/%FF", "/metrics/job/j/a@base64/_w", "/metrics/job@base64/_w"]
    {
        is_refused_without_a_trace(&server, path, b"m 1\n");
        assert_eq!(server.api("/api/v1/metrics"), json!([]), "{path}");
    }
}

/// HELP text that is not UTF-8 is refused; the reference serves it and Prometheus rejects the scrape.
#[test]
fn help_that_is_not_utf8_is_refused() {
    let server = Server::start(&[]);
    is_refused_without_a_trace(&server, J, b"# HELP m a\xffb\nm 1\n");
    server.must_put(J, "# HELP m aéb\nm 1\n");
}

/// Of `job=a` and `job=a, instance=""` only the first one that comes is a group, since both would show the
/// same push times; the reference stores both and then fails every scrape.
#[test]
fn groups_whose_push_times_would_collide_are_refused() {
    let server = Server::start(&["--web.enable-admin-api"]);
    for (first, second) in [
        ("/metrics/job/j", "/metrics/job/j/instance/"),
        ("/metrics/job/j/instance@base64/=", "/metrics/job/j"),
        ("/metrics/job/j/a/1", "/metrics/job/j/a/1/instance/"),
    ] {
        server.must_put(first, "m 1\n");
        is_refused_without_a_trace(&server, second, b"n 1\n");
        // Nor does a push make it that would be refused anyway.
        is_refused_without_a_trace(&server, second, b"n 1 1\n");
        server.must_put(first, "m 2\n");
        server.delete(first).is_empty_with(202);
        server.must_put(second, "n 1\n");
        server.wipe();
    }
    // Without the consistency check as well.
    let server = Server::start(&["--push.disable-consistency-check"]);
    server.put(J, "m 1\n").is_empty_with(202);
    server.put("/metrics/job/j/instance/", "n 1\n");
    assert_eq!(server.scrape().samples("push_time_seconds").len(), 1);
}

/// A line in braces without a metric name is refused; the reference takes it for another metric or crashes.
#[test]
fn brace_lines_without_a_name_are_refused() {
    let server = Server::start(&[]);
    for body in ["{} 1\n", "{ } 1\n", "{a=\"b\"} 2\n"] {
        server.put(J, body).is_error(400, "text format parsing error in line 1: invalid metric name");
        let after = format!("x 1\n{body}");
        server.put(J, &after).is_error(400, "text format parsing error in line 2: invalid metric name");
    }
    assert_eq!(server.api("/api/v1/metrics"), json!([]));
    // The form in braces means what the ordinary form means.
    server.must_put(J, "# TYPE a summary\n# TYPE b summary\na_sum 1\n{\"b\",quantile=\"0.5\"} 2\n");
    assert_eq!(server.scrape().samples("b"), [r#"b{instance="",job="j",quantile="0.5"} 2"#]);
    assert_eq!(server.scrape().samples("a").len(), 0);
}

/// A negative count of a summary is refused; the reference wraps it around.
#[test]
fn negative_summary_counts_are_refused() {
    let server = Server::start(&[]);
    is_refused_without_a_trace(&server, J, b"# TYPE s summary\ns_count -1\n");
}

/// A series of a histogram must not carry an `le` label of its own, nor one of a summary `quantile`; the
/// reference shows the label twice.
#[test]
fn le_and_quantile_from_the_grouping_key_are_refused() {
    let server = Server::start(&[]);
    for (path, body) in [
        ("/metrics/job/j/le/1", "# TYPE h histogram\nh_count 1\n"),
        ("/metrics/job/j/le/1", "# TYPE h gauge_histogram\nh_count 1\n"),
        ("/metrics/job/j/quantile/1", "# TYPE s summary\ns_count 1\n"),
    ] {
        let answer = server.put(path, body);
        assert_eq!(answer.status, 400, "{path} {body}");
        answer.has_error_shape();
        assert_eq!(server.scrape().samples("push_failure_time_seconds"), [""; 0], "{path} {body}");
    }
    // Where they mean nothing they are labels like others.
    server.must_put("/metrics/job/j/le/1/quantile/2", "m 1\n");
}

/// Metric and label names whose escaped forms are the same are not taken together, since a scraper that
/// asks for escaping would be shown one name twice.
#[test]
fn names_that_escape_to_one_another_are_refused() {
    let server = Server::start(&["--push.enable-utf8-names"]);
    server.must_put(J, "{\"a.b\"} 1\n");
    assert_eq!(server.put("/metrics/job/k", "a_b 1\n").status, 400);
    assert_eq!(server.put("/metrics/job/k", "{\"a-b\"} 1\n").status, 400);
    assert_eq!(server.put("/metrics/job/k", "{\"c.d\"} 1\n{\"c-d\"} 1\n").status, 400);
    assert_eq!(server.put("/metrics/job/k", "m{\"l.a\"=\"1\",\"l-a\"=\"2\"} 1\n").status, 400);
    server.must_put("/metrics/job/k", "{\"a.b\"} 2\n");
    for path in [J, "/metrics/job/k"] {
        server.delete(path).is_empty_with(202);
    }
    server.must_put("/metrics/job/k", "a_b 1\n");
    assert_eq!(server.scrape().samples("a_b").len(), 1);
}

/// With UTF-8 names on, a label of the path that decodes to a name with two leading underscores is
/// refused; the reference stores its failure and then fails every scrape.
#[test]
fn decoded_names_with_leading_underscores_are_refused() {
    let server = Server::start(&["--push.enable-utf8-names"]);
    is_refused_without_a_trace(&server, "/metrics/job/j/U______a/x", b"m 1\n");
    assert_eq!(server.api("/api/v1/metrics"), json!([]));
}

/// `push_time_seconds` and `push_failure_time_seconds` in a body are dropped, whatever their type; the
/// reference keeps a pushed failure time.
#[test]
fn push_times_in_a_body_are_dropped() {
    let server = Server::start(&[]);
    for body in [
        "push_time_seconds 5\npush_failure_time_seconds 6\n",
        "# TYPE push_failure_time_seconds gauge\n# HELP push_failure_time_seconds mine\npush_failure_time_seconds 6\n",
        "# TYPE push_time_seconds counter\npush_time_seconds{a=\"b\"} 5\n",
    ] {
        for method in ["PUT", "POST", "PUT"] {
            server.send(method, J, &[], format!("{body}m 1\n").as_bytes()).is_empty_with(200);
            let scrape = server.scrape();
            let (push, failure) = scrape.times(r#"instance="",job="j""#);
            assert!(push > 1e9 && failure == 0.0, "{body}");
            assert_eq!(scrape.samples("push_time_seconds").len(), 1);
            assert!(scrape.family("push_failure_time_seconds").contains(" in the Pushgateway failed.\n"));
        }
    }
    // Their timestamps are looked at before.
    assert_eq!(server.put(J, "push_time_seconds 5 1\n").status, 400);
}

/// Gauge histograms take part in the checks of types and of reserved suffixes.
#[test]
fn gauge_histograms_are_checked_like_histograms() {
    let server = Server::start(&["--web.enable-admin-api"]);
    let gauge_histogram = "# TYPE h gauge_histogram\nh_count 1\n";
    for other in [
        "# TYPE h counter\nh 1\n",
        "# TYPE h histogram\nh_count 1\n",
        "h_bucket 1\n",
        "h_sum 1\n",
        "h_count 1\n",
    ] {
        server.must_put(J, gauge_histogram);
        assert_eq!(server.put("/metrics/job/k", other).status, 400, "{other}");
        server.wipe();
        server.must_put(J, other);
        assert_eq!(server.put("/metrics/job/k", gauge_histogram).status, 400, "{other}");
        server.wipe();
    }
}

/// An unknown `Content-Encoding` is answered 415; the reference reads such a body as it is.
#[test]
fn unknown_content_encodings_are_refused() {
    let server = Server::start(&[]);
    for coding in ["br", "compress", "gzip, gzip", "x"] {
        let answer = server.send("PUT", J, &[("Content-Encoding", coding)], b"m 1\n");
        assert_eq!(answer.status, 415, "{coding}");
        answer.has_error_shape();
        assert!(answer.text().starts_with("unsupported Content-Encoding, supported "), "{}", answer.text());
    }
    server.send("PUT", J, &[("Content-Encoding", "identity")], b"m 1\n").is_empty_with(200);
    server.send("PUT", J, &[("Content-Encoding", "")], b"m 1\n").is_empty_with(200);
}

/// A body that ends early stores nothing.
#[test]
fn cut_bodies_store_nothing() {
    let server = Server::start(&[]);
    let head = "PUT /metrics/job/j HTTP/1.1\r\nHost: h\r\n";
    for rest in [
        "Content-Length: 8\r\n\r\nm 1\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nm 1\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nm 1\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nm 1\nx",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ] {
        let text = server.raw(format!("{head}{rest}").as_bytes());
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{rest:?}: {text}");
    }
    assert_eq!(server.api("/api/v1/metrics"), json!([]));
}

/// There are limits: on heads, bodies, labels and label values, each documented and most of them flags.
#[test]
fn limits_are_answered_with_their_own_status() {
    let server = Server::start(&["--limit.body-bytes=1000"]);
    assert_eq!(server.put(J, &format!("# {}\n", "x".repeat(997))).status, 200);
    assert_eq!(server.put(J, &format!("# {}\n", "x".repeat(998))).status, 413);
    let chunked = format!(
        "PUT {J} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{}",
        "\n".repeat(1001)
    );
    assert!(server.raw(chunked.as_bytes()).starts_with("HTTP/1.1 413 "));
    let many: String = (0..65).map(|number| format!("/l{number}/v")).collect();
    assert!((400..500).contains(&server.put(&format!("{J}{many}"), "m 1\n").status));
    let server = Server::start(&[]);
    assert_eq!(server.put(&format!("{J}/a/{}", "x".repeat(20_000)), "m 1\n").status, 414);
    let header = "x".repeat(40_000);
    assert_eq!(server.send("GET", "/metrics", &[("A", &header)], b"").status, 431);
    let long_value = format!("m{{a=\"{}\"}} 1\n", "x".repeat(70_000));
    assert!((400..500).contains(&server.put(J, &long_value).status));
    let labels: String = (0..300).map(|number| format!("l{number}=\"v\",")).collect();
    assert!((400..500).contains(&server.put(J, &format!("m{{{labels}}} 1\n")).status));
    assert_eq!(server.pushed(), "");
}

/// A request that says its length twice in different ways is refused; the reference takes the chunks.
#[test]
fn conflicting_framing_is_refused() {
    let server = Server::start(&[]);
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 14\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let text = server
            .raw(format!("PUT {J} HTTP/1.1\r\nHost: h\r\n{headers}\r\n4\r\nm 1\n\r\n0\r\n\r\n").as_bytes());
        assert!(
            !text.starts_with("HTTP/1.1 2") && text.matches("HTTP/1.1 ").count() == 1,
            "{headers}: {text}"
        );
    }
    assert_eq!(server.api("/api/v1/metrics"), json!([]));
}

/// A DELETE is applied when it is answered; the reference answers first.
#[test]
fn a_delete_is_applied_before_its_answer() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    for _ in 0..200 {
        connection.send("PUT", J, &[], b"m 1\n").is_empty_with(200);
        connection.send("DELETE", J, &[], b"").is_empty_with(202);
        assert!(!connection.send("GET", "/metrics", &[], b"").text().contains("\nm{"));
    }
}

/// While pushes are not checked, a scrape shows one of two contradicting families and answers 200; the
/// reference answers 500 until the contradiction is gone.
#[test]
fn unchecked_contradictions_do_not_fail_a_scrape() {
    let server = Server::start(&["--push.disable-consistency-check"]);
    server.put("/metrics/job/a", "m{b=\"1\"} 1\nkept 1\n").is_empty_with(202);
    server.put("/metrics/job/a/b/1", "m 2\n").is_empty_with(202);
    let scrape = server.scrape();
    assert_eq!(scrape.samples("kept").len(), 1);
    assert_eq!(scrape.samples("m").len(), 1);
    assert_eq!(scrape.value("floodway_series_hidden"), Some(1.0));
}

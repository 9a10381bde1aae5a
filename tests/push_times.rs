//! `push_time_seconds` and `push_failure_time_seconds`: what moves them and what does not.

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::Server;

const J: &str = r#"instance="",job="j""#;
const PATH: &str = "/metrics/job/j";

/// Parses, and is refused by the store.
const TIMESTAMPED: &str = "m 1 1234\n";

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn a_push_that_is_taken_sets_the_push_time() {
    let server = Server::start(&[]);
    let before = unix_now();
    server.must_put(PATH, "m 1\n");
    let (push, failure) = server.scrape().times(J);
    // A float keeps some microseconds less than the clock has.
    assert!(before - 0.001 <= push && push <= unix_now() + 0.001, "{before} {push}");
    assert_eq!(failure, 0.0);
}

#[test]
fn every_kind_of_push_moves_the_push_time_only() {
    let server = Server::start(&[]);
    server.must_put(PATH, "m 1\n");
    assert_eq!(server.put(PATH, TIMESTAMPED).status, 400);
    let (mut last, failure) = server.scrape().times(J);
    assert!(failure > last);
    for (method, body) in [("PUT", "m 1\n"), ("POST", "m 1\n"), ("POST", "n 1\n"), ("POST", ""), ("PUT", "")]
    {
        server.send(method, PATH, &[], body.as_bytes()).is_empty_with(200);
        let (push, same) = server.scrape().times(J);
        assert!(push > last, "{method} {body:?}");
        assert_eq!(same, failure, "{method} {body:?}");
        last = push;
    }
}

#[test]
fn a_push_that_the_store_refuses_sets_the_failure_time_only() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/other", "# TYPE m gauge\nm 1\n");
    server.must_put(PATH, "kept 1\n");
    let (push, mut last) = server.scrape().times(J);
    for (method, body) in [
        ("PUT", TIMESTAMPED),
        ("POST", TIMESTAMPED),
        ("PUT", "m 1\n"),
        ("POST", "m 1\n"),
        ("PUT", "a{b=\"1\"} 1\na{b=\"1\"} 1\n"),
    ] {
        assert_eq!(server.send(method, PATH, &[], body.as_bytes()).status, 400);
        let scrape = server.scrape();
        let (same, failure) = scrape.times(J);
        assert!(failure > last && failure > push, "{method} {body:?}");
        assert_eq!(same, push, "{method} {body:?}");
        assert_eq!(scrape.samples("kept"), [format!("kept{{{J}}} 1")]);
        last = failure;
    }
}

#[test]
fn a_failed_first_push_makes_a_group_that_has_only_failed() {
    let server = Server::start(&[]);
    for method in ["PUT", "POST"] {
        assert_eq!(server.send(method, PATH, &[], TIMESTAMPED.as_bytes()).status, 400);
        let (push, failure) = server.scrape().times(J);
        assert!(push == 0.0 && failure > 0.0);
        assert_eq!(server.pushed(), "");
        server.delete(PATH).is_empty_with(202);
        assert!(!server.scrape().has_group(J));
    }
    // A group that comes again knows nothing of the past.
    server.must_put(PATH, "m 1\n");
    assert_eq!(server.scrape().times(J).1, 0.0);
}

#[test]
fn what_does_not_reach_the_store_moves_nothing() {
    let server = Server::start(&[]);
    server.must_put(PATH, "m 1\n");
    let before = server.scrape().times(J);
    assert_eq!(server.put(PATH, "no metric").status, 400);
    assert_eq!(server.put(&format!("{PATH}/a"), "m 1\n").status, 400);
    assert_eq!(server.send("PUT", PATH, &[("Content-Encoding", "x")], b"m 1\n").status, 415);
    assert_eq!(server.send("FOO", PATH, &[], b"").status, 405);
    server.delete("/metrics/job/another").is_empty_with(202);
    let scrape = server.scrape();
    assert_eq!(scrape.times(J), before);
    assert_eq!(scrape.samples("push_time_seconds").len(), 1);
}

#[test]
fn the_families_of_the_times() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/j/a/1", "m 1\n");
    server.must_put("/metrics/job/j/instance/i", "m{a=\"b\"} 1\n");
    let scrape = server.scrape();
    for (name, how) in [("push_time_seconds", "succeeded"), ("push_failure_time_seconds", "failed")] {
        let family = scrape.family(name);
        let head = format!(
            "# HELP {name} Last Unix time when changing this group in the Pushgateway {how}.\n# TYPE {name} gauge\n"
        );
        assert!(family.starts_with(&head), "{family}");
        let labels: Vec<&str> =
            scrape.samples(name).into_iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(
            labels,
            [format!(r#"{name}{{a="1",instance="",job="j"}}"#), format!(r#"{name}{{instance="i",job="j"}}"#)]
        );
    }
}

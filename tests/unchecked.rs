//! `--push.disable-consistency-check`: every push that parses is answered 202.

mod common;

use common::Server;

const J: &str = "/metrics/job/j";

fn unchecked() -> Server {
    Server::start(&["--push.disable-consistency-check"])
}

#[test]
fn pushes_are_answered_202_and_visible() {
    let server = unchecked();
    server.put(J, "m 1\n").is_empty_with(202);
    server.post(J, "n 1\n").is_empty_with(202);
    server.delete("/metrics/job/k").is_empty_with(202);
    assert_eq!(
        server.pushed(),
        "# TYPE m untyped\nm{instance=\"\",job=\"j\"} 1\n# TYPE n untyped\nn{instance=\"\",job=\"j\"} 1\n"
    );
}

#[test]
fn what_does_not_parse_is_refused_all_the_same() {
    let server = unchecked();
    server
        .put(J, "m\n")
        .is_error(400, "text format parsing error in line 1: expected float as value, got \"\"");
    server.put(&format!("{J}/a"), "m 1\n").is_error(400, r#"odd number of components in label string "/a""#);
    server.put("/metrics/job@base64/=", "m 1\n").is_error(400, "job name is required");
    assert_eq!(server.pushed(), "");
    assert!(!server.scrape().has_group(r#"instance="",job="j""#));
}

#[test]
fn timestamps_are_answered_202_and_not_stored() {
    let server = unchecked();
    server.put(J, "m 1\n").is_empty_with(202);
    server.put(J, "m 2 1234\n").is_empty_with(202);
    let scrape = server.scrape();
    assert_eq!(scrape.samples("m"), [r#"m{instance="",job="j"} 1"#]);
    let (push, failure) = scrape.times(r#"instance="",job="j""#);
    assert!(failure > push);
}

#[test]
fn contradictions_between_groups_are_taken() {
    let server = unchecked();
    server.put(J, "# TYPE m gauge\nm 1\n").is_empty_with(202);
    server.put("/metrics/job/k", "# TYPE m counter\nm 2\n").is_empty_with(202);
    server.put("/metrics/job/l", "# TYPE m summary\nm_count 3\n").is_empty_with(202);
    server.put("/metrics/job/n", "m_count 4\n").is_empty_with(202);
    // Nothing is shown twice under two types, and the good part of a scrape is not lost.
    let scrape = server.scrape();
    let names = scrape.names();
    let mut once = names.clone();
    once.dedup();
    assert_eq!(names, once);
    assert!(scrape.has_group(r#"instance="",job="n""#));
    // Once the others are gone, the last one is as it was pushed.
    for job in ["j", "k", "n"] {
        server.delete(&format!("/metrics/job/{job}")).is_empty_with(202);
    }
    assert_eq!(
        server.pushed(),
        "# TYPE m summary\nm_sum{instance=\"\",job=\"l\"} 0\nm_count{instance=\"\",job=\"l\"} 3\n"
    );
}

#[test]
fn the_order_of_changes_is_kept() {
    let server = unchecked();
    let mut connection = server.connect();
    for number in 0..100 {
        let body = format!("m {number}\n");
        connection.send("PUT", J, &[], body.as_bytes()).is_empty_with(202);
        if number % 7 == 0 {
            connection.send("DELETE", J, &[], b"").is_empty_with(202);
            connection.send("POST", J, &[], body.as_bytes()).is_empty_with(202);
        }
        let line = format!("\nm{{instance=\"\",job=\"j\"}} {number}\n");
        assert!(connection.send("GET", "/metrics", &[], b"").text().contains(&line), "{number}");
    }
}

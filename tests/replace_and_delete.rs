//! What PUT, POST, DELETE and wipe do to a group, and when it shows.

mod common;

use common::Server;
use serde_json::json;

const J: &str = r#"instance="",job="j""#;

/// One step on the group `j`, and what its exposition is afterwards, with `@` for the group's labels.
type Step = (&'static str, &'static str, &'static str);

const PUT: &str = "PUT";
const POST: &str = "POST";
const DELETE: &str = "DELETE";

fn follow(steps: &[Step]) {
    let server = Server::start(&[]);
    for (at, (method, body, exposition)) in steps.iter().enumerate() {
        let status = if *method == DELETE { 202 } else { 200 };
        server.send(method, "/metrics/job/j", &[], body.as_bytes()).is_empty_with(status);
        let scrape = server.scrape();
        assert_eq!(scrape.pushed(), exposition.replace('@', J), "step {at}: {method} {body:?}");
        assert_eq!(scrape.has_group(J), *method != DELETE, "step {at}");
    }
}

#[test]
fn put_replaces_the_group() {
    follow(&[
        (PUT, "a 1\nb 1\n", "# TYPE a untyped\na{@} 1\n# TYPE b untyped\nb{@} 1\n"),
        (PUT, "b 2\nc 2\n", "# TYPE b untyped\nb{@} 2\n# TYPE c untyped\nc{@} 2\n"),
        (PUT, "# TYPE b counter\nb{x=\"1\"} 3\n", "# TYPE b counter\nb{@,x=\"1\"} 3\n"),
        (
            PUT,
            "# TYPE b histogram\nb_count 1\n",
            "# TYPE b histogram\nb_bucket{@,le=\"+Inf\"} 1\nb_sum{@} 0\nb_count{@} 1\n",
        ),
        (PUT, "", ""),
        (PUT, "# nothing\n", ""),
        (PUT, "a 1\n", "# TYPE a untyped\na{@} 1\n"),
        (PUT, "a 1\n", "# TYPE a untyped\na{@} 1\n"),
    ]);
}

#[test]
fn post_replaces_families_by_name() {
    follow(&[
        (
            POST,
            "a 1\nb{x=\"1\"} 1\nb{x=\"2\"} 2\n",
            "# TYPE a untyped\na{@} 1\n# TYPE b untyped\nb{@,x=\"1\"} 1\nb{@,x=\"2\"} 2\n",
        ),
        // The family goes as a whole: its other series, its type, its help.
        (
            POST,
            "# HELP b h\n# TYPE b gauge\nb{x=\"3\"} 3\n",
            "# TYPE a untyped\na{@} 1\n# HELP b h\n# TYPE b gauge\nb{@,x=\"3\"} 3\n",
        ),
        (POST, "b 4\n", "# TYPE a untyped\na{@} 1\n# TYPE b untyped\nb{@} 4\n"),
        (POST, "", "# TYPE a untyped\na{@} 1\n# TYPE b untyped\nb{@} 4\n"),
        (POST, "c 5\n", "# TYPE a untyped\na{@} 1\n# TYPE b untyped\nb{@} 4\n# TYPE c untyped\nc{@} 5\n"),
        (PUT, "c 6\n", "# TYPE c untyped\nc{@} 6\n"),
    ]);
}

#[test]
fn delete_removes_the_group() {
    follow(&[
        (DELETE, "", ""),
        (PUT, "a 1\n", "# TYPE a untyped\na{@} 1\n"),
        (DELETE, "", ""),
        (DELETE, "", ""),
        (POST, "b 1\n", "# TYPE b untyped\nb{@} 1\n"),
        // A body is not read.
        (DELETE, "this is no metric", ""),
        (PUT, "", ""),
        (DELETE, "", ""),
    ]);
}

#[test]
fn delete_takes_exactly_one_group() {
    let server = Server::start(&[]);
    let paths = [
        "/metrics/job/j",
        "/metrics/job/j/a/1",
        "/metrics/job/j/a/1/b/2",
        "/metrics/job/j/a/",
        "/metrics/job/k",
    ];
    let labels = [
        json!({"job": "j"}),
        json!({"job": "j", "a": "1"}),
        json!({"job": "j", "a": "1", "b": "2"}),
        json!({"job": "j", "a": ""}),
        json!({"job": "k"}),
    ];
    for gone in 0..paths.len() {
        for path in paths {
            server.must_put(path, "m 1\n");
        }
        server.delete(paths[gone]).is_empty_with(202);
        for (at, labels) in labels.iter().enumerate() {
            assert_eq!(server.group(labels).is_some(), at != gone, "{} of {}", paths[at], paths[gone]);
        }
        assert_eq!(server.scrape().samples("m").len(), paths.len() - 1);
    }
}

#[test]
fn an_answered_change_is_in_the_next_scrape() {
    let server = Server::start(&[]);
    let mut pusher = server.connect();
    let mut scraper = server.connect();
    for number in 0..200 {
        let body = format!("m {number}\n");
        pusher.send("PUT", "/metrics/job/j", &[], body.as_bytes()).is_empty_with(200);
        let scrape = scraper.send("GET", "/metrics", &[], b"");
        let line = format!("\nm{{{J}}} {number}\n");
        assert!(scrape.text().contains(&line), "{number}: {}", scrape.text());
        if number % 3 == 0 {
            pusher.send("DELETE", "/metrics/job/j", &[], b"").is_empty_with(202);
            let scrape = scraper.send("GET", "/metrics", &[], b"");
            assert!(!scrape.text().contains("\nm{"), "{number}");
        }
    }
}

#[test]
fn pipelined_changes_apply_in_order() {
    let server = Server::start(&[]);
    let mut bytes = Vec::new();
    for number in 0..100 {
        bytes.extend(common::request_bytes(
            "POST",
            "/metrics/job/j",
            &[],
            format!("m {number}\n").as_bytes(),
        ));
        bytes.extend(common::request_bytes("GET", "/metrics", &[], b""));
        if number % 10 == 9 {
            bytes.extend(common::request_bytes("DELETE", "/metrics/job/j", &[], b""));
        }
    }
    let mut connection = server.connect();
    connection.write(&bytes);
    for number in 0..100 {
        connection.answer_to("POST").is_empty_with(200);
        let scrape = connection.answer_to("GET");
        assert!(scrape.text().contains(&format!("\nm{{{J}}} {number}\n")), "{number}");
        if number % 10 == 9 {
            connection.answer_to("DELETE").is_empty_with(202);
        }
    }
    assert_eq!(server.api("/api/v1/metrics"), json!([]));
}

#[test]
fn wipe_removes_every_group_and_all_may_come_back() {
    let server = Server::start(&["--web.enable-admin-api"]);
    server.wipe();
    for _ in 0..3 {
        for number in 0..100 {
            server.must_put(&format!("/metrics/job/j/n/{number}"), "m 1\n");
        }
        assert_eq!(server.put("/metrics/job/failed", "m 1 1\n").status, 400);
        assert_eq!(server.scrape().samples("m").len(), 100);
        server.wipe();
        let scrape = server.scrape();
        assert_eq!(scrape.pushed(), "");
        assert_eq!(scrape.family("push_time_seconds"), "");
        assert_eq!(server.api("/api/v1/metrics"), json!([]));
    }
    // Nothing of the old types is left either.
    server.must_put("/metrics/job/j", "# TYPE m counter\nm 1\n");
}

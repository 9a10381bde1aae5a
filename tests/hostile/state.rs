//! Neighbours: what one client's pushes, scrapes and deletes may do to another's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::common::hostile::{Kept, Siege, push};
use crate::common::{Connection, Server, request_bytes};

const LABELS: &str = r#"instance="",job="hostile""#;

/// A body of so many series, each of about a hundred bytes.
fn large(series: usize) -> String {
    let filler = "x".repeat(64);
    (0..series).map(|at| format!("large{{n=\"{at}\",filler=\"{filler}\"}} {at}\n")).collect()
}

#[test]
fn wiping_and_deleting_much_leaves_others_alone() {
    let server = Server::start(&["--web.enable-admin-api"]);
    for round in 0..3 {
        for group in 0..10 {
            server.must_put(&format!("/metrics/job/large/g/{group}"), &large(5_000));
        }
        let wiping = AtomicBool::new(true);
        thread::scope(|scope| {
            scope.spawn(|| {
                if round % 2 == 0 {
                    server.wipe();
                } else {
                    for group in 0..10 {
                        server.delete(&format!("/metrics/job/large/g/{group}")).is_empty_with(202);
                    }
                }
                wiping.store(false, Ordering::SeqCst);
            });
            let mut neighbour = server.connect();
            let mut number = 0;
            while wiping.load(Ordering::SeqCst) || number < 50 {
                number += 1;
                let body = format!("neighbour {number}\n");
                neighbour.send("PUT", "/metrics/job/neighbour", &[], body.as_bytes()).is_empty_with(200);
            }
            // Pushed after the wipe, or before it: the last one is whole or wiped.
            let last = format!("neighbour{{instance=\"\",job=\"neighbour\"}} {number}");
            server.must_put("/metrics/job/neighbour", &format!("neighbour {number}\n"));
            assert_eq!(server.scrape().samples("neighbour"), [last]);
        });
        assert!(server.scrape().samples("large").is_empty());
        server.delete("/metrics/job/neighbour").is_empty_with(202);
    }
}

#[test]
fn what_is_not_enabled_is_refused_by_any_method() {
    let mut siege = Siege::begin(&[]);
    for method in ["PUT", "POST", "GET", "DELETE"] {
        siege.refused(
            &request_bytes(method, "/api/v1/admin/wipe", &[], b""),
            404,
            "404 page not found",
            Kept,
        );
    }
    for path in ["/-/quit", "/-/reload"] {
        for method in ["PUT", "POST"] {
            siege.refused(&request_bytes(method, path, &[], b""), 403, "Lifecycle API is not enabled.", Kept);
        }
        siege.refused(&request_bytes("DELETE", path, &[], b""), 405, "Method Not Allowed", Kept);
    }
    siege.refused(
        &request_bytes("GET", "/-/quit", &[], b""),
        405,
        "Only POST or PUT requests allowed.",
        Kept,
    );
}

/// Fifty scrapers at once, some of which do not read: the others get all of it, the stalled ones are cut,
/// and pushes go on.
#[test]
fn many_scrapers_share_what_is_rendered_and_stalled_ones_are_dropped() {
    let server = Server::start(&["--limit.write-deadline=4s"]);
    for group in 0..20 {
        server.must_put(&format!("/metrics/job/large/g/{group}"), &large(5_000));
    }
    let whole = server.scrape().samples("large").len();
    assert_eq!(whole, 100_000);
    let before = peak(&server);
    let stalled: Vec<Connection> = (0..10)
        .map(|_| {
            let mut connection = server.connect();
            // More than the kernel keeps for a client that does not read.
            connection.write(&request_bytes("GET", "/metrics", &[], b"").repeat(4));
            connection
        })
        .collect();
    thread::scope(|scope| {
        for scraper in 0..40 {
            let server = &server;
            scope.spawn(move || {
                let coding = ["identity", "gzip", "zstd;q=0, gzip"][scraper % 3];
                let answer = server.send("GET", "/metrics", &[("Accept-Encoding", coding)], b"");
                assert_eq!(answer.status, 200);
                let text = answer.unpacked();
                assert_eq!(text.lines().filter(|line| line.starts_with("large{")).count(), whole);
            });
        }
        for number in 0..50 {
            server.must_put("/metrics/job/neighbour", &format!("neighbour {number}\n"));
        }
    });
    // Ten stalled and forty other scrapers: one rendering of each coding, not fifty.
    let (more, one) = (peak(&server).saturating_sub(before), server.scrape().text.len());
    assert!(more < 8 * one, "{more} bytes more for scrapes of {one}");
    // Only those who scrape and the neighbour are left, soon.
    let begun = std::time::Instant::now();
    while server.scrape().value("floodway_connections_open").unwrap() > 2.0 {
        assert!(begun.elapsed() < crate::common::PATIENCE);
        thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(stalled);
}

fn peak(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn nonsense_in_accept_headers_gives_plain_text() {
    let siege = Siege::begin(&[]);
    let long = "text/plain;q=0.1,".repeat(1800);
    let plain = siege.server.get("/metrics");
    for (name, value) in [
        ("Accept", ""),
        ("Accept", ",,,;;;==="),
        ("Accept", "text/plain;q=NaN"),
        ("Accept", "text/plain;version=9.9.9"),
        ("Accept", "*/*;q=0"),
        ("Accept", "application/json"),
        ("Accept", "\u{e9}"),
        ("Accept", &long),
        ("Accept-Encoding", ""),
        ("Accept-Encoding", ",;q=,gzip;q=0"),
        ("Accept-Encoding", "gzip;q=0, zstd;q=0, *;q=0"),
        ("Accept-Encoding", "identity;q=0"),
        ("Accept-Encoding", "gzip;q=-1"),
        ("Accept-Encoding", "br, compress, x"),
        ("If-None-Match", "nonsense, \"\", W/"),
    ] {
        let answer = siege.server.send("GET", "/metrics", &[(name, value)], b"");
        assert_eq!(answer.status, 200, "{name}: {value:.60}");
        assert_eq!(answer.header("Content-Type"), plain.header("Content-Type"), "{name}: {value:.60}");
        assert_eq!(answer.header("Content-Encoding"), None, "{name}: {value:.60}");
        assert!(answer.text().contains("\nkept{"));
    }
    // Twice the same header: both count.
    let twice = b"GET /metrics HTTP/1.1\r\nHost: h\r\nAccept-Encoding: br\r\nAccept-Encoding: gzip\r\n\r\n";
    let mut connection = siege.server.connect();
    connection.write(twice);
    assert!(connection.answer_to("GET").unpacked().contains("\nkept{"));
}

#[test]
fn script_in_what_is_pushed_is_shown_as_text() {
    let script = "<script>alert(1)</script>";
    let mut siege = Siege::begin(&["--web.external-url=http://example.org/"]);
    let path =
        "/metrics/job/%3Cscript%3Ealert(1)%3C%2Fscript%3E".replace("%2F", "\\u002f").replace("\\u002f", "");
    siege.answered(
        &request_bytes(
            "PUT",
            &path,
            &[],
            format!("# HELP m {script}\nm{{a=\"{script}'\\\"\"}} 1\n").as_bytes(),
        ),
        200,
    );
    for path in ["/", "/status"] {
        let page = siege.server.get(path);
        assert!(!page.text().contains("<script>alert"), "{path}");
        let policy = page.header("Content-Security-Policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe-inline' script"),
            "{policy}"
        );
    }
    let groups = siege.server.get("/api/v1/metrics");
    assert_eq!(groups.header("Content-Type"), Some("application/json"));
    assert!(!groups.text().contains("<script>") && groups.text().contains(r"\u003cscript\u003e"));
    // What errors repeat is plain text that nobody takes for a page.
    let answer = siege.refused(&push(format!("{script} 1\n").as_bytes()), 400, "invalid metric name", Kept);
    answer.has_error_shape();
    let answer = siege.refused(
        &request_bytes("PUT", "/metrics/job/a/%3Cscript%3E/b", &[], b""),
        400,
        "improper label name",
        Kept,
    );
    answer.has_error_shape();
    let answer = siege.answered(&request_bytes("GET", "/metrics//%3Cscript%3E%22onload=x", &[], b""), 301);
    assert!(!answer.text().contains("<script>") && !answer.text().contains("\"onload"), "{}", answer.text());
}

/// Such a series would show its label twice, and Prometheus would drop the whole scrape.
#[test]
fn labels_that_buckets_and_quantiles_use_are_refused() {
    let mut siege = Siege::begin(&[]);
    for (path, body) in [
        ("/metrics/job/hostile/le/1", "# TYPE h histogram\nh_count 1\n"),
        ("/metrics/job/hostile/le/1", "# TYPE h gauge_histogram\nh_count 1\n"),
        ("/metrics/job/hostile/quantile/1", "# TYPE s summary\ns_count 1\n"),
    ] {
        siege.refused(
            &request_bytes("PUT", path, &[], body.as_bytes()),
            400,
            "must not have an explicit",
            Kept,
        );
    }
}

/// The reference keeps the pushed failure time, and every push fails once the two groups meet.
#[test]
fn failure_times_in_a_body_collide_with_nothing() {
    let mut siege = Siege::begin(&[]);
    siege.answered(&push(b"push_failure_time_seconds{x=\"y\"} 1\nm 1\n"), 200);
    siege.answered(&request_bytes("PUT", "/metrics/job/hostile/x/y", &[], b"n 1\n"), 200);
    assert_eq!(siege.server.scrape().samples("push_failure_time_seconds").len(), 4);
}

#[test]
fn a_gauge_and_a_gauge_histogram_of_one_name_contradict() {
    let mut siege = Siege::begin(&[]);
    siege.answered(
        &request_bytes("PUT", "/metrics/job/other", &[], b"# TYPE t gauge_histogram\nt_count 1\n"),
        200,
    );
    siege.stamped(&push(b"# TYPE t gauge\nt 1\n"), " is not a GAUGE_HISTOGRAM", LABELS);
    siege.stamped(&push(b"# TYPE t histogram\nt_count 1\n"), " is not a GAUGE_HISTOGRAM", LABELS);
}

#[test]
fn names_that_would_be_shown_alike_are_refused() {
    let mut siege = Siege::begin(&["--push.enable-utf8-names"]);
    let other = |body: &str| request_bytes("PUT", "/metrics/job/other", &[], body.as_bytes());
    siege.answered(&other("{\"a.b\"} 1\n"), 200);
    for body in
        ["a_b 1\n", "{\"a-b\"} 1\n", "{\"c.d\"} 1\n{\"c-d\"} 1\n", "m{\"l.a\"=\"1\",\"l-a\"=\"2\"} 1\n"]
    {
        siege.refused(&push(body.as_bytes()), 400, "shown as", Kept);
    }
    let mut siege = Siege::begin(&[]);
    for body in ["{\"a.b\"} 1\n", "m{\"l.a\"=\"1\"} 1\n", "# TYPE \"a.b\" gauge\n"] {
        siege.refused(&push(body.as_bytes()), 400, "text format parsing error in line 1", Kept);
    }
}

/// Each push of a new shape looks at every set of grouping label names in use, so their number is bounded.
#[test]
fn grouping_names_never_seen_run_into_a_limit() {
    let mut siege = Siege::begin(&["--limit.grouping-name-sets=50"]);
    // The neighbour's names are in use before anything else.
    siege.nothing_changed(b"nothing");
    let push =
        |number: usize| request_bytes("PUT", &format!("/metrics/job/hostile/l{number}/v"), &[], b"m 1\n");
    let taken = (0..200).take_while(|number| {
        let mut connection = siege.server.connect();
        connection.write(&push(*number));
        connection.answer_to("PUT").status == 200
    });
    let taken = taken.count();
    assert!((40..=50).contains(&taken), "{taken}");
    siege.answered(&request_bytes("PUT", "/metrics/job/hostile/l0/other", &[], b"m 1\n"), 200);
    for number in taken..taken + 20 {
        siege.refused(&push(number), 429, "--limit.grouping-name-sets", Kept);
    }
    // What goes makes room.
    siege.answered(&request_bytes("DELETE", "/metrics/job/hostile/l1/v", &[], b""), 202);
    siege.answered(&push(1000), 200);
}

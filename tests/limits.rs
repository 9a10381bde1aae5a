//! Every limit from outside: what it answers, that the answer names its flag, that it is counted, and that
//! what went over it left no trace.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use common::{Answer, PATIENCE, Server, request_bytes};
use flate2::Compression;
use flate2::write::GzEncoder;

const J: &str = "/metrics/job/j/instance/i";

/// How often a limit was reached.
fn hits(server: &Server, limit: &str) -> f64 {
    server.scrape().value(&format!("floodway_limit_hits_total{{limit=\"{limit}\"}}")).unwrap()
}

fn used(server: &Server, limit: &str) -> f64 {
    server.scrape().value(&format!("floodway_limit_used{{limit=\"{limit}\"}}")).unwrap()
}

#[track_caller]
fn names_its_flag(answer: &Answer, status: u16, limit: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let text = answer.text().trim_end();
    assert!(text.ends_with(&format!(" (--limit.{limit})")) && !text.contains('\n'), "{text}");
    assert_eq!(answer.header("Retry-After").is_some(), matches!(status, 429 | 503));
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Limit, path, body and headers.
type Case<'c> = (&'c str, &'c str, Vec<u8>, &'c [(&'c str, &'c str)]);

#[test]
fn a_push_over_its_own_limits_is_413_and_leaves_no_trace() {
    let server = Server::start(&[
        "--limit.body-bytes=2000",
        "--limit.decoded-bytes=3000",
        "--limit.push-families=3",
        "--limit.push-series=4",
        "--limit.series-labels=5",
        "--limit.label-value-bytes=100",
    ]);
    server.must_put(J, "m{a=\"1\",b=\"2\",c=\"3\"} 1\nn 1\n# TYPE o gauge\no 1\n");
    let before = server.pushed();
    let long = "x".repeat(101);
    let (long_job, long_label) = (format!("/metrics/job/{long}"), format!("/metrics/job/j/l/{long}"));
    let series: String = (0..5).map(|at| format!("s{{a=\"{at}\"}} 1\n")).collect();
    let openmetrics = [("Content-Type", "application/openmetrics-text; version=1.0.0")];
    let cases: Vec<Case<'_>> = vec![
        ("body-bytes", J, "m 1\n".repeat(501).into(), &[]),
        ("decoded-bytes", J, gzip(&"m 1\n".repeat(751)), &[("Content-Encoding", "gzip")]),
        ("push-families", J, "a 1\nb 1\nc 1\nd 1\n".into(), &[]),
        ("push-series", J, series.clone().into(), &[]),
        ("push-series", J, format!("{series}# EOF\n").into(), &openmetrics),
        ("series-labels", J, "m{a=\"1\",b=\"2\",c=\"3\",d=\"4\"} 1\n".into(), &[]),
        ("label-value-bytes", J, format!("m{{a=\"{long}\"}} 1\n").into(), &[]),
        ("label-value-bytes", &long_job, "m 1\n".into(), &[]),
        // Nor does a push that the reference would note as failed leave a note under such a key.
        ("label-value-bytes", &long_label, "m 1 5\n".into(), &[]),
    ];
    for (limit, path, body, headers) in &cases {
        for method in ["PUT", "POST"] {
            let hits_before = hits(&server, limit);
            names_its_flag(&server.send(method, path, headers, body), 413, limit);
            assert_eq!(hits(&server, limit), hits_before + 1.0, "{limit}");
        }
    }
    assert_eq!(server.pushed(), before);
    let scrape = server.scrape();
    assert_eq!(scrape.samples("push_failure_time_seconds").len(), 1);
    assert_eq!(scrape.times("instance=\"i\",job=\"j\"").1, 0.0);
    assert_eq!(scrape.value("floodway_limit_max{limit=\"push-series\"}"), Some(4.0));
}

#[test]
fn a_full_store_refuses_what_grows_and_takes_what_shrinks() {
    for (flag, status, more) in [
        ("groups=2", 429, ("/metrics/job/third", "m 1\n")),
        ("series=4", 429, (J, "m{x=\"1\"} 1\nm{x=\"2\"} 1\nm{x=\"3\"} 1\n")),
        ("job-series=2", 429, (J, "m{x=\"1\"} 1\nm{x=\"2\"} 1\nm{x=\"3\"} 1\n")),
        ("grouping-name-sets=1", 429, ("/metrics/job/j/shard/1", "m 1\n")),
        ("memory=6000", 503, (J, &*format!("m{{x=\"{}\"}} 1\nm 2\n", "y".repeat(6000)))),
    ] {
        let limit = flag.split('=').next().unwrap();
        let server = Server::start(&[&format!("--limit.{flag}")]);
        server.must_put(J, "m{x=\"1\"} 1\nm{x=\"2\"} 1\n");
        server.must_put("/metrics/job/other/instance/i", "m{x=\"1\"} 1\nm{x=\"2\"} 1\n");
        let before = server.pushed();
        let held = used(&server, limit);
        for method in ["PUT", "POST"] {
            names_its_flag(&server.send(method, more.0, &[], more.1.as_bytes()), status, limit);
        }
        assert_eq!((hits(&server, limit), used(&server, limit)), (2.0, held), "{flag}");
        assert_eq!(server.pushed(), before, "{flag}");
        assert_eq!(server.scrape().times("instance=\"i\",job=\"j\"").1, 0.0);
        // The same again, a smaller group, and then there is room again.
        server.must_put(J, "m{x=\"1\"} 7\nm{x=\"2\"} 7\n");
        server.must_put(J, "m{x=\"1\"} 1\n");
        server.delete(J).is_empty_with(202);
        assert!(used(&server, limit) <= held);
        server.delete("/metrics/job/other/instance/i").is_empty_with(202);
        assert_eq!(used(&server, limit), 0.0, "{flag}");
        if limit != "memory" {
            server.must_put("/metrics/job/j/shard/1", "m 1\n");
        }
    }
}

#[test]
fn of_pushes_that_race_for_the_last_room_none_is_stored_in_part() {
    let server = Server::start(&["--limit.series=20", "--limit.groups=9"]);
    let passed: usize = thread::scope(|scope| {
        let pushers: Vec<_> = (0..8)
            .map(|pusher| {
                let server = &server;
                scope.spawn(move || {
                    let mut connection = server.connect();
                    let push = |at| {
                        let path = format!("/metrics/job/j{pusher}/instance/{at}");
                        let body = format!("m{{x=\"1\"}} {at}\nm{{x=\"2\"}} {at}\nm{{x=\"3\"}} {at}\n");
                        let answer = connection.send("PUT", &path, &[], body.as_bytes());
                        assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
                        answer.status == 200
                    };
                    (0..4).map(push).filter(|passed| *passed).count()
                })
            })
            .collect();
        pushers.into_iter().map(|pusher| pusher.join().unwrap()).sum()
    });
    assert_eq!(passed, 6);
    assert_eq!(server.scrape().samples("m").len(), 18);
    assert_eq!(used(&server, "series"), 18.0);
    assert_eq!(hits(&server, "series"), 26.0);
}

#[test]
fn heads_have_a_limit_of_their_own() {
    let server = Server::start(&["--limit.head-bytes=2000"]);
    let answer = server.raw(&request_bytes("GET", "/-/ready", &[("A", &"a".repeat(2000))], b""));
    assert!(answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{answer}");
    assert!(answer.ends_with(": head is longer than 2000 bytes (--limit.head-bytes)"), "{answer}");
    assert_eq!(server.send("GET", "/-/ready", &[("A", &"a".repeat(1800))], b"").status, 200);
    assert_eq!(hits(&server, "head-bytes"), 1.0);
}

#[test]
fn deadlines_are_counted() {
    let server = Server::start(&[
        "--limit.head-deadline=200ms",
        "--limit.body-deadline=200ms",
        "--limit.idle-deadline=200ms",
    ]);
    for (bytes, limit) in [
        ("GET /-/ready HTT", "head-deadline"),
        ("PUT /metrics/job/j HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nm", "body-deadline"),
        ("", "idle-deadline"),
    ] {
        let before = hits(&server, limit);
        let mut connection = server.connect();
        connection.write(bytes.as_bytes());
        let answer = String::from_utf8(connection.rest()).unwrap();
        assert_eq!(answer.is_empty(), limit == "idle-deadline", "{answer}");
        assert!(answer.is_empty() || answer.contains(&format!("(--limit.{limit})")), "{answer}");
        // A scrape's own connection may be found idle meanwhile.
        assert!(hits(&server, limit) > before, "{limit}");
    }
    assert!(server.pushed().is_empty());
}

#[test]
fn a_client_that_does_not_read_is_cut_and_counted() {
    let server = Server::start(&["--limit.write-deadline=200ms"]);
    let lines: String = (0..20_000).map(|at| format!("m{{x=\"{at}\"}} 1\n")).collect();
    server.must_put(J, &lines);
    let mut deaf = TcpStream::connect(server.address).unwrap();
    for _ in 0..40 {
        // Fails once the server has had enough.
        let _ = deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    let mut waited = Duration::ZERO;
    while hits(&server, "write-deadline") == 0.0 {
        assert!(waited < PATIENCE);
        thread::sleep(Duration::from_millis(50));
        waited += Duration::from_millis(50);
    }
}

#[test]
fn connections_have_limits_in_all_and_by_address() {
    let server = Server::start(&["--limit.connections-per-address=3", "--web.workers=2"]);
    let mut open: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for connection in &mut open {
        assert_eq!(connection.send("GET", "/-/ready", &[], b"").status, 200);
    }
    for _ in 0..2 {
        let answer = server.get("/-/ready");
        names_its_flag(&answer, 503, "connections-per-address");
        assert_eq!(answer.header("Connection"), Some("close"));
    }
    drop(open.pop());
    let mut waited = Duration::ZERO;
    while server.get("/-/ready").status != 200 {
        assert!(waited < PATIENCE);
        thread::sleep(Duration::from_millis(20));
        waited += Duration::from_millis(20);
    }
    let scrape = open[0].send("GET", "/metrics", &[], b"");
    assert!(scrape.text().contains("floodway_limit_hits_total{limit=\"connections-per-address\"} "));

    let server = Server::start(&["--limit.connections=2", "--web.workers=1"]);
    let mut oldest = TcpStream::connect(server.address).unwrap();
    oldest.write_all(b"GET /-/ready HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(server.get("/-/ready").status, 200);
    let _second = server.connect();
    assert_eq!(server.get("/-/ready").status, 200);
    oldest.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = String::new();
    oldest.read_to_string(&mut all).unwrap();
    assert!(all.starts_with("HTTP/1.1 200 OK"));
    assert!(hits(&server, "connections") >= 1.0);
    assert_eq!(server.scrape().value("floodway_limit_max{limit=\"connections\"}"), Some(2.0));
}

/// 128 MiB is only the default.
#[test]
fn a_body_larger_than_the_default_limit_is_taken_where_the_flags_allow_it() {
    let server = Server::start(&["--limit.body-bytes=150000000", "--limit.decoded-bytes=200000000"]);
    let comment = format!("# {}\n", "x".repeat(1000)).repeat(140_000);
    let answer = server.send("PUT", J, &[("Content-Encoding", "gzip")], &gzip(&format!("{comment}m 1\n")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.scrape().samples("m"), ["m{instance=\"i\",job=\"j\"} 1"]);
}

#[test]
fn what_is_kept_on_the_disk_comes_back_whole_under_lower_limits() {
    let folder = std::env::temp_dir().join(format!("floodway-limits-{}", std::process::id()));
    let file = format!("--persistence.file={}", folder.display());
    let server = Server::start(&[&file]);
    for group in 0..3 {
        server.must_put(&format!("/metrics/job/j/instance/{group}"), "m{x=\"1\"} 1\nm{x=\"2\"} 2\n");
    }
    server.signal(libc::SIGTERM);
    server.wait();
    let server = Server::start(&[
        &file,
        "--limit.groups=1",
        "--limit.series=2",
        "--limit.memory=100",
        "--limit.series-labels=1",
        "--limit.grouping-name-sets=1",
    ]);
    assert_eq!(server.scrape().samples("m").len(), 6);
    for limit in ["groups", "series", "memory"] {
        server.must_log(&format!("limit={limit}"));
    }
    // A body like the last one is known, and as large as before.
    server.put("/metrics/job/j/instance/0", "m 1\n").has_error_shape();
    names_its_flag(&server.put("/metrics/job/k/instance/0", ""), 429, "groups");
    for group in 0..3 {
        server.put(&format!("/metrics/job/j/instance/{group}"), "").is_empty_with(200);
        server.delete(&format!("/metrics/job/j/instance/{group}")).is_empty_with(202);
    }
    names_its_flag(&server.put("/metrics/job/k", ""), 503, "memory");
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

/// What counts is what would be stored, whatever was sent.
#[test]
fn limits_hold_for_what_plugins_made_of_a_push() {
    let folder = std::env::temp_dir().join(format!("floodway-limits-plugin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let plugin = "return { api = 1, on_series = function(s)\n\
                  if s:get(\"long\") then s:set(\"long\", string.rep(\"x\", 200)) end\n\
                  if s:get(\"more\") then s:set(\"a\", \"1\") s:set(\"b\", \"2\") end\n\
                  end }\n";
    std::fs::write(folder.join("grow.lua"), plugin).unwrap();
    let dir = format!("--plugin.dir={}", folder.display());
    let server = Server::start(&[&dir, "--limit.label-value-bytes=100", "--limit.series-labels=5"]);
    server.must_put(J, "m{more=\"1\"} 1\n");
    names_its_flag(&server.put(J, "m{long=\"1\"} 1\n"), 413, "label-value-bytes");
    names_its_flag(&server.put(J, "m{more=\"1\",c=\"3\"} 1\n"), 413, "series-labels");
    assert_eq!(
        server.pushed(),
        "# TYPE m untyped\nm{a=\"1\",b=\"2\",instance=\"i\",job=\"j\",more=\"1\"} 1\n"
    );
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

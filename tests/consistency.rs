//! Pushes that parse and would break a scrape: refused, with nothing changed but the failure time.

mod common;

use common::Server;

const INCONSISTENT: &str = "pushed metrics are invalid or inconsistent with existing metrics: ";

/// What the text of a refusal must be, after the words that all of them begin with.
enum Says {
    Exactly(&'static str),
    /// Begins and ends so; between them stands a series, whose bytes are not promised.
    Around(&'static str, &'static str),
}
use Says::{Around, Exactly};

const TWICE: &str = "was collected before with the same name and label values";

struct Row {
    stored: &'static [(&'static str, &'static str)],
    method: &'static str,
    path: &'static str,
    body: &'static str,
    says: Says,
}

const fn put(
    stored: &'static [(&'static str, &'static str)],
    path: &'static str,
    body: &'static str,
    says: Says,
) -> Row {
    Row { stored, method: "PUT", path, body, says }
}

const J: &str = "/metrics/job/j";
const J1: &str = "/metrics/job/j/a/1";

const REFUSED: &[Row] = &[
    // Timestamps.
    put(&[], J, "m 1 1234567890123\n", Exactly("pushed metrics must not have timestamps")),
    put(&[], J, "a 1\nb 2 -5\nc 3\n", Exactly("pushed metrics must not have timestamps")),
    put(&[], J, "# TYPE h histogram\nh_count 5 0\n", Exactly("pushed metrics must not have timestamps")),
    // One series twice, in one body: as written, once the path's labels are set, with and without instance.
    put(&[], J, "m{a=\"x\"} 1\nm{a=\"x\"} 2\n", Around("collected metric \"m\" { ", TWICE)),
    put(&[], J, "m{a=\"x\",b=\"y\"} 1\nm{b=\"y\",a=\"x\"} 1\n", Around("collected metric \"m\" { ", TWICE)),
    put(&[], J, "m{job=\"1\"} 1\nm{job=\"2\"} 2\n", Around("collected metric \"m\" { ", TWICE)),
    put(&[], J1, "m{a=\"1\"} 1\nm{a=\"2\"} 2\n", Around("collected metric \"m\" { ", TWICE)),
    put(&[], J, "m 1\nm{instance=\"\"} 2\n", Around("collected metric \"m\" { ", TWICE)),
    // The same series in two groups, whichever has more labels.
    put(&[(J1, "m 1\n")], J, "m{a=\"1\"} 2\n", Around("collected metric \"m\" { ", TWICE)),
    put(&[(J, "m{a=\"1\"} 2\n")], J1, "m 1\n", Around("collected metric \"m\" { ", TWICE)),
    put(
        &[("/metrics/job/j/a/1/b/2", "m{c=\"3\"} 1\n")],
        "/metrics/job/j/c/3",
        "m{b=\"2\",a=\"1\"} 1\n",
        Around("collected metric \"m\" { ", TWICE),
    ),
    put(
        &[("/metrics/job/j/instance/i", "m 1\n")],
        J,
        "m{instance=\"i\"} 1\n",
        Around("collected metric \"m\" { ", TWICE),
    ),
    put(
        &[(J1, "# TYPE s summary\ns_count 1\n")],
        J,
        "# TYPE s summary\ns_count{a=\"1\"} 1\n",
        Around("collected metric \"s\" { ", TWICE),
    ),
    // Types.
    put(
        &[(J1, "# TYPE m gauge\nm 1\n")],
        J,
        "# TYPE m counter\nm 1\n",
        Around("collected metric \"m\" { ", " is not a GAUGE"),
    ),
    put(
        &[(J1, "m 1\n")],
        J,
        "# TYPE m counter\nm 1\n",
        Around("collected metric \"m\" { ", " is not a UNTYPED"),
    ),
    put(
        &[(J1, "# TYPE m counter\nm 1\n")],
        J,
        "# TYPE m histogram\nm_count 1\n",
        Around("collected metric \"m\" { ", " is not a COUNTER"),
    ),
    // Names that a summary or a histogram uses for its parts, both ways round and in one body.
    put(
        &[(J1, "# TYPE s summary\ns_count 1\n")],
        J,
        "s_count 1\n",
        Exactly(r#"collected metric named "s_count" collides with previously collected summary named "s""#),
    ),
    put(
        &[(J1, "# TYPE s summary\ns_count 1\n")],
        J,
        "s_sum 1\n",
        Exactly(r#"collected metric named "s_sum" collides with previously collected summary named "s""#),
    ),
    put(
        &[(J1, "s_sum 1\n")],
        J,
        "# TYPE s summary\ns_count 1\n",
        Exactly(
            r#"collected histogram or summary named "s" collides with previously collected metric named "s_sum""#,
        ),
    ),
    put(
        &[(J1, "# TYPE h histogram\nh_count 1\n")],
        J,
        "h_bucket 1\n",
        Exactly(
            r#"collected metric named "h_bucket" collides with previously collected histogram named "h""#,
        ),
    ),
    put(
        &[(J1, "h_bucket 1\n")],
        J,
        "# TYPE h histogram\nh_count 1\n",
        Exactly(
            r#"collected histogram named "h" collides with previously collected metric named "h_bucket""#,
        ),
    ),
    put(&[], J, "s_count 1\n# TYPE s summary\ns_sum 1\n", Around("collected ", "")),
    // A POST meets what its group already has.
    Row {
        stored: &[(J, "s_count 1\n")],
        method: "POST",
        path: J,
        body: "# TYPE s summary\ns_sum 1\n",
        says: Exactly(
            r#"collected histogram or summary named "s" collides with previously collected metric named "s_count""#,
        ),
    },
    // Labels.
    put(
        &[],
        J,
        "m{__x=\"y\"} 1\n",
        Around("collected metric \"m\" { ", " has a label with an invalid name: __x"),
    ),
    // Our own families.
    put(
        &[],
        J,
        "process_open_fds 1\n",
        Exactly("gathered metric family process_open_fds has type UNTYPED but should have GAUGE"),
    ),
    // Only for families that are not there from the start, help must be the same.
    put(
        &[(J1, "m 1\n")],
        J,
        "# TYPE pushgateway_http_requests_total counter\n# HELP pushgateway_http_requests_total mine\npushgateway_http_requests_total 1\n",
        Around(
            "gathered metric family pushgateway_http_requests_total has help \"mine\" but should have ",
            "",
        ),
    ),
];

#[test]
fn a_push_that_contradicts_is_refused_and_changes_nothing_but_the_failure_time() {
    let server = Server::start(&["--web.enable-admin-api"]);
    for row in REFUSED {
        for (path, body) in row.stored {
            server.must_put(path, body);
        }
        let before = server.pushed();
        let answer = server.send(row.method, row.path, &[], row.body.as_bytes());
        assert_eq!(answer.status, 400, "{} {:?}", row.path, row.body);
        answer.has_error_shape();
        let text = answer.text().strip_prefix(INCONSISTENT).and_then(|text| text.strip_suffix('\n'));
        let text = text.unwrap_or_else(|| panic!("{:?}", answer.text()));
        match row.says {
            Exactly(expected) => assert_eq!(text, expected),
            Around(begin, end) => assert!(text.starts_with(begin) && text.ends_with(end), "{text}"),
        }
        assert_eq!(server.pushed(), before, "{} {:?}", row.path, row.body);
        let labels = labels_of(row.path);
        let (push, failure) = server.scrape().times(&labels);
        assert!(failure > push, "{:?}", row.body);
        server.wipe();
    }
}

/// The labels of a group's times, from its path.
fn labels_of(path: &str) -> String {
    let parts: Vec<&str> = path.trim_start_matches("/metrics/").split('/').collect();
    let mut labels: Vec<String> =
        parts.chunks(2).map(|pair| format!("{}=\"{}\"", pair[0], pair[1])).collect();
    labels.push(r#"instance="""#.to_owned());
    labels.sort_unstable();
    labels.join(",")
}

#[test]
fn what_does_not_contradict_is_taken() {
    let rows: &[&[(&str, &str, &str)]] = &[
        // Different help; the same name under different labels; suffixes that mean nothing to a type.
        &[("PUT", J, "# HELP m one\nm 1\n"), ("PUT", J1, "# HELP m two\nm 1\n")],
        &[("PUT", J, "m 1\nm{a=\"2\"} 1\n"), ("PUT", J1, "m 1\nm{b=\"1\"} 1\n")],
        &[("PUT", J, "s_bucket 1\n"), ("PUT", J1, "# TYPE s summary\ns_count 1\n")],
        &[("PUT", J, "c_sum 1\nc_count 2\nc_bucket 3\nc_total 4\n"), ("PUT", J1, "# TYPE c counter\nc 1\n")],
        // What a push replaces cannot be in its way.
        &[("PUT", J, "s_count 1\n"), ("PUT", J, "# TYPE s summary\ns_sum 1\n"), ("PUT", J, "s_count 1\n")],
        &[("PUT", J, "# TYPE m gauge\nm 1\n"), ("POST", J, "# TYPE m counter\nm 1\n")],
        // Values are not looked at.
        &[(
            "PUT",
            J,
            "# TYPE m counter\nm -1\n# TYPE h histogram\nh_bucket{le=\"2\"} 5\nh_bucket{le=\"1\"} 6\n",
        )],
        // A family of ours with its own type, labelled by the group: its help is ours.
        &[("PUT", J, "# HELP process_open_fds mine\n# TYPE process_open_fds gauge\nprocess_open_fds 7\n")],
    ];
    let server = Server::start(&["--web.enable-admin-api"]);
    for row in rows {
        for (method, path, body) in *row {
            let answer = server.send(method, path, &[], body.as_bytes());
            assert_eq!((answer.status, answer.text()), (200, ""), "{method} {path} {body:?}");
        }
        server.scrape();
        server.wipe();
    }
}

#[test]
fn one_text_of_different_help_is_shown() {
    let server = Server::start(&[]);
    server.must_put(J, "# HELP m one\nm 1\n");
    server.must_put(J1, "# HELP m two\nm 1\n");
    let family = server.scrape().family("m");
    let first = family.lines().next().unwrap();
    assert!(["# HELP m one", "# HELP m two"].contains(&first), "{family}");
    assert_eq!(family.lines().count(), 4);
}

#[test]
fn a_pushed_family_of_our_own_is_shown_under_our_help() {
    let server = Server::start(&[]);
    server.must_put(J, "# HELP process_open_fds mine\n# TYPE process_open_fds gauge\nprocess_open_fds 7\n");
    let family = server.scrape().family("process_open_fds");
    assert!(family.starts_with(
        "# HELP process_open_fds Number of open file descriptors.\n# TYPE process_open_fds gauge\n"
    ));
    assert!(family.contains("\nprocess_open_fds{instance=\"\",job=\"j\"} 7\n"), "{family}");
    assert_eq!(family.lines().count(), 4);
}

#[test]
fn what_stood_in_the_way_frees_the_name_when_it_goes() {
    let server = Server::start(&[]);
    for (stored, pushed) in [
        ("# TYPE m gauge\nm 1\n", "# TYPE m counter\nm 1\n"),
        ("m_count 1\n", "# TYPE m summary\nm_sum 1\n"),
        ("# TYPE m histogram\nm_sum 1\n", "m_bucket 1\n"),
    ] {
        for free in ["DELETE", "PUT"] {
            server.must_put(J1, stored);
            assert_eq!(server.put(J, pushed).status, 400);
            server.send(free, J1, &[], b"");
            server.must_put(J, pushed);
            assert_eq!(server.put(J1, stored).status, 400);
            server.delete(J).is_empty_with(202);
        }
    }
    server.must_put(J1, "m 1\n");
    assert_eq!(server.put(J, "m{a=\"1\"} 1\n").status, 400);
    server.delete(J1).is_empty_with(202);
    server.must_put(J, "m{a=\"1\"} 1\n");
}

#[test]
fn a_refused_push_is_in_nobodys_way() {
    let server = Server::start(&[]);
    assert_eq!(server.put(J, "# TYPE m gauge\nm 1 1\n").status, 400);
    server.must_put(J1, "# TYPE m counter\nm 1\n");
    assert_eq!(server.put(J, "# TYPE m gauge\nm 1\nn 1\n").status, 400);
    server.must_put("/metrics/job/k", "# TYPE n counter\nn 1\n");
    assert_eq!(server.scrape().samples("m"), [r#"m{a="1",instance="",job="j"} 1"#]);
}

//! Paths that spell no group, or a strange one.

use crate::common::hostile::{Closed, Kept, Siege};
use crate::common::request_bytes;

/// A push, and a delete, to the path `/metrics/` and what follows.
fn requests(path: &str) -> [Vec<u8>; 3] {
    ["PUT", "POST", "DELETE"].map(|method| {
        request_bytes(
            method,
            &format!("/metrics/{path}"),
            &[],
            if method == "DELETE" { b"" } else { b"m 1\n" },
        )
    })
}

fn refused(siege: &mut Siege, path: &str, says: &str) {
    for request in requests(path) {
        siege.refused(&request, 400, says, Kept);
    }
}

/// The reference stores the failure under such a group, and every scrape fails from then on.
#[test]
fn values_that_are_not_utf8_leave_no_trace() {
    let mut siege = Siege::begin(&[]);
    for path in [
        "job/%FF",
        "job/%C3",
        "job/a%ED%A0%80",
        "job/hostile/l/%FF",
        "job/hostile/l/%C0%80",
        "job/hostile/l@base64/_w",
        "job/hostile/l@base64/_w==",
        "job/hostile/a/b/l@base64/7aCA",
        "job@base64/_w",
        "job@base64/wIA/a/b",
    ] {
        refused(&mut siege, path, "label value is not valid UTF-8");
    }
    // As raw bytes in the target.
    for target in [&b"/metrics/job/\xff"[..], b"/metrics/job/hostile/l/\xe9"] {
        let bytes = [b"PUT ", target, b" HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nm 1\n"].concat();
        siege.refused(&bytes, 400, "label value is not valid UTF-8", Kept);
    }
}

#[test]
fn label_names_and_odd_components_are_refused() {
    let mut siege = Siege::begin(&[]);
    for name in [
        "1a",
        "a-b",
        "a.b",
        "__x",
        "__name__",
        "%22",
        "%0A",
        "%C3%A9",
        "%FF",
        "a%00",
        "@base64",
        "a@base64@base64",
        " ",
        "a%20b",
    ] {
        let value = if name.ends_with("base64") { "YQ" } else { "v" };
        refused(
            &mut siege,
            &format!("job/hostile/{}/{value}", name.replace(' ', "%20")),
            "improper label name",
        );
    }
    for path in ["job/hostile/a", "job/hostile/a/b/c", "job/hostile/a/b/", "job/a%2Fb", "job/hostile/a/b%2Fc"]
    {
        refused(&mut siege, path, "odd number of components in label string");
    }
    // What is repeated of the input is bounded.
    let long = "x".repeat(10_000);
    refused(&mut siege, &format!("job/hostile/-{long}/v"), "...");
    refused(&mut siege, &format!("job/hostile/{long}"), "...");
}

#[test]
fn an_empty_job_is_no_job() {
    let mut siege = Siege::begin(&[]);
    for path in ["job@base64/=", "job@base64/==", "job@base64/=/a/b"] {
        refused(&mut siege, path, "job name is required");
    }
    let answer = siege.refused(&request_bytes("PUT", "/metrics/job/", &[], b"m 1\n"), 307, "", Kept);
    assert_eq!(answer.header("Location"), Some("/metrics/job"));
    let bytes = request_bytes("PUT", "/metrics/job//a/b", &[], b"m 1\n");
    assert_eq!(siege.refused(&bytes, 301, "", Kept).header("Location"), Some("/metrics/job/a/b"));
}

#[test]
fn base64_is_read_as_leniently_as_in_the_reference_and_no_more() {
    let mut siege = Siege::begin(&[]);
    for value in ["!", "Y", "YWJjZ", "YQ%22", "a+b", "a%2Bb", "YQ=a", "%20YQ", "YQ%00", "\u{e9}"] {
        refused(&mut siege, &format!("job/hostile/l@base64/{value}"), "invalid base64 encoding for label l=");
        refused(&mut siege, &format!("job@base64/{value}"), "invalid base64 encoding in job name");
    }
    for (value, read) in [
        ("YQ", "a"),
        ("YQ=", "a"),
        ("YQ==", "a"),
        ("YQ=====", "a"),
        ("YR", "a"),
        ("Y%0AQ", "a"),
        ("=", ""),
        ("Lw", "/"),
    ] {
        let path = format!("/metrics/job/hostile/l@base64/{value}");
        siege.answered(&request_bytes("PUT", &path, &[], b"m 1\n"), 200);
        let samples = [format!("m{{instance=\"\",job=\"hostile\",l=\"{read}\"}} 1")];
        assert_eq!(siege.server.scrape().samples("m"), samples, "{value}");
        siege.answered(&request_bytes("DELETE", &path, &[], b""), 202);
    }
}

#[test]
fn slashes_dots_nul_and_broken_escapes_in_a_path() {
    let mut siege = Siege::begin(&[]);
    for (path, location) in [
        ("//job/hostile", "/metrics/job/hostile"),
        ("/job/hostile//a/b", "/metrics/job/hostile/a/b"),
        ("/job/hostile/a/..", "/metrics/job/hostile"),
        ("/job/hostile/%2e%2e/x", "/metrics/job/x"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/./job/hostile", "/metrics/job/hostile"),
        ("/job/hostile/l/%2F%2e%2e", "/metrics/job/hostile"),
    ] {
        let bytes = request_bytes("PUT", &format!("/metrics{path}"), &[], b"m 1\n");
        let answer = siege.refused(&bytes, 301, "", Kept);
        assert_eq!(answer.header("Location"), Some(location), "{path}");
    }
    for path in ["%zz", "%", "%2", "a%g0", "%%41", "a%u0041"] {
        for request in requests(&format!("job/{path}")) {
            siege.refused(&request, 400, "400 Bad Request", Closed);
        }
    }
    // A line feed in a Location would be a header of its own.
    let answer =
        siege.refused(&request_bytes("PUT", "/metrics/job//a%0D%0ASet-Cookie:%20x", &[], b""), 301, "", Kept);
    assert_eq!(answer.header("Set-Cookie"), None);
    // NUL is a character like others.
    siege.answered(&request_bytes("PUT", "/metrics/job/hostile/l/a%00b", &[], b"m 1\n"), 200);
    assert_eq!(siege.server.scrape().samples("m"), ["m{instance=\"\",job=\"hostile\",l=\"a\0b\"} 1"]);
}

#[test]
fn of_a_label_named_twice_the_last_counts_and_the_job_is_the_first() {
    let mut siege = Siege::begin(&[]);
    siege.answered(
        &request_bytes("PUT", "/metrics/job/hostile/a/1/a@base64/Mg/job/other/a/3", &[], b"m 1\n"),
        200,
    );
    assert_eq!(siege.server.scrape().samples("m"), [r#"m{a="3",instance="",job="hostile"} 1"#]);
}

#[test]
fn keys_of_too_many_labels_or_too_long_ones_are_refused() {
    let mut siege = Siege::begin(&[]);
    let labels = |number: usize| -> String { (0..number).map(|at| format!("/l{at}/v")).collect() };
    refused(&mut siege, &format!("job/hostile{}", labels(64)), "more than 64 grouping labels");
    refused(&mut siege, &format!("job/hostile{}", labels(1000)), "more than 64 grouping labels");
    for path in [labels(5000), format!("/l/{}", "x".repeat(1_000_000))] {
        let request = request_bytes("PUT", &format!("/metrics/job/hostile{path}"), &[], b"m 1\n");
        siege.refused(&request, 414, "414 Request URI Too Long", Closed);
    }
    siege.answered(&request_bytes("PUT", &format!("/metrics/job/hostile{}", labels(63)), &[], b"m 1\n"), 200);
}

//! Text bodies that are wrong, contradict, or are far too long.

use crate::common::hostile::{Kept, Siege, push};
use crate::common::request_bytes;

const LABELS: &str = r#"instance="",job="hostile""#;

/// Each body is refused with 400 and a text that holds the words.
fn all_refused(rows: &[(&[u8], &str)]) {
    let mut siege = Siege::begin(&[]);
    for (body, says) in rows {
        siege.refused(&push(body), 400, says, Kept);
    }
}

#[test]
fn a_missing_last_line_feed_is_an_end_of_input() {
    all_refused(&[
        (b"m 1", "in line 1: unexpected end of input"),
        (b"m 1\nn 2", "in line 2: unexpected end of input"),
        (b"m", "unexpected end of input"),
        (b"m{a=\"1\"", "unexpected end of input"),
        (b"# HELP m text", "unexpected end of input"),
        (b"# TYPE m gauge", "unexpected end of input"),
        (b"m 1\n# TYPE m", "in line 2: unexpected end of input"),
    ]);
}

#[test]
fn carriage_returns_are_part_of_the_value() {
    all_refused(&[
        (b"m 1\r\n", r#"in line 1: expected float as value, got "1\r""#),
        (b"m 1\nn 1\r\n", "in line 2: expected float"),
        (b"m 1 5\r\n", "expected integer as timestamp"),
        (b"# TYPE m gauge\r\nm 1\r\n", "unknown metric type"),
        (b"\r\n", "in line 1: invalid metric name"),
    ]);
}

#[test]
fn names_are_ascii_and_do_not_begin_with_a_digit() {
    all_refused(&[
        (b"\xef\xbb\xbfm 1\n", "in line 1: invalid metric name"),
        (b"m 1\n9m 1\n", "in line 2: invalid metric name"),
        (b"m\xc3\xa9 1\n", "in line 1: "),
        (b"\xff 1\n", "in line 1: invalid metric name"),
        (b"m\xff 1\n", "in line 1: "),
        (b"-m 1\n", "invalid metric name"),
        (b"{\"\xff\"} 1\n", "in line 1: invalid metric name"),
        (b"{\"a.b\"} 1\n", "in line 1: invalid metric name"),
        (b"m{\xff=\"1\"} 1\n", "in line 1: "),
        (b"m{9=\"1\"} 1\n", "in line 1: invalid label name"),
        (b"# TYPE \xff gauge\n", "in line 1: "),
        (b"m\0 1\n", "in line 1: "),
    ]);
}

#[test]
fn label_values_that_are_not_utf8_are_refused() {
    all_refused(&[
        (b"m{a=\"\xff\"} 1\n", r#"invalid label value "\xff""#),
        (b"m 1\nm{a=\"x\xc3\"} 1\n", "in line 2: invalid label value"),
        (b"m{a=\"\xed\xa0\x80\"} 1\n", "invalid label value"),
        (b"m{a=\"\xc0\x80\"} 1\n", "invalid label value"),
        (b"m{a=\"\xf4\x90\x80\x80\"} 1\n", "invalid label value"),
    ]);
}

/// The reference serves such a text, and Prometheus then drops everything that was scraped.
#[test]
fn help_that_is_not_utf8_is_refused() {
    all_refused(&[
        (b"# HELP m \xff\nm 1\n", "in line 1: help text is not valid UTF-8"),
        (b"m 1\n# HELP m a\xc3(b\n", "in line 2: help text is not valid UTF-8"),
        (b"# HELP nobody \xed\xa0\x80\n", "help text is not valid UTF-8"),
    ]);
}

#[test]
fn nul_is_a_character_of_values_and_help() {
    let mut siege = Siege::begin(&[]);
    siege.answered(&push(b"# HELP m a\0b\nm{a=\"\0\"} 1\n"), 200);
    let scrape = siege.server.scrape();
    assert_eq!(scrape.samples("m"), ["m{a=\"\0\",instance=\"\",job=\"hostile\"} 1"]);
    assert!(scrape.text.contains("# HELP m a\0b\n"));
}

#[test]
fn values_are_decimal_numbers() {
    for value in [
        "", "x", "0x1p3", "0x10", "1_000", "1e999", "-1e999", "1,5", "1.2.3", "1e", "e1", ".", "+", "-",
        "--1", "1f", "NaNN", "infinit", "+NaN", "1\x0b", "\u{661}", "1\u{a0}",
    ] {
        all_refused(&[(format!("m {value}\n").as_bytes(), "in line 1: expected float as value, got ")]);
    }
    all_refused(&[
        (b"m 1 2 3\n", "spurious string after timestamp"),
        (b"m 1 x\n", "expected integer as timestamp"),
        (b"m 1 1.5\n", "expected integer as timestamp"),
        (b"m 1 99999999999999999999\n", "expected integer as timestamp"),
        (b"m 1 # {a=\"b\"} 1\n", "expected integer as timestamp"),
    ]);
    let long = format!("m {}x\n", "9".repeat(100_000));
    all_refused(&[(long.as_bytes(), "...")]);
}

#[test]
fn strange_numbers_are_read_and_printed_as_in_the_reference() {
    let mut siege = Siege::begin(&[]);
    let (nines, zeros) = ("9".repeat(300), "0".repeat(5000));
    let (long_one, long_fraction) = (format!("{zeros}1"), format!("0.{zeros}1"));
    for (sent, shown) in [
        ("NaN", "NaN"),
        ("nan", "NaN"),
        ("+Inf", "+Inf"),
        ("-inf", "-Inf"),
        ("-0", "0"),
        ("5e-324", "5e-324"),
        ("2.2250738585072011e-308", "2.225073858507201e-308"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("0.30000000000000004", "0.30000000000000004"),
        (&nines, "1e+300"),
        (&long_one, "1"),
        (&long_fraction, "0"),
    ] {
        siege.answered(&push(format!("m {sent}\n").as_bytes()), 200);
        let shown = format!("m{{{LABELS}}} {shown}");
        assert_eq!(siege.server.scrape().samples("m"), [shown], "{sent:.40}");
    }
}

#[test]
fn timestamps_are_refused_by_the_store() {
    let mut siege = Siege::begin(&[]);
    for body in [
        "m 1 1234567890123\n",
        "m 1 0\n",
        "a 1\nm 1 -5\n",
        "push_time_seconds 1 1\n",
        "# TYPE h histogram\nh_count 1 1\n",
    ] {
        siege.stamped(&push(body.as_bytes()), "pushed metrics must not have timestamps", LABELS);
    }
}

#[test]
fn exemplars_are_refused_and_eof_is_a_comment() {
    all_refused(&[
        (b"# TYPE m counter\nm_total 1 # {trace_id=\"t\"} 0.5\n", "in line 2: expected integer as timestamp"),
        (b"m 1 1.5 # {a=\"b\"} 1\n", "in line 1: expected integer as timestamp"),
        (b"# TYPE m info\nm_info{a=\"b\"} 1\n", "unknown metric type"),
        (b"# TYPE m stateset\n", "unknown metric type"),
    ]);
    let mut siege = Siege::begin(&[]);
    siege.answered(&push(b"m 1\n# EOF\nn 1\n# EOF\n# UNIT m s\n"), 200);
    assert_eq!(siege.server.scrape().samples("n").len(), 1);
}

#[test]
fn syntax_is_refused_with_its_line() {
    all_refused(&[
        (b"a 1\nm{a=\"1} 1\n", "in line 2: "),
        (b"m{a=\"x\ny\"} 1\n", "contains unescaped new-line"),
        (b"m{a=\"\\x\"} 1\n", "invalid escape sequence"),
        (b"m{a=\"\\u0041\"} 1\n", "invalid escape sequence"),
        (b"m{a=1} 1\n", "expected '\"' at start of label value"),
        (b"m{a\"1\"} 1\n", "in line 1: "),
        (b"m{a} 1\n", "expected '=' after label name"),
        (b"m{a=} 1\n", "expected '\"' at start of label value"),
        (b"m{a=\"1\" b=\"2\"} 1\n", "unexpected end of label value"),
        (b"m{,} 1\n", "invalid label name"),
        (b"m{a=\"1\",,} 1\n", "invalid label name"),
        (b"m{a=\"1\"}} 1\n", "expected float"),
        (b"m{{a=\"1\"} 1\n", "invalid label name"),
        (b"m}1\n", "expected float"),
        (b"{} 1\n", "invalid metric name"),
        (b"{a=\"1\"} 1\n", "invalid metric name"),
        (b"# HELP m \\t\n", "invalid escape sequence"),
        (b"# TYPE m-x gauge\n", "invalid metric name in comment"),
    ]);
}

#[test]
fn label_names_twice_or_reserved_are_refused() {
    all_refused(&[
        (b"m{a=\"1\",a=\"1\"} 1\n", "duplicate label names for metric"),
        (b"m{a=\"1\",b=\"2\",a=\"3\"} 1\n", "duplicate label names for metric"),
        (b"m{__name__=\"x\"} 1\n", "label name \"__name__\" is reserved"),
    ]);
    let mut siege = Siege::begin(&[]);
    for name in ["__x", "__address__", "__meta_x", "__"] {
        siege.stamped(
            &push(format!("m{{{name}=\"1\"}} 1\n").as_bytes()),
            &format!("label with an invalid name: {name}"),
            LABELS,
        );
    }
    // However long it is, little of it is repeated.
    let long = format!("m{{__{}=\"1\"}} 1\n", "x".repeat(100_000));
    siege.stamped(&push(long.as_bytes()), "label with an invalid name: __xxx", LABELS);
}

#[test]
fn help_and_type_come_once_and_types_are_known() {
    all_refused(&[
        (b"# HELP m a\n# HELP m a\n", "in line 2: second HELP line"),
        (b"# TYPE m gauge\n# TYPE m gauge\n", "in line 2: second TYPE line"),
        (b"m 1\n# TYPE m gauge\n", "in line 2: second TYPE line"),
        (b"# TYPE m info\n", "unknown metric type \"info\""),
        (b"# TYPE m gauge \n", "unknown metric type \"gauge \""),
        (b"# TYPE m gauge counter\n", "unknown metric type"),
        (b"# TYPE m \xff\n", "unknown metric type"),
    ]);
    let long = format!("# TYPE m {}\n", "x".repeat(100_000));
    all_refused(&[(long.as_bytes(), "...")]);
}

#[test]
fn bounds_and_counts_of_histograms_and_summaries() {
    all_refused(&[
        (b"# TYPE h histogram\nh_bucket{le=\"x\"} 1\n", "expected float as value for 'le' label"),
        (b"# TYPE h histogram\nh_bucket{le=\"\"} 1\n", "expected float as value for 'le' label"),
        (b"# TYPE s summary\ns{quantile=\"x\"} 1\n", "expected float as value for 'quantile' label"),
        (b"# TYPE h histogram\nh_count -1\n", "negative count for histogram"),
        (b"# TYPE h histogram\nh_bucket{le=\"1\"} -1\n", "negative bucket population for histogram"),
        (b"# TYPE s summary\ns_count -1\n", "negative count for summary"),
    ]);
    let mut siege = Siege::begin(&[]);
    // Without a last bucket the count supplies it; what falls is the pusher's affair.
    siege
        .answered(&push(b"# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 3\nh_count 4\n"), 200);
    let infinite = format!("h_bucket{{{LABELS},le=\"+Inf\"}} 4");
    assert!(siege.server.scrape().text.contains(&infinite));
}

#[test]
fn one_series_twice_in_a_push_is_stamped() {
    let mut siege = Siege::begin(&[]);
    let says = "was collected before with the same name and label values";
    for body in [
        "m 1\nm 1\n",
        "m{a=\"1\",b=\"2\"} 1\nm{b=\"2\",a=\"1\"} 2\n",
        "m{job=\"1\"} 1\nm{job=\"2\"} 2\n",
        "m 1\nm{instance=\"\"} 2\n",
    ] {
        siege.stamped(&push(body.as_bytes()), says, LABELS);
    }
    // A series of many long labels is told by its beginning.
    let labels: String = (0..200).map(|at| format!("l{at}=\"{}\",", "x".repeat(1000))).collect();
    siege.stamped(&push(format!("m{{{labels}}} 1\nm{{{labels}}} 1\n").as_bytes()), says, LABELS);
}

#[test]
fn a_series_of_another_group_is_stamped_and_the_group_named() {
    let mut siege = Siege::begin(&[]);
    siege.answered(&request_bytes("PUT", "/metrics/job/hostile/a/1", &[], b"m{b=\"2\"} 1\n"), 200);
    let says = r#"in group {a="1",job="hostile"}} was collected before with the same name and label values"#;
    siege.stamped(&push(b"m{a=\"1\",b=\"2\"} 2\n"), says, LABELS);
    // Of long labels only the beginning is repeated.
    let long = "x".repeat(5000);
    siege.answered(
        &request_bytes("PUT", &format!("/metrics/job/hostile/a/{long}/c/{long}"), &[], b"n 1\n"),
        200,
    );
    let body = format!("n{{a=\"{long}\",c=\"{long}\"}} 1\n");
    siege.stamped(&push(body.as_bytes()), "was collected before with the same name and label values", LABELS);
}

#[test]
fn a_type_that_differs_is_stamped() {
    let mut siege = Siege::begin(&[]);
    siege.stamped(&push(b"# TYPE kept counter\nkept 1\n"), " is not a GAUGE", LABELS);
    siege.stamped(&push(b"kept 1\n"), " is not a GAUGE", LABELS);
    let says = "gathered metric family process_open_fds has type UNTYPED but should have GAUGE";
    siege.stamped(&push(b"process_open_fds 1\n"), says, LABELS);
}

#[test]
fn names_that_a_summary_or_histogram_shows_are_stamped() {
    let mut siege = Siege::begin(&[]);
    let other = |body: &str| request_bytes("PUT", "/metrics/job/other", &[], body.as_bytes());
    for (kind, plain) in [
        ("summary", "_sum"),
        ("summary", "_count"),
        ("histogram", "_sum"),
        ("histogram", "_count"),
        ("histogram", "_bucket"),
    ] {
        let whole = format!("# TYPE x {kind}\nx_count 1\n");
        let part = format!("x{plain} 1\n");
        siege.answered(&other(&whole), 200);
        siege.stamped(&push(part.as_bytes()), " collides with previously collected ", LABELS);
        siege.answered(&other(&part), 200);
        siege.stamped(&push(whole.as_bytes()), " collides with previously collected ", LABELS);
        siege.answered(&other(""), 200);
    }
}

#[test]
fn names_of_ours_in_a_body() {
    let mut siege = Siege::begin(&[]);
    siege.answered(&push(b"push_time_seconds 5\npush_failure_time_seconds{x=\"y\"} 6\nm 1\n"), 200);
    let scrape = siege.server.scrape();
    let (pushed, failed) = scrape.times(LABELS);
    assert!(pushed > 1e9 && failed == 0.0);
    assert!(!scrape.text.contains("x=\"y\""));
    siege.answered(&push(b"# TYPE process_open_fds gauge\nprocess_open_fds 7\n"), 200);
    assert_eq!(siege.server.scrape().value(r#"process_open_fds{instance="",job="hostile"}"#), Some(7.0));
}

/// Much of anything: an answer in linear time, a bounded text, and nobody else waits for it.
#[test]
fn bodies_of_absurd_shapes_are_taken_or_refused() {
    let mut siege = Siege::begin(&[]);
    let value = "x".repeat(8 << 20);
    let labels: String = (0..300_000).map(|at| format!("l{at}=\"\",")).collect();
    let brackets = "{".repeat(1 << 20);
    for (body, status, says) in [
        (format!("m{{a=\"{value}\"}} 1\n"), 413, "longer than 65536 bytes"),
        (format!("m{{{value}=\"1\"}} 1\n"), 0, ""),
        (format!("{value} 1\n"), 0, ""),
        (format!("m {value}\n"), 400, "expected float"),
        (value.clone(), 400, "unexpected end of input"),
        (format!("m{{{labels}}} 1\n"), 413, "more than 256 labels"),
        (format!("m{brackets} 1\n"), 400, "invalid label name"),
        (format!("m{{a=\"{}\"}} 1\n", "\\\\".repeat(1 << 20)), 413, "longer than 65536 bytes"),
    ] {
        if status == 0 {
            // A long name is a name.
            siege.answered(&push(body.as_bytes()), 200);
            siege.answered(&push(b""), 200);
        } else {
            siege.refused(&push(body.as_bytes()), status, says, Kept);
        }
    }
    for body in [
        "\n".repeat(4 << 20),
        "#\n".repeat(1 << 20),
        (0..100_000).map(|at| format!("# TYPE t{at} gauge\n")).collect(),
        format!("# HELP m {}\n", "x".repeat(4 << 20)),
        (0..100_000).map(|at| format!("f{at} 1\n")).collect(),
    ] {
        siege.answered(&push(body.as_bytes()), 200);
    }
    // More families than a push may have.
    let many: String = (0..1_000_001).map(|at| format!("f{at} 1\n")).collect();
    siege.answered(&push(b""), 200);
    siege.refused(&push(many.as_bytes()), 413, "more than 1000000", Kept);
}

/// Every beginning of a good push, and every byte of it changed: taken whole or refused without a trace but
/// the failure time, and never an answer of another kind.
#[test]
fn a_body_with_any_byte_changed_is_taken_whole_or_refused() {
    const GOOD: &str = "# HELP a Text \\\\ here.\n# TYPE a counter\na{x=\"1\",y=\"\\n\"} 1.5e3\na{x=\"2\"} +Inf\n\
                        # TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_sum 2\nh_count 3\nb 7\n";
    let siege = Siege::begin(&[]);
    let good = push(GOOD.as_bytes());
    let mut connection = siege.server.connect();
    connection.write(&good);
    connection.answer_to("PUT").is_empty_with(200);
    let whole = siege.server.pushed();
    let mut variants: Vec<Vec<u8>> =
        (0..GOOD.len()).map(|length| GOOD.as_bytes()[..length].to_vec()).collect();
    for at in 0..GOOD.len() {
        for byte in
            [0, b'\n', b'\r', b' ', b'"', b'#', b',', b'0', b'=', b'a', b'\\', b'{', b'}', 0x7f, 0xc3, 0xff]
        {
            let mut variant = GOOD.as_bytes().to_vec();
            variant[at] = byte;
            variants.push(variant);
        }
        let mut variant = GOOD.as_bytes().to_vec();
        variant.remove(at);
        variants.push(variant);
    }
    let get = request_bytes("GET", "/metrics", &[], b"");
    for variant in variants {
        connection.write(&[&push(&variant), &get[..], &good[..]].concat());
        let answer = connection.answer_to("PUT");
        let scrape = crate::common::Scrape::new(connection.answer_to("GET").text());
        match answer.status {
            200 => {}
            400 => {
                answer.has_error_shape();
                let text = answer.text();
                assert!(
                    text.starts_with("text format parsing error in line ")
                        || text.starts_with("pushed metrics are invalid "),
                    "{text}"
                );
                assert_eq!(scrape.pushed(), whole, "{}", String::from_utf8_lossy(&variant));
            }
            other => panic!("{other}: {}", String::from_utf8_lossy(&variant)),
        }
        connection.answer_to("PUT").is_empty_with(200);
    }
    assert_eq!(siege.server.pushed(), whole);
}

//! The text format over the wire: what is taken and how it reads back, and the exact words of refusals.

mod common;

use common::Server;

const ADMIN: &str = "--web.enable-admin-api";

/// Pushes each body to an empty gateway as group `j` and compares the exposition, in which `@` stands
/// for the labels every series gets: `instance="",job="j"`.
fn reads_back(rows: &[(&str, &str)]) {
    let server = Server::start(&[ADMIN]);
    for (body, exposition) in rows {
        let answer = server.put("/metrics/job/j", body);
        assert_eq!((answer.status, answer.text()), (200, ""), "{body:?}");
        assert_eq!(server.pushed(), exposition.replace('@', r#"instance="",job="j""#), "{body:?}");
        server.wipe();
    }
}

#[test]
fn lines_blanks_and_comments() {
    reads_back(&[
        ("", ""),
        ("\n \t\n", ""),
        ("#\n# \n#x\n# a comment\n## HELP m h\n# EOF\n# UNIT m s\n# type m gauge\n", ""),
        ("m 1\n", "# TYPE m untyped\nm{@} 1\n"),
        ("\n  m\t \t1\n\n", "# TYPE m untyped\nm{@} 1\n"),
        ("m{}1\n", "# TYPE m untyped\nm{@} 1\n"),
        ("m { a = \"1\" , b=\"2\" , } 1\n", "# TYPE m untyped\nm{a=\"1\",b=\"2\",@} 1\n"),
        ("m{b=\"2\",a=\"1\",z=\"3\"} 1\n", "# TYPE m untyped\nm{a=\"1\",b=\"2\",@,z=\"3\"} 1\n"),
        (":a:b_9 1\n_ 2\n", "# TYPE :a:b_9 untyped\n:a:b_9{@} 1\n# TYPE _ untyped\n_{@} 2\n"),
        // A body names its job and instance in vain and not in vain.
        ("m{job=\"other\"} 1\n", "# TYPE m untyped\nm{@} 1\n"),
        ("m{instance=\"i\"} 1\n", "# TYPE m untyped\nm{instance=\"i\",job=\"j\"} 1\n"),
    ]);
}

#[test]
fn label_values_keep_every_character() {
    reads_back(&[
        (
            r#"m{a="\\\"\n"} 1
"#,
            "# TYPE m untyped\nm{a=\"\\\\\\\"\\n\",@} 1\n",
        ),
        ("m{a=\"\u{0}\r\t#{}=,\"} 1\n", "# TYPE m untyped\nm{a=\"\u{0}\r\t#{}=,\",@} 1\n"),
        ("m{a=\"grün €\u{1F980}\"} 1\n", "# TYPE m untyped\nm{a=\"grün €\u{1F980}\",@} 1\n"),
        ("m{a=\"\"} 1\n", "# TYPE m untyped\nm{a=\"\",@} 1\n"),
    ]);
}

#[test]
fn quoted_names_that_are_legal_without_quotes() {
    reads_back(&[
        ("\"m\" 1\n", "# TYPE m untyped\nm{@} 1\n"),
        ("{\"m\"} 1\n", "# TYPE m untyped\nm{@} 1\n"),
        ("{\"m\",a=\"1\"} 1\n", "# TYPE m untyped\nm{a=\"1\",@} 1\n"),
        ("{a=\"1\",\"m\"} 1\n", "# TYPE m untyped\nm{a=\"1\",@} 1\n"),
        ("{m,\"a\"=\"1\"} 1\n", "# TYPE m untyped\nm{a=\"1\",@} 1\n"),
        ("# HELP \"m\" h\n# TYPE \"m\" gauge\nm 1\n", "# HELP m h\n# TYPE m gauge\nm{@} 1\n"),
    ]);
}

#[test]
fn values_are_printed_as_the_shortest_digits() {
    let rows = [
        ("1", "1"),
        ("+1", "1"),
        ("-0", "0"),
        ("1.", "1"),
        (".5", "0.5"),
        ("1E+3", "1000"),
        ("999999", "999999"),
        ("1000000", "1e+06"),
        ("2097152", "2.097152e+06"),
        ("123456789", "1.23456789e+08"),
        ("123456.789", "123456.789"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("1e21", "1e+21"),
        ("5e-324", "5e-324"),
        ("1e-400", "0"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("9007199254740993", "9.007199254740992e+15"),
        ("0.1000000000000000055511151231257827", "0.1"),
        ("nan", "NaN"),
        ("NaN", "NaN"),
        ("inf", "+Inf"),
        ("+Infinity", "+Inf"),
        ("-INF", "-Inf"),
    ];
    let server = Server::start(&[]);
    for (sent, printed) in rows {
        server.must_put("/metrics/job/j", &format!("m {sent}\n"));
        assert_eq!(
            server.scrape().samples("m"),
            [format!("m{{instance=\"\",job=\"j\"}} {printed}")],
            "{sent}"
        );
    }
}

#[test]
fn help_and_type_lines() {
    reads_back(&[
        ("# HELP m a  text \n# TYPE m gauge\nm 1\n", "# HELP m a  text \n# TYPE m gauge\nm{@} 1\n"),
        // In any order, even after the samples.
        ("# TYPE m counter\n# HELP m h\nm 1\n", "# HELP m h\n# TYPE m counter\nm{@} 1\n"),
        ("m 1\n# HELP m h\n", "# HELP m h\n# TYPE m untyped\nm{@} 1\n"),
        ("#HELP m h\n#\tTYPE\tm\tgauge\nm 1\n", "# HELP m h\n# TYPE m gauge\nm{@} 1\n"),
        ("# HELP m \\\\ \\n \\\" x\nm 1\n", "# HELP m \\\\ \\n \" x\n# TYPE m untyped\nm{@} 1\n"),
        ("# HELP m \t \nm 1\n", "# TYPE m untyped\nm{@} 1\n"),
        ("# HELP m\n# TYPE m\n# HELP\nm 1\n", "# TYPE m untyped\nm{@} 1\n"),
        ("# TYPE m GauGe\nm 1\n", "# TYPE m gauge\nm{@} 1\n"),
        ("# TYPE m untyped\nm 1\n", "# TYPE m untyped\nm{@} 1\n"),
        // Without samples there is no family.
        ("# HELP m h\n# TYPE m gauge\n", ""),
        // A counter does not own its total.
        (
            "# TYPE m counter\nm_total 1\nm 2\n",
            "# TYPE m counter\nm{@} 2\n# TYPE m_total untyped\nm_total{@} 1\n",
        ),
    ]);
}

#[test]
fn summaries() {
    reads_back(&[
        (
            "# TYPE s summary\ns{quantile=\"0.9\"} 9\ns{quantile=\"0.50\"} NaN\ns_sum 1.5\ns_count 3\n",
            "# TYPE s summary\ns{@,quantile=\"0.9\"} 9\ns{@,quantile=\"0.5\"} NaN\ns_sum{@} 1.5\ns_count{@} 3\n",
        ),
        ("# TYPE s summary\ns_count 2.7\n", "# TYPE s summary\ns_sum{@} 0\ns_count{@} 2\n"),
        ("# TYPE s summary\ns 1\n", "# TYPE s summary\ns_sum{@} 0\ns_count{@} 0\n"),
        // Two metrics of one family, their lines mixed.
        (
            "# TYPE s summary\ns_sum{a=\"1\"} 1\ns_sum{a=\"2\"} 2\ns{quantile=\"1\",a=\"1\"} 5\ns_count{a=\"2\"} 4\n",
            "# TYPE s summary\ns{a=\"1\",@,quantile=\"1\"} 5\ns_sum{a=\"1\",@} 1\ns_count{a=\"1\",@} 0\n\
             s_sum{a=\"2\",@} 2\ns_count{a=\"2\",@} 4\n",
        ),
    ]);
}

#[test]
fn histograms() {
    reads_back(&[
        (
            "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"2\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n",
            "# TYPE h histogram\nh_bucket{@,le=\"1\"} 1\nh_bucket{@,le=\"2\"} 2\nh_bucket{@,le=\"+Inf\"} 3\nh_sum{@} 4.5\nh_count{@} 3\n",
        ),
        // The last bucket is added from the count; buckets are kept in the order they came.
        (
            "# TYPE h histogram\nh_count 7\nh_bucket{le=\"2\"} 5\nh_bucket{le=\"1\"} 6\n",
            "# TYPE h histogram\nh_bucket{@,le=\"2\"} 5\nh_bucket{@,le=\"1\"} 6\nh_bucket{@,le=\"+Inf\"} 7\nh_sum{@} 0\nh_count{@} 7\n",
        ),
        (
            "# TYPE h histogram\nh{le=\"1e6\"} 5\n",
            "# TYPE h histogram\nh_bucket{@,le=\"1e+06\"} 5\nh_bucket{@,le=\"+Inf\"} 0\nh_sum{@} 0\nh_count{@} 0\n",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"1\"} 0.5\nh_count 1\n",
            "# TYPE h histogram\nh_bucket{@,le=\"1\"} 0.5\nh_bucket{@,le=\"+Inf\"} 1\nh_sum{@} 0\nh_count{@} 1\n",
        ),
        (
            "# TYPE h gauge_histogram\nh_bucket{le=\"1\"} 2\nh_count 2\n",
            "# TYPE h histogram\nh_bucket{@,le=\"1\"} 2\nh_bucket{@,le=\"+Inf\"} 2\nh_sum{@} 0\nh_count{@} 2\n",
        ),
        (
            "# TYPE h gaugehistogram\nh_count 2\n",
            "# TYPE h histogram\nh_bucket{@,le=\"+Inf\"} 2\nh_sum{@} 0\nh_count{@} 2\n",
        ),
        (
            "h_bucket{le=\"1\"} 5\nh_sum 3\nh_count 5\n",
            "# TYPE h_bucket untyped\nh_bucket{@,le=\"1\"} 5\n# TYPE h_count untyped\nh_count{@} 5\n# TYPE h_sum untyped\nh_sum{@} 3\n",
        ),
    ]);
}

/// `text` is what follows `text format parsing error in line N: `.
#[test]
fn refusals_say_what_and_where() {
    let rows: &[(&str, usize, &str)] = &[
        ("m 1", 1, "unexpected end of input stream"),
        ("a 1\nm", 2, "unexpected end of input stream"),
        ("# HELP m text", 1, "unexpected end of input stream"),
        ("m{a=\"", 1, "unexpected end of input stream"),
        ("-m 1\n", 1, "invalid metric name"),
        ("a 1\n\n9m 1\n", 3, "invalid metric name"),
        ("{\"a.b\"} 1\n", 1, r#"invalid metric name "a.b""#),
        ("# HELP m-x h\n", 1, "invalid metric name in comment"),
        ("m{a.b=\"1\"} 1\n", 1, "expected '=' after label name, found '.'"),
        ("m{1=\"1\"} 1\n", 1, r#"invalid label name for metric "m""#),
        ("m{,} 1\n", 1, r#"invalid label name for metric "m""#),
        ("m{\"a.b\"=\"1\"} 1\n", 1, r#"invalid label name "a.b""#),
        ("m{__name__=\"x\"} 1\n", 1, r#"label name "__name__" is reserved"#),
        ("m{a=1} 1\n", 1, "expected '\"' at start of label value, found '1'"),
        ("m{a=\"1\" b=\"2\"} 1\n", 1, r#"unexpected end of label value "1""#),
        ("m{a=\"x\ny\"} 1\n", 1, r#"label value "x" contains unescaped new-line"#),
        ("m{a=\"\\t\"} 1\n", 1, r"invalid escape sequence '\t'"),
        ("m{a=\"1\",a=\"1\"} 1\n", 1, r#"duplicate label names for metric "m""#),
        ("# HELP m \\t\n", 1, r"invalid escape sequence '\t'"),
        ("m\n", 1, r#"expected float as value, got """#),
        ("m x\n", 1, r#"expected float as value, got "x""#),
        ("m 1\r\n", 1, r#"expected float as value, got "1\r""#),
        ("m 0x10\n", 1, r#"expected float as value, got "0x10""#),
        ("m 1_0\n", 1, r#"expected float as value, got "1_0""#),
        ("m 1e400\n", 1, r#"expected float as value, got "1e400""#),
        ("m 1,5\n", 1, r#"expected float as value, got "1,5""#),
        ("m +NaN\n", 1, r#"expected float as value, got "+NaN""#),
        ("a-b 1\n", 1, r#"expected float as value, got "-b""#),
        ("m 1 \n", 1, r#"expected integer as timestamp, got """#),
        ("m 1 x\n", 1, r#"expected integer as timestamp, got "x""#),
        ("m 1 1.5\n", 1, r#"expected integer as timestamp, got "1.5""#),
        ("m 1 2 3\n", 1, r#"spurious string after timestamp: " 3""#),
        ("# HELP m a\n# HELP m a\n", 2, r#"second HELP line for metric name "m""#),
        (
            "# TYPE m gauge\n# TYPE m gauge\n",
            2,
            r#"second TYPE line for metric name "m", or TYPE reported after samples"#,
        ),
        (
            "m 1\n# TYPE m gauge\n",
            2,
            r#"second TYPE line for metric name "m", or TYPE reported after samples"#,
        ),
        ("# TYPE m info\n", 1, r#"unknown metric type "info""#),
        ("# TYPE m gauge \n", 1, r#"unknown metric type "gauge ""#),
        (
            "# TYPE h histogram\nh_bucket{le=\"x\"} 1\n",
            2,
            r#"expected float as value for 'le' label, got "x""#,
        ),
        (
            "# TYPE s summary\ns{quantile=\"x\"} 1\n",
            2,
            r#"expected float as value for 'quantile' label, got "x""#,
        ),
        ("# TYPE h histogram\nh_count -1\n", 2, r#"negative count for histogram "h""#),
        ("# TYPE h histogram\nh_bucket{le=\"1\"} -1\n", 2, r#"negative bucket population for histogram "h""#),
    ];
    let server = Server::start(&[]);
    server.must_put("/metrics/job/kept", "kept 1\n");
    let before = server.scrape().times(r#"instance="",job="kept""#);
    for (body, line, text) in rows {
        for target in ["/metrics/job/kept", "/metrics/job/new"] {
            let answer = server.put(target, body);
            let expected = format!("text format parsing error in line {line}: {text}\n");
            assert_eq!((answer.status, answer.text()), (400, expected.as_str()), "{body:?}");
            answer.has_error_shape();
        }
    }
    let not_text = server.send("PUT", "/metrics/job/kept", &[], b"m{a=\"\xff\"} 1\n");
    not_text.is_error(400, r#"text format parsing error in line 1: invalid label value "\xff""#);
    // No refused body left anything, not even a time.
    let scrape = server.scrape();
    assert_eq!(scrape.pushed(), "# TYPE kept untyped\nkept{instance=\"\",job=\"kept\"} 1\n");
    assert_eq!(scrape.times(r#"instance="",job="kept""#), before);
    assert!(!scrape.has_group(r#"instance="",job="new""#));
}

#[test]
fn any_other_content_type_is_read_as_text() {
    let server = Server::start(&[ADMIN]);
    let types = [
        "text/plain",
        "text/plain; version=0.0.4; charset=utf-8",
        "text/plain; version=1.0.0",
        "application/json",
        "application/x-www-form-urlencoded",
        "application/vnd.google.protobuf",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; encoding=text",
        "nonsense;;=",
    ];
    for content_type in types {
        let answer =
            server.send("PUT", "/metrics/job/j", &[("Content-Type", content_type)], b"m{a=\"1+%20\"} 1\n");
        assert_eq!((answer.status, answer.text()), (200, ""), "{content_type}");
        assert_eq!(server.pushed(), "# TYPE m untyped\nm{a=\"1+%20\",instance=\"\",job=\"j\"} 1\n");
        server.wipe();
    }
}

#[test]
fn a_large_body_arrives_whole() {
    let server = Server::start(&[]);
    let body: String = (0..20_000).map(|number| format!("m{{n=\"{number:05}\"}} {number}\n")).collect();
    server.must_put("/metrics/job/j", &body);
    let scrape = server.scrape();
    let samples = scrape.samples("m");
    assert_eq!(samples.len(), 20_000);
    for (number, sample) in samples.iter().enumerate() {
        assert_eq!(*sample, format!("m{{instance=\"\",job=\"j\",n=\"{number:05}\"}} {number}"));
    }
}

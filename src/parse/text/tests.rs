//! What bodies mean and how they fail, as tables.

use NameRules::{Legacy, Utf8};

use super::*;
use crate::limits::{LABEL_VALUE_BYTES_MAX, SERIES_LABELS_MAX};
use crate::model::{Field, Number, Reason};

/// Families as lines: `counter x "help"`, then each series as `{labels} value count [bound:value]`, with
/// whole counts marked by an `i`.
pub(super) fn described(families: &Families<'_>) -> Vec<String> {
    let number = |number: Number| match number {
        Number::Int(count) => format!("{count}i"),
        Number::Float(value) => format!("{value}"),
    };
    let mut lines = Vec::new();
    for family in &families.families {
        let help = family.help.as_ref().map(|help| format!(" {help:?}")).unwrap_or_default();
        lines.push(format!("{:?} {}{help}", family.kind, family.name));
        for series in families.series_of(family) {
            let labels: Vec<String> =
                families.labels_of(series).iter().map(|l| format!("{}={:?}", l.name, l.value)).collect();
            let parts: Vec<String> = families
                .parts_of(series)
                .iter()
                .map(|part| format!("{}:{}", part.bound, number(part.value)))
                .collect();
            lines.push(format!(
                "{{{}}} {} {} [{}]",
                labels.join(","),
                series.value,
                number(series.count),
                parts.join(" ")
            ));
        }
    }
    lines
}

pub(super) fn read(body: &[u8], names: NameRules) -> Result<Vec<String>, String> {
    match parse(body, names, Families::default()) {
        Ok(families) => Ok(described(&families)),
        Err(error) => Err(error.to_string()),
    }
}

#[track_caller]
fn accepts(body: &str, expected: &[&str]) {
    assert_eq!(
        read(body.as_bytes(), Legacy).as_deref(),
        Ok(expected.iter().map(|s| s.to_string()).collect::<Vec<_>>().as_slice()),
        "{body}"
    );
}

#[test]
fn bodies_without_samples_hold_nothing() {
    for body in [
        "",
        "\n",
        "\n\n \t\n  \n",
        "  ",
        "x 1\n \t",
        "# hello\n#\n# \n#HELP\n# HELP\n# HELP x\n# TYPE\n# EOF\n# type x counter\n# UNIT x seconds\n## HELP x y\n",
        "# HELP x y\n# TYPE z counter\n# TYPE w \n",
    ] {
        let families = read(body.as_bytes(), Legacy).unwrap();
        assert_eq!(families.len(), if body.starts_with('x') { 2 } else { 0 }, "{body:?}");
    }
    assert_eq!(read(b"# \xff\n#\xff HELP x\n", Legacy), Ok(vec![]));
}

#[test]
fn tokens_may_be_spaced_freely() {
    let x = "Untyped x";
    accepts("x 1\n", &[x, "{} 1 0i []"]);
    accepts("\t x \t1\n", &[x, "{} 1 0i []"]);
    accepts("\tx\t{ a = \"b\" , c=\"d\" }  \t1\n", &[x, "{a=\"b\",c=\"d\"} 1 0i []"]);
    accepts("x{a=\"b\"}1\n", &[x, "{a=\"b\"} 1 0i []"]);
    accepts("x{} 1\nx{ } 2\n", &[x, "{} 1 0i []", "{} 2 0i []"]);
    accepts("x{a=\"b\",} 1\n", &[x, "{a=\"b\"} 1 0i []"]);
    accepts("x{a=\"b\" , } 1\n", &[x, "{a=\"b\"} 1 0i []"]);
    accepts("x{a=\"{y=\\\"1\\\",}# y\",b=\"=\"} 1\n", &[x, "{a=\"{y=\\\"1\\\",}# y\",b=\"=\"} 1 0i []"]);
    accepts("x{a=\" y\tz\r\0 \"} 1\n", &[x, "{a=\" y\\tz\\r\\0 \"} 1 0i []"]);
    accepts("x{a=\"b\\\"c\\\\d\\ne\"} 1\n", &[x, "{a=\"b\\\"c\\\\d\\ne\"} 1 0i []"]);
    accepts("x{a=\"é😀\"} 1\n", &[x, "{a=\"é😀\"} 1 0i []"]);
    accepts("x{le=\"1\",quantile=\"z\"} 1\n", &[x, "{le=\"1\",quantile=\"z\"} 1 0i []"]);
    accepts(":c_9 1\n_ 2\n", &["Untyped :c_9", "{} 1 0i []", "Untyped _", "{} 2 0i []"]);
}

#[test]
fn quotes_may_stand_around_names() {
    let x = "Untyped x";
    for line in
        ["\"x\" 1", "\"x\"1", "{\"x\"} 1", "{x} 1", "{ \"x\" , } 1", "{x,}1", "p\"x\" 1", "{p\"x\"} 1"]
    {
        let name = if line.contains('p') { "Untyped px" } else { x };
        accepts(&format!("{line}\n"), &[name, "{} 1 0i []"]);
    }
    for line in ["{\"x\",a=\"b\"} 1", "{a=\"b\",\"x\"} 1", "{a=\"b\", x ,} 1", "\"x\" {\"a\"=\"b\"} 1"] {
        accepts(&format!("{line}\n"), &[x, "{a=\"b\"} 1 0i []"]);
    }
    accepts("# TYPE \"x\" gauge\n# HELP \"x\" h\n{\"x\"} 1\n", &["Gauge x \"h\"", "{} 1 0i []"]);
    let utf8 = |body: &str| read(body.as_bytes(), Utf8).unwrap();
    assert_eq!(
        utf8("{\"a\\\"\\\\\\nü.b\",\"l.x\"=\"1\"} 2\n"),
        ["Untyped a\"\\\nü.b", "{l.x=\"1\"} 2 0i []"]
    );
    assert_eq!(utf8("\"a.b\"{c=\"d\"} 1\n{\"a.b\"} 2\n"), ["Untyped a.b", "{c=\"d\"} 1 0i []", "{} 2 0i []"]);
}

#[test]
fn help_and_type_describe_their_family() {
    accepts("x 1\n# HELP x late\n", &["Untyped x \"late\"", "{} 1 0i []"]);
    accepts("#HELP x   two  words \n#TYPE x   cOUnTER\nx 1\n", &["Counter x \"two  words \"", "{} 1 0i []"]);
    accepts("# HELP x a\\\\b\\nc \\\"d\" é\nx 1\n", &["Untyped x \"a\\\\b\\nc \\\"d\\\" é\"", "{} 1 0i []"]);
    accepts("# HELP x \n# HELP x\t \n# HELP x y\nx 1\n", &["Untyped x \"y\"", "{} 1 0i []"]);
    accepts("# TYPE x gau\\ge\nx 1\n", &["Gauge x", "{} 1 0i []"]);
    for (kind, shown) in
        [("gauge_histogram", "GaugeHistogram"), ("GaugeHistogram", "GaugeHistogram"), ("untyped", "Untyped")]
    {
        let body = format!("# TYPE x {kind}\nx 1\n");
        assert_eq!(read(body.as_bytes(), Legacy).unwrap()[0], format!("{shown} x"));
    }
}

#[test]
fn samples_of_a_family_are_brought_together() {
    let body = "# HELP c h\nb{x=\"1\"} 1\na 2\nb{x=\"2\"} 3\nc 4\na{y=\"1\"} 5\n";
    accepts(
        body,
        &[
            "Untyped c \"h\"",
            "{} 4 0i []",
            "Untyped b",
            "{x=\"1\"} 1 0i []",
            "{x=\"2\"} 3 0i []",
            "Untyped a",
            "{} 2 0i []",
            "{y=\"1\"} 5 0i []",
        ],
    );
    let families = parse(body.as_bytes(), Legacy, Families::default()).unwrap();
    for sample in &families.samples {
        let text = &body[sample.start as usize..sample.end as usize];
        assert_eq!(families.series[sample.series as usize].value.to_string(), text);
        assert_eq!(&body[sample.end as usize..][..1], "\n");
    }
}

#[test]
fn a_name_belongs_to_what_is_known_when_it_comes() {
    accepts(
        "x_bucket{le=\"1\"} 3\nx_count 1\n# TYPE x histogram\nx_sum 2\n",
        &[
            "Untyped x_bucket",
            "{le=\"1\"} 3 0i []",
            "Untyped x_count",
            "{} 1 0i []",
            "Histogram x",
            "{} 2 0i []",
        ],
    );
    // The blank after the name makes the difference.
    accepts("# HELP x_count \n# TYPE x histogram\nx_count 3\n", &["Untyped x_count", "{} 3 0i []"]);
    accepts("# HELP x_count\n# TYPE x histogram\nx_count 3\n", &["Histogram x", "{} 0 3i []"]);
    accepts("# TYPE x histogram\n# HELP x_count h\nx_count 3\n", &["Histogram x \"h\"", "{} 0 3i []"]);
    accepts("# TYPE x counter\nx_total 3\n", &["Untyped x_total", "{} 3 0i []"]);
    accepts("# TYPE x summary\nx_bucket 3\n", &["Untyped x_bucket", "{} 3 0i []"]);
    accepts(
        "_count 3\n_sum 1\n_bucket 2\n",
        &["Untyped _count", "{} 3 0i []", "Untyped _sum", "{} 1 0i []", "Untyped _bucket", "{} 2 0i []"],
    );
}

#[test]
fn summaries_are_assembled_from_their_lines() {
    accepts(
        "# TYPE s summary\ns{quantile=\"0.9\"} 2\ns{quantile=\"0.50\"} NaN\ns{quantile=\"0.9\"} 1\ns_sum 3\ns_count 4.7\n",
        &["Summary s", "{} 3 4i [0.9:2 0.5:NaN 0.9:1]"],
    );
    accepts(
        "# TYPE s summary\ns{a=\"x\",quantile=\"0.5\"} 1\ns{quantile=\"0.5\",a=\"y\"} 2\ns_count{a=\"x\"} 9\ns{b=\"1\",a=\"x\"} 7\ns_sum{a=\"x\",b=\"1\"} 8\n",
        &["Summary s", "{a=\"x\"} 0 9i [0.5:1]", "{a=\"y\"} 0 0i [0.5:2]", "{b=\"1\",a=\"x\"} 8 0i []"],
    );
    accepts(
        "# TYPE s summary\ns{quantile=\"NaN\"} 1\ns_count{quantile=\"1\"} 1\ns_count 2\n",
        &["Summary s", "{} 0 2i []"],
    );
    accepts(
        "# TYPE s summary\ns{quantile=\"1\",le=\"2\",quantile=\"3\"} 1\n",
        &["Summary s", "{le=\"2\"} 0 0i [3:1]"],
    );
    for huge in ["NaN", "Inf", "18446744073709551616"] {
        accepts(
            &format!("# TYPE s summary\ns_count {huge}\n"),
            &["Summary s", "{} 0 9223372036854775808i []"],
        );
    }
}

#[test]
fn histograms_are_assembled_from_their_lines() {
    accepts(
        "# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh{le=\"1.0\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n",
        &["Histogram h", "{} 4.5 3i [0.5:1i 1:2i inf:3i]"],
    );
    accepts(
        "# TYPE h histogram\nh_bucket{a=\"x\",le=\"1\"} 1\nh_bucket{a=\"y\",le=\"1\"} 2\nh_count{a=\"y\"} 4\nh_bucket{le=\"2\",a=\"x\"} 2\nh_sum{a=\"x\"} -1\n",
        &["Histogram h", "{a=\"x\"} -1 0i [1:1i 2:2i]", "{a=\"y\"} 0 4i [1:2i]"],
    );
    // One float makes all counts of its series floats, and of no other.
    accepts(
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1.5\nh_bucket{le=\"2\"} 2\nh_count{a=\"b\"} 3\n",
        &["Histogram h", "{} 0 0 [1:1.5 2:2]", "{a=\"b\"} 0 3i []"],
    );
    accepts(
        "# TYPE h histogram\nh_count 18446744073709551616\n",
        &["Histogram h", "{} 0 18446744073709552000 []"],
    );
    accepts(
        "# TYPE h histogram\nh_count -0\nh_bucket 5\nh_bucket{le=\"nan\"} 6\n",
        &["Histogram h", "{} 0 0i []"],
    );
    accepts(
        "# TYPE h gaugehistogram\nh_bucket{le=\"1\"} 2\nh_count NaN\n",
        &["GaugeHistogram h", "{} 0 NaN [1:2]"],
    );
    accepts(
        "# TYPE h histogram\n{h,le=\"1\"} 2\n{le=\"0\",a=\"b\",le=\"2\",\"h_bucket\"} 3\n{\"h_count\",a=\"b\"} 4\n",
        &["Histogram h", "{} 0 0i [1:2i]", "{a=\"b\"} 0 4i [2:3i]"],
    );
}

#[test]
fn each_sample_line_has_its_span() {
    let body = "# TYPE h histogram\nh_bucket{a=\"x\",le=\"1\"} 10\nh_bucket{a=\"y\",le=\"1\"} 20\nh_bucket{a=\"x\",le=\"2\"} 11\nh_sum{a=\"y\"} 5\nh_count{a=\"x\"} 12\nh 9\n# TYPE s summary\ns 6\ns{quantile=\"1\"}7\n";
    let families = parse(body.as_bytes(), Legacy, Families::default()).unwrap();
    let spans: Vec<_> = families
        .samples
        .iter()
        .map(|sample| (&body[sample.start as usize..sample.end as usize], sample.series, sample.field))
        .collect();
    assert_eq!(
        spans,
        [
            ("10", 0, Field::Part(0)),
            ("20", 1, Field::Part(0)),
            ("11", 0, Field::Part(1)),
            ("5", 1, Field::Value),
            ("12", 0, Field::Count),
            ("9", 2, Field::Ignored),
            ("6", 3, Field::Ignored),
            ("7", 3, Field::Part(0)),
        ]
    );
}

#[test]
fn timestamps_are_noticed_and_leave_no_spans() {
    for body in ["x 1\ny 1 5\nz 1\n", "x 1 -9223372036854775808\n", "x 1  +7\n"] {
        let families = parse(body.as_bytes(), Legacy, Families::default()).unwrap();
        assert!(families.timestamped && families.samples.is_empty(), "{body}");
    }
    assert!(!parse(b"x 1\n", Legacy, Families::default()).unwrap().timestamped);
}

#[test]
fn faults_are_worded_as_the_reference_words_them() {
    let table: &[(&str, &str)] = &[
        ("a-b 1", "expected float as value, got \"-b\""),
        ("a.b 1", "expected float as value, got \".b\""),
        ("aé 1", "expected float as value, got \"é\""),
        ("a}{ 1", "expected float as value, got \"}{\""),
        ("a", "expected float as value, got \"\""),
        ("a ", "expected float as value, got \"\""),
        ("a{b=\"c\"}", "expected float as value, got \"\""),
        ("a{b=\"c\"}} 1", "expected float as value, got \"}\""),
        ("a 1\r", "expected float as value, got \"1\\r\""),
        ("a 0x1p3", "expected float as value, got \"0x1p3\""),
        ("a 1_000", "expected float as value, got \"1_000\""),
        ("a 1e400", "expected float as value, got \"1e400\""),
        ("a +NaN", "expected float as value, got \"+NaN\""),
        ("a 1 ", "expected integer as timestamp, got \"\""),
        ("a 1 1.5", "expected integer as timestamp, got \"1.5\""),
        ("a 1 9223372036854775808", "expected integer as timestamp, got \"9223372036854775808\""),
        ("a 1 # {b=\"c\"} 1", "expected integer as timestamp, got \"#\""),
        ("a 1 2 3", "spurious string after timestamp: \" 3\""),
        ("a 1 2 ", "spurious string after timestamp: \" \""),
        ("a 1 2 \\3", "spurious string after timestamp: \" 3\""),
        ("1a 2", "invalid metric name"),
        ("é 2", "invalid metric name"),
        ("\u{feff}a 1", "invalid metric name"),
        ("\r", "invalid metric name"),
        ("\"\" 1", "invalid metric name"),
        ("{} 1", "invalid metric name"),
        ("{ } 1", "invalid metric name"),
        ("{b=\"c\"} 1", "invalid metric name"),
        ("{b=\"c\",} 1", "invalid metric name"),
        ("{le=\"1\",le=\"2\"} 1", "invalid metric name"),
        ("{\"x.y\"} 1", "invalid metric name \"x.y\""),
        ("\"x.y\" 1", "invalid metric name \"x.y\""),
        ("\"x\ny\" 1", "metric name \"x\" contains unescaped new-line"),
        ("x{\"y\nz\"=\"b\"} 1", "label name \"y\" contains unescaped new-line"),
        ("{\"y\nz\"} 1", "label name \"y\" contains unescaped new-line"),
        ("x{a=\"b\\nc\nd\"} 1", "label value \"b\\nc\" contains unescaped new-line"),
        ("x{a=\"\\t\"} 1", "invalid escape sequence '\\t'"),
        ("x{a=\"\\\n\"} 1", "invalid escape sequence '\\\n'"),
        ("x{\"a\\x\"=\"\"} 1", "invalid escape sequence '\\x'"),
        ("\"a\\é\" 1", "invalid escape sequence '\\Ã'"),
        ("x{,} 1", "invalid label name for metric \"x\""),
        ("x{a=\"b\",,} 1", "invalid label name for metric \"x\""),
        ("x{=\"b\"} 1", "invalid label name for metric \"x\""),
        ("x{1a=\"b\"} 1", "invalid label name for metric \"x\""),
        ("x{:a=\"b\"} 1", "invalid label name for metric \"x\""),
        ("x{\"\"=\"b\"} 1", "invalid label name for metric \"x\""),
        ("x{", "invalid label name for metric \"x\""),
        ("{\"\"} 1", "invalid label name for metric \"\""),
        ("{,x} 1", "invalid label name for metric \"\""),
        ("x{\"a.b\"=\"c\"} 1", "invalid label name \"a.b\""),
        ("x{__name__=\"y\"} 1", "label name \"__name__\" is reserved"),
        ("x{\"__name__\"=\"y\"} 1", "label name \"__name__\" is reserved"),
        ("x{a} 1", "expected '=' after label name, found '}'"),
        ("x{a", "expected '=' after label name, found '\\n'"),
        ("x{a:b=\"c\"} 1", "expected '=' after label name, found ':'"),
        ("x{a \"b\"} 1", "expected '=' after label name, found '\"'"),
        ("{x,y} 1", "multiple metric names for metric \"x\""),
        ("{x,\"y\"z} 1", "multiple metric names for metric \"x\""),
        ("{\"x\" 1", "unexpected end of metric name '1'"),
        ("{a:b} 1", "unexpected end of metric name ':'"),
        ("x{a=\"1\",b=\"2\",a=\"1\"} 1", "duplicate label names for metric \"x\""),
        ("x{le=\"1\",le=\"2\"} 1", "duplicate label names for metric \"x\""),
        ("{le=\"1\",le=\"2\",x} 1", "duplicate label names for metric \"x\""),
        ("{a=\"1\",a=\"2\",x} 1", "duplicate label names for metric \"\""),
        ("x{a=b} 1", "expected '\"' at start of label value, found 'b'"),
        ("x{a='b'} 1", "expected '\"' at start of label value, found '\\''"),
        ("x{a=\"b\" c=\"d\"} 1", "unexpected end of label value \"b\""),
        ("x{a=\"b\\\"\";} 1", "unexpected end of label value \"b\\\"\""),
        ("# TYPE 1a gauge", "invalid metric name in comment"),
        ("# TYPE a-b gauge", "invalid metric name in comment"),
        ("# HELP a{ h", "invalid metric name in comment"),
        ("# HELP \"a\"b h", "invalid metric name in comment"),
        ("# TYPE \"a.b\" gauge", "invalid metric name \"a.b\""),
        ("# HELP \"\" h", "invalid metric name \"\""),
        ("# HELP a b\\x", "invalid escape sequence '\\x'"),
        ("# HELP a end\\", "invalid escape sequence '\\\n'"),
        ("# TYPE a foo", "unknown metric type \"foo\""),
        ("# TYPE a Gauge ", "unknown metric type \"Gauge \""),
        ("# TYPE a info", "unknown metric type \"info\""),
    ];
    for (line, text) in table {
        let body = format!("ok 1\n\n{line}\n");
        let expected = format!("text format parsing error in line 3: {text}");
        assert_eq!(read(body.as_bytes(), Legacy), Err(expected), "{line}");
    }
}

#[test]
fn faults_of_several_lines_are_found_at_the_last() {
    let histogram = "# TYPE h histogram\n";
    let summary = "# TYPE s summary\n";
    let table: &[(String, usize, &str)] = &[
        ("# HELP a x\n# HELP a x\n".into(), 2, "second HELP line for metric name \"a\""),
        (
            "# TYPE a gauge\n# TYPE a gauge\n".into(),
            2,
            "second TYPE line for metric name \"a\", or TYPE reported after samples",
        ),
        (
            "a 1\n# TYPE a gauge\n".into(),
            2,
            "second TYPE line for metric name \"a\", or TYPE reported after samples",
        ),
        (
            "{a} 1\n# TYPE a gauge\n".into(),
            2,
            "second TYPE line for metric name \"a\", or TYPE reported after samples",
        ),
        (
            format!("{histogram}# TYPE h_count counter\n"),
            2,
            "second TYPE line for metric name \"h\", or TYPE reported after samples",
        ),
        (
            format!("{histogram}h_bucket{{le=\"x\"}} 5\n"),
            2,
            "expected float as value for 'le' label, got \"x\"",
        ),
        (
            format!("{histogram}h_bucket{{le=\"\"}} 5\n"),
            2,
            "expected float as value for 'le' label, got \"\"",
        ),
        (format!("{histogram}{{le=\"x\",h}} 5\n"), 2, "expected float as value for 'le' label, got \"x\""),
        (
            format!("{histogram}h_bucket{{quantile=\"1\",quantile=\"1\"}} 5\n"),
            2,
            "duplicate label names for metric \"h\"",
        ),
        (
            format!("{summary}s{{quantile=\"50%\"}} 5\n"),
            2,
            "expected float as value for 'quantile' label, got \"50%\"",
        ),
        (format!("{summary}s_count -1\n"), 2, "negative count for summary \"s\""),
        (format!("{histogram}h_count -1\n"), 2, "negative count for histogram \"h\""),
        (format!("{histogram}h_count -Inf\n"), 2, "negative count for histogram \"h\""),
        (
            format!("{histogram}h_bucket{{le=\"1\"}} -0.5\n"),
            2,
            "negative bucket population for histogram \"h\"",
        ),
        ("a 1\n{} 2\n".into(), 2, "invalid metric name"),
    ];
    for (body, line, text) in table {
        let expected = format!("text format parsing error in line {line}: {text}");
        assert_eq!(read(body.as_bytes(), Legacy), Err(expected), "{body}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_wherever_they_mean_something() {
    let table: &[(&[u8], &str)] = &[
        (b"x{a=\"\xff\"} 1\n", "invalid label value \"\\xff\""),
        (b"x{a=\"\\\\\xff\"} 1\n", "invalid label value \"\\\\\\xff\""),
        (b"# HELP x \xff\nx 1\n", "help text is not valid UTF-8"),
        (b"# HELP x \\n\xff\nx 1\n", "help text is not valid UTF-8"),
        (b"x{\"\xff\"=\"\"} 1\n", "invalid label name \"\\xff\""),
        (b"\"\xff\" 1\n", "invalid metric name \"\\xff\""),
        (b"x \xff\n", "expected float as value, got \"\\xff\""),
    ];
    for (body, text) in table {
        let expected = format!("text format parsing error in line 1: {text}");
        assert_eq!(read(body, Utf8), Err(expected));
    }
    assert_eq!(read(b"# \xff\nx{a=\"\xc3\xa9\"} 1\n", Legacy).unwrap()[1], "{a=\"é\"} 1 0i []");
}

#[test]
fn every_cut_but_between_lines_is_an_early_end() {
    let body = "# HELP x a\\\\b\n# TYPE x histogram\nx_bucket{a=\"b\\n\",le=\"1\"} 1\n\n{\"y\",c=\"d\"} 2 3\n# z\n\"w\"1\n";
    for cut in 0..=body.len() {
        let outcome = read(&body.as_bytes()[..cut], Legacy);
        if cut == 0 || body.as_bytes()[cut - 1] == b'\n' {
            assert!(outcome.is_ok(), "{cut} {outcome:?}");
        } else {
            let line = 1 + body[..cut].matches('\n').count();
            let text = format!("text format parsing error in line {line}: unexpected end of input stream");
            assert_eq!(outcome, Err(text), "{cut}");
        }
    }
}

#[test]
fn a_name_that_needs_quotes_is_not_taken_without() {
    let body = b"x{\"a b\"=\"1\"} 1\nx{a b=\"1\"} 1\n";
    let text = "text format parsing error in line 2: expected '=' after label name, found 'b'";
    assert_eq!(read(body, Utf8), Err(text.into()));
}

#[test]
fn limits_are_kept_and_named() {
    let refused = |body: String| {
        let error = parse(body.as_bytes(), Legacy, Families::default()).unwrap_err();
        (error.reason(), error.kind.to_string())
    };
    let labels = |count: usize| (0..count).map(|n| format!("l{n}=\"v\",")).collect::<String>();
    assert!(read(format!("x{{{}}} 1\n", labels(SERIES_LABELS_MAX)).as_bytes(), Legacy).is_ok());
    assert_eq!(
        refused(format!("x{{{}}} 1\n", labels(SERIES_LABELS_MAX + 1))),
        (
            Reason::TooLarge(Limit::SeriesLabels),
            "more than 256 labels for metric \"x\" (--limit.series-labels)".into()
        )
    );
    for twice in [0, 15, 16, 17, 18, 50, 99] {
        let body = format!("x{{{0}}} 1\nx{{m=\"\",{0}l{twice}=\"v\"}} 1\n", labels(100));
        let text = "duplicate label names for metric \"x\"";
        assert_eq!(refused(body), (Reason::Malformed, text.into()), "{twice}");
    }
    let value = "v".repeat(LABEL_VALUE_BYTES_MAX);
    assert!(read(format!("x{{a=\"{value}\"}} 1\n").as_bytes(), Legacy).is_ok());
    assert_eq!(
        refused(format!("x{{a=\"{value}v\"}} 1\n")),
        (
            Reason::TooLarge(Limit::LabelValueBytes),
            "value of label \"a\" is longer than 65536 bytes (--limit.label-value-bytes)".into()
        )
    );
    assert_eq!(
        refused("x 1\n".repeat(1_000_001)),
        (
            Reason::TooLarge(Limit::PushSeries),
            "more than 1000000 series in one push (--limit.push-series)".into()
        )
    );
    let families: String = (0..1_000_001).map(|n| format!("#HELP x{n} \n")).collect();
    assert_eq!(
        refused(families),
        (
            Reason::TooLarge(Limit::PushFamilies),
            "more than 1000000 metric families in one push (--limit.push-families)".into()
        )
    );
}

#[test]
fn echoed_input_is_bounded() {
    let error = read(format!("x {}\n", "y".repeat(1 << 20)).as_bytes(), Legacy).unwrap_err();
    assert!(error.len() < 300, "{}", error.len());
}

//! Delimited protobuf that lies about its lengths, its types or its buckets.

use crate::common::hostile::{Kept, Siege};
use crate::common::protobuf::{COUNTER, GAUGE, HISTOGRAM, Message, delimited, family};
use crate::common::request_bytes;

const DELIMITED: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
const LABELS: &str = r#"instance="",job="hostile""#;
const SUMMARY: u64 = 2;
const UNTYPED: u64 = 3;
const GAUGE_HISTOGRAM: u64 = 5;

fn push_as(content_type: &str, body: &[u8]) -> Vec<u8> {
    request_bytes("PUT", "/metrics/job/hostile", &[("Content-Type", content_type)], body)
}

fn push(body: &[u8]) -> Vec<u8> {
    push_as(DELIMITED, body)
}

/// A metric with a gauge of this value.
fn gauge(value: f64) -> Message {
    Message::new().message(2, Message::new().double(1, value))
}

/// A metric with this histogram.
fn histogram(message: Message) -> Message {
    Message::new().message(7, message)
}

/// Zigzag, as `sint32` and `sint64` are written.
fn signed(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// A span of native buckets.
fn span(offset: i64, length: u64) -> Message {
    Message::new().uint(1, signed(offset)).uint(2, length)
}

/// What was claimed is not allocated, or the server would be gone after a few of these.
#[test]
fn lengths_beyond_the_body_are_refused_before_anything_is_allocated() {
    let mut siege = Siege::begin(&[]);
    let before = memory(&siege);
    for body in [
        &b"\x05"[..],
        b"\x05abcd",
        // Two and four gigabytes, 2^63, and the largest there is.
        b"\xff\xff\xff\xff\x07abc",
        b"\xff\xff\xff\xff\x0fabc",
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01abc",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc",
        // Too long for 64 bits, and without an end.
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7fabc",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80",
        // Lengths within a message.
        b"\x04\x0a\xff\xff\x0f",
        b"\x07\x0a\x01m\x22\xff\xff\x03",
        b"\x0c\x0a\x01m\x22\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ] {
        siege.refused(&push(body), 400, "", Kept);
    }
    let more = memory(&siege).saturating_sub(before);
    assert!(more < 64 << 20, "{more} bytes");
    // A length in more bytes than it needs is a length.
    let mut body = delimited([family("m", "", GAUGE, [gauge(1.0)])]);
    let length = body.remove(0);
    body.splice(0..0, [length | 0x80, 0x80, 0]);
    siege.answered(&push(&body), 200);
}

fn memory(siege: &Siege) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", siege.server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn wrong_wire_types_groups_and_texts_are_refused() {
    let mut siege = Siege::begin(&[]);
    let m = || Message::new().text(1, "m");
    for message in [
        // The name as a number, the type as text, a metric as a number, a value as a varint.
        Message::new().uint(1, 5),
        m().text(3, "gauge"),
        m().uint(3, GAUGE).uint(4, 1),
        m().uint(3, GAUGE).message(4, Message::new().message(2, Message::new().uint(1, 1))),
        m().uint(3, GAUGE).message(4, Message::new().uint(1, 1).message(2, Message::new().double(1, 1.0))),
        m().uint(3, GAUGE).message(4, gauge(1.0).text(6, "now")),
        // Texts that are not UTF-8.
        Message::new().bytes(1, b"m\xff").uint(3, GAUGE).message(4, gauge(1.0)),
        m().bytes(2, b"\xff").uint(3, GAUGE).message(4, gauge(1.0)),
        m().uint(3, GAUGE).message(4, gauge(1.0).message(1, Message::new().bytes(1, b"\xff").text(2, "v"))),
        m().uint(3, GAUGE)
            .message(4, gauge(1.0).message(1, Message::new().text(1, "a").bytes(2, b"\xed\xa0\x80"))),
        m().uint(3, GAUGE).message(4, gauge(1.0)).bytes(5, b"\xff"),
    ] {
        siege.refused(&push(&delimited([message])), 400, "", Kept);
    }
    // Field number zero, wire types six and seven, an end of a group that nobody began.
    for bytes in [&b"\x02\x02\x00"[..], b"\x01\x06", b"\x01\x07", b"\x01\x0c", b"\x01\x0b", b"\x02\x13\x1c"] {
        siege.refused(&push(bytes), 400, "", Kept);
    }
    // A hundred thousand groups in each other: an answer, and no deep stack.
    for (depth, closed) in [(100_000, true), (100_000, false), (101, false)] {
        let mut nested = [&b"\x0a\x01m\x18\x01"[..], &b"\x7b".repeat(depth)].concat();
        if closed {
            nested.extend(b"\x7c".repeat(depth));
        }
        let mut body = delimited([]);
        let mut length = nested.len();
        while length >= 0x80 {
            body.push(length as u8 | 0x80);
            length >>= 7;
        }
        body.push(length as u8);
        body.extend(nested);
        siege.refused(&push(&body), 400, "", Kept);
    }
    // Unknown fields of any sound type are read past.
    let unknown =
        m().uint(3, GAUGE).message(4, gauge(1.0).uint(15, 9).text(14, "x")).double(12, 1.0).uint(15, 1);
    siege.answered(&push(&delimited([unknown])), 200);
    assert_eq!(siege.server.scrape().samples("m"), [format!("m{{{LABELS}}} 1")]);
}

#[test]
fn families_without_names_values_or_types_are_refused() {
    let mut siege = Siege::begin(&[]);
    let m = |kind, metric| delimited([family("m", "", kind, [metric])]);
    for (body, says) in [
        (delimited([family("", "", GAUGE, [gauge(1.0)])]), "metric family without a name"),
        (delimited([Message::new().uint(3, GAUGE).message(4, gauge(1.0))]), "metric family without a name"),
        (delimited([Message::new()]), "metric family without a name"),
        (m(GAUGE, Message::new()), " is not a GAUGE"),
        (m(GAUGE, Message::new().label("a", "b")), " is not a GAUGE"),
        (m(9, gauge(1.0)), "unknown metric type 9"),
        (m(u64::MAX, gauge(1.0)), "unknown metric type -1"),
        (
            delimited([family("m", "", GAUGE, [gauge(1.0)]), family("m", "", GAUGE, [gauge(2.0)])]),
            "second metric family named",
        ),
        (delimited([family("m", "", GAUGE, []), family("m", "", GAUGE, [])]), "second metric family named"),
        (delimited([family("a.b", "", GAUGE, [gauge(1.0)])]), "invalid metric name"),
        (delimited([family("9m", "", GAUGE, [gauge(1.0)])]), "invalid metric name"),
        (m(GAUGE, gauge(1.0).label("a-b", "c")), "invalid label name"),
        (m(HISTOGRAM, histogram(Message::new().double(4, -1.0).uint(1, 1))), ""),
    ] {
        siege.refused(&push(&body), 400, says, Kept);
    }
    // The reference finds these in its store, and stamps them.
    for (kind, name) in
        [(COUNTER, "COUNTER"), (SUMMARY, "SUMMARY"), (UNTYPED, "UNTYPED"), (HISTOGRAM, "HISTOGRAM")]
    {
        siege.stamped(&push(&m(kind, gauge(1.0))), &format!(" is not a {name}"), LABELS);
    }
    let many = (0..250).fold(gauge(1.0), |metric, at| metric.label(&format!("l{at}"), &"x".repeat(1000)));
    siege.stamped(&push(&m(COUNTER, many)), " is not a COUNTER", LABELS);
    siege.stamped(&push(&m(GAUGE, gauge(1.0).uint(6, 5))), "pushed metrics must not have timestamps", LABELS);
    siege.stamped(
        &push(&m(GAUGE, gauge(1.0).label("a", "1").label("a", "2"))),
        "two or more labels with the same name",
        LABELS,
    );
    siege.stamped(&push(&m(GAUGE, gauge(1.0).label("__a", "1"))), "label with an invalid name", LABELS);
}

#[test]
fn native_histograms_that_prometheus_drops_are_refused() {
    let mut siege = Siege::begin(&[]);
    // Schema 0, no zero bucket but its threshold: the least that makes a histogram native.
    let native =
        |count: u64| Message::new().uint(1, count).double(2, 1.0).uint(5, signed(0)).double(6, 0.001);
    let deltas = |message: Message, values: &[i64]| {
        values.iter().fold(message, |message, value| message.uint(13, signed(*value)))
    };
    let sound = deltas(native(3).message(12, span(0, 2)), &[1, 1]);
    for kind in [HISTOGRAM, GAUGE_HISTOGRAM] {
        for message in [
            // More spans than deltas, and fewer.
            deltas(native(1).message(12, span(0, 2)), &[1]),
            deltas(native(3).message(12, span(0, 1)), &[1, 1]),
            native(0).message(12, span(0, 1)),
            deltas(native(1), &[1]),
            // Buckets that fall below zero, or over what 64 bits hold.
            deltas(native(1).message(12, span(0, 2)), &[1, -2]),
            deltas(native(0).message(12, span(0, 1)), &[-1]),
            deltas(native(1).message(12, span(0, 2)), &[i64::MAX, i64::MAX]),
            // The count is not the sum of its buckets.
            deltas(native(4).message(12, span(0, 2)), &[1, 1]),
            deltas(native(2).message(12, span(0, 2)), &[1, 1]),
            deltas(native(1).message(12, span(0, 2)).double(2, f64::NAN), &[1, 1]),
            // Schemas that nobody knows.
            deltas(Message::new().uint(1, 1).uint(5, signed(9)).double(6, 0.1).message(12, span(0, 1)), &[1]),
            deltas(
                Message::new().uint(1, 1).uint(5, signed(-5)).double(6, 0.1).message(12, span(0, 1)),
                &[1],
            ),
            deltas(
                Message::new()
                    .uint(1, 1)
                    .uint(5, signed(i64::from(i32::MAX)))
                    .double(6, 0.1)
                    .message(12, span(0, 1)),
                &[1],
            ),
            // Thousand millions of buckets in a few bytes, and spans that go back.
            native(1).message(12, span(0, 1_000_000_000)),
            native(1).message(12, span(0, u64::from(u32::MAX))),
            deltas(native(2).message(12, span(0, 1)).message(12, span(-1, 1)), &[1, 0]),
            deltas(
                native(2).message(12, span(i64::from(i32::MAX), 1)).message(12, span(i64::from(i32::MAX), 1)),
                &[1, 0],
            ),
        ] {
            siege.refused(
                &push(&delimited([family("m", "", kind, [histogram(message)])])),
                400,
                "histogram \"m\"",
                Kept,
            );
        }
        siege.answered(&push(&delimited([family("m", "", kind, [histogram(sound.clone())])])), 200);
        siege.answered(&push(b""), 200);
    }
}

/// The reference reads everything as text that is not announced exactly as delimited protobuf.
#[test]
fn protobuf_under_other_parameters_is_text_and_no_metrics() {
    let mut siege = Siege::begin(&[]);
    let body = delimited([family("m", "", GAUGE, [gauge(1.0)])]);
    for content_type in [
        "application/vnd.google.protobuf",
        "application/vnd.google.protobuf; encoding=delimited",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=compact-text",
        "application/vnd.google.protobuf; proto=io.prometheus.client.metricfamily; encoding=delimited",
        "application/vnd.google.protobuf; proto=other.Message; encoding=delimited",
        "application/vnd.google.protobuf, proto=io.prometheus.client.MetricFamily, encoding=delimited",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; encoding=text",
        "application/x-protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        "",
    ] {
        siege.refused(&push_as(content_type, &body), 400, "text format parsing error in line 1", Kept);
    }
    siege.answered(
        &push_as(
            &DELIMITED
                .to_uppercase()
                .replace("IO.PROMETHEUS.CLIENT.METRICFAMILY", "io.prometheus.client.MetricFamily")
                .replace("=DELIMITED", "=\"delimited\""),
            &body,
        ),
        200,
    );
}

/// Every beginning of a good body, and every byte of it changed: taken whole or refused.
#[test]
fn a_protobuf_body_with_any_byte_changed_is_taken_whole_or_refused() {
    let mut siege = Siege::begin(&[]);
    let native = Message::new()
        .uint(1, 3)
        .double(2, 1.0)
        .uint(5, signed(0))
        .double(6, 0.001)
        .message(12, span(0, 2))
        .uint(13, signed(1))
        .uint(13, signed(1));
    let good = delimited([
        family(
            "a",
            "help",
            COUNTER,
            [Message::new().label("x", "1").message(3, Message::new().double(1, 2.0))],
        ),
        family("h", "", HISTOGRAM, [histogram(native)]),
        family("b", "", GAUGE, [gauge(7.0)]),
    ]);
    siege.answered(&push(&good), 200);
    let whole = siege.server.pushed();
    let mut variants: Vec<Vec<u8>> = (1..good.len()).map(|length| good[..length].to_vec()).collect();
    for at in 0..good.len() {
        for byte in [0, 1, 2, 0x7f, 0x80, 0xff, good[at] ^ 1, good[at] ^ 8, good[at].wrapping_add(1)] {
            let mut variant = good.clone();
            variant[at] = byte;
            variants.push(variant);
        }
    }
    let mut connection = siege.server.connect();
    for variant in variants {
        connection.write(
            &[&push(&variant)[..], &request_bytes("GET", "/metrics", &[], b""), &push(&good)].concat(),
        );
        let answer = connection.answer_to("PUT");
        let scrape = crate::common::Scrape::new(connection.answer_to("GET").text());
        if answer.status != 200 {
            assert_eq!((answer.status, scrape.pushed().as_str()), (400, whole.as_str()), "{variant:x?}");
        }
        connection.answer_to("PUT").is_empty_with(200);
    }
    assert_eq!(siege.server.pushed(), whole);
}

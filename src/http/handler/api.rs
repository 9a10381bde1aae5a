//! The JSON API: build, flags and start time, and every group with its series.
//!
//! Answers are byte for byte what the reference's encoder makes of the same data: its escapes, its key
//! order, numbers as strings. A group whose lifetime ends has `lifetime`, `expires_at` and `overdue` besides.
//! Groups come sorted by grouping key, where the reference gives them in
//! random order.

pub mod groups;
pub mod json;
pub mod plugins;
pub mod time;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use self::json::Writer;
use crate::build_info;
use crate::clock::{Now, UnixNanos};
use crate::config::Info;
use crate::format::float;
use crate::gateway::{Ending, FamilyView, Gateway, GroupView, SeriesView, ValueView};
use crate::http::Answer;
use crate::http::handler::with_api_headers;
use crate::model::histogram::NativeHistogram;
use crate::model::{MetricType, Number};

/// The two gauges that every group has, with the reference's help texts.
const PUSH_TIME: (&str, &str) =
    ("push_time_seconds", "Last Unix time when changing this group in the Pushgateway succeeded.");
const PUSH_FAILURE_TIME: (&str, &str) =
    ("push_failure_time_seconds", "Last Unix time when changing this group in the Pushgateway failed.");

/// `GET /api/v1/metrics`
pub fn metrics(gateway: &Gateway) -> Answer {
    let zone = TimeZone::system();
    let now = Now::read();
    let mut out = Writer::new();
    out.raw(br#"{"status":"success","data":["#);
    for (position, group) in gateway.groups().iter().enumerate() {
        if position > 0 {
            out.raw(b",");
        }
        push_group(&mut out, group, gateway.ending(group, now), &zone);
    }
    out.raw(b"]}");
    answer(out)
}

/// `GET /api/v1/status`
pub fn status(info: &Info) -> Answer {
    let mut out = Writer::new();
    out.raw(br#"{"status":"success","data":{"build_information":"#);
    push_object(
        &mut out,
        [
            ("branch", build_info::BRANCH),
            ("buildDate", build_info::BUILD_DATE),
            ("buildUser", build_info::BUILD_USER),
            ("goVersion", build_info::RUST_VERSION),
            ("revision", build_info::REVISION),
            ("version", build_info::VERSION),
        ],
    );
    out.raw(br#","flags":"#);
    push_object(&mut out, info.flags.iter().map(|(name, value)| (*name, value.as_str())));
    out.raw(br#","start_time":"#);
    out.string(&time::rfc3339(info.started, &TimeZone::system()));
    out.raw(b"}}");
    answer(out)
}

pub fn answer(out: Writer) -> Answer {
    with_api_headers(Answer::with_slices(200, "application/json", out.finish()))
}

/// One key of a group object. Keys of its own and families mix in bytewise order, and a family that has
/// the name of such a key takes its place.
enum Entry<'g> {
    Labels,
    LastPushSuccessful,
    Family(&'g FamilyView<'g>),
    /// The value in seconds and the time of the push that brought it.
    Time(&'static str, UnixNanos, UnixNanos),
    Lifetime(Ending),
    ExpiresAt(Ending),
    Overdue(Ending),
}

fn push_group(out: &mut Writer, group: &GroupView, ending: Option<Ending>, zone: &TimeZone) {
    let (pushed, failed) = (group.push_time(), group.failure_time());
    let families = group.families();
    let mut entries: BTreeMap<&str, Entry<'_>> = BTreeMap::from([
        ("labels", Entry::Labels),
        ("last_push_successful", Entry::LastPushSuccessful),
        // A gauge that never moved came with the first change of the other one.
        (PUSH_TIME.0, Entry::Time(PUSH_TIME.1, pushed, first_known(pushed, failed))),
        (PUSH_FAILURE_TIME.0, Entry::Time(PUSH_FAILURE_TIME.1, failed, first_known(failed, pushed))),
    ]);
    if let Some(ending) = ending {
        entries.extend([
            ("lifetime", Entry::Lifetime(ending)),
            ("expires_at", Entry::ExpiresAt(ending)),
            ("overdue", Entry::Overdue(ending)),
        ]);
    }
    entries.extend(families.iter().map(|family| (family.name, Entry::Family(family))));
    let mut before: &[u8] = b"{";
    for (name, entry) in entries {
        out.raw(before);
        before = b",";
        out.string(name);
        out.raw(b":");
        match entry {
            Entry::Labels => push_object(out, group.key.labels()),
            Entry::LastPushSuccessful => push_truth(out, group.last_push_successful()),
            Entry::Lifetime(ending) => out.string(&ending.lifetime.to_string()),
            Entry::ExpiresAt(ending) => out.string(&time::rfc3339(ending.at, zone)),
            Entry::Overdue(ending) => push_truth(out, ending.overdue),
            Entry::Family(family) => push_family(out, family, zone),
            Entry::Time(help, value, at) => push_time_family(out, group, zone, help, value, at),
        }
    }
    out.raw(b"}");
}

fn push_truth(out: &mut Writer, is: bool) {
    out.raw(if is { b"true" } else { b"false" });
}

fn first_known(time: UnixNanos, other: UnixNanos) -> UnixNanos {
    if time == UnixNanos::NEVER { other } else { time }
}

/// Everything of a family object up to its series.
fn begin_family(out: &mut Writer, zone: &TimeZone, at: UnixNanos, kind: MetricType, help: &str) {
    out.raw(br#"{"time_stamp":"#);
    out.string(&time::rfc3339(at, zone));
    out.raw(br#","type":"#);
    out.string(kind.upper());
    if !help.is_empty() {
        out.raw(br#","help":"#);
        out.string(help);
    }
    out.raw(br#","metrics":["#);
}

fn push_family(out: &mut Writer, family: &FamilyView<'_>, zone: &TimeZone) {
    begin_family(out, zone, family.pushed_at, family.kind, family.help.unwrap_or_default());
    for (position, series) in family.series().enumerate() {
        if position > 0 {
            out.raw(b",");
        }
        push_series(out, family.kind, &series);
    }
    out.raw(b"]}");
}

fn push_time_family(
    out: &mut Writer,
    group: &GroupView,
    zone: &TimeZone,
    help: &str,
    value: UnixNanos,
    at: UnixNanos,
) {
    begin_family(out, zone, at, MetricType::Gauge, help);
    let mut labels: BTreeMap<&str, &str> = group.key.labels().collect();
    labels.entry("instance").or_insert("");
    out.raw(br#"{"labels":"#);
    push_object(out, labels);
    out.raw(br#","value":"#);
    out.float(value.seconds());
    out.raw(b"}]}");
}

fn push_series(out: &mut Writer, kind: MetricType, series: &SeriesView<'_>) {
    let labels = series.labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    match &series.value {
        // What the reference makes of a gauge histogram, which its API does not know.
        _ if kind == MetricType::GaugeHistogram => {
            out.raw(br#"{"labels":"#);
            push_object(out, labels);
            out.raw(br#","value":"0"}"#);
        }
        ValueView::Plain(value) => {
            out.raw(br#"{"labels":"#);
            push_object(out, labels);
            out.raw(br#","value":"#);
            out.float(*value);
            out.raw(b"}");
        }
        ValueView::Summary { quantiles, sum, count } => {
            out.raw(br#"{"count":"#);
            push_number(out, Number::Int(*count));
            out.raw(br#","labels":"#);
            push_object(out, labels);
            out.raw(br#","quantiles":"#);
            push_bounds(out, quantiles.iter().map(|(rank, value)| (*rank, Number::Float(*value))));
            out.raw(br#","sum":"#);
            out.float(*sum);
            out.raw(b"}");
        }
        ValueView::Histogram { buckets, sum, count, detail } => {
            out.raw(br#"{"buckets":"#);
            let native = detail.and_then(|message| NativeHistogram::read(message).ok());
            match native.filter(NativeHistogram::has_spans) {
                Some(native) => push_native_buckets(out, &native),
                None => push_bounds(out, buckets.iter().copied()),
            }
            out.raw(br#","count":"#);
            push_number(out, *count);
            out.raw(br#","labels":"#);
            push_object(out, labels);
            out.raw(br#","sum":"#);
            out.float(*sum);
            out.raw(b"}");
        }
    }
}

/// An object of strings in the order given, which is sorted already.
pub fn push_object<'l>(out: &mut Writer, pairs: impl IntoIterator<Item = (&'l str, &'l str)>) {
    let mut before: &[u8] = b"{";
    let mut pairs = pairs.into_iter().peekable();
    if pairs.peek().is_none() {
        out.raw(before);
    }
    for (name, value) in pairs {
        out.raw(before);
        before = b",";
        out.string(name);
        out.raw(b":");
        out.string(value);
    }
    out.raw(b"}");
}

/// Quantiles or buckets: keyed by the bound's text and sorted by it; of equal bounds the last one wins.
fn push_bounds(out: &mut Writer, bounds: impl Iterator<Item = (f64, Number)>) {
    let sorted: BTreeMap<Vec<u8>, Number> = bounds.map(|(bound, value)| (float_text(bound), value)).collect();
    let mut before: &[u8] = b"{";
    if sorted.is_empty() {
        out.raw(before);
    }
    for (bound, value) in sorted {
        out.raw(before);
        before = b",";
        out.raw(b"\"");
        out.raw(&bound);
        out.raw(b"\":");
        push_number(out, value);
    }
    out.raw(b"}");
}

/// An array of arrays: the kind of bounds, the two bounds, the count.
fn push_native_buckets(out: &mut Writer, histogram: &NativeHistogram<'_>) {
    out.raw(b"[");
    for (position, bucket) in histogram.buckets().iter().enumerate() {
        if position > 0 {
            out.raw(b",");
        }
        out.raw(&[b'[', b'0' + bucket.kind(), b',']);
        out.float(bucket.lower);
        out.raw(b",");
        out.float(bucket.upper);
        out.raw(b",");
        push_number(out, bucket.count);
        out.raw(b"]");
    }
    out.raw(b"]");
}

fn float_text(value: f64) -> Vec<u8> {
    let mut text = Vec::with_capacity(24);
    float::write_float_json(&mut text, value);
    text
}

fn push_number(out: &mut Writer, number: Number) {
    match number {
        Number::Int(count) => out.count(count),
        Number::Float(value) => out.float(value),
    }
}

#[cfg(test)]
mod tests;

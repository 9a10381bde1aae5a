//! Our own metric families among the pushed ones.

use bytes::Bytes;

use super::negotiate::{Form, Format};
use super::protobuf;
use super::text::write_header;
use crate::format::escape;
use crate::format::float::write_float;
use crate::telemetry::{OwnFamily, OwnSeries, OwnValue};

/// Writes one of our own families whole; nothing if it has no series.
pub fn write_family(out: &mut Vec<u8>, form: Form, family: &OwnFamily) {
    if family.series.is_empty() {
        return;
    }
    if form.format == Format::Text {
        write_header(out, &family.name, Some(&family.help), family.kind, form.escaping);
        write_lines(out, family);
        return;
    }
    let metrics = metrics(family);
    let help = Some(&*family.help);
    out.extend_from_slice(&protobuf::head(&family.name, help, family.kind, form.escaping, metrics.len()));
    out.extend_from_slice(&metrics);
}

/// Writes the lines of one of our own families.
pub fn write_lines(out: &mut Vec<u8>, family: &OwnFamily) {
    let name = &*family.name;
    for series in &family.series {
        match &series.value {
            OwnValue::Plain(value) => line(out, name, "", series, None, *value),
            OwnValue::Summary { quantiles, sum, count } => {
                for (quantile, value) in quantiles {
                    line(out, name, "", series, Some(("quantile", *quantile)), *value);
                }
                line(out, name, "_sum", series, None, *sum);
                line(out, name, "_count", series, None, *count as f64);
            }
            OwnValue::Histogram { buckets, sum } => {
                for (bound, count) in buckets {
                    line(out, name, "_bucket", series, Some(("le", *bound)), *count as f64);
                }
                line(out, name, "_sum", series, None, *sum);
                line(out, name, "_count", series, None, count_of(buckets) as f64);
            }
        }
    }
}

/// The series of one of our own families as `metric` fields of its message.
pub fn metrics(family: &OwnFamily) -> Bytes {
    let mut writer = protobuf::Writer::default();
    for series in &family.series {
        for (name, value) in &series.labels {
            writer.label(name, value);
        }
        match &series.value {
            OwnValue::Plain(value) => writer.plain(family.kind, *value),
            OwnValue::Summary { quantiles, sum, count } => {
                writer.summary(quantiles.iter().copied(), *sum, *count);
            }
            OwnValue::Histogram { buckets, sum } => {
                writer.histogram(buckets.iter().copied(), *sum, count_of(buckets));
            }
        }
    }
    writer.finish().into()
}

/// How many values a histogram has seen: all that are not above `+Inf`.
fn count_of(buckets: &[(f64, u64)]) -> u64 {
    buckets.last().map_or(0, |bucket| bucket.1)
}

fn line(
    out: &mut Vec<u8>,
    name: &str,
    suffix: &str,
    series: &OwnSeries,
    part: Option<(&str, f64)>,
    value: f64,
) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    if !series.labels.is_empty() || part.is_some() {
        out.push(b'{');
        for (name, value) in &series.labels {
            escape::push_label(out, name, value);
        }
        if let Some((label, bound)) = part {
            out.extend_from_slice(label.as_bytes());
            out.extend_from_slice(b"=\"");
            write_float(out, bound);
            out.extend_from_slice(b"\",");
        }
        out.pop();
        out.push(b'}');
    }
    out.push(b' ');
    write_float(out, value);
    out.push(b'\n');
}

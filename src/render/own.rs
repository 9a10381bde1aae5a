//! Our own metric families as text.

use super::negotiate::Form;
use super::text::write_header;
use crate::format::escape;
use crate::format::float::write_float;
use crate::telemetry::{OwnFamily, OwnSeries, OwnValue};

/// Writes one of our own families, with its header or without; nothing if it has no series.
pub fn write_family(out: &mut Vec<u8>, form: Form, family: &OwnFamily, header: bool) {
    if family.series.is_empty() {
        return;
    }
    if header {
        write_header(out, family.name, Some(family.help), family.kind, form.escaping);
    }
    for series in &family.series {
        match &series.value {
            OwnValue::Plain(value) => line(out, family.name, "", series, None, *value),
            OwnValue::Summary { quantiles, sum, count } => {
                for (quantile, value) in quantiles {
                    line(out, family.name, "", series, Some(*quantile), *value);
                }
                line(out, family.name, "_sum", series, None, *sum);
                line(out, family.name, "_count", series, None, *count as f64);
            }
        }
    }
}

fn line(out: &mut Vec<u8>, name: &str, suffix: &str, series: &OwnSeries, quantile: Option<f64>, value: f64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    if !series.labels.is_empty() || quantile.is_some() {
        out.push(b'{');
        for (name, value) in &series.labels {
            escape::push_label(out, name, value);
        }
        if let Some(quantile) = quantile {
            out.extend_from_slice(b"quantile=\"");
            write_float(out, quantile);
            out.extend_from_slice(b"\",");
        }
        out.pop();
        out.push(b'}');
    }
    out.push(b' ');
    write_float(out, value);
    out.push(b'\n');
}

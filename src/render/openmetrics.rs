//! OpenMetrics text, written from the delimited messages of an exposition.
//!
//! Laid out as Go's library lays it out: counters lose their `_total` in HELP and TYPE, one whose name
//! has no such end is of unknown type, floats always have a point or an exponent. There are no UNIT lines
//! and no `_created` samples, which would be series of their own to Prometheus. Gauge histograms, which
//! Go refuses to write, have their own type and suffixes here.

use crate::format::escape;
use crate::format::float::write_float;
use crate::model::names::is_legacy_metric_name;
use crate::wire::{Fault, Reader};

/// The text of an exposition given as delimited messages of our own making.
pub fn of_delimited(delimited: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(delimited.len() * 2);
    let mut reader = Reader::new(delimited);
    while let Ok(message) = reader.delimited() {
        let written = write_family(&mut out, message);
        debug_assert_eq!(written, Ok(()));
    }
    out.extend_from_slice(b"# EOF\n");
    out
}

/// Numbers of the types, which are also told apart by how their samples look.
const COUNTER: u64 = 0;
const GAUGE: u64 = 1;
const SUMMARY: u64 = 2;
const HISTOGRAM: u64 = 4;
const GAUGE_HISTOGRAM: u64 = 5;

/// Name, help and type stand before the first metric in our messages.
fn write_family(out: &mut Vec<u8>, message: &[u8]) -> Result<(), Fault> {
    let (mut name, mut help, mut kind) = ("", None, COUNTER);
    let mut has_header = false;
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => name = value.text()?,
            2 => help = Some(value.text()?),
            3 => kind = value.varint()?,
            4 => {
                if !has_header {
                    write_header(out, name, help, kind);
                    has_header = true;
                }
                Metric::read(value.bytes()?)?.write(out, name, kind)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn write_header(out: &mut Vec<u8>, name: &str, help: Option<&str>, kind: u64) {
    let stem = name.strip_suffix("_total").filter(|_| kind == COUNTER);
    let text = match kind {
        COUNTER if stem.is_some() => "counter",
        GAUGE => "gauge",
        SUMMARY => "summary",
        HISTOGRAM => "histogram",
        GAUGE_HISTOGRAM => "gaugehistogram",
        _ => "unknown",
    };
    let name = stem.unwrap_or(name);
    if let Some(help) = help {
        out.extend_from_slice(b"# HELP ");
        write_name(out, name);
        out.push(b' ');
        escape::push_label_value(out, help);
        out.push(b'\n');
    }
    out.extend_from_slice(b"# TYPE ");
    write_name(out, name);
    out.push(b' ');
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    if is_legacy_metric_name(name) {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.push(b'"');
        escape::push_label_value(out, name);
        out.push(b'"');
    }
}

/// A series: its labels, each with its comma, and its value message.
struct Metric<'m> {
    labels: Vec<u8>,
    value: &'m [u8],
}

/// The value of a sample: whole counts have no point.
#[derive(Clone, Copy)]
enum Value {
    Int(u64),
    Float(f64),
}

impl<'m> Metric<'m> {
    fn read(message: &'m [u8]) -> Result<Metric<'m>, Fault> {
        let mut metric = Metric { labels: Vec::new(), value: &[] };
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.field()? {
            match number {
                1 => push_label(&mut metric.labels, value.bytes()?)?,
                2..=5 | 7 => metric.value = value.bytes()?,
                _ => {}
            }
        }
        Ok(metric)
    }

    fn write(&self, out: &mut Vec<u8>, name: &str, kind: u64) -> Result<(), Fault> {
        match kind {
            SUMMARY => self.write_summary(out, name),
            HISTOGRAM => self.write_histogram(out, name, "_sum", "_count"),
            GAUGE_HISTOGRAM => self.write_histogram(out, name, "_gsum", "_gcount"),
            _ => {
                let (mut value, mut exemplar) = (0.0, None);
                let mut reader = Reader::new(self.value);
                while let Some((number, field)) = reader.field()? {
                    match number {
                        1 => value = field.double()?,
                        2 if name.ends_with("_total") => exemplar = Some(field.bytes()?),
                        _ => {}
                    }
                }
                self.sample(out, name, "", None, Value::Float(value), exemplar)
            }
        }
    }

    fn write_summary(&self, out: &mut Vec<u8>, name: &str) -> Result<(), Fault> {
        let (mut count, mut sum) = (0, 0.0);
        let mut reader = Reader::new(self.value);
        while let Some((number, field)) = reader.field()? {
            match number {
                1 => count = field.varint()?,
                2 => sum = field.double()?,
                3 => {
                    let (mut rank, mut value) = (0.0, 0.0);
                    let mut quantile = Reader::new(field.bytes()?);
                    while let Some((number, field)) = quantile.field()? {
                        match number {
                            1 => rank = field.double()?,
                            2 => value = field.double()?,
                            _ => {}
                        }
                    }
                    self.sample(out, name, "", Some(("quantile", rank)), Value::Float(value), None)?;
                }
                _ => {}
            }
        }
        self.sample(out, name, "_sum", None, Value::Float(sum), None)?;
        self.sample(out, name, "_count", None, Value::Int(count), None)
    }

    fn write_histogram(
        &self,
        out: &mut Vec<u8>,
        name: &str,
        sum_suffix: &str,
        count_suffix: &str,
    ) -> Result<(), Fault> {
        let (mut sum, mut whole, mut float, mut has_infinity) = (0.0, 0, 0.0, false);
        let mut reader = Reader::new(self.value);
        while let Some((number, field)) = reader.field()? {
            match number {
                1 => whole = field.varint()?,
                2 => sum = field.double()?,
                3 => {
                    let (mut bound, mut whole, mut float, mut exemplar) = (0.0, 0, 0.0, None);
                    let mut bucket = Reader::new(field.bytes()?);
                    while let Some((number, field)) = bucket.field()? {
                        match number {
                            1 => whole = field.varint()?,
                            2 => bound = field.double()?,
                            3 => exemplar = Some(field.bytes()?),
                            4 => float = field.double()?,
                            _ => {}
                        }
                    }
                    has_infinity |= bound == f64::INFINITY;
                    self.sample(out, name, "_bucket", Some(("le", bound)), count(whole, float), exemplar)?;
                }
                4 => float = field.double()?,
                _ => {}
            }
        }
        let all = count(whole, float);
        if !has_infinity {
            self.sample(out, name, "_bucket", Some(("le", f64::INFINITY)), all, None)?;
        }
        self.sample(out, name, sum_suffix, None, Value::Float(sum), None)?;
        self.sample(out, name, count_suffix, None, all, None)
    }

    fn sample(
        &self,
        out: &mut Vec<u8>,
        name: &str,
        suffix: &str,
        bound: Option<(&str, f64)>,
        value: Value,
        exemplar: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let is_bare = is_legacy_metric_name(name);
        if is_bare {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
        }
        if !is_bare || bound.is_some() || !self.labels.is_empty() {
            out.push(b'{');
            if !is_bare {
                out.push(b'"');
                escape::push_label_value(out, name);
                out.extend_from_slice(suffix.as_bytes());
                out.extend_from_slice(b"\",");
            }
            out.extend_from_slice(&self.labels);
            if let Some((label, bound)) = bound {
                out.extend_from_slice(label.as_bytes());
                out.extend_from_slice(b"=\"");
                write_pointed(out, bound);
                out.extend_from_slice(b"\",");
            }
            // The last comma.
            out.pop();
            out.push(b'}');
        }
        out.push(b' ');
        match value {
            Value::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Value::Float(value) => write_pointed(out, value),
        }
        if let Some(exemplar) = exemplar {
            write_exemplar(out, exemplar)?;
        }
        out.push(b'\n');
        Ok(())
    }
}

/// A count that is given as a whole number, a float, or neither.
fn count(whole: u64, float: f64) -> Value {
    if float > 0.0 { Value::Float(float) } else { Value::Int(whole) }
}

/// Writes a `LabelPair` message with its comma.
fn push_label(out: &mut Vec<u8>, message: &[u8]) -> Result<(), Fault> {
    let (mut name, mut value) = ("", "");
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    escape::push_label(out, name, value);
    Ok(())
}

fn write_exemplar(out: &mut Vec<u8>, message: &[u8]) -> Result<(), Fault> {
    let (mut labels, mut value, mut time) = (Vec::new(), 0.0, None);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => push_label(&mut labels, field.bytes()?)?,
            2 => value = field.double()?,
            3 => time = Some(field.bytes()?),
            _ => {}
        }
    }
    labels.pop();
    out.extend_from_slice(b" # {");
    out.extend_from_slice(&labels);
    out.extend_from_slice(b"} ");
    write_pointed(out, value);
    if let Some(time) = time {
        let (mut seconds, mut nanos) = (0, 0);
        let mut reader = Reader::new(time);
        while let Some((number, field)) = reader.field()? {
            match number {
                1 => seconds = field.varint()? as i64,
                2 => nanos = field.varint()? as i32,
                _ => {}
            }
        }
        out.push(b' ');
        write_pointed(out, seconds as f64 + f64::from(nanos) / 1e9);
    }
    Ok(())
}

/// Writes a float so that none looks like a whole number.
fn write_pointed(out: &mut Vec<u8>, value: f64) {
    let start = out.len();
    write_float(out, value);
    if value.is_finite() && !out[start..].iter().any(|byte| matches!(byte, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

#[cfg(test)]
mod tests;

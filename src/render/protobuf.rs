//! The delimited protobuf format: heads of families, series as `metric` fields.
//!
//! A family's message is a head and any number of `metric` fields, so that its series are written and
//! kept in pieces. A series whose value message was kept at its push gives it back byte for byte.

use std::borrow::Cow;

use crate::format::escape::{Escaping, escape_name};
use crate::model::MetricType;
use crate::store::group::{Block, Group};
use crate::store::shape::{FamilyShape, Shape, run_labels};
use crate::wire::{
    field_len, push_bytes_field, push_double_field, push_field_start, push_varint, push_varint_field,
    varint_len,
};

/// What stands before the `metric` fields of a family's message, which take `metrics_len` bytes: the
/// length of it all, name, help and type.
pub fn head(
    name: &str,
    help: Option<&str>,
    kind: MetricType,
    escaping: Escaping,
    metrics_len: usize,
) -> Vec<u8> {
    let mut fields = Vec::with_capacity(16 + name.len() + help.map_or(0, str::len));
    push_bytes_field(&mut fields, 1, escape_name(name, escaping).as_bytes());
    if let Some(help) = help {
        push_bytes_field(&mut fields, 2, help.as_bytes());
    }
    push_varint_field(&mut fields, 3, kind as u64);
    let mut head = Vec::with_capacity(fields.len() + 10);
    push_varint(&mut head, (fields.len() + metrics_len) as u64);
    head.append(&mut fields);
    head
}

/// Collects `metric` fields. A series is its labels, then one call that gives its value.
#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
    /// The metric being written, whose length must stand before it.
    metric: Vec<u8>,
    value: Vec<u8>,
}

impl Writer {
    /// Writes behind what `out` holds.
    pub fn new(out: Vec<u8>) -> Writer {
        Writer { out, ..Writer::default() }
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    pub fn label(&mut self, name: &str, value: &str) {
        push_field_start(&mut self.metric, 1, field_len(name.len()) + field_len(value.len()));
        push_bytes_field(&mut self.metric, 1, name.as_bytes());
        push_bytes_field(&mut self.metric, 2, value.as_bytes());
    }

    /// Ends a series of this type with the value message given.
    pub fn message(&mut self, kind: MetricType, message: &[u8]) {
        push_bytes_field(&mut self.metric, kind.value_field(), message);
        push_bytes_field(&mut self.out, 4, &self.metric);
        self.metric.clear();
    }

    /// Ends a counter, gauge or untyped series.
    pub fn plain(&mut self, kind: MetricType, value: f64) {
        self.value(kind, |out| push_double_field(out, 1, value));
    }

    /// Ends a summary with its quantiles, each a rank and a value.
    pub fn summary(&mut self, quantiles: impl Iterator<Item = (f64, f64)>, sum: f64, count: u64) {
        self.value(MetricType::Summary, |out| {
            push_varint_field(out, 1, count);
            push_double_field(out, 2, sum);
            for (rank, value) in quantiles {
                push_field_start(out, 3, 2 * DOUBLE_FIELD);
                push_double_field(out, 1, rank);
                push_double_field(out, 2, value);
            }
        });
    }

    /// Ends a histogram with its buckets, each an upper bound and a count that includes those below.
    pub fn histogram(&mut self, buckets: impl Iterator<Item = (f64, u64)>, sum: f64, count: u64) {
        self.value(MetricType::Histogram, |out| {
            push_varint_field(out, 1, count);
            push_double_field(out, 2, sum);
            for (bound, count) in buckets {
                push_field_start(out, 3, 1 + varint_len(count) + DOUBLE_FIELD);
                push_varint_field(out, 1, count);
                push_double_field(out, 2, bound);
            }
        });
    }

    fn value(&mut self, kind: MetricType, write: impl FnOnce(&mut Vec<u8>)) {
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        write(&mut value);
        self.message(kind, &value);
        self.value = value;
    }
}

/// Bytes of a double with its tag.
const DOUBLE_FIELD: usize = 9;

/// Writes one family of one group. `shown` says for a position in the shape whether the series there is
/// shown.
pub fn write_fragment(
    writer: &mut Writer,
    group: &Group,
    block: &Block,
    family: &FamilyShape,
    escaping: Escaping,
    shown: impl Fn(usize) -> bool,
) {
    let shape: &Shape = &block.shape;
    for (position, series, _) in shape.exposed(family) {
        if !shown(position) {
            continue;
        }
        write_labels(writer, shape.run(series), group, family.exotic.then_some(escaping));
        match block.details.get(series.first_value) {
            Some(message) => writer.message(family.kind, message),
            None => {
                let values = &block.values[series.first_value as usize..];
                write_value(writer, family.kind, shape.bounds(series), values, series.float_counts);
            }
        }
    }
}

/// Writes the series of one of the two push time families.
pub fn write_time(writer: &mut Writer, group: &Group, seconds: f64, escaping: Escaping) {
    let run = if group.key.get("instance").is_some() { "" } else { "instance=\"\"," };
    write_labels(writer, run, group, Some(escaping));
    writer.plain(MetricType::Gauge, seconds);
}

/// Writes the labels of a run and of the group, sorted by their unescaped names. `escaping` is set if
/// names may need it.
fn write_labels(writer: &mut Writer, run: &str, group: &Group, escaping: Option<Escaping>) {
    let mut write = |name: &str, value: &str| match escaping {
        Some(escaping) => writer.label(&escape_name(name, escaping), value),
        None => writer.label(name, value),
    };
    let mut grouping = group.key.labels().peekable();
    for (name, value) in run_labels(run) {
        let name: Cow<'_, str> = name;
        while let Some((name, value)) = grouping.next_if(|label| *label.0 < *name) {
            write(name, value);
        }
        write(&name, &value);
    }
    grouping.for_each(|(name, value)| write(name, value));
}

fn write_value(writer: &mut Writer, kind: MetricType, bounds: &[f64], values: &[u64], float_counts: bool) {
    let sum = || f64::from_bits(values[bounds.len()]);
    match kind {
        MetricType::Counter | MetricType::Gauge | MetricType::Untyped => {
            writer.plain(kind, f64::from_bits(values[0]));
        }
        MetricType::Summary => {
            let quantiles = bounds.iter().zip(values).map(|(rank, bits)| (*rank, f64::from_bits(*bits)));
            writer.summary(quantiles, sum(), values[bounds.len() + 1]);
        }
        MetricType::Histogram | MetricType::GaugeHistogram => writer.value(kind, |out| {
            let count = values[bounds.len() + 1];
            if !float_counts {
                push_varint_field(out, 1, count);
            }
            push_double_field(out, 2, sum());
            for (bound, count) in bounds.iter().zip(values) {
                if float_counts {
                    push_field_start(out, 3, 2 * DOUBLE_FIELD);
                } else {
                    push_field_start(out, 3, 1 + varint_len(*count) + DOUBLE_FIELD);
                    push_varint_field(out, 1, *count);
                }
                push_double_field(out, 2, *bound);
                if float_counts {
                    push_double_field(out, 4, f64::from_bits(*count));
                }
            }
            if float_counts {
                push_double_field(out, 4, f64::from_bits(count));
            }
        }),
    }
}

#[cfg(test)]
mod tests;

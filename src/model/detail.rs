//! Changing what a protobuf value message says without losing the rest of it: exemplars, created times and
//! what only later versions of the messages know.

use super::MetricType;
use crate::wire::{Fault, Reader, Value, push_bytes_field, push_double_field, push_varint_field};

/// Which numbers of a message are values: fields of float64, and the messages within.
struct Change {
    doubles: &'static [u32],
    within: &'static [(u32, Change)],
}

const EXEMPLAR: Change = Change { doubles: &[2], within: &[] };
const COUNTER: Change = Change { doubles: &[1], within: &[(2, EXEMPLAR)] };
const PLAIN: Change = Change { doubles: &[1], within: &[] };
const QUANTILE: Change = Change { doubles: &[2], within: &[] };
const SUMMARY: Change = Change { doubles: &[2], within: &[(3, QUANTILE)] };
const BUCKET: Change = Change { doubles: &[2], within: &[(3, EXEMPLAR)] };
const HISTOGRAM: Change = Change { doubles: &[2], within: &[(3, BUCKET)] };

/// Fields of a histogram that only native ones have: schema, zero bucket, spans, and exemplars outside
/// buckets.
const NATIVE: std::ops::RangeInclusive<u32> = 5..=14;

/// The message of a series of type `kind` with its value, sum, bucket bounds, quantile values and exemplar
/// values times `factor`; counts stay. `None` for what is no such message. Native histograms are not for
/// it: their bounds are powers.
pub fn scaled(kind: MetricType, message: &[u8], factor: f64) -> Option<Vec<u8>> {
    let change = match kind {
        MetricType::Counter => &COUNTER,
        MetricType::Gauge | MetricType::Untyped => &PLAIN,
        MetricType::Summary => &SUMMARY,
        MetricType::Histogram | MetricType::GaugeHistogram => &HISTOGRAM,
    };
    rewritten(message, change, factor).ok()
}

/// The message of a counter, gauge or untyped series with this value. `None` for what is no such message.
pub fn with_value(message: &[u8], value: f64) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len());
    push_double_field(&mut out, 1, value);
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field().ok()? {
        if field != 1 {
            copy(&mut out, field, value);
        }
    }
    Some(out)
}

/// Whether a histogram's message has any part of a native one.
pub fn is_native(message: &[u8]) -> bool {
    let mut reader = Reader::new(message);
    while let Ok(Some((field, _))) = reader.field() {
        if NATIVE.contains(&field) {
            return true;
        }
    }
    false
}

/// Wire types that none of the messages has are left out.
fn copy(out: &mut Vec<u8>, field: u32, value: Value<'_>) {
    match value {
        Value::Fixed64(bits) => push_double_field(out, field, f64::from_bits(bits)),
        Value::Varint(number) => push_varint_field(out, field, number),
        Value::Bytes(bytes) => push_bytes_field(out, field, bytes),
        Value::Fixed32(_) | Value::Group => {}
    }
}

/// Calls itself for messages within, no deeper than the changes above nest.
fn rewritten(message: &[u8], change: &Change, factor: f64) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(message.len());
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        let within = change.within.iter().find(|within| within.0 == field);
        match (value, within) {
            (Value::Fixed64(bits), _) if change.doubles.contains(&field) => {
                push_double_field(&mut out, field, f64::from_bits(bits) * factor);
            }
            (Value::Bytes(bytes), Some((_, within))) => {
                push_bytes_field(&mut out, field, &rewritten(bytes, within, factor)?);
            }
            _ => copy(&mut out, field, value),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[(u32, &[u8])], doubles: &[(u32, f64)]) -> Vec<u8> {
        let mut out = Vec::new();
        doubles.iter().for_each(|(field, value)| push_double_field(&mut out, *field, *value));
        fields.iter().for_each(|(field, bytes)| push_bytes_field(&mut out, *field, bytes));
        out
    }

    fn histogram(factor: f64) -> Vec<u8> {
        let exemplar = message(&[(1, b"\x0a\x01a"), (3, b"\x08\x05")], &[(2, 0.25 * factor)]);
        let mut bucket = Vec::new();
        push_varint_field(&mut bucket, 1, 7);
        bucket.extend(message(&[(3, &exemplar)], &[(2, 0.5 * factor)]));
        let mut out = Vec::new();
        push_varint_field(&mut out, 1, 7);
        out.extend(message(&[(3, &bucket), (15, b"\x08\x09"), (99, b"later")], &[(2, 3.0 * factor)]));
        out
    }

    #[test]
    fn bounds_sums_and_exemplars_are_scaled_and_the_rest_stays() {
        assert_eq!(scaled(MetricType::Histogram, &histogram(1.0), 4.0), Some(histogram(4.0)));
        let counter = |factor: f64| {
            let exemplar = message(&[(1, b"\x0a\x01a")], &[(2, 1.5 * factor)]);
            message(&[(2, &exemplar), (3, b"\x08\x05")], &[(1, 2.0 * factor)])
        };
        assert_eq!(scaled(MetricType::Counter, &counter(1.0), 0.5), Some(counter(0.5)));
        let summary = |factor: f64| {
            let quantile = message(&[], &[(1, 0.5), (2, 8.0 * factor)]);
            message(&[(3, &quantile), (4, b"\x08\x05")], &[(2, 3.0 * factor)])
        };
        assert_eq!(scaled(MetricType::Summary, &summary(1.0), 2.0), Some(summary(2.0)));
    }

    #[test]
    fn native_histograms_are_told_apart_and_broken_messages_not_scaled() {
        let mut native = histogram(1.0);
        push_varint_field(&mut native, 5, 6);
        assert!(is_native(&native) && !is_native(&histogram(1.0)));
        assert_eq!(scaled(MetricType::Counter, b"\x09\0", 2.0), None);
    }

    #[test]
    fn a_value_is_set_beside_an_exemplar() {
        let exemplar = message(&[(1, b"\x0a\x01a")], &[(2, 1.5)]);
        let with = |value: f64| message(&[(2, &exemplar), (3, b"\x08\x05")], &[(1, value)]);
        assert_eq!(with_value(&with(2.0), 9.0), Some(with(9.0)));
        assert_eq!(with_value(b"", 9.0), Some(message(&[], &[(1, 9.0)])));
    }
}

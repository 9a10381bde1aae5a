//! What the value messages of two series come to that are added: exemplars, created times and native
//! histograms, which plain numbers cannot say.
//!
//! # Rules
//!
//! A created time keeps the earlier one. Of exemplars the pushed ones stay, for each bucket by itself, and
//! the stored ones where the push has none. Native histograms are added as [`histogram`](super::histogram)
//! says; a histogram that is native and one that is not cannot be, unless one of them is empty. Fields that
//! nobody knows are dropped.

use std::collections::BTreeMap;

use super::MetricType;
use super::histogram::{Misfit, NativeHistogram};
use crate::wire::{Reader, Value, push_bytes_field, push_double_field, push_varint_field};

/// The numbers of a series as they are after the merge, in the order in which the store has them.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'n> {
    pub kind: MetricType,
    /// Of its quantiles or buckets.
    pub bounds: &'n [f64],
    /// Its parts, then its sum or plain value, then its count if it has one.
    pub values: &'n [u64],
    pub float_counts: bool,
}

/// One of the two that are added.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'m> {
    /// Its value message, where it has more than numbers.
    pub message: Option<&'m [u8]>,
    /// Whether it has no observations.
    pub is_empty: bool,
}

/// Why two series do not come to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeFault {
    #[error("a count would pass 2^64")]
    Overflow,
    #[error("its native buckets would be too far apart")]
    OutOfRange,
    #[error("one of the two is a native histogram and the other is not")]
    OneIsNative,
    #[error("its quantiles cannot be added; a rule `last` keeps those that were pushed last")]
    Quantiles,
    #[error("it is stored as a {stored} and pushed as a {pushed}")]
    OtherType { stored: &'static str, pushed: &'static str },
    #[error("the rule {rule} is for gauges and untyped families, and it is a {kind}")]
    Rule { rule: &'static str, kind: &'static str },
}

impl From<Misfit> for MergeFault {
    fn from(misfit: Misfit) -> MergeFault {
        match misfit {
            Misfit::Overflow => MergeFault::Overflow,
            Misfit::OutOfRange => MergeFault::OutOfRange,
        }
    }
}

/// Exemplars of buckets by the bits of their bounds.
type Exemplars<'m> = BTreeMap<u64, &'m [u8]>;

/// What a message has beyond numbers.
#[derive(Default)]
struct Extra<'m> {
    created: Option<&'m [u8]>,
    /// Of a counter.
    exemplar: Option<&'m [u8]>,
    of_buckets: Exemplars<'m>,
    /// Of a native histogram.
    exemplars: Vec<&'m [u8]>,
}

/// The value message of the series that `stored` and `pushed` come to; `None` if its `numbers` say it all.
///
/// # Errors
///
/// The two cannot be added.
pub fn message(
    numbers: Numbers<'_>,
    stored: Operand<'_>,
    pushed: Operand<'_>,
) -> Result<Option<Vec<u8>>, MergeFault> {
    let extra = both(extra_of(numbers.kind, stored), extra_of(numbers.kind, pushed));
    let mut native = Vec::new();
    if numbers.kind.has_buckets() {
        push_native(&mut native, stored, pushed)?;
    }
    let Extra { created, exemplar, of_buckets, exemplars } = extra;
    let has_more = created.is_some() || exemplar.is_some() || !of_buckets.is_empty() || !exemplars.is_empty();
    if !has_more && native.is_empty() {
        return Ok(None);
    }
    let mut out = Vec::new();
    let sum = f64::from_bits(numbers.values[numbers.bounds.len()]);
    let count = |out: &mut Vec<u8>, whole: u32, float: u32, bits: u64| match numbers.float_counts {
        true => push_double_field(out, float, f64::from_bits(bits)),
        false => push_varint_field(out, whole, bits),
    };
    let created_field = match numbers.kind {
        MetricType::Counter => {
            push_double_field(&mut out, 1, sum);
            exemplar.iter().for_each(|exemplar| push_bytes_field(&mut out, 2, exemplar));
            3
        }
        MetricType::Summary => {
            push_varint_field(&mut out, 1, numbers.values[numbers.bounds.len() + 1]);
            push_double_field(&mut out, 2, sum);
            4
        }
        MetricType::Histogram | MetricType::GaugeHistogram => {
            count(&mut out, 1, 4, numbers.values[numbers.bounds.len() + 1]);
            push_double_field(&mut out, 2, sum);
            for (bound, value) in numbers.bounds.iter().zip(numbers.values) {
                let mut bucket = Vec::with_capacity(24);
                count(&mut bucket, 1, 4, *value);
                push_double_field(&mut bucket, 2, *bound);
                let exemplar = of_buckets.get(&bound.to_bits());
                exemplar.iter().for_each(|exemplar| push_bytes_field(&mut bucket, 3, exemplar));
                push_bytes_field(&mut out, 3, &bucket);
            }
            out.append(&mut native);
            15
        }
        MetricType::Gauge | MetricType::Untyped => return Ok(None),
    };
    created.iter().for_each(|created| push_bytes_field(&mut out, created_field, created));
    exemplars.iter().for_each(|exemplar| push_bytes_field(&mut out, 16, exemplar));
    Ok(Some(out))
}

fn push_native(out: &mut Vec<u8>, stored: Operand<'_>, pushed: Operand<'_>) -> Result<(), MergeFault> {
    let (one, two) = match (native_of(stored), native_of(pushed)) {
        (None, None) => return Ok(()),
        (Some(_), None) if !pushed.is_empty => return Err(MergeFault::OneIsNative),
        (None, Some(_)) if !stored.is_empty => return Err(MergeFault::OneIsNative),
        (Some(one), None) => {
            push_native_fields(out, one);
            return Ok(());
        }
        (None, Some(two)) => {
            push_native_fields(out, two);
            return Ok(());
        }
        (Some(one), Some(two)) => (one, two),
    };
    let read = |message| NativeHistogram::read(message).map_err(|_| MergeFault::OutOfRange);
    Ok(read(one)?.push_sum(&read(two)?, out)?)
}

/// The message of a native histogram.
fn native_of(operand: Operand<'_>) -> Option<&[u8]> {
    // It was read when it was pushed.
    operand.message.filter(|message| NativeHistogram::read(message).is_ok_and(|read| read.is_native()))
}

/// Copies the native fields of a message, but for count and sum.
fn push_native_fields(out: &mut Vec<u8>, message: &[u8]) {
    let mut reader = Reader::new(message);
    while let Ok(Some((number, value))) = reader.field() {
        match (number, value) {
            (5..=14, Value::Varint(value)) => push_varint_field(out, number, value),
            (5..=14, Value::Fixed64(bits)) => push_double_field(out, number, f64::from_bits(bits)),
            (5..=14, Value::Bytes(bytes)) => push_bytes_field(out, number, bytes),
            _ => {}
        }
    }
}

fn extra_of(kind: MetricType, operand: Operand<'_>) -> Extra<'_> {
    let mut extra = Extra::default();
    let mut reader = Reader::new(operand.message.unwrap_or_default());
    while let Ok(Some((number, value))) = reader.field() {
        let Value::Bytes(bytes) = value else { continue };
        match (kind, number) {
            (MetricType::Counter, 2) => extra.exemplar = Some(bytes),
            (MetricType::Counter, 3) | (MetricType::Summary, 4) => extra.created = Some(bytes),
            (kind, 3) if kind.has_buckets() => {
                if let Some((bound, exemplar)) = exemplar_of_bucket(bytes) {
                    extra.of_buckets.insert(bound.to_bits(), exemplar);
                }
            }
            (kind, 15) if kind.has_buckets() => extra.created = Some(bytes),
            (kind, 16) if kind.has_buckets() => extra.exemplars.push(bytes),
            _ => {}
        }
    }
    extra
}

fn exemplar_of_bucket(message: &[u8]) -> Option<(f64, &[u8])> {
    let (mut bound, mut exemplar) = (0.0, None);
    let mut reader = Reader::new(message);
    while let Ok(Some((number, value))) = reader.field() {
        match (number, value) {
            (2, Value::Fixed64(bits)) => bound = f64::from_bits(bits),
            (3, Value::Bytes(bytes)) => exemplar = Some(bytes),
            _ => {}
        }
    }
    Some((bound, exemplar?))
}

fn both<'m>(stored: Extra<'m>, pushed: Extra<'m>) -> Extra<'m> {
    let created = match (stored.created, pushed.created) {
        (Some(stored), Some(pushed)) if time_of(pushed) < time_of(stored) => Some(pushed),
        (stored, pushed) => stored.or(pushed),
    };
    let mut of_buckets = stored.of_buckets;
    of_buckets.extend(pushed.of_buckets);
    let exemplars = if pushed.exemplars.is_empty() { stored.exemplars } else { pushed.exemplars };
    Extra { created, exemplar: pushed.exemplar.or(stored.exemplar), of_buckets, exemplars }
}

/// Seconds and nanoseconds of a `Timestamp`.
fn time_of(message: &[u8]) -> (i64, i64) {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(message);
    while let Ok(Some((number, value))) = reader.field() {
        match (number, value) {
            (1, Value::Varint(value)) => seconds = value as i64,
            (2, Value::Varint(value)) => nanos = value as i64,
            _ => {}
        }
    }
    (seconds, nanos)
}

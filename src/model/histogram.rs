//! Native histograms: the buckets that a protobuf `Histogram` message spells as spans and counts.
//!
//! Spans and counts are read from the message where it lies, never unpacked beside it, so that a hostile
//! message costs no more than its own bytes. An offset of a billion buckets is one number.

mod bounds;
mod merge;

pub use merge::Misfit;

use super::Number;
use crate::format::float::write_float_json;
use crate::wire::{Fault, Reader, Value, unzigzag};

/// The schemas that Prometheus stores: 2^schema buckets to each power of two.
const SCHEMA_MIN: i32 = -4;
const SCHEMA_MAX: i32 = 8;

/// Fields of the `Histogram` message.
mod field {
    pub const SAMPLE_COUNT: u32 = 1;
    pub const SAMPLE_SUM: u32 = 2;
    pub const SAMPLE_COUNT_FLOAT: u32 = 4;
    pub const SCHEMA: u32 = 5;
    pub const ZERO_THRESHOLD: u32 = 6;
    pub const ZERO_COUNT: u32 = 7;
    pub const ZERO_COUNT_FLOAT: u32 = 8;
}

/// The fields in which the buckets of one sign lie.
#[derive(Clone, Copy, Debug)]
struct Side {
    spans: u32,
    deltas: u32,
    counts: u32,
}

const NEGATIVE: Side = Side { spans: 9, deltas: 10, counts: 11 };
const POSITIVE: Side = Side { spans: 12, deltas: 13, counts: 14 };

/// The native part of a histogram, borrowed from its message.
#[derive(Clone, Debug)]
pub struct NativeHistogram<'m> {
    message: &'m [u8],
    count: u64,
    count_float: f64,
    sum: f64,
    schema: i32,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    has_spans: bool,
}

/// Why a scraper would refuse a native histogram, and with it everything else of the scrape.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NativeFault {
    #[error("has native buckets of schema {0}, which must lie between {SCHEMA_MIN} and {SCHEMA_MAX}")]
    Schema(i32),
    #[error("has spans for {spanned} native buckets, but {given} are given")]
    Spans { spanned: u64, given: u64 },
    #[error("has a span of native buckets with a negative offset")]
    NegativeOffset,
    #[error("has native buckets out of the range of bucket numbers")]
    OutOfRange,
    #[error("has a native bucket with a negative count")]
    NegativeCount,
    #[error("has counts too large for their sum")]
    Overflow,
    #[error("has a count of {count}, but its native buckets hold {buckets} observations")]
    Count { count: u64, buckets: u64 },
}

/// A run of neighbouring buckets.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    /// Empty buckets since the end of the span before; for the first span the number of its first
    /// bucket.
    offset: i32,
    length: u32,
}

/// One bucket that holds observations. Its bounds are part of it on the sides that say so.
#[derive(Clone, Copy, Debug)]
pub struct NativeBucket {
    pub lower: f64,
    pub upper: f64,
    pub lower_inclusive: bool,
    pub upper_inclusive: bool,
    pub count: Number,
}

impl NativeBucket {
    /// How the JSON API numbers the kinds of bounds: 0 `(]`, 1 `[)`, 2 `()`, 3 `[]`.
    pub fn kind(&self) -> u8 {
        match (self.lower_inclusive, self.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }
}

impl<'m> NativeHistogram<'m> {
    /// Reads the native part of a `Histogram` message, which may have none.
    pub fn read(message: &'m [u8]) -> Result<NativeHistogram<'m>, Fault> {
        let mut histogram = NativeHistogram {
            message,
            count: 0,
            count_float: 0.0,
            sum: 0.0,
            schema: 0,
            zero_threshold: 0.0,
            zero_count: 0,
            zero_count_float: 0.0,
            has_spans: false,
        };
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.field()? {
            match number {
                field::SAMPLE_COUNT => histogram.count = value.varint()?,
                field::SAMPLE_SUM => histogram.sum = value.double()?,
                field::SAMPLE_COUNT_FLOAT => histogram.count_float = value.double()?,
                field::SCHEMA => histogram.schema = zigzag32(value.varint()?),
                field::ZERO_THRESHOLD => histogram.zero_threshold = value.double()?,
                field::ZERO_COUNT => histogram.zero_count = value.varint()?,
                field::ZERO_COUNT_FLOAT => histogram.zero_count_float = value.double()?,
                _ if number == NEGATIVE.spans || number == POSITIVE.spans => histogram.has_spans = true,
                _ => {}
            }
        }
        Ok(histogram)
    }

    /// Whether it has spans, by which the reference's API and page tell a native histogram.
    pub fn has_spans(&self) -> bool {
        self.has_spans
    }

    /// Whether a scraper takes it for a native histogram.
    pub fn is_native(&self) -> bool {
        self.has_spans || self.zero_threshold > 0.0 || self.zero_count > 0 || self.zero_count_float > 0.0
    }

    /// Whether its counts are floats; by the rule of all readers, which prefer a float above zero.
    fn is_float(&self) -> bool {
        self.count_float > 0.0 || self.zero_count_float > 0.0
    }

    /// All observations.
    pub fn count(&self) -> Number {
        if self.is_float() { Number::Float(self.count_float) } else { Number::Int(self.count) }
    }

    pub fn sum(&self) -> f64 {
        self.sum
    }

    fn zero_count(&self) -> Number {
        if self.is_float() { Number::Float(self.zero_count_float) } else { Number::Int(self.zero_count) }
    }

    /// Holds it against the rules by which Prometheus takes native histograms.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks. A whole count must be the sum of its buckets, or more if the sum
    /// of observations is NaN.
    pub fn check(&self) -> Result<(), NativeFault> {
        if !(SCHEMA_MIN..=SCHEMA_MAX).contains(&self.schema) {
            return Err(NativeFault::Schema(self.schema));
        }
        if self.count_float < 0.0 || self.zero_count_float < 0.0 {
            return Err(NativeFault::NegativeCount);
        }
        let mut buckets = self.zero_count;
        for side in [NEGATIVE, POSITIVE] {
            let given = if self.is_float() {
                self.check_counts(side)?
            } else {
                let (given, held) = self.check_deltas(side)?;
                buckets = buckets.checked_add(held).ok_or(NativeFault::Overflow)?;
                given
            };
            let spanned = self.check_spans(side)?;
            if spanned != given {
                return Err(NativeFault::Spans { spanned, given });
            }
        }
        let fewer_are_fine = self.sum.is_nan() && buckets < self.count;
        if !self.is_float() && buckets != self.count && !fewer_are_fine {
            return Err(NativeFault::Count { count: self.count, buckets });
        }
        Ok(())
    }

    /// How many buckets the spans of a side cover.
    fn check_spans(&self, side: Side) -> Result<u64, NativeFault> {
        let mut spanned = 0;
        let mut end = 0i64;
        for (position, span) in self.spans(side).enumerate() {
            if position > 0 && span.offset < 0 {
                return Err(NativeFault::NegativeOffset);
            }
            spanned += u64::from(span.length);
            end += i64::from(span.offset) + i64::from(span.length);
            if i32::try_from(end).is_err() {
                return Err(NativeFault::OutOfRange);
            }
        }
        Ok(spanned)
    }

    /// How many whole counts a side has, and their sum.
    fn check_deltas(&self, side: Side) -> Result<(u64, u64), NativeFault> {
        let (mut given, mut count, mut sum) = (0, 0i64, 0u64);
        for delta in self.deltas(side) {
            given += 1;
            count = count.checked_add(delta).ok_or(NativeFault::Overflow)?;
            let held = u64::try_from(count).map_err(|_| NativeFault::NegativeCount)?;
            sum = sum.checked_add(held).ok_or(NativeFault::Overflow)?;
        }
        Ok((given, sum))
    }

    /// How many float counts a side has.
    fn check_counts(&self, side: Side) -> Result<u64, NativeFault> {
        let mut given = 0;
        for count in self.counts(side) {
            given += 1;
            if count < 0.0 {
                return Err(NativeFault::NegativeCount);
            }
        }
        Ok(given)
    }

    /// The buckets that are not empty: negative ones from the lowest up, the zero bucket, positive ones.
    pub fn buckets(&self) -> Vec<NativeBucket> {
        let mut buckets = self.side(NEGATIVE, -1.0);
        buckets.reverse();
        let zero = self.zero_count();
        if zero.as_f64() != 0.0 {
            buckets.push(NativeBucket {
                lower: -self.zero_threshold,
                upper: self.zero_threshold,
                lower_inclusive: true,
                upper_inclusive: true,
                count: zero,
            });
        }
        buckets.append(&mut self.side(POSITIVE, 1.0));
        buckets
    }

    /// The filled buckets of one side, those next to zero first.
    fn side(&self, side: Side, sign: f64) -> Vec<NativeBucket> {
        if self.is_float() {
            self.numbered(side, self.counts(side).map(Number::Float), sign)
        } else {
            let mut count = 0i64;
            let counts = self.deltas(side).map(move |delta| {
                count = count.wrapping_add(delta);
                Number::Int(count as u64)
            });
            self.numbered(side, counts, sign)
        }
    }

    fn numbered(&self, side: Side, mut counts: impl Iterator<Item = Number>, sign: f64) -> Vec<NativeBucket> {
        let mut buckets = Vec::new();
        let mut number = 0i64;
        for span in self.spans(side) {
            number += i64::from(span.offset);
            for count in counts.by_ref().take(span.length as usize) {
                let far = sign * bounds::upper(number, self.schema);
                let near = sign * bounds::upper(number - 1, self.schema);
                let (lower, upper) = if sign < 0.0 { (far, near) } else { (near, far) };
                number += 1;
                if count.as_f64() != 0.0 {
                    buckets.push(NativeBucket {
                        lower,
                        upper,
                        lower_inclusive: lower < 0.0,
                        upper_inclusive: upper > 0.0,
                        count,
                    });
                }
            }
        }
        buckets
    }

    /// As the reference's page shows it: `{count:20, sum:99.23, [-0.001,0.001]:3}`.
    pub fn text(&self) -> String {
        let mut out = b"{count:".to_vec();
        push_number(&mut out, self.count());
        out.extend_from_slice(b", sum:");
        write_float_json(&mut out, self.sum);
        for bucket in self.buckets() {
            out.extend_from_slice(b", ");
            out.push(if bucket.lower_inclusive { b'[' } else { b'(' });
            write_float_json(&mut out, bucket.lower);
            out.push(b',');
            write_float_json(&mut out, bucket.upper);
            out.push(if bucket.upper_inclusive { b']' } else { b')' });
            out.push(b':');
            push_number(&mut out, bucket.count);
        }
        out.push(b'}');
        String::from_utf8_lossy(&out).into_owned()
    }

    fn spans(&self, side: Side) -> impl Iterator<Item = Span> + 'm {
        let mut reader = Reader::new(self.message);
        std::iter::from_fn(move || {
            loop {
                match reader.field().ok()?? {
                    (number, Value::Bytes(bytes)) if number == side.spans => return Some(span(bytes)),
                    _ => {}
                }
            }
        })
    }

    fn deltas(&self, side: Side) -> impl Iterator<Item = i64> + 'm {
        repeated(self.message, side.deltas, Reader::varint, |value| value.varint().ok()).map(unzigzag)
    }

    fn counts(&self, side: Side) -> impl Iterator<Item = f64> + 'm {
        repeated(self.message, side.counts, Reader::double, |value| value.double().ok())
    }
}

fn push_number(out: &mut Vec<u8>, number: Number) {
    match number {
        Number::Int(count) => out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes()),
        Number::Float(count) => write_float_json(out, count),
    }
}

/// A `sint32`; more than 32 bits are cut, as every decoder does.
fn zigzag32(number: u64) -> i32 {
    unzigzag(number & u64::from(u32::MAX)) as i32
}

/// A `BucketSpan`; bytes that are none give what of them could be read.
fn span(bytes: &[u8]) -> Span {
    let mut span = Span::default();
    let mut reader = Reader::new(bytes);
    while let Ok(Some((number, Value::Varint(value)))) = reader.field() {
        match number {
            1 => span.offset = zigzag32(value),
            2 => span.length = value as u32,
            _ => {}
        }
    }
    span
}

/// The numbers of a repeated field, packed or not, in the order of the message. Ends where the message
/// is broken.
fn repeated<'m, T>(
    message: &'m [u8],
    field: u32,
    packed: fn(&mut Reader<'m>) -> Result<T, Fault>,
    single: fn(Value<'m>) -> Option<T>,
) -> impl Iterator<Item = T> {
    let mut reader = Reader::new(message);
    let mut run = Reader::new(&[]);
    std::iter::from_fn(move || {
        while run.is_empty() {
            match reader.field().ok()?? {
                (number, Value::Bytes(bytes)) if number == field => run = Reader::new(bytes),
                (number, value) if number == field => return single(value),
                _ => {}
            }
        }
        packed(&mut run).ok()
    })
}

#[cfg(test)]
mod tests;

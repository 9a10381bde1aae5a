//! Two native histograms as one.
//!
//! # Rules
//!
//! Both are brought to the coarser of their schemas, where each bucket lies whole within one of the coarser
//! ones; then equal buckets are added. Of two zero buckets the wider one counts: the other histogram's
//! buckets within it go into it, and where its edge falls inside a filled one of them, it grows to the end of
//! that. Counts are whole only if they are in both. Nothing is interpolated.

use super::{NEGATIVE, NativeHistogram, Number, POSITIVE, Side, Span, bounds, field};
use crate::wire::{push_bytes_field, push_double_field, push_varint, push_varint_field, zigzag};

/// Why two histograms do not come to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// A count would be too large.
    Overflow,
    /// Buckets would be too far apart.
    OutOfRange,
}

/// A bucket's number and what it holds; sorted by number, none of them empty.
type Buckets = Vec<(i64, Number)>;

/// A histogram with its buckets spelled out.
struct Unpacked {
    schema: i32,
    zero_threshold: f64,
    zero: Number,
    negative: Buckets,
    positive: Buckets,
}

impl NativeHistogram<'_> {
    /// Appends the native fields of the histogram that this one and `other` come to, but for count and sum.
    ///
    /// # Errors
    ///
    /// There is no such histogram.
    pub fn push_sum(&self, other: &NativeHistogram<'_>, out: &mut Vec<u8>) -> Result<(), Misfit> {
        let float = self.is_float() || other.is_float();
        let (mut one, mut two) = (self.unpack(float), other.unpack(float));
        let schema = one.schema.min(two.schema);
        one.coarsen(schema)?;
        two.coarsen(schema)?;
        // Between equal ones, and if one is no number, nothing has to move.
        if one.zero_threshold < two.zero_threshold {
            one.join_zero_bucket_of(&mut two)?;
        } else if one.zero_threshold > two.zero_threshold {
            two.join_zero_bucket_of(&mut one)?;
        }
        one.zero = add(one.zero, two.zero)?;
        one.negative = both(&one.negative, &two.negative)?;
        one.positive = both(&one.positive, &two.positive)?;
        one.push(float, out)
    }

    fn unpack(&self, float: bool) -> Unpacked {
        let number = |number: Number| if float { Number::Float(number.as_f64()) } else { number };
        Unpacked {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero: number(self.zero_count()),
            negative: self.indexed(NEGATIVE, number),
            positive: self.indexed(POSITIVE, number),
        }
    }

    /// The filled buckets of one side by their numbers.
    fn indexed(&self, side: Side, number: impl Fn(Number) -> Number) -> Buckets {
        let mut count = 0i64;
        let whole = self.deltas(side).map(|delta| {
            count = count.wrapping_add(delta);
            Number::Int(count as u64)
        });
        let mut counts: Box<dyn Iterator<Item = Number> + '_> = match self.is_float() {
            true => Box::new(self.counts(side).map(Number::Float)),
            false => Box::new(whole),
        };
        let mut buckets = Vec::new();
        let mut at = 0i64;
        for span in self.spans(side) {
            at += i64::from(span.offset);
            for count in counts.by_ref().take(span.length as usize) {
                if count.as_f64() != 0.0 {
                    buckets.push((at, number(count)));
                }
                at += 1;
            }
        }
        buckets
    }
}

impl Unpacked {
    fn sides(&mut self) -> [&mut Buckets; 2] {
        [&mut self.negative, &mut self.positive]
    }

    /// Brings the buckets to `schema`, which is no finer than theirs.
    fn coarsen(&mut self, schema: i32) -> Result<(), Misfit> {
        let by = self.schema - schema;
        self.schema = schema;
        if by == 0 {
            return Ok(());
        }
        for side in self.sides() {
            let mut coarse: Buckets = Vec::with_capacity(side.len());
            for (at, count) in side.drain(..) {
                // The bucket with the upper bound that is next among the coarser ones.
                let at = ((at - 1) >> by) + 1;
                match coarse.last_mut() {
                    Some(last) if last.0 == at => last.1 = add(last.1, count)?,
                    _ => coarse.push((at, count)),
                }
            }
            *side = coarse;
        }
        Ok(())
    }

    /// Gives this histogram the zero bucket of `other`, which is wider, or a wider one to both.
    fn join_zero_bucket_of(&mut self, other: &mut Unpacked) -> Result<(), Misfit> {
        let schema = self.schema;
        let edge = other.zero_threshold;
        let cut = |(at, _): &&(i64, Number)| {
            bounds::upper(at - 1, schema) < edge && edge < bounds::upper(*at, schema)
        };
        // Both sides have the same bounds, so the bucket that is cut is the same on both.
        let cut =
            self.negative.iter().chain(&self.positive).find(cut).map(|(at, _)| bounds::upper(*at, schema));
        let threshold = cut.unwrap_or(edge);
        self.widen(threshold)?;
        if threshold > edge { other.widen(threshold) } else { Ok(()) }
    }

    /// Moves every bucket up to `threshold` into the zero bucket.
    fn widen(&mut self, threshold: f64) -> Result<(), Misfit> {
        self.zero_threshold = threshold;
        let (schema, mut zero) = (self.schema, self.zero);
        for side in self.sides() {
            let inside = side.partition_point(|(at, _)| bounds::upper(*at, schema) <= threshold);
            for (_, count) in side.drain(..inside) {
                zero = add(zero, count)?;
            }
        }
        self.zero = zero;
        Ok(())
    }

    fn push(&self, float: bool, out: &mut Vec<u8>) -> Result<(), Misfit> {
        push_varint_field(out, field::SCHEMA, zigzag(i64::from(self.schema)));
        push_double_field(out, field::ZERO_THRESHOLD, self.zero_threshold);
        match self.zero {
            Number::Int(count) => push_varint_field(out, field::ZERO_COUNT, count),
            Number::Float(count) => push_double_field(out, field::ZERO_COUNT_FLOAT, count),
        }
        push_side(out, NEGATIVE, &self.negative, float)?;
        push_side(out, POSITIVE, &self.positive, float)?;
        if self.negative.is_empty() && self.positive.is_empty() {
            // A span of no buckets tells a native histogram without observations from none.
            push_bytes_field(out, POSITIVE.spans, &[]);
        }
        Ok(())
    }
}

fn push_side(out: &mut Vec<u8>, side: Side, buckets: &Buckets, float: bool) -> Result<(), Misfit> {
    let mut span = Span::default();
    let mut end = 0;
    for (at, _) in buckets {
        if *at != end || span.length == 0 {
            push_span(out, side, span);
            span = Span { offset: i32::try_from(at - end).map_err(|_| Misfit::OutOfRange)?, length: 0 };
        }
        span.length += 1;
        end = at + 1;
    }
    push_span(out, side, span);
    let mut counts = Vec::with_capacity(buckets.len() * 2);
    let mut before = 0;
    for (_, count) in buckets {
        match count {
            Number::Float(count) => counts.extend_from_slice(&count.to_bits().to_le_bytes()),
            Number::Int(count) => {
                let count = i64::try_from(*count).map_err(|_| Misfit::Overflow)?;
                push_varint(&mut counts, zigzag(count - before));
                before = count;
            }
        }
    }
    if !counts.is_empty() {
        push_bytes_field(out, if float { side.counts } else { side.deltas }, &counts);
    }
    Ok(())
}

fn push_span(out: &mut Vec<u8>, side: Side, span: Span) {
    if span.length > 0 {
        let mut message = Vec::with_capacity(12);
        push_varint_field(&mut message, 1, zigzag(i64::from(span.offset)));
        push_varint_field(&mut message, 2, u64::from(span.length));
        push_bytes_field(out, side.spans, &message);
    }
}

/// The buckets of both, equal ones added.
fn both(one: &Buckets, two: &Buckets) -> Result<Buckets, Misfit> {
    let mut sum = Vec::with_capacity(one.len() + two.len());
    let (mut one, mut two) = (one.iter().peekable(), two.iter().peekable());
    loop {
        sum.push(match (one.peek(), two.peek()) {
            (None, None) => return Ok(sum),
            (Some(first), Some(second)) if first.0 == second.0 => {
                let bucket = (first.0, add(first.1, second.1)?);
                one.next();
                two.next();
                bucket
            }
            (Some(first), second) if second.is_none_or(|second| first.0 < second.0) => {
                let bucket = **first;
                one.next();
                bucket
            }
            (_, Some(second)) => {
                let bucket = **second;
                two.next();
                bucket
            }
            (Some(_), None) => unreachable!("the arm before takes it"),
        });
    }
}

fn add(one: Number, two: Number) -> Result<Number, Misfit> {
    match (one, two) {
        (Number::Int(one), Number::Int(two)) => one.checked_add(two).map(Number::Int).ok_or(Misfit::Overflow),
        (one, two) => Ok(Number::Float(one.as_f64() + two.as_f64())),
    }
}

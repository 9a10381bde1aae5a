//! Native histograms by hand-made messages: their buckets, their text, and what is wrong with them.

use super::*;
use crate::wire::{push_bytes_field, push_double_field, push_varint, push_varint_field, zigzag};

/// A histogram message, field by field.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn count(mut self, count: u64) -> Self {
        push_varint_field(&mut self.0, field::SAMPLE_COUNT, count);
        self
    }

    fn double(mut self, field: u32, value: f64) -> Self {
        push_double_field(&mut self.0, field, value);
        self
    }

    fn schema(mut self, schema: i32) -> Self {
        push_varint_field(&mut self.0, field::SCHEMA, zigzag(schema.into()));
        self
    }

    fn zero(mut self, count: u64) -> Self {
        push_varint_field(&mut self.0, field::ZERO_COUNT, count);
        self
    }

    fn span(mut self, side: Side, offset: i32, length: u32) -> Self {
        let mut span = Vec::new();
        push_varint_field(&mut span, 1, zigzag(offset.into()));
        push_varint_field(&mut span, 2, length.into());
        push_bytes_field(&mut self.0, side.spans, &span);
        self
    }

    fn deltas(mut self, side: Side, deltas: &[i64]) -> Self {
        deltas.iter().for_each(|delta| push_varint_field(&mut self.0, side.deltas, zigzag(*delta)));
        self
    }

    fn packed_deltas(mut self, side: Side, deltas: &[i64]) -> Self {
        let mut packed = Vec::new();
        deltas.iter().for_each(|delta| push_varint(&mut packed, zigzag(*delta)));
        push_bytes_field(&mut self.0, side.deltas, &packed);
        self
    }

    fn counts(mut self, side: Side, counts: &[f64]) -> Self {
        counts.iter().for_each(|count| push_double_field(&mut self.0, side.counts, *count));
        self
    }

    fn check(&self) -> Result<(), NativeFault> {
        NativeHistogram::read(&self.0).unwrap().check()
    }

    fn text(&self) -> String {
        NativeHistogram::read(&self.0).unwrap().text()
    }
}

/// The example of the Pushgateway's own tests of its API.
fn example() -> Message {
    Message::default()
        .count(17)
        .double(field::SAMPLE_SUM, 99.23)
        .schema(1)
        .double(field::ZERO_THRESHOLD, 0.001)
        .zero(3)
        .span(NEGATIVE, 0, 2)
        .span(NEGATIVE, 1, 2)
        .deltas(NEGATIVE, &[1, 2, -2, 1])
        .span(POSITIVE, 0, 2)
        .span(POSITIVE, 3, 2)
        .packed_deltas(POSITIVE, &[1, 2, -2])
        .deltas(POSITIVE, &[1])
}

#[test]
fn buckets_come_with_their_bounds() {
    assert_eq!(example().check(), Ok(()));
    assert_eq!(
        example().text(),
        "{count:17, sum:99.23, [-4,-2.82842712474619):2, [-2.82842712474619,-2):1, \
         [-1.414213562373095,-1):3, [-1,-0.7071067811865475):1, [-0.001,0.001]:3, \
         (0.7071067811865475,1]:1, (1,1.414213562373095]:3, (4,5.65685424949238]:1, \
         (5.65685424949238,8]:2}"
    );
    let histogram = example();
    let histogram = NativeHistogram::read(&histogram.0).unwrap();
    let kinds: Vec<u8> = histogram.buckets().iter().map(NativeBucket::kind).collect();
    assert_eq!(kinds, [1, 1, 1, 1, 3, 0, 0, 0, 0]);
}

#[test]
fn float_counts_and_empty_buckets() {
    let histogram = Message::default()
        .double(field::SAMPLE_COUNT_FLOAT, 20.5)
        .double(field::SAMPLE_SUM, 99.25)
        .schema(-1)
        .double(field::ZERO_COUNT_FLOAT, 2.5)
        .span(POSITIVE, 1, 3)
        .counts(POSITIVE, &[2.0, 0.0, 3.5]);
    assert_eq!(histogram.check(), Ok(()));
    assert_eq!(histogram.text(), "{count:20.5, sum:99.25, [-0,0]:2.5, (1,4]:2, (16,64]:3.5}");
    let empty = Message::default().schema(3).span(POSITIVE, 0, 0);
    assert_eq!((empty.check(), empty.text().as_str()), (Ok(()), "{count:0, sum:0}"));
}

#[test]
fn what_prometheus_would_refuse() {
    let plain = || Message::default().count(1).span(POSITIVE, 0, 1).deltas(POSITIVE, &[1]);
    assert_eq!(plain().check(), Ok(()));
    assert_eq!(plain().schema(9).check(), Err(NativeFault::Schema(9)));
    assert_eq!(plain().schema(-53).check(), Err(NativeFault::Schema(-53)));
    assert_eq!(plain().zero(1).check(), Err(NativeFault::Count { count: 1, buckets: 2 }));
    let fewer = plain().count(2);
    assert_eq!(fewer.check(), Err(NativeFault::Count { count: 2, buckets: 1 }));
    assert_eq!(fewer.double(field::SAMPLE_SUM, f64::NAN).check(), Ok(()));
    let more = plain().zero(1).double(field::SAMPLE_SUM, f64::NAN);
    assert_eq!(more.check(), Err(NativeFault::Count { count: 1, buckets: 2 }));
    assert_eq!(plain().span(POSITIVE, 0, 1).check(), Err(NativeFault::Spans { spanned: 2, given: 1 }));
    assert_eq!(plain().span(NEGATIVE, 1_000_000_000, u32::MAX).check(), Err(NativeFault::OutOfRange));
    assert_eq!(plain().span(POSITIVE, -1, 0).check(), Err(NativeFault::NegativeOffset));
    assert_eq!(plain().deltas(POSITIVE, &[-2]).check(), Err(NativeFault::NegativeCount));
    assert_eq!(plain().deltas(POSITIVE, &[i64::MAX]).check(), Err(NativeFault::Overflow));
    assert_eq!(
        plain().double(field::SAMPLE_COUNT_FLOAT, 1.0).check(),
        Err(NativeFault::Spans { spanned: 1, given: 0 })
    );
    let float = Message::default().double(field::SAMPLE_COUNT_FLOAT, 1.0).span(POSITIVE, 0, 1);
    assert_eq!(float.clone().counts(POSITIVE, &[-1.0]).check(), Err(NativeFault::NegativeCount));
    assert_eq!(float.counts(POSITIVE, &[7.0]).check(), Ok(()));
    let far = Message::default().count(1).span(POSITIVE, 1_000_000_000, 1).deltas(POSITIVE, &[1]);
    assert_eq!(far.check(), Ok(()));
    assert_eq!(far.text(), "{count:1, sum:0, (+Inf,+Inf]:1}");
}

/// What two messages come to, as text without sum; the other way round it must be the same.
fn sum(one: &Message, two: &Message) -> Result<String, Misfit> {
    let read = |message: &Message| NativeHistogram::read(&message.0.clone().leak()[..]).unwrap();
    let add = |one: &Message, two: &Message| -> Result<String, Misfit> {
        let (one, two) = (read(one), read(two));
        let count = one.count().as_f64() + two.count().as_f64();
        let mut message = match (one.count(), two.count()) {
            (Number::Int(_), Number::Int(_)) => Message::default().count(count as u64),
            _ => Message::default().double(field::SAMPLE_COUNT_FLOAT, count),
        };
        one.push_sum(&two, &mut message.0)?;
        assert_eq!(message.check(), Ok(()));
        let merged = read(&message);
        assert!(merged.is_native());
        Ok(merged.text())
    };
    let there = add(one, two);
    assert_eq!(there, add(two, one));
    there
}

#[test]
fn sums_have_the_coarser_schema_and_all_observations() {
    let empty = || Message::default().schema(2).span(POSITIVE, 0, 0);
    assert_eq!(sum(&empty(), &empty()).unwrap(), "{count:0, sum:0}");
    // (1, 2] and (2, 4] with (1, 1.41] and (1.41, 2] and, on the other side of nothing, (4, 5.7].
    let coarse = Message::default().count(5).schema(0).span(POSITIVE, 1, 2).deltas(POSITIVE, &[2, 1]);
    let fine = Message::default().count(10).schema(1).span(POSITIVE, 1, 2).span(POSITIVE, 2, 1);
    let fine = fine.deltas(POSITIVE, &[1, 1, 5]);
    assert_eq!(sum(&coarse, &fine).unwrap(), "{count:15, sum:0, (1,2]:5, (2,4]:3, (4,8]:7}");
    assert_eq!(sum(&coarse, &empty()).unwrap(), "{count:5, sum:0, (1,2]:2, (2,4]:3}");
    // Negative ones, zero, and floats beside whole counts.
    let floats = Message::default().double(field::SAMPLE_COUNT_FLOAT, 3.5).schema(0);
    let floats = floats.double(field::ZERO_COUNT_FLOAT, 1.0).span(NEGATIVE, -1, 1).counts(NEGATIVE, &[2.5]);
    let whole = Message::default().count(3).schema(-1).zero(1).span(NEGATIVE, 0, 1).deltas(NEGATIVE, &[2]);
    assert_eq!(sum(&floats, &whole).unwrap(), "{count:6.5, sum:0, [-1,-0.25):4.5, [-0,0]:2}");
}

#[test]
fn the_wider_zero_bucket_takes_what_lies_in_it() {
    let zero = |threshold, count| {
        Message::default().count(count).schema(0).double(field::ZERO_THRESHOLD, threshold).zero(count)
    };
    // (0.25, 0.5], (0.5, 1], (1, 2] on both sides.
    let all = Message::default().count(16).schema(0).span(POSITIVE, -1, 3).span(NEGATIVE, -1, 3);
    let all = all.deltas(POSITIVE, &[1, 1, 1]).deltas(NEGATIVE, &[2, 2, 0]);
    assert_eq!(all.check(), Ok(()));
    let with = |threshold| sum(&zero(threshold, 7), &all).unwrap();
    // At the edge of a bucket, and inside of one.
    assert_eq!(with(0.5), "{count:23, sum:0, [-2,-1):4, [-1,-0.5):4, [-0.5,0.5]:10, (0.5,1]:2, (1,2]:3}");
    assert_eq!(with(0.75), "{count:23, sum:0, [-2,-1):4, [-1,1]:16, (1,2]:3}");
    assert_eq!(with(64.0), "{count:23, sum:0, [-64,64]:23}");
    assert_eq!(
        with(0.1),
        "{count:23, sum:0, [-2,-1):4, [-1,-0.5):4, [-0.5,-0.25):2, [-0.1,0.1]:7, (0.25,0.5]:1, (0.5,1]:2, (1,2]:3}"
    );
    assert_eq!(sum(&zero(0.5, 1), &zero(0.25, 2)).unwrap(), "{count:3, sum:0, [-0.5,0.5]:3}");
}

#[test]
fn sums_that_no_histogram_can_hold_are_refused() {
    let half = || {
        let count = u64::MAX / 2;
        Message::default().count(count).schema(0).span(POSITIVE, 0, 1).deltas(POSITIVE, &[count as i64])
    };
    assert_eq!(sum(&half(), &half()), Err(Misfit::Overflow));
    let at = |bucket| Message::default().count(1).schema(8).span(POSITIVE, bucket, 1).deltas(POSITIVE, &[1]);
    assert_eq!(sum(&at(i32::MIN), &at(i32::MAX - 1)), Err(Misfit::OutOfRange));
    assert!(sum(&at(-5), &at(1_000_000_000)).is_ok());
}

//! The value messages: `Counter`, `Gauge`, `Summary`, `Untyped` and `Histogram`.
//!
//! Their bytes were checked against the schema before, so that every field has its declared wire type
//! here. A value is *plain* if writing its numbers anew gives a message of the same content; all others
//! are kept as they came.

use super::error::{ParseError, echo};
use crate::model::histogram::{NativeFault, NativeHistogram};
use crate::model::{MetricType, Number, Part};
use crate::wire::{Fault, Reader, schema};

/// Of field 1 as a float64.
const PLAIN_TAG: u8 = 1 << 3 | 1;

/// A value message of a metric of this type.
pub struct Message<'m> {
    pub kind: MetricType,
    pub bytes: &'m [u8],
}

/// A value without its parts, which went into the vector given.
pub struct Read {
    pub value: f64,
    pub count: Number,
    pub is_plain: bool,
}

/// What is wrong with a value.
pub enum ValueFault {
    Wire(Fault),
    NegativeCount,
    Native(NativeFault),
}

impl ValueFault {
    pub fn named(self, family: &str) -> ParseError {
        match self {
            ValueFault::Wire(fault) => ParseError::Wire(fault),
            ValueFault::NegativeCount => ParseError::NegativeCount(echo(family)),
            ValueFault::Native(fault) => ParseError::Native { name: echo(family), fault },
        }
    }
}

impl From<Fault> for ValueFault {
    fn from(fault: Fault) -> ValueFault {
        ValueFault::Wire(fault)
    }
}

/// Holds the value message in the `Metric` field `number` to its declaration.
pub fn check(number: u32, message: &[u8]) -> Result<(), Fault> {
    let schema = match number {
        3 => &schema::COUNTER,
        4 => &schema::SUMMARY,
        7 => &schema::HISTOGRAM,
        _ => &schema::PLAIN,
    };
    // Most are a counter or gauge of nothing but its value.
    if let ([PLAIN_TAG, value @ ..], 2 | 3 | 5) = (message, number)
        && value.len() == size_of::<f64>()
    {
        return Ok(());
    }
    schema.check(message)
}

pub fn read(message: Message<'_>, parts: &mut Vec<Part>) -> Result<Read, ValueFault> {
    match message.kind {
        MetricType::Counter | MetricType::Gauge | MetricType::Untyped => plain(message.bytes),
        MetricType::Summary => summary(message.bytes, parts),
        MetricType::Histogram | MetricType::GaugeHistogram => histogram(message.bytes, parts),
    }
}

fn plain(message: &[u8]) -> Result<Read, ValueFault> {
    let (mut value, mut values, mut others) = (0.0, 0, 0);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.field()? {
        if number == 1 {
            value = field.double()?;
            values += 1;
        } else {
            others += 1;
        }
    }
    Ok(Read { value, count: Number::Int(0), is_plain: values == 1 && others == 0 })
}

fn summary(message: &[u8], parts: &mut Vec<Part>) -> Result<Read, ValueFault> {
    let (mut count, mut sum) = (0, 0.0);
    let (mut counts, mut sums, mut others) = (0, 0, 0);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => {
                count = field.varint()?;
                counts += 1;
            }
            2 => {
                sum = field.double()?;
                sums += 1;
            }
            3 => {
                let (bound, value, is_plain) = quantile(field.bytes()?)?;
                parts.push(Part { bound, value: Number::Float(value) });
                others += usize::from(!is_plain);
            }
            _ => others += 1,
        }
    }
    Ok(Read { value: sum, count: Number::Int(count), is_plain: (counts, sums, others) == (1, 1, 0) })
}

/// The rank and value of a `Quantile`, and whether it is nothing else.
fn quantile(message: &[u8]) -> Result<(f64, f64, bool), Fault> {
    let (mut rank, mut value) = (0.0, 0.0);
    let (mut ranks, mut values, mut others) = (0, 0, 0);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => {
                rank = field.double()?;
                ranks += 1;
            }
            2 => {
                value = field.double()?;
                values += 1;
            }
            _ => others += 1,
        }
    }
    Ok((rank, value, (ranks, values, others) == (1, 1, 0)))
}

/// How often a message gives a count, whole and as a float, and what else it holds.
#[derive(Clone, Copy, Default)]
struct Given {
    whole: usize,
    float: usize,
    /// Upper bounds of a bucket, sums of a histogram.
    number: usize,
    others: usize,
}

impl Given {
    /// Whether it is what we would write of float counts, or of whole ones.
    fn is_plain(self, float: bool) -> bool {
        (self.whole, self.float) == (usize::from(!float), usize::from(float))
            && (self.number, self.others) == (1, 0)
    }
}

/// A count as a message gives it: twice, and the float counts if it is above zero.
#[derive(Clone, Copy, Default)]
struct Count {
    whole: u64,
    float: f64,
}

impl Count {
    fn is_float(self) -> bool {
        self.float > 0.0
    }

    fn number(self) -> Number {
        if self.is_float() { Number::Float(self.float) } else { Number::Int(self.whole) }
    }
}

fn histogram(message: &[u8], parts: &mut Vec<Part>) -> Result<Read, ValueFault> {
    let start = parts.len();
    let (mut count, mut sum) = (Count::default(), 0.0);
    let mut given = Given::default();
    // Of the buckets: how many are plain with whole counts, and how many with float ones.
    let (mut whole_buckets, mut float_buckets, mut any_float) = (0, 0, false);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => {
                count.whole = field.varint()?;
                given.whole += 1;
            }
            2 => {
                sum = field.double()?;
                given.number += 1;
            }
            3 => {
                let (bound, value, given) = bucket(field.bytes()?)?;
                if value.float < 0.0 {
                    return Err(ValueFault::NegativeCount);
                }
                whole_buckets += usize::from(given.is_plain(false));
                float_buckets += usize::from(given.is_plain(true));
                any_float |= value.is_float();
                parts.push(Part { bound, value: value.number() });
            }
            4 => {
                count.float = field.double()?;
                given.float += 1;
            }
            _ => given.others += 1,
        }
    }
    if count.float < 0.0 {
        return Err(ValueFault::NegativeCount);
    }
    if given.others > 0 {
        let native = NativeHistogram::read(message)?;
        if native.is_native() {
            native.check().map_err(ValueFault::Native)?;
        }
    }
    // Counts are all whole or all floats.
    let float = any_float || count.is_float();
    let buckets = &mut parts[start..];
    let count = if float {
        for part in buckets.iter_mut() {
            part.value = Number::Float(part.value.as_f64());
        }
        Number::Float(count.number().as_f64())
    } else {
        count.number()
    };
    let plain_buckets = if float { float_buckets } else { whole_buckets };
    let is_plain = given.is_plain(float) && plain_buckets == buckets.len();
    Ok(Read { value: sum, count, is_plain })
}

/// The upper bound and count of a `Bucket`.
fn bucket(message: &[u8]) -> Result<(f64, Count, Given), Fault> {
    let (mut bound, mut count, mut given) = (0.0, Count::default(), Given::default());
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.field()? {
        match number {
            1 => {
                count.whole = field.varint()?;
                given.whole += 1;
            }
            2 => {
                bound = field.double()?;
                given.number += 1;
            }
            4 => {
                count.float = field.double()?;
                given.float += 1;
            }
            _ => given.others += 1,
        }
    }
    Ok((bound, count, given))
}

//! Templates of delimited protobuf.
//!
//! A value is a float64 of eight bytes or a varint. Where a varint takes another number of bytes than
//! before, the lengths of the messages around it change too; so these lengths are read as well, and each
//! has to end where its message does. All other lengths are constant, as everything in them is.
//!
//! Created times are passed over, since every run of a job has its own; the value messages that hold them
//! are kept as they came. Whatever else a message says that values do not (exemplars, fields of later
//! versions) is constant here. A native histogram leaves no template: its counts hang together.

use std::ops::Range;

use super::{Known, NOWHERE, OutlineSeries};
use crate::model::{Field, MetricType};
use crate::wire::{Reader, Value};

/// How deep messages nest whose length may change: family, metric, value, bucket or created time.
const DEPTH: usize = 4;

/// What is read between constant bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// A float64, and where it goes among the values of the push; [`NOWHERE`] if it is not stored.
    Double(u32),
    /// The same of a count, a varint.
    Count(u32),
    /// A varint that is no value.
    Passed,
    /// The length of a message that may be of another length the next time.
    Open,
    /// The end of the message opened last. Where the message is to be kept, the first value of its
    /// series; otherwise [`NOWHERE`].
    Close(u32),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Constant bytes before the hole.
    before: u32,
    hole: Hole,
}

impl Piece {
    fn is_kept(&self) -> bool {
        matches!(self.hole, Hole::Close(keep) if keep != NOWHERE)
    }
}

/// The constant bytes of `body`, which was parsed to `series`, and the pieces between them. See
/// [`Outline::cut`](super::Outline::cut).
pub fn cut(
    body: &[u8],
    series: &[OutlineSeries],
    first_value: impl Fn(u32) -> Option<u32>,
) -> Option<(Vec<u8>, Vec<Piece>)> {
    let mut cutter = Cutter { body, series, first_value, at: 0, holes: Vec::new() };
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        let start = body.len() - reader.left();
        let message = reader.delimited().ok()?;
        let end = body.len() - reader.left();
        let family = Placed { number: 0, start, content: end - message.len()..end };
        cutter.within(&family, NOWHERE, Cutter::family)?;
    }
    let mut constant = Vec::with_capacity(body.len());
    let mut pieces = Vec::with_capacity(cutter.holes.len());
    let mut read = 0;
    for (span, hole) in cutter.holes {
        let before = &body[read..span.start];
        constant.extend_from_slice(before);
        read = span.end;
        pieces.push(Piece { before: before.len() as u32, hole });
    }
    constant.extend_from_slice(&body[read..]);
    (cutter.at == series.len()).then_some((constant, pieces))
}

/// A field of a message.
struct Placed {
    number: u32,
    /// Where its value begins in the body, which for messages is their length.
    start: usize,
    /// The value without its length.
    content: Range<usize>,
}

/// The fields of a message of the body.
struct Fields<'b> {
    reader: Reader<'b>,
    end: usize,
}

impl Fields<'_> {
    /// The next field; `None` behind the last one. The outer `None` is for what is no message, which a
    /// body that was parsed does not have.
    fn next(&mut self) -> Option<Option<Placed>> {
        let Some((number, value, left)) = self.reader.placed_field().ok()? else { return Some(None) };
        let (start, end) = (self.end - left, self.end - self.reader.left());
        let content = match value {
            Value::Bytes(bytes) => end - bytes.len()..end,
            _ => start..end,
        };
        Some(Some(Placed { number, start, content }))
    }
}

/// Finds the holes of a body. Each of its methods looks through one message and says whether its length
/// may change; `None` where there can be no template.
struct Cutter<'c, F> {
    body: &'c [u8],
    series: &'c [OutlineSeries],
    first_value: F,
    /// How many series have been looked through.
    at: usize,
    /// Pieces of the body, in its order.
    holes: Vec<(Range<usize>, Hole)>,
}

impl<'c, F: Fn(u32) -> Option<u32>> Cutter<'c, F> {
    fn fields(&self, message: Range<usize>) -> Fields<'c> {
        Fields { end: message.end, reader: Reader::new(&self.body[message]) }
    }

    /// Looks through the message `field`, which is kept as it came where `keep` is a place.
    fn within(
        &mut self,
        field: &Placed,
        keep: u32,
        look: impl FnOnce(&mut Self, Range<usize>) -> Option<bool>,
    ) -> Option<bool> {
        let (open, end) = (self.holes.len(), field.content.end);
        self.holes.push((field.start..field.content.start, Hole::Open));
        if look(self, field.content.clone())? || keep != NOWHERE {
            self.holes.push((end..end, Hole::Close(keep)));
            return Some(true);
        }
        // Messages nest to a fixed depth, so that a hole is moved a few times at most.
        self.holes.remove(open);
        Some(false)
    }

    fn family(&mut self, message: Range<usize>) -> Option<bool> {
        const METRIC: u32 = 4;
        let (mut fields, mut varies) = (self.fields(message), false);
        while let Some(field) = fields.next()? {
            if field.number == METRIC {
                varies |= self.within(&field, NOWHERE, Cutter::metric)?;
            }
        }
        Some(varies)
    }

    fn metric(&mut self, message: Range<usize>) -> Option<bool> {
        let series = *self.series.get(self.at)?;
        let first = (self.first_value)(self.at as u32);
        self.at += 1;
        let keep = first.filter(|_| series.is_detailed).unwrap_or(NOWHERE);
        let (mut fields, mut varies, mut values) = (self.fields(message), false, 0);
        while let Some(field) = fields.next()? {
            if field.number == series.kind.value_field() {
                let look =
                    |cutter: &mut Self, value| cutter.value(value, value_of(series.kind), series, first);
                varies |= self.within(&field, keep, look)?;
                values += 1;
            }
        }
        // What is kept of a value in pieces stands nowhere in the body.
        (values == 1).then_some(varies)
    }

    /// A value message of `series` or a message within; `first` is where its own values begin. Calls
    /// itself for messages within, no deeper than the declarations below nest.
    fn value(
        &mut self,
        message: Range<usize>,
        meaning: fn(u32) -> Meaning,
        series: OutlineSeries,
        first: Option<u32>,
    ) -> Option<bool> {
        let place = |field| first.map_or(NOWHERE, |first| first + series.offset(field));
        let (mut fields, mut varies, mut parts) = (self.fields(message), false, 0);
        while let Some(field) = fields.next()? {
            let hole = match meaning(field.number) {
                Meaning::Constant => continue,
                Meaning::Tied => return None,
                Meaning::Double(whose) => Hole::Double(place(whose)),
                Meaning::Count(whose) => Hole::Count(place(whose)),
                Meaning::Passed => Hole::Passed,
                Meaning::Within(meaning) => {
                    let look = |cutter: &mut Self, within| cutter.value(within, meaning, series, first);
                    varies |= self.within(&field, NOWHERE, look)?;
                    continue;
                }
                Meaning::Part(meaning) => {
                    let first = first.map(|first| first + parts);
                    let look = |cutter: &mut Self, part| cutter.value(part, meaning, series, first);
                    varies |= self.within(&field, NOWHERE, look)?;
                    parts += 1;
                    continue;
                }
            };
            varies |= !matches!(hole, Hole::Double(_));
            self.holes.push((field.content, hole));
        }
        Some(varies)
    }
}

/// What a field of a value message is to a template.
enum Meaning {
    Constant,
    /// Values are refused or taken by what it says.
    Tied,
    Double(Field),
    Count(Field),
    Passed,
    Within(fn(u32) -> Meaning),
    /// A quantile or bucket, whose own value is [`Field::Part`] of zero.
    Part(fn(u32) -> Meaning),
}

/// What the fields of the value message of a type mean, by number.
fn value_of(kind: MetricType) -> fn(u32) -> Meaning {
    match kind {
        MetricType::Counter => counter,
        MetricType::Gauge | MetricType::Untyped => plain,
        MetricType::Summary => summary,
        MetricType::Histogram | MetricType::GaugeHistogram => histogram,
    }
}

fn plain(number: u32) -> Meaning {
    match number {
        1 => Meaning::Double(Field::Value),
        _ => Meaning::Constant,
    }
}

fn counter(number: u32) -> Meaning {
    match number {
        1 => Meaning::Double(Field::Value),
        3 => Meaning::Within(created),
        _ => Meaning::Constant,
    }
}

fn summary(number: u32) -> Meaning {
    match number {
        1 => Meaning::Count(Field::Count),
        2 => Meaning::Double(Field::Value),
        3 => Meaning::Part(quantile),
        4 => Meaning::Within(created),
        _ => Meaning::Constant,
    }
}

fn quantile(number: u32) -> Meaning {
    match number {
        2 => Meaning::Double(Field::Part(0)),
        _ => Meaning::Constant,
    }
}

fn histogram(number: u32) -> Meaning {
    match number {
        1 => Meaning::Count(Field::Count),
        2 => Meaning::Double(Field::Value),
        3 => Meaning::Part(bucket),
        // Those of a native histogram.
        5..=14 => Meaning::Tied,
        15 => Meaning::Within(created),
        _ => Meaning::Constant,
    }
}

fn bucket(number: u32) -> Meaning {
    match number {
        1 => Meaning::Count(Field::Part(0)),
        _ => Meaning::Constant,
    }
}

/// A `Timestamp`: seconds and nanoseconds.
fn created(number: u32) -> Meaning {
    match number {
        1 | 2 => Meaning::Passed,
        _ => Meaning::Constant,
    }
}

/// See [`Template::read`](super::Template::read).
pub fn read<'b>(constant: &[u8], pieces: &[Piece], value_count: usize, body: &'b [u8]) -> Option<Known<'b>> {
    if body.len() < constant.len() {
        return None;
    }
    let mut values = vec![0; value_count].into_boxed_slice();
    let mut details = Vec::new();
    // Of the messages whose length was read: how many bytes of the body are left where they begin and
    // where they are to end.
    let (mut open, mut depth) = ([(0, 0); DEPTH], 0_usize);
    let (mut constant, mut reader) = (constant, Reader::new(body));
    for piece in pieces {
        let (before, constant_rest) = constant.split_at(piece.before as usize);
        constant = constant_rest;
        if !reader.skip(before) {
            return None;
        }
        let (place, bits) = match piece.hole {
            Hole::Double(place) => (place, reader.double().ok()?.to_bits()),
            Hole::Count(place) => (place, reader.varint().ok()?),
            Hole::Passed => (NOWHERE, reader.varint().ok()?),
            Hole::Open => {
                let length = usize::try_from(reader.varint().ok()?).ok()?;
                *open.get_mut(depth)? = (reader.left(), reader.left().checked_sub(length)?);
                depth += 1;
                continue;
            }
            Hole::Close(keep) => {
                depth = depth.checked_sub(1)?;
                let (start, end) = open[depth];
                if reader.left() != end {
                    return None;
                }
                if keep != NOWHERE {
                    if details.is_empty() {
                        details.reserve_exact(pieces.iter().filter(|piece| piece.is_kept()).count());
                    }
                    details.push((keep, &body[body.len() - start..body.len() - end]));
                }
                continue;
            }
        };
        if let Some(value) = values.get_mut(place as usize) {
            *value = bits;
        }
    }
    (reader.skip(constant) && reader.is_empty()).then_some(Known { values, details })
}

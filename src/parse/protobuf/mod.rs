//! Delimited protobuf: `io.prometheus.client.MetricFamily` messages, each behind its length.
//!
//! One message after the other, without recursion on what the body says and with work linear in its
//! length. Names, labels and value messages are borrowed from the body.
//!
//! # Differences from the reference
//!
//! Refused as a whole, since a scrape would be cut off or refused because of it: a family without a
//! name, with an unknown type, or named twice; a metric without a value; strings that are not UTF-8;
//! fields of another wire type than their declaration; native histograms that Prometheus refuses;
//! negative counts; names outside the old character set while only those are legal. Limits exist.

mod error;
mod value;

use std::borrow::Cow;
use std::collections::HashSet;

pub use error::{ParseError, WrongMetric};

use self::error::echo;
use self::value::Message;
use crate::format::quote::labels_text;
use crate::model::template::Syntax;
use crate::model::{Detail, Families, Family, Label, MetricType, NameRules, PushLimits, Rules, Series, Span};
use crate::wire::{Reader, schema};

/// Reads `body` into the allocations of `into`, under the rules given.
///
/// Families without metrics are kept: they take the place of an older family of their name. Help and
/// unit are `None` where the body has none, [`Families::samples`] is empty. A series has a
/// [`Detail`] where its value message is not what we would write of its plain values.
///
/// # Errors
///
/// The first fault of the body, see [`ParseError`].
pub fn parse<'b>(
    body: &'b [u8],
    rules: impl Into<Rules>,
    into: Families<'static>,
) -> Result<Families<'b>, ParseError> {
    let Rules { names, limits } = rules.into();
    let into = Families { syntax: Syntax::Protobuf, ..into.recycle() };
    let mut parser = Parser { families: into, names, limits, seen: HashSet::new() };
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        parser.family(reader.delimited()?)?;
    }
    Ok(parser.families)
}

struct Parser<'b> {
    families: Families<'b>,
    names: NameRules,
    limits: PushLimits,
    seen: HashSet<&'b str>,
}

/// The family whose metrics are being read.
struct Head<'b> {
    name: &'b str,
    kind: MetricType,
}

impl<'b> Parser<'b> {
    fn family(&mut self, message: &'b [u8]) -> Result<(), ParseError> {
        // The type may stand behind the metrics, so these are read in a second pass.
        let (mut name, mut help, mut unit, mut kind, mut metrics) = ("", None, None, 0, 0);
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.field()? {
            match number {
                1 => name = value.text()?,
                2 => help = Some(value.text()?),
                3 => kind = value.varint()? as i32,
                4 => metrics += usize::from(value.bytes().is_ok()),
                5 => unit = Some(value.text()?),
                _ => {}
            }
        }
        if name.is_empty() {
            return Err(ParseError::NoName);
        }
        if !self.names.is_metric_name(name) {
            return Err(ParseError::MetricName(echo(name)));
        }
        let head = Head {
            name,
            kind: kind_of(kind).ok_or(ParseError::UnknownType { name: echo(name), number: kind })?,
        };
        if !self.seen.insert(name) {
            return Err(ParseError::Twice(echo(name)));
        }
        if self.families.families.len() >= self.limits.families {
            return Err(ParseError::OverLimit(self.limits.over_families()));
        }
        if self.families.series.len() + metrics > self.limits.series {
            return Err(ParseError::OverLimit(self.limits.over_series()));
        }
        let start = self.families.series.len() as u32;
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.field()? {
            if number == 4 {
                self.metric(&head, value.bytes()?)?;
            }
        }
        self.families.families.push(Family {
            name: Cow::Borrowed(name),
            help: help.map(Cow::Borrowed),
            unit: unit.map(Cow::Borrowed),
            kind: head.kind,
            series: Span { start, end: self.families.series.len() as u32 },
        });
        Ok(())
    }

    fn metric(&mut self, head: &Head<'b>, message: &'b [u8]) -> Result<(), ParseError> {
        let start = self.families.labels.len();
        let expected = head.kind.value_field();
        let mut value: Option<Cow<'b, [u8]>> = None;
        let mut other = None;
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.field()? {
            match number {
                1 => self.label(head, start, field.bytes()?)?,
                6 => {
                    let at = field.varint()? as i64;
                    self.families.timestamps.push((self.families.series.len() as u32, at));
                    self.families.timestamped = true;
                }
                2..=5 | 7 => {
                    let bytes = field.bytes()?;
                    value::check(number, bytes)?;
                    if number == expected {
                        // A message given in pieces is the message of all their fields.
                        match &mut value {
                            None => value = Some(Cow::Borrowed(bytes)),
                            Some(value) => value.to_mut().extend_from_slice(bytes),
                        }
                    } else {
                        other = Some(number);
                    }
                }
                _ => {}
            }
        }
        let labels = Span { start: start as u32, end: self.families.labels.len() as u32 };
        let Some(message) = value else {
            let wrong = self.wrong_metric(head, labels, other);
            let error = if other.is_some() { ParseError::OtherValue } else { ParseError::NoValue };
            return Err(error(wrong));
        };
        let parts = self.families.parts.len() as u32;
        let read = value::read(Message { kind: head.kind, bytes: &message }, &mut self.families.parts)
            .map_err(|fault| fault.named(head.name))?;
        if !read.is_plain {
            self.families.details.push(Detail { series: self.families.series.len() as u32, message });
        }
        self.families.series.push(Series {
            labels,
            parts: Span { start: parts, end: self.families.parts.len() as u32 },
            value: read.value,
            count: read.count,
        });
        Ok(())
    }

    /// Reads a label of the metric whose labels begin at `start`.
    fn label(&mut self, head: &Head<'b>, start: usize, message: &'b [u8]) -> Result<(), ParseError> {
        let (mut name, mut value) = ("", "");
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.field()? {
            match number {
                1 => name = field.text()?,
                2 => value = field.text()?,
                _ => {}
            }
        }
        // The store has the reference's words for an empty name.
        if !name.is_empty() && !self.names.is_label_name(name) {
            return Err(ParseError::LabelName(echo(name)));
        }
        if value.len() > self.limits.value_bytes {
            return Err(ParseError::OverLimit(self.limits.over_value(&echo(name))));
        }
        if self.families.labels.len() - start >= self.limits.labels {
            return Err(ParseError::OverLimit(self.limits.over_labels(&echo(head.name))));
        }
        self.families.labels.push(Label { name: Cow::Borrowed(name), value: Cow::Borrowed(value) });
        Ok(())
    }

    /// A metric without the value that its family's type asks for; `other` is the field of the value
    /// that it has instead.
    fn wrong_metric(&self, head: &Head<'b>, labels: Span, other: Option<u32>) -> WrongMetric {
        let labels = self.families.labels[labels.range()].iter();
        let mut series = labels_text(labels.map(|label| (&*label.name, &*label.value)));
        if let Some(field) = other.and_then(|number| schema::METRIC.field(number)) {
            series.push_str(field.name);
            series.push_str(":{}");
        }
        WrongMetric { name: echo(head.name), series, kind: head.kind.upper() }
    }
}

fn kind_of(number: i32) -> Option<MetricType> {
    Some(match number {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Summary,
        3 => MetricType::Untyped,
        4 => MetricType::Histogram,
        5 => MetricType::GaugeHistogram,
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;

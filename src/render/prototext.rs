//! Protobuf's text format, laid out as Go lays it out: for people who look at a protobuf exposition.
//!
//! Blanks are not promised: Go varies them on purpose from build to build.

use super::negotiate::Format;
use crate::format::float::write_float_json;
use crate::model::MetricType;
use crate::wire::schema::{Kind, METRIC_FAMILY, Message};
use crate::wire::{Fault, Reader, Value, unzigzag};

/// How fields are set apart.
#[derive(Clone, Copy)]
enum Layout {
    /// A field a line, indented by this many blanks.
    Lines(usize),
    /// All in one line.
    Compact,
}

impl Layout {
    fn inner(self) -> Layout {
        match self {
            Layout::Lines(indent) => Layout::Lines(indent + 2),
            Layout::Compact => Layout::Compact,
        }
    }
}

/// The text of an exposition given as delimited messages of our own making.
pub fn of_delimited(delimited: &[u8], format: Format) -> Vec<u8> {
    let layout = if format == Format::ProtoCompact { Layout::Compact } else { Layout::Lines(0) };
    let mut out = Vec::with_capacity(delimited.len() * 2);
    let mut reader = Reader::new(delimited);
    while let Ok(message) = reader.delimited() {
        let written = write_message(&mut out, &METRIC_FAMILY, message, layout);
        debug_assert_eq!(written, Ok(()));
        // A blank line behind each family, or the end of its only line.
        out.push(b'\n');
    }
    out
}

/// Writes the fields that the schema knows. It calls itself for messages within, no deeper than the
/// schema nests.
fn write_message(out: &mut Vec<u8>, schema: &Message, message: &[u8], layout: Layout) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    let mut is_first = true;
    while let Some((number, value)) = reader.field()? {
        let Some(field) = schema.field(number) else { continue };
        let mut start = |out: &mut Vec<u8>| {
            if let Layout::Lines(indent) = layout {
                out.resize(out.len() + indent, b' ');
            } else if !is_first {
                out.push(b' ');
            }
            is_first = false;
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(if matches!(layout, Layout::Lines(_)) { b": " } else { b":" });
        };
        let end = |out: &mut Vec<u8>| {
            if matches!(layout, Layout::Lines(_)) {
                out.push(b'\n');
            }
        };
        match (field.kind, value) {
            (Kind::Message(schema), value) => {
                start(out);
                out.extend_from_slice(if matches!(layout, Layout::Lines(_)) { b"{\n" } else { b"{" });
                write_message(out, schema, value.bytes()?, layout.inner())?;
                if let Layout::Lines(indent) = layout {
                    out.resize(out.len() + indent, b' ');
                }
                out.push(b'}');
                end(out);
            }
            (Kind::Doubles, Value::Bytes(packed)) => {
                let mut numbers = Reader::new(packed);
                while !numbers.is_empty() {
                    start(out);
                    write_double(out, numbers.double()?);
                    end(out);
                }
            }
            (Kind::Zigzag64s, Value::Bytes(packed)) => {
                let mut numbers = Reader::new(packed);
                while !numbers.is_empty() {
                    start(out);
                    write_signed(out, unzigzag(numbers.varint()?));
                    end(out);
                }
            }
            (kind, value) => {
                start(out);
                write_scalar(out, kind, value)?;
                end(out);
            }
        }
    }
    Ok(())
}

fn write_scalar(out: &mut Vec<u8>, kind: Kind, value: Value<'_>) -> Result<(), Fault> {
    match kind {
        Kind::Text => write_quoted(out, value.text()?),
        Kind::Double | Kind::Doubles => write_double(out, value.double()?),
        Kind::Unsigned => out.extend_from_slice(itoa::Buffer::new().format(value.varint()?).as_bytes()),
        Kind::Signed => write_signed(out, value.varint()? as i64),
        Kind::Zigzag32 | Kind::Zigzag64s => write_signed(out, unzigzag(value.varint()?)),
        Kind::MetricType => {
            let number = value.varint()?;
            let all = [
                MetricType::Counter,
                MetricType::Gauge,
                MetricType::Summary,
                MetricType::Untyped,
                MetricType::Histogram,
                MetricType::GaugeHistogram,
            ];
            let kind = all.into_iter().find(|kind| *kind as u64 == number).ok_or(Fault::Malformed)?;
            out.extend_from_slice(kind.upper().as_bytes());
        }
        Kind::Message(_) => return Err(Fault::Malformed),
    }
    Ok(())
}

fn write_signed(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_double(out: &mut Vec<u8>, value: f64) {
    match value {
        f64::INFINITY => out.extend_from_slice(b"inf"),
        f64::NEG_INFINITY => out.extend_from_slice(b"-inf"),
        _ if value.is_nan() => out.extend_from_slice(b"nan"),
        _ => write_float_json(out, value),
    }
}

fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..='\x1f' | '\x7f' => {
                out.extend_from_slice(format!("\\x{:02x}", character as u32).as_bytes());
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::protobuf::oracle::{self, Histogram, Metric, MetricFamily, Plain};

    #[test]
    fn both_layouts() {
        let histogram = Histogram {
            sample_count: Some(3),
            schema: Some(-1),
            negative_delta: vec![-1, 2],
            positive_delta: vec![1, -2],
            positive_count: vec![0.5, f64::NAN],
            ..Default::default()
        };
        let family = |name: &str, kind, metric| MetricFamily {
            name: Some(name.into()),
            r#type: Some(kind),
            metric,
            ..Default::default()
        };
        let plain = Metric {
            label: vec![oracle::label("a", "b\"\n\x01é")],
            gauge: Some(Plain { value: Some(f64::INFINITY) }),
            ..Default::default()
        };
        let histogram = Metric { histogram: Some(histogram), ..Default::default() };
        let delimited = oracle::encoded(&[family("g", 1, vec![plain]), family("h", 5, vec![histogram])]);
        let text = |format| String::from_utf8(of_delimited(&delimited, format)).unwrap();
        assert_eq!(
            text(Format::ProtoCompact),
            "name:\"g\" type:GAUGE metric:{label:{name:\"a\" value:\"b\\\"\\n\\x01é\"} gauge:{value:inf}}\n\
             name:\"h\" type:GAUGE_HISTOGRAM metric:{histogram:{sample_count:3 schema:-1 negative_delta:-1 \
             negative_delta:2 positive_delta:1 positive_delta:-2 positive_count:0.5 positive_count:nan}}\n"
        );
        let lines = "name: \"g\"\ntype: GAUGE\nmetric: {\n  label: {\n    name: \"a\"\n    \
                     value: \"b\\\"\\n\\x01é\"\n  }\n  gauge: {\n    value: inf\n  }\n}\n\nname: \"h\"\n";
        assert_eq!(&text(Format::ProtoText)[..lines.len()], lines);
    }
}

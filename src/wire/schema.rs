//! The messages of `io.prometheus.client` (client_model 0.6), as data: which field has which number,
//! name and type.
//!
//! What is kept of a push as it came is checked against this first, so that no scraper chokes on it
//! later; and the text forms of an exposition are written from it.

use super::{Fault, Reader, Value};

#[derive(Debug)]
pub struct Message {
    /// Sorted by number.
    pub fields: &'static [Field],
}

#[derive(Debug)]
pub struct Field {
    pub number: u32,
    pub name: &'static str,
    pub kind: Kind,
}

/// The declared type of a field. The repeated numbers may be packed or not.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text,
    Double,
    /// `uint32` and `uint64`
    Unsigned,
    /// `int32` and `int64`
    Signed,
    /// `sint32`, which is cut to 32 bits before it is unfolded
    Zigzag32,
    /// `sint64`, repeated
    Zigzag64s,
    Doubles,
    MetricType,
    Message(&'static Message),
}

const fn field(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind }
}

pub static LABEL_PAIR: Message =
    Message { fields: &[field(1, "name", Kind::Text), field(2, "value", Kind::Text)] };

static TIMESTAMP: Message =
    Message { fields: &[field(1, "seconds", Kind::Signed), field(2, "nanos", Kind::Signed)] };

static EXEMPLAR: Message = Message {
    fields: &[
        field(1, "label", Kind::Message(&LABEL_PAIR)),
        field(2, "value", Kind::Double),
        field(3, "timestamp", Kind::Message(&TIMESTAMP)),
    ],
};

/// Both `Gauge` and `Untyped`.
pub static PLAIN: Message = Message { fields: &[field(1, "value", Kind::Double)] };

pub static COUNTER: Message = Message {
    fields: &[
        field(1, "value", Kind::Double),
        field(2, "exemplar", Kind::Message(&EXEMPLAR)),
        field(3, "created_timestamp", Kind::Message(&TIMESTAMP)),
    ],
};

static QUANTILE: Message =
    Message { fields: &[field(1, "quantile", Kind::Double), field(2, "value", Kind::Double)] };

pub static SUMMARY: Message = Message {
    fields: &[
        field(1, "sample_count", Kind::Unsigned),
        field(2, "sample_sum", Kind::Double),
        field(3, "quantile", Kind::Message(&QUANTILE)),
        field(4, "created_timestamp", Kind::Message(&TIMESTAMP)),
    ],
};

static BUCKET: Message = Message {
    fields: &[
        field(1, "cumulative_count", Kind::Unsigned),
        field(2, "upper_bound", Kind::Double),
        field(3, "exemplar", Kind::Message(&EXEMPLAR)),
        field(4, "cumulative_count_float", Kind::Double),
    ],
};

static BUCKET_SPAN: Message =
    Message { fields: &[field(1, "offset", Kind::Zigzag32), field(2, "length", Kind::Unsigned)] };

pub static HISTOGRAM: Message = Message {
    fields: &[
        field(1, "sample_count", Kind::Unsigned),
        field(2, "sample_sum", Kind::Double),
        field(3, "bucket", Kind::Message(&BUCKET)),
        field(4, "sample_count_float", Kind::Double),
        field(5, "schema", Kind::Zigzag32),
        field(6, "zero_threshold", Kind::Double),
        field(7, "zero_count", Kind::Unsigned),
        field(8, "zero_count_float", Kind::Double),
        field(9, "negative_span", Kind::Message(&BUCKET_SPAN)),
        field(10, "negative_delta", Kind::Zigzag64s),
        field(11, "negative_count", Kind::Doubles),
        field(12, "positive_span", Kind::Message(&BUCKET_SPAN)),
        field(13, "positive_delta", Kind::Zigzag64s),
        field(14, "positive_count", Kind::Doubles),
        field(15, "created_timestamp", Kind::Message(&TIMESTAMP)),
        field(16, "exemplars", Kind::Message(&EXEMPLAR)),
    ],
};

pub static METRIC: Message = Message {
    fields: &[
        field(1, "label", Kind::Message(&LABEL_PAIR)),
        field(2, "gauge", Kind::Message(&PLAIN)),
        field(3, "counter", Kind::Message(&COUNTER)),
        field(4, "summary", Kind::Message(&SUMMARY)),
        field(5, "untyped", Kind::Message(&PLAIN)),
        field(6, "timestamp_ms", Kind::Signed),
        field(7, "histogram", Kind::Message(&HISTOGRAM)),
    ],
};

pub static METRIC_FAMILY: Message = Message {
    fields: &[
        field(1, "name", Kind::Text),
        field(2, "help", Kind::Text),
        field(3, "type", Kind::MetricType),
        field(4, "metric", Kind::Message(&METRIC)),
        field(5, "unit", Kind::Text),
    ],
};

impl Message {
    pub fn field(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.number == number)
    }

    /// Whether `bytes` are such a message, to its last field. Unknown fields are not looked into. It
    /// calls itself for messages within, no deeper than the declarations above nest.
    pub fn check(&self, bytes: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.field()? {
            let Some(field) = self.field(number) else { continue };
            match (field.kind, value) {
                (Kind::Text, value) => drop(value.text()?),
                (Kind::Double | Kind::Doubles, Value::Fixed64(_)) => {}
                (Kind::Doubles, Value::Bytes(packed)) if packed.len() % 8 == 0 => {}
                (Kind::Zigzag64s, Value::Bytes(packed)) => check_varints(packed)?,
                (
                    Kind::Unsigned | Kind::Signed | Kind::Zigzag32 | Kind::Zigzag64s | Kind::MetricType,
                    Value::Varint(_),
                ) => {}
                (Kind::Message(message), Value::Bytes(bytes)) => message.check(bytes)?,
                _ => return Err(Fault::Malformed),
            }
        }
        Ok(())
    }
}

fn check_varints(packed: &[u8]) -> Result<(), Fault> {
    let mut reader = Reader::new(packed);
    while !reader.is_empty() {
        reader.varint().map_err(|_| Fault::Malformed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_checked_to_their_depth() {
        // A histogram with a bucket with an exemplar with a label whose value is not UTF-8.
        let inner = b"\x12\x01\xff";
        let exemplar = [&b"\x0a\x03"[..], inner].concat();
        let bucket = [&b"\x1a\x05"[..], &exemplar].concat();
        let histogram = [&b"\x1a\x07"[..], &bucket].concat();
        assert_eq!(HISTOGRAM.check(&histogram), Err(Fault::NotUtf8));
        // The same bytes in a field nobody knows.
        assert_eq!(PLAIN.check(&histogram), Ok(()));
        for (bytes, verdict) in [
            (&b""[..], Ok(())),
            (b"\x08\x05", Ok(())),
            (b"\x09\0\0\0\0\0\0\0\0", Err(Fault::Malformed)),
            // Deltas packed and not; a packed one cut.
            (b"\x50\x01\x52\x02\x01\x01", Ok(())),
            (b"\x52\x01\x81", Err(Fault::Malformed)),
            (b"\x5a\x08\0\0\0\0\0\0\0\0", Ok(())),
            (b"\x5a\x07\0\0\0\0\0\0\0", Err(Fault::Malformed)),
            (b"\x4a\x01\x08", Err(Fault::Malformed)),
        ] {
            assert_eq!(HISTOGRAM.check(bytes), verdict, "{bytes:x?}");
        }
    }
}

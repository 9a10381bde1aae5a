//! Just enough protobuf to write the messages of a delimited body by hand.

/// One message under construction.
#[derive(Clone, Default)]
pub struct Message(Vec<u8>);

impl Message {
    pub fn new() -> Message {
        Message::default()
    }

    pub fn uint(mut self, field: u8, value: u64) -> Message {
        self.0.push(field << 3);
        varint(&mut self.0, value);
        self
    }

    pub fn double(mut self, field: u8, value: f64) -> Message {
        self.0.push(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn bytes(mut self, field: u8, value: &[u8]) -> Message {
        self.0.push(field << 3 | 2);
        varint(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub fn text(self, field: u8, value: &str) -> Message {
        self.bytes(field, value.as_bytes())
    }

    pub fn message(self, field: u8, value: Message) -> Message {
        self.bytes(field, &value.0)
    }

    /// A `LabelPair` in field 1, where every metric has its labels.
    pub fn label(self, name: &str, value: &str) -> Message {
        self.message(1, Message::new().text(1, name).text(2, value))
    }
}

/// The types of a metric family, by their numbers.
pub const COUNTER: u64 = 0;
pub const GAUGE: u64 = 1;
pub const HISTOGRAM: u64 = 4;

/// A `MetricFamily`.
pub fn family(name: &str, help: &str, kind: u64, metrics: impl IntoIterator<Item = Message>) -> Message {
    let head = Message::new().text(1, name).text(2, help).uint(3, kind);
    metrics.into_iter().fold(head, |family, metric| family.message(4, metric))
}

/// The families as a body: each after its length.
pub fn delimited(families: impl IntoIterator<Item = Message>) -> Vec<u8> {
    let mut body = Vec::new();
    for family in families {
        varint(&mut body, family.0.len() as u64);
        body.extend(family.0);
    }
    body
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

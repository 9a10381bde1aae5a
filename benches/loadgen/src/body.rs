//! What is pushed: families of a batch job, with values that can be told apart when read back.
//!
//! A variant is a set of values; its number and the series' give the value, so a reader of the exposition
//! knows which push a series comes from. Bodies are made before the load begins.

use std::fmt::Write;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::options::Format;

/// Name prefix of all families; nothing else in an exposition begins so.
pub const PREFIX: &str = "load_stage_";

/// Sets of values, where bodies are small enough for so many.
pub const VARIANTS: u16 = 16;

const FAMILIES: u32 = 10;

/// The series of a group.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    families: u32,
    series: u32,
}

/// Which families a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The first half of the families; all of one.
    FirstHalf,
}

impl Layout {
    pub fn new(series: u32) -> Layout {
        Layout { families: series.min(FAMILIES), series }
    }

    pub fn families(&self, part: Part) -> u32 {
        match part {
            Part::Whole => self.families,
            Part::FirstHalf => self.families.div_ceil(2),
        }
    }

    /// Series of the family: the first ones have one more where they do not come out even.
    pub fn series_of(&self, family: u32) -> u32 {
        self.series / self.families + u32::from(family < self.series % self.families)
    }

    /// The value of a series in a variant. Counters are whole numbers, gauges have three decimals.
    pub fn value(family: u32, shard: u32, variant: u16) -> f64 {
        // Distinct for all variants of a series; the factor makes neighbours differ in more than a digit.
        let number =
            (u64::from(variant) * 7919 + u64::from(family) * 331 + u64::from(shard) * 17) % 1_000_003;
        if is_counter(family) { number as f64 } else { number as f64 / 1000.0 }
    }

    pub fn body(&self, part: Part, variant: u16, format: Format, gzip: bool) -> Vec<u8> {
        let body = match format {
            Format::Text => self.text(part, variant).into_bytes(),
            Format::Protobuf => self.protobuf(part, variant),
        };
        if !gzip {
            return body;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(&body).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
    }

    fn text(&self, part: Part, variant: u16) -> String {
        let mut text = String::new();
        for family in 0..self.families(part) {
            let name = name(family);
            let kind = if is_counter(family) { "counter" } else { "gauge" };
            // Writing to a string does not fail.
            let _ = write!(text, "# HELP {name} What stage {family} of the job did.\n# TYPE {name} {kind}\n");
            for shard in 0..self.series_of(family) {
                let value = Layout::value(family, shard, variant);
                let _ = writeln!(
                    text,
                    "{name}{{shard=\"{shard}\",region=\"eu-west-1\",status=\"succeeded\"}} {value}"
                );
            }
        }
        text
    }

    /// The families as delimited messages of `io.prometheus.client`.
    fn protobuf(&self, part: Part, variant: u16) -> Vec<u8> {
        let mut out = Vec::new();
        for family in 0..self.families(part) {
            let mut message = Vec::new();
            bytes(&mut message, 1, name(family).as_bytes());
            bytes(&mut message, 2, format!("What stage {family} of the job did.").as_bytes());
            // MetricType: COUNTER is 0, GAUGE is 1; the metric's fields are 3 and 2.
            let (kind, field) = if is_counter(family) { (0, 3) } else { (1, 2) };
            message.extend([3 << 3, kind]);
            for shard in 0..self.series_of(family) {
                let mut metric = Vec::new();
                let shard_text = shard.to_string();
                for (label, value) in
                    [("shard", &*shard_text), ("region", "eu-west-1"), ("status", "succeeded")]
                {
                    let mut pair = Vec::new();
                    bytes(&mut pair, 1, label.as_bytes());
                    bytes(&mut pair, 2, value.as_bytes());
                    bytes(&mut metric, 1, &pair);
                }
                let mut value = vec![1 << 3 | 1];
                value.extend(Layout::value(family, shard, variant).to_le_bytes());
                bytes(&mut metric, field, &value);
                bytes(&mut message, 4, &metric);
            }
            varint(&mut out, message.len());
            out.extend(message);
        }
        out
    }
}

pub fn content_type(format: Format) -> &'static str {
    match format {
        Format::Text => "text/plain; version=0.0.4",
        Format::Protobuf => {
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        }
    }
}

fn name(family: u32) -> String {
    format!("{PREFIX}{family}_{}", if is_counter(family) { "records_total" } else { "seconds" })
}

fn is_counter(family: u32) -> bool {
    family.is_multiple_of(2)
}

/// A length-delimited field.
fn bytes(out: &mut Vec<u8>, field: u8, content: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, content.len());
    out.extend_from_slice(content);
}

fn varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_hold_what_was_asked_for() {
        for series in [1, 3, 10, 99, 100, 1234] {
            let layout = Layout::new(series);
            let sum: u32 = (0..layout.families(Part::Whole)).map(|family| layout.series_of(family)).sum();
            assert_eq!(sum, series);
            let text = layout.text(Part::Whole, 3);
            assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), series as usize);
        }
        assert_eq!(Layout::new(1).families(Part::FirstHalf), 1);
    }

    #[test]
    fn variants_differ_in_every_series() {
        for (family, shard) in [(0, 0), (1, 5), (9, 99_999)] {
            let mut values: Vec<u64> =
                (0..VARIANTS).map(|variant| Layout::value(family, shard, variant).to_bits()).collect();
            values.sort_unstable();
            values.dedup();
            assert_eq!(values.len(), usize::from(VARIANTS));
        }
    }

    #[test]
    fn protobuf_is_framed() {
        let body = Layout::new(1).protobuf(Part::Whole, 1);
        // One message, whose length fits a byte; its first field is the name.
        assert_eq!(usize::from(body[0]), body.len() - 1);
        assert_eq!(&body[1..4], [1 << 3 | 2, 26, b'l']);
    }
}

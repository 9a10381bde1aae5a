//! From OpenMetrics to text 0.0.4, line by line. What text cannot say is set aside.

use std::collections::HashMap;

use rapidhash::quality::GlobalState;

use super::error::ErrorKind;
use super::line::{Line, Name, Sample, unescaped};
use super::{OpenMetrics, exemplar, line};
use crate::format::float::parse_float;
use crate::format::quote::quoted;
use crate::model::NameRules;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    StateSet,
    Info,
    Summary,
    Unknown,
}

/// Types by their names, with what they become in text and the suffix that their families get there.
const KINDS: [(&str, Kind, &str, &str); 8] = [
    ("counter", Kind::Counter, "counter", "_total"),
    ("gauge", Kind::Gauge, "gauge", ""),
    ("histogram", Kind::Histogram, "histogram", ""),
    ("gaugehistogram", Kind::GaugeHistogram, "gaugehistogram", ""),
    ("stateset", Kind::StateSet, "gauge", ""),
    ("info", Kind::Info, "gauge", "_info"),
    ("summary", Kind::Summary, "summary", ""),
    ("unknown", Kind::Unknown, "untyped", ""),
];

/// Suffixes of samples: in OpenMetrics, in text, and of which types.
const SUFFIXES: [(&str, &str, &[Kind]); 8] = [
    ("_total", "_total", &[Kind::Counter]),
    ("_created", "_created", &[Kind::Counter, Kind::Histogram, Kind::Summary]),
    ("_bucket", "_bucket", &[Kind::Histogram, Kind::GaugeHistogram]),
    ("_count", "_count", &[Kind::Histogram, Kind::Summary]),
    ("_sum", "_sum", &[Kind::Histogram, Kind::Summary]),
    ("_gcount", "_count", &[Kind::GaugeHistogram]),
    ("_gsum", "_sum", &[Kind::GaugeHistogram]),
    ("_info", "_info", &[Kind::Info]),
];

impl Kind {
    fn row(self) -> &'static (&'static str, Kind, &'static str, &'static str) {
        // In the order of the declaration.
        &KINDS[self as usize]
    }

    fn name(self) -> &'static str {
        self.row().0
    }

    /// What the family's name ends with once exposed.
    fn suffix(self) -> &'static str {
        self.row().3
    }
}

/// The types of all families, by name, since HELP may stand before TYPE.
pub(super) fn declared_kinds(body: &[u8]) -> HashMap<&[u8], Kind, GlobalState> {
    let mut kinds = HashMap::with_hasher(GlobalState::new());
    for line in body.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"# TYPE ")) {
        if let Some(Line::Type(name, kind)) = line::descriptor(line)
            && let Some((_, kind, ..)) = KINDS.iter().find(|row| row.0.as_bytes() == kind)
        {
            kinds.insert(name.text, *kind);
        }
    }
    kinds
}

pub(super) struct Rewriter<'b, 'd> {
    declared: &'d HashMap<&'b [u8], Kind, GlobalState>,
    names: NameRules,
    out: OpenMetrics,
    samples: usize,
}

impl<'b, 'd> Rewriter<'b, 'd> {
    pub(super) fn new(
        declared: &'d HashMap<&'b [u8], Kind, GlobalState>,
        names: NameRules,
        out: OpenMetrics,
    ) -> Self {
        Rewriter { declared, names, out, samples: 0 }
    }

    pub(super) fn finish(self) -> OpenMetrics {
        self.out
    }

    /// Writes one line for `line`, so that both bodies count lines alike; true if it was the last.
    pub(super) fn line(&mut self, line: &'b [u8]) -> Result<bool, ErrorKind> {
        let read = Line::read(line)?;
        match read {
            Line::Eof => {
                self.out.text.push(b'\n');
                return Ok(true);
            }
            Line::Help(name, text) => self.descriptor("# HELP ", name, text),
            Line::Type(name, text) => {
                let row = KINDS.iter().find(|row| row.0.as_bytes() == text);
                let row = row.ok_or_else(|| ErrorKind::UnknownType(quoted(text)))?;
                self.descriptor("# TYPE ", name, row.2.as_bytes());
            }
            Line::Unit(name, unit) => self.unit(name, unit)?,
            Line::Sample(sample) => self.sample(line, &sample)?,
        }
        Ok(false)
    }

    fn kind(&self, name: &[u8]) -> Kind {
        self.declared.get(name).copied().unwrap_or(Kind::Unknown)
    }

    fn descriptor(&mut self, keyword: &str, name: Name<'_>, text: &[u8]) {
        let suffix = self.kind(name.text).suffix();
        let out = &mut self.out.text;
        out.extend_from_slice(keyword.as_bytes());
        name.write(out, name.text, suffix);
        out.push(b' ');
        out.extend_from_slice(text);
        out.push(b'\n');
    }

    fn unit(&mut self, name: Name<'_>, unit: &[u8]) -> Result<(), ErrorKind> {
        self.out.text.push(b'\n');
        if unit.is_empty() {
            return Ok(());
        }
        let is_suffix = name.text.strip_suffix(unit).is_some_and(|stem| stem.ends_with(b"_"));
        let (Some(name_text), Some(unit), true) = (unescaped(name.text), unescaped(unit), is_suffix) else {
            return Err(ErrorKind::Unit { name: quoted(name.text), unit: quoted(unit) });
        };
        let exposed = name_text + self.kind(name.text).suffix();
        match self.out.units.insert(exposed, unit) {
            Some(_) => Err(ErrorKind::SecondUnit(quoted(name.text))),
            None => Ok(()),
        }
    }

    fn sample(&mut self, line: &[u8], sample: &Sample<'b>) -> Result<(), ErrorKind> {
        let name = sample.name;
        let (stem, kind, suffix) = self.resolve(name)?;
        // What is no number at all is left to the text parser.
        let is_allowed = |value: f64| value == 1.0 || value == 0.0 && kind == Kind::StateSet;
        if matches!(kind, Kind::Info | Kind::StateSet)
            && parse_float(sample.value).is_some_and(|value| !is_allowed(value))
        {
            return Err(ErrorKind::Value { text: quoted(sample.value), kind: kind.name() });
        }
        if let Some(exemplar) = sample.exemplar {
            if !matches!(suffix, "_total" | "_bucket") {
                return Err(ErrorKind::UnexpectedExemplar(quoted(name.text)));
            }
            self.out.exemplars.push((self.samples, exemplar::message(exemplar, self.names)?));
        }
        if let Some(timestamp) = sample.timestamp {
            let Some(seconds) = parse_float(timestamp) else {
                return Err(ErrorKind::Timestamp(quoted(timestamp)));
            };
            self.out.timestamped = true;
            let milliseconds = (seconds * 1000.0).round();
            if suffix != "_created" && milliseconds.abs() < i64::MAX as f64 {
                self.out.timestamps.push((self.samples, milliseconds as i64));
            }
        }
        if suffix == "_created" {
            self.created(stem, kind);
        }
        self.samples += 1;
        let out = &mut self.out.text;
        let is_same_name = stem.len() + suffix.len() == name.text.len()
            && (suffix.is_empty() || name.text.ends_with(suffix.as_bytes()));
        if is_same_name && sample.timestamp.is_none() && sample.exemplar.is_none() {
            out.extend_from_slice(line);
            out.push(b'\n');
            return Ok(());
        }
        out.extend_from_slice(if name.is_quoted { b"{" } else { b"" });
        name.write(out, stem, suffix);
        out.extend_from_slice(sample.labels);
        out.push(b' ');
        out.extend_from_slice(sample.value);
        out.push(b'\n');
        Ok(())
    }

    /// A sample's name without its suffix, the type of its family, and its suffix in text.
    fn resolve(&self, name: Name<'b>) -> Result<(&'b [u8], Kind, &'static str), ErrorKind> {
        if self.declared.is_empty() {
            return Ok((name.text, Kind::Unknown, ""));
        }
        if let Some(kind) = self.declared.get(name.text) {
            let needs_suffix =
                matches!(kind, Kind::Counter | Kind::Histogram | Kind::GaugeHistogram | Kind::Info);
            return if needs_suffix {
                Err(ErrorKind::NoSuffix { name: quoted(name.text), kind: kind.name() })
            } else {
                Ok((name.text, *kind, ""))
            };
        }
        for (suffix, in_text, kinds) in SUFFIXES {
            if let Some(stem) = name.text.strip_suffix(suffix.as_bytes())
                && let Some(kind) = self.declared.get(stem).filter(|kind| kinds.contains(kind))
            {
                return Ok((stem, *kind, in_text));
            }
        }
        Ok((name.text, Kind::Unknown, ""))
    }

    fn created(&mut self, stem: &[u8], kind: Kind) {
        // A name that is not text is refused by the text parser.
        let Some(stem) = unescaped(stem) else { return };
        let aside = format!("{stem}_created");
        self.out.created.entry(aside).or_insert_with(|| format!("{stem}{}", kind.suffix()));
    }
}

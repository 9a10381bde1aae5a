//! From OpenMetrics to text 0.0.4, line by line. What text cannot say is set aside.
//!
//! Most lines mean the same in both. They are not copied one by one: what lies between two lines that do not is
//! copied at once, and a body without any is not copied at all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use rapidhash::quality::GlobalState;

use super::error::ErrorKind;
use super::line::{Line, Name, Sample, plain_sample, unescaped};
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

/// The row of [`KINDS`] with this name.
fn row_of(name: &[u8]) -> Option<&'static (&'static str, Kind, &'static str, &'static str)> {
    // All names but those of gauges and histograms differ in their lengths or first letters.
    KINDS.iter().find(|row| {
        let own = row.0.as_bytes();
        own.len() == name.len() && own[0] == name[0] && own == name
    })
}

/// Families for which there is room before they are seen.
const EXPECTED_MAX: usize = 4096;

/// The types of all families, by name, since HELP may stand before TYPE.
pub(super) fn declared_kinds(body: &[u8]) -> HashMap<&[u8], Kind, GlobalState> {
    let mut kinds = HashMap::with_hasher(GlobalState::new());
    for at in memchr::memmem::find_iter(body, b"# TYPE ") {
        if at > 0 && body[at - 1] != b'\n' {
            continue;
        }
        let line = &body[at..];
        let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
        if let Some(Line::Type(name, kind)) = line::descriptor(line)
            && let Some((_, kind, ..)) = row_of(kind)
        {
            if kinds.is_empty() {
                // Families have a few lines each.
                kinds.reserve((body.len() / 32).min(EXPECTED_MAX));
            }
            kinds.insert(name.text, *kind);
        }
    }
    kinds
}

pub(super) struct Rewriter<'b, 'd> {
    body: &'b [u8],
    declared: &'d HashMap<&'b [u8], Kind, GlobalState>,
    names: NameRules,
    out: OpenMetrics<'b>,
    /// The text of all lines that end before [`kept`](Self::kept).
    text: Vec<u8>,
    /// Where the lines begin that mean the same in text and were not copied yet.
    kept: usize,
    samples: usize,
    last: Resolved<'b>,
}

/// What the name of a sample says. The default one is no sample's.
struct Resolved<'b> {
    name: &'b [u8],
    /// How long it is without its suffix.
    stem: usize,
    kind: Kind,
    suffix: &'static str,
}

impl<'b, 'd> Rewriter<'b, 'd> {
    pub(super) fn new(
        body: &'b [u8],
        declared: &'d HashMap<&'b [u8], Kind, GlobalState>,
        names: NameRules,
    ) -> Self {
        Rewriter {
            body,
            declared,
            names,
            out: OpenMetrics::default(),
            text: Vec::new(),
            kept: 0,
            samples: 0,
            last: Resolved { name: b"\n", stem: 0, kind: Kind::Unknown, suffix: "" },
        }
    }

    /// All that was read, up to `end`.
    pub(super) fn finish(mut self, end: usize) -> OpenMetrics<'b> {
        let rest = &self.body[self.kept..end];
        self.out.text = if self.kept == 0 {
            Cow::Borrowed(rest)
        } else {
            self.text.extend_from_slice(rest);
            Cow::Owned(self.text)
        };
        self.out
    }

    /// Takes the line that begins at `start` if it is a [plain sample](plain_sample), and says where the next one
    /// begins.
    #[inline]
    pub(super) fn plain_line(&mut self, start: usize) -> Option<usize> {
        let text = &self.body[start..];
        let sample = plain_sample(text)?;
        let name = sample.name.text;
        if !self.declared.is_empty() && name != self.last.name {
            let (stem, kind, suffix) = self.resolve(sample.name).ok()?;
            if suffix == "_created" {
                self.created(stem, kind);
            }
            self.last = Resolved { name, stem: stem.len(), kind, suffix };
        }
        let Resolved { stem, kind, suffix, .. } = self.last;
        if matches!(kind, Kind::Info | Kind::StateSet) && text[sample.value.clone()] != *b"1" {
            return None;
        }
        if !self.declared.is_empty() && stem + suffix.len() != name.len() {
            let name_start = start + if sample.name.is_quoted { 2 } else { 0 };
            let out = self.replace(name_start + stem..name_start + name.len());
            out.extend_from_slice(suffix.as_bytes());
        }
        if sample.value.end < sample.end {
            self.timestamp(&text[sample.value.end + 1..sample.end], suffix != "_created").ok()?;
            self.replace(start + sample.value.end..start + sample.end);
        }
        self.samples += 1;
        Some(start + sample.end + 1)
    }

    /// Notes that a sample has a timestamp, and which, if that is kept.
    fn timestamp(&mut self, text: &[u8], is_kept: bool) -> Result<(), ErrorKind> {
        let seconds = parse_float(text).ok_or_else(|| ErrorKind::Timestamp(quoted(text)))?;
        self.out.timestamped = true;
        let milliseconds = (seconds * 1000.0).round();
        if is_kept && milliseconds.abs() < i64::MAX as f64 {
            self.out.timestamps.push((self.samples, milliseconds as i64));
        }
        Ok(())
    }

    /// Puts what the caller then writes in the place of the lines of `range`.
    fn replace(&mut self, range: Range<usize>) -> &mut Vec<u8> {
        if self.text.capacity() == 0 {
            self.text.reserve(self.body.len() + self.body.len() / 8);
        }
        self.text.extend_from_slice(&self.body[self.kept..range.start]);
        self.kept = range.end;
        &mut self.text
    }

    /// Reads the line that `range` holds with its line feed; true if it was the last. For any other the text
    /// has one line too, so that both count them alike.
    pub(super) fn line(&mut self, range: Range<usize>) -> Result<bool, ErrorKind> {
        let line = &self.body[range.clone()];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        match Line::read(line)? {
            Line::Eof => return Ok(true),
            Line::Help(name, text) => self.descriptor(range, "# HELP ", name, text, text),
            Line::Type(name, text) => {
                let row = row_of(text).ok_or_else(|| ErrorKind::UnknownType(quoted(text)))?;
                self.descriptor(range, "# TYPE ", name, text, row.2.as_bytes());
            }
            // A comment like any other in text.
            Line::Unit(name, unit) => self.unit(name, unit)?,
            Line::Sample(sample) => self.sample(range, &sample)?,
        }
        Ok(false)
    }

    fn kind(&self, name: &[u8]) -> Kind {
        self.declared.get(name).copied().unwrap_or(Kind::Unknown)
    }

    /// Writes a line whose text is `old` with the text `new`.
    fn descriptor(&mut self, range: Range<usize>, keyword: &str, name: Name<'_>, old: &[u8], new: &[u8]) {
        let suffix = self.kind(name.text).suffix();
        if suffix.is_empty() && old == new {
            return;
        }
        let out = self.replace(range);
        out.extend_from_slice(keyword.as_bytes());
        name.write(out, name.text, suffix);
        out.push(b' ');
        out.extend_from_slice(new);
        out.push(b'\n');
    }

    fn unit(&mut self, name: Name<'b>, unit: &'b [u8]) -> Result<(), ErrorKind> {
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

    fn sample(&mut self, range: Range<usize>, sample: &Sample<'b>) -> Result<(), ErrorKind> {
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
            let start = self.out.exemplar_bytes.len();
            exemplar::write(exemplar, self.names, &mut self.out.exemplar_bytes)?;
            self.out.exemplars.push((self.samples, start..self.out.exemplar_bytes.len()));
        }
        if let Some(timestamp) = sample.timestamp {
            self.timestamp(timestamp, suffix != "_created")?;
        }
        if suffix == "_created" {
            self.created(stem, kind);
        }
        self.samples += 1;
        let is_same_name =
            stem.len() + suffix.len() == name.text.len() && name.text.ends_with(suffix.as_bytes());
        if is_same_name && sample.timestamp.is_none() && sample.exemplar.is_none() {
            return Ok(());
        }
        let out = self.replace(range);
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
        let Some(mark) = memchr::memrchr(b'_', name.text) else {
            return Ok((name.text, Kind::Unknown, ""));
        };
        let (stem, suffix) = name.text.split_at(mark);
        // Each begins with its only such mark.
        if let Some((_, in_text, kinds)) = SUFFIXES.iter().find(|row| row.0.as_bytes() == suffix)
            && let Some(kind) = self.declared.get(stem).filter(|kind| kinds.contains(kind))
        {
            return Ok((stem, *kind, in_text));
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

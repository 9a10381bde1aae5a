//! Lines of OpenMetrics, taken apart. Names and labels are not judged here: what they have in common
//! with the text format is left to its parser.

use super::error::ErrorKind;
use crate::format::quote::quoted;
use crate::parse::scan::{self, COLON, DIGIT, LETTER};

/// A metric name as it stands in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'b> {
    /// Without its quotes, escapes unresolved.
    pub(super) text: &'b [u8],
    pub(super) is_quoted: bool,
}

impl Name<'_> {
    pub(super) fn write(self, out: &mut Vec<u8>, stem: &[u8], suffix: &str) {
        let quote: &[u8] = if self.is_quoted { b"\"" } else { b"" };
        for piece in [quote, stem, suffix.as_bytes(), quote] {
            out.extend_from_slice(piece);
        }
    }
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'b> {
    Eof,
    Help(Name<'b>, &'b [u8]),
    Type(Name<'b>, &'b [u8]),
    Unit(Name<'b>, &'b [u8]),
    Sample(Sample<'b>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sample<'b> {
    pub(super) name: Name<'b>,
    /// What stands between name and value: nothing, or labels in their braces. If the name stands inside
    /// the braces, only what is behind it.
    pub(super) labels: &'b [u8],
    pub(super) value: &'b [u8],
    pub(super) timestamp: Option<&'b [u8]>,
    /// From the brace on.
    pub(super) exemplar: Option<&'b [u8]>,
}

impl<'b> Line<'b> {
    pub(super) fn read(line: &'b [u8]) -> Result<Line<'b>, ErrorKind> {
        match line {
            [] => Err(ErrorKind::EmptyLine),
            b"# EOF" => Ok(Line::Eof),
            [b'#', ..] => descriptor(line).ok_or_else(|| ErrorKind::Descriptor(quoted(line))),
            _ => sample(line).map(Line::Sample),
        }
    }
}

/// What a line that begins with `#` says, if anything.
pub(super) fn descriptor(line: &[u8]) -> Option<Line<'_>> {
    let rest = line.strip_prefix(b"# ")?;
    let (keyword, rest) = rest.split_first_chunk::<5>()?;
    let make = match keyword {
        b"HELP " => Line::Help,
        b"TYPE " => Line::Type,
        b"UNIT " => Line::Unit,
        _ => return None,
    };
    let (name, rest) = name(rest)?;
    Some(make(name, rest.strip_prefix(b" ")?))
}

/// The name at the beginning of `text`, and what follows.
fn name(text: &[u8]) -> Option<(Name<'_>, &[u8])> {
    if let Some(inner) = text.strip_prefix(b"\"") {
        let end = closing_quote(inner)?;
        return Some((Name { text: &inner[..end], is_quoted: true }, &inner[end + 1..]));
    }
    let first = *text.first()?;
    let len = if scan::is(first, LETTER | COLON) { scan::run(text, LETTER | DIGIT | COLON) } else { 0 };
    let (name, rest) = text.split_at(len);
    (len > 0).then_some((Name { text: name, is_quoted: false }, rest))
}

/// Where the quoted text that `text` begins with ends.
pub(super) fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', &text[at..])?;
        if text[at] == b'"' {
            return Some(at);
        }
        // Whatever is escaped cannot end it.
        at += 2;
        if at > text.len() {
            return None;
        }
    }
}

/// The length of the labels that `text` begins with, from brace to brace.
pub(super) fn labels_len(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'}', &text[at..])?;
        if text[at] == b'}' {
            return Some(at + 1);
        }
        at += 1 + closing_quote(&text[at + 1..])? + 1;
    }
}

fn sample(line: &[u8]) -> Result<Sample<'_>, ErrorKind> {
    let bad_name = || ErrorKind::MetricName(quoted(line));
    let is_name_inside = line.starts_with(b"{");
    let (name, rest) = name(&line[usize::from(is_name_inside)..]).ok_or_else(bad_name)?;
    if name.is_quoted != is_name_inside {
        return Err(bad_name());
    }
    let labels = match rest {
        _ if is_name_inside => labels_len(rest),
        [b'{', ..] => labels_len(rest),
        _ => Some(0),
    };
    let (labels, rest) = rest.split_at(labels.ok_or_else(|| ErrorKind::OpenLabels(quoted(line)))?);
    let (value, mut rest) = word(rest)?;
    let mut timestamp = None;
    if !rest.is_empty() && !rest.starts_with(b" # ") {
        let (word, after) = word(rest)?;
        timestamp = Some(word);
        rest = after;
    }
    let exemplar = match rest {
        [] => None,
        rest => Some(rest.strip_prefix(b" # ").ok_or_else(|| ErrorKind::NoSpace(quoted(rest)))?),
    };
    Ok(Sample { name, labels, value, timestamp, exemplar })
}

/// The word behind the one space that `text` begins with, and what follows it.
pub(super) fn word(text: &[u8]) -> Result<(&[u8], &[u8]), ErrorKind> {
    let fault = || ErrorKind::NoSpace(quoted(text));
    let rest = text.strip_prefix(b" ").ok_or_else(fault)?;
    let len = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    if len == 0 {
        return Err(fault());
    }
    Ok(rest.split_at(len))
}

/// Quoted text with its escapes resolved; `None` if one of them is none, or if it is not UTF-8.
pub(super) fn unescaped(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                &other @ (b'\\' | b'"') => other,
                _ => return None,
            },
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

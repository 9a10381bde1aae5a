//! Lines of OpenMetrics, taken apart. Names and labels are not judged here: what they have in common
//! with the text format is left to its parser.

use std::borrow::Cow;
use std::ops::Range;

use super::error::ErrorKind;
use crate::format::quote::quoted;
use crate::parse::scan::{self, COLON, LETTER};

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
    let (name, rest) = bare_name(text)?;
    Some((Name { text: name, is_quoted: false }, rest))
}

#[inline]
fn bare_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let begins = scan::is(*text.first()?, LETTER | COLON);
    begins.then(|| text.split_at(scan::name_run::<true>(text)))
}

/// Where the quoted text that `text` begins with ends, which it does before any line feed.
#[inline]
pub(super) fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += scan::quoted_run(text.get(at..)?);
        match text.get(at)? {
            b'"' => return Some(at),
            // Whatever is escaped cannot end it.
            b'\\' if *text.get(at + 1)? != b'\n' => at += 2,
            _ => return None,
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

/// A sample line as most are; see [`plain_sample`]. Positions count from its beginning.
pub(super) struct PlainSample<'b> {
    pub(super) name: Name<'b>,
    pub(super) value: Range<usize>,
    /// Where the line feed stands. Between value and line feed there is nothing, or a blank and a timestamp.
    pub(super) end: usize,
}

/// The sample that `text` begins with; `None` unless it is a name, labels or none, a value, a timestamp or none, and
/// no more.
#[inline]
pub(super) fn plain_sample(text: &[u8]) -> Option<PlainSample<'_>> {
    let (name, mut at, has_labels) = if let [b'{', b'"', inner @ ..] = text {
        let len = closing_quote(inner)?;
        (Name { text: &inner[..len], is_quoted: true }, 2 + len + 1, true)
    } else {
        let (name, rest) = bare_name(text)?;
        (Name { text: name, is_quoted: false }, name.len(), rest.first() == Some(&b'{'))
    };
    if has_labels {
        at += scan::labels_run(&text[at..])?;
    }
    let value = plain_word(text, at)?;
    let mut end = value.end;
    if text.get(end) == Some(&b' ') {
        end = plain_word(text, end)?.end;
    }
    (text.get(end) == Some(&b'\n')).then_some(PlainSample { name, value, end })
}

/// The word behind the one blank that stands at `at`.
#[inline]
fn plain_word(text: &[u8], at: usize) -> Option<Range<usize>> {
    let word = text[at..].strip_prefix(b" ")?;
    let len = word.iter().position(|&byte| byte == b' ' || byte == b'\n')?;
    (len > 0).then_some(at + 1..at + 1 + len)
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
pub(super) fn unescaped(text: &[u8]) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', text).is_none() {
        return std::str::from_utf8(text).ok().map(Cow::Borrowed);
    }
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
    String::from_utf8(out).ok().map(Cow::Owned)
}

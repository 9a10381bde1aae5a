//! Text bodies of careless clients, for plugins that put them right: names that are none, and `null`.
//!
//! Lines that the parser refuses for their names or for the word `null` are spelled anew with quoted
//! names and `NaN`; all others stay as they are, and so does their number. Whoever reads the result must
//! check names again later, and has [`refused`] for the words.

use std::borrow::Cow;

use super::scan::{self, BLANK, COLON, DIGIT, LETTER};
use super::text::{self, ParseError};
use crate::format::float::parse_float;
use crate::model::{Families, LooseLine, NameRules};

/// A body spelled anew.
pub struct Loose {
    pub body: Vec<u8>,
    /// The lines that were changed, counted from 1, ascending, and whether each was `null`.
    changed: Vec<(u32, bool)>,
}

/// Spells `body` anew.
pub fn loosen(body: &[u8]) -> Loose {
    let mut loose = Loose { body: Vec::with_capacity(body.len() + body.len() / 8), changed: Vec::new() };
    let mut number = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        number += 1;
        let (line, end) = match line.strip_suffix(b"\n") {
            Some(line) => (line, &b"\n"[..]),
            None => (line, &b""[..]),
        };
        let start = scan::run(line, BLANK);
        let spelled = match &line[start..] {
            [] => None,
            [b'#', comment @ ..] => respell_comment(comment),
            sample => respell_sample(sample),
        };
        match spelled {
            Some(spelled) => {
                loose.body.extend_from_slice(&spelled.text);
                loose.changed.push((number, spelled.null));
            }
            None => loose.body.extend_from_slice(line),
        }
        loose.body.extend_from_slice(end);
    }
    loose
}

impl Loose {
    /// Where each series of `families` stood, which were read from this body. Of several lines, the first
    /// that was changed counts. All are unknown if the body has timestamps.
    pub fn lines(&self, families: &Families<'_>) -> Vec<LooseLine> {
        let mut lines = vec![LooseLine::default(); families.series.len()];
        let (mut number, mut at) = (1, 0);
        for sample in &families.samples {
            let start = sample.start as usize;
            number += memchr::memchr_iter(b'\n', &self.body[at..start]).count() as u32;
            at = start;
            let Some(line) = lines.get_mut(sample.series as usize) else { continue };
            let changed = self.changed.binary_search_by_key(&number, |changed| changed.0);
            let null = changed.is_ok_and(|at| self.changed[at].1);
            let was_changed =
                |line: &LooseLine| self.changed.binary_search_by_key(&line.line, |changed| changed.0).is_ok();
            if line.line == 0 || (changed.is_ok() && !was_changed(line)) {
                line.line = number;
            }
            line.null |= null;
        }
        lines
    }
}

/// What the parser says of one line of `body`, counted from 1, whatever stands before it.
pub fn refused(body: &[u8], line: u32, names: NameRules) -> Option<ParseError> {
    let text = body.split(|byte| *byte == b'\n').nth((line as usize).checked_sub(1)?)?;
    let alone = [text, b"\n"].concat();
    let error = text::parse(&alone, names, Families::default()).err()?;
    Some(ParseError { line: line as usize, ..error })
}

struct Spelled {
    text: Vec<u8>,
    null: bool,
}

/// Whether all of `name` is a bare name; `extra` are classes beyond those of a label name.
fn is_bare(name: &[u8], extra: u8) -> bool {
    name.first().is_some_and(|first| scan::is(*first, LETTER | extra))
        && scan::run(name, LETTER | DIGIT | extra) == name.len()
}

/// A name in quotes; nothing if it is no text.
fn quoted(name: &[u8]) -> Option<Vec<u8>> {
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    let mut out = vec![b'"'];
    for byte in name {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
    Some(out)
}

fn is_quoted(name: &[u8]) -> bool {
    name.len() > 1 && name.starts_with(b"\"") && name.ends_with(b"\"")
}

/// HELP or TYPE of a name that is none. `comment` is what follows the `#`.
fn respell_comment(comment: &[u8]) -> Option<Spelled> {
    let comment = comment.trim_ascii_start();
    let (keyword, rest) = comment.split_at(scan::run_without(comment, BLANK));
    let rest = rest.trim_ascii_start();
    let (name, rest) = rest.split_at(scan::run_without(rest, BLANK));
    // A quoted name may hold blanks, and is read by the parser.
    let is_spelled = name.first() == Some(&b'"');
    if is_spelled
        || !matches!(keyword, b"HELP" | b"TYPE")
        || rest.is_empty()
        || is_bare(name, COLON)
        || is_quoted(name)
    {
        return None;
    }
    let text = [&b"# "[..], keyword, b" ", &quoted(name)?, rest].concat();
    Some(Spelled { text, null: false })
}

fn respell_sample(line: &[u8]) -> Option<Spelled> {
    match memchr::memchr(b'{', line) {
        // A brace behind a quote is part of a name.
        Some(brace) if memchr::memchr(b'"', &line[..brace]).is_none() => respell_labelled(line, brace),
        _ => respell_bare(line),
    }
}

/// A line without labels: what follows the last blanks is the value.
fn respell_bare(line: &[u8]) -> Option<Spelled> {
    let line = line.trim_ascii_end();
    let cut = line.iter().rposition(|byte| scan::is(*byte, BLANK))? + 1;
    let (name, value) = (line[..cut].trim_ascii_end(), &line[cut..]);
    let null = value == b"null";
    let first = &name[..scan::run_without(name, BLANK)];
    let second = name[first.len()..].trim_ascii_start();
    // As the parser reads it: a name, a value, maybe a timestamp.
    let is_fine = is_bare(first, COLON) && (second.is_empty() || parse_float(second).is_some());
    if !null && (is_fine || is_quoted(name)) {
        return None;
    }
    let value = if null { &b"NaN"[..] } else { value };
    let text = if is_bare(name, COLON) {
        [name, &b" "[..], value].concat()
    } else if is_quoted(name) {
        [&b"{"[..], name, b"} ", value].concat()
    } else {
        [&b"{"[..], &quoted(name)?, b"} ", value].concat()
    };
    Some(Spelled { text, null })
}

fn respell_labelled(line: &[u8], brace: usize) -> Option<Spelled> {
    let name = line[..brace].trim_ascii_end();
    let (mut out, mut changed) = (Vec::with_capacity(line.len() + 8), false);
    if name.is_empty() || is_bare(name, COLON) {
        out.extend_from_slice(name);
        out.push(b'{');
    } else {
        changed = true;
        out.push(b'{');
        out.extend_from_slice(&quoted(name)?);
        let is_last = line[brace + 1..].trim_ascii_start().starts_with(b"}");
        out.extend_from_slice(if is_last { &b""[..] } else { b"," });
    }
    let mut at = brace + 1;
    loop {
        at += scan::run(&line[at..], BLANK);
        if line.get(at) == Some(&b'}') {
            break;
        }
        let name_end = at + name_len(&line[at..])?;
        let name = line[at..name_end].trim_ascii_end();
        let spelled = if is_bare(name, 0) || is_quoted(name) {
            Cow::Borrowed(name)
        } else {
            changed = true;
            Cow::Owned(quoted(name)?)
        };
        out.extend_from_slice(&spelled);
        at = name_end;
        if line.get(at) == Some(&b'=') {
            let value_start = at + 1 + scan::run(&line[at + 1..], BLANK);
            let value_end = value_start + quoted_len(&line[value_start..])?;
            out.push(b'=');
            out.extend_from_slice(&line[value_start..value_end]);
            at = value_end + scan::run(&line[value_end..], BLANK);
        }
        match line.get(at)? {
            b',' => {
                out.push(b',');
                at += 1;
            }
            b'}' => break,
            _ => return None,
        }
    }
    out.extend_from_slice(b"} ");
    let rest = line[at + 1..].trim_ascii_start();
    let value = &rest[..scan::run_without(rest, BLANK)];
    let null = value == b"null";
    out.extend_from_slice(if null { &b"NaN"[..] } else { value });
    out.extend_from_slice(&rest[value.len()..]);
    (changed || null).then_some(Spelled { text: out, null })
}

/// Length of the label name that begins here, up to what ends it outside quotes.
fn name_len(text: &[u8]) -> Option<usize> {
    let quoted = if text.first() == Some(&b'"') { quoted_len(text)? } else { 0 };
    let end = text[quoted..].iter().position(|byte| matches!(byte, b'=' | b',' | b'}' | b'"'))?;
    (quoted + end > 0 && text[quoted + end] != b'"').then_some(quoted + end)
}

/// Length of the quoted text that begins here, quotes included.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    text.first().filter(|first| **first == b'"')?;
    loop {
        at += scan::quoted_run(text.get(at..)?);
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelled(body: &str) -> String {
        String::from_utf8(loosen(body.as_bytes()).body).unwrap()
    }

    #[test]
    fn what_is_spelled_anew() {
        for (body, expected) in [
            ("my metric-name 5\n", "{\"my metric-name\"} 5\n"),
            ("9lives 1\n", "{\"9lives\"} 1\n"),
            ("a-b 1", "{\"a-b\"} 1"),
            ("up null\n", "up NaN\n"),
            ("a.b{x-y=\"1\" , z = \"\\\"}\"} null 5\n", "{\"a.b\",\"x-y\"=\"1\",z=\"\\\"}\"} NaN 5\n"),
            ("a.b{} 1\n", "{\"a.b\"} 1\n"),
            ("a{x y=\"1\",} 1\n", "a{\"x y\"=\"1\",} 1\n"),
            ("say\\it 1\n", "{\"say\\\\it\"} 1\n"),
            ("# TYPE a-b counter\n", "# TYPE \"a-b\" counter\n"),
            ("#HELP a.b text\n", "# HELP \"a.b\" text\n"),
        ] {
            assert_eq!(spelled(body), expected);
            assert!(
                text::parse(expected.as_bytes(), NameRules::Utf8, Families::default()).is_ok()
                    || !expected.ends_with('\n')
            );
        }
    }

    #[test]
    fn what_stays_as_it_is() {
        for body in [
            "",
            "\n",
            "up 1\n",
            "up 1 5\n",
            "up{a=\"b\"} 1\n",
            "{\"a b\"} 1\n",
            "{\"a b\",x=\"y\"} 1 5\n",
            "# a comment\n",
            "# TYPE up counter\n",
            "# HELP up\n",
            "up\n",
            "up{a=\"b\n",
            "up{a=b} 1\n",
            "a\u{0}",
            "up{=\"x\"} 1\n",
            "# TYPE \"a b\" gauge\n",
        ] {
            assert_eq!(spelled(body), body, "{body:?}");
        }
    }

    #[test]
    fn lines_are_known() {
        let loose = loosen(b"# HELP x y\nok 1\nnot ok 2\n\nnil null\n");
        let families = text::parse(&loose.body, NameRules::Utf8, Families::default()).unwrap();
        let lines: Vec<_> = loose.lines(&families).iter().map(|line| (line.line, line.null)).collect();
        assert_eq!(lines, [(2, false), (3, false), (5, true)]);
        let refused = refused(b"ok 1\nnot ok 2\n", 2, NameRules::Legacy).unwrap();
        assert_eq!(
            refused.to_string(),
            "text format parsing error in line 2: expected float as value, got \"ok\""
        );
    }

    proptest! {
        #[test]
        fn what_is_well_stays_well_and_lines_stay_lines(body in "[ab1 {}\"\\\\=,#\nnul.-]{0,60}") {
            let loose = loosen(body.as_bytes());
            let lines = |body: &[u8]| body.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(lines(&loose.body), lines(body.as_bytes()));
            if let Ok(families) = text::parse(body.as_bytes(), NameRules::Utf8, Families::default()) {
                let again = text::parse(&loose.body, NameRules::Utf8, Families::default());
                prop_assert_eq!(again.map(|again| again.series.len()).ok(), Some(families.series.len()));
            }
        }
    }
}

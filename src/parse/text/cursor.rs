//! Tokens: blanks, names, quoted strings and bare words.
//!
//! A cursor only moves forward, and every loop over bytes ends at a line feed, so no token is longer
//! than its line and reading is linear.

use std::borrow::Cow;

use super::error::{ErrorKind, Fault};
use crate::format::float;
use crate::format::quote::quoted;
use crate::parse::scan::{self, BLANK, COLON, LETTER, LINE_FEED};

pub(super) struct Cursor<'b> {
    body: &'b [u8],
    /// The same, if all of it is UTF-8: then no token needs a look of its own.
    text: Option<&'b str>,
    pub(super) at: usize,
    /// Where texts with escapes are put together.
    unescaped: Vec<u8>,
}

/// A metric or label name as it was read.
pub(super) enum Name<'b> {
    /// Of the old character set, by how it was read. Empty if no name begins here.
    Bare(&'b str),
    /// At least partly in quotes: any bytes, maybe none.
    Quoted(Cow<'b, [u8]>),
}

/// See [`Cursor::plain_label`].
pub(super) struct PlainLabel<'b> {
    pub(super) name: &'b str,
    pub(super) value: &'b str,
    pub(super) is_guessed: bool,
}

impl Name<'_> {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Name::Bare(name) => name.is_empty(),
            Name::Quoted(name) => name.is_empty(),
        }
    }
}

impl<'b> Cursor<'b> {
    pub(super) fn new(body: &'b [u8]) -> Cursor<'b> {
        Cursor { body, text: std::str::from_utf8(body).ok(), at: 0, unescaped: Vec::new() }
    }

    /// The next byte, which is not consumed. The end of the body is a fault everywhere but at the start
    /// of a line.
    #[inline]
    pub(super) fn peek(&self) -> Result<u8, Fault> {
        match self.body.get(self.at) {
            Some(&byte) => Ok(byte),
            None => Err(end_of_input()),
        }
    }

    /// The same at the start of a line, where the body may end.
    #[inline]
    pub(super) fn next(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn rest(&self) -> &'b [u8] {
        &self.body[self.at..]
    }

    /// The line that `position` lies in, counted from 1. Looks at the whole body before it.
    pub(super) fn line_of(&self, position: usize) -> usize {
        1 + memchr::memchr_iter(b'\n', &self.body[..position]).count()
    }

    #[inline]
    pub(super) fn skip_blanks(&mut self) {
        while self.body.get(self.at).is_some_and(|&byte| scan::is(byte, BLANK)) {
            self.at += 1;
        }
    }

    /// The bytes up to the next blank or line feed, one of which must come.
    #[inline]
    pub(super) fn word(&mut self) -> Result<&'b [u8], Fault> {
        let start = self.at;
        self.at += scan::run_without(self.rest(), BLANK | LINE_FEED);
        self.peek()?;
        Ok(&self.body[start..self.at])
    }

    /// The number up to the next blank or line feed, one of which must come.
    #[inline]
    pub(super) fn float(&mut self) -> Result<f64, Fault> {
        match float::leading_float(self.rest()) {
            Some((value, len)) => {
                self.at += len;
                Ok(value)
            }
            None => {
                Err(self.word().map_or_else(|fault| fault, |word| Box::new(ErrorKind::Value(quoted(word)))))
            }
        }
    }

    /// The bytes up to the line feed, which is consumed and must come, as a text without escapes has
    /// them: every backslash is dropped.
    pub(super) fn rest_of_line(&mut self) -> Result<Cow<'b, [u8]>, Fault> {
        let rest = self.rest();
        let len = memchr::memchr(b'\n', rest).ok_or_else(end_of_input)?;
        self.at += len + 1;
        let line = &rest[..len];
        if memchr::memchr(b'\\', line).is_none() {
            return Ok(Cow::Borrowed(line));
        }
        Ok(Cow::Owned(line.iter().copied().filter(|&byte| byte != b'\\').collect()))
    }

    /// The bytes up to the line feed, which is consumed and must come, with escapes resolved.
    pub(super) fn help(&mut self) -> Result<Cow<'b, [u8]>, Fault> {
        let start = self.at;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let rest = self.rest();
            let Some(len) = memchr::memchr2(b'\n', b'\\', rest) else {
                return Err(end_of_input());
            };
            if rest[len] == b'\\' {
                let text = unescaped.get_or_insert_default();
                text.extend_from_slice(&rest[..len]);
                self.at += len + 1;
                text.push(self.escaped()?);
                continue;
            }
            self.at += len + 1;
            return Ok(match unescaped {
                Some(mut text) => {
                    text.extend_from_slice(&rest[..len]);
                    Cow::Owned(text)
                }
                None => Cow::Borrowed(&self.body[start..self.at - 1]),
            });
        }
    }

    /// The eight bytes from `position` on, if there are as many.
    #[inline]
    pub(super) fn word_from(&self, position: usize) -> Option<u64> {
        self.body.get(position..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    #[inline]
    pub(super) fn goes_on_with(&self, text: &[u8]) -> bool {
        text.is_empty() || self.rest().starts_with(text)
    }

    /// Consumes a label if it is spelled as most are: a bare name, no blanks, no escapes, and a comma or
    /// brace behind it, which stays. `guess` is a bare name that is likely to come, or empty.
    #[inline]
    pub(super) fn plain_label(&mut self, guess: &str) -> Option<PlainLabel<'b>> {
        let text = self.text?;
        let rest = self.rest();
        let is_guessed =
            !guess.is_empty() && rest.starts_with(guess.as_bytes()) && rest.get(guess.len()) == Some(&b'=');
        let name_len = if is_guessed {
            guess.len()
        } else if scan::is(*rest.first()?, LETTER) {
            scan::name_run::<false>(rest)
        } else {
            return None;
        };
        let value = rest.get(name_len..)?.strip_prefix(b"=\"")?;
        let value_len = scan::quoted_run(value);
        let [b'"', b',' | b'}', ..] = value[value_len..] else { return None };
        let value_start = self.at + name_len + 2;
        let label = PlainLabel {
            name: text.get(self.at..self.at + name_len)?,
            value: text.get(value_start..value_start + value_len)?,
            is_guessed,
        };
        self.at = value_start + value_len + 1;
        Some(label)
    }

    /// Consumes the bare name that begins here, if one does and no quoted text is glued to it. Colons are
    /// part of a metric's name.
    #[inline]
    pub(super) fn bare_name<const COLONS: bool>(&mut self) -> Option<&'b str> {
        let rest = self.rest();
        let first = if COLONS { LETTER | COLON } else { LETTER };
        if !scan::is(*rest.first()?, first) {
            return None;
        }
        let len = scan::name_run::<COLONS>(rest);
        if *rest.get(len)? == b'"' {
            return None;
        }
        let name = self.utf8(self.at, self.at + len)?;
        self.at += len;
        Some(name)
    }

    /// The name that begins here, if one does. Colons are part of a metric's name.
    #[inline]
    pub(super) fn name<const COLONS: bool>(
        &mut self,
        line_feed: fn(String) -> ErrorKind,
    ) -> Result<Name<'b>, Fault> {
        match self.bare_name::<COLONS>() {
            Some(name) => Ok(Name::Bare(name)),
            None => self.other_name::<COLONS>(line_feed),
        }
    }

    /// What begins here where no bare name does: a name with a quoted part, or none at all.
    pub(super) fn other_name<const COLONS: bool>(
        &mut self,
        line_feed: fn(String) -> ErrorKind,
    ) -> Result<Name<'b>, Fault> {
        let start = self.at;
        let first = if COLONS { LETTER | COLON } else { LETTER };
        if scan::is(self.peek()?, first) {
            self.at += scan::name_run::<COLONS>(self.rest());
        }
        if self.peek()? != b'"' {
            return Ok(Name::Bare(""));
        }
        // Bare and quoted text may be glued together; the closing quote ends the name.
        self.at += 1;
        self.quoted_name(&self.body[start..self.at - 1], line_feed).map(Name::Quoted)
    }

    fn quoted_name(
        &mut self,
        bare: &'b [u8],
        line_feed: fn(String) -> ErrorKind,
    ) -> Result<Cow<'b, [u8]>, Fault> {
        if bare.is_empty() {
            let len = scan::quoted_run(self.rest());
            if self.rest().get(len) == Some(&b'"') {
                let name = &self.rest()[..len];
                self.at += len + 1;
                return Ok(Cow::Borrowed(name));
            }
        }
        self.unescape(bare, line_feed)?;
        Ok(Cow::Owned(self.unescaped.clone()))
    }

    /// The label value after an opening quote. `Err` within `Ok` are bytes that are not UTF-8.
    #[inline]
    pub(super) fn label_value(&mut self) -> Result<Result<Cow<'b, str>, Vec<u8>>, Fault> {
        let start = self.at;
        let end = start + scan::quoted_run(self.rest());
        if self.body.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(match self.utf8(start, end) {
                Some(value) => Ok(Cow::Borrowed(value)),
                None => Err(self.body[start..end].to_vec()),
            });
        }
        self.escaped_label_value()
    }

    fn escaped_label_value(&mut self) -> Result<Result<Cow<'b, str>, Vec<u8>>, Fault> {
        self.unescape(b"", ErrorKind::LineFeedInLabelValue)?;
        Ok(match std::str::from_utf8(&self.unescaped) {
            Ok(value) => Ok(Cow::Owned(value.to_owned())),
            Err(_) => Err(self.unescaped.clone()),
        })
    }

    /// Puts together `text` and what stands before the closing quote, which is consumed, with escapes
    /// resolved.
    fn unescape(&mut self, text: &[u8], line_feed: fn(String) -> ErrorKind) -> Result<(), Fault> {
        self.unescaped.clear();
        self.unescaped.extend_from_slice(text);
        loop {
            let rest = self.rest();
            let len = match rest.first_chunk() {
                Some(chunk) => {
                    // All of it is copied, which is quicker than to copy as much as is wanted.
                    let len = scan::quoted_run_in(chunk);
                    self.unescaped.extend_from_slice(chunk);
                    self.unescaped.truncate(self.unescaped.len() - chunk.len() + len);
                    len
                }
                None => {
                    let len = scan::quoted_run(rest);
                    self.unescaped.extend_from_slice(&rest[..len]);
                    len
                }
            };
            self.at += len;
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    let byte = self.escaped()?;
                    self.unescaped.push(byte);
                }
                b'\n' => return Err(Box::new(line_feed(quoted(&self.unescaped)))),
                // The text goes on behind the chunk.
                _ => {}
            }
        }
    }

    /// What the character after a backslash stands for.
    #[inline]
    fn escaped(&mut self) -> Result<u8, Fault> {
        let byte = match self.peek()? {
            b'n' => b'\n',
            byte @ (b'\\' | b'"') => byte,
            byte => return Err(Box::new(ErrorKind::EscapeSequence(byte))),
        };
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn utf8(&self, start: usize, end: usize) -> Option<&'b str> {
        match self.text {
            // Tokens end beside ASCII bytes, so this never cuts a character.
            Some(text) => text.get(start..end),
            None => std::str::from_utf8(&self.body[start..end]).ok(),
        }
    }
}

#[cold]
fn end_of_input() -> Fault {
    Box::new(ErrorKind::EndOfInput)
}

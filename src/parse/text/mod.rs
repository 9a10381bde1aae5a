//! The text exposition format 0.0.4, as the reference reads it.
//!
//! One pass over the body, without recursion and with work linear in its length. What the families
//! hold is borrowed from the body wherever it needs no unescaping, and a warm [`Families`] costs no
//! allocation.
//!
//! # Differences from the reference
//!
//! It keeps HELP that is not UTF-8, wraps negative counts of summaries around, and lets a line that
//! begins with a brace inherit the family of the line before. Here the first two are faults, and the
//! brace form means what the ordinary form means. Limits exist.

mod assemble;
mod comment;
mod cursor;
mod error;
mod index;
mod sample;

use std::borrow::Cow;
use std::cell::RefCell;

pub use error::{ErrorKind, ParseError};

use self::assemble::{Assembly, Scratch};
use self::cursor::{Cursor, Name};
use self::error::Fault;
use self::sample::RecentNames;
use crate::format::quote::quoted;
use crate::limits::DECODED_BYTES_LIMIT_MAX;
use crate::model::{Families, Limit, NameRules, OverLimit, Rules};

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Reads `body` into the allocations of `into`, under the rules given.
///
/// Families without samples are left out; the others stand in order of their first mention, the series
/// of a family in order of arrival. [`Families::samples`] has one entry for each sample line, in body
/// order; if any sample carries a timestamp, it is empty, since a value is then not followed by a line
/// feed.
///
/// # Errors
///
/// The first fault of the body, see [`ParseError`].
pub fn parse<'b>(
    body: &'b [u8],
    rules: impl Into<Rules>,
    into: Families<'static>,
) -> Result<Families<'b>, ParseError> {
    let Rules { names, limits } = rules.into();
    // Positions are kept as 32 bits.
    if body.len() > DECODED_BYTES_LIMIT_MAX {
        let text = format!("more than {DECODED_BYTES_LIMIT_MAX} bytes");
        let over = OverLimit::new(Limit::DecodedBytes, text);
        return Err(ParseError { line: 1, kind: ErrorKind::OverLimit(over) });
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let mut cursor = Cursor::new(body);
        // Whoever was refused has not got back what he gave.
        let into = if into.series.capacity() == 0 { std::mem::take(&mut scratch.spare) } else { into };
        let mut assembly = Assembly::new(into.recycle(), limits, scratch);
        let outcome = lines(&mut cursor, &mut assembly, names);
        let families = match outcome {
            Ok(()) => Ok(assembly.finish()),
            Err((line_start, fault)) => {
                assembly.give_up();
                Err(ParseError { line: cursor.line_of(line_start), kind: *fault })
            }
        };
        if scratch.is_oversized() {
            *scratch = Scratch::default();
        }
        families
    })
}

/// Reads all lines; a fault comes with the position where its line begins.
fn lines<'b>(
    cursor: &mut Cursor<'b>,
    assembly: &mut Assembly<'b, '_>,
    names: NameRules,
) -> Result<(), (usize, Fault)> {
    let mut recent = RecentNames::default();
    loop {
        let start = cursor.at;
        cursor.skip_blanks();
        // Blanks without a line feed may end the body, as in the reference.
        let Some(first) = cursor.next() else { return Ok(()) };
        let line = match first {
            b'\n' => {
                cursor.at += 1;
                Ok(())
            }
            b'#' => {
                cursor.at += 1;
                comment::comment(cursor, assembly, names)
            }
            first => sample::sample(first, cursor, assembly, names, &mut recent),
        };
        line.map_err(|fault| (start, fault))?;
    }
}

/// The metric name that was read, if the rules allow it.
fn legal_metric_name(name: Name<'_>, names: NameRules) -> Result<Cow<'_, str>, Fault> {
    match name {
        Name::Bare(name) => Ok(Cow::Borrowed(name)),
        Name::Quoted(bytes) => legal_text(bytes, ErrorKind::MetricName, |name| names.is_metric_name(name)),
    }
}

/// `bytes` as text, or the fault `illegal` with what it says if they are none or break the rule.
fn legal_text(
    bytes: Cow<'_, [u8]>,
    illegal: fn(String) -> ErrorKind,
    is_legal: impl Fn(&str) -> bool,
) -> Result<Cow<'_, str>, Fault> {
    let fault = |bytes: &[u8]| Box::new(illegal(quoted(bytes)));
    let text = match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| fault(bytes))?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|error| fault(error.as_bytes()))?),
    };
    if is_legal(&text) { Ok(text) } else { Err(fault(text.as_bytes())) }
}

#[cfg(test)]
mod compared;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

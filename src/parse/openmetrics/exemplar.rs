//! Exemplars and times, as the protobuf messages that they are kept as.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::error::ErrorKind;
use super::line::{closing_quote, labels_len, unescaped, word};
use crate::format::float::parse_float;
use crate::format::quote::quoted;
use crate::model::NameRules;
use crate::wire;

/// Characters that names and values of an exemplar's labels may have together.
const LABELS_CHARS_MAX: usize = 128;

/// Writes the `Exemplar` message of `{labels} value [timestamp]`.
pub(super) fn write(text: &[u8], names: NameRules, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
    let fault = || ErrorKind::Exemplar(quoted(text));
    if !text.starts_with(b"{") {
        return Err(fault());
    }
    let (labels, rest) = text.split_at(labels_len(text).ok_or_else(fault)?);
    let mut chars = 0;
    let mut rest_of_labels = &labels[1..labels.len() - 1];
    let mut seen: SmallVec<[Cow<'_, str>; 4]> = SmallVec::new();
    while !rest_of_labels.is_empty() {
        let (name, value, rest) = label(rest_of_labels, names).ok_or_else(fault)?;
        chars += name.chars().count() + value.chars().count();
        if chars > LABELS_CHARS_MAX {
            return Err(ErrorKind::LongExemplar(quoted(text)));
        }
        wire::push_field_start(out, 1, wire::field_len(name.len()) + wire::field_len(value.len()));
        wire::push_bytes_field(out, 1, name.as_bytes());
        wire::push_bytes_field(out, 2, value.as_bytes());
        // At most 128 of them.
        if seen.contains(&name) {
            return Err(fault());
        }
        seen.push(name);
        rest_of_labels = rest;
    }
    let (value, rest) = word(rest)?;
    wire::push_double_field(out, 2, parse_float(value).ok_or_else(fault)?);
    if !rest.is_empty() {
        let (text, rest) = word(rest)?;
        push_time(out, 3, text).ok_or_else(|| ErrorKind::Timestamp(quoted(text)))?;
        if !rest.is_empty() {
            return Err(fault());
        }
    }
    Ok(())
}

/// Name and value of the label at the beginning of `text`, and what follows it and its comma.
fn label(text: &[u8], names: NameRules) -> Option<(Cow<'_, str>, Cow<'_, str>, &[u8])> {
    let (name, rest) = match text.strip_prefix(b"\"") {
        Some(inner) => {
            let end = closing_quote(inner)?;
            (unescaped(&inner[..end])?, &inner[end + 1..])
        }
        None => {
            let end = memchr::memchr(b'=', text)?;
            let name = std::str::from_utf8(&text[..end]).ok()?;
            // Without quotes only the old names can be spelled.
            if !NameRules::Legacy.is_label_name(name) {
                return None;
            }
            (Cow::Borrowed(name), &text[end..])
        }
    };
    if !names.is_label_name(&name) {
        return None;
    }
    let value = rest.strip_prefix(b"=\"")?;
    let end = closing_quote(value)?;
    let rest = match &value[end + 1..] {
        [] => &[],
        [b',', rest @ ..] => rest,
        _ => return None,
    };
    Some((name, unescaped(&value[..end])?, rest))
}

/// Writes the field `number`, a `Timestamp` message of the time in seconds that `text` spells; `None` and nothing
/// if it spells none.
pub(super) fn push_time(out: &mut Vec<u8>, number: u32, text: &[u8]) -> Option<()> {
    let (seconds, nanos) = decimal_seconds(text).or_else(|| float_seconds(parse_float(text)?))?;
    wire::push_field_start(out, number, 0);
    let start = out.len();
    if seconds != 0 {
        // As int64 fields have negative numbers: in two's complement.
        wire::push_varint_field(out, 1, seconds as u64);
    }
    if nanos != 0 {
        wire::push_varint_field(out, 2, u64::from(nanos));
    }
    // Seventeen at most, so that the length takes one byte, as that of nothing did.
    out[start - 1] = (out.len() - start) as u8;
    Some(())
}

/// Digits with at most nine behind the point, to the nanosecond.
fn decimal_seconds(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || fraction.len() > 9 || !is_digits(seconds) || !is_digits(fraction) {
        return None;
    }
    let nanos =
        fraction.bytes().chain([b'0'; 9]).take(9).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some((in_range(seconds.parse().ok()?)?, nanos))
}

/// Any other spelling, as far as a double goes.
fn float_seconds(time: f64) -> Option<(i64, u32)> {
    let whole = time.floor();
    let nanos = ((time - whole) * 1e9).round();
    // A fraction of almost one may round up to a whole second.
    let (whole, nanos) = if nanos >= 1e9 { (whole + 1.0, 0.0) } else { (whole, nanos) };
    if !whole.is_finite() {
        return None;
    }
    // Saturates, and is then out of range.
    Some((in_range(whole as i64)?, nanos as u32))
}

/// The years 1 to 9999, which is what a `Timestamp` may hold.
fn in_range(seconds: i64) -> Option<i64> {
    (-62_135_596_800..=253_402_300_799).contains(&seconds).then_some(seconds)
}

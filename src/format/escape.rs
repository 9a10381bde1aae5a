//! Escapes: of label values and help in the text format, and of names outside the old character set.
//!
//! The name schemes are those of Prometheus' escaping proposal, named as the `escaping` parameter of
//! `Accept` names them.

use std::borrow::Cow;

use crate::model::names::is_legacy_metric_name;

/// How names outside the old character set are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Escaping {
    Underscores,
    Dots,
    Values,
    AllowUtf8,
}

/// Appends a label value, or a name that stands in quotes, without the quotes around it.
pub fn push_label_value(out: &mut Vec<u8>, value: &str) {
    let mut rest = value.as_bytes();
    while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(escape_of(rest[at]));
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends a label as it stands between braces, with a comma behind it. A name outside the old
/// character set is quoted.
pub fn push_label(out: &mut Vec<u8>, name: &str, value: &str) {
    push_label_head(out, name);
    push_label_value(out, value);
    out.extend_from_slice(b"\",");
}

/// The same up to the value.
pub fn push_label_head(out: &mut Vec<u8>, name: &str) {
    if is_legacy_metric_name(name) {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.push(b'"');
        push_label_value(out, name);
        out.push(b'"');
    }
    out.extend_from_slice(b"=\"");
}

/// Appends the text of a HELP line, where a quote stands as it is.
pub fn push_help(out: &mut Vec<u8>, help: &str) {
    let mut rest = help.as_bytes();
    while let Some(at) = memchr::memchr2(b'\\', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(escape_of(rest[at]));
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn escape_of(byte: u8) -> &'static [u8] {
    match byte {
        b'\n' => b"\\n",
        b'"' => b"\\\"",
        _ => b"\\\\",
    }
}

/// `name` as it is shown under `escaping`. Label names are held against the rule for metric names,
/// as the reference does. Legal old names, and all names under [`Escaping::AllowUtf8`], stay as they
/// are.
pub fn escape_name(name: &str, escaping: Escaping) -> Cow<'_, str> {
    if escaping == Escaping::AllowUtf8 || name.is_empty() || is_legacy_metric_name(name) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    if escaping == Escaping::Values {
        out.push_str("U__");
    }
    for (position, char) in name.chars().enumerate() {
        let legal = char == ':'
            || char == '_'
            || char.is_ascii_alphabetic()
            || (char.is_ascii_digit() && position > 0);
        match escaping {
            Escaping::Dots | Escaping::Values if char == '_' => out.push_str("__"),
            _ if legal => out.push(char),
            Escaping::Dots if char == '.' => out.push_str("_dot_"),
            Escaping::Dots => out.push_str("__"),
            Escaping::Values => out.push_str(&format!("_{:x}_", char as u32)),
            Escaping::Underscores | Escaping::AllowUtf8 => out.push('_'),
        }
    }
    Cow::Owned(out)
}

/// The name that `written` stands for under [`Escaping::Values`]: `U__a_2e_b` is `a.b`. A name that
/// does not begin with `U__`, or does not fit the scheme to its end, stands for itself.
pub fn unescape_name(written: &str) -> Cow<'_, str> {
    written.strip_prefix("U__").and_then(decode_values).map_or(Cow::Borrowed(written), Cow::Owned)
}

fn decode_values(mut rest: &str) -> Option<String> {
    let mut out = String::with_capacity(rest.len());
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        let (code, after) = rest[at + 1..].split_once('_')?;
        if code.is_empty() {
            out.push('_');
        } else if code.len() <= 6 && code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        } else {
            return None;
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn label_values_and_help_are_escaped() {
        for (plain, label, help) in [
            ("", "", ""),
            ("plain \t é", "plain \t é", "plain \t é"),
            ("a\"b\\c\nd", "a\\\"b\\\\c\\nd", "a\"b\\\\c\\nd"),
            ("\n\n", "\\n\\n", "\\n\\n"),
        ] {
            let (mut as_label, mut as_help) = (b"=".to_vec(), b"=".to_vec());
            push_label_value(&mut as_label, plain);
            push_help(&mut as_help, plain);
            assert_eq!(as_label, format!("={label}").as_bytes());
            assert_eq!(as_help, format!("={help}").as_bytes());
        }
    }

    #[test]
    fn names_are_escaped_by_scheme() {
        for (name, underscores, dots, values) in [
            ("esc.m:a-b", "esc_m:a_b", "esc_dot_m:a__b", "U__esc_2e_m:a_2d_b"),
            ("l.a_b", "l_a_b", "l_dot_a__b", "U__l_2e_a__b"),
            ("1bad name", "_bad_name", "__bad__name", "U___31_bad_20_name"),
            ("é🦀", "__", "____", "U___e9__1f980_"),
            ("legal_name:9", "legal_name:9", "legal_name:9", "legal_name:9"),
            ("", "", "", ""),
        ] {
            assert_eq!(escape_name(name, Escaping::Underscores), underscores);
            assert_eq!(escape_name(name, Escaping::Dots), dots);
            assert_eq!(escape_name(name, Escaping::Values), values);
            assert_eq!(escape_name(name, Escaping::AllowUtf8), name);
        }
    }

    #[test]
    fn written_names_are_decoded_whole_or_not_at_all() {
        for (written, name) in [
            ("U__a_2e_b", "a.b"),
            ("U__a_2E_b", "a.b"),
            ("a.b", "a.b"),
            ("U___55_____", "U__"),
            ("U__a__b", "a_b"),
            ("U___0_", "\0"),
            ("U___10FFFF_", "\u{10ffff}"),
            ("U__é_2e_", "é."),
            ("U__job", "job"),
            ("U______a", "__a"),
            ("U__", ""),
            ("U__in_xxx_valid", "U__in_xxx_valid"),
            ("U__a_2e", "U__a_2e"),
            ("U__a_", "U__a_"),
            ("U___d800_", "U___d800_"),
            ("U___110000_", "U___110000_"),
            ("U__a_0000002e_", "U__a_0000002e_"),
            ("U__a_+2e_", "U__a_+2e_"),
            ("u__a_2e_b", "u__a_2e_b"),
        ] {
            assert_eq!(unescape_name(written), name, "{written}");
        }
    }

    proptest! {
        #[test]
        fn escaped_values_decode_to_the_name(name in "\\PC{1,20}") {
            prop_assume!(!is_legacy_metric_name(&name));
            let escaped = escape_name(&name, Escaping::Values);
            prop_assert_eq!(unescape_name(&escaped), &*name);
        }
    }
}

//! Go's `%q`, in which the reference's error texts repeat the client's bytes.
//!
//! What a text repeats is bounded by [`ECHO_BYTES_MAX`]: a longer one is cut and followed by `...`, so
//! no error answer or log line grows with the input.

use std::borrow::Cow;

use crate::limits::{ECHO_BYTES_MAX, ECHO_LABELS_BYTES_MAX};

/// `bytes` in double quotes. Printable UTF-8 stands as it is; bytes that are not UTF-8 become `\xff`.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().min(ECHO_BYTES_MAX) + 5);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            let before = out.len();
            push_escaped(&mut out, char, '"');
            if out.len() > ECHO_BYTES_MAX + 1 {
                return cut(out, before);
            }
        }
        for byte in chunk.invalid() {
            let before = out.len();
            push_hex(&mut out, "\\x", u32::from(*byte), 2);
            if out.len() > ECHO_BYTES_MAX + 1 {
                return cut(out, before);
            }
        }
    }
    out.push('"');
    out
}

/// `text` as it is, cut and followed by `...` where it is too long.
pub fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= ECHO_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}...", &text[..text.floor_char_boundary(ECHO_BYTES_MAX)]))
}

/// Labels as Go's text form of a metric shows them, each followed by two blanks; `...` stands for those
/// behind the first [`ECHO_LABELS_BYTES_MAX`] bytes.
pub fn labels_text<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if text.len() > ECHO_LABELS_BYTES_MAX {
            text.push_str("...  ");
            break;
        }
        text.push_str("label:{name:");
        text.push_str(&quoted(name.as_bytes()));
        text.push_str("  value:");
        text.push_str(&quoted(value.as_bytes()));
        text.push_str("}  ");
    }
    text
}

/// One byte as Go quotes the character of that number: `'c'`, `'\n'`, `'\''`.
pub fn quoted_byte(byte: u8) -> String {
    let mut out = String::from("'");
    push_escaped(&mut out, char::from(byte), '\'');
    out.push('\'');
    out
}

fn cut(mut out: String, len: usize) -> String {
    out.truncate(len);
    out.push_str("\"...");
    out
}

fn push_escaped(out: &mut String, char: char, quote: char) {
    if char == quote || char == '\\' {
        out.push('\\');
        out.push(char);
        return;
    }
    match char {
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        ' '..='~' => out.push(char),
        '\0'..='\x1f' | '\x7f' => push_hex(out, "\\x", char as u32, 2),
        _ if is_printable(char) => out.push(char),
        '\u{80}'..='\u{ffff}' => push_hex(out, "\\u", char as u32, 4),
        _ => push_hex(out, "\\U", char as u32, 8),
    }
}

fn push_hex(out: &mut String, prefix: &str, number: u32, width: usize) {
    use std::fmt::Write;
    // Writing to a string cannot fail.
    let _ = write!(out, "{prefix}{number:0width$x}");
}

/// Letters, marks, numbers, punctuation and symbols, as Go's `unicode.IsPrint`.
///
/// The standard library keeps the same table for `Debug`, but shows it of strings only. A mark is
/// printed there where it follows another character, hence the `a` in front.
fn is_printable(char: char) -> bool {
    let mut text = [b'a'; 5];
    let len = char.encode_utf8(&mut text[1..]).len();
    let text = std::str::from_utf8(&text[..1 + len]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_texts_and_labels_are_cut() {
        assert_eq!(shortened("a"), "a");
        let long = "é".repeat(ECHO_BYTES_MAX);
        assert_eq!(shortened(&long), format!("{}...", "é".repeat(ECHO_BYTES_MAX / 2)));
        assert_eq!(
            labels_text([("a", "b"), ("c", "")].into_iter()),
            r#"label:{name:"a"  value:"b"}  label:{name:"c"  value:""}  "#
        );
        let many = labels_text([("a", "b")].into_iter().cycle().take(1000));
        assert!(many.len() < ECHO_LABELS_BYTES_MAX + 50 && many.ends_with("}  ...  "), "{many}");
    }

    #[test]
    fn bytes_are_quoted_as_go_does() {
        let table: &[(&[u8], &str)] = &[
            (b"", r#""""#),
            (b"a-b c", r#""a-b c""#),
            (b"\"\\'", r#""\"\\'""#),
            (b"\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            (b"\x00\x1f\x7f", r#""\x00\x1f\x7f""#),
            (b"\xff\xc3", r#""\xff\xc3""#),
            ("é\u{301}漢🦀".as_bytes(), "\"é\u{301}漢🦀\""),
            (
                "\u{80}\u{a0}\u{ad}\u{200b}\u{2028}\u{e000}\u{feff}".as_bytes(),
                r#""\u0080\u00a0\u00ad\u200b\u2028\ue000\ufeff""#,
            ),
            ("\u{e0001}\u{10ffff}".as_bytes(), r#""\U000e0001\U0010ffff""#),
            ("\u{fffd}".as_bytes(), "\"\u{fffd}\""),
        ];
        for (bytes, expected) in table {
            assert_eq!(quoted(bytes), *expected);
        }
    }

    #[test]
    fn one_byte_is_quoted_as_a_character() {
        for (byte, expected) in [
            (b'a', "'a'"),
            (b'\'', r"'\''"),
            (b'"', "'\"'"),
            (b'\n', r"'\n'"),
            (b'\\', r"'\\'"),
            (0, r"'\x00'"),
            (0x80, r"'\u0080'"),
            (0xe9, "'é'"),
        ] {
            assert_eq!(quoted_byte(byte), expected);
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let whole = vec![b'a'; ECHO_BYTES_MAX];
        assert_eq!(quoted(&whole), format!("\"{}\"", "a".repeat(ECHO_BYTES_MAX)));
        let long = vec![b'a'; 1_000_000];
        assert_eq!(quoted(&long), format!("\"{}\"...", "a".repeat(ECHO_BYTES_MAX)));
        let escaped = vec![0; ECHO_BYTES_MAX];
        assert_eq!(quoted(&escaped), format!("\"{}\"...", "\\x00".repeat(ECHO_BYTES_MAX / 4)));
        let invalid = vec![0xff; ECHO_BYTES_MAX];
        assert_eq!(quoted(&invalid), format!("\"{}\"...", "\\xff".repeat(ECHO_BYTES_MAX / 4)));
    }
}

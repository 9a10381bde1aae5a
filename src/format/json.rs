//! JSON strings as Go writes them.

/// Appends `text` in quotes as `encoding/json` does: `<`, `>` and `&` are escaped as well, so that an
/// answer is harmless inside HTML.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    push(out, text, true);
}

/// Appends `text` in quotes as Go's structured logger does, which leaves `<`, `>` and `&` alone.
pub fn push_log_string(out: &mut Vec<u8>, text: &str) {
    push(out, text, false);
}

fn push(out: &mut Vec<u8>, text: &str, escape_html: bool) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        // U+2028 and U+2029, the only two that begin so, end a line in old JavaScript.
        let is_separator = byte == 0xe2 && matches!(bytes[at + 1..], [0x80, 0xa8 | 0xa9, ..]);
        let needs_escape = byte < b' '
            || matches!(byte, b'"' | b'\\')
            || (escape_html && matches!(byte, b'<' | b'>' | b'&'))
            || is_separator;
        if !needs_escape {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            _ if is_separator => {
                out.extend_from_slice(b"\\u202");
                out.push(if bytes[at + 2] == 0xa8 { b'8' } else { b'9' });
                copied = at + 3;
            }
            _ => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend([b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let mut out = Vec::new();
        push_string(&mut out, text);
        let got = String::from_utf8(out).unwrap();
        assert_eq!(got, expect);
        assert_eq!(serde_json::from_str::<String>(&got).unwrap(), text);
    }

    #[test]
    fn escapes_as_go_does() {
        check("", r#""""#);
        check("plain é 😀 \u{7f}", "\"plain é 😀 \u{7f}\"");
        check("a\"b\\c", r#""a\"b\\c""#);
        check("<&>", r#""\u003c\u0026\u003e""#);
        check("\n\r\t\u{8}\u{c}\u{1}\u{1f}\0", r#""\n\r\t\b\f\u0001\u001f\u0000""#);
        check("x\u{2028}y\u{2029}\u{2027}", "\"x\\u2028y\\u2029\u{2027}\"");
    }

    #[test]
    fn log_strings_keep_angle_brackets() {
        let mut out = Vec::new();
        push_log_string(&mut out, "<a>&\"\n");
        assert_eq!(out, br#""<a>&\"\n""#);
    }
}

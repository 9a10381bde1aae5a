//! From a Content-Type to the format of the body, with the strictness of the reference's header parser
//! (Go's `mime.ParseMediaType`): a header that it does not take says nothing, and the body is text.

use std::borrow::Cow;

use crate::model::template::{Body, Syntax};

/// What a push body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// The text exposition format 0.0.4.
    Text,
    /// OpenMetrics text, of any version.
    OpenMetrics,
    /// `io.prometheus.client.MetricFamily` messages, each behind its length.
    Protobuf,
}

impl BodyFormat {
    /// As plugins see it.
    pub fn name(self) -> &'static str {
        match self {
            BodyFormat::Text => "text",
            BodyFormat::OpenMetrics => "openmetrics",
            BodyFormat::Protobuf => "protobuf",
        }
    }

    /// A body of this format for templates, if there are any of it.
    pub fn known(self, bytes: &[u8]) -> Option<Body<'_>> {
        let syntax = match self {
            BodyFormat::Text => Syntax::Text,
            BodyFormat::OpenMetrics => return None,
            BodyFormat::Protobuf => Syntax::Protobuf,
        };
        Some(Body { syntax, bytes })
    }
}

/// The format that a Content-Type announces.
pub fn format_of(content_type: Option<&[u8]>) -> BodyFormat {
    let header = content_type.and_then(|header| std::str::from_utf8(header).ok()).unwrap_or_default();
    announced(header).unwrap_or(BodyFormat::Text)
}

/// `None` if the header is malformed or announces neither of the formats that need announcing.
fn announced(header: &str) -> Option<BodyFormat> {
    let (media_type, mut rest) = header.split_at(header.find(';').unwrap_or(header.len()));
    let is = |name: &str| media_type.trim_ascii().eq_ignore_ascii_case(name);
    let (is_protobuf, is_openmetrics) =
        (is("application/vnd.google.protobuf"), is("application/openmetrics-text"));
    if !is_protobuf && !is_openmetrics {
        // Text, whatever the parameters say and whether or not they are well-formed.
        return None;
    }
    let (mut proto, mut encoding) = (None, None);
    while !rest.trim_ascii().is_empty() {
        // One semicolon may end the header.
        if rest.trim_ascii() == ";" {
            break;
        }
        let (name, value, after) = parameter(rest.trim_ascii_start())?;
        rest = after;
        let known = if name.eq_ignore_ascii_case("proto") {
            &mut proto
        } else if name.eq_ignore_ascii_case("encoding") {
            &mut encoding
        } else {
            continue;
        };
        // Saying the same thing twice is fine.
        if known.as_ref().is_some_and(|known| *known != value) {
            return None;
        }
        *known = Some(value);
    }
    let is_message = proto.as_deref() == Some("io.prometheus.client.MetricFamily");
    Some(if is_protobuf && is_message && encoding.as_deref() == Some("delimited") {
        BodyFormat::Protobuf
    } else if is_openmetrics {
        BodyFormat::OpenMetrics
    } else {
        BodyFormat::Text
    })
}

/// `; name=value` at the start of `text`, and what follows.
fn parameter(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let (name, rest) = token(text.strip_prefix(';')?.trim_ascii_start())?;
    let rest = rest.trim_ascii_start().strip_prefix('=')?.trim_ascii_start();
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted_value(quoted).map(|(value, rest)| (value.into(), rest))?,
        None => token(rest).map(|(value, rest)| (value.into(), rest))?,
    };
    Some((name, value, rest))
}

/// A token of RFC 9110 at the start of `text`, not empty, and what follows.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_graphic() || is_special(byte));
    let (token, rest) = text.split_at(end.unwrap_or(text.len()));
    (!token.is_empty()).then_some((token, rest))
}

fn is_special(byte: u8) -> bool {
    b"()<>@,;:\\\"/[]?=".contains(&byte)
}

/// The text up to the closing quote, unescaped, and what follows the quote.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            // A backslash before a letter is a backslash: browsers used to send paths so.
            '\\' => match characters.next_if(|(_, next)| next.is_ascii() && is_special(*next as u8)) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            '\r' | '\n' => return None,
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_announcement_means_protobuf() {
        const TYPE: &str = "application/vnd.google.protobuf";
        const PROTO: &str = "proto=io.prometheus.client.MetricFamily";
        for header in [
            format!("{TYPE}; {PROTO}; encoding=delimited"),
            format!("{TYPE};encoding=delimited;{PROTO};"),
            format!("{TYPE} ; encoding = delimited ;\t{PROTO} ; "),
            "Application/VND.Google.Protobuf; Proto=\"io.prometheus.client.MetricFamily\"; ENCODING=\"delimited\""
                .to_string(),
            format!("{TYPE}; {PROTO}; encoding=delimited; escaping=values; x=\"a;b\\\"\""),
            format!("{TYPE}; {PROTO}; encoding=delimited; encoding=\"delimited\""),
            format!("{TYPE}; {PROTO}; encoding=\"de\\limited\"; encoding=delimited").replace("de\\", "de"),
        ] {
            assert_eq!(format_of(Some(header.as_bytes())), BodyFormat::Protobuf, "{header}");
        }
        for header in [
            String::new(),
            "text/plain; version=0.0.4".to_string(),
            TYPE.to_string(),
            format!("{TYPE}; {PROTO}"),
            format!("{TYPE}; encoding=delimited"),
            format!("{TYPE}; {PROTO}; encoding=text"),
            format!("{TYPE}; {PROTO}; encoding=Delimited"),
            format!("{TYPE}; proto=io.prometheus.client.metricfamily; encoding=delimited"),
            format!("x{TYPE}; {PROTO}; encoding=delimited"),
            format!("{TYPE}/x; {PROTO}; encoding=delimited"),
            format!("{TYPE}; {PROTO}; encoding=delimited; charset"),
            format!("{TYPE}; {PROTO}; encoding=delimited; charset="),
            format!("{TYPE}; {PROTO}; encoding=delimited; x=\"open"),
            format!("{TYPE}; {PROTO}; encoding=delimited; encoding=text"),
            format!("{TYPE}; {PROTO}; encoding=delimited x"),
            format!("{TYPE};; {PROTO}; encoding=delimited"),
            format!("{TYPE}, {TYPE}; {PROTO}; encoding=delimited"),
        ] {
            assert_eq!(format_of(Some(header.as_bytes())), BodyFormat::Text, "{header}");
        }
        for header in
            ["application/openmetrics-text", "Application/OpenMetrics-Text; version=1.0.0; charset=utf-8"]
        {
            assert_eq!(format_of(Some(header.as_bytes())), BodyFormat::OpenMetrics, "{header}");
        }
        for header in ["application/openmetrics-text; version", "application/openmetrics", "text/plain"] {
            assert_eq!(format_of(Some(header.as_bytes())), BodyFormat::Text, "{header}");
        }
        assert_eq!(format_of(None), BodyFormat::Text);
        assert_eq!(format_of(Some(b"\xff")), BodyFormat::Text);
    }
}

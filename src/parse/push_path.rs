//! The grouping key that a push path spells.
//!
//! The path arrives percent-decoded and cleaned; decoding comes before splitting, so an encoded slash
//! splits like any other. The checks and their order are those of the reference, with three more that
//! keep a group from being stored which no scrape could show: every value is UTF-8, no name decodes to
//! a reserved one, and both count and length of labels are bounded.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::format::escape::{Escaping, escape_name, unescape_name};
use crate::format::quote::quoted;
use crate::limits::{GROUPING_LABELS_MAX, LABEL_VALUE_BYTES_MAX};
use crate::model::{GroupingKey, NameRules, Reason, Refusal};

/// The key of the group at `/metrics/job/JOB REST`, or at `/metrics/job@base64/JOB REST` where
/// `job_is_base64` says so.
///
/// `rest` is what follows the job, its leading slash included, or empty.
///
/// # Errors
///
/// Always [`Reason::BadKey`]; the text is the reference's where the reference refuses too.
pub fn grouping_key(
    job: &[u8],
    job_is_base64: bool,
    rest: &[u8],
    names: NameRules,
) -> Result<GroupingKey, Refusal> {
    let job = if job_is_base64 {
        decode_base64(job).map(Cow::Owned).map_err(|fault| {
            bad_key(format!("invalid base64 encoding in job name {}: {fault}", quoted(&fault.decoded)))
        })?
    } else {
        Cow::Borrowed(job)
    };
    let labels = labels(rest, names)?;
    if job.is_empty() {
        return Err(bad_key("job name is required"));
    }
    let job = label_value("job", job)?;
    Ok(GroupingKey::new(&job, labels.iter().map(|(name, value)| (&**name, &**value))))
}

/// What follows `/metrics/` in a path that spells `key`: the way back of [`grouping_key`].
pub fn path_of(key: &GroupingKey) -> String {
    let mut path = String::new();
    let rest = key.labels().filter(|(name, _)| *name != "job");
    for (name, value) in std::iter::once(("job", key.job())).chain(rest) {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&escape_name(name, Escaping::Values));
        // A slash would split, nothing would be no part, and dots would be cleaned away.
        if value.is_empty() || value.contains('/') || value == "." || value == ".." {
            path.push_str("@base64/");
            encode_base64(value.as_bytes(), &mut path);
        } else {
            path.push('/');
            path.extend(percent_encode(value.as_bytes(), PATH_PART));
        }
    }
    path
}

/// What is escaped in a part of a path: all but the unreserved characters of RFC 3986 section 2.3.
const PATH_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Base64 for URLs (RFC 4648 section 5) without padding, but `=` for nothing at all.
fn encode_base64(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if bytes.is_empty() {
        out.push('=');
    }
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            out.push(DIGITS[(word >> (18 - 6 * digit) & 63) as usize].into());
        }
    }
}

type PathLabel<'p> = (Cow<'p, str>, Cow<'p, str>);

fn labels(rest: &[u8], names: NameRules) -> Result<Vec<PathLabel<'_>>, Refusal> {
    let Some(pairs) = rest.strip_prefix(b"/").filter(|pairs| !pairs.is_empty()) else {
        return Ok(Vec::new());
    };
    let slashes = memchr::memchr_iter(b'/', pairs).count();
    if slashes.is_multiple_of(2) {
        return Err(bad_key(format!("odd number of components in label string {}", quoted(rest))));
    }
    // The job is a label too.
    if slashes / 2 + 2 > GROUPING_LABELS_MAX {
        return Err(bad_key(format!("more than {GROUPING_LABELS_MAX} grouping labels")));
    }
    let mut labels = Vec::with_capacity(slashes / 2 + 1);
    let mut parts = pairs.split(|&byte| byte == b'/');
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let (written, is_base64) = match name.strip_suffix(b"@base64") {
            Some(written) => (written, true),
            None => (name, false),
        };
        let name = label_name(written, names)?;
        let value = if is_base64 {
            decode_base64(value).map(Cow::Owned).map_err(|fault| {
                let written = String::from_utf8_lossy(written);
                bad_key(format!("invalid base64 encoding for label {written}={}: {fault}", quoted(value)))
            })?
        } else {
            Cow::Borrowed(value)
        };
        let value = label_value(&name, value)?;
        labels.push((name, value));
    }
    Ok(labels)
}

/// The label name that `written` stands for.
fn label_name(written: &[u8], names: NameRules) -> Result<Cow<'_, str>, Refusal> {
    let improper = || bad_key(format!("improper label name {}", quoted(written)));
    let written = std::str::from_utf8(written).map_err(|_| improper())?;
    let name = match names {
        NameRules::Legacy => Cow::Borrowed(written),
        NameRules::Utf8 => unescape_name(written),
    };
    // Reserved both as written and as decoded: the reference looks at the first only, and then keeps a
    // group that breaks every scrape.
    if !names.is_label_name(&name) || written.starts_with("__") || name.starts_with("__") {
        return Err(improper());
    }
    Ok(name)
}

fn label_value<'p>(name: &str, value: Cow<'p, [u8]>) -> Result<Cow<'p, str>, Refusal> {
    if value.len() > LABEL_VALUE_BYTES_MAX {
        return Err(bad_key(format!("value of label {name} is longer than {LABEL_VALUE_BYTES_MAX} bytes")));
    }
    let not_utf8 =
        |value: &[u8]| bad_key(format!("label value is not valid UTF-8: {name}={}", quoted(value)));
    match value {
        Cow::Borrowed(value) => std::str::from_utf8(value).map(Cow::Borrowed).map_err(|_| not_utf8(value)),
        Cow::Owned(value) => {
            String::from_utf8(value).map(Cow::Owned).map_err(|error| not_utf8(error.as_bytes()))
        }
    }
}

fn bad_key(text: impl Into<String>) -> Refusal {
    Refusal::new(Reason::BadKey, text)
}

/// Where base64 stops making sense, and what was read until then.
struct Base64Fault {
    at: usize,
    decoded: Vec<u8>,
}

impl fmt::Display for Base64Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "illegal base64 data at input byte {}", self.at)
    }
}

/// Decodes the URL-safe alphabet of RFC 4648 section 5, as leniently as Go does: any number of `=` at
/// the end, line ends anywhere, and unused low bits of any value.
fn decode_base64(text: &[u8]) -> Result<Vec<u8>, Base64Fault> {
    let kept = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let mut decoded = Vec::with_capacity(kept / 4 * 3 + 3);
    // The bits of the current group of four characters, and how many of those were read.
    let mut bits = 0u32;
    let mut count = 0;
    for (at, &byte) in text[..kept].iter().enumerate() {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            b'\r' | b'\n' => continue,
            _ => return Err(Base64Fault { at, decoded }),
        };
        bits = bits << 6 | u32::from(sextet);
        count += 1;
        if count == 4 {
            decoded.extend_from_slice(&bits.to_be_bytes()[1..]);
            (bits, count) = (0, 0);
        }
    }
    match count {
        // Six bits make no byte.
        1 => return Err(Base64Fault { at: kept - 1, decoded }),
        2 => decoded.push((bits >> 4) as u8),
        3 => decoded.extend_from_slice(&((bits >> 2) as u16).to_be_bytes()),
        _ => {}
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use NameRules::{Legacy, Utf8};

    use super::*;

    fn spell(job: &[u8], is_base64: bool, rest: &[u8], names: NameRules) -> Result<String, String> {
        grouping_key(job, is_base64, rest, names).map(|key| key.to_string()).map_err(|refusal| {
            assert_eq!(refusal.reason, Reason::BadKey);
            refusal.text
        })
    }

    #[test]
    fn paths_spell_keys() {
        let table: &[(&str, &str)] = &[
            ("", "{job=\"j\"}"),
            ("/", "{job=\"j\"}"),
            ("/instance/host-1:9100", "{instance=\"host-1:9100\",job=\"j\"}"),
            ("/zone/z/a/1/B/2", "{B=\"2\",a=\"1\",job=\"j\",zone=\"z\"}"),
            ("/rack/", "{job=\"j\",rack=\"\"}"),
            ("/path@base64/L3Zhci90bXA", "{job=\"j\",path=\"/var/tmp\"}"),
            ("/path@base64/L3Zhci90bXA=", "{job=\"j\",path=\"/var/tmp\"}"),
            ("/a@base64/4pi64pi_PT4-", "{a=\"\u{263a}\u{263f}=>>\",job=\"j\"}"),
            ("/a@base64/=/b/c", "{a=\"\",b=\"c\",job=\"j\"}"),
            ("/a@base64/", "{a=\"\",job=\"j\"}"),
            ("/a@base64/YR", "{a=\"a\",job=\"j\"}"),
            ("/a@base64/Y\r\nQ==", "{a=\"a\",job=\"j\"}"),
            ("/a/b@base64", "{a=\"b@base64\",job=\"j\"}"),
            ("/_a/1/le/2/quantile/3", "{_a=\"1\",job=\"j\",le=\"2\",quantile=\"3\"}"),
            ("/a/1/a@base64/Mg", "{a=\"2\",job=\"j\"}"),
            ("/a@base64/Mg/a/1", "{a=\"1\",job=\"j\"}"),
            ("/job/other/a/1", "{a=\"1\",job=\"j\"}"),
            ("/U__a_2e_b/x", "{U__a_2e_b=\"x\",job=\"j\"}"),
            ("/a/\0", "{a=\"\\x00\",job=\"j\"}"),
        ];
        for (rest, key) in table {
            assert_eq!(spell(b"j", false, rest.as_bytes(), Legacy).as_deref(), Ok(*key), "{rest}");
        }
        assert_eq!(spell(b"YWJj==", true, b"", Legacy).as_deref(), Ok("{job=\"abc\"}"));
        assert_eq!(spell(b"YWJjZA", true, b"", Legacy).as_deref(), Ok("{job=\"abcd\"}"));
    }

    #[test]
    fn faults_are_named_in_the_reference_s_words() {
        let table: &[(&[u8], &str)] = &[
            (
                b"/a@base64/Pj4+",
                "invalid base64 encoding for label a=\"Pj4+\": illegal base64 data at input byte 3",
            ),
            (
                b"/a@base64/!",
                "invalid base64 encoding for label a=\"!\": illegal base64 data at input byte 0",
            ),
            (
                b"/a@base64/Y=Q",
                "invalid base64 encoding for label a=\"Y=Q\": illegal base64 data at input byte 1",
            ),
            (b"/a/b/c", "odd number of components in label string \"/a/b/c\""),
            (b"/a/b/", "odd number of components in label string \"/a/b/\""),
            (b"/__a/!/b", "odd number of components in label string \"/__a/!/b\""),
            (b"/__a@base64/!", "improper label name \"__a\""),
            (b"/a:b/x", "improper label name \"a:b\""),
            (b"/1a/x", "improper label name \"1a\""),
            (b"/a@base64@base64/YQ", "improper label name \"a@base64\""),
            ("/é/x".as_bytes(), "improper label name \"é\""),
            (b"/@base64/YQ", "improper label name \"\""),
            (b"/\xff/x", "improper label name \"\\xff\""),
            (b"/a/\xff", "label value is not valid UTF-8: a=\"\\xff\""),
            (b"/a@base64/_w", "label value is not valid UTF-8: a=\"\\xff\""),
            (
                b"/a@base64/!/__b/x",
                "invalid base64 encoding for label a=\"!\": illegal base64 data at input byte 0",
            ),
        ];
        for (rest, text) in table {
            assert_eq!(spell(b"j", false, rest, Legacy).unwrap_err(), *text);
        }
    }

    #[test]
    fn faults_of_the_job_come_first_but_for_its_absence() {
        let base64 = "invalid base64 encoding in job name";
        for (job, text) in [
            ("YWJj!", format!("{base64} \"abc\": illegal base64 data at input byte 4")),
            ("Y", format!("{base64} \"\": illegal base64 data at input byte 0")),
            ("YWJjZ", format!("{base64} \"abc\": illegal base64 data at input byte 4")),
        ] {
            assert_eq!(spell(job.as_bytes(), true, b"/odd", Legacy).unwrap_err(), text);
        }
        assert_eq!(spell(b"=", true, b"", Legacy).unwrap_err(), "job name is required");
        assert_eq!(spell(b"=", true, b"/__a/b", Legacy).unwrap_err(), "improper label name \"__a\"");
        let not_utf8 = "label value is not valid UTF-8: job=\"\\xff\"";
        assert_eq!(spell(b"\xff", false, b"", Utf8).unwrap_err(), not_utf8);
        assert_eq!(spell(b"_w", true, b"", Legacy).unwrap_err(), not_utf8);
    }

    #[test]
    fn utf8_names_are_decoded() {
        for (rest, key) in [
            ("/U__a_2e_b/x", "{a.b=\"x\",job=\"j\"}"),
            ("/a.b/x", "{a.b=\"x\",job=\"j\"}"),
            ("/U__a_2e_b@base64/YmF6", "{a.b=\"baz\",job=\"j\"}"),
            ("/U__job/x", "{job=\"j\"}"),
            ("/U__a_2e/x", "{U__a_2e=\"x\",job=\"j\"}"),
        ] {
            assert_eq!(spell(b"j", false, rest.as_bytes(), Utf8).as_deref(), Ok(key));
        }
        for (rest, written) in
            [("/U__/x", "U__"), ("/U______a/x", "U______a"), ("/__a/x", "__a"), ("/@base64/YQ", "")]
        {
            let text = format!("improper label name \"{written}\"");
            assert_eq!(spell(b"j", false, rest.as_bytes(), Utf8).unwrap_err(), text);
        }
    }

    #[test]
    fn count_and_length_are_bounded() {
        let most: String = (1..GROUPING_LABELS_MAX).map(|n| format!("/l{n}/v")).collect();
        let key = grouping_key(b"j", false, most.as_bytes(), Legacy).unwrap();
        assert_eq!(key.len(), GROUPING_LABELS_MAX);
        let more = format!("{most}/one_more/v");
        assert_eq!(spell(b"j", false, more.as_bytes(), Legacy).unwrap_err(), "more than 64 grouping labels");
        let longest = "x".repeat(LABEL_VALUE_BYTES_MAX);
        assert!(spell(b"j", false, format!("/a/{longest}").as_bytes(), Legacy).is_ok());
        let text = spell(b"j", false, format!("/a/{longest}x").as_bytes(), Legacy).unwrap_err();
        assert_eq!(text, "value of label a is longer than 65536 bytes");
        let text = spell(format!("{longest}x").as_bytes(), false, b"", Legacy).unwrap_err();
        assert_eq!(text, "value of label job is longer than 65536 bytes");
    }

    #[test]
    fn the_way_back_leads_to_the_same_key() {
        let keys = [
            GroupingKey::new("j", []),
            GroupingKey::new("a/b c", [("empty", ""), ("dots", ".."), ("path", "/var/tmp"), ("z", "ü%?#&=")]),
            GroupingKey::new("..", [("ä.b", "1"), ("plain", "x+y~z")]),
            GroupingKey::new("ab", [("l", "abc/"), ("m", "ab/d"), ("n", "a/bcd")]),
        ];
        for key in keys {
            let path = path_of(&key);
            let decoded: Vec<u8> = percent_encoding::percent_decode_str(&path).collect();
            let (is_base64, rest) = match decoded.strip_prefix(b"job@base64/") {
                Some(rest) => (true, rest),
                None => (false, decoded.strip_prefix(b"job/").unwrap()),
            };
            let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let back = grouping_key(&rest[..end], is_base64, &rest[end..], NameRules::Utf8).unwrap();
            assert!(back == key, "{path}");
        }
    }
}

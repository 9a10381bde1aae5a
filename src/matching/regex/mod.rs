//! Regular expressions in Go's dialect (RE2), translated for Rust's engine.
//!
//! Rules pasted from Prometheus must mean here what they mean there. The two dialects differ in
//! silence (`\d` is ASCII in Go and Unicode in Rust, `[a&&b]` is a plain set in Go and an intersection
//! in Rust), so no pattern reaches the engine untranslated. Matching is linear in the input.
//!
//! Group names do not reach the engine either: Go allows names that Rust refuses, so groups are
//! numbered and their names kept here.

mod translate;

use regex::bytes::{Captures, Regex as Engine, RegexBuilder};

/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 4 * 1024;

/// Largest compiled pattern, in bytes.
pub const COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Regex {
    engine: Engine,
    /// The engine tells no sizes; a pattern that compiles under this bound takes no more.
    bytes_at_most: usize,
    /// Name and number of each named group.
    names: Vec<(String, usize)>,
}

impl Regex {
    /// Compiles a pattern that may match anywhere in its input.
    ///
    /// # Errors
    ///
    /// Go would refuse the pattern, or it is over a limit.
    pub fn new(pattern: &str) -> Result<Regex, String> {
        Regex::build(pattern, |body| body)
    }

    /// Compiles a pattern that must match the whole of its input, its dot any character, as
    /// Prometheus does: `^(?s:pattern)$`.
    ///
    /// # Errors
    ///
    /// As [`Regex::new`].
    pub fn anchored(pattern: &str) -> Result<Regex, String> {
        Regex::build(pattern, |body| format!("\\A(?s:{body})\\z"))
    }

    fn build(pattern: &str, wrap: impl Fn(String) -> String) -> Result<Regex, String> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!(
                "pattern of {} bytes, at most {PATTERN_BYTES_MAX} are allowed",
                pattern.len()
            ));
        }
        let fault = |text: &str| format!("error parsing regexp: {text}: `{pattern}`");
        let translated = translate::translate(pattern).map_err(|text| fault(&text))?;
        let wrapped = wrap(translated.pattern);
        let build = |bytes: usize| RegexBuilder::new(&wrapped).size_limit(bytes).nest_limit(1000).build();
        let mut bytes_at_most = COMPILED_BYTES_MAX / 16;
        let engine = match build(bytes_at_most) {
            Err(regex::Error::CompiledTooBig(_)) => {
                bytes_at_most = COMPILED_BYTES_MAX;
                build(bytes_at_most)
            }
            built => built,
        }
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => fault("expression too large"),
            other => fault(other.to_string().lines().last().unwrap_or("invalid")),
        })?;
        Ok(Regex { engine, bytes_at_most, names: translated.names })
    }

    /// A bound for the memory that it takes.
    pub fn compiled_bytes_at_most(&self) -> usize {
        self.bytes_at_most
    }

    pub fn is_match(&self, text: &[u8]) -> bool {
        self.engine.is_match(text)
    }

    pub fn captures<'t>(&self, text: &'t [u8]) -> Option<Captures<'t>> {
        self.engine.captures(text)
    }

    pub fn find_at(&self, text: &[u8], start: usize) -> Option<(usize, usize)> {
        self.engine.find_at(text, start).map(|found| (found.start(), found.end()))
    }

    pub fn captures_iter<'r, 't>(&'r self, text: &'t [u8]) -> regex::bytes::CaptureMatches<'r, 't> {
        self.engine.captures_iter(text)
    }

    /// How many groups there are, the whole match not counted.
    pub fn group_count(&self) -> usize {
        self.engine.captures_len() - 1
    }

    /// The number of the group `name`.
    pub fn group(&self, name: &str) -> Option<usize> {
        self.names.iter().find(|named| named.0 == name).map(|named| named.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pattern, texts matched whole, texts not matched. Facts about Go's `regexp` package.
    const DIALECT: &[(&str, &[&str], &[&str])] = &[
        (r"\d", &["7"], &["\u{663}", "a"]),
        (r"\D", &["\u{663}", "a"], &["7"]),
        (r"\w", &["a", "_", "0"], &["\u{e9}"]),
        (r"[\w-]", &["a", "-"], &["\u{e9}", "+"]),
        (r"[^\s]", &["a", "\u{b}"], &[" ", "\t"]),
        (r"\s", &[" ", "\n", "\u{c}"], &["\u{b}", "\u{a0}"]),
        (r"a\b.", &["a-"], &["ab"]),
        (r"\<a\>", &["<a>"], &["a"]),
        (r"\_\-\/", &["_-/"], &[]),
        (r"[a&&b]", &["a", "&", "b"], &["c"]),
        (r"[*--b~~]", &["*", "+", "-", "b", "~"], &["c", "."]),
        (r"[[a]", &["[", "a"], &["]"]),
        (r"[]a]", &["]", "a"], &["b"]),
        (r"[^]a]", &["b"], &["]", "a"]),
        (r"[[:alpha:]1]", &["x", "1"], &["\u{e9}", "2"]),
        (r"[[:^digit:]]", &["x", "\u{e9}"], &["1"]),
        (r"[[:x]", &["[", ":", "x"], &["y"]),
        (r"[a-]", &["a", "-"], &["b"]),
        (r"[+--]", &["+", ",", "-"], &["."]),
        (r"\Qa.b*\E+", &["a.b*", "a.b**"], &["aXb"]),
        (r"\Qa|b", &["a|b"], &["a"]),
        (r"\101\x41\x{41}\0", &["AAA\0"], &[]),
        (r"\012", &["\n"], &[]),
        (r"[\101-\103]", &["B"], &["D"]),
        (r"\a\f\n\r\t\v", &["\x07\x0c\n\r\t\x0b"], &[]),
        ("{", &["{"], &[]),
        ("a{,2}", &["a{,2}"], &["aa"]),
        ("a{a", &["a{a"], &[]),
        ("a{01}", &["a{01}"], &["a"]),
        ("x{2,}y{0}", &["xx", "xxx"], &["x", "xxy"]),
        ("a{2}?", &["aa"], &["a"]),
        (r"\pN\p{Greek}\p{^Greek}\PN", &["1\u{3b1}aa"], &["aaaa"]),
        ("(?i)K", &["k", "K", "\u{212a}"], &["j"]),
        ("(?i:a)b", &["Ab"], &["AB"]),
        ("(?U)a+?", &["aa"], &[]),
        ("(?P<1st>a)(?<n>b)()", &["ab"], &[]),
        ("(?)a", &["a"], &[]),
        ("a||b", &["a", "b", ""], &["c"]),
        (".", &["\n", "\u{e9}"], &[""]),
        ("(?m)^a$", &["a"], &[]),
        ("a]b}", &["a]b}"], &[]),
        ("#  x", &["#  x"], &["#"]),
        ("^a*$", &["", "aa"], &["b"]),
    ];

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, yes, no) in DIALECT {
            let regex = Regex::anchored(pattern).unwrap();
            for text in *yes {
                assert!(regex.is_match(text.as_bytes()), "{pattern} on {text:?}");
            }
            for text in *no {
                assert!(!regex.is_match(text.as_bytes()), "{pattern} on {text:?}");
            }
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in [
            "a**",
            "a+*",
            "a{2}{3}",
            "a*{2}",
            "a**?",
            "*a",
            "(*a)",
            "a|*",
            "(",
            ")",
            "a)",
            "(?x)a",
            "(?R)",
            "(?u)a",
            "(?-)a",
            "(?i",
            "(?P<n>a)(?P<n>b)",
            "(?P<>a)",
            "(?P<a-b>c)",
            "(?P=n)",
            "(?=a)",
            "(?!a)",
            r"\u1234",
            r"\1",
            r"\8",
            r"\C",
            r"\Z",
            r"\E",
            r"\x{110000}",
            r"\x4",
            r"\xg1",
            r"\",
            "[a",
            "[z-a]",
            r"[\z]",
            "[[:foo:]]",
            "a{1001}",
            "a{2,1}",
            "a{1,99999999999}",
            r"\p{Nope}",
            r"\pé",
            r"\p{a=b}",
            r"[\Qa\E]",
        ] {
            assert!(Regex::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn limits_hold() {
        assert!(Regex::new(&"a".repeat(PATTERN_BYTES_MAX)).is_ok());
        assert!(Regex::new(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        let error = Regex::new(r"((\pL{100}){100}){100}").unwrap_err();
        assert!(error.contains("too large"), "{error}");
    }

    #[test]
    fn groups_are_found_by_name() {
        let regex = Regex::new("(a)(?P<second>b)(?:c)(?<1>d)").unwrap();
        assert_eq!((regex.group_count(), regex.group("second"), regex.group("1")), (3, Some(2), Some(3)));
        assert_eq!(regex.group("a"), None);
    }
}

//! Regular expressions in Go's dialect (RE2), translated for Rust's engine.
//!
//! Rules pasted from Prometheus must mean here what they mean there. The two dialects differ in
//! silence (`\d` is ASCII in Go and Unicode in Rust, `[a&&b]` is a plain set in Go and an intersection
//! in Rust), so no pattern reaches the engine untranslated. Matching is linear in the input.
//!
//! Group names do not reach the engine either: Go allows names that Rust refuses, so groups are
//! numbered and their names kept here.

use std::iter::Peekable;
use std::str::Chars;

use regex::bytes::{Captures, Regex as Engine, RegexBuilder};

/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 4 * 1024;

/// Largest compiled pattern, in bytes.
pub const COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// Most repetitions that one operator may ask for, as in Go.
const REPEAT_MAX: u32 = 1000;

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
        let translated = translate(pattern).map_err(|text| fault(&text))?;
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

struct Translated {
    pattern: String,
    names: Vec<(String, usize)>,
}

struct Translator<'p> {
    rest: Peekable<Chars<'p>>,
    out: String,
    names: Vec<(String, usize)>,
    groups: usize,
    depth: usize,
    /// Whether a repetition may follow, and whether the last thing was one.
    repeatable: bool,
    repeated: bool,
}

fn translate(pattern: &str) -> Result<Translated, String> {
    let mut translator = Translator {
        rest: pattern.chars().peekable(),
        out: String::with_capacity(pattern.len() + 16),
        names: Vec::new(),
        groups: 0,
        depth: 0,
        repeatable: false,
        repeated: false,
    };
    translator.all()?;
    Ok(Translated { pattern: translator.out, names: translator.names })
}

impl Translator<'_> {
    fn all(&mut self) -> Result<(), String> {
        while let Some(char) = self.rest.next() {
            match char {
                '(' => self.open()?,
                ')' => {
                    self.depth = self.depth.checked_sub(1).ok_or("unexpected )")?;
                    self.out.push(')');
                    self.item();
                }
                '|' => {
                    self.out.push('|');
                    (self.repeatable, self.repeated) = (false, false);
                }
                '[' => self.class()?,
                '\\' => self.escape()?,
                '*' | '+' | '?' => self.repeat(&char.to_string())?,
                '{' => match self.counted() {
                    Some(counted) => self.repeat(&counted?)?,
                    None => self.literal('{'),
                },
                '.' | '^' | '$' => {
                    self.out.push(char);
                    self.item();
                }
                other => self.literal(other),
            }
        }
        if self.depth > 0 { Err("missing closing )".into()) } else { Ok(()) }
    }

    /// Notes that something was written which a repetition may follow.
    fn item(&mut self) {
        (self.repeatable, self.repeated) = (true, false);
    }

    fn literal(&mut self, char: char) {
        push_literal(&mut self.out, char);
        self.item();
    }

    fn repeat(&mut self, operator: &str) -> Result<(), String> {
        if !self.repeatable {
            return Err(format!("missing argument to repetition operator {operator}"));
        }
        if self.repeated {
            return Err(format!("invalid nested repetition operator {operator}"));
        }
        self.out.push_str(operator);
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        self.repeated = true;
        Ok(())
    }

    /// What follows a brace if that is a counted repetition; nothing is read otherwise.
    fn counted(&mut self) -> Option<Result<String, String>> {
        let mut ahead = self.rest.clone();
        let low = number(&mut ahead)?;
        let mut text = format!("{{{low}");
        let mut high = Some(low);
        if ahead.next_if_eq(&',').is_some() {
            text.push(',');
            high = None;
            if ahead.peek() != Some(&'}') {
                let bound = number(&mut ahead)?;
                text.push_str(&bound.to_string());
                high = Some(bound);
            }
        }
        ahead.next_if_eq(&'}')?;
        text.push('}');
        self.rest = ahead;
        let over = low > REPEAT_MAX || high.is_some_and(|high| high > REPEAT_MAX || high < low);
        Some(if over { Err(format!("invalid repeat count {text}")) } else { Ok(text) })
    }

    fn open(&mut self) -> Result<(), String> {
        self.depth += 1;
        (self.repeatable, self.repeated) = (false, false);
        if self.rest.next_if_eq(&'?').is_none() {
            self.groups += 1;
            self.out.push('(');
            return Ok(());
        }
        let mut ahead = self.rest.clone();
        let named = match ahead.next() {
            Some('P') => ahead.next() == Some('<'),
            Some('<') => true,
            _ => false,
        };
        if named {
            self.rest = ahead;
            return self.named_group();
        }
        let mut flags = String::new();
        let mut seen = true;
        let mut negative = false;
        loop {
            match self.rest.next() {
                Some(flag @ ('i' | 'm' | 's' | 'U')) => {
                    flags.push(flag);
                    seen = true;
                }
                Some('-') if !negative => {
                    (negative, seen) = (true, false);
                    flags.push('-');
                }
                Some(':') if seen => {
                    self.out.push_str(&format!("(?{flags}:"));
                    return Ok(());
                }
                Some(')') if seen => {
                    self.depth -= 1;
                    if !flags.is_empty() {
                        self.out.push_str(&format!("(?{flags})"));
                    }
                    return Ok(());
                }
                _ => return Err("invalid or unsupported Perl syntax".into()),
            }
        }
    }

    fn named_group(&mut self) -> Result<(), String> {
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some('>') if !name.is_empty() => break,
                Some(char) if char.is_ascii_alphanumeric() || char == '_' => name.push(char),
                _ => return Err("invalid named capture".into()),
            }
        }
        if self.names.iter().any(|(known, _)| *known == name) {
            return Err(format!("duplicate capture group name {name}"));
        }
        self.groups += 1;
        self.names.push((name, self.groups));
        self.out.push('(');
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let char = self.rest.next().ok_or("trailing backslash at end of expression")?;
        match char {
            'A' | 'z' => self.out.extend(['\\', char]),
            'b' | 'B' => {
                self.out.push_str("(?-u:\\");
                self.out.push(char);
                self.out.push(')');
            }
            'Q' => {
                self.quoted();
                return Ok(());
            }
            _ => match perl_class(char) {
                Some(class) => self.out.push_str(class),
                None if matches!(char, 'p' | 'P') => self.property(char)?,
                None => {
                    let literal = self.escaped(char)?;
                    push_literal(&mut self.out, literal);
                }
            },
        }
        self.item();
        Ok(())
    }

    /// `\Q` up to `\E` or the end.
    fn quoted(&mut self) {
        while let Some(char) = self.rest.next() {
            if char == '\\' && self.rest.peek() == Some(&'E') {
                self.rest.next();
                return;
            }
            self.literal(char);
        }
    }

    fn property(&mut self, kind: char) -> Result<(), String> {
        let mut negated = kind == 'P';
        let mut name = String::new();
        if self.rest.next_if_eq(&'{').is_some() {
            if self.rest.next_if_eq(&'^').is_some() {
                negated = !negated;
            }
            loop {
                match self.rest.next() {
                    Some('}') => break,
                    Some(char) if char.is_ascii_alphanumeric() || char == '_' => name.push(char),
                    _ => return Err("invalid character class range".into()),
                }
            }
        } else {
            name.extend(self.rest.next().filter(char::is_ascii_alphanumeric));
        }
        if name.is_empty() {
            return Err("invalid character class range".into());
        }
        self.out.push_str(if negated { "\\P{" } else { "\\p{" });
        self.out.push_str(&name);
        self.out.push('}');
        Ok(())
    }

    /// The character that a backslash and `char` stand for.
    fn escaped(&mut self, char: char) -> Result<char, String> {
        let unknown = || format!("invalid escape sequence \\{char}");
        Ok(match char {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '0'..='7' => {
                let octal = |next: &char| ('0'..='7').contains(next);
                // A single digit but zero is a back reference, which no linear engine has.
                if char != '0' && !self.rest.peek().is_some_and(octal) {
                    return Err(unknown());
                }
                let mut code = char as u32 - '0' as u32;
                for _ in 0..2 {
                    let Some(digit) = self.rest.next_if(octal) else { break };
                    code = code * 8 + (digit as u32 - '0' as u32);
                }
                char::from_u32(code).ok_or_else(unknown)?
            }
            'x' => {
                let mut digits = String::new();
                if self.rest.next_if_eq(&'{').is_some() {
                    while let Some(digit) = self.rest.next_if(char::is_ascii_hexdigit) {
                        digits.push(digit);
                    }
                    self.rest.next_if_eq(&'}').ok_or_else(unknown)?;
                } else {
                    digits.extend(self.rest.next_if(char::is_ascii_hexdigit));
                    digits.extend(self.rest.next_if(char::is_ascii_hexdigit));
                    if digits.len() < 2 {
                        return Err(unknown());
                    }
                }
                let code = u32::from_str_radix(&digits, 16).map_err(|_| unknown())?;
                char::from_u32(code).ok_or_else(unknown)?
            }
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => other,
            _ => return Err(unknown()),
        })
    }

    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let char = self.rest.next().ok_or("missing closing ]")?;
            match char {
                ']' if !first => break,
                '[' if self.rest.peek() == Some(&':') && self.posix_class()? => {}
                '\\' => match self.rest.peek().copied() {
                    Some(kind @ ('p' | 'P')) => {
                        self.rest.next();
                        self.property(kind)?;
                    }
                    Some(kind) if perl_class(kind).is_some() => {
                        self.rest.next();
                        self.out.push_str(perl_class(kind).unwrap_or_default());
                    }
                    _ => self.class_range('\\')?,
                },
                _ => self.class_range(char)?,
            }
            first = false;
        }
        self.out.push(']');
        self.item();
        Ok(())
    }

    /// `[:name:]` after its first bracket; false and nothing read if it is none.
    fn posix_class(&mut self) -> Result<bool, String> {
        let text: String = self.rest.clone().collect();
        let Some(end) = text[1..].find(":]") else { return Ok(false) };
        let name = &text[1..1 + end];
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "word", "xdigit",
        ];
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(format!("invalid character class range [:{name}:]"));
        }
        self.out.push_str(&format!("[:{name}:]"));
        for _ in 0..name.chars().count() + 3 {
            self.rest.next();
        }
        Ok(true)
    }

    fn class_char(&mut self, char: char) -> Result<char, String> {
        if char != '\\' {
            return Ok(char);
        }
        let escaped = self.rest.next().ok_or("trailing backslash at end of expression")?;
        self.escaped(escaped)
    }

    fn class_range(&mut self, char: char) -> Result<(), String> {
        let low = self.class_char(char)?;
        push_literal(&mut self.out, low);
        let mut ahead = self.rest.clone();
        if ahead.next() == Some('-') && ahead.next().is_some_and(|next| next != ']') {
            self.rest.next();
            let next = self.rest.next().ok_or("missing closing ]")?;
            let high = self.class_char(next)?;
            if high < low {
                return Err(format!("invalid character class range {low}-{high}"));
            }
            self.out.push('-');
            push_literal(&mut self.out, high);
        }
        Ok(())
    }
}

/// A decimal number without leading zeros; counts over the limit stay over it.
fn number(rest: &mut Peekable<Chars<'_>>) -> Option<u32> {
    let first = rest.next_if(char::is_ascii_digit)?;
    let mut value = first.to_digit(10)?;
    if value == 0 && rest.peek().is_some_and(char::is_ascii_digit) {
        return None;
    }
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        value = value.saturating_mul(10).saturating_add(digit.to_digit(10)?).min(1_000_000);
    }
    Some(value)
}

fn perl_class(char: char) -> Option<&'static str> {
    Some(match char {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => "[\\t\\n\\x0C\\r ]",
        'S' => "[^\\t\\n\\x0C\\r ]",
        _ => return None,
    })
}

fn push_literal(out: &mut String, char: char) {
    if char.is_ascii() && !char.is_ascii_alphanumeric() && char != '_' {
        out.push_str(&format!("\\x{:02X}", char as u32));
    } else {
        out.push(char);
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

//! One pass over a pattern in Go's syntax, writing the same in Rust's.
//!
//! Operators are written as they are, every literal but letters and digits by its number, so nothing
//! that only Rust gives a meaning to gets through.

use std::iter::Peekable;
use std::str::Chars;

/// Most repetitions that one operator may ask for, as in Go.
const REPEAT_MAX: u32 = 1000;

/// A pattern for Rust's engine.
pub(super) struct Translated {
    pub pattern: String,
    /// Name and number of each named group.
    pub names: Vec<(String, usize)>,
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

/// # Errors
///
/// Go would refuse the pattern.
pub(super) fn translate(pattern: &str) -> Result<Translated, String> {
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

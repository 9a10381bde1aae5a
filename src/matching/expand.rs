//! Replacement templates: `$1`, `${name}`, `$$`, as Go's `Regexp.Expand` reads them.

use regex::bytes::Captures;

use super::regex::Regex;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Group(usize),
}

/// A template, its names resolved against one regex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// Reads `text`. `group` gives the number of a named group, `count` how many groups there are; what
    /// names neither expands to nothing, and a malformed reference stands for itself.
    pub fn new(text: &str, count: usize, group: impl Fn(&str) -> Option<usize>) -> Template {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            }
            let Some((name, after)) = reference(rest) else {
                literal.push('$');
                continue;
            };
            rest = after;
            let number = match plain_number(name) {
                Some(number) => (number <= count).then_some(number),
                None => group(name),
            };
            if let Some(number) = number {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Group(number));
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Template { pieces }
    }

    pub fn for_regex(text: &str, regex: &Regex) -> Template {
        Template::new(text, regex.group_count(), |name| regex.group(name))
    }

    /// The text it always gives, if it names no group.
    pub fn literal(&self) -> Option<&str> {
        match &self.pieces[..] {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The group whose text it always gives, if it is nothing but a reference.
    pub fn group(&self) -> Option<usize> {
        match &self.pieces[..] {
            [Piece::Group(number)] => Some(*number),
            _ => None,
        }
    }

    /// Appends the expansion, the text of each group coming from `group`.
    pub fn expand<'t>(&self, out: &mut Vec<u8>, group: impl Fn(usize) -> Option<&'t [u8]>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Group(number) => out.extend_from_slice(group(*number).unwrap_or_default()),
            }
        }
    }

    pub fn expand_captures(&self, out: &mut Vec<u8>, captures: &Captures<'_>) {
        self.expand(out, |number| captures.get(number).map(|found| found.as_bytes()));
    }
}

/// The name after a dollar sign and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (inner, braced) = match text.strip_prefix('{') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    // Go counts letters and decimal digits of any script.
    let end = inner.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if name.is_empty() {
        return None;
    }
    if braced { Some((name, rest.strip_prefix('}')?)) } else { Some((name, rest)) }
}

/// A group number as Go reads it: no leading zero, below 10^8 digits' worth.
fn plain_number(name: &str) -> Option<usize> {
    if !name.bytes().all(|byte| byte.is_ascii_digit()) || (name.len() > 1 && name.starts_with('0')) {
        return None;
    }
    if name.len() > 9 { None } else { name.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(pattern: &str, template: &str, text: &str) -> String {
        let regex = Regex::anchored(pattern).unwrap();
        let mut out = Vec::new();
        let captures = regex.captures(text.as_bytes()).unwrap();
        Template::for_regex(template, &regex).expand_captures(&mut out, &captures);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn references_are_read_as_go_reads_them() {
        let cases = [
            ("$1", "ab"),
            ("$1x", ""),
            ("${1}x", "abx"),
            ("$0", "ab-cd"),
            ("$n-$1", "cd-ab"),
            ("${n}", "cd"),
            ("$3.", "."),
            ("$nope.", "."),
            ("$$1", "$1"),
            ("$", "$"),
            ("a$", "a$"),
            ("$-", "$-"),
            ("${1", "${1"),
            ("${}", "${}"),
            ("${1-}", "${1-}"),
            ("$01", ""),
            ("$1_", ""),
            ("$\u{e9}!", "!"),
            ("", ""),
        ];
        for (template, expected) in cases {
            assert_eq!(expand("(.*)-(?P<n>.*)", template, "ab-cd"), expected, "{template}");
        }
        assert_eq!(expand("(a)|(b)", "[$1$2]", "b"), "[b]");
    }

    #[test]
    fn literals_are_known() {
        let literal = |text: &str| Template::new(text, 1, |_| None).literal().map(str::to_owned);
        assert_eq!(literal("a$$b").as_deref(), Some("a$b"));
        assert_eq!(literal("$2").as_deref(), Some(""));
        assert_eq!(literal("$1"), None);
        let group = |text: &str| Template::new(text, 1, |_| None).group();
        assert_eq!(
            [group("$1"), group("$0"), group("$1-"), group("$2"), group("1")],
            [Some(1), Some(0), None, None, None]
        );
    }
}

//! PromQL instant selectors: `name{a="b",c!="d",e=~"re",f!~"re"}`.
//!
//! Matching looks at labels alone, runs in Rust and never enters Lua. A missing label is the empty
//! string.

use super::matcher::Matcher;
use crate::model::GroupingKey;

/// What a selector looks at.
pub trait Labels {
    /// The value of a label; empty if there is none. `__name__` is the metric name.
    fn get(&self, name: &str) -> &str;
}

/// Grouping labels; there is no metric name among them.
impl Labels for GroupingKey {
    fn get(&self, name: &str) -> &str {
        GroupingKey::get(self, name).unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    NotEqual(String),
    Matches(Matcher),
    MatchesNot(Matcher),
}

/// A compiled selector.
#[derive(Clone, Debug)]
pub struct Selector {
    tests: Vec<(String, Test)>,
    text: String,
}

impl Selector {
    /// # Errors
    ///
    /// The text is no selector, or a pattern in it is none.
    pub fn new(text: &str) -> Result<Selector, String> {
        let fault = |what: &str, at: usize| format!("bad selector `{text}`: {what} at position {}", at + 1);
        let mut reader = Reader { text, at: 0 };
        let mut tests = Vec::new();
        reader.skip_blanks();
        let name = reader.word(|char| char.is_ascii_alphanumeric() || char == '_' || char == ':');
        if !name.is_empty() {
            if name.starts_with(|char: char| char.is_ascii_digit()) {
                return Err(fault("a metric name cannot begin with a digit", 0));
            }
            tests.push(("__name__".to_owned(), Test::Equal(name.to_owned())));
        }
        reader.skip_blanks();
        if reader.take("{") {
            loop {
                reader.skip_blanks();
                if reader.take("}") {
                    break;
                }
                let at = reader.at;
                let label = if reader.peek().is_some_and(|char| matches!(char, '"' | '\'' | '`')) {
                    reader.string().ok_or_else(|| fault("an unfinished string", at))?
                } else {
                    reader.word(|char| char.is_ascii_alphanumeric() || char == '_').to_owned()
                };
                if label.is_empty() || label.starts_with(|char: char| char.is_ascii_digit()) {
                    return Err(fault("a label name is missing", at));
                }
                reader.skip_blanks();
                let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| reader.take(operator));
                let Some(operator) = operator else {
                    return Err(fault("one of = != =~ !~ is missing", reader.at));
                };
                reader.skip_blanks();
                let value = reader.string().ok_or_else(|| fault("a quoted value is missing", reader.at))?;
                let pattern = || Matcher::new(&value);
                let test = match operator {
                    "=" => Test::Equal(value.clone()),
                    "!=" => Test::NotEqual(value.clone()),
                    "=~" => Test::Matches(pattern()?),
                    _ => Test::MatchesNot(pattern()?),
                };
                tests.push((label, test));
                reader.skip_blanks();
                if !reader.take(",") && reader.peek() != Some('}') {
                    return Err(fault("a comma or } is missing", reader.at));
                }
            }
        } else if name.is_empty() {
            return Err(fault("a name or { is missing", reader.at));
        }
        reader.skip_blanks();
        if reader.peek().is_some() {
            return Err(fault("nothing may follow", reader.at));
        }
        Ok(Selector { tests, text: text.to_owned() })
    }

    pub fn matches(&self, labels: &impl Labels) -> bool {
        self.tests.iter().all(|(name, test)| {
            let value = labels.get(name);
            match test {
                Test::Equal(wanted) => value == wanted,
                Test::NotEqual(unwanted) => value != unwanted,
                Test::Matches(matcher) => matcher.is_match(value),
                Test::MatchesNot(matcher) => !matcher.is_match(value),
            }
        })
    }

    /// The labels it looks at.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().map(|(name, _)| name.as_str())
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn word(&mut self, of: impl Fn(char) -> bool) -> &'t str {
        let rest = &self.text[self.at..];
        let end = rest.find(|char| !of(char)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn skip_blanks(&mut self) {
        self.word(|char| matches!(char, ' ' | '\t' | '\n' | '\r'));
    }

    /// A string in any of PromQL's quotes; backquotes know no escapes.
    fn string(&mut self) -> Option<String> {
        let quote = self.peek().filter(|char| matches!(char, '"' | '\'' | '`'))?;
        self.at += 1;
        let mut out = String::new();
        loop {
            let char = self.peek()?;
            self.at += char.len_utf8();
            match char {
                _ if char == quote => return Some(out),
                '\\' if quote != '`' => {
                    let escaped = self.peek()?;
                    self.at += escaped.len_utf8();
                    out.push(match escaped {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        '\\' | '"' | '\'' => escaped,
                        _ => return None,
                    });
                }
                other => out.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pairs(&'static [(&'static str, &'static str)]);

    impl Labels for Pairs {
        fn get(&self, name: &str) -> &str {
            self.0.iter().find(|pair| pair.0 == name).map_or("", |pair| pair.1)
        }
    }

    #[test]
    fn selectors_match() {
        let labels = Pairs(&[("__name__", "up"), ("job", "batch-1"), ("q", "a\"b\n")]);
        for yes in [
            "up",
            "{}",
            " up { } ",
            "up{job=\"batch-1\"}",
            "{job=~\"batch-.*\",env=\"\"}",
            "{job!~'x.*', env!=\"dev\",}",
            r#"{q="a\"b\n"}"#,
            "{__name__=~`up|down`}",
            "{\"job\"=`batch-1`}",
        ] {
            assert!(Selector::new(yes).unwrap().matches(&labels), "{yes}");
        }
        for no in ["down", "up{job=\"batch\"}", "{job=~\"batch\"}", "{env!=\"\"}", "{job!~\".+\"}"] {
            assert!(!Selector::new(no).unwrap().matches(&labels), "{no}");
        }
    }

    #[test]
    fn bad_selectors_are_refused() {
        for bad in [
            "",
            " ",
            "{",
            "up{",
            "up{a}",
            "up{a=}",
            "up{a=b}",
            "up{a=\"b}",
            "up{a=\"b\" c=\"d\"}",
            "up{a==\"b\"}",
            "up{a=~\"(\"}",
            "up x",
            "1up",
            "{1a=\"b\"}",
            "up[5m]",
            "{a=\"\\q\"}",
            "{,}",
        ] {
            assert!(Selector::new(bad).is_err(), "{bad}");
        }
    }
}

//! Anchored matchers for rules and selectors, which keep common patterns away from the regex engine.
//!
//! Most patterns that people write are a word, a few words between bars, a prefix or everything. Those
//! are comparisons; only what is left is given to the engine.

use std::borrow::Cow;

use super::expand::Template;
use super::regex::Regex;

/// A pattern that must match the whole text.
#[derive(Clone, Debug)]
pub struct Matcher {
    form: Form,
    regex: Regex,
}

#[derive(Clone, Debug)]
enum Form {
    /// `.*` or `(.*)`.
    Anything,
    /// `.+` or `(.+)`.
    Something,
    /// One of these words.
    Words(Vec<String>),
    /// Begins with this: `word.*`.
    Prefix(String),
    Regex,
}

impl Matcher {
    /// # Errors
    ///
    /// As [`Regex::anchored`].
    pub fn new(pattern: &str) -> Result<Matcher, String> {
        // Compiled in any case: templates ask it for groups, and a pattern that Go refuses must fail.
        let regex = Regex::anchored(pattern)?;
        let form = match pattern {
            ".*" | "(.*)" => Form::Anything,
            ".+" | "(.+)" => Form::Something,
            _ => words(pattern).map(Form::Words).or_else(|| prefix(pattern)).unwrap_or(Form::Regex),
        };
        Ok(Matcher { form, regex })
    }

    pub fn is_match(&self, text: &str) -> bool {
        match &self.form {
            Form::Anything => true,
            Form::Something => !text.is_empty(),
            Form::Words(words) => words.iter().any(|word| word == text),
            Form::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Form::Regex => self.regex.is_match(text.as_bytes()),
        }
    }

    /// Whether all texts match, but for the empty one.
    pub fn matches_all(&self) -> bool {
        matches!(self.form, Form::Anything | Form::Something)
    }

    /// Whether the template gives the whole of every text that matches.
    pub fn gives_whole(&self, template: &Template) -> bool {
        match template.group() {
            Some(0) => true,
            Some(1) => self.matches_all(),
            _ => false,
        }
    }

    /// The template `text` with its group names resolved against this pattern.
    pub fn template(&self, text: &str) -> Template {
        Template::for_regex(text, &self.regex)
    }

    /// The expansions of `templates`, or `None` if the text does not match. What is all of `text`, or a
    /// piece of it, or of a template, is borrowed.
    pub fn expand<'t, const N: usize>(
        &self,
        text: &'t str,
        templates: [&'t Template; N],
    ) -> Option<[Cow<'t, str>; N]> {
        let literal = templates.map(Template::literal);
        if literal.iter().all(Option::is_some) {
            return self.is_match(text).then(|| literal.map(|text| Cow::Borrowed(text.unwrap_or_default())));
        }
        let whole = text.as_bytes();
        match &self.form {
            Form::Anything | Form::Something => {
                if !self.is_match(text) {
                    return None;
                }
                // Group 1, where there is one, is the whole text as group 0 is.
                Some(templates.map(|template| expanded(template, |_| Some(whole))))
            }
            Form::Words(_) | Form::Prefix(_) => {
                // No groups but the whole match.
                self.is_match(text).then(|| templates.map(|template| expanded(template, |_| Some(whole))))
            }
            Form::Regex => {
                let captures = self.regex.captures(whole)?;
                let group = |number| captures.get(number).map(|found| found.as_bytes());
                Some(templates.map(|template| expanded(template, group)))
            }
        }
    }

    /// Whether the engine is never entered.
    #[cfg(test)]
    fn is_literal(&self) -> bool {
        !matches!(self.form, Form::Regex)
    }
}

fn expanded<'t>(template: &'t Template, group: impl Fn(usize) -> Option<&'t [u8]>) -> Cow<'t, str> {
    if let Some(text) = template.literal() {
        return Cow::Borrowed(text);
    }
    // Groups of an anchored match begin and end between characters, but for a `\B` inside one.
    if let Some(number) = template.group() {
        return String::from_utf8_lossy(group(number).unwrap_or_default());
    }
    let mut out = Vec::new();
    template.expand(&mut out, group);
    Cow::Owned(
        String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// The words of a pattern that is nothing but words between bars.
fn words(pattern: &str) -> Option<Vec<String>> {
    let inner = pattern.strip_prefix("(?:").and_then(|inner| inner.strip_suffix(')')).unwrap_or(pattern);
    inner.split('|').map(word).collect()
}

fn prefix(pattern: &str) -> Option<Form> {
    word(pattern.strip_suffix(".*")?).map(Form::Prefix)
}

/// The text of a pattern without operators. An escaped bar was cut in two by the caller and leaves a
/// trailing backslash, which is no word.
fn word(pattern: &str) -> Option<String> {
    let mut word = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                let escaped = chars.next()?;
                if !escaped.is_ascii_punctuation() {
                    return None;
                }
                word.push(escaped);
            }
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            other => word.push(other),
        }
    }
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_do_not_enter_the_engine() {
        for pattern in ["dev", "dev|prod", "(?:a|b)", "", "a\\.b", "tmp_.*", ".*", "(.*)", ".+", "a|"] {
            assert!(Matcher::new(pattern).unwrap().is_literal(), "{pattern}");
        }
        for pattern in ["(dev)", "a.c", "a\\|b", "(?i)a", "a?", "x(?:a|b)", "(?:a)|(?:b)", "\\d"] {
            assert!(!Matcher::new(pattern).unwrap().is_literal(), "{pattern}");
        }
    }

    #[test]
    fn both_ways_agree() {
        let patterns = ["dev|prod", "a\\.b|", "tmp_.*", ".*", "(.*)", "(.+)", "", "(?:a|b)"];
        let texts = ["", "dev", "prod", "devprod", "a.b", "aXb", "tmp_", "tmp_x\ny", "a", "b"];
        for pattern in patterns {
            let matcher = Matcher::new(pattern).unwrap();
            let engine = Matcher { form: Form::Regex, ..matcher.clone() };
            let templates = ["[$0]", "$1", "$0"].map(|template| matcher.template(template));
            for text in texts {
                assert_eq!(matcher.is_match(text), engine.is_match(text), "{pattern} on {text}");
                assert!(!matcher.matches_all() || text.is_empty() || engine.is_match(text), "{pattern}");
                for template in templates.iter().filter(|template| matcher.gives_whole(template)) {
                    let given = engine.expand(text, [template]);
                    assert!(given.is_none_or(|[given]| given == text), "{pattern} on {text}");
                }
                let [whole, first, _] = &templates;
                assert_eq!(
                    matcher.expand(text, [whole, first]),
                    engine.expand(text, [whole, first]),
                    "{pattern} on {text}"
                );
            }
        }
    }
}

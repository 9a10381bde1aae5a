//! One rule: its fields as written, the checks of Prometheus, and its compiled form.

use super::labels::METRIC_NAME;
use crate::model::NameRules;
use crate::plugin::expand::Template;
use crate::plugin::matcher::Matcher;
use crate::plugin::value::Value;

/// What a rule does, see Prometheus' `relabel_config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    const ALL: [(&'static str, Action); 11] = [
        ("replace", Action::Replace),
        ("keep", Action::Keep),
        ("drop", Action::Drop),
        ("keepequal", Action::KeepEqual),
        ("dropequal", Action::DropEqual),
        ("hashmod", Action::HashMod),
        ("labelmap", Action::LabelMap),
        ("labeldrop", Action::LabelDrop),
        ("labelkeep", Action::LabelKeep),
        ("lowercase", Action::Lowercase),
        ("uppercase", Action::Uppercase),
    ];

    fn named(word: &str) -> Option<Action> {
        Action::ALL.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|found| found.1)
    }

    fn name(self) -> &'static str {
        Action::ALL.iter().find(|(_, action)| *action == self).map_or("", |found| found.0)
    }
}

const REGEX: &str = "(.*)";
const SEPARATOR: &str = ";";
const REPLACEMENT: &str = "$1";

/// The fields of a rule with Prometheus' defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    source_labels: Vec<String>,
    separator: String,
    regex: String,
    modulus: u64,
    target_label: String,
    replacement: String,
    action: Action,
    /// Whether these were written, with whatever value.
    regex_given: bool,
    source_labels_given: bool,
}

/// A rule ready to run.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) action: Action,
    pub(super) source_labels: Vec<String>,
    pub(super) separator: String,
    pub(super) matcher: Matcher,
    pub(super) modulus: u64,
    pub(super) target_label: String,
    /// The target, and the replacement, with their groups resolved.
    pub(super) target: Template,
    pub(super) replacement: Template,
    pub(super) names: NameRules,
}

impl Rule {
    /// Reads a rule as it stands in a list of `metric_relabel_configs`.
    ///
    /// # Errors
    ///
    /// Prometheus would refuse it.
    pub fn new(value: &Value, names: NameRules) -> Result<Rule, String> {
        let fields = Fields::read(value, names)?;
        fields.check(names)?;
        let matcher = Matcher::new(&fields.regex)?;
        Ok(Rule {
            action: fields.action,
            target: matcher.template(&fields.target_label),
            replacement: matcher.template(&fields.replacement),
            source_labels: fields.source_labels,
            separator: fields.separator,
            modulus: fields.modulus,
            target_label: fields.target_label,
            matcher,
            names,
        })
    }

    /// Whether the rule treats all lines of a histogram or summary alike: it neither reads nor writes
    /// their names nor the labels that tell them apart.
    pub(super) fn is_blind_to_parts(&self) -> bool {
        const TELLING: [&str; 3] = [METRIC_NAME, "le", "quantile"];
        let reads = self.source_labels.iter().any(|name| TELLING.contains(&name.as_str()));
        if reads {
            return false;
        }
        let literal_elsewhere =
            |template: &Template| template.literal().is_some_and(|name| !TELLING.contains(&name));
        match self.action {
            Action::Keep | Action::Drop => true,
            Action::Replace => literal_elsewhere(&self.target),
            Action::LabelMap => {
                TELLING.iter().all(|name| !self.matcher.is_match(name))
                    && literal_elsewhere(&self.replacement)
            }
            Action::LabelDrop => TELLING.iter().all(|name| !self.matcher.is_match(name)),
            Action::LabelKeep => TELLING.iter().all(|name| self.matcher.is_match(name)),
            _ => !TELLING.contains(&self.target_label.as_str()),
        }
    }
}

impl Fields {
    fn read(value: &Value, names: NameRules) -> Result<Fields, String> {
        let pairs = match value {
            Value::Map(pairs) => &pairs[..],
            other => return Err(format!("a rule is a map, not {}", other.kind())),
        };
        let mut fields = Fields {
            source_labels: Vec::new(),
            separator: SEPARATOR.into(),
            regex: REGEX.into(),
            modulus: 0,
            target_label: String::new(),
            replacement: REPLACEMENT.into(),
            action: Action::Replace,
            regex_given: false,
            source_labels_given: false,
        };
        for (key, value) in pairs {
            let word =
                || value.as_word().ok_or_else(|| format!("{key} must be a string, not {}", value.kind()));
            match key.as_str() {
                "source_labels" => {
                    fields.source_labels_given = true;
                    let list = value.as_list().ok_or("source_labels must be a list of label names")?;
                    for name in list {
                        let name = name.as_word().ok_or("source_labels must be a list of label names")?;
                        if !names.is_label_name(&name) {
                            return Err(format!("{name:?} is not a valid label name"));
                        }
                        fields.source_labels.push(name);
                    }
                }
                "separator" => fields.separator = word()?,
                "regex" => {
                    fields.regex_given = true;
                    fields.regex = if *value == Value::Null { String::new() } else { word()? };
                }
                "modulus" => {
                    fields.modulus = match value {
                        Value::Int(number) if *number >= 0 => *number as u64,
                        _ => return Err("modulus must be a whole number, zero or more".into()),
                    }
                }
                "target_label" => fields.target_label = word()?,
                "replacement" => fields.replacement = word()?,
                "action" => {
                    let word = word()?;
                    fields.action =
                        Action::named(&word).ok_or_else(|| format!("unknown relabel action {word:?}"))?;
                }
                other => return Err(format!("unknown field {other:?}")),
            }
        }
        Ok(fields)
    }

    fn check(&self, names: NameRules) -> Result<(), String> {
        use Action::{
            DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase,
        };
        let (action, name, target) = (self.action, self.action.name(), &self.target_label);
        let default_replacement = self.replacement == REPLACEMENT;
        if action == HashMod && self.modulus == 0 {
            return Err("relabel configuration for hashmod requires non-zero modulus".into());
        }
        let targeted = [Replace, HashMod, Lowercase, Uppercase, KeepEqual, DropEqual].contains(&action);
        if targeted && target.is_empty() {
            return Err(format!("relabel configuration for {name} action requires 'target_label' value"));
        }
        if targeted {
            let legal = match action {
                Replace if target.contains('$') => is_target(target, names),
                _ => names.is_label_name(target),
            };
            if !legal {
                return Err(format!("{target:?} is invalid 'target_label' for {name} action"));
            }
        }
        if [Lowercase, Uppercase, KeepEqual, DropEqual].contains(&action) && !default_replacement {
            return Err(format!("'replacement' can not be set for {name} action"));
        }
        if action == LabelMap && !is_target(&self.replacement, names) {
            return Err(format!("{:?} is invalid 'replacement' for {name} action", self.replacement));
        }
        let others_set = self.modulus != 0 || self.separator != SEPARATOR || !default_replacement;
        if [KeepEqual, DropEqual].contains(&action) && (others_set || self.regex_given) {
            return Err(format!(
                "{name} action requires only 'source_labels' and 'target_label', and no other fields"
            ));
        }
        if [LabelDrop, LabelKeep].contains(&action)
            && (others_set || !target.is_empty() || self.source_labels_given)
        {
            return Err(format!("{name} action requires only 'regex', and no other fields"));
        }
        Ok(())
    }
}

/// Whether `text` can expand to a label name: letters, digits, underscores and references, no digit in
/// front.
fn is_target(text: &str, names: NameRules) -> bool {
    if names == NameRules::Utf8 {
        return !text.is_empty();
    }
    let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let mut rest = text;
    if rest.is_empty() || rest.starts_with(|char: char| char.is_ascii_digit()) {
        return false;
    }
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        if char == '$' {
            let (inner, braced) = match rest.strip_prefix('{') {
                Some(inner) => (inner, true),
                None => (rest, false),
            };
            let after = inner.trim_start_matches(word);
            if after.len() == inner.len() {
                return false;
            }
            rest = match after.strip_prefix('}') {
                Some(closed) if braced => closed,
                _ if braced => return false,
                _ => after,
            };
        } else if !word(char) {
            return false;
        }
    }
    true
}

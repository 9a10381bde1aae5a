//! A list of rules, run over one label set.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use bumpalo::Bump;

use super::labels::{LabelSet, Origin};
use super::rule::{Action, Rule};
use crate::model::NameRules;
use crate::plugin::digest;
use crate::plugin::value::Value;

/// Most rules in one list.
pub const RULES_MAX: usize = 500;

/// Rules in the order in which they run.
#[derive(Clone, Debug)]
pub struct Ruleset {
    id: u64,
    rules: Vec<Rule>,
    /// Whether a rule sees the labels in order.
    ordered: bool,
    blind: bool,
}

impl Ruleset {
    /// Reads a list as it stands under `metric_relabel_configs`.
    ///
    /// # Errors
    ///
    /// Prometheus would refuse a rule; the text begins with its position, counted from 1.
    pub fn new(list: &Value, names: NameRules) -> Result<Ruleset, String> {
        let list = list.as_list().ok_or_else(|| format!("rules are a list, not {}", list.kind()))?;
        if list.len() > RULES_MAX {
            return Err(format!("{} rules, at most {RULES_MAX} are allowed", list.len()));
        }
        let compile = |(at, rule)| Rule::new(rule, names).map_err(|text| format!("rule {}: {text}", at + 1));
        let rules = list.iter().enumerate().map(compile).collect::<Result<Vec<Rule>, String>>()?;
        static IDS: AtomicU64 = AtomicU64::new(0);
        Ok(Ruleset {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            ordered: rules.iter().any(|rule| rule.action == Action::LabelMap),
            blind: rules.iter().all(Rule::is_blind_to_parts),
            rules,
        })
    }

    /// A number that no other list has, unless it is a copy.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn len(&self) -> usize {
        self.rules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether all lines of a histogram or summary come out alike, so that running once suffices.
    pub fn is_blind_to_parts(&self) -> bool {
        self.blind
    }

    /// Runs all rules; false if the series is dropped. What they put together is written to `made`.
    pub fn run<'t>(&'t self, labels: &mut LabelSet<'t>, made: &'t Bump) -> bool {
        self.run_watched(labels, made, |_, _| {})
    }

    /// The same; `watch` is told of each rule before it runs, by its position.
    pub fn run_watched<'t>(
        &'t self,
        labels: &mut LabelSet<'t>,
        made: &'t Bump,
        mut watch: impl FnMut(usize, &LabelSet<'t>),
    ) -> bool {
        if self.ordered {
            labels.sort();
        }
        self.rules.iter().enumerate().all(|(at, rule)| {
            watch(at, labels);
            rule.run(labels, made)
        })
    }

    /// What decides on the rule at a position.
    pub fn decider(&self, rule: usize) -> Decider<'_> {
        self.rules[rule].decider()
    }

    /// Whether the pattern of the rule at a position matches these values, joined as its source labels are.
    pub fn is_match<'t>(&self, rule: usize, values: impl ExactSizeIterator<Item = &'t str> + Clone) -> bool {
        let rule = &self.rules[rule];
        match (values.clone().next(), values.len()) {
            (None, _) => rule.matcher.is_match(""),
            (Some(value), 1) => rule.matcher.is_match(value),
            _ => rule.matcher.is_match(&values.collect::<Vec<_>>().join(&rule.separator)),
        }
    }
}

/// What decides whether a rule does what it does, where all labels have values.
pub enum Decider<'r> {
    /// The names of the labels.
    Names,
    /// Whether its pattern matches the values of these labels.
    Match(&'r [String]),
    /// More of their values than that.
    Values,
}

impl Rule {
    fn decider(&self) -> Decider<'_> {
        match self.action {
            Action::Replace if self.target.literal().is_none() => Decider::Values,
            // One value is not empty if it is there, and whether it is follows from the names.
            Action::Keep | Action::Drop | Action::Replace
                if self.source_labels.len() <= 1 && self.matcher.matches_all() =>
            {
                Decider::Names
            }
            Action::Keep | Action::Drop | Action::Replace => Decider::Match(&self.source_labels),
            Action::KeepEqual | Action::DropEqual => Decider::Values,
            Action::LabelMap | Action::LabelDrop | Action::LabelKeep => Decider::Names,
            Action::HashMod | Action::Lowercase | Action::Uppercase => Decider::Values,
        }
    }

    fn run<'t>(&'t self, labels: &mut LabelSet<'t>, made: &'t Bump) -> bool {
        match self.action {
            Action::Keep => return self.matcher.is_match(self.input(labels, made)),
            Action::Drop => return !self.matcher.is_match(self.input(labels, made)),
            Action::KeepEqual => return self.input(labels, made) == labels.get(&self.target_label),
            Action::DropEqual => return self.input(labels, made) != labels.get(&self.target_label),
            Action::Replace => self.replace(labels, made),
            Action::HashMod => {
                let shard = digest::md5_mod(self.input(labels, made).as_bytes(), self.modulus);
                labels.set(&self.target_label, made.alloc_str(&shard.to_string()), Origin::Made);
            }
            Action::LabelMap => self.label_map(labels, made),
            Action::LabelDrop => labels.retain(|name| !self.matcher.is_match(name)),
            Action::LabelKeep => labels.retain(|name| self.matcher.is_match(name)),
            Action::Lowercase => {
                let value: String = self.input(labels, made).chars().map(lower).collect();
                labels.set(&self.target_label, made.alloc_str(&value), Origin::Made);
            }
            Action::Uppercase => {
                let value: String = self.input(labels, made).chars().map(upper).collect();
                labels.set(&self.target_label, made.alloc_str(&value), Origin::Made);
            }
        }
        true
    }

    /// The values of the source labels, joined.
    fn input<'t>(&self, labels: &LabelSet<'t>, made: &'t Bump) -> &'t str {
        match &self.source_labels[..] {
            [] => "",
            [name] => labels.get(name),
            [first, rest @ ..] => {
                let mut joined = labels.get(first).to_owned();
                for name in rest {
                    joined.push_str(&self.separator);
                    joined.push_str(labels.get(name));
                }
                made.alloc_str(&joined)
            }
        }
    }

    fn replace<'t>(&'t self, labels: &mut LabelSet<'t>, made: &'t Bump) {
        let input = self.input(labels, made);
        let Some([target, value]) = self.matcher.expand(input, [&self.target, &self.replacement]) else {
            return;
        };
        if !self.names.is_label_name(&target) {
            return;
        }
        let of = match &self.source_labels[..] {
            _ if self.replacement.literal().is_some() => Origin::Rule,
            [] => Origin::Rule,
            // What matches although there is no label is the empty text.
            [name] if self.matcher.gives_whole(&self.replacement) => {
                labels.origin(name).unwrap_or(Origin::Rule)
            }
            _ => Origin::Made,
        };
        labels.set(lasting(target, made), lasting(value, made), of);
    }

    fn label_map<'t>(&'t self, labels: &mut LabelSet<'t>, made: &'t Bump) {
        let mut wanted: Vec<(&'t str, &'t str, Origin)> = Vec::new();
        for entry in labels.entries() {
            if let Some([target]) = self.matcher.expand(entry.name, [&self.replacement]) {
                wanted.push((lasting(target, made), entry.value, entry.of));
            }
        }
        for (name, value, of) in wanted {
            labels.set(name, value, of);
        }
    }
}

fn lasting<'t>(text: Cow<'t, str>, made: &'t Bump) -> &'t str {
    match text {
        Cow::Borrowed(text) => text,
        Cow::Owned(text) => made.alloc_str(&text),
    }
}

/// The simple lower case mapping of Unicode, which is what Go maps by.
fn lower(char: char) -> char {
    match char {
        // Its full mapping is two characters.
        '\u{130}' => 'i',
        _ => single(char, char.to_lowercase()),
    }
}

/// The simple upper case mapping.
fn upper(char: char) -> char {
    match char {
        // Greek letters with a iota below: upper case for one letter is the title case form.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => shifted(char, 8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => shifted(char, 9),
        _ => single(char, char.to_uppercase()),
    }
}

fn shifted(char: char, by: u32) -> char {
    char::from_u32(char as u32 + by).unwrap_or(char)
}

/// The mapped character if it is one; letters whose mapping is longer stay.
fn single(char: char, mapped: impl ExactSizeIterator<Item = char>) -> char {
    let mut mapped = mapped;
    if mapped.len() == 1 { mapped.next().unwrap_or(char) } else { char }
}

//! Rules against a naive model: 10,000 random cases for each action.
//!
//! The model knows nothing of the code beside it. It matches patterns by trying every way in order of
//! preference, keeps labels in a list, and spells each action out as Prometheus' documentation does.

use bumpalo::Bump;

use super::*;
use crate::model::NameRules;
use crate::plugin::digest;
use crate::plugin::value::Value;

const CASES: usize = 10_000;

/// xorshift64*: the same cases at each run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    pub fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.roll(from.len())]
    }
}

/// A pattern of the forms that people write.
enum Pattern {
    Text(&'static str),
    Any,
    Class(&'static str),
    Group(Vec<Pattern>),
    Either(Vec<Vec<Pattern>>),
    Star(Box<Pattern>),
    Plus(Box<Pattern>),
    Maybe(Box<Pattern>),
}

fn sequence(dice: &mut Dice, depth: usize) -> Vec<Pattern> {
    (0..1 + dice.roll(3)).map(|_| pattern(dice, depth)).collect()
}

fn pattern(dice: &mut Dice, depth: usize) -> Pattern {
    let simple = |dice: &mut Dice| match dice.roll(4) {
        0 => Pattern::Any,
        1 => Pattern::Class(dice.pick(&["ab", "12", "_x"])),
        _ => Pattern::Text(dice.pick(&["a", "b", "foo", "x1", "_"])),
    };
    match dice.roll(if depth == 0 { 6 } else { 9 }) {
        0..=2 => simple(dice),
        3 => Pattern::Star(Box::new(simple(dice))),
        4 => Pattern::Plus(Box::new(simple(dice))),
        5 => Pattern::Maybe(Box::new(simple(dice))),
        6 | 7 => Pattern::Group(sequence(dice, depth - 1)),
        _ => Pattern::Either((0..2 + dice.roll(2)).map(|_| sequence(dice, depth - 1)).collect()),
    }
}

fn text_of(sequence: &[Pattern]) -> String {
    let one = |pattern: &Pattern| match pattern {
        Pattern::Text(text) => (*text).to_owned(),
        Pattern::Any => ".".to_owned(),
        Pattern::Class(chars) => format!("[{chars}]"),
        Pattern::Group(inner) => format!("({})", text_of(inner)),
        Pattern::Either(ways) => {
            format!("(?:{})", ways.iter().map(|way| text_of(way)).collect::<Vec<_>>().join("|"))
        }
        Pattern::Star(inner) => format!("(?:{})*", text_of(std::slice::from_ref(inner))),
        Pattern::Plus(inner) => format!("(?:{})+", text_of(std::slice::from_ref(inner))),
        Pattern::Maybe(inner) => format!("(?:{})?", text_of(std::slice::from_ref(inner))),
    };
    sequence.iter().map(one).collect()
}

fn groups_of(sequence: &[Pattern]) -> usize {
    sequence
        .iter()
        .map(|pattern| match pattern {
            Pattern::Group(inner) => 1 + groups_of(inner),
            Pattern::Either(ways) => ways.iter().map(|way| groups_of(way)).sum(),
            Pattern::Star(inner) | Pattern::Plus(inner) | Pattern::Maybe(inner) => {
                groups_of(std::slice::from_ref(inner))
            }
            _ => 0,
        })
        .sum()
}

/// What is left to match: patterns, and the ends of groups that were entered.
#[derive(Clone)]
enum Step<'p> {
    Match(&'p Pattern, usize),
    End(usize, usize),
}

type Groups = Vec<Option<(usize, usize)>>;

/// Tries every way to match `steps` from `at`, the preferred ones first.
fn try_steps(text: &[char], at: usize, steps: &[Step<'_>], groups: &Groups) -> Option<Groups> {
    let Some((step, rest)) = steps.split_first() else {
        return (at == text.len()).then(|| groups.clone());
    };
    let ahead = |more: Vec<Step<'_>>, at: usize, groups: &Groups| {
        let steps: Vec<Step<'_>> = more.into_iter().chain(rest.iter().cloned()).collect();
        try_steps(text, at, &steps, groups)
    };
    match step {
        Step::End(group, start) => {
            let mut groups = groups.clone();
            groups[*group] = Some((*start, at));
            try_steps(text, at, rest, &groups)
        }
        Step::Match(pattern, first) => match pattern {
            Pattern::Text(wanted) => {
                let wanted: Vec<char> = wanted.chars().collect();
                text[at..].starts_with(&wanted).then(|| try_steps(text, at + wanted.len(), rest, groups))?
            }
            Pattern::Any => (at < text.len()).then(|| try_steps(text, at + 1, rest, groups))?,
            Pattern::Class(chars) => {
                let fits = text.get(at).is_some_and(|char| chars.contains(*char));
                fits.then(|| try_steps(text, at + 1, rest, groups))?
            }
            Pattern::Group(inner) => {
                let mut steps = steps_of(inner, first + 1);
                steps.push(Step::End(*first, at));
                ahead(steps, at, groups)
            }
            Pattern::Either(ways) => {
                let mut first = *first;
                ways.iter().find_map(|way| {
                    let steps = steps_of(way, first);
                    first += groups_of(way);
                    ahead(steps, at, groups)
                })
            }
            // What is repeated here is one character or word, so each turn moves on.
            Pattern::Star(inner) => {
                let again = vec![Step::Match(inner, *first), step.clone()];
                ahead(again, at, groups).or_else(|| try_steps(text, at, rest, groups))
            }
            Pattern::Plus(inner) => ahead(vec![Step::Match(inner, *first), step.clone()], at, groups)
                .or_else(|| ahead(vec![Step::Match(inner, *first)], at, groups)),
            Pattern::Maybe(inner) => ahead(vec![Step::Match(inner, *first)], at, groups)
                .or_else(|| try_steps(text, at, rest, groups)),
        },
    }
}

fn steps_of(sequence: &[Pattern], mut first: usize) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for pattern in sequence {
        steps.push(Step::Match(pattern, first));
        first += groups_of(std::slice::from_ref(pattern));
    }
    steps
}

/// Texts of the whole match and of the groups; `None` if the text does not match whole.
fn matched(sequence: &[Pattern], text: &str) -> Option<Vec<String>> {
    let chars: Vec<char> = text.chars().collect();
    let groups = try_steps(&chars, 0, &steps_of(sequence, 0), &vec![None; groups_of(sequence)])?;
    let piece = |group: &Option<(usize, usize)>| {
        group.map(|(start, end)| chars[start..end].iter().collect()).unwrap_or_default()
    };
    Some(std::iter::once(text.to_owned()).chain(groups.iter().map(piece)).collect())
}

/// `$N`, `${N}` and `$$`; what else follows a dollar does not occur here.
fn expanded(template: &str, groups: &[String]) -> String {
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '$' {
            out.push(char);
            continue;
        }
        if chars.next_if_eq(&'$').is_some() {
            out.push('$');
            continue;
        }
        let braced = chars.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(char) = chars.next_if(|char| char.is_alphanumeric() || *char == '_') {
            name.push(char);
        }
        if braced {
            chars.next();
        }
        // A name that is no number is a group that does not exist.
        let group = name.parse::<usize>().ok().filter(|_| name == "0" || !name.starts_with('0'));
        out += group.and_then(|group| groups.get(group)).map_or("", String::as_str);
    }
    out
}

/// Labels in the order in which `labelmap` sees them.
type Labels = Vec<(String, String)>;

fn get<'l>(labels: &'l Labels, name: &str) -> &'l str {
    labels.iter().find(|label| label.0 == name).map_or("", |label| label.1.as_str())
}

/// `added` are the names of labels that rules set: those stay where they are.
fn set(labels: &mut Labels, added: &mut Vec<String>, name: &str, value: &str) {
    let at = labels.iter().position(|label| label.0 == name);
    if let Some(at) = at {
        if added.iter().any(|added| added == name) && !value.is_empty() {
            labels[at].1 = value.to_owned();
            return;
        }
        labels.remove(at);
        added.retain(|added| added != name);
    }
    if !value.is_empty() {
        labels.push((name.to_owned(), value.to_owned()));
        added.push(name.to_owned());
    }
}

fn is_name(text: &str) -> bool {
    let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    !text.is_empty() && text.chars().all(word) && !text.starts_with(|char: char| char.is_ascii_digit())
}

struct ModelRule {
    action: &'static str,
    source: Vec<&'static str>,
    separator: &'static str,
    pattern: Vec<Pattern>,
    modulus: u64,
    target: &'static str,
    replacement: &'static str,
}

impl ModelRule {
    fn random(action: &'static str, dice: &mut Dice) -> ModelRule {
        const NAMES: [&str; 7] = ["a", "b", "foo", "x1", "_", "__name__", "none"];
        let by_name = ["labelmap", "labeldrop", "labelkeep"].contains(&action);
        let source = if by_name { 0 } else { dice.roll(3) };
        ModelRule {
            action,
            source: (0..source).map(|_| dice.pick(&NAMES)).collect(),
            separator: if action.ends_with("equal") || by_name {
                ";"
            } else {
                dice.pick(&[";", "", "_", "ab"])
            },
            pattern: sequence(dice, 2),
            modulus: 1 + dice.roll(1000) as u64,
            target: match action {
                "replace" => dice.pick(&["a", "b", "new", "$1", "a_${1}", "__name__"]),
                _ => dice.pick(&["a", "b", "new", "foo"]),
            },
            replacement: match action {
                "labelmap" => dice.pick(&["$1", "m_$1", "${1}_", "a", "${2}x"]),
                _ => dice.pick(&["$1", "x$0y", "${2}-${1}", "plain", "$$1", "$1x", "${1}x"]),
            },
        }
    }

    /// As it stands in a configuration: only the fields that the action takes.
    fn written(&self) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut fields = vec![("action".to_owned(), text(self.action))];
        let mut add = |name: &str, value: Value| fields.push((name.to_owned(), value));
        let by_name = ["labelmap", "labeldrop", "labelkeep"].contains(&self.action);
        if !by_name {
            add("source_labels", Value::List(self.source.iter().map(|name| text(name)).collect()));
        }
        if !self.action.ends_with("equal") {
            add("regex", text(&text_of(&self.pattern)));
            if !by_name {
                add("separator", text(self.separator));
            }
        }
        match self.action {
            "replace" => {
                add("target_label", text(self.target));
                add("replacement", text(self.replacement));
            }
            "labelmap" => add("replacement", text(self.replacement)),
            "hashmod" => {
                add("target_label", text(self.target));
                add("modulus", Value::Int(self.modulus as i64));
            }
            "keepequal" | "dropequal" | "lowercase" | "uppercase" => add("target_label", text(self.target)),
            _ => {}
        }
        Value::Map(fields)
    }

    /// The labels afterwards; `None` if the series is dropped.
    fn run(&self, labels: &Labels, added: &mut Vec<String>) -> Option<Labels> {
        let mut out = labels.clone();
        let values: Vec<&str> = self.source.iter().map(|name| get(labels, name)).collect();
        let input = values.join(self.separator);
        let is_match = || matched(&self.pattern, &input);
        let named = |label: &(String, String)| matched(&self.pattern, &label.0).is_some();
        match self.action {
            "keep" => return is_match().map(|_| out),
            "drop" => return if is_match().is_some() { None } else { Some(out) },
            "keepequal" => return (get(labels, self.target) == input).then_some(out),
            "dropequal" => return (get(labels, self.target) != input).then_some(out),
            "replace" => {
                if let Some(groups) = is_match() {
                    let target = expanded(self.target, &groups);
                    if is_name(&target) {
                        set(&mut out, added, &target, &expanded(self.replacement, &groups));
                    }
                }
            }
            "hashmod" => {
                let shard = digest::md5_mod(input.as_bytes(), self.modulus);
                set(&mut out, added, self.target, &shard.to_string());
            }
            "labelmap" => {
                for (name, value) in labels {
                    if let Some(groups) = matched(&self.pattern, name) {
                        set(&mut out, added, &expanded(self.replacement, &groups), value);
                    }
                }
            }
            "labeldrop" | "labelkeep" => {
                out.retain(|label| named(label) == (self.action == "labelkeep"));
                added.retain(|name| out.iter().any(|label| label.0 == *name));
            }
            "lowercase" => set(&mut out, added, self.target, &input.to_lowercase()),
            _ => set(&mut out, added, self.target, &input.to_uppercase()),
        }
        Some(out)
    }
}

fn sorted(mut labels: Labels) -> Labels {
    labels.sort();
    labels
}

const ACTIONS: [&str; 11] = [
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
];

/// Sorted, as they are seen.
fn random_labels(dice: &mut Dice) -> Labels {
    let mut labels: Labels = Vec::new();
    for name in ["_", "__name__", "a", "b", "foo", "x1"] {
        if dice.roll(3) > 0 {
            let value = (0..1 + dice.roll(3))
                .map(|_| dice.pick(&["a", "b", "foo", "x1", "_", "1", "2", ";", "\u{e9}", "B", "\n"]))
                .collect::<String>();
            labels.push((name.to_owned(), value));
        }
    }
    labels
}

/// Runs rules both ways; whether they changed anything.
fn hold_to_model(labels: &Labels, list: &[ModelRule]) -> bool {
    let written = || Value::List(list.iter().map(ModelRule::written).collect());
    let ruleset = Ruleset::new(&written(), NameRules::Legacy)
        .unwrap_or_else(|error| panic!("{:?}: {error}", written()));
    let made = Bump::new();
    let mut set = LabelSet::default();
    labels.iter().for_each(|(name, value)| set.push(0, name, value));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let kept = ruleset.run(&mut set, &made);
    let got = kept.then(|| sorted(set.iter().map(owned).collect()));
    let mut added = Vec::new();
    let mut expected = Some(labels.clone());
    for rule in list {
        expected = expected.and_then(|labels| rule.run(&labels, &mut added));
    }
    let expected = expected.map(sorted);
    assert_eq!(got, expected, "{labels:?} through {:?}", written());
    let changed = expected.as_ref() != Some(labels);
    // What one rule changed another may have changed back.
    assert!(!kept || set.is_changed() || !changed, "{labels:?} through {:?}", written());
    changed
}

#[test]
fn random_rules_do_what_the_model_does() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for action in ACTIONS {
        let mut changed = 0;
        for _ in 0..CASES {
            let labels = random_labels(&mut dice);
            changed += usize::from(hold_to_model(&labels, &[ModelRule::random(action, &mut dice)]));
        }
        // A model that never does anything proves nothing.
        assert!(
            changed > CASES / 100 && changed < CASES * 99 / 100 || action == "hashmod",
            "{action}: {changed}"
        );
    }
}

fn random_rules(dice: &mut Dice) -> Vec<ModelRule> {
    (0..2 + dice.roll(4))
        .map(|_| {
            // Those that drop all end most lists.
            let action = if dice.roll(2) == 0 { "replace" } else { dice.pick(&ACTIONS) };
            ModelRule::random(action, dice)
        })
        .collect()
}

/// A list of rules as it is written.
pub fn random_list(dice: &mut Dice) -> Value {
    Value::List(random_rules(dice).iter().map(ModelRule::written).collect())
}

/// What one rule made, the next one reads.
#[test]
fn random_lists_of_rules_do_what_the_model_does() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut changed = 0;
    for _ in 0..CASES {
        let labels = random_labels(&mut dice);
        let list = random_rules(&mut dice);
        changed += usize::from(hold_to_model(&labels, &list));
    }
    assert!(changed > CASES / 4 && changed < CASES, "{changed}");
}

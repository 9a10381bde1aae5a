//! Who decides how a pushed family is merged with the stored one: the push itself, or else the first rule
//! that matches; the push replaces where nobody says anything.

pub mod file;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use crate::matching::selector::Labels;
use crate::model::{GroupingKey, MergeRule, MetricType};
use crate::reloading::{Asked, Kind, Reloading};
use file::Rule;

/// The rules of `--merge.config`.
#[derive(Debug)]
pub struct Merging(Reloading<Rule>);

thread_local! {
    static ASKED: Asked<Rule> = RefCell::new((0, Arc::new([])));
}

/// A family of a group, as selectors see it.
struct Named<'n> {
    key: &'n GroupingKey,
    family: &'n str,
}

impl Labels for Named<'_> {
    fn get(&self, name: &str) -> &str {
        if name == "__name__" { self.family } else { self.key.get(name).unwrap_or_default() }
    }
}

impl Merging {
    /// Reads the rules of the file `path`, if there is one.
    ///
    /// # Errors
    ///
    /// It cannot be read, or it is no such file.
    pub fn load(path: Option<&Path>) -> Result<Merging, String> {
        let kind = Kind { what: "merge rules", parse: file::parse, asked: &ASKED };
        Reloading::load(kind, path).map(Merging)
    }

    /// Reads the rules again. What is wrong is logged.
    ///
    /// # Errors
    ///
    /// As [`load`](Merging::load); the old rules stay in force.
    pub fn reload(&self) -> Result<(), String> {
        self.0.reload()
    }

    /// Reads the rules again if their file has changed.
    pub fn refresh(&self) {
        self.0.refresh();
    }

    /// What the rules say of a family of the group `key`; `None` if none is for it.
    pub fn rule(&self, key: &GroupingKey, family: &str, kind: MetricType) -> Option<MergeRule> {
        let named = Named { key, family };
        let matches = |rule: &&Rule| rule.has_type(kind) && rule.selector.matches(&named);
        self.0.with(|rules| rules.iter().find(matches).map(|rule| rule.rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_holds() {
        let merging = Merging::load(None).unwrap();
        let rule = |family, kind| merging.rule(&GroupingKey::new("a", [("env", "x")]), family, kind);
        assert_eq!(rule("m", MetricType::Counter), None);
        let rules = "rules:\n\
            - match: '{job=\"b\"}'\n  rule: first\n\
            - match: 'last_run'\n  rule: last\n\
            - match: '{env=\"x\",__name__=~\"max_.*\"}'\n  types: [gauge, untyped]\n  rule: max\n\
            - match: '{job=\"a\"}'\n  types: [counter, histogram]\n  rule: sum\n";
        merging.0.put_in_force(file::parse(rules).unwrap());
        assert_eq!(rule("m", MetricType::Counter), Some(MergeRule::Sum));
        assert_eq!(rule("m", MetricType::GaugeHistogram), Some(MergeRule::Sum));
        assert_eq!(rule("m", MetricType::Gauge), None);
        assert_eq!(rule("last_run", MetricType::Counter), Some(MergeRule::Last));
        assert_eq!(rule("max_size", MetricType::Gauge), Some(MergeRule::Max));
        assert_eq!(rule("max_size", MetricType::Counter), Some(MergeRule::Sum));
        assert_eq!(merging.rule(&GroupingKey::new("b", []), "x", MetricType::Gauge), Some(MergeRule::First));
    }
}

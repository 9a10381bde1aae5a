//! Who decides how long a group lives: the most specific of plugin, push, rule and default.

pub mod file;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use crate::model::{GroupingKey, Lifetime, Term};
use crate::reloading::{Asked, Kind, Reloading};
use file::Rule;

/// See the module.
#[derive(Debug)]
pub struct Lifetimes {
    /// Where nothing else is said.
    default: Lifetime,
    rules: Reloading<Rule>,
}

thread_local! {
    static ASKED: Asked<Rule> = RefCell::new((0, Arc::new([])));
}

impl Lifetimes {
    /// Reads the rules of the file `path`, if there is one.
    ///
    /// # Errors
    ///
    /// It cannot be read, or it is no such file.
    pub fn load(default: Lifetime, path: Option<&Path>) -> Result<Lifetimes, String> {
        let kind = Kind { what: "lifetimes", parse: file::parse, asked: &ASKED };
        Ok(Lifetimes { default, rules: Reloading::load(kind, path)? })
    }

    /// Reads the rules again. What is wrong is logged.
    ///
    /// # Errors
    ///
    /// As [`load`](Lifetimes::load); the old rules stay in force.
    pub fn reload(&self) -> Result<(), String> {
        self.rules.reload()
    }

    /// Reads the rules again if their file has changed.
    pub fn refresh(&self) {
        self.rules.refresh();
    }

    /// What holds for the group `key` from a push on, for which the push itself and plugins may have
    /// asked for a lifetime; `None` if nobody says anything.
    pub fn term(
        &self,
        key: &GroupingKey,
        by_push: Option<Lifetime>,
        by_plugin: Option<Lifetime>,
    ) -> Option<Term> {
        let asked = by_plugin.or(by_push);
        let default = Some(self.default).filter(|default| !default.is_for_ever());
        self.rules.with(|rules| {
            let rule = rules.iter().find(|rule| rule.selector.matches(key));
            let Some(rule) = rule else {
                return asked.or(default).map(|lifetime| Term { lifetime, ..Term::default() });
            };
            let lifetime = match asked {
                Some(asked) => Some(asked.at_most(rule.max)),
                None => rule.lifetime.or(default),
            };
            lifetime.map(|lifetime| Term { lifetime, action: rule.action })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::AtEnd;

    fn lifetimes(default: &str, rules: &str) -> Lifetimes {
        let lifetimes = Lifetimes::load(Lifetime::parse(default).unwrap(), None).unwrap();
        lifetimes.rules.put_in_force(file::parse(rules).unwrap());
        lifetimes
    }

    fn check(lifetimes: &Lifetimes, job: &str, push: Option<&str>, plugin: Option<&str>, expect: &str) {
        let parse = |text: Option<&str>| text.map(|text| Lifetime::parse(text).unwrap());
        let term = lifetimes.term(&GroupingKey::new(job, []), parse(push), parse(plugin));
        let told = term.map_or("-".to_owned(), |term| format!("{} {:?}", term.lifetime, term.action));
        assert_eq!(told, expect, "{job} {push:?} {plugin:?}");
    }

    #[test]
    fn the_most_specific_wins_and_max_caps_what_is_asked_for() {
        let all = lifetimes(
            "1h",
            "rules:\n- match: '{job=\"a\"}'\n  lifetime: 2h\n  action: flag\n  max: 3h\n\
             - match: '{job=~\"a|b\"}'\n  max: 90m\n- match: '{job=\"c\"}'\n  lifetime: 0\n",
        );
        check(&all, "x", None, None, "1h0m0s Remove");
        check(&all, "x", Some("5m"), None, "5m0s Remove");
        check(&all, "x", Some("5m"), Some("7m"), "7m0s Remove");
        check(&all, "x", Some("0"), None, "0s Remove");
        check(&all, "a", None, None, "2h0m0s Flag");
        check(&all, "a", Some("4h"), None, "3h0m0s Flag");
        check(&all, "a", Some("0"), None, "3h0m0s Flag");
        check(&all, "a", None, Some("0"), "3h0m0s Flag");
        check(&all, "a", Some("4h"), Some("1m"), "1m0s Flag");
        check(&all, "b", None, None, "1h0m0s Remove");
        check(&all, "b", Some("2h"), None, "1h30m0s Remove");
        check(&all, "c", None, None, "0s Remove");
        let nothing = lifetimes("0", "");
        check(&nothing, "x", None, None, "-");
        check(&nothing, "x", Some("0"), None, "0s Remove");
    }

    #[test]
    fn a_missing_label_is_an_empty_one() {
        let rules = lifetimes("0", "rules:\n- match: '{env=\"\"}'\n  lifetime: 1m\n  action: flag\n");
        let term = rules.term(&GroupingKey::new("j", [("env", "x")]), None, None);
        assert_eq!(term, None);
        let term = rules.term(&GroupingKey::new("j", []), None, None).unwrap();
        assert_eq!(term.action, AtEnd::Flag);
    }

    #[test]
    fn a_bad_file_leaves_the_old_rules() {
        let path = std::env::temp_dir().join(format!("floodway-lifetimes-{}.yml", std::process::id()));
        let write = |text: &str| fs::write(&path, text).unwrap();
        write("rules:\n- match: '{}'\n  lifetime: 1m\n");
        let all = Lifetimes::load(Lifetime::FOR_EVER, Some(&path)).unwrap();
        check(&all, "x", None, None, "1m0s Remove");
        write("rules:\n- match: '{}'\n  lifetime: 1 minute\n");
        assert!(all.reload().unwrap_err().contains("rule 1: lifetime"));
        check(&all, "x", None, None, "1m0s Remove");
        write("rules:\n- match: '{}'\n  lifetime: 22m\n");
        all.refresh();
        check(&all, "x", None, None, "22m0s Remove");
        fs::remove_file(&path).unwrap();
        assert!(all.reload().unwrap_err().contains("cannot read"));
        check(&all, "x", None, None, "22m0s Remove");
        assert!(Lifetimes::load(Lifetime::FOR_EVER, Some(&path)).is_err());
    }
}

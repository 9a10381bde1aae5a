//! The file of `--lifetime.config`: which groups live for how long, by selectors on their grouping labels.
//!
//! Reading is pure: text in, checked rules out. What is not known is a fault, and so is a rule that could
//! never mean anything.

use serde::Deserialize;

use crate::matching::selector::Selector;
use crate::model::{AtEnd, Lifetime};
use crate::reloading;

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// On grouping labels.
    pub selector: Selector,
    /// Of groups for which nothing more specific is said; `None` leaves that to the default.
    pub lifetime: Option<Lifetime>,
    pub action: AtEnd,
    /// Most that pushes and plugins may ask for.
    pub max: Lifetime,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "match")]
    selector: String,
    lifetime: Option<String>,
    action: Option<String>,
    max: Option<String>,
}

/// Reads the text of a file.
///
/// # Errors
///
/// The first fault found.
pub fn parse(text: &str) -> Result<Vec<Rule>, String> {
    reloading::parse(text, rule)
}

fn rule(entry: Entry) -> Result<Rule, String> {
    let selector = Selector::new(&entry.selector)?;
    if selector.label_names().any(|name| name == "__name__") {
        return Err(format!("`{}` names a metric, and groups have only grouping labels", entry.selector));
    }
    let span = |text: Option<String>| text.map(|text| Lifetime::parse(&text)).transpose();
    let lifetime = span(entry.lifetime).map_err(|fault| format!("lifetime: {fault}"))?;
    let max = span(entry.max).map_err(|fault| format!("max: {fault}"))?.unwrap_or_default();
    let action = match entry.action.as_deref() {
        None | Some("remove") => AtEnd::Remove,
        Some("flag") => AtEnd::Flag,
        Some(other) => return Err(format!("action must be remove or flag, not {other:?}")),
    };
    if let Some(lifetime) = lifetime
        && lifetime.at_most(max) != lifetime
    {
        return Err(format!("its lifetime of {lifetime} is above its max of {max}"));
    }
    Ok(Rule { selector, lifetime, action, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let text = "rules:\n- match: '{job=~\"ci-.*\"}'\n  lifetime: 2h\n- match: '{env=\"prod\"}'\n  \
            lifetime: 1d\n  action: flag\n  max: 7d\n- match: '{}'\n  max: 30d\n";
        let rules = parse(text).unwrap();
        let told: Vec<String> =
            rules.iter().map(|rule| format!("{:?} {:?} {}", rule.lifetime, rule.action, rule.max)).collect();
        assert_eq!(
            told,
            [
                "Some(Lifetime(7200000)) Remove 0s",
                "Some(Lifetime(86400000)) Flag 168h0m0s",
                "None Remove 720h0m0s"
            ]
        );
        assert!(parse("").unwrap().is_empty() && parse("# none\n").unwrap().is_empty());
        assert!(parse("rules: []\n").unwrap().is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (bad, says) in [
            ("rule: []", "rule"),
            ("rules:\n- lifetime: 1h\n", "match"),
            ("rules:\n- match: '{job=\"a\"}'\n  lifetme: 1h\n", "lifetme"),
            ("rules:\n- match: 'up'\n  lifetime: 1h\n", "names a metric"),
            ("rules:\n- match: '{job=~\"(\"}'\n  lifetime: 1h\n", "rule 1"),
            (
                "rules:\n- match: '{}'\n  lifetime: 1h\n- match: '{}'\n  lifetime: 1 hour\n",
                "rule 2: lifetime",
            ),
            ("rules:\n- match: '{}'\n  lifetime: -1h\n", "less than nothing"),
            ("rules:\n- match: '{}'\n  action: delete\n", "remove or flag"),
            ("rules:\n- match: '{}'\n  lifetime: 2h\n  max: 1h\n", "above its max"),
            ("rules:\n- match: '{}'\n  lifetime: 0\n  max: 1h\n", "above its max"),
        ] {
            let fault = parse(bad).unwrap_err();
            assert!(fault.contains(says), "{bad}: {fault}");
        }
    }
}

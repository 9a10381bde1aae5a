//! The file of `--merge.config`: which families are merged how, by selectors on grouping labels and the
//! family's name, and by type.
//!
//! Reading is pure: text in, checked rules out. What is not known is a fault, and so is a rule that could
//! never mean anything.

use serde::Deserialize;

use crate::matching::selector::Selector;
use crate::model::{MergeRule, MetricType};
use crate::reloading;

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// On grouping labels, and on the family's name as `__name__`.
    pub selector: Selector,
    /// Bits of the types it is for, by their numbers.
    types: u8,
    pub rule: MergeRule,
}

impl Rule {
    /// Whether it is for families of this type.
    pub fn has_type(&self, kind: MetricType) -> bool {
        self.types & bit(kind) != 0
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "match")]
    selector: String,
    types: Option<Vec<String>>,
    rule: String,
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
    let rule = MergeRule::parse(&entry.rule).map_err(|fault| format!("rule {fault}"))?;
    let Some(names) = entry.types else {
        return Ok(Rule { selector, types: u8::MAX, rule });
    };
    let mut types = 0;
    for name in &names {
        for kind in kinds(name)? {
            if !rule.fits(*kind) {
                return Err(format!("{rule} is for gauges and untyped families, not for a {name}"));
            }
            types |= bit(*kind);
        }
    }
    if types == 0 {
        return Err("types has none".to_owned());
    }
    Ok(Rule { selector, types, rule })
}

fn bit(kind: MetricType) -> u8 {
    1 << kind as u8
}

/// The types that lines `# TYPE` call `name`.
fn kinds(name: &str) -> Result<&'static [MetricType], String> {
    Ok(match name {
        "counter" => &[MetricType::Counter],
        "gauge" => &[MetricType::Gauge],
        "summary" => &[MetricType::Summary],
        "untyped" => &[MetricType::Untyped],
        "histogram" => &[MetricType::Histogram, MetricType::GaugeHistogram],
        other => {
            return Err(format!(
                "types must be counter, gauge, untyped, summary or histogram, not {other:?}"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(parse("").unwrap().is_empty());
        assert_eq!(parse("rules:\n- match: '{}'\n  rule: min\n").unwrap()[0].rule, MergeRule::Min);
        for (bad, says) in [
            ("rules:\n- rule: sum\n", "match"),
            ("rules:\n- match: '{}'\n", "rule"),
            ("rules:\n- match: '{}'\n  rule: add\n", "rule 1: rule must be replace, sum"),
            ("rules:\n- match: '{'\n  rule: sum\n", "rule 1: bad selector"),
            ("rules:\n- match: '{}'\n  rule: sum\n  type: counter\n", "type"),
            ("rules:\n- match: '{}'\n  rule: sum\n  types: []\n", "types has none"),
            ("rules:\n- match: '{}'\n  rule: sum\n  types: [gauges]\n", "not \"gauges\""),
            ("rules:\n- match: '{}'\n  rule: max\n  types: [gauge, counter]\n", "not for a counter"),
        ] {
            let fault = parse(bad).unwrap_err();
            assert!(fault.contains(says), "{bad}: {fault}");
        }
    }
}

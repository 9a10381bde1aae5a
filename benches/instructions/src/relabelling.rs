//! Relabel rules as plugins run them over a series.

use bumpalo::Bump;
use floodway::model::NameRules;
use floodway::plugin::relabel::{LabelSet, Ruleset};
use floodway::plugin::settings::File;

const RULES: &str = r"plugins:
- name: rules
  metric_relabel_configs:
  - { source_labels: [env], regex: dev, action: drop }
  - { source_labels: [host], target_label: node }
  - { source_labels: [path], regex: '/api/v1/items/([0-9]+)', target_label: item, replacement: n$1 }
";

const SERIES: [(&str, &str); 6] = [
    ("__name__", "requests_total"),
    ("env", "prod"),
    ("host", "node-7"),
    ("path", "/api/v1/items/7"),
    ("method", "GET"),
    ("code", "200"),
];

/// Three rules, one of which needs the regex engine, which has run them before.
pub fn rules() -> (Ruleset, Bump) {
    let file = File::read(RULES).unwrap_or_else(|fault| panic!("{fault}"));
    let list = file.plugins[0].metric_relabel_configs.as_ref().expect("they were just read");
    relabel((Ruleset::new(list, NameRules::Legacy).expect("the rules are good"), Bump::new()))
}

pub fn relabel((rules, mut made): (Ruleset, Bump)) -> (Ruleset, Bump) {
    made.reset();
    let mut labels = LabelSet::default();
    for (number, (name, value)) in (0..).zip(SERIES) {
        labels.push(number, name, value);
    }
    assert!(rules.run(&mut labels, &made));
    assert_eq!((labels.get("node"), labels.get("item")), ("node-7", "n7"));
    drop(labels);
    (rules, made)
}

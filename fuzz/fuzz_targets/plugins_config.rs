//! Any text as a plugins.yml: settings or a fault; the relabel rules in it compile or not, and run on any
//! series without a panic.

#![no_main]

use bumpalo::Bump;
use floodway::model::NameRules;
use floodway::plugin::relabel::{LabelSet, Ruleset};
use floodway::plugin::settings::File;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(file) = File::read(text) else { return };
    for entry in &file.plugins {
        let _ = entry.budget.budget();
        for rules in [&entry.metric_relabel_configs, &entry.group_relabel_configs].into_iter().flatten() {
            for names in [NameRules::Legacy, NameRules::Utf8] {
                let Ok(rules) = Ruleset::new(rules, names) else { continue };
                let made = Bump::new();
                let mut labels = LabelSet::default();
                let series = [("__name__", "m"), ("a", "x-1"), ("instance", ""), ("job", "é;1")];
                for (number, (name, value)) in (0..).zip(series) {
                    labels.push(number, name, value);
                }
                rules.run(&mut labels, &made);
                // What rules make of a series still has each label once.
                let mut found: Vec<&str> = labels.iter().map(|(name, _)| name).collect();
                let all = found.len();
                found.sort_unstable();
                found.dedup();
                assert_eq!(found.len(), all);
            }
        }
    }
});

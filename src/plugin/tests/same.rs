//! A chain that changes nothing is not there.

use proptest::prelude::*;

use super::{Rig, plain_gateway, stored};
use crate::clock::Now;
use crate::gateway::Mode;
use crate::model::GroupingKey;

/// Plugins that look at everything and change nothing.
const LOOKERS: &[(&str, &str)] = &[
    (
        "plugins.yml",
        "plugins:\n- name: rules\n  metric_relabel_configs:\n  - { source_labels: [le], regex: none, action: drop }\n\
         - name: looks\n- name: pass\n",
    ),
    (
        "looks.lua",
        "return { api = 1,
           on_request = function(req) return req.job == nil and gate.reject(400, 'x') or nil end,
           on_push = function(push) for s in push:samples() do local n = s.name end return gate.KEEP end,
           on_family = function(f) f.name = f.name return true end,
           on_series = function(s) local n = s.n_labels s:set('never_there', nil) end,
           on_sample = function(s) if s.value then s.value = s.value end end,
           on_commit = function(push) return nil end,
           on_result = function(res) local n = res.status end,
         }",
    ),
    (
        "pass.lua",
        "return { api = 1, on_error = 'pass', on_sample = function(s) s:set('x', 'y') error('no') end }",
    ),
];

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ("[abc]{1,2}", "(\\{[xyz]=\"[a-z]{0,2}\"\\})?", "(1|-2.5|NaN|\\+Inf|1e300|0.1)")
            .prop_map(|(name, labels, value)| format!("{name}{labels} {value}\n")),
        1 => "[abc]{1,2}".prop_map(|name| format!("# HELP {name} help of {name}\n")),
        1 => ("[de]", 1..5u32, "(\\{[xyz]=\"[a-z]{0,2}\"\\})?").prop_map(|(name, count, labels)| {
            let inner = labels.trim_matches(['{', '}']);
            let comma = if inner.is_empty() { "" } else { "," };
            format!(
                "# TYPE {name} histogram\n{name}_bucket{{{inner}{comma}le=\"0.5\"}} 1\n\
                 {name}_bucket{{{inner}{comma}le=\"+Inf\"}} {count}\n{name}_sum{labels} 3.25\n{name}_count{labels} {count}\n"
            )
        }),
        1 => ("[fg]", 1..5u32).prop_map(|(name, count)| {
            format!("# TYPE {name} summary\n{name}{{quantile=\"0.5\"}} 4\n{name}_sum 2\n{name}_count {count}\n")
        }),
        1 => Just("x{job=\"other\",instance=\"\"} 7\n".to_owned()),
        1 => Just("garbage{\n".to_owned()),
    ]
}

#[test]
fn what_is_stored_is_the_same_with_and_without_lookers() {
    let rig = Rig::new(LOOKERS);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let pushes = prop::collection::vec((prop::collection::vec(line(), 0..12), any::<bool>()), 1..4);
    runner
        .run(&pushes, |pushes| {
            let plain = plain_gateway();
            rig.gateway.wipe().unwrap();
            let key = GroupingKey::new("j", [("x", "k")]);
            for (lines, instance) in pushes {
                let body = lines.concat();
                let key = if instance { key.clone() } else { GroupingKey::new("j", []) };
                let without =
                    plain.push(Mode::ReplaceFamilies, &key, None, &body.clone().into(), Now::read());
                let with =
                    rig.gateway.push(Mode::ReplaceFamilies, &key, None, &body.clone().into(), Now::read());
                prop_assert_eq!(&without, &with, "{}", body);
                prop_assert_eq!(stored(&plain), stored(&rig.gateway), "{}", body);
            }
            Ok(())
        })
        .unwrap();
}

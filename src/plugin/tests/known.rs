//! Outcomes that are remembered with the shape of a body: the same as running every plugin each time.

use proptest::prelude::*;
use prost::Message as _;

use super::{Rig, plain_gateway, stored};
use crate::clock::Now;
use crate::gateway::{Gateway, Mode};
use crate::model::{GroupingKey, RequestFacts};
use crate::parse::protobuf::oracle;
use crate::telemetry::OwnValue;
use crate::wire::{push_varint, push_varint_field};

/// Tiers T0 and T1: drops, renames of labels and families, merges, a dropped bucket, `__tmp` labels.
const RULES: &str = "plugins:
- name: rules
  metric_relabel_configs:
  - { source_labels: [x], regex: gone, action: drop }
  - { source_labels: [__name__], regex: 'old', target_label: __name__, replacement: new }
  - { source_labels: [le], regex: '0.25', action: drop }
  - { source_labels: [x], target_label: __tmp_x }
- name: grouped
  match: '{zone!=\"\"}'
  group_relabel_configs:
  - { source_labels: [zone], regex: moved, target_label: zone, replacement: here }
- name: series
";

const SERIES: &str = "return { api = 1, on_series = function(s)
  if s:is('y', 'gone') then return gate.DROP end
  if s:is('y', 'fails') then error('no') end
  s:rename('__tmp_x', 'x2')
  s:set('seen', s.name)
  if s.name == 'aa' then s.name = 'bb' end
end }";

fn rig(extra: &str) -> Rig {
    Rig::new(&[("plugins.yml", &format!("{extra}{RULES}")), ("series.lua", SERIES)])
}

fn reuses(gateway: &Gateway) -> f64 {
    let families = gateway.telemetry().families();
    let family =
        families.iter().find(|family| family.name == "floodway_plugin_outcomes_reused_total").unwrap();
    match family.series[0].value {
        OwnValue::Plain(value) => value,
        _ => panic!("a counter"),
    }
}

#[test]
fn the_second_push_of_a_shape_runs_no_plugin() {
    let rig = rig("");
    let body = |n: u32| {
        format!(
            "a{{x=\"1\"}} {n}\na{{x=\"gone\"}} {n}\nold {n}.5\n# TYPE h histogram\nh_bucket{{le=\"1\"}} {n}\n\
             h_bucket{{le=\"+Inf\"}} {n}\nh_sum 0.{n}\nh_count {n}\nnew{{y=\"gone\"}} {n}\n"
        )
    };
    for n in 1..6 {
        rig.push(&body(n)).unwrap();
        let stored = rig.stored();
        assert_eq!(stored[0], format!(r#"a{{instance="",job="j",seen="a",x2="1",x="1"}} {n}"#));
        assert!(stored[1].starts_with("h{") && stored[1].contains(&format!("sum: 0.{n}")), "{}", stored[1]);
        assert_eq!(stored[2], format!(r#"new{{instance="",job="j",seen="new"}} {n}.5"#));
        assert_eq!(stored.len(), 3);
    }
    assert_eq!(reuses(&rig.gateway), 4.0);
    // What the parser would refuse is not stored either.
    assert!(rig.push(&body(6).replace("old 6.5", "old x")).is_err());
    assert!(rig.push(&body(6).replace("\"+Inf\"} 6", "\"+Inf\"} -6")).is_err());
    assert_eq!(reuses(&rig.gateway), 4.0);
}

#[test]
fn a_new_generation_forgets() {
    let marks =
        |with: &str| format!("return {{ api = 1, on_series = function(s) s:set('m', '{with}') end }}");
    let rig = Rig::new(&[("p.lua", &marks("one"))]);
    for n in 1..4 {
        rig.push(&format!("a {n}\n")).unwrap();
    }
    assert_eq!(reuses(&rig.gateway), 2.0);
    rig.folder.write("p.lua", &marks("two"));
    rig.gateway.reload_plugins().unwrap();
    for n in 4..7 {
        rig.push(&format!("a {n}\n")).unwrap();
        assert_eq!(rig.stored(), [format!(r#"a{{instance="",job="j",m="two"}} {n}"#)]);
    }
    assert_eq!(reuses(&rig.gateway), 4.0);
}

#[test]
fn a_hook_that_sees_more_than_the_shape_runs_each_time() {
    let hooks = [
        "on_request = function(req) end",
        "on_push = function(push) end",
        "on_family = function(f) end",
        "on_sample = function(s) end",
        "on_commit = function(push) end",
        "on_result = function(res) end",
    ];
    for hook in hooks {
        let rig = Rig::of(hook);
        (0..3).for_each(|n| drop(rig.push(&format!("a {n}\n")).unwrap()));
        assert_eq!(reuses(&rig.gateway), 0.0, "{hook}");
        let sits_out = Rig::of(&format!("match = '{{job=\"other\"}}', {hook}"));
        (0..3).for_each(|n| drop(sits_out.push(&format!("a {n}\n")).unwrap()));
        assert_eq!(reuses(&sits_out.gateway), 2.0, "{hook}");
    }
    // Failures are not remembered, be they fatal or not.
    let fails = Rig::of("on_error = 'pass', on_series = function(s) error('no') end");
    (0..3).for_each(|n| assert_eq!(fails.push(&format!("a {n}\n")).unwrap().skipped, ["p"]));
    assert_eq!(reuses(&fails.gateway), 0.0);
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ("(aa|ab|old|new|b)", "(\\{x=\"(1|gone)\"\\}|\\{y=\"(1|gone|fails)\"\\}|\\{x=\"1\",y=\"2\"\\})?").prop_map(|(n, l)| format!("{n}{l} VALUE\n")),
        1 => "(aa|old|new)".prop_map(|name| format!("# TYPE {name} gauge\n")),
        1 => ("[de]", "(0.25|0.5)", "(\\{x=\"(1|gone)\"\\})?").prop_map(|(name, bound, labels)| {
            let inner = labels.trim_matches(['{', '}']);
            let comma = if inner.is_empty() { "" } else { "," };
            format!(
                "# TYPE {name} histogram\n{name}_bucket{{{inner}{comma}le=\"{bound}\"}} COUNT\n\
                 {name}_bucket{{{inner}{comma}le=\"+Inf\"}} COUNT\n{name}_sum{labels} VALUE\n{name}_count{labels} COUNT\n"
            )
        }),
        1 => Just("# TYPE f summary\nf{quantile=\"0.5\"} VALUE\nf_sum VALUE\nf_count COUNT\n".to_owned()),
        1 => Just("push_time_seconds VALUE\n".to_owned()),
    ]
}

/// A body with the values of a turn in the places of VALUE and COUNT.
fn filled(lines: &[String], values: &[(&str, &str)], turn: usize) -> String {
    let (value, count) = values[turn % values.len()];
    lines.concat().replace("VALUE", value).replace("COUNT", count)
}

/// A plugin that sees values and lets them decide, at times.
const SAMPLES: &str = "return { api = 1, on_error = 'pass', on_sample = function(s, push)
  s.value = s.value and s.value + 1
  if s.value == 9 then s:set('nine', 'yes') end
  if s.count == 3 then s:scale(2) end
  if s:is('x', '1') and s.value == 0.5 then s.name = 'half' end
  if s.value ~= s.value then return gate.DROP end
  s:set('kind', s.type)
end }";

/// What a chain without memory makes of the same pushes.
#[test]
fn remembering_changes_nothing() {
    let (remembers, forgets) = (rig(""), rig("series_cache: 0\n"));
    compare(&remembers, &forgets);
    assert!(reuses(&remembers.gateway) > 0.0);
    assert_eq!(reuses(&forgets.gateway), 0.0);
}

/// The same where a plugin sees values, so that all run each time.
#[test]
fn a_body_that_is_known_and_not_read_again_comes_out_alike() {
    let sees = || {
        let config = format!(
            "{RULES}- name: samples\n- name: more\n  use: bundled:tenant\n  config: {{ fallback: t }}\n"
        );
        Rig::new(&[("plugins.yml", &config), ("series.lua", SERIES), ("samples.lua", SAMPLES)])
    };
    let (remembers, forgets) = (sees(), sees());
    compare(&remembers, &forgets);
    assert_eq!(reuses(&remembers.gateway), 0.0);
}

/// Pushes the same bodies to both, to one of them with a comment that makes each push of it new.
fn compare(remembers: &Rig, forgets: &Rig) {
    let values = [
        ("1", "2"),
        ("-0.5", "3"),
        ("NaN", "18446744073709551615"),
        ("1e3", "2.0"),
        ("0x1p3", "2.5"),
        ("x", "1"),
    ];
    let count = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    let turns = prop::collection::vec((any::<bool>(), 0..2usize, 0..3usize, 0..6usize), 2..8);
    let strategy = (prop::collection::vec(prop::collection::vec(line(), 0..8), 2), turns);
    runner
        .run(&strategy, |(bodies, turns)| {
            remembers.gateway.wipe().unwrap();
            forgets.gateway.wipe().unwrap();
            let keys = [
                GroupingKey::new("j", []),
                GroupingKey::new("j", [("zone", "moved")]),
                GroupingKey::new("j", [("zone", "here")]),
            ];
            for (put, body, key, turn) in turns {
                let body = filled(&bodies[body], &values, turn);
                count.set(count.get() + 1);
                let with_comment = format!("# {}\n{body}", count.get());
                let (mode, method) =
                    if put { (Mode::ReplaceGroup, "PUT") } else { (Mode::ReplaceFamilies, "POST") };
                let push = |rig: &Rig, body: &str| {
                    let facts = RequestFacts { method, ..RequestFacts::default() };
                    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
                    let pushed = rig.gateway.push_with(mode, &keys[key], facts, &body, Now::read());
                    pushed.map_err(|refusal| refusal.reason)
                };
                prop_assert_eq!(push(remembers, &body), push(forgets, &with_comment), "{}", body);
                prop_assert_eq!(stored(&remembers.gateway), stored(&forgets.gateway), "{}", body);
            }
            Ok(())
        })
        .unwrap();
}

/// Pushes random messages to both, to one of them with a field nobody knows that makes each push new.
fn compare_messages(remembers: &Rig, forgets: &Rig) {
    let content_type =
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(100));
    runner
        .run(&(oracle::families(), prop::collection::vec(any::<u64>(), 2..6)), |(families, seeds)| {
            remembers.gateway.wipe().unwrap();
            forgets.gateway.wipe().unwrap();
            for (turn, seed) in seeds.into_iter().enumerate() {
                let families = oracle::revalued(&families, seed);
                let (mut body, mut with_field) = (Vec::new(), Vec::new());
                for family in &families {
                    let mut family = family.encode_to_vec();
                    push_bytes(&mut body, &family);
                    push_varint_field(&mut family, 99, turn as u64);
                    push_bytes(&mut with_field, &family);
                }
                let push = |rig: &Rig, body: Vec<u8>| {
                    let content_type = Some(content_type.to_owned());
                    let facts = RequestFacts { method: "PUT", content_type, ..RequestFacts::default() };
                    let key = GroupingKey::new("j", []);
                    let pushed =
                        rig.gateway.push_with(Mode::ReplaceGroup, &key, facts, &body.into(), Now::read());
                    pushed.map_err(|refusal| refusal.reason)
                };
                prop_assert_eq!(push(remembers, body), push(forgets, with_field), "{:?}", families);
                prop_assert_eq!(stored(&remembers.gateway), stored(&forgets.gateway), "{:?}", families);
            }
            Ok(())
        })
        .unwrap();
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[test]
fn remembering_messages_changes_nothing() {
    let outcomes = (rig(""), rig("series_cache: 0\n"));
    compare_messages(&outcomes.0, &outcomes.1);
    assert!(reuses(&outcomes.0.gateway) > 0.0);
    let sees = || Rig::new(&[("samples.lua", SAMPLES)]);
    compare_messages(&sees(), &sees());
}

/// Every seed of the text parser, twice, with the cache of `on_series` on and off, and remembered.
#[test]
fn seeds_come_out_alike_with_the_cache_on_and_off() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/parse_text");
    let (on, off) = (rig(""), rig("series_cache: 0\n"));
    let mut seeds = 0;
    for seed in std::fs::read_dir(folder).unwrap() {
        let body = bytes::Bytes::from(std::fs::read(seed.unwrap().path()).unwrap());
        for _ in 0..2 {
            let push = |rig: &Rig| {
                let facts = RequestFacts { method: "PUT", ..RequestFacts::default() };
                let key = GroupingKey::new("j", []);
                let pushed = rig.gateway.push_with(Mode::ReplaceGroup, &key, facts, &body, Now::read());
                (pushed.map_err(|refusal| refusal.reason), stored(&rig.gateway))
            };
            assert_eq!(push(&on), push(&off), "{body:?}");
        }
        seeds += 1;
    }
    assert!(seeds > 0);
}

/// A gateway without plugins remembers as before, and its templates are not those of plugins.
#[test]
fn templates_of_plain_pushes_are_not_taken() {
    let plain = plain_gateway();
    let key = GroupingKey::new("j", []);
    plain.push(Mode::ReplaceGroup, &key, None, &"a 1\n".into(), Now::read()).unwrap();
    let rig = Rig::of("on_series = function(s) s:set('m', 'x') end");
    let gateway = plain.with_plugins(rig.plugins.clone());
    gateway.push(Mode::ReplaceGroup, &key, None, &"a 2\n".into(), Now::read()).unwrap();
    assert_eq!(stored(&gateway), [r#"a{instance="",job="j",m="x"} 2"#]);
}

//! Generations: replaced whole, or not at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Rig, options};
use crate::plugin::Plugins;
use crate::plugin::fault::Code;

fn marks(with: &str) -> String {
    format!("return {{ api = 1, on_push = function(p) p:set_label('mark', '{with}') end }}")
}

#[test]
fn a_reload_takes_effect_and_a_broken_one_does_not() {
    let rig = Rig::new(&[("p.lua", &marks("one"))]);
    rig.push("a 1\n").unwrap();
    assert_eq!(rig.stored(), [r#"a{instance="",job="j",mark="one"} 1"#]);
    rig.folder.write("p.lua", &marks("two"));
    rig.push("a 1\n").unwrap();
    assert_eq!(rig.stored(), [r#"a{instance="",job="j",mark="one"} 1"#]);
    assert_eq!(rig.gateway.reload_plugins(), Ok(2));
    rig.push("a 1\n").unwrap();
    assert_eq!(rig.stored(), [r#"a{instance="",job="j",mark="two"} 1"#]);
    rig.folder.write("p.lua", "return {");
    rig.folder.write("q.lua", "return { api = 7 }");
    let problems = rig.gateway.reload_plugins().unwrap_err();
    let codes: Vec<_> = problems.iter().map(|problem| problem.fault.code).collect();
    assert_eq!(codes, [Code::Load, Code::Api]);
    assert!(!rig.plugins.last_reload().0);
    rig.push("a 3\n").unwrap();
    assert_eq!(rig.stored(), [r#"a{instance="",job="j",mark="two"} 3"#]);
}

#[test]
fn unchanged_plugins_keep_their_machines() {
    let counts = "local n = 0
        return { api = 1, on_push = function(p) n = n + 1 p:set_label('n', n) end }";
    let rig = Rig::new(&[("keep.lua", counts), ("other.lua", &marks("one"))]);
    rig.push("a 1\n").unwrap();
    rig.folder.write("other.lua", &marks("two"));
    rig.gateway.reload_plugins().unwrap();
    rig.push("a 1\n").unwrap();
    assert_eq!(rig.stored(), [r#"a{instance="",job="j",mark="two",n="2"} 1"#]);
    rig.folder.write("keep.lua", &format!("{counts} -- changed"));
    rig.gateway.reload_plugins().unwrap();
    rig.push("a 1\n").unwrap();
    assert_eq!(rig.stored(), [r#"a{instance="",job="j",mark="two",n="1"} 1"#]);
}

#[test]
fn broken_plugins_are_left_out_where_that_is_allowed() {
    let folder = super::Folder::new(&[("bad.lua", "return {"), ("good.lua", &marks("x"))]);
    assert!(Plugins::start(options(&folder)).is_err());
    let allowed = super::Options { allow_broken: true, ..options(&folder) };
    let plugins = Plugins::start(allowed).unwrap();
    let generation = plugins.generation();
    assert_eq!((generation.plugins.len(), generation.broken.len()), (1, 1));
}

#[test]
fn pushes_never_see_half_a_reload() {
    // Two plugins that must always agree.
    let both = |rig: &Rig, with: &str| {
        rig.folder.write("a.lua", &marks(with));
        let check = format!(
            "return {{ api = 1, on_commit = function(p)
               if p:count('{{mark=\"{with}\"}}') ~= p.n_samples then return gate.reject(409, 'mixed') end
             end }}"
        );
        rig.folder.write("b.lua", &check);
    };
    let rig = Rig::new(&[("a.lua", &marks("0")), ("b.lua", "return { api = 1 }")]);
    both(&rig, "0");
    rig.gateway.reload_plugins().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for job in ["one", "two"] {
            let (rig, over) = (&rig, &over);
            scope.spawn(move || {
                let key = crate::model::GroupingKey::new(job, []);
                let mut pushes = 0;
                while !over.load(Ordering::Relaxed) || pushes == 0 {
                    rig.push_to(&key, "a 1\nb 2\n").unwrap();
                    pushes += 1;
                }
            });
        }
        for round in 0..100 {
            both(&rig, if round % 2 == 0 { "1" } else { "0" });
            rig.gateway.reload_plugins().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(rig.stored().len(), 4);
}

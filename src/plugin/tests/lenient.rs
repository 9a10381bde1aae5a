//! Bodies that the parser refuses, and plugins that put them right.

use super::Rig;
use crate::model::{GroupingKey, Reason};

fn lenient(hooks: &str) -> Rig {
    Rig::of(&format!("lenient_names = true, {hooks}"))
}

const SANITIZER: &str = "on_family = function(f) f.name = gate.sanitize(f.name) end,
    on_sample = function(s)
      if s.null then return gate.DROP end
      for name in s:each() do
        if not gate.valid_label(name) then s:rename(name, gate.sanitize(name, 'label')) end
      end
    end";

#[test]
fn a_sanitizer_puts_names_right_and_drops_what_is_null() {
    let rig = lenient(SANITIZER);
    rig.push(
        "# TYPE my-count counter\nmy-count 1\nfree memory (kB) 5\ntemp{sensor id=\"3\",job=\"x\"} 20.5\nidle null\nfine 2\n",
    )
    .unwrap();
    assert_eq!(
        rig.stored(),
        [
            r#"fine{instance="",job="j"} 2"#,
            r#"free_memory__kB_{instance="",job="j"} 5"#,
            r#"my_count{instance="",job="j"} 1"#,
            r#"temp{instance="",job="j",sensor_id="3"} 20.5"#,
        ]
    );
}

#[test]
fn what_is_still_wrong_fails_in_the_words_of_the_parser() {
    let strict = Rig::of("on_push = function() end");
    let rig = lenient("on_family = function(f) if f.name == 'my count' then f.name = 'my_count' end end");
    for (body, line, single) in [
        ("ok 1\nmy count 2\na-b 3\n", 3, "a-b 3"),
        ("ok 1\n\nidle null\n", 3, "idle null"),
        ("my count 1\nx{a b=\"c\"} 1\n", 2, "x{a b=\"c\"} 1"),
        ("9lives{a=\"b\"} 1\n", 1, "9lives{a=\"b\"} 1"),
    ] {
        let refusal = rig.push(body).unwrap_err();
        let words = strict.push(&format!("{single}\n")).unwrap_err().text;
        assert_eq!(refusal.text, words.replace("in line 1:", &format!("in line {line}:")), "{body}");
        assert_eq!(refusal.reason, Reason::Malformed);
    }
    assert!(rig.stored().is_empty());
    rig.push("my count 2\n").unwrap();
    // What no plugin can put right fails as ever.
    for body in ["a{ 1\n", "a one\n", "a{x=\"y} 1\n", "# TYPE a b\n"] {
        assert_eq!(rig.push(body), strict.push(body), "{body}");
    }
}

#[test]
fn repeated_lines_are_kept_for_plugins() {
    let rig = lenient(
        "on_push = function(p) p:drop('{__name__=\"a\",x=\"1\"}') p:add { name = 'n', value = 1 } end",
    );
    assert_eq!(rig.push("a b 1\na b 1\n").unwrap_err().reason, Reason::Malformed);
    assert_eq!(rig.push("a 1\na 2\n").unwrap_err().reason, Reason::Inconsistent);
    rig.push("a{x=\"1\"} 1\na{x=\"1\"} 2\n").unwrap();
    assert_eq!(rig.stored(), [r#"n{instance="",job="j"} 1"#]);
}

#[test]
fn a_value_set_is_null_no_more_and_only_matching_plugins_are_lenient() {
    let rig = lenient("match = '{job=\"j\"}', on_sample = function(s) if s.null then s.value = -1 end end");
    rig.push("a null\n").unwrap();
    assert_eq!(rig.stored(), [r#"a{instance="",job="j"} -1"#]);
    assert!(rig.push_to(&GroupingKey::new("other", []), "a null\n").is_err());
}

//! What each action does and what validation refuses, as Prometheus 3 behaves.

use bumpalo::Bump;

use super::*;
use crate::model::NameRules;
use crate::plugin::value::Value;

/// A list of rules from `key=value` words; rules apart by `|`, lists by `+`.
fn rules(text: &str, names: NameRules) -> Result<Ruleset, String> {
    let field = |field: &str| {
        let (key, value) = field.split_once('=').unwrap();
        let value = match key {
            "source_labels" => {
                let names = value.split('+').filter(|name| !name.is_empty());
                Value::List(names.map(|name| Value::Text(name.into())).collect())
            }
            "modulus" => value.parse().map(Value::Int).unwrap_or(Value::Text(value.into())),
            _ => Value::Text(value.into()),
        };
        (key.to_owned(), value)
    };
    let rule = |rule: &str| Value::Map(rule.split_whitespace().map(field).collect());
    Ruleset::new(&Value::List(text.split(" | ").map(rule).collect()), names)
}

fn run(labels: &str, list: &str) -> String {
    let ruleset = rules(list, NameRules::Legacy).unwrap();
    let made = Bump::new();
    let mut set = LabelSet::default();
    for pair in labels.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        set.push(0, name, value);
    }
    if !ruleset.run(&mut set, &made) {
        return "dropped".into();
    }
    let mut out: Vec<_> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    out.sort();
    out.join(" ")
}

#[test]
fn actions() {
    let cases = [
        // replace
        (
            "a=foo",
            "source_labels=a regex=f(.*) target_label=d replacement=ch${1}-ch${1}",
            "a=foo d=choo-choo",
        ),
        (
            "a=foo b=bar",
            "source_labels=a+b regex=f(.*);(.*)r target_label=a replacement=b${1}${2}m",
            "a=boobam b=bar",
        ),
        ("a=foo", "source_labels=a target_label=b", "a=foo b=foo"),
        ("a=foo", "source_labels=a+c separator=- target_label=b", "a=foo b=foo-"),
        ("a=foo", "source_labels=a regex=x target_label=b replacement=y", "a=foo"),
        ("a=foo b=1", "source_labels=a regex=foo target_label=b replacement=", "a=foo"),
        ("a=foo b=1", "source_labels=none target_label=b", "a=foo"),
        ("a=foo", "target_label=b replacement=static", "a=foo b=static"),
        ("a=foo", "regex= target_label=b replacement=static", "a=foo b=static"),
        ("a=foo", "source_labels=a regex= target_label=b replacement=static", "a=foo"),
        ("a=n-v", "source_labels=a regex=([^-]+)-(.+) target_label=${1} replacement=${2}", "a=n-v n=v"),
        ("a=n-0", "source_labels=a regex=([^-]+)-(.+) target_label=${2} replacement=x", "a=n-0"),
        ("a=n-0", "source_labels=a regex=([^-]+)-(.+) target_label=${3} replacement=x", "a=n-0"),
        ("a=xfoo", "source_labels=a regex=foo target_label=b replacement=y", "a=xfoo"),
        ("a=p1", "source_labels=a regex=p(\\d) target_label=b replacement=$1x", "a=p1"),
        ("a=p1", "source_labels=a regex=p(?P<n>\\d) target_label=b replacement=${n}x$$", "a=p1 b=1x$"),
        ("a=foo", "source_labels=a target_label=b action=REPLACE", "a=foo b=foo"),
        (
            "__name__=m a=1",
            "source_labels=__name__ regex=m target_label=__name__ replacement=n",
            "__name__=n a=1",
        ),
        // keep, drop
        ("a=foo", "source_labels=a regex=.*o.* action=drop", "dropped"),
        ("a=foo", "source_labels=a regex=f|o action=drop", "a=foo"),
        ("a=foo", "source_labels=a regex=f action=keep", "dropped"),
        ("a=foo", "source_labels=a regex=f.* action=keep", "a=foo"),
        ("a=foo", "action=drop", "dropped"),
        ("a=foo", "source_labels=b regex= action=keep", "a=foo"),
        ("a=foo", "source_labels=a regex=foo action=drop | target_label=b replacement=x", "dropped"),
        // keepequal, dropequal
        ("a=1 b=1 c=2", "source_labels=a target_label=b action=keepequal", "a=1 b=1 c=2"),
        ("a=1 b=1 c=2", "source_labels=a target_label=c action=keepequal", "dropped"),
        ("a=1 b=1 c=2", "source_labels=a target_label=b action=dropequal", "dropped"),
        ("a=1 b=1 c=2", "source_labels=a target_label=c action=DropEqual", "a=1 b=1 c=2"),
        ("a=1", "source_labels=x target_label=y action=dropequal", "dropped"),
        // hashmod
        ("c=baz", "source_labels=c target_label=d modulus=1000 action=hashmod", "c=baz d=976"),
        ("c=baz", "source_labels=c target_label=d modulus=1 action=hashmod", "c=baz d=0"),
        // labelmap
        (
            "b1=bar b2=baz",
            "regex=(b.*) replacement=bar_${1} action=labelmap",
            "b1=bar b2=baz bar_b1=bar bar_b2=baz",
        ),
        ("a=1 b=2", "regex=a|b replacement=x action=labelmap", "a=1 b=2 x=2"),
        ("b=2 a=1", "regex=a|b replacement=x action=labelmap", "a=1 b=2 x=2"),
        // A label set by an earlier rule comes after those that were there.
        ("a=1 b=2", "target_label=a replacement=3 | regex=a|b replacement=x action=labelmap", "a=3 b=2 x=3"),
        ("a=1", "regex=(.*) replacement=c_$1 action=labelmap", "a=1 c_a=1"),
        ("__name__=m", "regex=__(.*)__ replacement=$1 action=labelmap", "__name__=m name=m"),
        // labeldrop, labelkeep
        ("a=1 b1=2 b2=3", "regex=b.* action=labeldrop", "a=1"),
        ("a=1 b1=2 b2=3", "regex=b.* action=labelkeep", "b1=2 b2=3"),
        ("__name__=m a=1", "regex=a action=labelkeep", "a=1"),
        (
            "a=1",
            "regex=^a$ action=labeldrop | source_labels=a regex= target_label=b replacement=gone",
            "b=gone",
        ),
        // lowercase, uppercase
        ("a=bAr12", "source_labels=a target_label=u action=uppercase", "a=bAr12 u=BAR12"),
        ("a=bAr12", "source_labels=a target_label=a action=lowercase", "a=bar12"),
        ("a=ßŉΣÀ", "source_labels=a target_label=b action=uppercase", "a=ßŉΣÀ b=ßŉΣÀ"),
        ("a=\u{130}ΣÀǅ", "source_labels=a target_label=b action=lowercase", "a=\u{130}ΣÀǅ b=iσàǆ"),
        (
            "a=\u{1f80}\u{1fb3}",
            "source_labels=a target_label=b action=uppercase",
            "a=\u{1f80}\u{1fb3} b=\u{1f88}\u{1fbc}",
        ),
        ("a=1 b=2", "source_labels=none target_label=b action=lowercase", "a=1"),
    ];
    for (labels, list, expected) in cases {
        assert_eq!(run(labels, list), expected, "{labels} through {list}");
    }
}

#[test]
fn rules_that_prometheus_refuses_are_refused() {
    let cases = [
        ("action=nope", "unknown relabel action"),
        ("target_label=a action=hashmod", "non-zero modulus"),
        ("modulus=-1 target_label=a action=hashmod", "modulus must be"),
        ("source_labels=a", "requires 'target_label' value"),
        ("modulus=2 action=hashmod", "requires 'target_label' value"),
        ("action=lowercase", "requires 'target_label' value"),
        ("action=uppercase", "requires 'target_label' value"),
        ("action=keepequal", "requires 'target_label' value"),
        ("action=dropequal", "requires 'target_label' value"),
        ("target_label=a-b", "invalid 'target_label' for replace"),
        ("target_label=0${3}", "invalid 'target_label' for replace"),
        ("target_label=-${3}", "invalid 'target_label' for replace"),
        ("target_label=${", "invalid 'target_label' for replace"),
        ("target_label=$", "invalid 'target_label' for replace"),
        ("target_label=${}", "invalid 'target_label' for replace"),
        ("target_label=foo${", "invalid 'target_label' for replace"),
        ("target_label=${3} action=lowercase", "invalid 'target_label' for lowercase"),
        ("target_label=$1 modulus=2 action=hashmod", "invalid 'target_label' for hashmod"),
        ("target_label=a:b action=keepequal", "invalid 'target_label' for keepequal"),
        ("target_label=a replacement=x action=lowercase", "'replacement' can not be set for lowercase"),
        ("target_label=a replacement=x action=keepequal", "'replacement' can not be set for keepequal"),
        ("target_label=a regex=(.*) action=keepequal", "requires only 'source_labels' and 'target_label'"),
        ("target_label=a separator=- action=dropequal", "requires only 'source_labels' and 'target_label'"),
        ("target_label=a modulus=1 action=dropequal", "requires only 'source_labels' and 'target_label'"),
        ("regex=a replacement=a-b action=labelmap", "invalid 'replacement' for labelmap"),
        ("regex=a replacement= action=labelmap", "invalid 'replacement' for labelmap"),
        ("regex=a source_labels= action=labeldrop", "requires only 'regex'"),
        ("regex=a target_label=b action=labelkeep", "requires only 'regex'"),
        ("regex=a separator=, action=labelkeep", "requires only 'regex'"),
        ("regex=a replacement=b action=labeldrop", "requires only 'regex'"),
        ("regex=a modulus=3 action=labeldrop", "requires only 'regex'"),
        ("regex=( target_label=a", "missing closing )"),
        ("source_labels=a-b target_label=a", "not a valid label name"),
        ("target=a", "unknown field"),
    ];
    for (list, expected) in cases {
        let error = rules(list, NameRules::Legacy).expect_err(list);
        assert!(error.contains(expected), "{list}: {error}");
        assert!(error.starts_with("rule 1: "), "{error}");
    }
    let error = rules("target_label=a | action=nope", NameRules::Legacy).unwrap_err();
    assert!(error.starts_with("rule 2: "), "{error}");
}

#[test]
fn targets_that_prometheus_takes_are_taken() {
    for target in
        ["label", "label${1}", "${1}label", "${1}", "$1", "asd$2asd", "_${1}_", "foo${bar}foo", "$1$2"]
    {
        assert!(rules(&format!("target_label={target}"), NameRules::Legacy).is_ok(), "{target}");
    }
    assert!(rules("target_label=a-b source_labels=é", NameRules::Utf8).is_ok());
    assert!(rules("target_label=-${1}", NameRules::Utf8).is_ok());
}

#[test]
fn lists_have_a_limit() {
    let list =
        |count| Value::List(vec![Value::Map(vec![("target_label".into(), Value::Text("a".into()))]); count]);
    assert!(Ruleset::new(&list(500), NameRules::Legacy).is_ok());
    assert!(Ruleset::new(&list(501), NameRules::Legacy).is_err());
    assert!(Ruleset::new(&Value::Text("x".into()), NameRules::Legacy).is_err());
    assert!(Ruleset::new(&Value::List(vec![Value::Null]), NameRules::Legacy).is_err());
}

//! Series that follow plans beside series that go through the rules.

use super::*;
use crate::model::{Families, GroupingKey, NameRules};
use crate::parse::text;
use crate::plugin::draft::Received;
use crate::plugin::relabel::model::{Dice, random_list};
use crate::plugin::value::Value as Written;

/// What became of the series of a body, sorted: name, labels, value; with how many were dropped and how
/// many grouping labels reset. `None` if the rules fail.
fn relabelled(
    draft: &mut Draft,
    body: &str,
    key: &GroupingKey,
    lists: &[Ruleset],
) -> Option<(Vec<String>, RelabelCounts)> {
    draft.clear(NameRules::Legacy, key);
    let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
    draft.load(&Received { families: &families, body: body.as_bytes(), loose: &[] });
    let mut counts = RelabelCounts::default();
    for rules in lists {
        let more = draft.relabel(rules, None).ok()?;
        (counts.dropped, counts.resets) = (counts.dropped + more.dropped, counts.resets + more.resets);
    }
    let left = (0..draft.samples().len() as u32).filter(|sample| !draft.sample(*sample).dropped);
    let said = |sample: u32| {
        let data = draft.sample(sample);
        let mut labels: Vec<_> = draft.own_labels(sample).collect();
        labels.sort_unstable();
        format!("{}{labels:?} {}", draft.family_name(data.family), data.value)
    };
    let mut out: Vec<String> = left.map(said).collect();
    out.sort_unstable();
    Some((out, counts))
}

/// One of the series.
fn series(dice: &mut Dice, at: usize) -> String {
    let names = dice.pick(&["a b foo", "foo b a", "a x1", "_ a b foo x1", "", "new"]);
    let label = |name: &str, dice: &mut Dice| {
        let value = dice.pick(&["a", "b", "foo", "x1", "_", "1", "12", "", "ab", "B"]);
        format!("{name}=\"{value}\"")
    };
    let labels: Vec<String> = names.split_whitespace().map(|name| label(name, dice)).collect();
    format!("{}{{{}}} {at}\n", dice.pick(&["m", "m", "n"]), labels.join(","))
}

#[test]
fn series_fare_in_company_as_they_do_alone() {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let (mut changed, mut failed) = (0, 0);
    // What is kept from push to push is kept here.
    let mut draft = Draft::new(NameRules::Legacy);
    for _ in 0..3000 {
        // What the first has copied lies in one place for the second.
        let rules = [0, 1].map(|_| Ruleset::new(&random_list(&mut dice), NameRules::Legacy).unwrap());
        for _ in 0..4 {
            let grouping = dice.pick(&["", "foo", "foo", "new", "a"]);
            let labels = [(grouping, dice.pick(&["", "x1", "foo"]))];
            let labels = labels.into_iter().filter(|label| !label.0.is_empty());
            let key = GroupingKey::new(dice.pick(&["j", "b"]), labels);
            let mut bodies: Vec<String> = (0..8).map(|at| series(&mut dice, at)).collect();
            bodies.sort_by_key(|body| body.as_bytes()[0]);
            let together = relabelled(&mut draft, &bodies.concat(), &key, &rules);
            let alone = |body: &String| relabelled(&mut Draft::new(NameRules::Legacy), body, &key, &rules);
            let alone: Option<Vec<_>> = bodies.iter().map(alone).collect();
            let alone = alone.map(|all| {
                let mut sum = (Vec::new(), RelabelCounts::default());
                for (series, counts) in all {
                    sum.0.extend(series);
                    sum.1.dropped += counts.dropped;
                    sum.1.resets += counts.resets;
                }
                sum.0.sort_unstable();
                sum
            });
            failed += usize::from(alone.is_none());
            changed += usize::from(alone.as_ref().is_some_and(|alone| alone.0.len() > 3));
            assert_eq!(together, alone, "{bodies:?} through {rules:?} in {key}");
        }
    }
    // Rules that drop all, or fail, prove nothing.
    assert!(changed > 1500 && failed < 5000, "{changed} changed, {failed} failed");
}

fn rule(fields: &[(&str, &str)]) -> Written {
    let field = |(key, value): &(&str, &str)| {
        let text = Written::Text((*value).into());
        let value = if *key == "source_labels" { Written::List(vec![text]) } else { text };
        ((*key).to_owned(), value)
    };
    Written::Map(fields.iter().map(field).collect())
}

fn compiled(list: &[Written]) -> Ruleset {
    Ruleset::new(&Written::List(list.into()), NameRules::Legacy).unwrap()
}

#[test]
fn what_was_copied_once_is_not_taken_for_one_label() {
    let copy = |regex| {
        let from = ("source_labels", "host");
        rule(&[from, ("regex", regex), ("target_label", "node"), ("replacement", "$0")])
    };
    let constant = rule(&[("target_label", "cluster"), ("replacement", "c1")]);
    let lists = [compiled(&[copy("h1")]), compiled(&[copy(".*"), constant])];
    let body = "m{host=\"h1\",node=\"x\"} 1\nm{host=\"h2\",node=\"x\"} 2\n";
    let (series, _) =
        relabelled(&mut Draft::new(NameRules::Legacy), body, &GroupingKey::new("j", []), &lists).unwrap();
    let expected =
        |host: &str, value: u8| format!("m{:?} {value}", [("cluster", "c1"), ("host", host), ("node", host)]);
    assert_eq!(series, [expected("h1", 1), expected("h2", 2)]);
}

/// How many of the samples went through the rules.
fn through_rules(draft: &mut Draft, rules: &Ruleset) -> usize {
    let mut plans = draft.plans_of(rules);
    let (mut counts, mut fresh) = (RelabelCounts::default(), Fresh::default());
    let mut count = 0;
    for sample in 0..draft.samples().len() as u32 {
        match draft.plan_for(sample, rules, &mut plans) {
            Some(plan) => draft.follow(sample, plan, &mut counts).unwrap(),
            None => {
                draft.relabel_whole(sample, rules, &mut counts, &mut fresh, &mut plans).unwrap();
                count += 1;
            }
        }
    }
    draft.keep_plans(plans);
    count
}

#[test]
fn a_series_like_the_one_before_does_not_go_through_the_rules() {
    let list = [
        rule(&[("source_labels", "env"), ("regex", "dev"), ("action", "drop")]),
        rule(&[("source_labels", "host"), ("target_label", "node")]),
        rule(&[("target_label", "cluster"), ("replacement", "c1")]),
    ];
    let rules = compiled(&list);
    let body: String = (0..30)
        .map(|at| {
            let env = if at % 3 == 0 { "dev" } else { "prod" };
            format!("{}{{env=\"{env}\",host=\"h{at}\"}} {at}\n", if at < 20 { "a" } else { "b" })
        })
        .collect();
    let mut draft = Draft::new(NameRules::Legacy);
    let mut push = |job: &str, body: &str| {
        draft.clear(NameRules::Legacy, &GroupingKey::new(job, []));
        let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        draft.load(&Received { families: &families, body: body.as_bytes(), loose: &[] });
        let count = through_rules(&mut draft, &rules);
        let last = draft.samples().len() as u32 - 2;
        let labels = draft.own_labels(last).map(|(name, value)| format!("{name}={value}"));
        (count, labels.collect::<Vec<_>>().join(","))
    };
    let expected = "env=prod,host=h28,node=h28,cluster=c1".to_owned();
    // The first that is dropped, and the first that is not.
    assert_eq!(push("j", &body), (2, expected.clone()));
    // A push of another group with the same grouping labels, whose text lies elsewhere.
    assert_eq!(push("longer", &format!("# HELP a A.\n{body}")), (0, expected));
}

#[test]
fn what_a_plan_reads_of_the_group_is_looked_at_again() {
    let copy = rule(&[("source_labels", "zone"), ("target_label", "where"), ("replacement", "$1")]);
    let drop = rule(&[("source_labels", "zone"), ("regex", "north"), ("action", "drop")]);
    let mut draft = Draft::new(NameRules::Legacy);
    let lists = [compiled(&[copy]), compiled(&[drop])];
    for (zone, expected) in [("east", 1), ("west", 1), ("north", 0), ("east", 1), ("", 1)] {
        let key = GroupingKey::new("j", [("zone", zone)]);
        let (series, _) = relabelled(&mut draft, "m{host=\"h\"} 1\n", &key, &lists).unwrap();
        assert_eq!(series.len(), expected, "{zone}");
        let is_told = |series: &String| series.contains(&format!("(\"where\", \"{zone}\")"));
        assert!(zone.is_empty() || series.iter().all(is_told), "{series:?}");
    }
}

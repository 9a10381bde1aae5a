//! Edits, undo and rules over a small push.

use std::borrow::Cow;

use super::*;
use crate::model::{Families, Family, GroupingKey, Label as ModelLabel, Series};
use crate::parse::text;
use crate::plugin::fault::Code;
use crate::plugin::relabel::Ruleset;
use crate::plugin::value::Value;

const BODY: &str = "# HELP a_total all\n# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\",job=\"z\"} 2\n\
                    # TYPE h histogram\nh_bucket{p=\"q\",le=\"1\"} 2\nh_bucket{p=\"q\",le=\"+Inf\"} 3\n\
                    h_sum{p=\"q\"} 4.5\nh_count{p=\"q\"} 3\n# TYPE s summary\ns{quantile=\"0.5\"} 7\ns_count 2\nb 5\n";

fn draft_of(body: &str) -> Draft {
    let key = GroupingKey::new("j", [("instance", "i")]);
    let mut draft = Draft::new(NameRules::Legacy);
    draft.clear(NameRules::Legacy, &key);
    let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
    draft.load(&Received { families: &families, body: body.as_bytes(), loose: &[] });
    draft
}

/// One line per sample: family, type, labels, value, count, parts.
fn shown(draft: &Draft) -> Vec<String> {
    let families = draft.families_into(Families::default());
    let mut out = Vec::new();
    for family in &families.families {
        for series in families.series_of(family) {
            let labels: Vec<_> = families
                .labels_of(series)
                .iter()
                .map(|label| format!("{}={}", label.name, label.value))
                .collect();
            let parts: Vec<_> = families
                .parts_of(series)
                .iter()
                .map(|part| format!("{}:{}", part.bound, part.value.as_f64()))
                .collect();
            out.push(format!(
                "{} {} {{{}}} {} {} [{}]",
                family.name,
                family.kind.text(),
                labels.join(","),
                series.value,
                series.count.as_f64(),
                parts.join(",")
            ));
        }
    }
    out
}

fn rules(list: &[&[(&str, &str)]]) -> Ruleset {
    let rule = |fields: &&[(&str, &str)]| {
        let pair = |(key, value): &(&str, &str)| {
            let value = match *key {
                "source_labels" => {
                    Value::List(value.split(',').map(|name| Value::Text(name.into())).collect())
                }
                _ => Value::Text((*value).into()),
            };
            ((*key).to_owned(), value)
        };
        Value::Map(fields.iter().map(pair).collect())
    };
    Ruleset::new(&Value::List(list.iter().map(rule).collect()), NameRules::Legacy).unwrap()
}

#[test]
fn an_untouched_push_comes_back_as_it_was() {
    let draft = draft_of(BODY);
    let before = text::parse(BODY.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
    let after = draft.families_into(Families::default());
    assert_eq!(format!("{:?}", before.families), format!("{:?}", after.families));
    assert_eq!(before.labels, after.labels);
    assert_eq!(format!("{:?}", before.parts), format!("{:?}", after.parts));
    let bits = |families: &Families<'_>| {
        let series = |s: &Series| (s.labels, s.parts, s.value.to_bits(), s.count.to_bits());
        families.series.iter().map(series).collect::<Vec<_>>()
    };
    assert_eq!(bits(&before), bits(&after));
    assert_eq!(draft.grouping_key(), GroupingKey::new("j", [("instance", "i")]));
    assert_eq!((draft.n_families(), draft.n_samples(), draft.n_series()), (4, 5, 10));
}

#[test]
fn text_that_is_not_in_the_body_is_copied() {
    let owned = |text: &str| Cow::<'static, str>::Owned(text.to_owned());
    let families = Families {
        families: vec![Family {
            name: owned("m"),
            help: Some(owned("h")),
            unit: None,
            kind: MetricType::Gauge,
            series: Span { start: 0, end: 1 },
        }],
        series: vec![Series {
            labels: Span { start: 0, end: 1 },
            parts: Span::default(),
            value: 1.0,
            count: Number::Int(0),
        }],
        labels: vec![ModelLabel { name: owned("n"), value: owned("v") }],
        details: vec![crate::model::Detail { series: 0, message: Cow::Borrowed(b"msg") }],
        ..Families::default()
    };
    let mut draft = Draft::new(NameRules::Legacy);
    draft.clear(NameRules::Legacy, &GroupingKey::new("j", []));
    // A body that is not text.
    draft.load(&Received { families: &families, body: b"\xff\xfe", loose: &[] });
    assert_eq!(draft.label(0, "n"), Some("v"));
    assert_eq!(draft.label(0, "job"), Some("j"));
    let after = draft.families_into(Families::default());
    assert_eq!(after.details[0].message[..], b"msg"[..]);
    assert_eq!(after.families[0].help.as_deref(), Some("h"));
}

#[test]
fn edits_change_what_they_name() {
    let mut draft = draft_of(BODY);
    assert!(draft.set_label(0, "y", "new").unwrap());
    assert!(!draft.set_label(0, "y", "new").unwrap());
    assert!(draft.set_label(0, "x", "").unwrap());
    assert!(draft.rename_label(1, "x", "z").unwrap());
    assert!(!draft.rename_label(1, "x", "z").unwrap());
    draft.set_value(4, -1.0).unwrap();
    draft.scale(2, 10.0).unwrap();
    draft.move_sample(0, "moved_total").unwrap();
    assert_eq!(
        shown(&draft),
        [
            "a_total counter {z=2,job=z} 2 0 []",
            "h histogram {p=q} 45 3 [10:2,inf:3]",
            "s summary {} 0 2 [0.5:7]",
            "b untyped {} -1 0 []",
            "moved_total counter {y=new} 1 0 []",
        ]
    );
    // The grouping label hides the body's own label of that name.
    assert_eq!(draft.label(1, "job"), Some("j"));
    assert_eq!(draft.own_labels(1).collect::<Vec<_>>(), [("z", "2")]);
}

#[test]
fn what_is_not_allowed_changes_nothing() {
    let mut draft = draft_of(BODY);
    let before = shown(&draft);
    let code = |edit: Edit<bool>| edit.unwrap_err().code;
    assert_eq!(code(draft.set_label(0, "job", "x")), Code::Value);
    assert_eq!(code(draft.set_label(0, "9", "x")), Code::Name);
    assert_eq!(code(draft.set_label(0, "__name__", "x")), Code::Name);
    assert_eq!(code(draft.set_label(0, "big", &"x".repeat(65 * 1024))), Code::Limit);
    assert_eq!(code(draft.rename_label(0, "x", "job")), Code::Value);
    assert_eq!(draft.move_sample(0, "h").unwrap_err().code, Code::Type);
    assert_eq!(draft.move_sample(0, "a b").unwrap_err().code, Code::Name);
    assert_eq!(draft.set_value(2, 1.0).unwrap_err().code, Code::Type);
    assert_eq!(draft.scale(0, -1.0).unwrap_err().code, Code::Value);
    assert_eq!(draft.set_group_label("job", None).unwrap_err().code, Code::Value);
    assert_eq!(draft.set_group_label("__x", Some("a")).unwrap_err().code, Code::Name);
    assert_eq!(shown(&draft), before);
}

#[test]
fn a_plugin_writes_and_adds_within_bounds() {
    let mut draft = draft_of("a 1\n");
    let long = "x".repeat(60_000);
    let wrote = (0..100).take_while(|at| draft.set_label(0, "l", &format!("{at}{long}")).is_ok()).count();
    assert_eq!(wrote, 17);
    draft.begin_plugin();
    assert!(draft.set_label(0, "l", "short").unwrap());
    let new = NewSample { name: "n", kind: MetricType::Gauge, help: None, labels: &[], value: 1.0 };
    let added = (0..5000).take_while(|_| draft.add(&new).is_ok()).count();
    assert_eq!(added, 1000);
}

#[test]
fn labels_set_alike_share_their_text_for_as_long_as_it_holds() {
    let names = ["zone", "team", "shard", "env", "cell"];
    let mut draft = draft_of("a{k=\"1\"} 1\nb 2\nc 3\n");
    for sample in 0..3 {
        for name in names {
            assert!(draft.set_label(sample, name, "x").unwrap());
            assert!(draft.set_label(sample, name, &format!("{name}{sample}")).unwrap());
        }
        assert!(draft.set_label(sample, "team", "x").unwrap());
    }
    assert!(draft.rename_label(0, "k", "zone").unwrap());
    assert_eq!(
        shown(&draft),
        [
            "a untyped {zone=1,team=x,shard=shard0,env=env0,cell=cell0} 1 0 []",
            "b untyped {zone=zone1,team=x,shard=shard1,env=env1,cell=cell1} 2 0 []",
            "c untyped {zone=zone2,team=x,shard=shard2,env=env2,cell=cell2} 3 0 []",
        ]
    );
    // What was legal is not once it is a grouping label's name, also if that comes back by an undo.
    draft.set_group_label("cell", Some("g")).unwrap();
    assert_eq!(draft.set_label(1, "cell", "y").unwrap_err().code, Code::Value);
    assert_eq!(draft.rename_label(1, "env", "cell").unwrap_err().code, Code::Value);
    let mut snapshot = Snapshot::default();
    draft.set_group_label("dc", Some("g")).unwrap();
    draft.save(&mut snapshot);
    draft.set_group_label("dc", None).unwrap();
    assert!(draft.set_label(1, "dc", "z").unwrap());
    draft.restore(&snapshot);
    assert_eq!(draft.set_label(2, "dc", "y").unwrap_err().code, Code::Value);
    // The next push has other text where this one's was, or none.
    for name in ["n001", "n002", "n003", "n004", "n005", "n006", "n007", "n008"] {
        assert!(draft.set_label(0, name, "w").unwrap());
    }
    draft.clear(NameRules::Legacy, &GroupingKey::new("another job", []));
    let body = "m{k=\"v\"} 1\n";
    let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
    draft.load(&Received { families: &families, body: body.as_bytes(), loose: &[] });
    assert_eq!(draft.set_label(0, "", "x").unwrap_err().code, Code::Name);
    assert!(draft.set_label(0, "cell", "x").unwrap());
    assert_eq!(shown(&draft), ["m untyped {k=v,cell=x} 1 0 []"]);
}

#[test]
fn families_merge_copy_and_go() {
    let mut draft = draft_of(BODY);
    assert_eq!(draft.rename_family(0, "b").unwrap(), 3);
    let copy = draft.copy_family(3, "c").unwrap();
    draft.set_help(copy, Some("copied")).unwrap();
    draft.drop_family(1);
    assert_eq!(draft.copy_family(3, "s").unwrap_err().code, Code::Name);
    assert_eq!(draft.rename_family(2, "b").unwrap_err().code, Code::Type);
    assert_eq!(
        shown(&draft),
        [
            "s summary {} 0 2 [0.5:7]",
            "b untyped {x=1} 1 0 []",
            "b untyped {x=2,job=z} 2 0 []",
            "b untyped {} 5 0 []",
            "c untyped {x=1} 1 0 []",
            "c untyped {x=2,job=z} 2 0 []",
            "c untyped {} 5 0 []",
        ]
    );
}

#[test]
fn undo_takes_everything_back() {
    let mut draft = draft_of(BODY);
    let before = (shown(&draft), draft.grouping_key());
    let mut snapshot = Snapshot::default();
    draft.save(&mut snapshot);
    draft.set_label(0, "x", "9").unwrap();
    draft.set_label(1, "new", "1").unwrap();
    draft.rename_label(2, "p", "r").unwrap();
    draft.scale(2, 3.0).unwrap();
    draft.set_value(4, 8.0).unwrap();
    draft.drop_family(2);
    draft.rename_family(0, "b").unwrap();
    draft.set_help(1, Some("x")).unwrap();
    draft.set_group_label("tenant", Some("t")).unwrap();
    draft.set_group_label("job", Some("k")).unwrap();
    assert_ne!(shown(&draft), before.0);
    draft.restore(&snapshot);
    assert_eq!((shown(&draft), draft.grouping_key()), before);
}

#[test]
fn temporary_labels_do_not_leave_the_chain() {
    let mut draft = draft_of("a{b=\"c\"} 1\n");
    draft.set_label(0, "__tmp_x", "1").unwrap();
    assert_eq!(draft.label(0, "__tmp_x"), Some("1"));
    assert_eq!(shown(&draft), ["a untyped {b=c} 1 0 []"]);
}

#[test]
fn rules_run_once_where_parts_cannot_be_told_apart() {
    let mut draft = draft_of(BODY);
    let set = rules(&[
        &[("source_labels", "p,job"), ("regex", "q;(.*)"), ("target_label", "from"), ("replacement", "x$1")],
        &[("source_labels", "x"), ("regex", "2"), ("action", "drop")],
    ]);
    assert!(set.is_blind_to_parts());
    let counts = draft.relabel(&set, None).unwrap();
    assert_eq!(counts, RelabelCounts { dropped: 1, splits: 0, resets: 0 });
    assert_eq!(
        shown(&draft),
        [
            "a_total counter {x=1} 1 0 []",
            "h histogram {p=q,from=xj} 4.5 3 [1:2,inf:3]",
            "s summary {} 0 2 [0.5:7]",
            "b untyped {} 5 0 []",
        ]
    );
}

#[test]
fn blind_or_not_the_result_is_the_same() {
    let plain: &[(&str, &str)] = &[("source_labels", "p"), ("target_label", "copy")];
    let seeing: &[(&str, &str)] = &[("source_labels", "le"), ("regex", "no-such"), ("action", "drop")];
    let (mut one, mut two) = (draft_of(BODY), draft_of(BODY));
    one.relabel(&rules(&[plain]), None).unwrap();
    two.relabel(&rules(&[plain, seeing]), None).unwrap();
    assert_eq!(shown(&one), shown(&two));
}

#[test]
fn renamed_alike_a_histogram_stays_one() {
    let mut draft = draft_of(BODY);
    let rename: &[(&str, &str)] = &[
        ("source_labels", "__name__"),
        ("regex", "(h|s)(_.*|)"),
        ("target_label", "__name__"),
        ("replacement", "new_${1}$2"),
    ];
    let bucket: &[(&str, &str)] = &[("source_labels", "le"), ("regex", "1"), ("action", "drop")];
    let counts = draft.relabel(&rules(&[rename, bucket]), None).unwrap();
    assert_eq!(counts, RelabelCounts::default());
    assert_eq!(
        shown(&draft)[2..],
        ["b untyped {} 5 0 []", "new_h histogram {p=q} 4.5 3 [inf:3]", "new_s summary {} 0 2 [0.5:7]",]
    );
}

#[test]
fn without_its_sum_a_histogram_falls_apart() {
    let mut draft = draft_of(BODY);
    let no_sum: &[(&str, &str)] = &[("source_labels", "__name__"), ("regex", ".*_sum"), ("action", "drop")];
    let counts = draft.relabel(&rules(&[no_sum]), None).unwrap();
    assert_eq!(counts, RelabelCounts { dropped: 0, splits: 2, resets: 0 });
    assert_eq!(
        shown(&draft)[2..],
        [
            "b untyped {} 5 0 []",
            "h_bucket untyped {p=q,le=1} 2 0 []",
            "h_bucket untyped {p=q,le=+Inf} 3 0 []",
            "h_count untyped {p=q} 3 0 []",
            "s untyped {quantile=0.5} 7 0 []",
            "s_count untyped {} 2 0 []",
        ]
    );
}

#[test]
fn grouping_labels_are_seen_but_not_changed_by_rules() {
    let mut draft = draft_of("a 1\n");
    let change: &[(&str, &str)] =
        &[("source_labels", "job"), ("target_label", "job"), ("replacement", "k$1")];
    let copy: &[(&str, &str)] = &[("source_labels", "job"), ("target_label", "was")];
    let counts = draft.relabel(&rules(&[change, copy]), None).unwrap();
    assert_eq!(counts.resets, 1);
    assert_eq!(shown(&draft), ["a untyped {was=kj} 1 0 []"]);
    assert_eq!(draft.label(0, "job"), Some("j"));
    let nameless: &[(&str, &str)] = &[("regex", "__name__"), ("action", "labeldrop")];
    assert_eq!(draft.relabel(&rules(&[nameless]), None).unwrap_err().code, Code::Name);
}

#[test]
fn an_empty_grouping_label_is_none_to_rules_and_hides_the_labels_own() {
    const HIDDEN: &str = "a{env=\"x\",host=\"h\"} 1\n";
    let key = GroupingKey::new("j", [("env", "")]);
    let mut draft = Draft::new(NameRules::Legacy);
    draft.clear(NameRules::Legacy, &key);
    let families = text::parse(HIDDEN.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
    draft.load(&Received { families: &families, body: HIDDEN.as_bytes(), loose: &[] });
    let copy: &[(&str, &str)] =
        &[("source_labels", "env,host"), ("target_label", "was"), ("replacement", "$1")];
    let set: &[(&str, &str)] = &[("target_label", "env"), ("replacement", "prod")];
    let counts = draft.relabel(&rules(&[copy, set]), None).unwrap();
    assert_eq!(counts.resets, 1);
    assert_eq!(shown(&draft), ["a untyped {host=h,was=;h} 1 0 []"]);
}

/// The body of [`BODY`] with other values, from what was kept with a push of it that `left` changed.
fn known(key: &GroupingKey, body: &str, left: impl Fn(&mut Draft)) -> (Draft, Option<Box<[u64]>>) {
    let families = text::parse(BODY.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
    let mut draft = draft_of(BODY);
    draft.outline(&families);
    draft.note_received();
    edit(&mut draft);
    // One value for each counter and gauge, four for the histogram, three for the summary.
    let firsts = [0, 1, 2, 6, 9];
    let template = draft.keep(BODY.as_bytes(), 10, &|series| Some(firsts[series as usize])).unwrap();
    let values = template.read(body.as_bytes()).unwrap().values;
    draft.clear(NameRules::Legacy, key);
    draft.load_known(&template, &values, body.len());
    left(&mut draft);
    let values = draft.values_as_before();
    (draft, values)
}

fn edit(draft: &mut Draft) {
    draft.set_label(0, "x", "new").unwrap();
    draft.set_label(1, "y", "more").unwrap();
    draft.rename_label(2, "p", "q").unwrap();
    draft.scale(3, 2.0).unwrap();
    draft.set_value(4, draft.sample(4).value + 1.0).unwrap();
}

#[test]
fn a_body_that_is_known_is_loaded_as_if_read() {
    let body = BODY.replace(" 4.5", " -0.5").replace("s{quantile=\"0.5\"} 7", "s{quantile=\"0.5\"} 8");
    let key = GroupingKey::new("a longer job", [("instance", "i")]);
    let (draft, _) = known(&key, &body, |_| {});
    assert_eq!(shown(&draft), shown(&draft_of(&body)));
    assert_eq!((draft.received(), draft.body_bytes), (5, body.len()));
    assert_eq!(draft.label(0, "job"), Some("a longer job"));
}

#[test]
fn values_are_known_to_fit_where_plugins_do_what_they_did() {
    let body = BODY.replace("b 5", "b 7").replace(" 4.5", " -0.5");
    let key = GroupingKey::new("another", [("instance", "i2")]);
    let (_, values) = known(&key, &body, edit);
    let bits = |x: f64| x.to_bits();
    let expected = [bits(1.0), bits(2.0), 2, 3, bits(-0.5), 3, bits(14.0), bits(0.0), 2, bits(8.0)];
    assert_eq!(values.as_deref(), Some(&expected[..]));
    type Change = fn(&mut Draft);
    let others: [Change; 9] = [
        |draft| draft.drop_sample(0),
        |draft| assert!(draft.set_label(0, "x", "old").unwrap()),
        |draft| assert!(draft.set_label(4, "z", "1").unwrap()),
        |draft| assert!(draft.rename_label(1, "y", "z").unwrap()),
        |draft| draft.set_help(0, None).unwrap(),
        |draft| draft.set_family_kind(0, MetricType::Gauge).unwrap(),
        |draft| assert_eq!(draft.rename_family(3, "c").unwrap(), 3),
        |draft| draft.move_sample(0, "b").unwrap_or_else(|_| draft.drop_sample(0)),
        |draft| draft.scale(2, 2.0).unwrap(),
    ];
    for (at, other) in others.iter().enumerate() {
        let (_, values) = known(&key, &body, |draft| {
            edit(draft);
            other(draft);
        });
        assert!(values.is_none(), "{at}");
    }
}

#[test]
fn exemplars_and_created_times_stay_with_what_is_scaled_or_set() {
    // A counter's value, exemplar (value 1.5) and created time.
    let message = |value: f64, exemplar: f64| {
        let exemplar = [&b"\x12\x09\x11"[..], &exemplar.to_le_bytes()].concat();
        [&b"\x09"[..], &value.to_le_bytes(), &exemplar, b"\x1a\x02\x08\x05"].concat()
    };
    let mut draft = draft_of("# TYPE c_total counter\nc_total 2\n");
    draft.blobs = message(2.0, 1.5);
    draft.samples[0].detail = Some(Span { start: 0, end: draft.blobs.len() as u32 });
    let said = |draft: &Draft| draft.families_into(Families::default()).details[0].message.to_vec();
    let mut snapshot = Snapshot::default();
    draft.save(&mut snapshot);
    draft.scale(0, 4.0).unwrap();
    assert_eq!(said(&draft), message(8.0, 6.0));
    draft.set_value(0, 3.0).unwrap();
    assert_eq!((said(&draft), draft.sample(0).value), (message(3.0, 6.0), 3.0));
    draft.restore(&snapshot);
    assert_eq!(said(&draft), message(2.0, 1.5));
    // What is appended counts as written.
    let many = (0..100_000).find_map(|_| draft.scale(0, 1.0).err());
    assert_eq!(many.map(|fault| fault.code), Some(Code::Limit));
}

#[test]
fn a_histogram_with_a_native_part_is_not_scaled() {
    let mut draft = draft_of("# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum 4.5\nh_count 3\n");
    draft.blobs = b"\x28\x06".to_vec();
    draft.samples[0].detail = Some(Span { start: 0, end: 2 });
    assert_eq!(draft.scale(0, 2.0).unwrap_err().code, Code::Type);
}

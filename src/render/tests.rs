//! The index against a naive rendering: after any pushes and deletes, with scrapes in between, every
//! form shows exactly what the store holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;

use proptest::prelude::*;

use super::coding::Coder;
use super::index::Index;
use super::negotiate::{Encoding, Escaping, Form, Format, Wanted};
use crate::clock::UnixNanos;
use crate::format::escape;
use crate::format::float::write_float;
use crate::model::names::is_legacy_metric_name;
use crate::model::{Families, GroupingKey, NameRules};
use crate::parse::text;
use crate::store::view::{GroupView, ValueView};
use crate::store::{Mode, Store};
use crate::telemetry::OwnFamily;

#[derive(Clone, Debug)]
enum Op {
    Push(Mode, usize, Vec<usize>),
    Delete(usize),
    Scrape(Escaping),
}

const KEYS: &[&[(&str, &str)]] = &[
    &[],
    &[("a", "1")],
    &[("a", "2"), ("zz", "x\"y\\\n")],
    &[("instance", "i")],
    &[("k.é", "v"), ("b", "")],
];

/// Families that never contradict each other; `N` becomes a number, `K` the group.
const FAMILIES: &[&str] = &[
    "# HELP plain some \\\\ help\nplain{x=\"K\"} N\nplain{x=\"K\",y=\"2\"} 7\n",
    "# TYPE count counter\ncount{zzz=\"K\"} N\n",
    "# TYPE h histogram\nh_bucket{g=\"K\",le=\"1\"} N\nh_sum{g=\"K\"} 3\nh_count{g=\"K\"} 1e6\n",
    "# TYPE s summary\ns{g=\"K\",quantile=\"0.5\"} N\ns_sum{g=\"K\"} 4\ns_count{g=\"K\"} 9\n",
    "{\"dotted.name\",g=\"K\",\"l.x\"=\"1\"} N\n",
    "same{g=\"K\"} 1\n",
];

fn op() -> impl Strategy<Value = Op> {
    let mode = prop_oneof![Just(Mode::ReplaceGroup), Just(Mode::ReplaceFamilies)];
    let families = prop::collection::vec(0..FAMILIES.len(), 0..4);
    let escaping = prop_oneof![
        Just(Escaping::Underscores),
        Just(Escaping::Dots),
        Just(Escaping::Values),
        Just(Escaping::AllowUtf8)
    ];
    prop_oneof![
        6 => (mode, 0..KEYS.len(), families).prop_map(|(mode, key, families)| Op::Push(mode, key, families)),
        1 => (0..KEYS.len()).prop_map(Op::Delete),
        3 => escaping.prop_map(Op::Scrape),
    ]
}

fn body(key: usize, families: &[usize], value: usize) -> String {
    let distinct: BTreeSet<usize> = families.iter().copied().collect();
    let all: String = distinct.iter().map(|at| FAMILIES[*at]).collect();
    all.replace('N', &value.to_string()).replace('K', &key.to_string())
}

fn float(value: f64) -> String {
    let mut out = Vec::new();
    write_float(&mut out, value);
    String::from_utf8(out).unwrap()
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    escape::push_label_value(&mut out, text);
    format!("\"{}\"", String::from_utf8(out).unwrap())
}

fn name(name: &str, escaping: Escaping) -> String {
    if escaping == Escaping::AllowUtf8 && !is_legacy_metric_name(name) {
        quoted(name)
    } else {
        escape::escape_name(name, escaping).into_owned()
    }
}

/// One line, written the slow way.
fn line(family: &str, suffix: &str, labels: &[(String, String)], value: f64, escaping: Escaping) -> String {
    let full = format!("{family}{suffix}");
    let mut pairs: Vec<String> =
        labels.iter().map(|(n, v)| format!("{}={}", name(n, escaping), quoted(v))).collect();
    if escaping == Escaping::AllowUtf8 && !is_legacy_metric_name(family) {
        pairs.insert(0, quoted(&full));
        format!("{{{}}} {}", pairs.join(","), float(value))
    } else {
        let full = format!("{}{suffix}", escape::escape_name(family, escaping));
        format!("{full}{{{}}} {}", pairs.join(","), float(value))
    }
}

type Sections = BTreeMap<String, (Vec<String>, BTreeSet<String>)>;

fn naive(views: &[GroupView], escaping: Escaping) -> Sections {
    let mut sections = Sections::new();
    for view in views {
        let mut own: Vec<(String, String)> =
            view.key.labels().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        if view.key.get("instance").is_none() {
            own.push(("instance".into(), "".into()));
        }
        own.sort();
        for (family, help, time) in [
            ("push_time_seconds", "succeeded", view.push_time()),
            ("push_failure_time_seconds", "failed", view.failure_time()),
        ] {
            let help = format!("Last Unix time when changing this group in the Pushgateway {help}.");
            let header = vec![format!("# HELP {family} {help}"), format!("# TYPE {family} gauge")];
            let section = sections.entry(family.into()).or_insert((header, BTreeSet::new()));
            section.1.insert(line(family, "", &own, time.seconds(), escaping));
        }
        for family in view.families() {
            let shown = name(family.name, escaping);
            let mut header = Vec::new();
            if let Some(help) = family.help {
                header.push(format!("# HELP {shown} {}", help.replace('\\', "\\\\")));
            }
            header.push(format!("# TYPE {shown} {}", family.kind.text()));
            let section = sections.entry(family.name.into()).or_insert((header, BTreeSet::new()));
            for series in family.series() {
                let labels: Vec<(String, String)> =
                    series.labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
                let with = |name: &str, bound: f64| {
                    let mut all = labels.clone();
                    all.push((name.to_string(), float(bound)));
                    all
                };
                let mut add = |suffix: &str, labels: &[(String, String)], value: f64| {
                    section.1.insert(line(family.name, suffix, labels, value, escaping));
                };
                match series.value {
                    ValueView::Plain(value) => add("", &labels, value),
                    ValueView::Summary { quantiles, sum, count } => {
                        quantiles.iter().for_each(|(q, v)| add("", &with("quantile", *q), *v));
                        add("_sum", &labels, sum);
                        add("_count", &labels, count as f64);
                    }
                    ValueView::Histogram { buckets, sum, count, .. } => {
                        buckets.iter().for_each(|(b, v)| add("_bucket", &with("le", *b), v.as_f64()));
                        if !buckets.iter().any(|bucket| bucket.0 == f64::INFINITY) {
                            add("_bucket", &with("le", f64::INFINITY), count.as_f64());
                        }
                        add("_sum", &labels, sum);
                        add("_count", &labels, count.as_f64());
                    }
                }
            }
        }
    }
    sections
}

/// The naive sections in order, as lines: header, then the lines of the family sorted.
fn written(sections: &Sections) -> String {
    let mut out = String::new();
    for (header, lines) in sections.values().filter(|(_, lines)| !lines.is_empty()) {
        header.iter().chain(lines).for_each(|line| writeln!(out, "{line}").unwrap());
    }
    out
}

/// The exposition with the lines of each family sorted.
fn sorted(exposition: &str) -> String {
    let (mut out, mut lines) = (String::new(), BTreeSet::new());
    for line in exposition.lines() {
        if line.starts_with('#') {
            std::mem::take(&mut lines).into_iter().for_each(|line: &str| writeln!(out, "{line}").unwrap());
            writeln!(out, "{line}").unwrap();
        } else {
            assert!(lines.insert(line), "{line} twice");
        }
    }
    lines.into_iter().for_each(|line| writeln!(out, "{line}").unwrap());
    out
}

/// The exposition, held to be the same in every coding, whichever of them is asked for first.
pub fn exposed_as(index: &mut Index, form: Form, own: &[OwnFamily]) -> Vec<u8> {
    let mut coded = |encoding| {
        index.expose(Wanted { form, encoding }, own, &mut Coder::default(), &mut || ()).list().concat()
    };
    let gzip = coded(Encoding::Gzip);
    let plain = coded(Encoding::Identity);
    let mut gunzipped = Vec::new();
    flate2::bufread::GzDecoder::new(&gzip[..]).read_to_end(&mut gunzipped).unwrap();
    assert_eq!(gunzipped, plain);
    assert_eq!(zstd::stream::decode_all(&coded(Encoding::Zstd)[..]).unwrap(), plain);
    index.end_round();
    plain
}

fn exposed(index: &mut Index, escaping: Escaping) -> String {
    let plain = exposed_as(index, Form { format: Format::Text, escaping }, &[]);
    String::from_utf8(plain).unwrap()
}

fn take_feed(store: &Store, index: &mut Index) {
    while let Some(group) = store.next_changed(0) {
        index.update(&group);
    }
}

fn push(store: &Store, mode: Mode, key: &[(&'static str, &'static str)], body: &str, now: u64) -> bool {
    let key = GroupingKey::new("j", key.iter().copied());
    if store.push_known(mode, &key, body.as_bytes(), UnixNanos(now)) {
        return true;
    }
    let families = text::parse(body.as_bytes(), NameRules::Utf8, Families::default()).unwrap();
    store.push(mode, &key, &families, Some(body.as_bytes()), UnixNanos(now)).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_scrape_shows_what_the_store_holds(ops in prop::collection::vec(op(), 1..40)) {
        let (store, mut index) = (Store::new(true, []), Index::new(true));
        for (step, op) in ops.iter().chain([&Op::Scrape(Escaping::AllowUtf8)]).enumerate() {
            match op {
                Op::Push(mode, key, families) => {
                    let body = body(*key, families, step);
                    prop_assert!(push(&store, *mode, KEYS[*key], &body, step as u64 + 1), "{}", body);
                }
                Op::Delete(key) => {
                    store.delete(&GroupingKey::new("j", KEYS[*key].iter().copied()));
                }
                Op::Scrape(escaping) => {
                    take_feed(&store, &mut index);
                    let want = written(&naive(&store.views(), *escaping));
                    prop_assert_eq!(sorted(&exposed(&mut index, *escaping)), want);
                }
            }
        }
    }
}

/// What unchecked pushes contradict stays out of the exposition until the rival goes.
#[test]
fn a_contradiction_is_hidden_and_comes_back() {
    let (store, mut index) = (Store::new(false, []), Index::new(false));
    let shows = |index: &mut Index, store: &Store, line: &str| {
        take_feed(store, index);
        let text = exposed(index, Escaping::Underscores);
        sorted(&text);
        let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE m ")).collect();
        assert!(types.len() <= 1, "{text}");
        text.lines().any(|shown| shown == line)
    };
    let (one, two): (&[_], &[_]) = (&[], &[("x", "1")]);
    let (first, second) = ("m{instance=\"\",job=\"j\",x=\"1\"} 1", "m{instance=\"\",job=\"j\",x=\"1\"} 2");
    push(&store, Mode::ReplaceGroup, one, "m{x=\"1\"} 1\n", 1);
    push(&store, Mode::ReplaceGroup, two, "m 2\n", 2);
    assert!(shows(&mut index, &store, first) && !shows(&mut index, &store, second));
    assert_eq!(index.hidden_series(), 1);
    store.delete(&GroupingKey::new("j", one.iter().copied()));
    assert!(shows(&mut index, &store, second));

    // Another type of the same name, and a name that is a histogram's line.
    push(&store, Mode::ReplaceGroup, &[("x", "2")], "# TYPE m gauge\nm 3\n", 3);
    push(&store, Mode::ReplaceGroup, &[("x", "3")], "# TYPE h histogram\nh_count 1\n", 4);
    push(&store, Mode::ReplaceGroup, &[("x", "4")], "h_count 5\n", 5);
    assert!(!shows(&mut index, &store, "m{instance=\"\",job=\"j\",x=\"2\"} 3"));
    assert!(!shows(&mut index, &store, "h_count{instance=\"\",job=\"j\",x=\"4\"} 5"));
    assert!(shows(&mut index, &store, "h_count{instance=\"\",job=\"j\",x=\"3\"} 1"));
    store.delete(&GroupingKey::new("j", two.iter().copied()));
    store.delete(&GroupingKey::new("j", [("x", "3")]));
    assert!(shows(&mut index, &store, "m{instance=\"\",job=\"j\",x=\"2\"} 3"));
    assert!(shows(&mut index, &store, "h_count{instance=\"\",job=\"j\",x=\"4\"} 5"));
}

/// The header moves on when the group that stood first goes.
#[test]
fn a_family_of_many_segments_has_one_header() {
    let (store, mut index) = (Store::new(true, []), Index::new(true));
    let long = "x".repeat(200);
    let key = |at: usize| GroupingKey::new("j", [("n", ["a", "b", "c", "d", "e", "f", "g", "h"][at])]);
    for at in 0..8 {
        let lines: String = (0..30).map(|i| format!("m{{i=\"{i}\",l=\"{long}\"}} {i}\n")).collect();
        let body = format!("# HELP m Help {at}.\n{lines}");
        let families = text::parse(body.as_bytes(), NameRules::Utf8, Families::default()).unwrap();
        store.push(Mode::ReplaceGroup, &key(at), &families, None, UnixNanos(1)).unwrap();
    }
    for at in 0..8 {
        take_feed(&store, &mut index);
        let text = exposed(&mut index, Escaping::Underscores);
        let headers: Vec<&str> = text.lines().filter(|line| line.contains(" m ")).collect();
        // Which group's help is shown is not promised.
        assert!(headers.len() == 2 && headers[0].starts_with("# HELP m Help "), "{headers:?}");
        assert_eq!(text.lines().filter(|line| line.starts_with("m{")).count(), (8 - at) * 30);
        store.delete(&key(at));
    }
}

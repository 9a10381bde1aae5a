//! Protobuf expositions against a naive rendering by `prost`, after random pushes by text and protobuf.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::clock::UnixNanos;
use crate::model::{Families, GroupingKey, NameRules, Number};
use crate::parse::protobuf::oracle::{
    self, Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, Plain, Quantile, Summary,
};
use crate::parse::{protobuf, text};
use crate::render::index::Index;
use crate::render::negotiate::{Form, Format};
use crate::render::tests::exposed_as;
use crate::store::view::ValueView;
use crate::store::{Mode, Store, times};
use crate::telemetry::{OwnFamily, OwnSeries, OwnValue};

const KEYS: &[&[(&str, &str)]] = &[
    &[],
    &[("a", "1")],
    &[("a", "2"), ("zz", "x\"y\\\n")],
    &[("instance", "i")],
    &[("k.é", "v"), ("b", "")],
];

const TEXTS: &[&str] = &[
    "# HELP plain some \\\\ help\nplain{x=\"1\"} 1\nplain{x=\"0\",y=\"2\"} 7\n",
    "# TYPE h histogram\nh_bucket{g=\"1\",le=\"1\"} 1\nh_sum{g=\"1\"} 3\nh_count{g=\"1\"} 1e6\n",
    "# TYPE h histogram\nh_bucket{g=\"1\",le=\"1\"} 0.5\nh_sum{g=\"1\"} 3\nh_count{g=\"1\"} 1.5\n",
    "# TYPE s summary\ns{g=\"1\",quantile=\"0.5\"} 2\ns_sum{g=\"1\"} 4\ns_count{g=\"1\"} 9\n",
    "{\"dotted.name\",g=\"1\",\"l.x\"=\"1\"} 5\n",
    "# TYPE family_1 gauge\nfamily_1{i=\"7\"} 1\n",
];

#[derive(Clone, Debug)]
enum Op {
    Text(Mode, usize, usize),
    Protobuf(Mode, usize, Vec<MetricFamily>),
    Delete(usize),
    Scrape(Escaping),
}

fn op() -> impl Strategy<Value = Op> {
    let mode = || prop_oneof![Just(Mode::ReplaceGroup), Just(Mode::ReplaceFamilies)];
    let escaping = prop_oneof![
        Just(Escaping::Underscores),
        Just(Escaping::Dots),
        Just(Escaping::Values),
        Just(Escaping::AllowUtf8)
    ];
    let dotted =
        (oracle::families(), oracle::family("dotted.gauge", 1)).prop_map(|(mut families, dotted)| {
            families.push(dotted);
            families
        });
    prop_oneof![
        3 => (mode(), 0..KEYS.len(), 0..TEXTS.len()).prop_map(|(mode, key, text)| Op::Text(mode, key, text)),
        4 => (mode(), 0..KEYS.len(), dotted).prop_map(|(mode, key, all)| Op::Protobuf(mode, key, all)),
        1 => (0..KEYS.len()).prop_map(Op::Delete),
        3 => escaping.prop_map(Op::Scrape),
    ]
}

fn key(at: usize) -> GroupingKey {
    GroupingKey::new("j", KEYS[at].iter().copied())
}

/// What was pushed by protobuf last, by group and family: their messages must come back.
type Pushed = HashMap<(GroupingKey, String), MetricFamily>;

fn labels<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>, escaping: Escaping) -> Vec<LabelPair> {
    labels.map(|(name, value)| oracle::label(&escape_name(name, escaping), value)).collect()
}

fn whole(number: Number) -> Option<u64> {
    if let Number::Int(count) = number { Some(count) } else { None }
}

fn float(number: Number) -> Option<f64> {
    if let Number::Float(count) = number { Some(count) } else { None }
}

fn metric(kind: MetricType, value: &ValueView<'_>) -> Metric {
    let mut metric = Metric::default();
    match value {
        ValueView::Plain(value) => match kind {
            MetricType::Counter => {
                metric.counter = Some(Counter { value: Some(*value), ..Default::default() })
            }
            MetricType::Gauge => metric.gauge = Some(Plain { value: Some(*value) }),
            _ => metric.untyped = Some(Plain { value: Some(*value) }),
        },
        ValueView::Summary { quantiles, sum, count } => {
            let quantile =
                |(rank, value): &(f64, f64)| Quantile { quantile: Some(*rank), value: Some(*value) };
            metric.summary = Some(Summary {
                sample_count: Some(*count),
                sample_sum: Some(*sum),
                quantile: quantiles.iter().map(quantile).collect(),
                created_timestamp: None,
            });
        }
        ValueView::Histogram { buckets, sum, count, .. } => {
            let bucket = |(bound, count): &(f64, Number)| Bucket {
                cumulative_count: whole(*count),
                cumulative_count_float: float(*count),
                upper_bound: Some(*bound),
                exemplar: None,
            };
            metric.histogram = Some(Histogram {
                sample_count: whole(*count),
                sample_count_float: float(*count),
                sample_sum: Some(*sum),
                bucket: buckets.iter().map(bucket).collect(),
                ..Default::default()
            });
        }
    }
    metric
}

/// The store's content the slow way. Which help and which order of series is shown is not promised.
fn naive(store: &Store, pushed: &Pushed, escaping: Escaping) -> Vec<MetricFamily> {
    let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
    let mut add = |name: &str, kind: MetricType, metrics: Vec<Metric>| {
        if !metrics.is_empty() {
            let family = families.entry(name.to_string()).or_insert_with(|| MetricFamily {
                name: Some(escape_name(name, escaping).into_owned()),
                r#type: Some(kind as i32),
                ..Default::default()
            });
            family.metric.extend(metrics);
        }
    };
    for view in store.views() {
        let mut own: BTreeMap<&str, &str> = view.key.labels().collect();
        own.entry("instance").or_insert("");
        for (name, time) in
            [(times::PUSH_TIME, view.push_time()), (times::PUSH_FAILURE_TIME, view.failure_time())]
        {
            let gauge = Some(Plain { value: Some(time.seconds()) });
            let label = labels(own.iter().map(|(name, value)| (*name, *value)), escaping);
            add(name, MetricType::Gauge, vec![Metric { label, gauge, ..Default::default() }]);
        }
        for family in view.families() {
            let messages = pushed.get(&((*view.key).clone(), family.name.to_string()));
            let metrics = family.series().enumerate().map(|(at, series)| {
                let value = match messages {
                    Some(family) => family.metric[at].clone(),
                    None => metric(family.kind, &series.value),
                };
                let label = labels(series.labels.iter().map(|(n, v)| (&**n, &**v)), escaping);
                Metric { label, ..value }
            });
            add(family.name, family.kind, metrics.collect());
        }
    }
    families.into_values().map(sorted).collect()
}

fn sorted(mut family: MetricFamily) -> MetricFamily {
    family.metric.sort_by_cached_key(|metric| metric.encode_to_vec());
    family.help = None;
    family
}

fn exposed(index: &mut Index, escaping: Escaping, own: &[OwnFamily]) -> Vec<MetricFamily> {
    let form = Form { format: Format::ProtoDelimited, escaping };
    oracle::decoded(&exposed_as(index, form, own)).unwrap()
}

fn take_feed(store: &Store, index: &mut Index) {
    while let Some(group) = store.next_changed(0) {
        index.update(&group);
    }
}

fn push_protobuf(store: &Store, mode: Mode, key: &GroupingKey, families: &[MetricFamily]) {
    let body = oracle::encoded(families);
    let families = protobuf::parse(&body, NameRules::Utf8, Families::default()).unwrap();
    store.push(mode, key, &families, None, UnixNanos(7)).unwrap();
}

fn push_text(store: &Store, mode: Mode, key: &GroupingKey, body: &str) {
    if !store.push_known(mode, key, body.as_bytes(), UnixNanos(8)) {
        let families = text::parse(body.as_bytes(), NameRules::Utf8, Families::default()).unwrap();
        store.push(mode, key, &families, Some(body.as_bytes()), UnixNanos(8)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_scrape_gives_back_what_was_pushed(ops in prop::collection::vec(op(), 1..25)) {
        let (store, mut index) = (Store::new(true, []), Index::new(true));
        let mut pushed = Pushed::new();
        for op in ops.iter().chain([&Op::Scrape(Escaping::AllowUtf8)]) {
            match op {
                Op::Text(mode, at, text) => {
                    let key = key(*at);
                    let body = TEXTS[*text];
                    push_text(&store, *mode, &key, body);
                    let replaces = |name: &str| {
                        *mode == Mode::ReplaceGroup || (name == "family_1" && body.contains("family_1"))
                    };
                    pushed.retain(|(group, name), _| *group != key || !replaces(name));
                }
                Op::Protobuf(mode, at, families) => {
                    let key = key(*at);
                    push_protobuf(&store, *mode, &key, families);
                    pushed.retain(|(group, _), _| *group != key || *mode == Mode::ReplaceFamilies);
                    for family in families {
                        pushed.insert((key.clone(), family.name.clone().unwrap()), family.clone());
                    }
                }
                Op::Delete(at) => {
                    let key = key(*at);
                    store.delete(&key);
                    pushed.retain(|(group, _), _| *group != key);
                }
                Op::Scrape(escaping) => {
                    take_feed(&store, &mut index);
                    let shown: Vec<MetricFamily> =
                        exposed(&mut index, *escaping, &[]).into_iter().map(sorted).collect();
                    prop_assert_eq!(shown, naive(&store, &pushed, *escaping));
                }
            }
        }
    }
}

fn own(name: &'static str) -> OwnFamily {
    let series = OwnSeries { labels: vec![("code".into(), "200".into())], value: OwnValue::Plain(3.0) };
    let summary = OwnSeries {
        labels: vec![],
        value: OwnValue::Summary { quantiles: vec![(0.5, 1.0)], sum: 2.0, count: 4 },
    };
    let (kind, series) =
        if name == "sum" { (MetricType::Summary, summary) } else { (MetricType::Counter, series) };
    let (name, help) = (name.into(), "Ours.".into());
    OwnFamily { name, help, kind, from_start: true, yields: false, series: vec![series] }
}

#[test]
fn our_own_families_stand_among_the_pushed_ones() {
    let (store, mut index) = (Store::new(true, []), Index::new(true));
    let all = [own("a_total"), own("m_total"), own("sum")];
    push_text(&store, Mode::ReplaceGroup, &key(0), "# HELP m_total x\n# TYPE m_total counter\nm_total 1\n");
    take_feed(&store, &mut index);
    let families = exposed(&mut index, Escaping::Underscores, &all);
    let names: Vec<&str> = families.iter().map(|family| family.name()).collect();
    assert_eq!(names, ["a_total", "m_total", "push_failure_time_seconds", "push_time_seconds", "sum"]);
    assert!(families.iter().all(|family| family.help.is_some()));
    assert_eq!((families[1].help(), families[1].metric.len()), ("Ours.", 2));
    assert_eq!(families[1].metric[1].label, [oracle::label("code", "200")]);
    assert_eq!(families[4].metric[0].summary.as_ref().unwrap().quantile[0].quantile, Some(0.5));
}

#[test]
fn help_is_absent_where_nobody_gave_it_and_a_family_without_series_is_not_shown() {
    let (store, mut index) = (Store::new(true, []), Index::new(true));
    let family = |name: &str, metric| MetricFamily {
        name: Some(name.into()),
        r#type: Some(0),
        metric,
        ..Default::default()
    };
    let counter = Metric { counter: Some(Counter::default()), ..Default::default() };
    let families = [family("a_total", vec![]), family("b_total", vec![counter]), family("c", vec![])];
    push_protobuf(&store, Mode::ReplaceGroup, &key(0), &families);
    take_feed(&store, &mut index);
    let shown = exposed(&mut index, Escaping::Underscores, &[own("a_total")]);
    assert_eq!((shown[0].name(), shown[0].metric.len()), ("a_total", 1));
    assert_eq!((shown[1].name(), shown[1].help.as_deref()), ("b_total", None));
    assert_eq!(shown[1].metric[0].counter, Some(Counter::default()));
    assert_eq!(shown.len(), 4);
    let text = exposed_as(&mut index, Form::TEXT, &[own("a_total")]);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("# TYPE a_total counter\na_total{code=\"200\"} 3\n# TYPE b_total"), "{text}");
    assert!(!text.contains("# TYPE c "), "{text}");
    let compact = exposed_as(&mut index, Form { format: Format::ProtoCompact, ..Form::TEXT }, &[]);
    let compact = String::from_utf8(compact).unwrap();
    assert!(
        compact.starts_with("name:\"b_total\" type:COUNTER metric:{label:{name:\"instance\" value:\"\"} ")
    );
    // Two families and the two push times.
    assert_eq!(compact.lines().count(), 3, "{compact}");
}

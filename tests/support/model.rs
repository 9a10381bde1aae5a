//! A naive model of the store: plain maps, all of which are checked again on each push, as the reference
//! does it. For histories of concurrent changes and for fuzzing.

use std::collections::{BTreeMap, BTreeSet};

use floodway::clock::UnixNanos;
use floodway::model::{Families, GroupingKey, MetricType, NameRules};
use floodway::parse::text;
use floodway::store::view::{GroupView, ValueView};
use floodway::store::{Mode, Store};

pub type Labels = BTreeMap<String, String>;
pub type Series = BTreeMap<Labels, u64>;
pub type Group = BTreeMap<String, (MetricType, Series)>;

/// Everything stored, by grouping key.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Model(pub BTreeMap<Labels, Group>);

#[derive(Clone, Debug)]
pub enum Op {
    Push(Mode, &'static [(&'static str, &'static str)], String),
    Delete(&'static [(&'static str, &'static str)]),
}

/// Plain data in place of the parser's: families of a body by name.
type Parsed = Vec<(String, MetricType, Vec<(Labels, u64)>)>;

fn parsed(body: &str) -> Parsed {
    let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
    let labels = |series| {
        let labels = families.labels_of(series).iter();
        labels.map(|label| (label.name.to_string(), label.value.to_string())).collect()
    };
    let series = |family| {
        let all = families.series_of(family).iter();
        all.map(|series| (labels(series), series.value.to_bits())).collect()
    };
    families.families.iter().map(|family| (family.name.to_string(), family.kind, series(family))).collect()
}

fn with_instance(mut labels: Labels) -> Labels {
    labels.entry("instance".into()).or_default();
    labels
}

impl Model {
    /// Applies one operation; false if it is refused.
    pub fn apply(&mut self, op: &Op) -> bool {
        let (mode, key, body) = match op {
            Op::Delete(key) => return self.0.remove(&owned(key)).is_some(),
            Op::Push(mode, key, body) => (mode, owned(key), body),
        };
        let mut after = self.clone();
        let group = after.0.entry(key.clone()).or_default();
        if *mode == Mode::ReplaceGroup {
            group.clear();
        }
        let mut twice = false;
        for (name, kind, pushed) in parsed(body) {
            let mut series = Series::new();
            for (mut labels, value) in pushed {
                labels.extend(key.clone());
                twice |= series.insert(with_instance(labels), value).is_some();
            }
            group.insert(name, (kind, series));
        }
        if !twice && after.is_consistent() {
            *self = after;
            return true;
        }
        // A refused push leaves its failure time, creating the group, if that harms nobody.
        let mut stamped = self.clone();
        stamped.0.entry(key).or_default();
        if stamped.is_consistent() {
            *self = stamped;
        }
        false
    }

    fn is_consistent(&self) -> bool {
        let mut kinds: BTreeMap<&str, MetricType> = BTreeMap::new();
        let mut all: BTreeSet<(&str, &Labels)> = BTreeSet::new();
        let mut times: BTreeSet<Labels> = BTreeSet::new();
        for (key, group) in &self.0 {
            if !times.insert(with_instance(key.clone())) {
                return false;
            }
            for (name, (kind, series)) in group {
                if *kinds.entry(name).or_insert(*kind) != *kind {
                    return false;
                }
                if !series.keys().all(|labels| all.insert((name, labels))) {
                    return false;
                }
            }
        }
        kinds.iter().all(|(name, kind)| {
            let lines: &[&str] = match kind {
                MetricType::Summary => &["_sum", "_count"],
                MetricType::Histogram => &["_sum", "_count", "_bucket"],
                _ => &[],
            };
            lines.iter().all(|suffix| !kinds.contains_key(&*format!("{name}{suffix}")))
        })
    }
}

fn owned(key: &[(&str, &str)]) -> Labels {
    key.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

pub fn grouping_key(key: &'static [(&'static str, &'static str)]) -> GroupingKey {
    let job = key.iter().find(|label| label.0 == "job").unwrap().1;
    GroupingKey::new(job, key.iter().copied())
}

pub fn apply(store: &Store, op: &Op) -> bool {
    match op {
        Op::Delete(key) => store.delete(&grouping_key(key)),
        Op::Push(mode, key, body) => {
            let key = grouping_key(key);
            if store.push_known(*mode, &key, body.as_bytes(), UnixNanos(1)) {
                return true;
            }
            let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
            store.push(*mode, &key, &families, Some(body.as_bytes()), UnixNanos(1)).is_ok()
        }
    }
}

/// What the store holds, as a model.
pub fn observed(views: &[GroupView]) -> Model {
    let group = |view: &GroupView| {
        let families = view.families();
        let one = families.iter().map(|family| {
            let series = family.series().map(|series| {
                let labels = series.labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
                let value = match series.value {
                    ValueView::Plain(value) => value,
                    ValueView::Summary { sum, .. } | ValueView::Histogram { sum, .. } => sum,
                };
                (labels, value.to_bits())
            });
            (family.name.to_string(), (family.kind, series.collect()))
        });
        one.collect::<Group>()
    };
    let key = |view: &GroupView| view.key.labels().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    Model(views.iter().map(|view| (key(view), group(view))).collect())
}

/// Keys of which some would show the same series.
pub const KEYS: &[&[(&str, &str)]] = &[
    &[("job", "j")],
    &[("job", "j"), ("instance", "")],
    &[("job", "j"), ("instance", "i")],
    &[("job", "j"), ("x", "1")],
    &[("job", "j"), ("instance", "i"), ("x", "1")],
];

/// Bodies that contradict each other; `N` stands for a value.
pub const BODIES: &[&str] = &[
    "",
    "a N\n",
    "# TYPE a gauge\na N\n",
    "# TYPE a summary\na_sum N\n",
    "a_sum N\n",
    "a_count N\nb N\n",
    "# TYPE b histogram\nb_sum N\n",
    "b_bucket N\n",
    "a{instance=\"i\"} N\n",
    "a{x=\"1\"} N\n",
    "a{x=\"1\",instance=\"i\"} N\n",
    "a{instance=\"i\"} N\na N\n",
    "a{x=\"1\"} N\nb N\n",
];

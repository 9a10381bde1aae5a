//! Concurrent pushes and deletes against a naive model: every recorded history must have a serial order
//! that explains each answer and the store's state at the end.
//!
//! The model holds everything in plain maps and re-checks all of it on each push, the way the reference
//! does. Histories are made to conflict: names that change type, names that collide with a histogram's
//! lines, series that two groups could own, keys of ever new label names, deletes and re-creation.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

use floodway::clock::UnixNanos;
use floodway::model::{Families, GroupingKey, MetricType, NameRules};
use floodway::parse::text;
use floodway::store::view::ValueView;
use floodway::store::{Mode, Store};

type Labels = BTreeMap<String, String>;
type Series = BTreeMap<Labels, u64>;
type Group = BTreeMap<String, (MetricType, Series)>;

/// Everything stored, by grouping key.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Model(BTreeMap<Labels, Group>);

#[derive(Clone, Debug)]
enum Op {
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
    fn apply(&mut self, op: &Op) -> bool {
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

fn grouping_key(key: &'static [(&'static str, &'static str)]) -> GroupingKey {
    let job = key.iter().find(|label| label.0 == "job").unwrap().1;
    GroupingKey::new(job, key.iter().copied())
}

fn apply(store: &Store, op: &Op) -> bool {
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

/// The store as a model.
fn observed(store: &Store) -> Model {
    let group = |view: &floodway::store::view::GroupView| {
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
    let views = store.views();
    let key = |view: &floodway::store::view::GroupView| {
        view.key.labels().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    };
    Model(views.iter().map(|view| (key(view), group(view))).collect())
}

#[derive(Debug)]
struct Event {
    op: Op,
    answer: bool,
    began: usize,
    ended: usize,
}

/// Whether some serial order of `events`, true to their real-time order, explains answers and end.
fn explained(events: &[Event], end: &Model) -> bool {
    fn search(
        events: &[Event],
        done: u32,
        model: &Model,
        end: &Model,
        seen: &mut HashSet<u64>,
        hasher: &RandomState,
    ) -> bool {
        if done.count_ones() as usize == events.len() {
            return model == end;
        }
        if !seen.insert(hasher.hash_one((done, model))) {
            return false;
        }
        let left = |at: &usize| done & 1 << at == 0;
        // Whatever ended before another began comes first.
        let first_end = (0..events.len()).filter(left).map(|at| events[at].ended).min().unwrap();
        let next = (0..events.len()).filter(left).filter(|at| events[*at].began < first_end);
        next.into_iter().any(|at| {
            let mut after = model.clone();
            let answer = after.apply(&events[at].op);
            answer == events[at].answer && search(events, done | 1 << at, &after, end, seen, hasher)
        })
    }
    search(events, 0, &Model::default(), end, &mut HashSet::new(), &RandomState::new())
}

const KEYS: &[&[(&str, &str)]] = &[
    &[("job", "j")],
    &[("job", "j"), ("instance", "")],
    &[("job", "j"), ("instance", "i")],
    &[("job", "j"), ("x", "1")],
    &[("job", "j"), ("instance", "i"), ("x", "1")],
];

const BODIES: &[&str] = &[
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

/// xorshift; histories must be repeatable from their seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn op(&mut self, keys: usize, bodies: usize, value: usize) -> Op {
        let key = KEYS[self.roll(keys)];
        match self.roll(8) {
            0 => Op::Delete(key),
            roll => {
                let mode = if roll < 4 { Mode::ReplaceGroup } else { Mode::ReplaceFamilies };
                Op::Push(mode, key, BODIES[self.roll(bodies)].replace('N', &value.to_string()))
            }
        }
    }
}

/// Runs one history and returns it with the store's state at its end.
fn history(seed: u64, threads: usize, ops: usize) -> (Vec<Event>, Model) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    dice.roll(2);
    let (keys, bodies) = (2 + dice.roll(KEYS.len() - 1), 3 + dice.roll(BODIES.len() - 2));
    let mut value = 0;
    let plans: Vec<Vec<Op>> = (0..threads)
        .map(|_| {
            (0..ops)
                .map(|_| {
                    value += 1;
                    dice.op(keys, bodies, value)
                })
                .collect()
        })
        .collect();
    let store = Store::new(true, []);
    let (clock, start) = (AtomicUsize::new(0), std::sync::Barrier::new(threads));
    let mut events = Vec::new();
    std::thread::scope(|scope| {
        let run = |plan: Vec<Op>| {
            let (store, clock, start) = (&store, &clock, &start);
            scope.spawn(move || {
                start.wait();
                let one = |op: Op| {
                    let began = clock.fetch_add(1, Ordering::SeqCst);
                    let answer = apply(store, &op);
                    Event { op, answer, began, ended: clock.fetch_add(1, Ordering::SeqCst) }
                };
                plan.into_iter().map(one).collect::<Vec<_>>()
            })
        };
        let running: Vec<_> = plans.into_iter().map(run).collect();
        events.extend(running.into_iter().flat_map(|thread| thread.join().unwrap()));
    });
    (events, observed(&store))
}

#[test]
fn every_concurrent_history_has_a_serial_explanation() {
    for seed in 1..=3_000 {
        let (events, end) = history(seed, 4, 3);
        assert!(explained(&events, &end), "seed {seed}: no serial order explains\n{events:#?}\nend {end:#?}");
    }
}

/// One thread: the store must agree with the model step by step, over much longer histories.
#[test]
fn a_serial_history_agrees_with_the_model_at_each_step() {
    for seed in 1..=40 {
        let mut dice = Dice(seed * 7919);
        let (store, mut model) = (Store::new(true, []), Model::default());
        for step in 0..150 {
            let op = dice.op(KEYS.len(), BODIES.len(), step);
            let (answer, expected) = (apply(&store, &op), model.apply(&op));
            assert_eq!(answer, expected, "seed {seed} step {step}: {op:?} on {model:#?}");
            assert_eq!(observed(&store), model, "seed {seed} step {step}: {op:?}");
        }
        let series: usize =
            model.0.values().flat_map(|group| group.values()).map(|family| family.1.len()).sum();
        assert_eq!(store.series_count(), series as u64);
        assert_eq!(store.groups_count(), model.0.len() as u64);
    }
}

/// The checker itself must be able to say no.
#[test]
fn an_impossible_history_is_found_out() {
    let push = |body: &str| Op::Push(Mode::ReplaceGroup, KEYS[0], body.to_string());
    let event = |op, answer, began| Event { op, answer, began, ended: began + 1 };
    let refused = [event(push("a 1\n"), true, 0), event(push("a 2\n"), false, 2)];
    let mut end = Model::default();
    end.apply(&push("a 1\n"));
    assert!(!explained(&refused, &end));
    let lost = [event(push("a 1\n"), true, 0), event(push("a 2\n"), true, 2)];
    assert!(!explained(&lost, &end));
    end.apply(&push("a 2\n"));
    assert!(explained(&lost, &end));
}

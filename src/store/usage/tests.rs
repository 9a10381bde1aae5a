//! The counters against a naive recount, after random operations and under threads; and what limits let
//! pass and refuse.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::super::claims::NAME_BYTES;
use super::super::keys::Keys;
use super::super::life::Life;
use super::super::restore::Kept;
use super::super::{Mode, Store};
use super::*;
use crate::clock::UnixNanos;
use crate::model::{Detail, Families, NameRules};
use crate::parse::text;

fn key(job: usize, instance: usize) -> GroupingKey {
    GroupingKey::new(["a", "b", "c"][job % 3], [("instance", ["0", "1", "2", "3"][instance % 4])])
}

/// A body of `families` families of two series each, `wording` in its comments, as a text that leaves a
/// template.
fn body(families: usize, wording: usize) -> String {
    let comment = format!("# {}\n", "x".repeat(wording));
    let lines = (0..families).map(|at| format!("m{at}{{x=\"1\"}} 1\nm{at}{{x=\"2\"}} 2\n"));
    comment + &lines.collect::<String>()
}

fn push(store: &Store, mode: Mode, key: &GroupingKey, body: &str, detail: usize) -> Result<(), Reason> {
    if detail == 0 && store.push_known(mode, key, body.as_bytes(), UnixNanos(1)) {
        return Ok(());
    }
    let mut families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
    let is_text = detail == 0;
    if !is_text && !families.series.is_empty() {
        families.samples.clear();
        families.details = vec![Detail { series: 0, message: vec![7; detail].into() }];
    }
    let body = Some(body.as_bytes()).filter(|_| is_text);
    store.push(mode, key, &families, body, UnixNanos(1)).map_err(|refusal| refusal.reason)
}

fn limited(limits: StoreLimits) -> Store {
    Store::new(true, []).with_limits(StoreLimits { job_series: limits.job_series.min(1 << 60), ..limits })
}

/// Everything counted from the states themselves.
fn check(store: &Store) {
    let (mut groups, mut series, mut bytes) = (0, 0, 0);
    let mut jobs: BTreeMap<String, Held> = BTreeMap::new();
    let mut shared: HashMap<*const u8, usize> = HashMap::new();
    let mut names: BTreeSet<String> = BTreeSet::new();
    for group in store.groups() {
        let state = group.load().unwrap();
        groups += 1;
        series += state.series_count() as u64;
        let job = jobs.entry(group.key.job().to_owned()).or_default();
        job.groups += 1;
        job.series += state.series_count() as i64;
        job.lines += state.line_count() as i64;
        bytes += group_bytes(&group.key);
        names.extend(state.families().map(|(held, _, family)| held.block.shape.name(family).to_owned()));
        for held in &state.blocks {
            bytes += own_bytes(&held.block);
            shared.insert(Arc::as_ptr(&held.block.shape).cast(), held.block.shape.tally.bytes());
            if let Some(template) = &held.block.template {
                shared.insert(Arc::as_ptr(template).cast(), template.tally.bytes());
            }
        }
    }
    bytes += shared.values().sum::<usize>() as i64 + names.len() as i64 * NAME_BYTES;
    let usage = store.usage();
    assert_eq!((usage.groups(), usage.series(), usage.bytes()), (groups, series, bytes as u64));
    assert_eq!(usage.jobs().all(), jobs);
    if let Some(fullest) = usage.fullest_job() {
        assert_eq!(fullest, jobs.values().map(|held| held.series).max().unwrap_or(0) as u64);
    }
    let limits = usage.limits();
    assert!(groups <= limits.groups && series <= limits.series);
    assert!(jobs.values().all(|held| held.series as u64 <= limits.job_series));
}

#[derive(Clone, Debug)]
enum Op {
    Push { replaces: bool, job: usize, instance: usize, families: usize, wording: usize, detail: usize },
    Delete { job: usize, instance: usize },
    Wipe,
}

fn op() -> impl Strategy<Value = Op> {
    let push = (any::<bool>(), 0..3_usize, 0..4_usize, 0..5_usize, 0..3_usize, 0..3_usize).prop_map(
        |(replaces, job, instance, families, wording, detail)| Op::Push {
            replaces,
            job,
            instance,
            families,
            wording: wording * 50,
            detail: detail * 40,
        },
    );
    let delete = (0..3_usize, 0..4_usize).prop_map(|(job, instance)| Op::Delete { job, instance });
    prop_oneof![12 => push, 3 => delete, 1 => Just(Op::Wipe)]
}

fn apply(store: &Store, op: &Op) -> Result<(), Reason> {
    match *op {
        Op::Push { replaces, job, instance, families, wording, detail } => {
            let mode = if replaces { Mode::ReplaceGroup } else { Mode::ReplaceFamilies };
            return push(store, mode, &key(job, instance), &body(families, wording), detail);
        }
        Op::Delete { job, instance } => {
            store.delete(&key(job, instance));
        }
        Op::Wipe => {
            store.wipe();
        }
    }
    Ok(())
}

/// Small enough that random operations reach each of them.
fn tight() -> StoreLimits {
    StoreLimits { groups: 6, series: 25, job_series: 12, memory: 14_000, ..StoreLimits::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn counters_are_a_recount(ops in proptest::collection::vec(op(), 1..60)) {
        let (open, tight) = (limited(StoreLimits::default()), limited(tight()));
        for op in &ops {
            prop_assert_eq!(apply(&open, op), Ok(()));
            check(&open);
            let before = (tight.usage().groups(), tight.usage().series(), tight.usage().bytes());
            let result = apply(&tight, op);
            check(&tight);
            let after = (tight.usage().groups(), tight.usage().series(), tight.usage().bytes());
            prop_assert!(after.2 <= 14_000 || after.1 <= before.1);
            if let Err(reason) = result {
                prop_assert!(matches!(reason, Reason::Full(_)));
                prop_assert_eq!(before, after);
            }
        }
        open.wipe();
        tight.wipe();
        for store in [open, tight] {
            let usage = store.usage();
            prop_assert_eq!((usage.groups(), usage.series(), usage.bytes()), (0, 0, 0));
        }
    }
}

#[test]
fn counters_are_a_recount_after_threads() {
    for (round, limits) in [StoreLimits::default(), tight(), tight()].into_iter().enumerate() {
        let store = limited(limits);
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let store = &store;
                scope.spawn(move || {
                    let mut seed = (round * 7 + thread + 1) as u64;
                    let mut next = |below: u64| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        ((seed >> 33) % below) as usize
                    };
                    let rounds = if cfg!(miri) { 30 } else { 3000 };
                    for _ in 0..rounds {
                        let (job, instance) = (next(3), next(4));
                        let op = match next(16) {
                            0 => Op::Wipe,
                            1..4 => Op::Delete { job, instance },
                            n => Op::Push {
                                replaces: n % 2 == 0,
                                job,
                                instance,
                                families: next(5),
                                wording: next(3) * 50,
                                detail: next(3) * 40,
                            },
                        };
                        let _ = apply(store, &op);
                        let usage = store.usage();
                        assert!(usage.groups() <= limits.groups && usage.series() <= limits.series);
                    }
                });
            }
        });
        check(&store);
        store.wipe();
        check(&store);
        assert_eq!(store.usage().bytes(), 0);
    }
}

#[test]
fn of_those_that_race_for_the_last_room_as_many_pass_as_fit() {
    let names = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let (groups, series) = (StoreLimits::default(), StoreLimits::default());
    for limits in [
        StoreLimits { groups: 5, ..groups },
        StoreLimits { series: 11, ..series },
        StoreLimits { job_series: 10, ..series },
    ] {
        let rounds = if cfg!(miri) { 2 } else { 200 };
        for _ in 0..rounds {
            let store = Store::new(true, []).with_limits(limits);
            let passed = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let (store, passed) = (&store, &passed);
                    scope.spawn(move || {
                        for name in names.iter().skip(thread).step_by(4) {
                            let key = GroupingKey::new("j", [("instance", *name)]);
                            let pushed = push(store, Mode::ReplaceGroup, &key, &body(1, 0), 0);
                            passed.fetch_add(usize::from(pushed.is_ok()), Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(passed.into_inner(), 5, "{limits:?}");
            assert_eq!(store.usage().groups(), 5);
        }
    }
}

#[test]
fn a_refused_push_names_its_limit_and_leaves_no_trace() {
    let default = StoreLimits::default();
    let one = key(0, 0);
    for (limits, reason, text) in [
        (StoreLimits { groups: 1, ..default }, Limit::Groups, "1 groups are held already (--limit.groups)"),
        (
            StoreLimits { series: 3, ..default },
            Limit::Series,
            "2 series are held, and the push adds 2 (--limit.series)",
        ),
        (
            StoreLimits { job_series: 3, ..default },
            Limit::JobSeries,
            "2 series of job \"a\" are held, and the push adds 2 (--limit.job-series)",
        ),
        (StoreLimits { memory: 3000, ..default }, Limit::Memory, "(--limit.memory)"),
        (
            StoreLimits { name_sets: 1, ..default },
            Limit::GroupingNameSets,
            "1 different sets of grouping label names are in use (--limit.grouping-name-sets)",
        ),
    ] {
        let store = Store::new(true, []).with_limits(limits);
        push(&store, Mode::ReplaceGroup, &one, &body(1, 0), 0).unwrap();
        let other = GroupingKey::new("a", [("instance", "x"), ("shard", "1")]);
        let second = format!("n {{y=\"{}\"}} 1\nn 2\n", "z".repeat(1000));
        let families = text::parse(second.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        let refusal = store.push(Mode::ReplaceGroup, &other, &families, None, UnixNanos(2)).unwrap_err();
        assert_eq!(refusal.reason, Reason::Full(reason));
        assert!(refusal.text.ends_with(text), "{}", refusal.text);
        assert!(store.state_of(&other).is_none());
        check(&store);
        if reason == Limit::Groups || reason == Limit::GroupingNameSets {
            // Nor is there room for the note that a push failed.
            store.stamp_failure(&other, UnixNanos(3));
            assert!(store.state_of(&other).is_none());
        }
        push(&store, Mode::ReplaceGroup, &one, &body(1, 0).replace("} 1", "} 5"), 0).unwrap();
        store.delete(&one);
        check(&store);
    }
}

#[test]
fn what_was_restored_over_a_limit_can_shrink_and_not_grow() {
    let limits = StoreLimits { groups: 1, series: 3, job_series: 3, memory: 500, name_sets: 1, ..tight() };
    let push_limits = PushLimits { families: 1, series: 2, labels: 1, value_bytes: 1 };
    let store = Store::new(true, []).with_limits(StoreLimits { push: push_limits, ..limits });
    let source = Store::new(true, []);
    for instance in 0..2 {
        let key = match instance {
            0 => key(0, 0),
            _ => GroupingKey::new("a", [("shard", "more than one byte")]),
        };
        let text = body(3, 0);
        let families = text::parse(text.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        let block = source.block(&key, &families, None, UnixNanos(1)).unwrap();
        let times = (UnixNanos(1), UnixNanos::NEVER);
        store
            .restore(Kept {
                key,
                blocks: vec![block],
                push_time: times.0,
                failure_time: times.1,
                life: Life::default(),
                keys: Keys::default(),
            })
            .unwrap();
    }
    let exceeded: Vec<Limit> = store.usage().exceeded().collect();
    assert_eq!(exceeded, [Limit::Groups, Limit::Series, Limit::JobSeries, Limit::Memory]);
    assert_eq!((store.usage().groups(), store.usage().series()), (2, 12));
    let one_family = "m0{x=\"1\"} 1\n";
    let put = |body: &str| push(&store, Mode::ReplaceGroup, &key(0, 0), body, 0);
    // Smaller than it was, but over what one push may be.
    let over = |limit| Err(Reason::TooLarge(limit));
    assert_eq!(put(&body(2, 0)), over(Limit::PushFamilies));
    assert_eq!(put("m0{x=\"1\"} 1\nm0{x=\"2\"} 1\nm0{x=\"3\"} 1\n"), over(Limit::PushSeries));
    assert_eq!(put(one_family), over(Limit::SeriesLabels));
    assert!(store.delete(&GroupingKey::new("a", [("shard", "more than one byte")])));
    assert!(store.delete(&key(0, 0)));
    assert_eq!(store.usage().bytes(), 0);
}

#[test]
fn a_group_can_always_be_replaced_by_a_smaller_one() {
    let store = limited(StoreLimits::default());
    for instance in 0..4 {
        push(&store, Mode::ReplaceGroup, &key(0, instance), &body(4, instance * 10), 0).unwrap();
    }
    // As after a restart with lower limits.
    let usage = Usage {
        limits: StoreLimits { groups: 1, series: 3, job_series: 3, memory: 500, ..tight() },
        ..store.usage
    };
    let store = Store { usage, ..store };
    for families in [3, 2, 1, 0] {
        for instance in 0..4 {
            let put = |families| {
                push(&store, Mode::ReplaceGroup, &key(0, instance), &body(families, instance * 10), 0)
            };
            assert_eq!(put(families), Ok(()), "{families}");
            assert!(matches!(put(families + 1), Err(Reason::Full(_))), "{families}");
        }
    }
    for instance in 0..4 {
        assert!(store.delete(&key(0, instance)));
    }
    assert_eq!(store.usage().bytes(), 0);
}

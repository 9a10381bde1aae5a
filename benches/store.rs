//! What storing a push costs: keys, a known shape, a new one, a change checked against other groups.
//!
//! Each case asserts what the store holds afterwards, so none can be fast by doing nothing.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use floodway::clock::UnixNanos;
use floodway::model::{Families, GroupingKey, NameRules};
use floodway::parse::{push_path, text};
use floodway::store::{Mode, Store};

/// 100 series in ten families, none of which another `kind` has.
fn body(kind: &str, value: usize) -> String {
    let mut body = String::new();
    for family in 0..10 {
        let name = format!("batch_{kind}_stage_{family}_records_total");
        let _ = write!(body, "# HELP {name} What the stage did.\n# TYPE {name} counter\n");
        for shard in 0..10 {
            let _ = writeln!(body, "{name}{{shard=\"{shard}\",region=\"eu-west-1\"}} {}", value + shard);
        }
    }
    body
}

fn key(instance: usize) -> GroupingKey {
    GroupingKey::new("nightly_report", [("instance", &*format!("worker-{instance}"))])
}

fn push(store: &Store, key: &GroupingKey, body: &str) {
    let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).expect("well-formed");
    let stored = store.push(Mode::ReplaceGroup, key, &families, Some(body.as_bytes()), UnixNanos(1));
    stored.expect("nothing contradicts it");
}

fn filled(groups: usize) -> Store {
    let store = Store::new(true, []);
    (0..groups).for_each(|group| push(&store, &key(group), &body("a", group)));
    assert_eq!(store.series_count(), 100 * groups as u64);
    store
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key");
    group.bench_function("build", |bencher| {
        bencher.iter(|| {
            let key = GroupingKey::new(black_box("nightly_report"), [("instance", "worker-1"), ("dc", "eu")]);
            assert_eq!(key.len(), 3);
            key
        })
    });
    group.bench_function("from a path", |bencher| {
        let expected = GroupingKey::new("nightly_report", [("instance", "worker-1"), ("dc", "eu west")]);
        bencher.iter(|| {
            let rest = black_box(b"/instance/worker-1/dc/eu west".as_slice());
            let key = push_path::grouping_key(b"nightly_report", false, rest, NameRules::Legacy);
            assert_eq!(key.as_ref(), Ok(&expected));
            key
        })
    });
    for groups in [1, 10_000] {
        let (store, mut at) = (filled(groups), 0);
        let keys: Vec<GroupingKey> = (0..groups).map(key).collect();
        group.bench_function(format!("find among {groups}"), |bencher| {
            bencher.iter(|| {
                at = (at + 7919) % groups;
                assert!(store.state_of(black_box(&keys[at])).is_some());
            })
        });
    }
    group.finish();
}

fn known_shapes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store 100 series");
    let bodies = [body("a", 1000), body("a", 2000)];
    group.throughput(Throughput::Bytes(bodies[0].len() as u64));
    for groups in [1, 10_000] {
        let (store, mut at, mut turn) = (filled(groups), 0, 0);
        let keys: Vec<GroupingKey> = (0..groups).map(key).collect();
        group.bench_function(format!("known shape, {groups} groups"), |bencher| {
            bencher.iter(|| {
                (at, turn) = ((at + 7919) % groups, turn + 1);
                let body = black_box(&bodies[turn % 2]).as_bytes();
                assert!(store.push_known(Mode::ReplaceGroup, &keys[at], body, UnixNanos(2)));
            })
        });
        assert_eq!(store.series_count(), 100 * groups as u64);
    }
    group.finish();
}

/// Two shapes in turns, so that each push changes what the group holds and is checked against the others.
fn changes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("consistency");
    let bodies = [body("a", 1), body("b", 2)];
    let families = bodies.each_ref().map(|body| {
        text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).expect("well-formed")
    });
    for groups in [1, 10_000] {
        let (store, mut turn) = (filled(groups), 0);
        let key = key(0);
        group.bench_function(format!("100 series change, {groups} groups"), |bencher| {
            bencher.iter(|| {
                turn += 1;
                let families = black_box(&families[turn % 2]);
                let stored = store.push(Mode::ReplaceGroup, &key, families, None, UnixNanos(3));
                assert!(stored.is_ok());
            })
        });
        assert_eq!(store.series_count(), 100 * groups as u64);
    }
    let (store, rival) = (filled(10_000), "batch_a_stage_0_records_total 1\n# TYPE other gauge\nother 1\n");
    let families =
        text::parse(rival.as_bytes(), NameRules::Legacy, Families::default()).expect("well-formed");
    let (key, before) = (GroupingKey::new("rival", []), store.series_count());
    group.bench_function("refusal, 10000 groups", |bencher| {
        bencher.iter(|| {
            let refused = store.push(Mode::ReplaceGroup, &key, black_box(&families), None, UnixNanos(4));
            assert!(refused.is_err(), "a counter's name was pushed as untyped");
        })
    });
    assert_eq!(store.series_count(), before);
    group.bench_function("delete and store again, 10000 groups", |bencher| {
        let key = self::key(5);
        let body = body("a", 5);
        let families =
            text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).expect("well-formed");
        bencher.iter_batched(
            || (),
            |()| {
                assert!(store.delete(&key));
                let stored = store.push(Mode::ReplaceGroup, &key, &families, None, UnixNanos(5));
                assert!(stored.is_ok());
            },
            BatchSize::SmallInput,
        )
    });
    group.finish();
}

criterion_group!(benches, keys, known_shapes, changes);
criterion_main!(benches);

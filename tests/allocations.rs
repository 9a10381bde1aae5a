//! How many times a push allocates, counted by the allocator of this test's process.
//!
//! One test, since all threads of the process are counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use floodway::clock::Now;
use floodway::format::float::parse_float;
use floodway::gateway::{Gateway, Mode, Settings};
use floodway::model::{Families, GroupingKey, NameRules};
use floodway::parse::text;
use floodway::telemetry::Telemetry;
use floodway::wire::{push_bytes_field, push_double_field, push_varint, push_varint_field};

/// What a push of a known shape allocates, whatever it holds: its values, the block they stand in, the
/// group's new state.
const KNOWN_SHAPE: usize = 3;

/// The same with messages that are kept as they came: where they are in the body, and they themselves with
/// where each ends.
const KEPT: usize = KNOWN_SHAPE + 3;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The least that `work` allocated in many tries: other threads of the process may allocate meanwhile.
fn allocations(mut work: impl FnMut(usize)) -> usize {
    let tries = (0..1000).map(|turn| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        work(turn);
        ALLOCATIONS.load(Ordering::Relaxed) - before
    });
    tries.min().unwrap()
}

fn body(series: usize, value: usize) -> Bytes {
    let line = |at| format!("batch_records_total{{shard=\"{at}\",region=\"eu-west-1\"}} {value}\n");
    let lines: String = (0..series).map(line).collect();
    format!("# HELP batch_records_total What it did.\n# TYPE batch_records_total counter\n{lines}").into()
}

const DELIMITED: &[u8] =
    b"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The same as delimited protobuf; with created times as clients write them, where `created` is one.
fn messages(series: usize, value: usize, created: Option<u64>) -> Bytes {
    let mut family = Vec::new();
    push_bytes_field(&mut family, 1, b"batch_records_total");
    push_bytes_field(&mut family, 2, b"What it did.");
    push_varint_field(&mut family, 3, 0);
    for at in 0..series {
        let (mut label, mut counter, mut metric) = (Vec::new(), Vec::new(), Vec::new());
        push_bytes_field(&mut label, 1, b"shard");
        push_bytes_field(&mut label, 2, at.to_string().as_bytes());
        push_double_field(&mut counter, 1, value as f64);
        if let Some(created) = created {
            let mut time = Vec::new();
            push_varint_field(&mut time, 1, created);
            push_bytes_field(&mut counter, 3, &time);
        }
        push_bytes_field(&mut metric, 1, &label);
        push_bytes_field(&mut metric, 3, &counter);
        push_bytes_field(&mut family, 4, &metric);
    }
    let mut body = Vec::new();
    push_varint(&mut body, family.len() as u64);
    body.extend(family);
    body.into()
}

#[test]
fn what_a_push_allocates() {
    for series in [1, 100, 1000] {
        let gateway = Gateway::new(Settings::default(), Arc::new(Telemetry::new(1))).unwrap();
        let key = GroupingKey::new("nightly", [("instance", "worker-1")]);
        let bodies = [body(series, 1), body(series, 2)];
        for (content_type, bodies, allocates) in [
            (None, bodies.clone(), KNOWN_SHAPE),
            (Some(DELIMITED), [1, 2].map(|value| messages(series, value, None)), KNOWN_SHAPE),
            (Some(DELIMITED), [1, 999].map(|value| messages(series, value, Some(value as u64))), KEPT),
        ] {
            let push = |turn: usize| {
                gateway.push(Mode::ReplaceGroup, &key, content_type, &bodies[turn % 2], Now::read()).unwrap();
            };
            push(0);
            push(1);
            assert_eq!(allocations(push), allocates, "a push of {series} series of a known shape");
            assert_eq!(gateway.groups()[0].series_count(), series);
        }

        let mut warm = Some(Families::default());
        let parse = |turn: usize| {
            let families =
                text::parse(&bodies[turn % 2], NameRules::Legacy, warm.take().unwrap_or_default()).unwrap();
            assert_eq!(families.samples.len(), series);
            warm = Some(families.recycle());
        };
        assert_eq!(allocations(parse), 0, "parsing {series} series into vectors that are there");
    }
    assert_eq!(allocations(|turn| assert!(parse_float([b"1.5e-07", b"1795248"][turn % 2]).is_some())), 0);
}

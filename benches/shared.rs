//! What plugins share between workers, by itself: calls per second of one thread and of eight, at one key and
//! at keys of their own.
//!
//! Eight threads add to one number ten million times, and it is exactly that much afterwards, or this fails.
//! `cargo bench --bench shared` prints a table for the README.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use floodway::clock::Now;
use floodway::plugin::shared::{Bucket, Dict, Distinct, Taken, Tick, Value};

const THREADS: usize = 8;
const CALLS: usize = 10_000_000;

/// Millions of calls per second of `threads` that share `calls`.
fn rate(threads: usize, calls: usize, call: impl Fn(usize, usize) + Sync) -> f64 {
    let begun = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            let call = &call;
            scope.spawn(move || (0..calls / threads).for_each(|round| call(thread, round)));
        }
    });
    calls as f64 / begun.elapsed().max(Duration::from_nanos(1)).as_secs_f64() / 1e6
}

fn row(
    what: &str,
    calls: usize,
    one_key: impl Fn(usize, usize) + Sync,
    own_keys: impl Fn(usize, usize) + Sync,
) {
    let alone = rate(1, calls, |_, round| one_key(0, round));
    let contended = rate(THREADS, calls, one_key);
    let apart = rate(THREADS, calls, own_keys);
    println!("| {what} | {alone:.1} | {contended:.1} | {apart:.1} |");
}

fn main() {
    let now = Tick::of(Now::read());
    let keys: Vec<String> = (0..THREADS).map(|thread| format!("key of thread {thread}")).collect();
    let own = |thread: usize| keys[thread].as_bytes();
    println!(
        "Millions of calls per second, {} cores\n",
        thread::available_parallelism().map_or(1, usize::from)
    );
    println!("| | one thread | {THREADS} threads, one key | {THREADS} threads, own keys |");
    println!("| --- | ---: | ---: | ---: |");

    let dict = Dict::new(1000);
    let incr = |key: &[u8]| {
        black_box(dict.change(key, |number| number + 1.0, 1.0, None, now).expect("room"));
    };
    row("`d:incr`", CALLS, |_, _| incr(b"one"), |thread, _| incr(own(thread)));
    assert_eq!(dict.get(b"one", now), Some(Value::Number(2.0 * CALLS as f64)), "updates were lost");
    let get = |key: &[u8]| {
        black_box(dict.get(key, now));
    };
    row("`d:get`", CALLS, |_, _| get(b"one"), |thread, _| get(own(thread)));
    let text = Value::Text(b"some text".as_slice().into());
    let set = |key: &[u8]| dict.set(key, &text, None).expect("room");
    row("`d:set`, a string", CALLS / 10, |_, _| set(b"one"), |thread, _| set(own(thread)));

    let bucket = Bucket::new(1e9, 1e9, 1000);
    let passed = AtomicU64::new(0);
    let take = |key: &[u8]| {
        if bucket.take(key, 100.0, now) == Taken::Yes {
            passed.fetch_add(1, Ordering::Relaxed);
        }
    };
    row("`b:take`", CALLS, |_, _| take(b"one"), |thread, _| take(own(thread)));
    // One key and those of eight threads hold 10^9 tokens each; those of the threads were not used up.
    assert_eq!(passed.into_inner(), (1e9 / 100.0) as u64 + CALLS as u64, "tokens were lost or made");

    let distinct = Distinct::new(3600.0, 1000);
    let add = |key: &[u8], item: usize| {
        black_box(distinct.add(key, &item.to_le_bytes(), now));
    };
    row(
        "`x:add`, 1,000 items",
        CALLS / 100,
        |_, round| add(b"one", round % 1000),
        |thread, round| add(own(thread), round % 1000),
    );
}

//! What a push of a known shape costs one worker while another pushes too: the store alone, no sockets.
//!
//! Cores that touch the same memory wait for each other, so what this prints for two workers, less what it
//! prints for one, is the store's own part of what a second worker costs. Groups of one shape share it; each
//! worker pushes to groups of its own, as jobs do that keep their connection, or both push to all of them.
//! Every case ends with a look at what each group holds. `cargo bench --bench workers` prints a table.

use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use floodway::clock::UnixNanos;
use floodway::model::{Families, GroupingKey, NameRules};
use floodway::parse::text;
use floodway::store::{Mode, Store};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const GROUPS: usize = 1000;
const PUSHES: usize = 300_000;
const ROUNDS: usize = 7;
const BODIES: usize = 16;

fn body(series: usize, value: usize) -> String {
    let mut body = String::new();
    for family in 0..series.div_ceil(10) {
        let name = format!("batch_job_stage_{family}_records_total");
        let _ = write!(body, "# HELP {name} What stage {family} of the job did.\n# TYPE {name} counter\n");
        for shard in 0..series.min(10) {
            let _ = writeln!(
                body,
                "{name}{{shard=\"{shard}\",region=\"eu-west-1\",status=\"succeeded\"}} {value}"
            );
        }
    }
    body
}

fn keys() -> Vec<GroupingKey> {
    let key = |at| GroupingKey::new("nightly_report", [("instance", &*format!("worker-{at}"))]);
    (0..GROUPS).map(key).collect()
}

fn filled(series: usize) -> Store {
    let (store, body) = (Store::new(true, []), body(series, 99));
    let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).expect("well-formed");
    for key in keys() {
        let stored = store.push(Mode::ReplaceGroup, &key, &families, Some(body.as_bytes()), UnixNanos(1));
        stored.expect("nothing contradicts it");
    }
    store
}

/// Nanoseconds that this thread has run, by the scheduler.
fn cpu_nanos() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|field| field.parse().ok()).expect("a number")
}

/// Nanoseconds of CPU per push of `workers` threads, of which each pushes to every `step`-th group.
fn cost(store: &Store, series: usize, workers: usize, step: usize) -> f64 {
    let (begin, keys) = (Barrier::new(workers), keys());
    let spent: u64 = thread::scope(|scope| {
        let work = |worker: usize| {
            let (begin, keys) = (&begin, &keys);
            scope.spawn(move || {
                // Each worker reads bodies of its own, and knows keys by its own copies.
                let bodies: Vec<String> = (0..BODIES).map(|at| body(series, 100 + at)).collect();
                let own: Vec<GroupingKey> = keys.iter().skip(worker % step).step_by(step).cloned().collect();
                begin.wait();
                let before = cpu_nanos();
                for turn in 0..PUSHES {
                    let body = black_box(&bodies[turn % BODIES]).as_bytes();
                    // Workers that share groups begin at different ones.
                    let key = &own[(turn + worker * GROUPS / 2) % own.len()];
                    assert!(store.push_known(Mode::ReplaceGroup, key, body, UnixNanos(2)), "another shape");
                }
                cpu_nanos() - before
            })
        };
        let threads: Vec<_> = (0..workers).map(work).collect();
        threads.into_iter().map(|thread| thread.join().expect("no assertion failed")).sum()
    });
    for key in &keys {
        let state = store.state_of(key).expect("nobody deletes");
        let values = &state.blocks[0].block.values;
        let value = f64::from_bits(values[0]);
        assert!(values.len() == series && (99.0..100.0 + BODIES as f64).contains(&value), "{value}");
        assert!(values.iter().all(|other| *other == values[0]), "a push was seen in part");
    }
    spent as f64 / (workers * PUSHES) as f64
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    println!(
        "Nanoseconds of CPU per push, and times those of one worker alone, medians of {ROUNDS} rounds\n"
    );
    println!("| samples | one worker | two, groups of their own | two, the same groups |");
    println!("| ---: | ---: | ---: | ---: |");
    for series in [1, 100] {
        let store = filled(series);
        // The three of a round run one after the other, so that what disturbs one disturbs all.
        let rounds: Vec<[f64; 3]> = (0..ROUNDS)
            .map(|_| [(1, 1), (2, 2), (2, 1)].map(|(n, step)| cost(&store, series, n, step)))
            .collect();
        let of = |at: usize| {
            let times = rounds.iter().map(|round| round[at] / round[0]).collect();
            format!("{:.0}, {:.2}", middle(rounds.iter().map(|round| round[at]).collect()), middle(times))
        };
        println!("| {series} | {} | {} | {} |", of(0), of(1), of(2));
    }
}

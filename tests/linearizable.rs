//! Concurrent pushes and deletes against a naive model: every recorded history must have a serial order
//! that explains each answer and the store's state at the end.
//!
//! The model holds everything in plain maps and re-checks all of it on each push, the way the reference
//! does. Histories are made to conflict: names that change type, names that collide with a histogram's
//! lines, series that two groups could own, keys of ever new label names, deletes and re-creation.

#[path = "support/model.rs"]
mod model;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

use floodway::store::{Mode, Store};
use model::{BODIES, KEYS, Model, Op, apply};

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
    (events, model::observed(&store.views()))
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
            assert_eq!(model::observed(&store.views()), model, "seed {seed} step {step}: {op:?}");
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

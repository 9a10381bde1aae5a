//! The end of a lifetime against pushes and deletes at the same moment: every recorded history has a
//! serial order that explains it, and no group that is due is forgotten.
//!
//! A group may end only while its last push says that it is due; a push that comes after the end makes the
//! group anew and is there at the end of the history.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use floodway::clock::{Running, UnixNanos};
use floodway::model::{AtEnd, Families, GroupingKey, Lifetime, NameRules, Term};
use floodway::parse::text;
use floodway::store::life::{Life, Stamp};
use floodway::store::view::ValueView;
use floodway::store::{Mode, Store, Timer};

/// Pushes come at nothing and live for one millisecond or ten; it is five.
const NOW: Running = Running(5_000_000);

#[derive(Clone, Copy, Debug)]
struct Push {
    mode: Mode,
    key: usize,
    family: &'static str,
    value: usize,
    due: bool,
}

#[derive(Clone, Debug)]
enum Op {
    Push(Push),
    /// False if there was no such group.
    Delete(usize, bool),
    /// The housekeeper ended the group.
    Expire(usize),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Group {
    due: bool,
    families: BTreeMap<String, u64>,
}

type Model = BTreeMap<usize, Group>;

/// Applies one operation; false if it cannot have happened here.
fn apply(model: &mut Model, op: &Op) -> bool {
    match op {
        Op::Push(Push { mode, key, family, value, due }) => {
            let group = model.entry(*key).or_default();
            if *mode == Mode::ReplaceGroup {
                group.families.clear();
            }
            group.families.insert((*family).to_owned(), *value as u64);
            group.due = *due;
            true
        }
        Op::Delete(key, was_there) => model.remove(key).is_some() == *was_there,
        Op::Expire(key) => model.remove(key).is_some_and(|group| group.due),
    }
}

#[derive(Debug)]
struct Event {
    op: Op,
    began: usize,
    ended: usize,
}

/// Whether some serial order of `events`, true to their real-time order, leads to `end`.
fn explained(events: &[Event], end: &Model) -> bool {
    type Seen = HashSet<u64>;
    fn search(
        all: &[Event],
        done: u64,
        model: &Model,
        end: &Model,
        seen: &mut Seen,
        by: &RandomState,
    ) -> bool {
        if done.count_ones() as usize == all.len() {
            return model == end;
        }
        if !seen.insert(by.hash_one((done, model))) {
            return false;
        }
        let left = |at: &usize| done & 1 << at == 0;
        let first_end = (0..all.len()).filter(left).map(|at| all[at].ended).min().unwrap();
        let next = (0..all.len()).filter(left).filter(|at| all[*at].began < first_end);
        next.into_iter().any(|at| {
            let mut after = model.clone();
            apply(&mut after, &all[at].op) && search(all, done | 1 << at, &after, end, seen, by)
        })
    }
    search(events, 0, &Model::new(), end, &mut HashSet::new(), &RandomState::new())
}

const NAMES: [&str; 2] = ["a", "b"];

fn key(number: usize) -> GroupingKey {
    GroupingKey::new(NAMES[number], [])
}

fn push(store: &Store, push: &Push) {
    let lifetime = Lifetime::from_millis(if push.due { 1 } else { 10 }).unwrap();
    let life = Life::new(Term { lifetime, action: AtEnd::Remove }, Running(0));
    let stamp = Stamp { at: UnixNanos(push.value as u64), life };
    let body = format!("{} {}\n", push.family, push.value);
    let key = key(push.key);
    if !store.push_known(push.mode, &key, body.as_bytes(), stamp) {
        let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        store.push(push.mode, &key, &families, Some(body.as_bytes()), stamp).unwrap();
    }
}

fn observed(store: &Store) -> Model {
    let group = |view: &floodway::store::view::GroupView| Group {
        due: view.life().due().unwrap() <= NOW,
        families: view
            .families()
            .iter()
            .map(|family| {
                let ValueView::Plain(value) = family.series().next().unwrap().value else { panic!() };
                (family.name.to_owned(), value as u64)
            })
            .collect(),
    };
    let number = |job: &str| NAMES.iter().position(|name| *name == job).unwrap();
    store.views().iter().map(|view| (number(view.key.job()), group(view))).collect()
}

/// Ends what is due until nothing is; one event for each group that ended.
fn tend(store: &Store, timer: &mut Timer, clock: &AtomicUsize, events: &mut Vec<Event>) -> bool {
    let mut any = false;
    loop {
        let began = clock.fetch_add(1, Ordering::SeqCst);
        let Some((group, state)) = store.next_due(timer, NOW) else { return any };
        any = true;
        let number = NAMES.iter().position(|name| *name == group.key.job()).unwrap();
        if store.expire(&group, &state) {
            let op = Op::Expire(number);
            events.push(Event { op, began, ended: clock.fetch_add(1, Ordering::SeqCst) });
        }
    }
}

fn history(seed: u64) -> (Vec<Event>, Model) {
    let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % sides as u64) as usize
    };
    let mut value = 0;
    let mut plan = || -> Vec<Op> {
        let op = |_| {
            value += 1;
            let (key, mode) = (roll(2), roll(2));
            if roll(7) == 0 {
                return Op::Delete(key, false);
            }
            let mode = if mode == 0 { Mode::ReplaceGroup } else { Mode::ReplaceFamilies };
            // A family has one type over all groups; names of their own keep groups apart.
            let family = [["a_x", "a_y"], ["b_x", "b_y"]][key][roll(2)];
            Op::Push(Push { mode, key, family, value, due: roll(3) > 0 })
        };
        (0..4).map(op).collect()
    };
    let plans = [plan(), plan(), plan()];
    let store = Store::new(true, []);
    let (clock, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let start = std::sync::Barrier::new(plans.len() + 1);
    let mut timer = Timer::default();
    let mut events = Vec::new();
    std::thread::scope(|scope| {
        let (store, clock, done, start) = (&store, &clock, &done, &start);
        let pushers = plans.map(|plan| {
            scope.spawn(move || {
                start.wait();
                let one = |op: Op| {
                    let began = clock.fetch_add(1, Ordering::SeqCst);
                    let op = match op {
                        Op::Delete(number, _) => Op::Delete(number, store.delete(&key(number))),
                        Op::Push(one) => {
                            push(store, &one);
                            Op::Push(one)
                        }
                        expire @ Op::Expire(_) => expire,
                    };
                    Event { op, began, ended: clock.fetch_add(1, Ordering::SeqCst) }
                };
                plan.into_iter().map(one).collect::<Vec<_>>()
            })
        });
        let timer = &mut timer;
        let housekeeper = scope.spawn(move || {
            let mut events = Vec::new();
            start.wait();
            while !done.load(Ordering::SeqCst) {
                tend(store, timer, clock, &mut events);
            }
            tend(store, timer, clock, &mut events);
            events
        });
        for pusher in pushers {
            events.extend(pusher.join().unwrap());
        }
        done.store(true, Ordering::SeqCst);
        events.extend(housekeeper.join().unwrap());
    });
    (events, observed(&store))
}

#[test]
fn every_end_has_a_serial_explanation_and_none_is_forgotten() {
    let mut ended = 0;
    for seed in 1..=3_000 {
        let (events, end) = history(seed);
        assert!(explained(&events, &end), "seed {seed}: no serial order explains\n{events:#?}\nend {end:#?}");
        assert!(end.values().all(|group| !group.due), "seed {seed}: forgotten: {end:#?}\n{events:#?}");
        ended += events.iter().filter(|event| matches!(event.op, Op::Expire(_))).count();
    }
    assert!(ended > 1_000, "only {ended} groups ended");
}

/// The checker itself must be able to say no.
#[test]
fn a_push_that_lost_to_an_end_is_found_out() {
    let push = |due, value| Op::Push(Push { mode: Mode::ReplaceGroup, key: 0, family: "a_x", value, due });
    let event = |op, began| Event { op, began, ended: began + 1 };
    let lost = [event(push(true, 1), 0), event(push(false, 2), 2), event(Op::Expire(0), 4)];
    assert!(!explained(&lost, &Model::new()));
    let fine = [event(push(false, 2), 0), event(push(true, 1), 2), event(Op::Expire(0), 4)];
    assert!(explained(&fine, &Model::new()));
}

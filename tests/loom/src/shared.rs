//! The words of plugins' shared state, in every interleaving.
//!
//! A key's place in the map is modelled by a number that says which of a few entries it holds; replacing one
//! is a compare-and-swap on it, as in the map.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::sketch::Sketch;
use crate::words::{Changed, LastUse, Number, Pace, Took};

const NOTHING: usize = usize::MAX;

struct Slot<T> {
    at: AtomicUsize,
    made: AtomicUsize,
    entries: Vec<T>,
}

impl<T> Slot<T> {
    /// A slot that holds the first of these; the others can come after it.
    fn new(entries: Vec<T>) -> Slot<T> {
        Slot { at: AtomicUsize::new(0), made: AtomicUsize::new(1), entries }
    }

    fn load(&self) -> Option<(usize, &T)> {
        let at = self.at.load(Ordering::Acquire);
        self.entries.get(at).map(|entry| (at, entry))
    }

    fn replace(&self, old: usize, new: usize) -> bool {
        self.at.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn fresh(&self) -> usize {
        self.made.fetch_add(1, Ordering::Relaxed)
    }
}

/// A number is added to by one thread while another takes it all away: nothing gets lost between.
#[test]
fn a_number_that_is_taken_away_is_taken_whole() {
    loom::model(|| {
        let slot = Arc::new(Slot::new(vec![Number::new(1.0), Number::new(1.0), Number::new(1.0)]));
        let adder = slot.clone();
        let adder = thread::spawn(move || {
            for _ in 0..2 {
                loop {
                    match adder.load() {
                        Some((_, number)) => match number.change(|n| Some(n + 1.0)) {
                            Changed::To(_) => break,
                            _ => thread::yield_now(),
                        },
                        None => {
                            // The fresh ones hold what is added.
                            if adder.replace(NOTHING, adder.fresh()) {
                                break;
                            }
                        }
                    }
                }
            }
        });
        let mut taken = 0.0;
        let (at, number) = slot.load().unwrap();
        let seen = number.get().unwrap();
        if let Changed::To(last) = number.freeze(|n| n == seen) {
            assert_eq!(last, seen);
            assert!(slot.replace(at, NOTHING));
            taken = last;
        }
        adder.join().unwrap();
        let left = slot.load().map_or(0.0, |(_, number)| number.get().unwrap());
        assert_eq!(taken + left, 3.0);
    });
}

/// Two takers and a sweep meet at a bucket that has filled up: both takes are in the bucket that stays.
#[test]
fn a_bucket_that_is_forgotten_takes_no_takes_along() {
    const NOW: u64 = 100;
    // Three threads that look again and again: without a bound this takes minutes.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let entries = vec![Pace::begun(0, 10), Pace::begun(NOW, 10), Pace::begun(NOW, 10), Pace::begun(NOW, 10)];
        let slot = Arc::new(Slot::new(entries));
        let take = |slot: &Slot<Pace>| {
            let fresh = slot.fresh();
            loop {
                let found = slot.load();
                match found.map(|(_, pace)| pace.take(NOW, 10, 50)) {
                    Some(Took::Yes) => return,
                    Some(Took::Short(_)) => panic!("there is enough"),
                    Some(Took::Gone) | None => {
                        if slot.replace(found.map_or(NOTHING, |found| found.0), fresh) {
                            return;
                        }
                        thread::yield_now();
                    }
                }
            }
        };
        let other = slot.clone();
        let taker = thread::spawn(move || take(&other));
        let other = slot.clone();
        let sweeper = thread::spawn(move || {
            if let Some((at, pace)) = other.load()
                && pace.forget(NOW)
            {
                other.replace(at, NOTHING);
            }
        });
        take(&slot);
        taker.join().unwrap();
        sweeper.join().unwrap();
        assert_eq!(slot.load().unwrap().1.until_full(NOW), 20);
    });
}

/// Whoever was told that something is in use finds it in the map.
#[test]
fn what_is_given_up_is_used_by_nobody() {
    loom::model(|| {
        let slot = Arc::new(Slot::new(vec![LastUse::new(1), LastUse::new(5), LastUse::new(5)]));
        let other = slot.clone();
        let sweeper = thread::spawn(move || {
            if let Some((at, last)) = other.load()
                && last.forget(3)
            {
                other.replace(at, NOTHING);
            }
        });
        let fresh = slot.fresh();
        let used = loop {
            let found = slot.load();
            if let Some((at, _)) = found.filter(|(_, last)| last.touch(5)) {
                break at;
            }
            if slot.replace(found.map_or(NOTHING, |found| found.0), fresh) {
                break fresh;
            }
            thread::yield_now();
        };
        sweeper.join().unwrap();
        let (at, last) = slot.load().unwrap();
        assert!(at == used && !last.is_gone());
    });
}

/// An item that finds a place while another thread goes over to registers is in the registers.
#[test]
fn growing_loses_no_item() {
    // Hashes that lead to three registers.
    const ITEMS: [u64; 3] = [1 << 40, 1 << 63, u64::MAX << 32];
    loom::model(|| {
        let alone = Sketch::default();
        ITEMS.iter().for_each(|item| alone.add(*item, 1));
        let sketch = Arc::new(Sketch::default());
        sketch.add(ITEMS[0], 1);
        let other = sketch.clone();
        let adder = thread::spawn(move || other.add(ITEMS[1], 1));
        sketch.add(ITEMS[2], 1);
        adder.join().unwrap();
        assert_eq!(sketch.count(1), alone.count(1));
    });
}

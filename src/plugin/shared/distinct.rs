//! `gate.distinct`: how many different items a key saw lately.
//!
//! The window goes in thirds: what was added in the running third or the two before it counts. A key that saw
//! up to 64 items takes about 600 bytes; one with more takes 22 KiB more.

use papaya::{Compute, HashMap, Operation};
use rapidhash::quality::GlobalState as Hashing;
use std::hash::BuildHasher;

use super::Tick;
use super::room::Room;
use super::sketch::{STEPS, Sketch};
use super::words::LastUse;

#[derive(Debug)]
struct Seen {
    last: LastUse,
    sketch: Sketch,
}

/// See the module.
#[derive(Debug)]
pub struct Distinct {
    map: HashMap<Box<[u8]>, Box<Seen>, Hashing>,
    room: Room,
    /// Nanoseconds of a third of the window.
    step: u64,
}

impl Distinct {
    /// `window` in seconds.
    pub fn new(window: f64, keys_max: usize) -> Distinct {
        Distinct {
            map: HashMap::with_hasher(Hashing::default()),
            room: Room::new(keys_max),
            step: ((window * 1e9) as u64 / STEPS).max(1),
        }
    }

    /// An empty one with the same options and as much room.
    pub(super) fn beside(&self) -> Distinct {
        Distinct { map: HashMap::with_hasher(Hashing::default()), room: self.room.beside(), step: self.step }
    }

    /// Takes over what `live` has under `key`, whose room is counted already.
    pub(super) fn bring(&self, key: &[u8], live: &Distinct, now: Tick) {
        let guard = live.map.guard();
        let Some(seen) = live.map.get(key, &guard) else { return };
        let Some(last) = seen.last.copy() else { return };
        let seen = Seen { last, sketch: seen.sketch.copy(now.0 / self.step) };
        self.map.insert(key.into(), Box::new(seen), &self.map.guard());
    }

    /// Adds an item and counts; `None` if there is no room for the key.
    pub fn add(&self, key: &[u8], item: &[u8], now: Tick) -> Option<f64> {
        let (hash, step) = (Hashing::default().hash_one(item), now.0 / self.step);
        let guard = self.map.guard();
        loop {
            if let Some(seen) = self.map.get(key, &guard)
                && seen.last.touch(step)
            {
                seen.sketch.add(hash, step);
                return Some(seen.sketch.count(step));
            }
            let is_room = self.room.take();
            let done = self.map.compute(
                key.into(),
                |found| match found {
                    Some((_, seen)) if !seen.last.is_gone() => Operation::Abort(true),
                    None if !is_room => Operation::Abort(false),
                    _ => {
                        let seen = Seen { last: LastUse::new(step), sketch: Sketch::default() };
                        Operation::Insert(Box::new(seen))
                    }
                },
                &guard,
            );
            if is_room && !matches!(done, Compute::Inserted(..)) {
                self.room.give_back();
            }
            if let Compute::Aborted(false) = done {
                return None;
            }
        }
    }

    pub fn count(&self, key: &[u8], now: Tick) -> f64 {
        let guard = self.map.guard();
        self.map.get(key, &guard).map_or(0.0, |seen| seen.sketch.count(now.0 / self.step))
    }

    /// Keys, about: those that saw nothing lately count until they are swept.
    pub fn keys(&self) -> usize {
        self.room.taken()
    }

    /// Forgets keys that saw nothing in the window.
    pub fn sweep(&self, now: Tick) {
        let oldest = (now.0 / self.step).saturating_sub(STEPS - 1);
        let guard = self.map.guard();
        for (key, seen) in self.map.iter(&guard) {
            if seen.last.forget(oldest)
                && let Ok(Some(_)) = self.map.remove_if(&**key, |_, seen| seen.last.is_gone(), &guard)
            {
                self.room.give_back();
            }
        }
    }
}

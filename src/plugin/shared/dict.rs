//! `gate.shared`: values by key, visible to all workers, each call atomic for its key.
//!
//! # Invariants
//!
//! 1. An entry never changes but for the bits of its number. Whatever depends on anything else replaces the
//!    entry by a compare-and-swap on the map's own slot, which fails if another entry is there.
//! 2. A number changes in place, by a compare-and-swap on its bits. A call that does so on an entry that was
//!    replaced meanwhile counts as having come before the replacement: it has seen the entry before that.
//! 3. A number that becomes something else is frozen first, so that no change of it falls between. Others
//!    that meet a frozen number look again: all they can wait for is the one compare-and-swap that puts the
//!    other value there. An entry that only gets another end hands its number on, and freezes nothing.
//! 4. `room` counts the entries in the map and those about to get there.

use std::hash::BuildHasher;
use std::sync::Arc;

use papaya::{Compute, Guard, HashMap, LocalGuard, Operation};
use rapidhash::quality::GlobalState as Hashing;

use super::Tick;
use super::room::Room;
use super::words::{Changed, Number};

/// A value as callers see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Bool(bool),
    Text(Arc<[u8]>),
}

#[derive(Clone, Debug)]
enum Held {
    /// Shared with the entries before and after it that differ in their end alone.
    Number(Arc<Number>),
    Bool(bool),
    Text(Arc<[u8]>),
}

/// See invariant 1.
#[derive(Debug)]
struct Entry {
    held: Held,
    /// From when on it is as good as none.
    until: Option<Tick>,
}

impl Entry {
    fn new(value: &Value, until: Option<Tick>) -> Entry {
        let held = match value {
            Value::Number(number) => Held::Number(Arc::new(Number::new(*number))),
            Value::Bool(is) => Held::Bool(*is),
            Value::Text(text) => Held::Text(text.clone()),
        };
        Entry { held, until }
    }

    /// The value; `None` while a number is being replaced.
    fn value(&self) -> Option<Value> {
        match &self.held {
            Held::Bool(is) => Some(Value::Bool(*is)),
            Held::Text(text) => Some(Value::Text(text.clone())),
            Held::Number(number) => number.get().map(Value::Number),
        }
    }

    fn is_over(&self, now: Tick) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Why a call did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Not {
    /// There is no room for another key.
    Full,
    /// The key holds something that is no number.
    Number,
}

impl Not {
    pub fn word(self) -> &'static str {
        match self {
            Not::Full => "full",
            Not::Number => "type",
        }
    }
}

/// See the module. Times are what the caller says they are.
#[derive(Debug)]
pub struct Dict {
    map: HashMap<Box<[u8]>, Entry, Hashing>,
    room: Room,
}

/// Lets the thread that replaces a frozen number go on; it may wait for this one's core.
fn look_again(round: &mut u32) {
    *round += 1;
    if *round < 32 { std::hint::spin_loop() } else { std::thread::yield_now() }
}

impl Dict {
    pub fn new(keys_max: usize) -> Dict {
        Dict { map: HashMap::with_hasher(Hashing::default()), room: Room::new(keys_max) }
    }

    /// The entry, if its time is not over.
    fn find<'g>(&self, key: &[u8], now: Tick, guard: &'g LocalGuard<'_>) -> Option<&'g Entry> {
        self.map.get(key, guard).filter(|entry| !entry.is_over(now))
    }

    pub fn get(&self, key: &[u8], now: Tick) -> Option<Value> {
        let guard = self.map.guard();
        let mut round = 0;
        loop {
            let value = self.find(key, now, &guard)?.value();
            if value.is_some() {
                return value;
            }
            look_again(&mut round);
        }
    }

    /// An empty one with as much room.
    pub(super) fn beside(&self) -> Dict {
        Dict { map: HashMap::with_hasher(Hashing::default()), room: self.room.beside() }
    }

    /// Takes over what `live` has under `key`, over or not, whose room is counted already.
    pub(super) fn bring(&self, key: &[u8], live: &Dict) {
        let guard = live.map.guard();
        let mut round = 0;
        while let Some(entry) = live.map.get(key, &guard) {
            if let Some(value) = entry.value() {
                self.map.insert(key.into(), Entry::new(&value, entry.until), &self.map.guard());
                return;
            }
            look_again(&mut round);
        }
    }

    /// Puts a value there, whatever was there.
    ///
    /// # Errors
    ///
    /// There is no room for the key.
    pub fn set(&self, key: &[u8], value: &Value, until: Option<Tick>) -> Result<(), Not> {
        match self.put(key, |_| true, value, until, &self.map.guard()) {
            Put::Full => Err(Not::Full),
            _ => Ok(()),
        }
    }

    /// Puts a value there if there is none; false if there is.
    ///
    /// # Errors
    ///
    /// There is no room for the key.
    pub fn add(&self, key: &[u8], value: &Value, until: Option<Tick>, now: Tick) -> Result<bool, Not> {
        match self.put(key, |entry| entry.is_over(now), value, until, &self.map.guard()) {
            Put::Done => Ok(true),
            Put::Occupied => Ok(false),
            Put::Full => Err(Not::Full),
        }
    }

    /// Makes the number under `key` what `next` makes of it; `init` stands for none. `until` holds for an
    /// entry that this makes. `next` runs again when another thread was faster.
    ///
    /// # Errors
    ///
    /// There is no room for the key, or what is there is no number.
    pub fn change(
        &self,
        key: &[u8],
        next: impl Fn(f64) -> f64,
        init: f64,
        until: Option<Tick>,
        now: Tick,
    ) -> Result<f64, Not> {
        let guard = self.map.guard();
        let mut round = 0;
        loop {
            let Some(entry) = self.find(key, now, &guard) else {
                let value = Value::Number(init);
                match self.put(key, |entry| entry.is_over(now), &value, until, &guard) {
                    Put::Done => return Ok(init),
                    Put::Occupied => continue,
                    Put::Full => return Err(Not::Full),
                }
            };
            let Held::Number(number) = &entry.held else { return Err(Not::Number) };
            match number.change(|number| Some(next(number))) {
                Changed::To(number) => return Ok(number),
                _ => look_again(&mut round),
            }
        }
    }

    /// Puts `new` in the place of `old`; `None` is no value. False if something else is there. A value that
    /// is replaced leaves its end to the one that comes; `until` is for one that comes where none was.
    ///
    /// # Errors
    ///
    /// There is no room for the key.
    pub fn swap(
        &self,
        key: &[u8],
        old: Option<&Value>,
        new: Option<&Value>,
        until: Option<Tick>,
        now: Tick,
    ) -> Result<bool, Not> {
        let guard = self.map.guard();
        let Some(old) = old else {
            return match new {
                Some(new) => self.add(key, new, until, now),
                None => Ok(self.find(key, now, &guard).is_none()),
            };
        };
        let mut round = 0;
        while let Some(entry) = self.find(key, now, &guard) {
            match (&entry.held, old, new) {
                (Held::Number(number), Value::Number(old), Some(Value::Number(new))) => {
                    match number.change(|number| (number == *old).then_some(*new)) {
                        Changed::To(_) => return Ok(true),
                        Changed::Not => return Ok(false),
                        Changed::Frozen => {}
                    }
                }
                (Held::Number(number), Value::Number(old), new) => {
                    match number.freeze(|number| number == *old) {
                        Changed::To(_) => {
                            self.replace_frozen(key, number, new, &guard);
                            return Ok(true);
                        }
                        Changed::Not => return Ok(false),
                        Changed::Frozen => {}
                    }
                }
                (held, old, new) => {
                    let is_old = match (held, old) {
                        (Held::Bool(held), Value::Bool(old)) => held == old,
                        (Held::Text(held), Value::Text(old)) => held == old,
                        _ => false,
                    };
                    if !is_old {
                        return Ok(false);
                    }
                    let new = new.map(|new| Entry::new(new, entry.until).held);
                    if self.replace(key, entry, new, entry.until, &guard) {
                        return Ok(true);
                    }
                }
            }
            look_again(&mut round);
        }
        Ok(false)
    }

    pub fn delete(&self, key: &[u8]) {
        if self.map.remove(key, &self.map.guard()).is_some() {
            self.room.give_back();
        }
    }

    /// When the value ends; the outer `None` if there is none, the inner if it does not end.
    pub fn end_of(&self, key: &[u8], now: Tick) -> Option<Option<Tick>> {
        self.find(key, now, &self.map.guard()).map(|entry| entry.until)
    }

    /// Gives a value another end; false if there is none.
    pub fn expire(&self, key: &[u8], until: Option<Tick>, now: Tick) -> bool {
        let guard = self.map.guard();
        while let Some(entry) = self.find(key, now, &guard) {
            if self.replace(key, entry, Some(entry.held.clone()), until, &guard) {
                return true;
            }
        }
        false
    }

    /// Keys, about: those whose time is over count until they are swept.
    pub fn keys(&self) -> usize {
        self.room.taken()
    }

    /// Up to `most` keys and where to go on; begin at zero. A key that is there all the while comes once.
    pub fn scan(&self, cursor: u64, most: usize, now: Tick) -> (Vec<Box<[u8]>>, Option<u64>) {
        let guard = self.map.guard();
        // Those that come next in the order of their hashes, and one more to go on from.
        let mut next = std::collections::BinaryHeap::new();
        for (key, entry) in self.map.iter(&guard) {
            let place = place_of(key);
            if place >= cursor && !entry.is_over(now) {
                next.push((place, key));
                if next.len() > most + 1 {
                    next.pop();
                }
            }
        }
        let more = if next.len() > most { next.pop().map(|(place, _)| place) } else { None };
        let mut keys = next.into_sorted_vec();
        // Keys of one hash come together.
        if keys.first().is_some_and(|first| Some(first.0) != more) {
            keys.retain(|(place, _)| Some(*place) != more);
        }
        (keys.into_iter().map(|(_, key)| key.clone()).collect(), more)
    }

    /// Throws out what is over.
    pub fn sweep(&self, now: Tick) {
        let guard = self.map.guard();
        for (key, entry) in self.map.iter(&guard) {
            if entry.is_over(now)
                && let Ok(Some(_)) = self.map.remove_if(&**key, |_, entry| entry.is_over(now), &guard)
            {
                self.room.give_back();
            }
        }
    }

    /// Puts a value where nothing is, or where `may_go` says that what is there may go.
    fn put(
        &self,
        key: &[u8],
        may_go: impl Fn(&Entry) -> bool,
        value: &Value,
        until: Option<Tick>,
        guard: &impl Guard,
    ) -> Put {
        let is_room = self.room.take();
        let done = self.map.compute(
            key.into(),
            |found| match found {
                Some((_, entry)) if !may_go(entry) => Operation::Abort(Put::Occupied),
                None if !is_room => Operation::Abort(Put::Full),
                _ => Operation::Insert(Entry::new(value, until)),
            },
            guard,
        );
        let (put, is_new) = match done {
            Compute::Inserted(..) => (Put::Done, true),
            Compute::Aborted(why) => (why, false),
            _ => (Put::Done, false),
        };
        if is_room && !is_new {
            self.room.give_back();
        }
        put
    }

    /// Puts something, or nothing, in the place of exactly this entry; false if it is not there any more.
    fn replace(
        &self,
        key: &[u8],
        old: &Entry,
        new: Option<Held>,
        until: Option<Tick>,
        guard: &impl Guard,
    ) -> bool {
        let done = self.map.compute(
            key.into(),
            |found| match (found, &new) {
                (Some((_, entry)), Some(held)) if std::ptr::eq(entry, old) => {
                    Operation::Insert(Entry { held: held.clone(), until })
                }
                (Some((_, entry)), None) if std::ptr::eq(entry, old) => Operation::Remove,
                _ => Operation::Abort(()),
            },
            guard,
        );
        if let Compute::Removed(..) = done {
            self.room.give_back();
        }
        !matches!(done, Compute::Aborted(()))
    }

    /// Puts a value, or nothing, in the place of a number that this thread froze. Where it is no longer there,
    /// freezing it came before what replaced it.
    fn replace_frozen(&self, key: &[u8], number: &Arc<Number>, new: Option<&Value>, guard: &LocalGuard<'_>) {
        while let Some(entry) = self.map.get(key, guard)
            && let Held::Number(held) = &entry.held
            && Arc::ptr_eq(held, number)
        {
            let held = new.map(|new| Entry::new(new, None).held);
            if self.replace(key, entry, held, entry.until, guard) {
                return;
            }
        }
    }
}

/// Where a key comes in a scan: a whole number that is exact as a double.
fn place_of(key: &[u8]) -> u64 {
    Hashing::default().hash_one(key) >> 11
}

enum Put {
    Done,
    Occupied,
    Full,
}

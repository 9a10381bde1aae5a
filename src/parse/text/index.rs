//! A hash index from names to positions in a vector.
//!
//! It holds hashes and positions only and so borrows nothing, which lets a thread keep it from body to
//! body. The hash is keyed with a secret of the process, so nobody can aim for collisions.

use std::hash::{BuildHasher, Hash, Hasher};

use rapidhash::quality::GlobalState;

/// Slots of an index that was just made or has been of little use.
const SLOTS_MIN: usize = 64;

#[derive(Clone, Copy)]
struct Slot {
    /// The lower half of the hash, in which the slot's place begins too.
    hash: u32,
    /// [`VACANT`] or a position in the indexed vector.
    position: u32,
}

const VACANT: Slot = Slot { hash: 0, position: u32::MAX };

/// Invariant: the number of slots is a power of two or zero, and at least half of them are vacant.
#[derive(Default)]
pub(super) struct Index {
    slots: Vec<Slot>,
    len: usize,
}

/// Where something belongs that [`Index::probe`] did not find.
pub(super) struct Vacancy(usize);

/// The keyed hash of `value`.
#[inline]
pub(super) fn hash_of(value: impl Hash) -> u64 {
    GlobalState::new().hash_one(value)
}

/// The keyed hash of `name`, in one step less than [`hash_of`] takes, which ends a text with a byte of its
/// own.
#[inline]
pub(super) fn hash_of_name(name: &str) -> u64 {
    let mut hasher = GlobalState::new().build_hasher();
    hasher.write(name.as_bytes());
    hasher.finish()
}

impl Index {
    /// The position that was inserted with `hash` and that `is_it` recognises.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        self.search(hash, is_it).ok()
    }

    /// The same, or where to [`insert`](Self::insert) it.
    #[inline]
    pub(super) fn probe(&mut self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Result<u32, Vacancy> {
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow();
        }
        self.search(hash, is_it)
    }

    /// There are slots.
    #[inline]
    fn search(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Result<u32, Vacancy> {
        let mask = self.slots.len() - 1;
        let mut at = hash as u32 as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.position == VACANT.position {
                return Err(Vacancy(at));
            }
            if slot.hash == hash as u32 && is_it(slot.position) {
                return Ok(slot.position);
            }
            at = (at + 1) & mask;
        }
    }

    /// Inserts what was not found, into a vacancy found since the last insertion.
    #[inline]
    pub(super) fn insert(&mut self, vacancy: Vacancy, hash: u64, position: u32) {
        self.slots[vacancy.0] = Slot { hash: hash as u32, position };
        self.len += 1;
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![VACANT; (self.slots.len() * 2).max(SLOTS_MIN)];
        let old = std::mem::replace(&mut self.slots, larger);
        let mask = self.slots.len() - 1;
        for slot in old.into_iter().filter(|slot| slot.position != VACANT.position) {
            let mut at = slot.hash as usize & mask;
            while self.slots[at].position != VACANT.position {
                at = (at + 1) & mask;
            }
            self.slots[at] = slot;
        }
    }

    /// Forgets everything, in time proportional to what was held or less.
    pub(super) fn clear(&mut self) {
        if self.len == 0 {
            return;
        }
        if self.slots.len() > SLOTS_MIN && self.len * 8 < self.slots.len() {
            self.slots = vec![VACANT; SLOTS_MIN];
        } else {
            self.slots.fill(VACANT);
        }
        self.len = 0;
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_inserted_and_nothing_after_clearing() {
        let words: Vec<String> = (0..1000).map(|n| format!("word{n}")).collect();
        let mut index = Index::default();
        let find =
            |index: &Index, word: &str| index.find(hash_of_name(word), |at| words[at as usize] == word);
        assert_eq!(find(&index, "word1"), None);
        let insert = |index: &mut Index, position: usize| {
            let hash = hash_of_name(&words[position]);
            let vacancy = index.probe(hash, |at| words[at as usize] == words[position]).unwrap_err();
            index.insert(vacancy, hash, position as u32);
        };
        for position in 0..words.len() {
            insert(&mut index, position);
        }
        for (position, word) in words.iter().enumerate() {
            assert_eq!(find(&index, word), Some(position as u32));
        }
        assert_eq!(find(&index, "other"), None);
        index.clear();
        assert_eq!(find(&index, "word1"), None);
        assert_eq!(index.capacity(), 2048);
        insert(&mut index, 1);
        index.clear();
        assert_eq!(index.capacity(), SLOTS_MIN);
    }

    #[test]
    fn equal_hashes_are_told_apart() {
        let mut index = Index::default();
        for position in [0, 1] {
            let vacancy = index.probe(7, |at| at == position).unwrap_err();
            index.insert(vacancy, 7, position);
        }
        assert_eq!(index.find(7, |at| at == 1), Some(1));
        assert_eq!(index.find(7, |at| at == 2), None);
    }
}

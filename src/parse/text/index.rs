//! A hash index from names to positions in a vector.
//!
//! It holds hashes and positions only and so borrows nothing, which lets a thread keep it from body to
//! body. The hash is keyed with a secret of the process, so nobody can aim for collisions.

use std::hash::{BuildHasher, Hash};

use rapidhash::quality::GlobalState;

/// Slots of an index that was just made or has been of little use.
const SLOTS_MIN: usize = 64;

#[derive(Clone, Copy)]
struct Slot {
    hash: u64,
    /// [`VACANT`] or a position in the indexed vector.
    position: u32,
}

const VACANT: Slot = Slot { hash: 0, position: u32::MAX };

/// Invariant: the number of slots is a power of two or zero, and more than half of them are vacant.
#[derive(Default)]
pub(super) struct Index {
    slots: Vec<Slot>,
    len: usize,
}

/// The keyed hash of `value`.
pub(super) fn hash_of(value: impl Hash) -> u64 {
    GlobalState::new().hash_one(value)
}

impl Index {
    /// The position that was inserted with `hash` and that `is_it` recognises.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.position == VACANT.position {
                return None;
            }
            if slot.hash == hash && is_it(slot.position) {
                return Some(slot.position);
            }
            at = (at + 1) & mask;
        }
    }

    pub(super) fn insert(&mut self, hash: u64, position: u32) {
        if (self.len + 1) * 2 > self.slots.len() {
            let larger = vec![VACANT; (self.slots.len() * 2).max(SLOTS_MIN)];
            let old = std::mem::replace(&mut self.slots, larger);
            for slot in old.into_iter().filter(|slot| slot.position != VACANT.position) {
                self.place(slot);
            }
        }
        self.place(Slot { hash, position });
        self.len += 1;
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

    fn place(&mut self, new: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = new.hash as usize & mask;
        while self.slots[at].position != VACANT.position {
            at = (at + 1) & mask;
        }
        self.slots[at] = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_inserted_and_nothing_after_clearing() {
        let words: Vec<String> = (0..1000).map(|n| format!("word{n}")).collect();
        let mut index = Index::default();
        let find = |index: &Index, word: &str| index.find(hash_of(word), |at| words[at as usize] == word);
        assert_eq!(find(&index, "word1"), None);
        for (position, word) in words.iter().enumerate() {
            index.insert(hash_of(word.as_str()), position as u32);
        }
        for (position, word) in words.iter().enumerate() {
            assert_eq!(find(&index, word), Some(position as u32));
        }
        assert_eq!(find(&index, "other"), None);
        index.clear();
        assert_eq!(find(&index, "word1"), None);
        assert_eq!(index.capacity(), 2048);
        index.insert(hash_of("word1"), 1);
        index.clear();
        assert_eq!(index.capacity(), SLOTS_MIN);
    }

    #[test]
    fn equal_hashes_are_told_apart() {
        let mut index = Index::default();
        index.insert(7, 0);
        index.insert(7, 1);
        assert_eq!(index.find(7, |at| at == 1), Some(1));
        assert_eq!(index.find(7, |at| at == 2), None);
    }
}

//! Remembers what `on_series` made of a series, so that Lua runs once per distinct series.
//!
//! Two generations of entries stand in for an order of use: what is found in the old one moves to the
//! young one, and a full young one takes the old one's place. So what was not asked for during a whole
//! generation leaves.

use std::collections::HashMap;
use std::rc::Rc;

use rapidhash::fast::RandomState;

use super::draft::Remembered;

type Entries = HashMap<Box<[u8]>, Rc<Remembered>, RandomState>;

/// See the module.
#[derive(Debug)]
pub struct SeriesCache {
    young: Entries,
    old: Entries,
    half: usize,
    /// Since they were last counted.
    pub hits: u64,
    pub misses: u64,
}

impl SeriesCache {
    /// A cache of up to `entries`; with zero it remembers nothing.
    pub fn new(entries: usize) -> SeriesCache {
        SeriesCache {
            young: Entries::default(),
            old: Entries::default(),
            half: entries / 2,
            hits: 0,
            misses: 0,
        }
    }

    pub fn is_off(&self) -> bool {
        self.half == 0
    }

    pub fn get(&mut self, key: &[u8]) -> Option<Rc<Remembered>> {
        if let Some(known) = self.young.get(key) {
            return Some(known.clone());
        }
        let (key, known) = self.old.remove_entry(key)?;
        self.insert(key, known.clone());
        Some(known)
    }

    pub fn put(&mut self, key: &[u8], value: Remembered) {
        if !self.is_off() {
            self.insert(key.into(), Rc::new(value));
        }
    }

    fn insert(&mut self, key: Box<[u8]>, value: Rc<Remembered>) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_leaves() {
        let mut cache = SeriesCache::new(8);
        cache.put(b"hot", Remembered::Dropped);
        for at in 0..100u8 {
            cache.put(&[at], Remembered::Same);
            assert_eq!(cache.get(b"hot").as_deref(), Some(&Remembered::Dropped));
            assert!(cache.young.len() + cache.old.len() <= 8);
        }
        assert_eq!(cache.get(&[0]), None);
        assert_eq!(cache.get(&[99]).as_deref(), Some(&Remembered::Same));
        let mut off = SeriesCache::new(0);
        off.put(b"a", Remembered::Same);
        assert_eq!(off.get(b"a"), None);
    }
}

//! Remembers what `on_series` made of a series, so that Lua runs once per distinct series.
//!
//! Two generations of entries stand in for an order of use: what is found in the old one moves to the
//! young one, and a full young one takes the old one's place. So what was not asked for during a whole
//! generation leaves.

use std::collections::HashMap;

use rapidhash::fast::RandomState;

/// What became of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    Same,
    Dropped,
    /// The family's name, if another, and all own labels.
    Changed {
        name: Option<Box<str>>,
        labels: Box<[(Box<str>, Box<str>)]>,
    },
}

type Entries = HashMap<Box<[u8]>, Remembered, RandomState>;

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

    pub fn get(&mut self, key: &[u8]) -> Option<&Remembered> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get(key)
    }

    pub fn put(&mut self, key: &[u8], value: Remembered) {
        if !self.is_off() {
            self.insert(key.into(), value);
        }
    }

    fn insert(&mut self, key: Box<[u8]>, value: Remembered) {
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
            assert_eq!(cache.get(b"hot"), Some(&Remembered::Dropped));
            assert!(cache.young.len() + cache.old.len() <= 8);
        }
        assert_eq!(cache.get(&[0]), None);
        assert_eq!(cache.get(&[99]), Some(&Remembered::Same));
        let mut off = SeriesCache::new(0);
        off.put(b"a", Remembered::Same);
        assert_eq!(off.get(b"a"), None);
    }
}

//! How many keys there may be, counted by those that come and go.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Room for keys: taken before one is put into a map, given back when it leaves.
#[derive(Debug)]
pub struct Room {
    taken: AtomicUsize,
    max: usize,
}

impl Room {
    pub fn new(max: usize) -> Room {
        Room { taken: AtomicUsize::new(0), max }
    }

    /// Takes the place of one key; false if there is none. Two that race for the last place may both be
    /// told so where one gives it back.
    pub fn take(&self) -> bool {
        let is_room = self.taken.fetch_add(1, Ordering::Relaxed) < self.max;
        if !is_room {
            self.give_back();
        }
        is_room
    }

    pub fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Keys that are there, about: some may be on their way.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

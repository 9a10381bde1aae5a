//! How many keys there may be, counted by those that come and go.

use std::sync::atomic::{AtomicIsize, Ordering};

/// Room for keys: taken before one is put into a map, given back when it leaves.
#[derive(Debug)]
pub struct Room {
    /// Below zero for a moment where a key leaves that came after the count was [copied](Room::beside).
    taken: AtomicIsize,
    max: isize,
}

impl Room {
    pub fn new(max: usize) -> Room {
        Room { taken: AtomicIsize::new(0), max: isize::try_from(max).unwrap_or(isize::MAX) }
    }

    /// As much room as there is here now.
    pub fn beside(&self) -> Room {
        Room { taken: AtomicIsize::new(self.taken.load(Ordering::Relaxed)), max: self.max }
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
        usize::try_from(self.taken.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

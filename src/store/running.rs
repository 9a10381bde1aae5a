//! The time that groups live by: the monotonic clock while the process runs, and what the wall clock says
//! went by while it did not.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use super::Store;
use crate::clock::{Clock, Now, Running, UnixNanos};

/// What a store knows of time.
pub(super) struct Time {
    clock: Clock,
    started: Instant,
    /// What is to be added to the time since the start, in nanoseconds. Set before anything asks. Below zero where
    /// other processes lived for less than this one took to learn of them.
    before: AtomicI64,
}

impl Default for Time {
    fn default() -> Time {
        Time::by(Clock::default())
    }
}

impl Time {
    fn by(clock: Clock) -> Time {
        let started = clock.now().monotonic;
        Time { clock, started, before: AtomicI64::new(0) }
    }
}

impl Store {
    /// This store with another clock than the system's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Store {
        Store { time: Time::by(clock), ..self }
    }

    pub fn now(&self) -> Now {
        self.time.clock.now()
    }

    /// The time that groups live by at `now`.
    pub fn running_at(&self, now: Now) -> Running {
        Running(self.since_start(now).saturating_add_signed(self.time.before.load(Ordering::Relaxed)))
    }

    /// Goes on where another process was at `running` when its wall clock said `wall`. What the clock says
    /// went by since counts; a clock that went back says that nothing did.
    pub fn resume(&self, running: Running, wall: UnixNanos) {
        let now = self.now();
        let away = now.wall.0.saturating_sub(wall.0);
        let before = i128::from(running.0.saturating_add(away)) - i128::from(self.since_start(now));
        self.time.before.store(i64::try_from(before).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    fn since_start(&self, now: Now) -> u64 {
        let since = now.monotonic.saturating_duration_since(self.time.started);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_way_to_resuming_counts_once() {
        let read = Now::read();
        for lived in [Duration::from_secs(60), Duration::from_millis(3)] {
            let clock = Clock::by_hand(read);
            let store = Store::new(true, []).with_clock(clock.clone());
            clock.advance(Duration::from_secs(2));
            let (running, away) = (Running(lived.as_nanos() as u64), Duration::from_secs(5));
            // Three of the five seconds went by before this process began.
            let wall = UnixNanos(store.now().wall.0 - away.as_nanos() as u64);
            store.resume(running, wall);
            assert_eq!(running.until(store.running_at(store.now())), away);
            clock.advance(Duration::from_secs(1));
            assert_eq!(running.until(store.running_at(store.now())), away + Duration::from_secs(1));
        }
    }
}

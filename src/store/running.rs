//! The time that groups live by: the monotonic clock while the process runs, and what the wall clock says
//! went by while it did not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Store;
use crate::clock::{Clock, Now, Running, UnixNanos};

/// What a store knows of time.
pub(super) struct Time {
    clock: Clock,
    started: Instant,
    /// How much was lived through before the start. Set before anything asks.
    before: AtomicU64,
}

impl Default for Time {
    fn default() -> Time {
        Time::by(Clock::default())
    }
}

impl Time {
    fn by(clock: Clock) -> Time {
        let started = clock.now().monotonic;
        Time { clock, started, before: AtomicU64::new(0) }
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
        let since = now.monotonic.saturating_duration_since(self.time.started);
        let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        Running(self.time.before.load(Ordering::Relaxed).saturating_add(since))
    }

    /// Goes on where another process was at `running` when its wall clock said `wall`. What the clock says
    /// went by since counts; a clock that went back says that nothing did.
    pub fn resume(&self, running: Running, wall: UnixNanos) {
        let away = self.now().wall.0.saturating_sub(wall.0);
        self.time.before.store(running.0.saturating_add(away), Ordering::Relaxed);
    }
}

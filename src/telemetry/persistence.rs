//! What keeping groups on the disk costs, and whether it works.
//!
//! Written by the one thread that commits, read at scrapes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::summary::{self, Merged, Summary};
use crate::clock::{Now, UnixNanos};

/// See the module. Exists only where groups are kept on the disk.
pub struct Persistence {
    started: Instant,
    /// In nanoseconds.
    durations: Summary,
    /// In groups.
    sizes: Summary,
    bytes: AtomicU64,
    failures: AtomicU64,
    failing: AtomicBool,
    /// Nanoseconds from the start to the oldest change that is not on the disk; zero if all are.
    behind_since: AtomicU64,
    last_error: Mutex<Option<(String, UnixNanos)>>,
}

impl Default for Persistence {
    fn default() -> Persistence {
        Persistence {
            started: Instant::now(),
            durations: Summary::default(),
            sizes: Summary::default(),
            bytes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            behind_since: AtomicU64::new(0),
            last_error: Mutex::new(None),
        }
    }
}

impl Persistence {
    /// Notes a commit of `groups` changed groups.
    pub fn committed(&self, groups: usize, bytes: usize, took: Duration) {
        let period = summary::period_at(self.started.elapsed());
        self.durations.observe(period, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.sizes.observe(period, groups as u64);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes a failed write. Pushes are refused until [`recovered`](Self::recovered).
    pub fn failed(&self, error: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failing.store(true, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) =
            Some((error.to_owned(), Now::read().wall));
    }

    pub fn recovered(&self) {
        self.failing.store(false, Ordering::Relaxed);
    }

    /// Notes since when there have been changes that are not on the disk, if there are any.
    pub fn set_behind(&self, since: Option<Instant>) {
        let nanos = |since: Instant| {
            let since = since.saturating_duration_since(self.started);
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1)
        };
        self.behind_since.store(since.map_or(0, nanos), Ordering::Relaxed);
    }

    pub(super) fn durations(&self) -> Merged {
        Merged::new(std::iter::once(&self.durations), summary::period_at(self.started.elapsed()))
    }

    pub(super) fn sizes(&self) -> Merged {
        Merged::new(std::iter::once(&self.sizes), summary::period_at(self.started.elapsed()))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// For how long something has not been on the disk.
    pub(super) fn lag(&self) -> Duration {
        match self.behind_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.started.elapsed().saturating_sub(Duration::from_nanos(since)),
        }
    }

    pub(super) fn last_error(&self) -> Option<(String, UnixNanos)> {
        self.last_error.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

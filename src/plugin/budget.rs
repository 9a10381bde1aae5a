//! How long a plugin may run: a count of steps and a time, both kept per thread.
//!
//! The count is decremented at every step; the clock is looked at only now and then, more often at the
//! beginning and once steps turn out to be slow, as errors are that leave a deep stack. Where the wall
//! clock says that the time is spent, the thread's CPU clock decides: a preempted core is not the plugin's
//! fault. Reading that clock is a system call, so it is read only once steps are slow or the time is over;
//! of what went before, half of the allowance counts at most. Once spent, every further step fails, so no
//! `pcall` can swallow it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::fault::{Code, Fault};
use super::interrupt::thread_cpu_time;

/// What a plugin may use per push, as plugins.yml writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub steps: u64,
    pub steps_per_sample: u64,
    pub time: Duration,
    pub time_per_sample: Duration,
    /// Bytes of one VM.
    pub memory_bytes: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            steps: 100_000,
            steps_per_sample: 1000,
            time: Duration::from_millis(2),
            time_per_sample: Duration::from_micros(5),
            memory_bytes: 8 * 1024 * 1024,
        }
    }
}

/// A bound for one stretch of running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub steps: u64,
    pub time: Duration,
}

impl Allowance {
    /// Compiling and running a plugin's file and `init` where nobody waits.
    pub const CHECK: Allowance = Allowance { steps: 50_000_000, time: Duration::from_secs(2) };
    /// The same on a worker.
    pub const LOAD: Allowance = Allowance { steps: 2_000_000, time: Duration::from_millis(20) };
    /// `on_result` and `shutdown`.
    pub const ASIDE: Allowance = Allowance { steps: 1_000_000, time: Duration::from_millis(20) };

    pub fn for_push(budget: &Budget, samples: usize, time_max: Duration) -> Allowance {
        let count = samples as u64;
        let per_sample = budget.time_per_sample.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        Allowance {
            steps: budget.steps.saturating_add(budget.steps_per_sample.saturating_mul(count)),
            time: budget.time.saturating_add(per_sample).min(time_max),
        }
    }
}

/// What a stretch of running used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    pub steps: u64,
    pub time: Duration,
    pub expired: bool,
    /// Whether more than half of the time went by.
    pub half: bool,
}

/// Steps between two looks at the clock, while they are as fast as steps should be.
const SLICE: i64 = 256;
/// Steps before the first look; each slice is twice as long as the one before.
const SLICE_FIRST: i64 = 32;
/// The same while they are slow, as copies of large strings are.
const SLICE_SLOW: i64 = 8;
/// A slice that takes longer has slow steps.
const SLICE_TIME_MAX: Duration = Duration::from_micros(100);

struct Meter {
    /// Steps left in this slice.
    slice: Cell<i64>,
    slice_size: Cell<i64>,
    /// Steps left behind this slice.
    left: Cell<i64>,
    armed: Cell<bool>,
    expired: Cell<bool>,
    allowance: Cell<Allowance>,
    started: Cell<Option<Instant>>,
    /// The CPU clock when it was first read, and what counted as used by then.
    watched: Cell<Option<(Duration, Duration)>>,
    deadline: Cell<Duration>,
    looked: Cell<Duration>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            slice: Cell::new(i64::MAX),
            slice_size: Cell::new(i64::MAX),
            left: Cell::new(0),
            armed: Cell::new(false),
            expired: Cell::new(false),
            allowance: Cell::new(Allowance::ASIDE),
            started: Cell::new(None),
            watched: Cell::new(None),
            deadline: Cell::new(Duration::ZERO),
            looked: Cell::new(Duration::ZERO),
        }
    };
}

impl Meter {
    #[inline]
    fn take(&self, steps: i64) -> bool {
        let slice = self.slice.get() - steps;
        self.slice.set(slice);
        slice < 0 && self.look()
    }

    #[cold]
    fn look(&self) -> bool {
        if !self.armed.get() {
            self.slice.set(i64::MAX);
            return false;
        }
        if self.expired.get() {
            self.slice.set(-1);
            return true;
        }
        // The slice is below zero, so what it ran over counts as well.
        let left = self.left.get() + self.slice.get();
        let elapsed = self.started.get().map(|started| started.elapsed()).unwrap_or_default();
        if left < 0 || self.is_late(elapsed) {
            self.expired.set(true);
            self.left.set(left);
            self.slice.set(-1);
            self.slice_size.set(0);
            return true;
        }
        let slow = elapsed.saturating_sub(self.looked.replace(elapsed)) > SLICE_TIME_MAX;
        if slow {
            self.cpu_used(elapsed);
        }
        let size = if slow { SLICE_SLOW } else { (2 * self.slice_size.get()).min(SLICE) }.min(left);
        self.left.set(left - size);
        self.slice.set(size);
        self.slice_size.set(size);
        false
    }

    fn is_late(&self, elapsed: Duration) -> bool {
        if elapsed < self.deadline.get() {
            return false;
        }
        match self.allowance.get().time.checked_sub(self.cpu_used(elapsed)) {
            Some(rest) if !rest.is_zero() => {
                self.deadline.set(elapsed + rest);
                false
            }
            _ => true,
        }
    }

    /// What the stretch used by the CPU clock, as far as that was looked at.
    fn cpu_used(&self, elapsed: Duration) -> Duration {
        let now = thread_cpu_time();
        match self.watched.get() {
            Some((since, used)) => used + now.saturating_sub(since),
            None => {
                let used = elapsed.min(self.allowance.get().time / 2);
                self.watched.set(Some((now, used)));
                used
            }
        }
    }
}

/// Counts one step of Lua; true once the budget is spent.
#[inline]
pub fn step() -> bool {
    METER.with(|meter| meter.take(1))
}

/// Counts work that the host does for a plugin.
///
/// # Errors
///
/// The budget is spent.
pub fn charge(steps: usize) -> Result<(), Fault> {
    let steps = i64::try_from(steps).unwrap_or(i64::MAX / 2).min(i64::MAX / 2);
    if METER.with(|meter| meter.take(steps)) {
        return Err(Fault::new(Code::Budget, "the plugin used up its budget"));
    }
    Ok(())
}

/// Starts a stretch of running on this thread.
pub fn arm(allowance: Allowance) {
    METER.with(|meter| {
        let steps = i64::try_from(allowance.steps).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
        let first = SLICE_FIRST.min(steps);
        meter.slice.set(first);
        meter.slice_size.set(first);
        meter.left.set(steps - first);
        meter.armed.set(true);
        meter.expired.set(false);
        meter.allowance.set(allowance);
        meter.started.set(Some(Instant::now()));
        meter.watched.set(None);
        meter.deadline.set(allowance.time);
        meter.looked.set(Duration::ZERO);
    });
}

/// Steps left in the stretch that runs.
pub fn left() -> u64 {
    METER.with(|meter| (meter.left.get() + meter.slice.get().max(0)).max(0) as u64)
}

/// Ends the stretch; says what it used.
pub fn disarm() -> Used {
    METER.with(|meter| {
        let elapsed = meter.started.take().map(|started| started.elapsed()).unwrap_or_default();
        let allowance = meter.allowance.get();
        let left = meter.left.get() + meter.slice.get().max(0);
        let used = Used {
            steps: (allowance.steps as i64).saturating_sub(left).max(0) as u64,
            time: elapsed,
            expired: meter.expired.get(),
            half: elapsed * 2 > allowance.time,
        };
        meter.armed.set(false);
        meter.expired.set(false);
        meter.slice.set(i64::MAX);
        used
    })
}

//! Time, read once per request at the edge and passed down.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A wall clock reading: nanoseconds since 1970-01-01T00:00:00Z. Zero stands for "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    pub const NEVER: UnixNanos = UnixNanos(0);

    /// Seconds as a float64, as the two push time families show it. Divides as Go does, so the same
    /// instant prints the same digits.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For what is stored and shown.
    pub wall: UnixNanos,
    /// For durations and deadlines; never steps.
    pub monotonic: Instant,
}

impl Now {
    pub fn read() -> Now {
        Now { wall: wall(), monotonic: Instant::now() }
    }

    /// As [`read`](Now::read), but both at the same time where the system lets us: a thread that has to wait for its
    /// core between the two readings takes them again. For whoever goes from one clock to the other.
    fn read_together() -> Now {
        const APART: Duration = Duration::from_micros(50);
        let reading = || {
            let monotonic = Instant::now();
            (Now { wall: wall(), monotonic }, monotonic.elapsed())
        };
        let mut best = reading();
        for _ in 0..20 {
            if best.1 <= APART {
                break;
            }
            let again = reading();
            best = if again.1 < best.1 { again } else { best };
        }
        best.0
    }
}

fn wall() -> UnixNanos {
    // A clock before 1970 reads as the first nanosecond after it: zero means "never".
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos((since.as_nanos() as u64).max(1))
}

/// Time that the groups here have lived through, in nanoseconds from a beginning of no meaning: it goes
/// with the monotonic clock while the process runs, and over a restart by what the wall clock says went
/// by, but never back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Running(pub u64);

impl Running {
    /// How long it is from here to `later`; nothing if that is not later.
    pub fn until(self, later: Running) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}

/// Where whoever is not told the time reads it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<Now>>>);

impl Clock {
    /// A clock that stands at `now` until it is moved: for tests.
    pub fn by_hand(now: Now) -> Clock {
        Clock(Some(Arc::new(Mutex::new(now))))
    }

    pub fn now(&self) -> Now {
        match &self.0 {
            None => Now::read_together(),
            Some(hand) => *hand.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Lets time pass on both clocks. The system's clock takes no such orders.
    pub fn advance(&self, by: Duration) {
        let Some(hand) = &self.0 else { return };
        let mut now = hand.lock().unwrap_or_else(PoisonError::into_inner);
        now.monotonic += by;
        now.wall.0 = now.wall.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Sets the wall clock alone, as an administrator or a time server does.
    pub fn step_wall(&self, to: UnixNanos) {
        let Some(hand) = &self.0 else { return };
        hand.lock().unwrap_or_else(PoisonError::into_inner).wall = to;
    }
}

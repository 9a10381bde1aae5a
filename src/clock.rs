//! Time, read once per request at the edge and passed down.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

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
        // A clock before 1970 reads as the first nanosecond after it: zero means "never".
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { wall: UnixNanos((since.as_nanos() as u64).max(1)), monotonic: Instant::now() }
    }
}

//! How long a group lives after its last successful push, and what becomes of it then.

use std::fmt;

use crate::format::duration::GoDuration;

/// A span in whole milliseconds. Zero stands for "for ever", which is longer than any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lifetime(u64);

impl Lifetime {
    pub const FOR_EVER: Lifetime = Lifetime(0);

    /// Longest lifetime that ends, in milliseconds: ten years.
    pub const MILLIS_MAX: u64 = 3650 * 86_400_000;

    /// `millis` milliseconds; `None` above [`MILLIS_MAX`](Lifetime::MILLIS_MAX).
    pub fn from_millis(millis: u64) -> Option<Lifetime> {
        (millis <= Lifetime::MILLIS_MAX).then_some(Lifetime(millis))
    }

    /// `seconds` seconds, rounded up to whole milliseconds; `None` if that is no lifetime.
    pub fn from_seconds(seconds: f64) -> Option<Lifetime> {
        let millis = (seconds * 1e3).ceil();
        // NaN is outside every range.
        (0.0..=Lifetime::MILLIS_MAX as f64).contains(&millis).then_some(Lifetime(millis as u64))
    }

    /// Reads a duration as Go writes it, with days besides: `90m`, `1h30m`, `7d`. Parts of a millisecond
    /// count as a whole one.
    ///
    /// # Errors
    ///
    /// It is none, or it is negative or longer than ten years.
    pub fn parse(text: &str) -> Result<Lifetime, String> {
        let nanos = GoDuration::parse_with_days(text)?.0;
        let nanos = u64::try_from(nanos).map_err(|_| format!("a lifetime of {text} is less than nothing"))?;
        Lifetime::from_millis(nanos.div_ceil(1_000_000))
            .ok_or_else(|| format!("a lifetime of {text} is longer than ten years"))
    }

    pub fn is_for_ever(self) -> bool {
        self == Lifetime::FOR_EVER
    }

    pub fn millis(self) -> u64 {
        self.0
    }

    /// At most ten years of them, so this does not overflow.
    pub fn nanos(self) -> u64 {
        self.0 * 1_000_000
    }

    /// The shorter of the two.
    #[must_use]
    pub fn at_most(self, max: Lifetime) -> Lifetime {
        match (self.is_for_ever(), max.is_for_ever()) {
            (_, true) => self,
            (true, false) => max,
            _ => Lifetime(self.0.min(max.0)),
        }
    }
}

/// As Go prints durations; `0s` for one without end.
impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ten years of nanoseconds are far below an `i64`'s.
        GoDuration(self.nanos() as i64).fmt(f)
    }
}

/// What becomes of a group at the end of its lifetime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AtEnd {
    /// It goes.
    #[default]
    Remove,
    /// It stays, and `floodway_group_overdue` says that it should have been pushed again.
    Flag,
}

/// A lifetime and what comes after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Term {
    pub lifetime: Lifetime,
    pub action: AtEnd,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read() {
        let read = |text: &str| Lifetime::parse(text).map(Lifetime::millis);
        assert_eq!(read("90m"), Ok(5_400_000));
        assert_eq!(read("7d12h"), Ok(648_000_000));
        assert_eq!(read("0"), Ok(0));
        assert_eq!(read("1ns"), Ok(1));
        assert_eq!(read("3650d"), Ok(Lifetime::MILLIS_MAX));
        for bad in ["", "90", "-1s", "3651d", "1y", "1h 30m", "for ever", "NaN"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(Lifetime::parse("90m").unwrap().to_string(), "1h30m0s");
    }

    #[test]
    fn seconds_of_scripts() {
        assert_eq!(Lifetime::from_seconds(1.5).map(Lifetime::millis), Some(1500));
        assert_eq!(Lifetime::from_seconds(1e-9).map(Lifetime::millis), Some(1));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 4e8] {
            assert_eq!(Lifetime::from_seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn for_ever_is_longer_than_anything() {
        let hour = Lifetime::parse("1h").unwrap();
        let day = Lifetime::parse("1d").unwrap();
        assert_eq!(hour.at_most(day), hour);
        assert_eq!(day.at_most(hour), hour);
        assert_eq!(Lifetime::FOR_EVER.at_most(hour), hour);
        assert_eq!(hour.at_most(Lifetime::FOR_EVER), hour);
        assert!(Lifetime::FOR_EVER.at_most(Lifetime::FOR_EVER).is_for_ever());
    }
}

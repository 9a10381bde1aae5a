//! Times as Go's RFC 3339 with nanoseconds: trailing zeros dropped, `Z` for an offset of zero.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock::UnixNanos;

/// `time` in `zone`, as `2026-11-21T08:34:36.09025Z`.
pub fn rfc3339(time: UnixNanos, zone: &TimeZone) -> String {
    let seconds = (time.0 / 1_000_000_000) as i64;
    let nanos = (time.0 % 1_000_000_000) as i32;
    // A u64 of nanoseconds ends in 2554, which is within range.
    let timestamp = Timestamp::new(seconds, nanos).unwrap_or(Timestamp::MAX);
    let offset = zone.to_offset(timestamp);
    if offset.is_zero() { timestamp.to_string() } else { timestamp.display_with_offset(offset).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::Offset;

    fn check(nanos: u64, hours: i8, expect: &str) {
        let zone = TimeZone::fixed(Offset::from_hours(hours).unwrap());
        assert_eq!(rfc3339(UnixNanos(nanos), &zone), expect);
    }

    #[test]
    fn as_go_prints_it() {
        check(1_795_250_076_090_256_825, 0, "2026-11-21T08:34:36.090256825Z");
        check(1_795_250_076_090_000_000, 0, "2026-11-21T08:34:36.09Z");
        check(1_795_250_076_000_000_000, 0, "2026-11-21T08:34:36Z");
        check(1_795_250_076_500_000_000, 2, "2026-11-21T10:34:36.5+02:00");
        check(1_795_250_076_500_000_000, -5, "2026-11-21T03:34:36.5-05:00");
        check(0, 0, "1970-01-01T00:00:00Z");
        check(u64::MAX, 0, "2554-07-21T23:34:33.709551615Z");
    }
}

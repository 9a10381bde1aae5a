//! When the next scrape is due, if scrapes keep a rhythm.
//!
//! A Prometheus scrapes at a steady interval, and two of them, as a pair that stands in for each other,
//! at two interleaved ones. A rhythm of one or two beats is believed once it has repeated itself; what a
//! person asks for in between only costs the preparation of one scrape.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Scrapers of one interval that are told apart.
const BEATS_MAX: usize = 2;

/// Shortest interval worth preparing for.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Longest interval worth waiting for.
const INTERVAL_MAX: Duration = Duration::from_secs(600);

/// How far two intervals may differ, as a part of them.
const TOLERANCE: u32 = 50;

/// The times of the last scrapes.
#[derive(Debug, Default)]
pub struct Rhythm {
    times: VecDeque<Instant>,
}

impl Rhythm {
    /// Notes a scrape.
    pub fn note(&mut self, now: Instant) {
        // A rhythm of n beats has repeated itself after n intervals twice.
        if self.times.len() > 2 * BEATS_MAX {
            self.times.pop_front();
        }
        self.times.push_back(now);
    }

    /// When the next scrape is due; `None` as long as there is no rhythm.
    pub fn next(&self) -> Option<Instant> {
        (1..=BEATS_MAX).find_map(|beats| self.next_of(beats))
    }

    /// The same if every scrape follows the one so many `beats` before it at one interval.
    fn next_of(&self, beats: usize) -> Option<Instant> {
        let newest = self.times.len().checked_sub(1)?;
        let interval = self.times[newest] - self.times[newest.checked_sub(beats)?];
        if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
            return None;
        }
        for later in newest - beats + 1..newest + 1 {
            let earlier = self.times[later - 1] - self.times[(later - 1).checked_sub(beats)?];
            if earlier.abs_diff(interval) > interval / TOLERANCE {
                return None;
            }
        }
        Some(self.times[newest + 1 - beats] + interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether and when, in milliseconds after the first, a scrape is due after those at `times`.
    fn due(times: &[u64]) -> Option<u64> {
        let begun = Instant::now();
        let mut rhythm = Rhythm::default();
        times.iter().for_each(|time| rhythm.note(begun + Duration::from_millis(*time)));
        rhythm.next().map(|next| (next - begun).as_millis() as u64)
    }

    #[test]
    fn a_rhythm_is_believed_once_it_repeats_itself() {
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[0]), None);
        assert_eq!(due(&[0, 15_000]), None);
        assert_eq!(due(&[0, 15_000, 30_010]), Some(45_020));
        assert_eq!(due(&[0, 15_000, 29_000]), None);
        assert_eq!(due(&[0, 15_000, 30_000, 31_000, 45_000]), None);
    }

    #[test]
    fn two_scrapers_of_one_interval_are_told_apart() {
        assert_eq!(due(&[0, 4_000, 15_000, 19_000]), None);
        assert_eq!(due(&[0, 4_000, 15_000, 19_000, 30_000]), Some(34_000));
        assert_eq!(due(&[4_000, 15_000, 19_000, 30_000, 34_000]), Some(45_000));
    }

    #[test]
    fn too_fast_and_too_slow_is_no_rhythm() {
        assert_eq!(due(&[0, 100, 200, 300, 400]), None);
        assert_eq!(due(&[0, 700_000, 1_400_000]), None);
    }
}

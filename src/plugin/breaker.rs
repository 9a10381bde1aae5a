//! Stops running a plugin for one job for a while after it kept breaking its budget there.
//!
//! Kept per worker, plugin and job, so that one pusher never closes a plugin for the others.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// So many failures within [`WINDOW`] open the breaker for [`REST`].
const FAILURES: u32 = 5;
const WINDOW: Duration = Duration::from_secs(1);
pub const REST: Duration = Duration::from_secs(5);

/// Jobs that are remembered; the one least recently failing leaves.
const JOBS_MAX: usize = 1024;

#[derive(Debug)]
struct Job {
    failures: u32,
    first: Instant,
    last: Instant,
    /// Until when no Lua runs; afterwards one push is let through to try.
    open_until: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Breaker {
    jobs: HashMap<Box<str>, Job>,
}

impl Breaker {
    /// Whether the plugin may run for `job`.
    pub fn allows(&mut self, job: &str, now: Instant) -> bool {
        if self.jobs.is_empty() {
            return true;
        }
        match self.jobs.get_mut(job) {
            Some(Job { open_until: Some(until), .. }) => now >= *until,
            _ => true,
        }
    }

    /// Notes a failure; true if that opened the breaker.
    pub fn failed(&mut self, job: &str, now: Instant) -> bool {
        if self.jobs.len() >= JOBS_MAX && !self.jobs.contains_key(job) {
            let oldest = self.jobs.iter().min_by_key(|(_, job)| job.last).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                self.jobs.remove(&oldest);
            }
        }
        let entry = self.jobs.entry(job.into()).or_insert(Job {
            failures: 0,
            first: now,
            last: now,
            open_until: None,
        });
        // A failed trial opens at once.
        let trial = entry.open_until.is_some();
        if now.saturating_duration_since(entry.first) > WINDOW {
            (entry.failures, entry.first) = (0, now);
        }
        entry.failures += 1;
        entry.last = now;
        let opens = trial || entry.failures >= FAILURES;
        if opens {
            (entry.open_until, entry.failures) = (Some(now + REST), 0);
        }
        opens
    }

    /// Notes a push that went well; true if that closed the breaker.
    pub fn went_well(&mut self, job: &str) -> bool {
        // A failure now and then does not add up: only those within the window count.
        let closes = !self.jobs.is_empty() && self.jobs.get(job).is_some_and(|job| job.open_until.is_some());
        if closes {
            self.jobs.remove(job);
        }
        closes
    }

    /// Jobs for which it is open.
    pub fn open(&self, now: Instant) -> usize {
        self.jobs.values().filter(|job| job.open_until.is_some_and(|until| now < until)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_second_open_it_for_that_job() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for at in 0..4 {
            assert!(!breaker.failed("a", start + Duration::from_millis(at)));
        }
        assert!(breaker.allows("a", start));
        assert!(breaker.failed("a", start + Duration::from_millis(900)));
        let opened = start + Duration::from_millis(900);
        assert!(!breaker.allows("a", opened + REST - Duration::from_millis(1)));
        assert!(breaker.allows("b", opened));
        assert_eq!(breaker.open(opened), 1);
        // The trial decides.
        assert!(breaker.allows("a", opened + REST));
        assert!(breaker.failed("a", opened + REST));
        assert!(!breaker.allows("a", opened + REST));
        breaker.went_well("a");
        assert!(breaker.allows("a", opened + REST));
    }

    #[test]
    fn slow_failures_do_not_add_up_and_jobs_are_bounded() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for at in 0..50 {
            assert!(!breaker.failed("a", start + Duration::from_millis(400 * at)));
        }
        for at in 0..3000u32 {
            breaker.failed(
                &format!("job{at}"),
                start + Duration::from_secs(60) + Duration::from_micros(at.into()),
            );
        }
        assert_eq!(breaker.jobs.len(), JOBS_MAX);
        assert!(breaker.jobs.contains_key("job2999") && !breaker.jobs.contains_key("job0"));
    }
}

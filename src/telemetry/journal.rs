//! The last refused pushes and deletes, so that nobody greps logs to find out why a job's numbers are missing.
//!
//! Bounded in all and by job: a job that is refused again and again pushes out its own entries first.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::clock::UnixNanos;
use crate::limits::{JOURNAL_ENTRIES_MAX, JOURNAL_ENTRIES_PER_JOB_MAX, JOURNAL_TEXT_BYTES_MAX};

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub at: UnixNanos,
    /// The real peer, and who it proved to be, in words; empty if it proved nothing.
    pub client: IpAddr,
    pub identity: String,
    pub method: &'static str,
    /// As received; empty if the path spelled none.
    pub job: String,
    /// What follows the job in the path.
    pub labels: String,
    pub status: u16,
    /// As metrics count it.
    pub reason: &'static str,
    /// The plugin that refused it; empty if none did.
    pub plugin: String,
    /// What the client was told.
    pub text: String,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Journal(Mutex<VecDeque<Rejection>>);

impl Journal {
    /// Remembers `rejection`, what is long in it cut.
    pub fn note(&self, mut rejection: Rejection) {
        for text in [&mut rejection.identity, &mut rejection.job, &mut rejection.labels, &mut rejection.text]
        {
            cut(text);
        }
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_job = entries.iter().filter(|entry| entry.job == rejection.job).count();
        if of_job >= JOURNAL_ENTRIES_PER_JOB_MAX {
            let oldest = entries.iter().position(|entry| entry.job == rejection.job);
            oldest.and_then(|oldest| entries.remove(oldest));
        } else if entries.len() >= JOURNAL_ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(rejection);
    }

    /// The last `limit` of them, the latest first; of one job, if it is named.
    pub fn last(&self, job: Option<&str>, limit: usize) -> Vec<Rejection> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |entry: &&Rejection| job.is_none_or(|job| entry.job == job);
        entries.iter().rev().filter(wanted).take(limit).cloned().collect()
    }

    /// The last `limit` that `plugin` refused, the latest first.
    pub fn last_of_plugin(&self, plugin: &str, limit: usize) -> Vec<Rejection> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().rev().filter(|entry| entry.plugin == plugin).take(limit).cloned().collect()
    }
}

fn cut(text: &mut String) {
    if text.len() > JOURNAL_TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(JOURNAL_TEXT_BYTES_MAX));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn rejection(job: &str, at: usize) -> Rejection {
        Rejection {
            at: UnixNanos(at as _),
            client: Ipv4Addr::LOCALHOST.into(),
            identity: String::new(),
            method: "PUT",
            job: job.to_owned(),
            labels: String::new(),
            status: 400,
            reason: "malformed",
            plugin: String::new(),
            text: "why".to_owned(),
        }
    }

    #[test]
    fn a_noisy_job_pushes_out_its_own() {
        let journal = Journal::default();
        journal.note(rejection("quiet", 1));
        (0..10 * JOURNAL_ENTRIES_MAX).for_each(|at| journal.note(rejection("noisy", at)));
        let all = journal.last(None, usize::MAX);
        assert_eq!(all.len(), JOURNAL_ENTRIES_PER_JOB_MAX + 1);
        assert_eq!(all.first().unwrap().at.0 as usize, 10 * JOURNAL_ENTRIES_MAX - 1);
        assert_eq!(journal.last(Some("quiet"), 5), [rejection("quiet", 1)]);
        assert_eq!(journal.last(Some("noisy"), 2).len(), 2);
    }

    #[test]
    fn rejections_are_found_by_plugin() {
        let journal = Journal::default();
        journal.note(rejection("a", 1));
        journal.note(Rejection { plugin: "p".to_owned(), ..rejection("a", 2) });
        journal.note(Rejection { plugin: "q".to_owned(), ..rejection("b", 3) });
        let of_p = journal.last_of_plugin("p", 5);
        assert_eq!((of_p.len(), of_p[0].at.0), (1, 2));
    }

    #[test]
    fn many_jobs_are_bounded_too_and_long_texts_cut() {
        let journal = Journal::default();
        (0..2 * JOURNAL_ENTRIES_MAX).for_each(|at| journal.note(rejection(&format!("job{at}"), at)));
        assert_eq!(journal.last(None, usize::MAX).len(), JOURNAL_ENTRIES_MAX);
        assert!(journal.last(Some("job0"), 1).is_empty());
        journal.note(Rejection { text: "ü".repeat(JOURNAL_TEXT_BYTES_MAX), ..rejection("long", 1) });
        let text = &journal.last(Some("long"), 1)[0].text;
        assert!(text.len() <= JOURNAL_TEXT_BYTES_MAX + 3 && text.ends_with("ü…"));
    }
}

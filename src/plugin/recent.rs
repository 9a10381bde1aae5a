//! What went wrong lately in one plugin, and what it would have done in shadow; bounded, for the page and the
//! API.
//!
//! Written only where something went wrong or a plugin in shadow had an effect, so a lock is no burden.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::insight::Incident;
use super::vm::one_line;

/// Incidents of each code that are remembered for each plugin, so that frequent ones leave rare ones room.
const KEPT: usize = 5;

/// Bytes of a text that are kept.
const TEXT_BYTES_MAX: usize = 512;

/// Time between two records in the log about what a plugin in shadow would have done.
const PAUSE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    errors: VecDeque<Incident>,
    shadow: VecDeque<Incident>,
    logged: Option<Instant>,
}

impl Recent {
    fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a failure.
    pub fn failed(&self, incident: Incident) {
        self.with(|kept| push(&mut kept.errors, incident));
    }

    /// Notes what a plugin in shadow would have done; true if that is to be logged too.
    pub fn shadowed(&self, incident: Incident, now: Instant) -> bool {
        self.with(|kept| {
            push(&mut kept.shadow, incident);
            let due = kept.logged.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
            if due {
                kept.logged = Some(now);
            }
            due
        })
    }

    /// The latest first: failures, and what happened in shadow.
    pub fn all(&self) -> (Vec<Incident>, Vec<Incident>) {
        let list = |all: &VecDeque<Incident>| all.iter().rev().cloned().collect();
        self.with(|kept| (list(&kept.errors), list(&kept.shadow)))
    }
}

fn push(list: &mut VecDeque<Incident>, mut incident: Incident) {
    incident.text = one_line(&incident.text, TEXT_BYTES_MAX);
    incident.job = one_line(&incident.job, TEXT_BYTES_MAX);
    let alike = |known: &&Incident| known.code == incident.code;
    if list.iter().filter(alike).count() >= KEPT {
        let oldest = list.iter().position(|known| known.code == incident.code);
        oldest.and_then(|oldest| list.remove(oldest));
    }
    list.push_back(incident);
}

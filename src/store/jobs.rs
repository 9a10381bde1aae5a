//! How much each job holds, counted as shapes change.
//!
//! Steady pushes never come here: only what adds or removes groups or series does, under the claims
//! that it holds anyway, for the length of one addition. A job without groups is forgotten.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Store;
use super::hash::{self, Map};
use crate::clock::UnixNanos;
use crate::model::{Families, GroupingKey};

use super::Mode;

/// Enough that workers seldom meet.
const STRIPES: usize = 64;

/// What a job holds, or by how much that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub groups: i64,
    pub series: i64,
    /// Exposed lines without the push times: a histogram has one for each bucket.
    pub lines: i64,
}

/// Some of the jobs.
type Stripe = Mutex<Map<Box<str>, Held>>;

/// See the module.
pub struct Jobs {
    stripes: Box<[Stripe]>,
    lines: AtomicI64,
}

impl Default for Jobs {
    fn default() -> Jobs {
        Jobs { stripes: (0..STRIPES).map(|_| Mutex::default()).collect(), lines: AtomicI64::new(0) }
    }
}

impl Jobs {
    fn stripe(&self, job: &str) -> MutexGuard<'_, Map<Box<str>, Held>> {
        let at = hash::of_bytes(job.as_bytes()) % STRIPES as u64;
        lock(&self.stripes[at as usize])
    }

    /// Adds to what a job holds.
    pub fn count(&self, job: &str, more: Held) {
        // Without a limit it is not refused.
        let _ = self.take(job, more, u64::MAX);
    }

    /// Adds to what a job holds unless more series make them more than `series_max`.
    ///
    /// # Errors
    ///
    /// How many series it has; nothing was added.
    pub fn take(&self, job: &str, more: Held, series_max: u64) -> Result<(), i64> {
        if more == Held::default() {
            return Ok(());
        }
        let mut jobs = self.stripe(job);
        let held = jobs.get(job).copied().unwrap_or_default();
        let series = held.series + more.series;
        if more.series > 0 && series > i64::try_from(series_max).unwrap_or(i64::MAX) {
            return Err(held.series);
        }
        self.lines.fetch_add(more.lines, Ordering::Relaxed);
        // The parts of one change may be counted one after the other.
        match (Held { groups: held.groups + more.groups, series, lines: held.lines + more.lines }) {
            left if left == Held::default() => drop(jobs.remove(job)),
            left => drop(jobs.insert(job.into(), left)),
        }
        Ok(())
    }

    /// Series of the job that has most of them.
    pub fn most_series(&self) -> u64 {
        let most = |stripe: &Mutex<Map<Box<str>, Held>>| lock(stripe).values().map(|held| held.series).max();
        u64::try_from(self.stripes.iter().filter_map(most).max().unwrap_or(0)).unwrap_or(0)
    }

    fn get(&self, job: &str) -> Held {
        self.stripe(job).get(job).copied().unwrap_or_default()
    }

    #[cfg(test)]
    pub fn all(&self) -> std::collections::BTreeMap<String, Held> {
        let all = self.stripes.iter().flat_map(|stripe| {
            lock(stripe).iter().map(|(job, held)| (job.to_string(), *held)).collect::<Vec<_>>()
        });
        all.collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is stored at one instant, as far as one push is concerned. Lines are exposed lines without the
/// push times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Around {
    pub group_lines: u64,
    /// The group's last accepted push, if there is a group.
    pub last_push: Option<UnixNanos>,
    /// Lines of the group that the push takes the place of.
    pub replaced_lines: u64,
    pub job_lines: u64,
    pub job_groups: u64,
    pub all_lines: u64,
    pub all_groups: u64,
}

impl Store {
    /// What a push of `families` to `key` meets. Costs a look at the group's families, however much is
    /// stored.
    pub fn around(&self, mode: Mode, key: &GroupingKey, families: &Families<'_>) -> Around {
        let count = |lines: i64| u64::try_from(lines).unwrap_or(0);
        let jobs = self.usage.jobs();
        let job = jobs.get(key.job());
        let state = self.state_of(key);
        let (mut group_lines, mut replaced_lines) = (0, 0);
        if let Some(state) = &state {
            group_lines = state.line_count() as u64;
            let replaced = families.families.iter().filter_map(|family| {
                let (held, shape) = state.find(&family.name)?;
                Some(held.block.shape.values_of(shape).len() as u64)
            });
            replaced_lines = if mode == Mode::ReplaceGroup { group_lines } else { replaced.sum() };
        }
        Around {
            group_lines,
            last_push: state.map(|state| state.push_time),
            replaced_lines,
            job_lines: count(job.lines),
            job_groups: count(job.groups),
            all_lines: count(jobs.lines.load(Ordering::Relaxed)),
            all_groups: self.groups_count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NameRules;
    use crate::parse::text;

    fn push(store: &Store, mode: Mode, key: &GroupingKey, body: &str) {
        let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        store.push(mode, key, &families, Some(body.as_bytes()), UnixNanos(5)).unwrap();
    }

    fn around(store: &Store, mode: Mode, key: &GroupingKey, body: &str) -> Around {
        let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        store.around(mode, key, &families)
    }

    #[test]
    fn lines_are_counted_by_group_job_and_all() {
        let store = Store::new(true, []);
        let (one, two, other) = (
            GroupingKey::new("j", [("i", "1")]),
            GroupingKey::new("j", [("i", "2")]),
            GroupingKey::new("k", []),
        );
        assert_eq!(around(&store, Mode::ReplaceGroup, &one, "a 1\n"), Around::default());
        push(&store, Mode::ReplaceGroup, &one, "a 1\nb{x=\"1\"} 1\nb{x=\"2\"} 1\n");
        push(
            &store,
            Mode::ReplaceFamilies,
            &one,
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
        );
        push(&store, Mode::ReplaceGroup, &two, "a 1\n");
        push(&store, Mode::ReplaceGroup, &other, "a 1\n");
        let seen = around(&store, Mode::ReplaceFamilies, &one, "b 1\nnew 1\n");
        let expected = Around {
            group_lines: 7,
            last_push: Some(UnixNanos(5)),
            replaced_lines: 2,
            job_lines: 8,
            job_groups: 2,
            all_lines: 9,
            all_groups: 3,
        };
        assert_eq!(seen, expected);
        assert_eq!(around(&store, Mode::ReplaceGroup, &one, "b 1\n").replaced_lines, 7);
        // Same again, less, and nothing at all.
        push(&store, Mode::ReplaceGroup, &two, "a 2\n");
        push(&store, Mode::ReplaceGroup, &one, "a 2\n");
        store.delete(&two);
        let seen = around(&store, Mode::ReplaceGroup, &one, "");
        assert_eq!((seen.job_lines, seen.job_groups, seen.all_lines), (1, 1, 2));
        store.wipe();
        assert!(store.usage.jobs().all().is_empty());
        assert_eq!(store.usage.jobs().lines.load(Ordering::Relaxed), 0);
    }
}

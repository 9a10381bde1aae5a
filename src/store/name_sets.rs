//! The sets of grouping label names in use: {job}, {job, instance}, ... a handful in practice.
//!
//! A series of one group can belong to another group only if that group's key is the series restricted
//! to one of these sets, so they are what a push of a new shape has to look through.
//!
//! A push that may create a group registers its set first, plans with the list as it is then, and
//! reads the version again under its claims. Of two pushes that register new sets at once, the one
//! that finds the version changed plans again, so at least one of them looks for the other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use crate::model::GroupingKey;

/// Sorted label names.
pub type Names = Arc<[Box<str>]>;

#[derive(Default)]
pub struct NameSets {
    list: RwLock<Arc<Vec<(Names, u32)>>>,
    version: AtomicU64,
}

/// The sets in use at one version.
pub struct Snapshot {
    pub version: u64,
    sets: Arc<Vec<(Names, u32)>>,
}

impl Snapshot {
    pub fn sets(&self) -> impl Iterator<Item = &Names> {
        self.sets.iter().map(|entry| &entry.0)
    }
}

fn is_of(names: &Names, key: &GroupingKey) -> bool {
    names.len() == key.len() && names.iter().zip(key.labels()).all(|(name, label)| **name == *label.0)
}

impl NameSets {
    /// Counts one group more with the names of `key`.
    ///
    /// # Errors
    ///
    /// The set is new and there are `sets_max` already.
    pub fn register(&self, key: &GroupingKey, sets_max: usize) -> Result<(), ()> {
        let mut list = self.write();
        let sets = Arc::make_mut(&mut list);
        if let Some(entry) = sets.iter_mut().find(|entry| is_of(&entry.0, key)) {
            entry.1 += 1;
            return Ok(());
        }
        if sets.len() >= sets_max {
            return Err(());
        }
        sets.push((key.labels().map(|label| label.0.into()).collect(), 1));
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Counts one group less with the names of `key`.
    pub fn unregister(&self, key: &GroupingKey) {
        let mut list = self.write();
        let sets = Arc::make_mut(&mut list);
        let at = sets.iter().position(|entry| is_of(&entry.0, key)).expect("a group's set is registered");
        sets[at].1 -= 1;
        if sets[at].1 == 0 {
            // A plan that still has the set looks for more than it must, which harms nothing.
            sets.swap_remove(at);
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        let list = self.list.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        Snapshot { version: self.version.load(Ordering::Acquire), sets: list.clone() }
    }

    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Arc<Vec<(Names, u32)>>> {
        self.list.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lives_as_long_as_its_groups() {
        let sets = NameSets::default();
        let (one, two) = (GroupingKey::new("j", []), GroupingKey::new("j", [("a", "1")]));
        sets.register(&one, 2).unwrap();
        let version = sets.version();
        sets.register(&one, 2).unwrap();
        assert_eq!(sets.version(), version, "a known set changes no plan");
        sets.register(&two, 2).unwrap();
        assert_ne!(sets.version(), version);
        assert_eq!(sets.register(&GroupingKey::new("j", [("b", "1")]), 2), Err(()));
        sets.unregister(&one);
        assert_eq!(sets.snapshot().sets().count(), 2);
        sets.unregister(&one);
        assert_eq!(sets.snapshot().sets().count(), 1);
    }
}

//! The group map: every pushed group, found by its grouping key.
//!
//! # Invariants
//!
//! 1. Every series of a group carries the group's grouping labels.
//! 2. While consistency is checked, a family name has one type across all groups, and no two groups
//!    hold the same series. The two push times of two groups are never the same series.
//! 3. A push becomes visible whole. Once it is answered, every later scrape shows it or something newer.
//! 4. Nothing borrowed from the map leaves this module: callers receive owned, immutable data.
//! 5. A sealed group in the map is one that is not there. It may stand there long after its end; see [`ending`].
//!
//! # Lock-freedom
//!
//! Pushes of a shape that their group has already, and all readers, take no lock. Changes of shape take
//! short striped claims; map growth is papaya's, which moves entries in steps.
//!
//! # Not here
//!
//! Byte formats, HTTP, Lua, disks and networks. Nothing in this module waits for any of them.

mod alarms;
mod apply;
pub mod build;
mod claims;
mod consistency;
mod ending;
mod failing;
pub mod feed;
pub mod group;
mod hash;
mod intern;
pub mod jobs;
pub mod keys;
pub mod life;
pub mod listing;
pub mod merge;
mod name_sets;
mod naming;
mod published;
mod recognised;
mod rehearse;
pub mod restore;
mod running;
pub mod shape;
pub mod times;
pub mod usage;
pub mod view;

use std::sync::Arc;

use crossbeam_queue::{ArrayQueue, SegQueue};

use crate::model::{GroupingKey, Limit, MetricType};
use group::{Group, GroupState, READERS};
use usage::{StoreLimits, Usage};

pub use alarms::Timer;
pub use recognised::Recognised;

/// What a push does to the families already in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// PUT: the pushed families take the place of all others.
    ReplaceGroup,
    /// POST: each pushed family replaces the family of its name.
    ReplaceFamilies,
}

pub struct Store {
    map: papaya::HashMap<Arc<GroupingKey>, Arc<Group>, hash::Hashing>,
    shapes: intern::Shapes,
    claims: claims::Claims,
    name_sets: name_sets::NameSets,
    /// Whether pushes are checked against other groups.
    check: bool,
    feeds: [SegQueue<Arc<Group>>; READERS],
    /// How many of the readers follow; the marks of the others are never touched.
    following: usize,
    usage: Usage,
    alarms: alarms::Alarms,
    /// What stands in the map for the groups that ended last.
    ended: ArrayQueue<Arc<Group>>,
    time: running::Time,
}

/// One of our own families, which pushes must agree with.
pub struct OwnFamily {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: MetricType,
    /// Whether a push of this name must bring our help to the letter.
    pub help_must_agree: bool,
}

impl Store {
    /// An empty store. `check` says whether pushes are checked against other groups.
    pub fn new(check: bool, own: impl IntoIterator<Item = OwnFamily>) -> Store {
        let store = Store {
            map: papaya::HashMap::with_hasher(hash::Hashing::default()),
            shapes: intern::Shapes::default(),
            claims: claims::Claims::default(),
            name_sets: name_sets::NameSets::default(),
            check,
            feeds: Default::default(),
            following: group::RENDERER + 1,
            usage: Usage::default(),
            alarms: alarms::Alarms::default(),
            ended: ArrayQueue::new(ending::MARKERS),
            time: running::Time::default(),
        };
        for family in own {
            let help = family.help_must_agree.then_some(family.help);
            store.claims.enter_own(family.name, claims::Own { kind: family.kind, help });
        }
        for name in [times::PUSH_TIME, times::PUSH_FAILURE_TIME, times::OVERDUE] {
            store.claims.enter_own(name, claims::Own { kind: MetricType::Gauge, help: None });
        }
        store
    }

    /// This store, still empty, with limits.
    #[must_use]
    pub fn with_limits(self, limits: StoreLimits) -> Store {
        Store { usage: Usage::new(limits), ..self }
    }

    /// How much is held, and may be.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// How much of each limit on what is held is used now.
    pub fn uses(&self) -> impl Iterator<Item = (Limit, u64)> {
        let name_sets = self.name_sets.snapshot().sets().count() as u64;
        let uses = [
            (Limit::Groups, self.usage.groups()),
            (Limit::Series, self.usage.series()),
            (Limit::Memory, self.usage.bytes()),
            (Limit::GroupingNameSets, name_sets),
        ];
        uses.into_iter().chain(self.usage.fullest_job().map(|series| (Limit::JobSeries, series)))
    }

    /// This store with a feed for whoever keeps groups across restarts as well.
    pub fn followed_by_keeper(mut self) -> Store {
        self.following = group::KEEPER + 1;
        self
    }

    fn get(&self, key: &GroupingKey) -> Option<Arc<Group>> {
        self.map.pin().get(key).filter(|group| group.is_there()).cloned()
    }

    /// What stands in the map under `key`, for whoever finds out by itself whether that is sealed.
    fn find(&self, key: &GroupingKey) -> Option<Arc<Group>> {
        self.map.pin().get(key).cloned()
    }

    /// The group `key` as it is now; `None` if there is none.
    pub fn state_of(&self, key: &GroupingKey) -> Option<GroupState> {
        self.get(key)?.load()
    }

    /// Every group there is, in no order.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.map.pin().values().filter(|group| group.is_there()).cloned().collect()
    }

    /// How many groups there are.
    pub fn groups_count(&self) -> u64 {
        self.usage.groups()
    }

    /// How many series were pushed and are held.
    pub fn series_count(&self) -> u64 {
        self.usage.series()
    }

    /// Tells each reader that `group` changed.
    fn note(&self, group: &Arc<Group>) {
        for (mark, feed) in group.marks.iter().zip(&self.feeds).take(self.following) {
            mark.note(|| feed.push(group.clone()));
        }
    }

    /// How many entries `reader` has waiting.
    pub fn changed(&self, reader: usize) -> usize {
        self.feeds[reader].len()
    }

    /// The next changed group for `reader`, its mark cleared: load its state after this call.
    pub fn next_changed(&self, reader: usize) -> Option<Arc<Group>> {
        let group = self.feeds[reader].pop()?;
        group.marks[reader].clear();
        Some(group)
    }

    /// Runs `read` while no group can change its shape. Steady pushes go on.
    pub fn hold_shapes<R>(&self, read: impl FnOnce() -> R) -> R {
        let _claimed = self.claims.take_all();
        read()
    }

    /// Whether pushes are checked against other groups.
    pub fn checks(&self) -> bool {
        self.check
    }
}

/// A number for a series by its family's name and whole label set, the same in every group.
pub fn series_id(name: &str, shape: &shape::Shape, position: usize, group: &Group) -> u64 {
    hash::of_bytes(name.as_bytes()).wrapping_add(group.key_hash).wrapping_add(shape.run_hash(position))
}

#[cfg(test)]
mod tests;

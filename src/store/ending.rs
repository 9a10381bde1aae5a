//! How groups end: by a delete, by a wipe, by their lifetime.
//!
//! A group ends under the claims on its key and on its names, so that whoever looks at them sees it whole or not at
//! all. Its state is sealed before it leaves the map: a writer that finds the seal begins again from the map, where
//! a sealed group is one that is not there.
//!
//! # What stays in the map
//!
//! An ended group leaves a marker in its place, sealed and without what the group held, which a group of the same
//! key takes again. The map finds a key by going along places of its own, at most some seventy, and never uses a
//! place twice that was given up: it moves to another table instead, a few entries with each change. One job that is
//! pushed and deleted again and again would use up the places of its key faster than a large map can move, and each
//! such move would start another one. Only the markers of the last [`MARKERS`] ends are kept, so that a key gives up
//! a place at most once in so many ends.

use std::sync::Arc;

use super::Store;
use super::claims::Wanted;
use super::group::{Group, GroupState};
use super::life::Life;
use super::published::Next;
use super::usage::Growth;
use crate::model::GroupingKey;

/// Enough that the table of millions of groups has moved before one key has used up its places.
pub const MARKERS: usize = 1024;

impl Store {
    /// Deletes the group `key`; true if it was there.
    pub fn delete(&self, key: &GroupingKey) -> bool {
        loop {
            let Some(group) = self.get(key) else { return false };
            if self.end_if(&group, |_| true) {
                return true;
            }
            // Somebody else did; there may be a new one.
        }
    }

    /// Ends a group whose lifetime did, unless it was pushed since it was `judged`.
    pub fn expire(&self, group: &Arc<Group>, judged: &GroupState) -> bool {
        self.end_if(group, |state| state.is_of_same_push(judged))
    }

    /// Gives a group another life, unless it was pushed since it was `judged`.
    pub fn outlive(&self, group: &Arc<Group>, judged: &GroupState, life: Life) -> bool {
        let published = group.state.update(|state| {
            if !state.is_of_same_push(judged) {
                return Next::Keep(false);
            }
            Next::Publish(GroupState { life, ..state.clone() }, true)
        });
        let published = published == Ok(true);
        if published {
            self.alarms.set(group, life);
            self.note(group);
        }
        published
    }

    /// Deletes exactly this group if `wanted` likes the state that it has at the end; true if it did.
    fn end_if(&self, group: &Arc<Group>, wanted: impl Fn(&GroupState) -> bool) -> bool {
        let key = &group.key;
        loop {
            let Some(state) = group.load() else { return false };
            if !wanted(&state) {
                return false;
            }
            let mut claims = Wanted::default();
            claims.key(group.key_hash);
            for (held, _, family) in state.families() {
                claims.name(held.block.shape.name(family));
            }
            let mut claimed = self.claims.take(&claims);
            if !self.is_as_planned(key, Some(group), &state) {
                continue;
            }
            // A push of the same shape may have come meanwhile, or come just now.
            let sealed = group.state.seal(|state| wanted(state).then(|| state.clone()));
            let Ok(Some(state)) = sealed else { return false };
            let mut names = 0;
            for (held, _, family) in state.families() {
                names += claimed.release(held.block.shape.name(family), family.kind);
            }
            self.usage.count(key.job(), Growth::deleted(key, &state).with_names(-names));
            self.leave_marker(group);
            self.name_sets.unregister(key);
            self.note(group);
            return true;
        }
    }

    /// Deletes every group that exists now; returns how many. Groups made meanwhile may stay.
    pub fn wipe(&self) -> usize {
        let keys: Vec<Arc<GroupingKey>> = self.groups().iter().map(|group| group.key.clone()).collect();
        keys.iter().filter(|key| self.delete(key)).count()
    }

    /// Puts a marker in the place of a sealed group whose key is claimed, and takes the oldest marker out of the map
    /// if it still stands there.
    fn leave_marker(&self, group: &Group) {
        let marker = Arc::new(Group::marker(group));
        let map = self.map.pin();
        map.insert(marker.key.clone(), marker.clone());
        if let Some(oldest) = self.ended.force_push(marker) {
            let _ = map.remove_if(&oldest.key, |_, found| Arc::ptr_eq(found, &oldest));
        }
    }
}

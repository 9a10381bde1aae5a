//! How groups end: by a delete, by a wipe, by their lifetime.
//!
//! A group ends under the claims on its key and on its names, so that whoever looks at them sees it whole or not at
//! all. Its state is sealed before it leaves the map: a writer that finds the seal begins again from the map.

use std::sync::Arc;

use super::Store;
use super::claims::Wanted;
use super::group::{Group, GroupState};
use super::life::Life;
use super::published::Next;
use super::usage::Growth;
use crate::model::GroupingKey;

impl Store {
    /// Deletes the group `key`; true if it was there.
    pub fn delete(&self, key: &GroupingKey) -> bool {
        loop {
            let Some(group) = self.get(key) else { return false };
            if self.end_if(&group, |_| true) {
                return true;
            }
            // Somebody else did; there may be a new one.
            self.forget(&group);
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
            self.forget(group);
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

    /// Takes a sealed group out of the map, if it is still the one found under its key.
    pub(super) fn forget(&self, group: &Arc<Group>) {
        let map = self.map.pin();
        let _ = map.remove_if(&group.key, |_, found| Arc::ptr_eq(found, group));
    }
}

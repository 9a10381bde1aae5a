//! The time of a group's last failed push: what a refusal leaves behind, and all that it does.

use std::sync::Arc;

use super::apply::{Registered, Room};
use super::claims::Wanted;
use super::group::{Group, GroupState};
use super::life::Stamp;
use super::published::{Next, Sealed};
use super::usage::Growth;
use super::{Store, build, consistency};
use crate::clock::UnixNanos;
use crate::model::GroupingKey;

impl Store {
    /// Records that a push to `key` was refused, creating the group if it does not exist, as the
    /// reference does. Left out where the new group's push times would be another group's, or a limit
    /// leaves it no room. Only a group that this creates is given a life.
    pub fn stamp_failure(&self, key: &GroupingKey, now: impl Into<Stamp>) {
        let now = now.into();
        loop {
            if let Some(group) = self.get(key) {
                match self.stamp(&group, now.at) {
                    Ok(()) => return,
                    Err(Sealed) => continue,
                }
            }
            let is_bad = build::check_key(key, &self.usage.limits().push).is_err();
            if is_bad || self.name_sets.register(key, self.name_sets_max(Room::Limited)).is_err() {
                return;
            }
            let registered = Registered::new(self, key, true);
            let twin = consistency::twin(key);
            let mut wanted = Wanted::default();
            wanted.key(consistency::key_hash(key));
            twin.iter().for_each(|twin| wanted.key(consistency::key_hash(twin)));
            let claimed = self.claims.take(&wanted);
            if self.get(key).is_some() {
                continue;
            }
            if twin.is_none_or(|twin| self.get(&twin).is_none()) && self.insert_failed(key, now) {
                registered.keep();
            }
            drop(claimed);
            return;
        }
    }

    /// Records that a push to `key` was refused if that group exists.
    pub fn stamp_failure_if_there(&self, key: &GroupingKey, now: UnixNanos) {
        if let Some(group) = self.get(key) {
            // A group that is being deleted shows nothing any more.
            let _ = self.stamp(&group, now);
        }
    }

    pub(super) fn stamp(&self, group: &Arc<Group>, now: UnixNanos) -> Result<(), Sealed> {
        group.state.update(|state| Next::Publish(GroupState { failure_time: now, ..state.clone() }, ()))?;
        self.note(group);
        Ok(())
    }

    /// Puts an empty group into the map whose first push failed; false if there is no room for it.
    pub(super) fn insert_failed(&self, key: &GroupingKey, now: Stamp) -> bool {
        let state = GroupState { failure_time: now.at, life: now.life, ..GroupState::default() };
        let planned = Growth::planned(key, None, &state);
        let Ok(reserved) = self.usage.reserve(key.job(), planned, false) else { return false };
        self.insert(key, state.clone());
        reserved.settle(Growth::done(key, None, &state));
        true
    }
}

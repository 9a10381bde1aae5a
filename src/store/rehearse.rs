//! What a push would do, without doing it: every check and every limit, and nothing that stays.

use std::sync::Arc;

use super::apply::{TIMESTAMPED, next_state, refusal};
use super::build::{self, Fault};
use super::consistency::{Conflict, Plan};
use super::group::{Group, GroupState};
use super::life::Stamp;
use super::usage::Growth;
use super::{Mode, Store};
use crate::model::{Families, GroupingKey, Refusal};

impl Store {
    /// The group with nothing but what a push of `families` to `key` would bring, part of no store.
    ///
    /// # Errors
    ///
    /// As [`push`](Store::push), but that nothing is stamped.
    pub fn rehearse(
        &self,
        mode: Mode,
        key: &GroupingKey,
        families: &Families<'_>,
        now: Stamp,
    ) -> Result<Group, Refusal> {
        build::check_key(key, &self.usage.limits().push)?;
        if families.timestamped {
            return Err(refusal(TIMESTAMPED));
        }
        let block = match self.block(key, families, None, now.at) {
            Ok(block) => Arc::new(block),
            Err(Fault::Stamped(text) | Fault::Traceless(text)) => return Err(refusal(&text)),
            Err(Fault::OverLimit(over)) => return Err(over.into()),
        };
        let old = self.get(key).and_then(|group| group.load());
        let before = old.clone().unwrap_or_default();
        let new = next_state(&before, mode, &block, now);
        let sets = self.name_sets.snapshot();
        let plan = Plan::new(key, &block.shape, &before, &new, old.is_none(), &sets);
        let claimed = self.claims.take(&plan.wanted());
        let find = |key: &GroupingKey| self.get(key);
        let verdict = if self.check { plan.check(&claimed, find) } else { plan.check_times(find) };
        drop(claimed);
        match verdict {
            Err(Conflict::Families(text) | Conflict::Traceless(text)) => Err(refusal(&text)),
            // What is taken is given back at the end of this line.
            Ok(()) => self.usage.reserve(key.job(), Growth::planned(key, old.as_ref(), &new), false).map(
                |_reserved| Group::new(key.clone(), next_state(&GroupState::default(), mode, &block, now)),
            ),
        }
    }
}

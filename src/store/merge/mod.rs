//! Pushes that add to what is stored instead of taking its place.
//!
//! A merging push makes one block of the blocks that it touches and of itself, and that block takes their
//! place. So a group that is only ever merged into settles on one block with one shape, and then a push
//! changes nothing but values.
//!
//! # Atomic
//!
//! What is stored is read, merged and published in one compare-and-swap, with the key of the push: of two
//! pushes that race, one merges what the other left. A push that changes the shape makes the new shape from
//! the state as it saw it, takes the claims of any other change of shape, and reads the values under them.

mod fill;
mod pushed;
mod union;

use std::sync::Arc;

use super::apply::{Attempt, Change, Room, Stop};
use super::consistency::Conflict;
use super::group::{Block, Group, GroupState, Layout};
use super::keys::{Keys, Known, Remember};
use super::life::Stamp;
use super::published::{Next, Sealed};
use super::shape::Shape;
use super::{Mode, Store, apply, build, recognised};
use crate::model::template::{Body, Template};
use crate::model::{Families, GroupingKey, MergeRule, MetricType, PushLimits, Reason, Refusal};
use pushed::Pushed;

/// How a push is to be merged.
#[derive(Clone, Copy)]
pub struct Manner<'m> {
    /// The rule for a family by its name and type.
    pub rule: &'m dyn Fn(&str, MetricType) -> MergeRule,
    /// By what it is known should it be sent again.
    pub remember: Option<Remember>,
    pub stamp: Stamp,
}

/// What became of a push that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    Stored,
    /// It had been before, and nothing changed.
    Replayed,
}

/// How an attempt that changes nothing but values ended.
enum Short {
    Done(Merged),
    /// More than values would change.
    OtherShape,
    Refused(Refusal),
}

impl Store {
    /// Merges a body that differs from the group's last one in values alone, without parsing it; `None` if
    /// it does not. See [`push_known_from`](Store::push_known_from) for `chain`.
    pub fn merge_known(
        &self,
        chain: u64,
        key: &GroupingKey,
        body: Body<'_>,
        manner: Manner<'_>,
    ) -> Option<Result<Merged, Refusal>> {
        let group = self.get(key)?;
        let block = group.state.read(|state, _| recognised::block(state, chain, body, manner.stamp.at))?;
        let pushed = match Pushed::new(&block, manner.rule) {
            Ok(pushed) => pushed,
            Err(refusal) => return Some(Err(refusal)),
        };
        if pushed.replaces() {
            return None;
        }
        match self.merge_values(&group, &pushed, manner) {
            Ok(Short::Done(merged)) => Some(Ok(merged)),
            Ok(Short::Refused(refusal)) => Some(Err(refusal)),
            Ok(Short::OtherShape) | Err(Sealed) => None,
        }
    }

    /// Merges a push. See [`push_cut`](Store::push_cut) for `cut`.
    ///
    /// # Errors
    ///
    /// As [`push_cut`](Store::push_cut); or it cannot be merged, or its key was used for another push. Nothing
    /// of it is stored, and nothing is stamped for these.
    pub fn merge(
        &self,
        key: &GroupingKey,
        families: &Families<'_>,
        manner: Manner<'_>,
        cut: impl FnOnce(usize, &dyn Fn(u32) -> Option<u32>) -> Option<Template>,
    ) -> Result<Merged, Refusal> {
        let block = self.checked_block(key, families, manner.stamp, cut)?;
        let pushed = Pushed::new(&block, manner.rule)?;
        if pushed.replaces() {
            self.push_block(Mode::ReplaceFamilies, key, &block, manner.stamp, None)?;
            return Ok(Merged::Stored);
        }
        loop {
            let group = self.get(key);
            let change = match &group {
                None => Merging::into_nothing(&block, &pushed, manner),
                Some(group) => match self.merge_values(group, &pushed, manner) {
                    Ok(Short::Done(merged)) => return Ok(merged),
                    Ok(Short::Refused(refusal)) => return Err(refusal),
                    Ok(Short::OtherShape) => {
                        let Some(state) = group.load() else { continue };
                        Merging::new(self.union_of(key, &state, &pushed)?, &state, &pushed, manner)
                    }
                    Err(Sealed) => continue,
                },
            };
            let stamp = manner.stamp;
            match self.change_shape(&change, key, group.as_ref(), stamp, Room::Limited)? {
                Attempt::Done => return Ok(Merged::Stored),
                Attempt::Unchanged => return Ok(Merged::Replayed),
                Attempt::Refused(Conflict::Families(text) | Conflict::Traceless(text)) => {
                    return Err(apply::refusal(&text));
                }
                Attempt::Again => {}
            }
        }
    }

    /// Publishes what `pushed` makes of the group if that changes nothing but values and times.
    fn merge_values(
        &self,
        group: &Arc<Group>,
        pushed: &Pushed<'_>,
        manner: Manner<'_>,
    ) -> Result<Short, Sealed> {
        let refused = |refusal| Next::Keep((Short::Refused(refusal), None));
        let (short, swapped) = group.state.update(|state| {
            match replayed(manner, state) {
                Ok(false) => {}
                Ok(true) => return Next::Keep((Short::Done(Merged::Replayed), None)),
                Err(refusal) => return refused(refusal),
            }
            let mut touched = state.blocks.iter().enumerate().filter(|(_, held)| pushed.touches(held));
            let (at, held) = match (touched.next(), touched.next()) {
                (Some(held), None) if held.1.is_whole() && union::covers(held.1, pushed) => held,
                _ => return Next::Keep((Short::OtherShape, None)),
            };
            let old = held.block.clone();
            let block = match fill::block(&old.shape, state, pushed, manner.stamp) {
                Ok(block) => Arc::new(block),
                Err(refusal) => return refused(refusal),
            };
            if !old.weighs_like(&block)
                && let Err(refusal) = self.usage.check_swap(&old, &block)
            {
                return refused(refusal);
            }
            let mut next = state.with_block(at, block.clone());
            (next.life, next.keys) = (manner.stamp.life, added(manner, state));
            let keys = (state.keys.clone(), next.keys.clone());
            Next::Publish(next, (Short::Done(Merged::Stored), Some((old, block, keys))))
        })?;
        if let Some((old, new, (old_keys, new_keys))) = swapped {
            if !old.weighs_like(&new) {
                self.usage.swapped(&old, &new);
            }
            self.usage.keys_changed(&old_keys, &new_keys);
            self.alarms.set(group, manner.stamp.life);
            self.note(group);
        }
        Ok(short)
    }

    /// The shape of what the group has and what is pushed.
    fn union_of(
        &self,
        key: &GroupingKey,
        state: &GroupState,
        pushed: &Pushed<'_>,
    ) -> Result<Arc<Shape>, Refusal> {
        let families = union::families(state, pushed)?;
        // What is pushed was held to the limits of a push; what is stored is held to those of the store.
        let built = build::shape_of(&families, key, &PushLimits::NONE);
        built.map(|built| self.shapes.intern(built.shape)).map_err(|fault| apply::refusal(&fault.text()))
    }
}

/// Whether the push was merged before.
///
/// # Errors
///
/// Its key was used for another one.
fn replayed(manner: Manner<'_>, state: &GroupState) -> Result<bool, Refusal> {
    let known = manner.remember.map_or(Known::New, |key| key.known(&state.keys, manner.stamp.at));
    match known {
        Known::New => Ok(false),
        Known::Replayed => Ok(true),
        Known::Reused => {
            let text = "the key of this push was used for a push with another body";
            Err(Refusal::new(Reason::KeyReused, text))
        }
    }
}

/// The keys of `state` and that of the push.
fn added(manner: Manner<'_>, state: &GroupState) -> Keys {
    manner.remember.map_or_else(|| state.keys.clone(), |key| key.added(&state.keys, manner.stamp.at))
}

/// A merge that changes the shape of its group.
struct Merging<'m> {
    target: Arc<Shape>,
    /// The shape of the state that the target was made from.
    basis: Layout,
    pushed: &'m Pushed<'m>,
    manner: Manner<'m>,
}

impl<'m> Merging<'m> {
    fn new(
        target: Arc<Shape>,
        state: &GroupState,
        pushed: &'m Pushed<'m>,
        manner: Manner<'m>,
    ) -> Merging<'m> {
        Merging { target, basis: Layout::of(state), pushed, manner }
    }

    fn into_nothing(block: &Block, pushed: &'m Pushed<'m>, manner: Manner<'m>) -> Merging<'m> {
        Merging::new(block.shape.clone(), &GroupState::default(), pushed, manner)
    }
}

impl Change for Merging<'_> {
    fn shape(&self) -> &Shape {
        &self.target
    }

    fn next(&self, state: &GroupState) -> Result<GroupState, Stop> {
        if !self.basis.is_of(state) {
            return Err(Stop::Again);
        }
        if replayed(self.manner, state).map_err(Stop::Refused)? {
            return Err(Stop::Unchanged);
        }
        let block =
            fill::block(&self.target, state, self.pushed, self.manner.stamp).map_err(Stop::Refused)?;
        let mut next = state.updated_by(&Arc::new(block));
        (next.life, next.keys) = (self.manner.stamp.life, added(self.manner, state));
        Ok(next)
    }
}

//! A push: from one state of a group to the next.
//!
//! A push whose shape is the group's own takes the short way: a new state, one compare-and-swap, a
//! note on the feeds. Every other change takes claims first; see [`claims`](super::claims) and
//! [`consistency`](super::consistency).
//!
//! # Protocol of a change of shape
//!
//! 1. Register the grouping label names if the group may be new, then plan from the state as it is.
//! 2. Claim what the plan looks at; plan again if the group changed its shape meanwhile or the sets of
//!    names in use did.
//! 3. Check. If refused, stamp where the reference stamps.
//! 4. Reserve room; see [`usage`](super::usage).
//! 5. Publish, settle, book the names, note the group on the feeds, and only then give the claims back.

use std::sync::Arc;

use super::build::{self, DROPPED, Fault};
use super::consistency::{Conflict, Plan};
use super::group::{Block, Details, Group, GroupState, Mould};
use super::life::Stamp;
use super::published::{Next, Sealed};
use super::shape::Shape;
use super::usage::{self, Growth};
use super::{Mode, Store, recognised};
use crate::clock::UnixNanos;
use crate::model::template::{Body, Template};
use crate::model::{Families, GroupingKey, Limit, PushLimits, Reason, Refusal};

/// What every refusal by the store begins with, as in the reference.
const INCONSISTENT: &str = "pushed metrics are invalid or inconsistent with existing metrics: ";

/// The reference's words for a push with timestamps.
pub(super) const TIMESTAMPED: &str = "pushed metrics must not have timestamps";

pub(super) fn refusal(text: &str) -> Refusal {
    Refusal::new(Reason::Inconsistent, format!("{INCONSISTENT}{text}"))
}

/// How one attempt at a change of shape ended.
pub(super) enum Attempt {
    Done,
    /// There was nothing to change.
    Unchanged,
    Refused(Conflict),
    /// The group was deleted, created or reshaped meanwhile.
    Again,
}

/// Whether a change of shape may be refused for want of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Limited,
    Always,
}

/// What makes the next state of a group.
pub(super) trait Change {
    /// The shape of what it adds.
    fn shape(&self) -> &Shape;

    /// The state after it. The shape of that follows from the shape of `state`.
    ///
    /// # Errors
    ///
    /// Nothing is to be published.
    fn next(&self, state: &GroupState) -> Result<GroupState, Stop>;
}

/// Why a change is not made.
pub(super) enum Stop {
    /// It was planned for a state of another shape.
    Again,
    /// It is made already.
    Unchanged,
    Refused(Refusal),
}

impl Stop {
    fn attempt(self) -> Result<Attempt, Refusal> {
        match self {
            Stop::Again => Ok(Attempt::Again),
            Stop::Unchanged => Ok(Attempt::Unchanged),
            Stop::Refused(refusal) => Err(refusal),
        }
    }
}

/// Says whether a push may take the place of what a group holds.
pub type MayReplace<'c> = &'c dyn Fn(&GroupState) -> Result<(), Refusal>;

/// A push whose families take the place of others.
pub(super) struct Replacing<'b> {
    pub mode: Mode,
    pub block: &'b Arc<Block>,
    pub stamp: Stamp,
    pub may: Option<MayReplace<'b>>,
}

impl Change for Replacing<'_> {
    fn shape(&self) -> &Shape {
        &self.block.shape
    }

    fn next(&self, state: &GroupState) -> Result<GroupState, Stop> {
        self.may.map_or(Ok(()), |may| may(state)).map_err(Stop::Refused)?;
        Ok(next_state(state, self.mode, self.block, self.stamp))
    }
}

/// How a push of the short way ended.
pub(super) enum Short {
    Done,
    /// It would change more than values and times.
    OtherShape,
    Full(Refusal),
}

impl Store {
    /// Takes a body that differs from the group's last one in values alone, without parsing it; false if
    /// it does not.
    pub fn push_known<'b>(
        &self,
        mode: Mode,
        key: &GroupingKey,
        body: impl Into<Body<'b>>,
        now: impl Into<Stamp>,
    ) -> bool {
        self.push_known_from(0, mode, key, body, now)
    }

    /// The same for a body that has gone the way `chain`, as the group's last one must have; see
    /// [`Template::chain`].
    pub fn push_known_from<'b>(
        &self,
        chain: u64,
        mode: Mode,
        key: &GroupingKey,
        body: impl Into<Body<'b>>,
        now: impl Into<Stamp>,
    ) -> bool {
        let (body, now) = (body.into(), now.into());
        let Some(group) = self.find(key) else { return false };
        let block = group.state.read(|state, _| {
            if mode == Mode::ReplaceGroup && state.blocks.len() != 1 {
                return None;
            }
            recognised::block(state, chain, body, now.at).map(Arc::new)
        });
        block.is_some_and(|block| {
            matches!(self.publish_same_shape(&group, mode, &block, now), Ok(Short::Done))
        })
    }

    /// Applies a push. `body` is what it was parsed from, if the families say all of it.
    ///
    /// # Errors
    ///
    /// The push contradicts itself, other groups or our own metrics. Nothing of it is stored; the
    /// group's failure time is set unless that itself would break scrapes. Or it is over a limit; then
    /// nothing is set either.
    pub fn push(
        &self,
        mode: Mode,
        key: &GroupingKey,
        families: &Families<'_>,
        body: Option<&[u8]>,
        now: impl Into<Stamp>,
    ) -> Result<(), Refusal> {
        self.push_cut(mode, key, families, now, |values, first| {
            body.and_then(|body| Template::cut(body, families, values, first))
        })
    }

    /// As [`push`](Store::push), for families that are not what the body said. `cut` makes the template,
    /// if there can be one, from the number of values and from where those of a series (by position in
    /// `families`) begin.
    ///
    /// # Errors
    ///
    /// As [`push`](Store::push).
    pub fn push_cut(
        &self,
        mode: Mode,
        key: &GroupingKey,
        families: &Families<'_>,
        now: impl Into<Stamp>,
        cut: impl FnOnce(usize, &dyn Fn(u32) -> Option<u32>) -> Option<Template>,
    ) -> Result<(), Refusal> {
        self.push_checked(mode, key, families, now, cut, None)
    }

    /// As [`push_cut`](Store::push_cut), if `may` has nothing against it. It is not asked where the push
    /// changes nothing but values.
    ///
    /// # Errors
    ///
    /// As [`push_cut`](Store::push_cut), or those of `may`.
    pub fn push_checked(
        &self,
        mode: Mode,
        key: &GroupingKey,
        families: &Families<'_>,
        now: impl Into<Stamp>,
        cut: impl FnOnce(usize, &dyn Fn(u32) -> Option<u32>) -> Option<Template>,
        may: Option<MayReplace<'_>>,
    ) -> Result<(), Refusal> {
        let now = now.into();
        let block = self.checked_block(key, families, now, cut)?;
        self.push_block(mode, key, &block, now, may)
    }

    /// What a push of `families` to `key` stores.
    ///
    /// # Errors
    ///
    /// It contradicts itself, or is over a limit; stamped where the reference stamps.
    pub(super) fn checked_block(
        &self,
        key: &GroupingKey,
        families: &Families<'_>,
        now: Stamp,
        cut: impl FnOnce(usize, &dyn Fn(u32) -> Option<u32>) -> Option<Template>,
    ) -> Result<Arc<Block>, Refusal> {
        build::check_key(key, &self.usage.limits().push)?;
        if families.timestamped {
            self.stamp_failure(key, now);
            return Err(refusal(TIMESTAMPED));
        }
        match self.block_cut(&self.usage.limits().push, key, families, now.at, cut) {
            Ok(block) => Ok(Arc::new(block)),
            Err(Fault::Stamped(text)) => {
                self.stamp_failure(key, now);
                Err(refusal(&text))
            }
            Err(Fault::Traceless(text)) => Err(refusal(&text)),
            Err(Fault::OverLimit(over)) => Err(over.into()),
        }
    }

    /// Lets a block take the place of others.
    ///
    /// # Errors
    ///
    /// It contradicts other groups or our own metrics, or there is no room for it.
    pub(super) fn push_block(
        &self,
        mode: Mode,
        key: &GroupingKey,
        block: &Arc<Block>,
        now: Stamp,
        may: Option<MayReplace<'_>>,
    ) -> Result<(), Refusal> {
        loop {
            let group = self.get(key);
            if let Some(group) = &group {
                match self.publish_same_shape(group, mode, block, now) {
                    Ok(Short::Done) => return Ok(()),
                    Ok(Short::OtherShape) => {}
                    Ok(Short::Full(refusal)) => return Err(refusal),
                    Err(Sealed) => continue,
                }
            }
            let change = Replacing { mode, block, stamp: now, may };
            match self.change_shape(&change, key, group.as_ref(), now, Room::Limited)? {
                Attempt::Done | Attempt::Unchanged => return Ok(()),
                Attempt::Refused(Conflict::Families(text) | Conflict::Traceless(text)) => {
                    return Err(refusal(&text));
                }
                Attempt::Again => {}
            }
        }
    }

    /// What a push of `families` to `key` would store. `body` is what it was parsed from, if the families
    /// say all of it.
    ///
    /// # Errors
    ///
    /// The families contradict themselves, or are over a limit; the text says how.
    pub fn block(
        &self,
        key: &GroupingKey,
        families: &Families<'_>,
        body: Option<&[u8]>,
        now: UnixNanos,
    ) -> Result<Block, Fault> {
        self.block_within(&self.usage.limits().push, key, families, body, now)
    }

    pub(super) fn block_within(
        &self,
        limits: &PushLimits,
        key: &GroupingKey,
        families: &Families<'_>,
        body: Option<&[u8]>,
        now: UnixNanos,
    ) -> Result<Block, Fault> {
        self.block_cut(limits, key, families, now, |values, first| {
            body.and_then(|body| Template::cut(body, families, values, first))
        })
    }

    fn block_cut(
        &self,
        limits: &PushLimits,
        key: &GroupingKey,
        families: &Families<'_>,
        now: UnixNanos,
        cut: impl FnOnce(usize, &dyn Fn(u32) -> Option<u32>) -> Option<Template>,
    ) -> Result<Block, Fault> {
        let built = build::shape_of(families, key, limits)?;
        let values = build::values_of(families, &built);
        let first = |series: u32| Some(built.first_values[series as usize]).filter(|at| *at != DROPPED);
        let template = cut(values.len(), &first);
        let details = Details::new(&families.details, &built.first_values);
        let shape = self.shapes.intern(built.shape);
        let template = template.map(|template| shape.share(template));
        Ok(Block { mould: Mould::new(shape, template), values, details, pushed_at: now })
    }

    /// Publishes `block` if that changes nothing but values and times. What it weighs is looked at only
    /// where it can differ from what it replaces.
    pub(super) fn publish_same_shape(
        &self,
        group: &Arc<Group>,
        mode: Mode,
        block: &Arc<Block>,
        now: Stamp,
    ) -> Result<Short, Sealed> {
        let (short, replaced) = group.state.update(|state| {
            let next = next_state(state, mode, block, now);
            if !next.same_shape(state) {
                return Next::Keep((Short::OtherShape, None));
            }
            match state.of_shape(block).filter(|old| !old.weighs_like(block)) {
                None => Next::Publish(next, (Short::Done, None)),
                Some(old) => match self.usage.check_swap(old, block) {
                    Ok(()) => Next::Publish(next, (Short::Done, Some(old.clone()))),
                    Err(refusal) => Next::Keep((Short::Full(refusal), None)),
                },
            }
        })?;
        if let Some(old) = replaced {
            self.usage.swapped(&old, block);
        }
        if matches!(short, Short::Done) {
            self.alarms.set(group, now.life);
            self.note(group);
        }
        Ok(short)
    }

    pub(super) fn change_shape(
        &self,
        change: &impl Change,
        key: &GroupingKey,
        group: Option<&Arc<Group>>,
        now: Stamp,
        room: Room,
    ) -> Result<Attempt, Refusal> {
        let creates = group.is_none();
        let always = room == Room::Always;
        if creates && self.name_sets.register(key, self.name_sets_max(room)).is_err() {
            let sets = self.usage.limits().name_sets;
            let text = format!("{sets} different sets of grouping label names are in use");
            return Err(usage::full(Limit::GroupingNameSets, text));
        }
        let registered = Registered::new(self, key, creates);
        let old = match group {
            None => GroupState::default(),
            Some(group) => match group.load() {
                Some(state) => state,
                None => return Ok(Attempt::Again),
            },
        };
        let sets = self.name_sets.snapshot();
        let new = match change.next(&old) {
            Ok(new) => new,
            Err(stop) => return stop.attempt(),
        };
        let plan = Plan::new(key, change.shape(), &old, &new, creates, &sets);
        let mut claimed = self.claims.take(&plan.wanted());
        if self.name_sets.version() != sets.version || !self.is_as_planned(key, group, &old) {
            return Ok(Attempt::Again);
        }
        let verdict = if self.check {
            plan.check(&claimed, |key| self.get(key))
        } else {
            plan.check_times(|key| self.get(key))
        };
        match (verdict, group) {
            (Ok(()), Some(group)) => {
                let planned = Growth::planned(key, Some(&old), &new).with_names(plan.name_bytes(&claimed));
                let reserved = self.usage.reserve(key.job(), planned, always)?;
                // Values may have changed since the plan.
                let published = group.state.update(|state| match change.next(state) {
                    Ok(next) => Next::Publish(next.clone(), Ok((state.clone(), next))),
                    Err(stop) => Next::Keep(Err(stop)),
                });
                debug_assert!(published.is_ok(), "only the holder of the key's claim seals");
                if let Ok(Err(stop)) = published {
                    return stop.attempt();
                }
                let names = plan.book(&mut claimed);
                if let Ok(Ok((old, new))) = published {
                    reserved.settle(Growth::done(key, Some(&old), &new).with_names(names));
                }
                self.alarms.set(group, now.life);
                self.note(group);
                Ok(Attempt::Done)
            }
            (Ok(()), None) => {
                let planned = Growth::planned(key, None, &new).with_names(plan.name_bytes(&claimed));
                let reserved = self.usage.reserve(key.job(), planned, always)?;
                let names = plan.book(&mut claimed);
                self.insert(key, new.clone());
                reserved.settle(Growth::done(key, None, &new).with_names(names));
                registered.keep();
                Ok(Attempt::Done)
            }
            (Err(Conflict::Families(text)), Some(group)) => {
                let _ = self.stamp(group, now.at);
                Ok(Attempt::Refused(Conflict::Families(text)))
            }
            (Err(Conflict::Families(text)), None) => {
                if self.insert_failed(key, now) {
                    registered.keep();
                }
                Ok(Attempt::Refused(Conflict::Families(text)))
            }
            (Err(traceless), _) => Ok(Attempt::Refused(traceless)),
        }
    }

    /// Whether the map and the group still are what a plan rests on. Values may have changed.
    pub(super) fn is_as_planned(
        &self,
        key: &GroupingKey,
        group: Option<&Arc<Group>>,
        old: &GroupState,
    ) -> bool {
        match (self.get(key), group) {
            (None, None) => true,
            (Some(now), Some(planned)) => {
                Arc::ptr_eq(&now, planned) && now.state.read(|state, sealed| !sealed && state.same_shape(old))
            }
            _ => false,
        }
    }

    /// Puts a group into the map whose key is claimed and absent, or has ended.
    pub(super) fn insert(&self, key: &GroupingKey, state: GroupState) {
        let life = state.life;
        let group = Arc::new(Group::new(key.clone(), state));
        self.map.pin().insert(group.key.clone(), group.clone());
        self.alarms.set(&group, life);
        self.note(&group);
    }

    pub(super) fn name_sets_max(&self, room: Room) -> usize {
        match room {
            Room::Limited => usize::try_from(self.usage.limits().name_sets).unwrap_or(usize::MAX),
            Room::Always => usize::MAX,
        }
    }
}

pub(super) fn next_state(state: &GroupState, mode: Mode, block: &Arc<Block>, now: Stamp) -> GroupState {
    let mut next = match mode {
        Mode::ReplaceGroup => state.replaced_by(block),
        Mode::ReplaceFamilies => state.updated_by(block),
    };
    next.life = now.life;
    next
}

/// A registration of grouping label names that is taken back unless the group came to be.
pub(super) struct Registered<'s> {
    store: &'s Store,
    key: &'s GroupingKey,
    keep: bool,
}

impl<'s> Registered<'s> {
    /// For a group that may be `created`; another's is not taken back.
    pub fn new(store: &'s Store, key: &'s GroupingKey, created: bool) -> Self {
        Registered { store, key, keep: !created }
    }

    pub fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        if !self.keep {
            self.store.name_sets.unregister(self.key);
        }
    }
}

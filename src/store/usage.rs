//! How much the store holds, and how much it may hold.
//!
//! A change of shape reserves what it will add before it publishes, and settles afterwards by what it
//! really replaced, so of two pushes that race for the last room one is refused, and nothing is ever
//! stored in part. What does not grow reserves nothing: a group can always be replaced by a smaller one,
//! and deleted, however far over a limit the store is (as after a restart with a lower one).
//!
//! # What memory means
//!
//! Groups, their values, and the shapes, templates and family names they share, each of these once. It is
//! what the allocator gives away for them (see [`model::memory`](crate::model::memory)), without what it keeps for
//! the next who ask, the exposition cache, which has a limit of its own, pushes on their way, and the keys of the
//! last 1,024 groups that ended ([`ending`](super::ending)). A group that would not be smaller by itself, were
//! nothing shared, is what a limit on memory refuses: one of many that share a shape can be replaced by a smaller
//! one although that takes more memory, since its shape is then its own.
//!
//! # How exact
//!
//! Counters equal a recount whenever nothing is under way. Groups, series and series of a job never pass
//! their limits. Memory may, by what is under way at the same instant: pushes of a known shape take no
//! claim, so they look at the counter without reserving (and add anything only if the length of what text
//! cannot say changes, or the wording of the body), and what a shape weighs is known for sure only once it
//! is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::group::{Block, GroupState, Mould};
use super::jobs::{Held, Jobs};
use super::keys::Keys;
use crate::limits;
use crate::model::memory::held_by;
use crate::model::{GroupingKey, Limit, OverLimit, PushLimits, Reason, Refusal};

/// What the store may hold. `u64::MAX` stands for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    pub push: PushLimits,
    pub groups: u64,
    pub series: u64,
    /// In all groups of one job.
    pub job_series: u64,
    /// In bytes; see the module.
    pub memory: u64,
    /// Different sets of grouping label names.
    pub name_sets: u64,
}

impl Default for StoreLimits {
    fn default() -> StoreLimits {
        StoreLimits {
            push: PushLimits::default(),
            groups: u64::MAX,
            series: u64::MAX,
            job_series: u64::MAX,
            memory: u64::MAX,
            name_sets: limits::GROUPING_NAME_SETS_MAX as u64,
        }
    }
}

/// Memory of a group besides its key and its blocks: the cell, its place in the map, the state.
const GROUP_BYTES: usize = 640;

/// Memory of a block besides its values and details.
const BLOCK_BYTES: usize = size_of::<Block>() + size_of::<Mould>() + 48;

/// The weight of something that blocks share, which counts while some published state has it.
#[derive(Debug, Default)]
pub struct Tally {
    bytes: usize,
    /// Below zero where a holder went before it was counted.
    holders: AtomicI64,
}

impl Tally {
    pub fn new(bytes: usize) -> Tally {
        Tally { bytes, holders: AtomicI64::new(0) }
    }

    fn hold(&self) -> i64 {
        if self.holders.fetch_add(1, Ordering::Relaxed) == 0 { self.bytes as i64 } else { 0 }
    }

    fn release(&self) -> i64 {
        if self.holders.fetch_sub(1, Ordering::Relaxed) == 1 { self.bytes as i64 } else { 0 }
    }

    /// What one more holder would add.
    fn if_held(&self) -> i64 {
        if self.holders.load(Ordering::Relaxed) <= 0 { self.bytes as i64 } else { 0 }
    }

    /// What one holder less would give back.
    fn if_released(&self) -> i64 {
        if self.holders.load(Ordering::Relaxed) <= 1 { self.bytes as i64 } else { 0 }
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// By how much a change makes the store larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    pub groups: i64,
    pub series: i64,
    /// Exposed lines.
    pub lines: i64,
    pub bytes: i64,
    /// Whether the group would take no more memory than before if it shared nothing.
    pub shrinks: bool,
}

impl Growth {
    /// Of what a group becomes; `old` is nothing for one that is not there yet.
    pub fn planned(key: &GroupingKey, old: Option<&GroupState>, new: &GroupState) -> Growth {
        let nothing = GroupState::default();
        let before = old.unwrap_or(&nothing);
        // What both have is neither added nor given back.
        let shared = |block: &Block, other: &Block| {
            let template = match (&block.template, &other.template) {
                (Some(one), Some(two)) => Arc::ptr_eq(one, two),
                _ => false,
            };
            (Arc::ptr_eq(&block.shape, &other.shape), template)
        };
        let weight = |block: &Block, others: &GroupState, weigh: fn(&Tally) -> i64| {
            let others = || others.blocks.iter().map(|held| shared(block, &held.block));
            let shape = if others().any(|both| both.0) { 0 } else { weigh(&block.shape.tally) };
            let template = block.template.as_ref().filter(|_| !others().any(|both| both.1));
            own_bytes(block) + shape + template.map_or(0, |template| weigh(&template.tally))
        };
        let added: i64 = added(before, new).map(|block| weight(block, before, Tally::if_held)).sum();
        let removed: i64 = removed(before, new).map(|block| weight(block, new, Tally::if_released)).sum();
        let group = if old.is_none() { group_bytes(key) } else { 0 };
        Growth {
            groups: i64::from(old.is_none()),
            series: new.series_count() as i64 - before.series_count() as i64,
            lines: new.line_count() as i64 - before.line_count() as i64,
            bytes: group + added - removed + keys_bytes(before, new),
            shrinks: old.is_some() && unshared(new) <= unshared(before),
        }
    }

    /// The same once `new` took the place of `old`; counts what is shared.
    pub fn done(key: &GroupingKey, old: Option<&GroupState>, new: &GroupState) -> Growth {
        let nothing = GroupState::default();
        let before = old.unwrap_or(&nothing);
        let added: i64 = added(before, new).map(hold).sum();
        let removed: i64 = removed(before, new).map(release).sum();
        Growth {
            groups: i64::from(old.is_none()),
            series: new.series_count() as i64 - before.series_count() as i64,
            lines: new.line_count() as i64 - before.line_count() as i64,
            bytes: if old.is_none() { group_bytes(key) } else { 0 } + added - removed
                + keys_bytes(before, new),
            shrinks: false,
        }
    }

    /// The same with memory of names that come into use.
    pub fn with_names(self, bytes: i64) -> Growth {
        Growth { bytes: self.bytes + bytes, ..self }
    }

    /// Of the deletion of a group that was `old`; gives back what is shared.
    pub fn deleted(key: &GroupingKey, old: &GroupState) -> Growth {
        let blocks: i64 = old.blocks.iter().map(|held| release(&held.block)).sum();
        Growth {
            groups: -1,
            series: -(old.series_count() as i64),
            lines: -(old.line_count() as i64),
            bytes: -group_bytes(key) - blocks + keys_bytes(old, &GroupState::default()),
            shrinks: true,
        }
    }
}

/// Blocks of `new` that `old` does not have.
fn added<'s>(old: &'s GroupState, new: &'s GroupState) -> impl Iterator<Item = &'s Block> {
    removed(new, old)
}

/// Blocks of `old` that `new` does not have.
fn removed<'s>(old: &'s GroupState, new: &'s GroupState) -> impl Iterator<Item = &'s Block> {
    let stays = |block| new.blocks.iter().any(|held| Arc::ptr_eq(&held.block, block));
    old.blocks.iter().filter(move |held| !stays(&held.block)).map(|held| &*held.block)
}

/// By how much the keys of `new` take more than those of `old`.
fn keys_bytes(old: &GroupState, new: &GroupState) -> i64 {
    new.keys.bytes() as i64 - old.keys.bytes() as i64
}

fn group_bytes(key: &GroupingKey) -> i64 {
    // The key, its text as samples show it, and where the labels end in both.
    let labels: usize = key.labels().map(|(name, value)| 2 * (name.len() + value.len()) + 16).sum();
    (GROUP_BYTES + labels) as i64
}

/// What a block weighs without what it shares.
fn own_bytes(block: &Block) -> i64 {
    (BLOCK_BYTES + held_by(&block.values) + block.details.bytes()) as i64
}

/// What it would weigh if it shared nothing.
fn unshared_bytes(block: &Block) -> i64 {
    let template = block.template.as_ref().map_or(0, |template| template.tally.bytes);
    own_bytes(block) + (block.shape.tally.bytes + template) as i64
}

fn unshared(state: &GroupState) -> i64 {
    state.blocks.iter().map(|held| unshared_bytes(&held.block)).sum()
}

fn hold(block: &Block) -> i64 {
    let template = block.template.as_ref().map_or(0, |template| template.tally.hold());
    own_bytes(block) + block.shape.tally.hold() + template
}

fn release(block: &Block) -> i64 {
    let template = block.template.as_ref().map_or(0, |template| template.tally.release());
    own_bytes(block) + block.shape.tally.release() + template
}

#[derive(Default)]
pub struct Usage {
    limits: StoreLimits,
    groups: AtomicI64,
    series: AtomicI64,
    /// For an instant it may miss what somebody else has published and not counted yet.
    bytes: AtomicI64,
    jobs: Jobs,
}

/// Room taken for a change that is not made yet; given back unless it is settled.
pub struct Reserved<'u> {
    usage: &'u Usage,
    job: &'u str,
    taken: Growth,
}

impl Usage {
    pub fn new(limits: StoreLimits) -> Usage {
        Usage { limits, ..Usage::default() }
    }

    pub fn limits(&self) -> &StoreLimits {
        &self.limits
    }

    pub fn groups(&self) -> u64 {
        now(&self.groups)
    }

    pub fn series(&self) -> u64 {
        now(&self.series)
    }

    pub fn bytes(&self) -> u64 {
        now(&self.bytes)
    }

    /// What each job holds.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Series of the job that has most of them, where they are limited.
    pub fn fullest_job(&self) -> Option<u64> {
        (self.limits.job_series != u64::MAX).then(|| self.jobs.most_series())
    }

    /// Limits that more is held than.
    pub fn exceeded(&self) -> impl Iterator<Item = Limit> {
        let StoreLimits { groups, series, job_series, memory, .. } = self.limits;
        let held = [
            (Limit::Groups, self.groups(), groups),
            (Limit::Series, self.series(), series),
            (Limit::JobSeries, self.fullest_job().unwrap_or(0), job_series),
            (Limit::Memory, self.bytes(), memory),
        ];
        held.into_iter().filter(|(_, held, max)| held > max).map(|(limit, ..)| limit)
    }

    /// Takes room for a planned change of a group of `job`; `always` takes it though there is none.
    ///
    /// # Errors
    ///
    /// There is not enough room; none is taken.
    pub fn reserve<'u>(
        &'u self,
        job: &'u str,
        planned: Growth,
        always: bool,
    ) -> Result<Reserved<'u>, Refusal> {
        let max = |limit| if always { u64::MAX } else { limit };
        let mut reserved = Reserved { usage: self, job, taken: Growth::default() };
        if !take(&self.groups, planned.groups, max(self.limits.groups)) {
            return Err(full(Limit::Groups, format!("{} groups are held already", self.groups())));
        }
        reserved.taken.groups = planned.groups.max(0);
        let more = planned.series.max(0);
        let of_job = |series| Held { series, ..Held::default() };
        if let Err(held) = self.jobs.take(job, of_job(more), max(self.limits.job_series)) {
            let text = format!("{held} series of job {job:?} are held, and the push adds {more}");
            return Err(full(Limit::JobSeries, text));
        }
        if !take(&self.series, more, max(self.limits.series)) {
            self.jobs.count(job, of_job(-more));
            let text = format!("{} series are held, and the push adds {more}", self.series());
            return Err(full(Limit::Series, text));
        }
        reserved.taken.series = more;
        let memory = if planned.shrinks { u64::MAX } else { max(self.limits.memory) };
        if !take(&self.bytes, planned.bytes, memory) {
            return Err(self.no_memory(planned.bytes));
        }
        reserved.taken.bytes = planned.bytes.max(0);
        Ok(reserved)
    }

    fn no_memory(&self, more: i64) -> Refusal {
        let text = format!("groups take {} bytes of memory, and the push adds {more}", self.bytes());
        full(Limit::Memory, text)
    }

    /// Counts a change that was made without asking for room.
    pub fn count(&self, job: &str, done: Growth) {
        self.count_rest(job, done, Growth::default());
    }

    /// Counts what was `done` but for what was `taken` for it.
    fn count_rest(&self, job: &str, done: Growth, taken: Growth) {
        self.groups.fetch_add(done.groups - taken.groups, Ordering::Relaxed);
        self.series.fetch_add(done.series - taken.series, Ordering::Relaxed);
        self.bytes.fetch_add(done.bytes - taken.bytes, Ordering::Relaxed);
        // Of a job only series are taken beforehand.
        let series = done.series - taken.series;
        self.jobs.count(job, Held { groups: done.groups, series, lines: done.lines });
    }

    /// Whether `new` may take the place of `old`, a block of the same shape.
    ///
    /// # Errors
    ///
    /// It takes more memory, and there is none.
    pub fn check_swap(&self, old: &Block, new: &Block) -> Result<(), Refusal> {
        let template = |block: &Block, weigh: fn(&Tally) -> i64| {
            block.template.as_ref().map_or(0, |template| weigh(&template.tally))
        };
        let more = own_bytes(new) - own_bytes(old) + template(new, Tally::if_held)
            - template(old, Tally::if_released);
        let left = i64::try_from(self.limits.memory).unwrap_or(i64::MAX);
        let grows = unshared_bytes(new) > unshared_bytes(old);
        if grows && more > 0 && self.bytes.load(Ordering::Relaxed).saturating_add(more) > left {
            return Err(self.no_memory(more));
        }
        Ok(())
    }

    /// Counts that `new` took the place of `old`, a block of the same shape.
    pub fn swapped(&self, old: &Block, new: &Block) {
        let held = hold(new);
        self.bytes.fetch_add(held - release(old), Ordering::Relaxed);
    }
}

impl Usage {
    /// Counts that a group remembers other keys.
    pub fn keys_changed(&self, old: &Keys, new: &Keys) {
        if !old.is(new) {
            self.bytes.fetch_add(new.bytes() as i64 - old.bytes() as i64, Ordering::Relaxed);
        }
    }
}

impl Reserved<'_> {
    /// Counts what was made of the reservation.
    pub fn settle(mut self, done: Growth) {
        let taken = std::mem::take(&mut self.taken);
        self.usage.count_rest(self.job, done, taken);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.usage.count_rest(self.job, Growth::default(), self.taken);
    }
}

/// Adds `more` to `used` unless that makes it larger than `max`; less is always taken later, by counting.
fn take(used: &AtomicI64, more: i64, max: u64) -> bool {
    if more <= 0 {
        return true;
    }
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let add = |now: i64| now.checked_add(more).filter(|sum| *sum <= max);
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

fn now(counter: &AtomicI64) -> u64 {
    u64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(0)
}

/// A refusal because of what is held.
pub fn full(limit: Limit, text: String) -> Refusal {
    Refusal::new(Reason::Full(limit), OverLimit::new(limit, text).to_string())
}

#[cfg(test)]
mod tests;

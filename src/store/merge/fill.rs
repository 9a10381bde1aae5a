//! The values of a merged block: what is stored, and what is pushed merged into it.
//!
//! # Rules
//!
//! *Sum* adds float64 values and whole counts; a whole count that would pass 2^64 refuses the push. *Min* and
//! *max* keep the smaller and the larger value, and a number rather than NaN. *Last* takes the pushed series,
//! *first* keeps the stored one.
//!
//! Buckets of histograms are added bound by bound. A histogram without a bucket of some bound counts there
//! what its next lower bucket holds, and at `+Inf` its whole count: an observation is never counted in a
//! bucket that it might not belong to, and nothing is interpolated.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::group::{Block, Details, GroupState, Mould};
use super::super::life::Stamp;
use super::super::shape::{FamilyShape, SeriesShape, Shape};
use super::pushed::{Pushed, refusal};
use super::union::{positions, same_bounds};
use crate::model::merge::{self, MergeFault, Numbers, Operand};
use crate::model::{MergeRule, MetricType, Refusal};

/// The block of the shape `target` that `pushed` and the blocks of `state` which it touches come to.
///
/// # Errors
///
/// Two values do not come to one.
pub fn block(
    target: &Arc<Shape>,
    state: &GroupState,
    pushed: &Pushed<'_>,
    now: Stamp,
) -> Result<Block, Refusal> {
    let mut filling = Filling::new(target);
    let mut mould = None;
    for held in state.blocks.iter().filter(|held| pushed.touches(held)) {
        let block = &held.block;
        if held.is_whole() && Arc::ptr_eq(&block.shape, target) {
            filling.values.copy_from_slice(&block.values);
            filling.is_there = IsThere::All;
            let messages = block.details.iter().map(|(at, message)| (at, message.to_vec()));
            filling.messages.extend(messages);
            mould = Some(&block.mould);
            continue;
        }
        for (_, family) in held.families() {
            let replaced =
                pushed.find(block.shape.name(family)).is_some_and(|(_, rule)| rule == MergeRule::Replace);
            if !replaced {
                filling.take(block, family);
            }
        }
    }
    if Arc::ptr_eq(target, &pushed.block.shape) && (pushed.block.template.is_some() || mould.is_none()) {
        mould = Some(&pushed.block.mould);
    }
    for (family, rule) in pushed.families() {
        let name = pushed.block.shape.name(family);
        filling.merge(pushed.block, family, rule).map_err(|fault| refusal(name, &fault))?;
    }
    let Filling { values, messages, .. } = filling;
    let messages: Vec<(u32, &[u8])> = messages.iter().map(|(at, message)| (*at, &message[..])).collect();
    let details = Details::from_sorted(&messages).unwrap_or_default();
    let mould = mould.cloned().unwrap_or_else(|| Mould::new(target.clone(), None));
    Ok(Block { mould, values, details, pushed_at: now.at })
}

/// Which series of the target have values already.
enum IsThere {
    All,
    /// By position.
    These(Vec<bool>),
}

struct Filling<'t> {
    target: &'t Arc<Shape>,
    values: Box<[u64]>,
    is_there: IsThere,
    /// Value messages by the first value of their series.
    messages: BTreeMap<u32, Vec<u8>>,
}

/// The numbers of a series where they lie.
#[derive(Clone, Copy)]
struct Source<'s> {
    bounds: &'s [f64],
    values: &'s [u64],
    float_counts: bool,
}

impl<'s> Source<'s> {
    fn of(shape: &'s Shape, series: &'s SeriesShape, values: &'s [u64], kind: MetricType) -> Source<'s> {
        let bounds = shape.bounds(series);
        let first = series.first_value as usize;
        let length = bounds.len() + 1 + usize::from(has_count(kind));
        Source { bounds, values: &values[first..first + length], float_counts: series.float_counts }
    }

    fn sum(&self) -> f64 {
        f64::from_bits(self.values[self.bounds.len()])
    }

    fn count(&self) -> Option<u64> {
        self.values.get(self.bounds.len() + 1).copied()
    }

    /// A count of this series in the bits that a series of floats (or not) wants.
    fn bits(&self, bits: u64, float: bool) -> u64 {
        if float && !self.float_counts { (bits as f64).to_bits() } else { bits }
    }

    /// The cumulative counts of a histogram at other bounds than its own.
    fn at<'b>(&'b self, bounds: &'b [f64]) -> impl Iterator<Item = u64> + 'b {
        let mut sorted: Vec<(f64, u64)> =
            self.bounds.iter().copied().zip(self.values.iter().copied()).collect();
        sorted.sort_by(|one, two| one.0.total_cmp(&two.0));
        bounds.iter().map(move |bound| {
            let below = sorted.partition_point(|own| own.0.total_cmp(bound).is_le());
            match below.checked_sub(1).map(|at| sorted[at]) {
                Some((own, count)) if own == *bound || *bound != f64::INFINITY => count,
                _ if *bound == f64::INFINITY => self.count().unwrap_or(0),
                _ => 0,
            }
        })
    }
}

fn has_count(kind: MetricType) -> bool {
    kind.has_buckets() || kind == MetricType::Summary
}

impl<'t> Filling<'t> {
    fn new(target: &'t Arc<Shape>) -> Filling<'t> {
        Filling {
            target,
            values: vec![0; target.value_count()].into(),
            is_there: IsThere::These(vec![false; target.series_count()]),
            messages: BTreeMap::new(),
        }
    }

    /// The family of the target that is called like one of `shape`. The target has all of them.
    fn family(&self, shape: &Shape, family: &FamilyShape) -> Option<&'t FamilyShape> {
        self.target.find(shape.name(family)).map(|at| &self.target.families()[at])
    }

    /// Takes over a stored family.
    fn take(&mut self, block: &Block, family: &FamilyShape) {
        let Some(own) = self.family(&block.shape, family) else { return };
        for (from, to) in positions(&block.shape, family, self.target, own) {
            let Some(to) = to else { continue };
            let series = block.shape.series_at(from).0;
            self.write(to, Source::of(&block.shape, series, &block.values, family.kind), family.kind);
            self.keep_message(to, block.details.get(series.first_value));
        }
    }

    /// Merges a pushed family into what is there.
    fn merge(&mut self, block: &Block, family: &FamilyShape, rule: MergeRule) -> Result<(), MergeFault> {
        let Some(own) = self.family(&block.shape, family) else { return Ok(()) };
        // Of the same shape, the series stand in the same places.
        let is_same = Arc::ptr_eq(self.target, &block.shape);
        if is_same {
            for position in family.series.range() {
                self.merge_series(block, family.kind, rule, position, position)?;
            }
            return Ok(());
        }
        for (from, to) in positions(&block.shape, family, self.target, own) {
            if let Some(to) = to {
                self.merge_series(block, family.kind, rule, from, to)?;
            }
        }
        Ok(())
    }

    fn merge_series(
        &mut self,
        block: &Block,
        kind: MetricType,
        rule: MergeRule,
        from: usize,
        to: usize,
    ) -> Result<(), MergeFault> {
        let series = block.shape.series_at(from).0;
        let source = Source::of(&block.shape, series, &block.values, kind);
        let message = block.details.get(series.first_value);
        let is_there = match &mut self.is_there {
            IsThere::All => true,
            IsThere::These(there) => there[to],
        };
        match rule {
            MergeRule::First if is_there => Ok(()),
            MergeRule::Sum | MergeRule::Min | MergeRule::Max if is_there => {
                self.add(to, source, message, kind, rule)
            }
            _ => {
                self.write(to, source, kind);
                self.keep_message(to, message);
                Ok(())
            }
        }
    }

    /// Makes `source` the value of the series at `to`.
    fn write(&mut self, to: usize, source: Source<'_>, kind: MetricType) {
        if let IsThere::These(there) = &mut self.is_there {
            there[to] = true;
        }
        let series = self.target.series_at(to).0;
        let (bounds, first) = (self.target.bounds(series), series.first_value as usize);
        let float = series.float_counts;
        let own = &mut self.values[first..first + bounds.len() + 1 + usize::from(has_count(kind))];
        if same_bounds(bounds, source.bounds) && float == source.float_counts {
            own.copy_from_slice(source.values);
            return;
        }
        if same_bounds(bounds, source.bounds) {
            let parts = own.iter_mut().zip(source.values).take(bounds.len());
            parts.for_each(|(own, bits)| *own = source.bits(*bits, float));
        } else {
            own.iter_mut().zip(source.at(bounds)).for_each(|(own, bits)| *own = source.bits(bits, float));
        }
        own[bounds.len()] = source.sum().to_bits();
        if let Some(count) = source.count() {
            own[bounds.len() + 1] = source.bits(count, float);
        }
    }

    /// Adds `source` to the series at `to`, which is there.
    fn add(
        &mut self,
        to: usize,
        source: Source<'_>,
        message: Option<&[u8]>,
        kind: MetricType,
        rule: MergeRule,
    ) -> Result<(), MergeFault> {
        let series = self.target.series_at(to).0;
        let (bounds, first) = (self.target.bounds(series), series.first_value as usize);
        let float = series.float_counts;
        let length = bounds.len() + 1 + usize::from(has_count(kind));
        let own = &mut self.values[first..first + length];
        let is_empty = own.get(bounds.len() + 1).is_some_and(|count| *count == 0);
        let (stored, pushed) = (f64::from_bits(own[bounds.len()]), source.sum());
        own[bounds.len()] = match rule {
            MergeRule::Min => stored.min(pushed),
            MergeRule::Max => stored.max(pushed),
            _ => stored + pushed,
        }
        .to_bits();
        let add = |own: &mut u64, bits: u64| -> Result<(), MergeFault> {
            *own = if float {
                (f64::from_bits(*own) + f64::from_bits(source.bits(bits, true))).to_bits()
            } else {
                own.checked_add(bits).ok_or(MergeFault::Overflow)?
            };
            Ok(())
        };
        if same_bounds(bounds, source.bounds) {
            for (own, bits) in own.iter_mut().zip(source.values).take(bounds.len()) {
                add(own, *bits)?;
            }
        } else {
            for (own, bits) in own.iter_mut().zip(source.at(bounds)) {
                add(own, bits)?;
            }
        }
        if let Some(count) = source.count() {
            add(&mut own[bounds.len() + 1], count)?;
        }
        let stored = self.messages.get(&series.first_value);
        if stored.is_some() || message.is_some() {
            let numbers = Numbers { kind, bounds, values: own, float_counts: float };
            let stored = Operand { message: stored.map(|message| &message[..]), is_empty };
            let pushed = Operand { message, is_empty: source.count() == Some(0) };
            let merged = merge::message(numbers, stored, pushed)?;
            self.keep_message(to, merged.as_deref());
        }
        Ok(())
    }

    /// Makes `message` that of the series at `to`.
    fn keep_message(&mut self, to: usize, message: Option<&[u8]>) {
        let at = self.target.series_at(to).0.first_value;
        match message {
            Some(message) => drop(self.messages.insert(at, message.to_vec())),
            // Nearly always there is none.
            None if self.messages.is_empty() => {}
            None => drop(self.messages.remove(&at)),
        }
    }
}

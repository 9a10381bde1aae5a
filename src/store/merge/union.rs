//! The shape of what a group holds and what is merged into it, together.
//!
//! # Rules
//!
//! What is stored comes first and stays in its order, so that merging the same again gives the same shape.
//! A family keeps its help and unit, unless it has none. A histogram that is added to has the buckets of
//! both, sorted by their bounds, and whole counts if both have them.

use super::super::group::{GroupState, Held};
use super::super::shape::{FamilyShape, SeriesShape, Shape, run_labels};
use super::pushed::{Pushed, refusal};
use crate::model::merge::MergeFault;
use crate::model::{Families, Family, Label, MergeRule, MetricType, Number, Part, Refusal, Series, Span};

/// Whether `pushed` adds nothing but values to `held`.
pub fn covers(held: &Held, pushed: &Pushed<'_>) -> bool {
    let (shape, of_push) = (&held.block.shape, &pushed.block.shape);
    std::sync::Arc::ptr_eq(shape, of_push)
        || pushed.families().all(|(family, rule)| {
            let Some(at) = shape.find(of_push.name(family)) else { return false };
            let stored = &shape.families()[at];
            let has = |of_push: Option<&str>, stored: Option<&str>| match rule {
                MergeRule::Replace => of_push == stored,
                _ => of_push.is_none() || stored.is_some(),
            };
            stored.kind == family.kind
                && has(of_push.help(family), shape.help(stored))
                && has(of_push.unit(family), shape.unit(stored))
                && (rule != MergeRule::Replace || stored.series.len() == family.series.len())
                && positions(of_push, family, shape, stored).all(|(from, to)| {
                    let series = (of_push.series_at(from).0, to.map(|to| shape.series_at(to).0));
                    matches!(series, (one, Some(two)) if holds(shape, two, of_push, one, family.kind, rule))
                })
        })
}

/// Whether the parts of `stored` are all that it needs when `pushed` is merged into it.
fn holds(
    shape: &Shape,
    stored: &SeriesShape,
    of_push: &Shape,
    pushed: &SeriesShape,
    kind: MetricType,
    rule: MergeRule,
) -> bool {
    let (own, others) = (shape.bounds(stored), of_push.bounds(pushed));
    match rule {
        MergeRule::First => true,
        MergeRule::Replace | MergeRule::Last => {
            same_bounds(own, others) && stored.float_counts == pushed.float_counts
        }
        // Stored quantiles, which cannot be added to.
        MergeRule::Sum if kind == MetricType::Summary => own.is_empty(),
        MergeRule::Sum | MergeRule::Min | MergeRule::Max => {
            // Those of a union are sorted.
            let is_sorted = || own.is_sorted_by(|one, two| one.total_cmp(two).is_le());
            let has = |bound: &f64| own.binary_search_by(|other| other.total_cmp(bound)).is_ok();
            (stored.float_counts || !pushed.float_counts)
                && (same_bounds(own, others) || is_sorted() && others.iter().all(has))
        }
    }
}

pub fn same_bounds(one: &[f64], two: &[f64]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.to_bits() == two.to_bits())
}

/// For each series of `family` in `from` its position there and that of the same series of `to_family` in
/// `to`, if there is one.
pub fn positions<'s>(
    from: &'s Shape,
    family: &'s FamilyShape,
    to: &'s Shape,
    to_family: &'s FamilyShape,
) -> impl Iterator<Item = (usize, Option<usize>)> + 's {
    family.by_hash.iter().map(move |(hash, at)| {
        let position = (family.series.start + at) as usize;
        let run = from.run(from.series_at(position).0);
        let same = to.with_hash(to_family, *hash).find(|at| to.run(to.series_at(*at).0) == run);
        (position, same)
    })
}

/// Families with the shape of what the blocks of `state` that `pushed` touches come to with it, their values
/// all zero.
///
/// # Errors
///
/// They cannot be merged.
pub fn families<'s>(state: &'s GroupState, pushed: &'s Pushed<'s>) -> Result<Families<'s>, Refusal> {
    let mut union = Union::default();
    for held in state.blocks.iter().filter(|held| pushed.touches(held)) {
        for (_, family) in held.families() {
            let name = held.block.shape.name(family);
            match pushed.find(name) {
                None => union.alone(&held.block.shape, family),
                Some((other, MergeRule::Replace)) => union.alone(&pushed.block.shape, other),
                Some((other, rule)) => {
                    union
                        .both(&held.block.shape, family, &pushed.block.shape, other, rule)
                        .map_err(|fault| refusal(name, &fault))?;
                }
            }
        }
    }
    for (family, _) in pushed.families() {
        if state.find(pushed.block.shape.name(family)).is_none() {
            union.alone(&pushed.block.shape, family);
        }
    }
    Ok(union.0)
}

#[derive(Default)]
struct Union<'s>(Families<'s>);

impl<'s> Union<'s> {
    /// Adds a family as it is in `shape`.
    fn alone(&mut self, shape: &'s Shape, family: &'s FamilyShape) {
        let start = self.0.series.len() as u32;
        for series in shape.series(family) {
            self.series(shape, series, shape.bounds(series).iter().copied(), series.float_counts);
        }
        self.family(shape, family, None, start);
    }

    fn both(
        &mut self,
        shape: &'s Shape,
        family: &'s FamilyShape,
        of_push: &'s Shape,
        pushed: &'s FamilyShape,
        rule: MergeRule,
    ) -> Result<(), MergeFault> {
        if family.kind != pushed.kind {
            let (stored, pushed) = (family.kind.text(), pushed.kind.text());
            return Err(MergeFault::OtherType { stored, pushed });
        }
        let start = self.0.series.len() as u32;
        let mut partner = vec![None; family.series.len()];
        let mut new = Vec::new();
        for (from, to) in positions(of_push, pushed, shape, family) {
            match to {
                Some(to) => partner[to - family.series.start as usize] = Some(from),
                None => new.push(from),
            }
        }
        // By hash until now, which differs from process to process.
        new.sort_unstable();
        for (series, partner) in shape.series(family).iter().zip(partner) {
            let other = partner.map(|at| of_push.series_at(at).0);
            self.pair(shape, series, of_push, other, family.kind, rule)?;
        }
        for at in new {
            let series = of_push.series_at(at).0;
            self.series(of_push, series, of_push.bounds(series).iter().copied(), series.float_counts);
        }
        self.family(shape, family, Some((of_push, pushed)), start);
        Ok(())
    }

    /// Adds a stored series and what is pushed of it.
    fn pair(
        &mut self,
        shape: &'s Shape,
        stored: &'s SeriesShape,
        of_push: &'s Shape,
        pushed: Option<&'s SeriesShape>,
        kind: MetricType,
        rule: MergeRule,
    ) -> Result<(), MergeFault> {
        let own = shape.bounds(stored);
        match pushed {
            Some(pushed) if rule == MergeRule::Last => {
                self.series(shape, stored, of_push.bounds(pushed).iter().copied(), pushed.float_counts);
            }
            Some(pushed) if rule == MergeRule::Sum && kind.has_buckets() => {
                let float = stored.float_counts || pushed.float_counts;
                let others = of_push.bounds(pushed);
                if same_bounds(own, others) {
                    self.series(shape, stored, own.iter().copied(), float);
                } else {
                    let mut all: Vec<f64> = own.iter().chain(others).copied().collect();
                    all.sort_unstable_by(f64::total_cmp);
                    all.dedup_by_key(|bound| bound.to_bits());
                    self.series(shape, stored, all.into_iter(), float);
                }
            }
            Some(_) if rule == MergeRule::Sum && !own.is_empty() => return Err(MergeFault::Quantiles),
            _ => self.series(shape, stored, own.iter().copied(), stored.float_counts),
        }
        Ok(())
    }

    fn series(
        &mut self,
        shape: &'s Shape,
        series: &'s SeriesShape,
        bounds: impl Iterator<Item = f64>,
        float: bool,
    ) {
        let number = if float { Number::Float(0.0) } else { Number::Int(0) };
        let (labels, parts) = (self.0.labels.len() as u32, self.0.parts.len() as u32);
        let run = run_labels(shape.run(series));
        self.0.labels.extend(run.map(|(name, value)| Label { name, value }));
        self.0.parts.extend(bounds.map(|bound| Part { bound, value: number }));
        self.0.series.push(Series {
            labels: Span { start: labels, end: self.0.labels.len() as u32 },
            parts: Span { start: parts, end: self.0.parts.len() as u32 },
            value: 0.0,
            count: number,
        });
    }

    /// Ends a family whose series begin at `start`.
    fn family(
        &mut self,
        shape: &'s Shape,
        family: &'s FamilyShape,
        pushed: Option<(&'s Shape, &'s FamilyShape)>,
        start: u32,
    ) {
        let help = shape.help(family).or_else(|| pushed.and_then(|(shape, family)| shape.help(family)));
        let unit = shape.unit(family).or_else(|| pushed.and_then(|(shape, family)| shape.unit(family)));
        self.0.families.push(Family {
            name: shape.name(family).into(),
            help: help.map(Into::into),
            unit: unit.map(Into::into),
            kind: family.kind,
            series: Span { start, end: self.0.series.len() as u32 },
        });
    }
}

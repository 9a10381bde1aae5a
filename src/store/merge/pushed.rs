//! What is to be merged: the block of a push, with a rule for each of its families.

use super::super::group::{Block, Held};
use super::super::shape::{FamilyShape, Shape};
use crate::model::merge::MergeFault;
use crate::model::{MergeRule, MetricType, Reason, Refusal};

/// The block of a push and how its families are merged.
pub struct Pushed<'p> {
    pub block: &'p Block,
    /// By position of the family in the shape.
    pub rules: Box<[MergeRule]>,
}

impl<'p> Pushed<'p> {
    /// # Errors
    ///
    /// A rule does not fit the family that it is for.
    pub fn new(
        block: &'p Block,
        rule: &dyn Fn(&str, MetricType) -> MergeRule,
    ) -> Result<Pushed<'p>, Refusal> {
        let shape = &block.shape;
        let asked = |family: &FamilyShape| {
            let name = shape.name(family);
            let rule = rule(name, family.kind);
            if !rule.fits(family.kind) {
                let fault = MergeFault::Rule { rule: rule.name(), kind: family.kind.text() };
                return Err(refusal(name, &fault));
            }
            let has_quantiles = || shape.series(family).iter().any(|series| !shape.bounds(series).is_empty());
            if rule == MergeRule::Sum && family.kind == MetricType::Summary && has_quantiles() {
                return Err(refusal(name, &MergeFault::Quantiles));
            }
            let is_created = rule == MergeRule::Sum && is_created(shape, family);
            Ok(if is_created { MergeRule::Min } else { rule })
        };
        let rules: Result<_, _> = shape.families().iter().map(asked).collect();
        Ok(Pushed { block, rules: rules? })
    }

    /// Whether all families take the place of what is stored, so that there is nothing to merge.
    pub fn replaces(&self) -> bool {
        self.rules.iter().all(|rule| *rule == MergeRule::Replace)
    }

    /// The families, each with its rule.
    pub fn families(&self) -> impl Iterator<Item = (&FamilyShape, MergeRule)> {
        self.block.shape.families().iter().zip(self.rules.iter().copied())
    }

    /// The family called `name`, if it is pushed.
    pub fn find(&self, name: &str) -> Option<(&FamilyShape, MergeRule)> {
        let at = self.block.shape.find(name)?;
        Some((&self.block.shape.families()[at], self.rules[at]))
    }

    /// Whether `held` shows a family that is pushed.
    pub fn touches(&self, held: &Held) -> bool {
        held.families().any(|(_, family)| self.find(held.block.shape.name(family)).is_some())
    }
}

/// Whether a family says when another one of the push was created, as clients without OpenMetrics push it.
fn is_created(shape: &Shape, family: &FamilyShape) -> bool {
    let is_plain = matches!(family.kind, MetricType::Gauge | MetricType::Untyped);
    let Some(stem) = shape.name(family).strip_suffix("_created").filter(|_| is_plain) else { return false };
    let counts = |name: &str| {
        let kind = shape.find(name).map(|at| shape.families()[at].kind);
        kind.is_some_and(|kind| !matches!(kind, MetricType::Gauge | MetricType::Untyped))
    };
    counts(stem) || counts(&format!("{stem}_total"))
}

/// A push that cannot be merged because of its family `name`.
pub fn refusal(name: &str, fault: &MergeFault) -> Refusal {
    Refusal::new(Reason::Unmergeable, format!("metric family {name:?} cannot be merged: {fault}"))
}

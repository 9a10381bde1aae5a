//! A template that leads from the body as received to what is stored after plugins.
//!
//! Rules and `on_series` see no value, so where they alone stand between body and store, the next body
//! that differs in values alone ends up in the same shape with its values in the same places.

use super::Draft;
use crate::model::template::Template;
use crate::model::{Families, MetricType};

impl Draft {
    /// Remembers what a template of the body is cut from. To be called after [`load`](Draft::load), for
    /// bodies of which a template says all.
    pub fn outline(&mut self, families: &Families<'_>) {
        self.outline.take(families);
        self.sample_of.clear();
        self.sample_of.resize(families.series.len(), u32::MAX);
        let in_order = families.families.iter().flat_map(|family| family.series.range());
        for (sample, series) in in_order.enumerate() {
            self.sample_of[series] = sample as u32;
        }
    }

    /// The template of `body` for pushes that go through the plugins of generation `chain`. `first_value`
    /// says for a series of [`families_into`](Draft::families_into) where its values begin.
    ///
    /// `None` where values would not stay what they are: samples were added or taken apart, or buckets
    /// went.
    pub fn template(
        &self,
        body: &[u8],
        chain: u64,
        value_count: usize,
        first_value: &dyn Fn(u32) -> Option<u32>,
    ) -> Option<Template> {
        if self.samples.len() != self.received || self.sample_of.len() != self.received {
            return None;
        }
        let is_kept = |((kind, parts), sample): ((MetricType, usize), &u32)| {
            let sample = &self.samples[*sample as usize];
            let now = self.families[sample.family as usize].kind;
            sample.dropped
                || (sample.parts.len() == parts && (now == kind || (is_plain(now) && is_plain(kind))))
        };
        if !self.outline.series().zip(&self.sample_of).all(is_kept) {
            return None;
        }
        let mut place = vec![u32::MAX; self.samples.len()];
        for (at, sample) in self.samples_by_family().into_iter().enumerate() {
            place[sample as usize] = at as u32;
        }
        self.outline.cut(body, value_count, chain, |series| {
            match place[self.sample_of[series as usize] as usize] {
                u32::MAX => None,
                at => first_value(at),
            }
        })
    }
}

fn is_plain(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter | MetricType::Gauge | MetricType::Untyped)
}

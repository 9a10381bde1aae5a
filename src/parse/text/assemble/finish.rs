//! The end of a body: what arrived interleaved is put in order, by counting sorts.

use super::Assembly;
use crate::model::{Families, Number, Span};

impl<'b> Assembly<'b, '_> {
    /// The families that have samples, in order of their first mention.
    pub(in crate::parse::text) fn finish(mut self) -> Families<'b> {
        if self.parts_interleave {
            self.order_parts();
        }
        if self.series_interleave {
            self.order_series();
        }
        if self.has_float_counts {
            self.unify_counts();
        }
        if self.families_with_series < self.into.families.len() {
            self.into.families.retain(|family| !family.series.is_empty());
        }
        self.into
    }

    /// Brings the parts of each series together, in order of arrival.
    fn order_parts(&mut self) {
        let mut next = Vec::with_capacity(self.into.series.len());
        let mut start = 0;
        for series in &mut self.into.series {
            let len = series.parts.len() as u32;
            series.parts = Span { start, end: start + len };
            next.push(start);
            start += len;
        }
        let mut ordered = self.into.parts.clone();
        for (part, &series) in self.into.parts.iter().zip(&self.scratch.part_series) {
            let position = &mut next[series as usize];
            ordered[*position as usize] = *part;
            *position += 1;
        }
        self.into.parts = ordered;
    }

    /// Brings the series of each family together, in order of arrival.
    fn order_series(&mut self) {
        let mut next = Vec::with_capacity(self.into.families.len());
        let mut start = 0;
        for family in &mut self.into.families {
            let len = family.series.len() as u32;
            family.series = Span { start, end: start + len };
            next.push(start);
            start += len;
        }
        let mut ordered = self.into.series.clone();
        let mut moved_to = Vec::with_capacity(ordered.len());
        for (series, &family) in self.into.series.iter().zip(&self.scratch.series_family) {
            let position = &mut next[family as usize];
            ordered[*position as usize] = series.clone();
            moved_to.push(*position);
            *position += 1;
        }
        self.into.series = ordered;
        for sample in &mut self.into.samples {
            sample.series = moved_to[sample.series as usize];
        }
        for (series, _) in &mut self.into.timestamps {
            *series = moved_to[*series as usize];
        }
    }

    /// Makes all counts of a histogram floats if one of them is.
    fn unify_counts(&mut self) {
        let is_float = |number: &Number| matches!(number, Number::Float(_));
        for family in self.into.families.iter().filter(|family| family.kind.has_buckets()) {
            for series in &mut self.into.series[family.series.range()] {
                let parts = &mut self.into.parts[series.parts.range()];
                if is_float(&series.count) || parts.iter().any(|part| is_float(&part.value)) {
                    series.count = Number::Float(series.count.as_f64());
                    for part in parts {
                        part.value = Number::Float(part.value.as_f64());
                    }
                }
            }
        }
    }
}

//! Value messages of series that have exemplars or a created time.

use std::collections::BTreeMap;

use crate::model::{Field, MetricType, Number, Part, Series};
use crate::wire::{self, push_bytes_field, push_double_field, push_varint_field};

/// What a series has beyond its numbers.
#[derive(Default)]
pub(super) struct Extra<'t> {
    /// `Exemplar` messages.
    pub(super) exemplars: Vec<(Field, &'t [u8])>,
    /// A `Timestamp` message.
    pub(super) created: Option<Vec<u8>>,
}

/// The value message of a series of this type; `None` if the type has no place for anything extra.
pub(super) fn message(
    kind: MetricType,
    series: &Series,
    parts: &[Part],
    extra: &Extra<'_>,
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let created_field = match kind {
        MetricType::Counter => {
            push_double_field(&mut out, 1, series.value);
            // A counter has one; of more the last counts, as protobuf has it.
            if let Some((_, exemplar)) = extra.exemplars.last() {
                push_bytes_field(&mut out, 2, exemplar);
            }
            3
        }
        MetricType::Summary => {
            push_count(&mut out, 1, 1, series.count);
            push_double_field(&mut out, 2, series.value);
            for part in parts {
                let mut quantile = Vec::with_capacity(18);
                push_double_field(&mut quantile, 1, part.bound);
                push_double_field(&mut quantile, 2, part.value.as_f64());
                push_bytes_field(&mut out, 3, &quantile);
            }
            4
        }
        MetricType::Histogram | MetricType::GaugeHistogram => {
            push_count(&mut out, 1, 4, series.count);
            push_double_field(&mut out, 2, series.value);
            let exemplars: BTreeMap<u32, &[u8]> = extra
                .exemplars
                .iter()
                .filter_map(|(field, exemplar)| match field {
                    Field::Part(part) => Some((*part, *exemplar)),
                    _ => None,
                })
                .collect();
            for (at, part) in parts.iter().enumerate() {
                let mut bucket = Vec::with_capacity(24);
                push_count(&mut bucket, 1, 4, part.value);
                push_double_field(&mut bucket, 2, part.bound);
                if let Some(exemplar) = exemplars.get(&(at as u32)) {
                    push_bytes_field(&mut bucket, 3, exemplar);
                }
                push_bytes_field(&mut out, 3, &bucket);
            }
            15
        }
        MetricType::Gauge | MetricType::Untyped => return None,
    };
    if let Some(created) = &extra.created {
        push_bytes_field(&mut out, created_field, created);
    }
    Some(out)
}

/// Writes a count to the field for whole numbers or to the one for others.
fn push_count(out: &mut Vec<u8>, whole: u32, float: u32, count: Number) {
    match count {
        Number::Int(count) => push_varint_field(out, whole, count),
        Number::Float(count) => wire::push_double_field(out, float, count),
    }
}

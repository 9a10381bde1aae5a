//! Value messages of series that have exemplars or a created time.

use super::exemplar;
use crate::model::{Field, MetricType, Number, Part, Series};
use crate::wire::{self, push_bytes_field, push_double_field, push_varint_field};

/// What a series has beyond its numbers.
pub(super) enum Extra<'t> {
    /// An `Exemplar` message.
    Exemplar(Field, &'t [u8]),
    /// A time, as it was written.
    Created(&'t [u8]),
}

/// The value message of a series of this type with its `extras`, each beside the series' position; `None` if
/// the type has no place for anything extra.
pub(super) fn message(
    kind: MetricType,
    series: &Series,
    parts: &[Part],
    extras: &[(u32, Extra<'_>)],
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(64);
    let created_field = match kind {
        MetricType::Counter => {
            push_double_field(&mut out, 1, series.value);
            // A counter has one; of more the last counts, as protobuf has it.
            let mut exemplars = extras.iter().rev().filter_map(|(_, extra)| match extra {
                Extra::Exemplar(_, exemplar) => Some(exemplar),
                Extra::Created(_) => None,
            });
            if let Some(exemplar) = exemplars.next() {
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
            let mut exemplars: Vec<(usize, &[u8])> = extras
                .iter()
                .filter_map(|(_, extra)| match extra {
                    Extra::Exemplar(Field::Part(part), exemplar) => Some((*part as usize, *exemplar)),
                    _ => None,
                })
                .collect();
            // Of those of one bucket the last counts.
            exemplars.sort_by_key(|(part, _)| *part);
            let mut exemplars = exemplars.into_iter().peekable();
            for (at, part) in parts.iter().enumerate() {
                let mut bucket = Vec::with_capacity(24);
                push_count(&mut bucket, 1, 4, part.value);
                push_double_field(&mut bucket, 2, part.bound);
                let mut own = None;
                while let Some((_, exemplar)) = exemplars.next_if(|(part, _)| *part == at) {
                    own = Some(exemplar);
                }
                if let Some(exemplar) = own {
                    push_bytes_field(&mut bucket, 3, exemplar);
                }
                push_bytes_field(&mut out, 3, &bucket);
            }
            15
        }
        MetricType::Gauge | MetricType::Untyped => return None,
    };
    let mut created = extras.iter().rev().filter_map(|(_, extra)| match extra {
        Extra::Created(text) => Some(text),
        Extra::Exemplar(..) => None,
    });
    if let Some(text) = created.next() {
        // What is no time is dropped.
        let _ = exemplar::push_time(&mut out, created_field, text);
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

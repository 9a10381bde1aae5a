//! Where a sample goes: the family that its name leads to.

use crate::model::MetricType;

/// The family a name leads to, and what the name says about the sample.
///
/// In one word, from the lowest bits: the family, its type, the role. Every line hands it on, and a struct
/// that is written by its fields and then copied as a whole makes the processor wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::parse::text) struct Target(u64);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A plain value, a quantile or a bucket.
    Base,
    Sum,
    Count,
}

impl Target {
    /// Equal to no other.
    pub(in crate::parse::text) const NONE: Target = Target(u64::MAX);

    pub(super) fn new(family: u32, kind: MetricType, role: Role) -> Target {
        Target(u64::from(family) | (kind as u64) << 32 | (role as u64) << 40)
    }

    pub(super) fn family(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    pub(in crate::parse::text) fn kind(self) -> MetricType {
        const KINDS: [MetricType; 6] = [
            MetricType::Counter,
            MetricType::Gauge,
            MetricType::Summary,
            MetricType::Untyped,
            MetricType::Histogram,
            MetricType::GaugeHistogram,
        ];
        KINDS[usize::from((self.0 >> 32) as u8)]
    }

    pub(super) fn role(self) -> Role {
        match self.0 >> 40 {
            0 => Role::Base,
            1 => Role::Sum,
            _ => Role::Count,
        }
    }
}

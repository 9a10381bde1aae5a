//! Summaries with quantiles over a sliding window, as a log-linear histogram per slice of the window.
//!
//! The window is ten minutes, as in the reference, in five slices of two minutes: a quantile covers the
//! last eight to ten minutes. Values fall into 32 steps per power of two, so a quantile is off by at
//! most 1/64 of itself (1.6 %). Sum and count are exact and cover everything since the start.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How long a slice of the window is filled.
const SLICE: Duration = Duration::from_secs(120);

const SLICES: usize = 5;

/// Steps per power of two, as a power of two.
const STEP_BITS: u32 = 5;

/// Larger values count as this: 1 TiB, or 18 minutes in nanoseconds.
const VALUE_MAX: u64 = (1 << 40) - 1;

const BUCKETS: usize = bucket_of(VALUE_MAX) + 1;

/// The slice that is being emptied for a new period.
const EMPTYING: u64 = u64::MAX;

/// One worker's part of a summary.
pub struct Summary {
    slices: Box<[Slice]>,
    count: AtomicU64,
    sum: AtomicU64,
}

struct Slice {
    /// Which period the counts are of. Zero: none yet.
    period: AtomicU64,
    counts: Box<[AtomicU32]>,
}

/// The period that `uptime` falls into; the first is 1.
pub fn period_at(uptime: Duration) -> u64 {
    uptime.as_secs() / SLICE.as_secs() + 1
}

impl Default for Summary {
    fn default() -> Summary {
        let slice =
            || Slice { period: AtomicU64::new(0), counts: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect() };
        Summary {
            slices: (0..SLICES).map(|_| slice()).collect(),
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }
}

impl Summary {
    /// Notes one value in `period`.
    pub fn observe(&self, period: u64, value: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
        let slice = &self.slices[period as usize % SLICES];
        if slice.is_ready_for(period) {
            slice.counts[bucket_of(value.min(VALUE_MAX))].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Slice {
    /// Turns the slice to `period` if it holds an older one.
    ///
    /// False if another thread is emptying it at this moment, or it has moved on already: the value
    /// then misses the quantiles, which only threads sharing a copy can bring about, and once in two
    /// minutes. That is cheaper than making all of them agree.
    fn is_ready_for(&self, period: u64) -> bool {
        let held = self.period.load(Ordering::Acquire);
        if held >= period {
            return held == period;
        }
        if self.period.compare_exchange(held, EMPTYING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
        self.period.store(period, Ordering::Release);
        true
    }
}

/// What all workers' parts of a summary say together.
pub struct Merged {
    pub count: u64,
    pub sum: u64,
    buckets: Box<[u64]>,
    in_window: u64,
}

impl Merged {
    pub fn new<'s>(parts: impl Iterator<Item = &'s Summary>, period: u64) -> Merged {
        let mut merged = Merged { count: 0, sum: 0, buckets: vec![0; BUCKETS].into(), in_window: 0 };
        let oldest = period.saturating_sub(SLICES as u64 - 1).max(1);
        for part in parts {
            merged.count += part.count.load(Ordering::Relaxed);
            merged.sum = merged.sum.wrapping_add(part.sum.load(Ordering::Relaxed));
            for slice in &part.slices {
                if (oldest..=period).contains(&slice.period.load(Ordering::Acquire)) {
                    for (sum, count) in merged.buckets.iter_mut().zip(&slice.counts) {
                        *sum += u64::from(count.load(Ordering::Relaxed));
                    }
                }
            }
        }
        merged.in_window = merged.buckets.iter().sum();
        merged
    }

    /// The value below which the fraction `rank` of the window's values lie; NaN if there are none.
    pub fn quantile(&self, rank: f64) -> f64 {
        let target = ((rank * self.in_window as f64).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if target <= below {
                return middle_of(bucket);
            }
        }
        f64::NAN
    }
}

/// Values up to 63 have a bucket each; above, each power of two has 32.
const fn bucket_of(value: u64) -> usize {
    let shift = (value | 1).ilog2().saturating_sub(STEP_BITS);
    ((shift as usize) << STEP_BITS) + (value >> shift) as usize
}

fn middle_of(bucket: usize) -> f64 {
    let shift = (bucket >> STEP_BITS).saturating_sub(1);
    let lowest = ((bucket - (shift << STEP_BITS)) as u64) << shift;
    lowest as f64 + ((1_u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(summary: &Summary, period: u64) -> Merged {
        Merged::new([summary].into_iter(), period)
    }

    proptest! {
        #[test]
        fn quantiles_are_within_two_percent(
            mut values in proptest::collection::vec((0_u32..40, any::<u64>()), 1..300),
            rank in 0.01_f64..1.0,
        ) {
            let summary = Summary::default();
            let mut sorted: Vec<u64> = values.drain(..).map(|(bits, value)| value >> (63 - bits)).collect();
            for value in &sorted {
                summary.observe(1, *value);
            }
            sorted.sort_unstable();
            let exact = sorted[((rank * sorted.len() as f64).ceil() as usize).max(1) - 1].min(VALUE_MAX) as f64;
            let got = merged(&summary, 1).quantile(rank);
            prop_assert!((got - exact).abs() <= exact * 0.02, "{got} for {exact}");
        }
    }

    #[test]
    fn buckets_are_in_order_without_gaps() {
        let mut previous = 0;
        for value in
            (0..5000).chain((13..40).flat_map(|e| [(1_u64 << e) - 1, 1 << e, (1 << e) + (1 << (e - 5))]))
        {
            let bucket = bucket_of(value);
            assert!(bucket == previous || value > 4999 || bucket == previous + 1, "{value}");
            previous = bucket.max(previous);
            assert_eq!(bucket_of(middle_of(bucket) as u64), bucket, "{value}");
        }
        assert_eq!(bucket_of(VALUE_MAX), BUCKETS - 1);
    }

    #[test]
    fn ten_quiet_minutes_leave_sum_and_count() {
        let summary = Summary::default();
        summary.observe(1, 7);
        summary.observe(2, 9);
        assert_eq!(merged(&summary, 5).quantile(0.1), 7.0);
        assert_eq!(merged(&summary, 6).quantile(0.1), 9.0);
        let late = merged(&summary, 7);
        assert!(late.quantile(0.5).is_nan());
        assert_eq!((late.count, late.sum), (2, 16));
        // The slice of period 1 is used again for period 6.
        summary.observe(6, 11);
        assert_eq!(merged(&summary, 6).quantile(0.9), 11.0);
        assert_eq!(merged(&summary, 10).quantile(0.1), 11.0);
        assert_eq!(period_at(Duration::from_secs(0)), 1);
        assert_eq!(period_at(Duration::from_secs(600)), 6);
    }

    #[test]
    fn a_value_from_the_past_is_counted_but_not_ranked() {
        let summary = Summary::default();
        summary.observe(7, 1);
        summary.observe(2, 100);
        let merged = merged(&summary, 7);
        assert_eq!((merged.quantile(0.9), merged.count), (1.0, 2));
    }
}

//! What is counted of plugins: by the host, and by plugins themselves.
//!
//! A [`Shared`] belongs to a plugin's name and survives reloads. Nothing here is locked on the path of
//! a push: host counters are atomics, and a machine keeps the cells it bumps.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::fault::{Code, Fault};

/// Metrics one plugin may declare, and label combinations each may have.
pub const METRICS_MAX: usize = 32;
pub const COMBINATIONS_MAX: usize = 200;

/// The value of every label of the combination that takes what is over [`COMBINATIONS_MAX`].
const OVERFLOW: &str = "overflow";

/// A number that many threads add to.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    pub fn add(&self, by: f64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            Some((f64::from_bits(bits) + by).to_bits())
        });
    }

    pub fn set(&self, to: f64) {
        self.0.store(to.to_bits(), Ordering::Relaxed);
    }

    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric as a plugin declared it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    pub name: String,
    pub help: String,
    pub kind: MetricKind,
    pub labels: Vec<String>,
    /// Upper bounds, ascending, without `+Inf`.
    pub buckets: Vec<f64>,
}

/// The cells of one label combination: one, or for a histogram a count per bucket, `+Inf`, the sum.
pub type Cells = Arc<[Cell]>;

/// One metric of a plugin.
#[derive(Debug)]
pub struct Metric {
    pub declared: Declared,
    cells: Mutex<BTreeMap<Vec<String>, Cells>>,
}

impl Metric {
    /// The cells of one combination of label values; of the overflow once there are too many.
    pub fn cells(&self, values: Vec<String>) -> Cells {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let full = cells.len() >= COMBINATIONS_MAX && !cells.contains_key(&values);
        let values = if full { vec![OVERFLOW.to_owned(); values.len()] } else { values };
        let count = match self.declared.kind {
            MetricKind::Histogram => self.declared.buckets.len() + 2,
            _ => 1,
        };
        cells.entry(values).or_insert_with(|| (0..count).map(|_| Cell::default()).collect()).clone()
    }

    /// Label values and cells as they are now, sorted by values.
    pub fn all(&self) -> Vec<(Vec<String>, Cells)> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.iter().map(|(values, cells)| (values.clone(), cells.clone())).collect()
    }
}

/// Counters of the host about one plugin.
#[derive(Debug, Default)]
pub struct Counts {
    pub calls: AtomicU64,
    pub nanos: AtomicU64,
    pub rejects: AtomicU64,
    pub discards: AtomicU64,
    pub series_dropped: AtomicU64,
    pub skipped: AtomicU64,
    pub half_budget: AtomicU64,
    pub cache_hits: AtomicU64,
    pub cache_misses: AtomicU64,
    pub rebuilds: AtomicU64,
    pub breaker_trips: AtomicU64,
    pub splits: AtomicU64,
    pub group_label_resets: AtomicU64,
    pub log_suppressed: AtomicU64,
    /// By position in [`Code::ALL`].
    errors: [AtomicU64; Code::ALL.len()],
}

/// Adds to a counter.
pub fn bump(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counts {
    pub fn count_error(&self, code: Code) {
        if let Some(at) = Code::ALL.iter().position(|known| *known == code) {
            bump(&self.errors[at], 1);
        }
    }

    pub fn errors(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL.into_iter().zip(&self.errors).map(|(code, count)| (code, count.load(Ordering::Relaxed)))
    }

    pub fn count_time(&self, time: Duration) {
        bump(&self.nanos, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Shared {
    pub counts: Counts,
    metrics: Mutex<HashMap<String, Arc<Metric>>>,
}

impl Shared {
    /// The metric that `declared` asks for. One that was declared otherwise before starts anew.
    ///
    /// # Errors
    ///
    /// E_LIMIT: there are too many.
    pub fn metric(&self, declared: Declared) -> Result<Arc<Metric>, Fault> {
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = metrics.get(&declared.name)
            && metric.declared == declared
        {
            return Ok(metric.clone());
        }
        if metrics.len() >= METRICS_MAX && !metrics.contains_key(&declared.name) {
            return Err(Fault::new(Code::Limit, format!("a plugin may declare {METRICS_MAX} metrics")));
        }
        let metric = Arc::new(Metric { declared, cells: Mutex::default() });
        metrics.insert(metric.declared.name.clone(), metric.clone());
        Ok(metric)
    }

    /// Every metric declared, sorted by name.
    pub fn metrics(&self) -> Vec<Arc<Metric>> {
        let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = metrics.values().cloned().collect();
        all.sort_by(|a, b| a.declared.name.cmp(&b.declared.name));
        all
    }
}

//! What is counted of plugins: by the host, and by plugins themselves.
//!
//! A [`Shared`] belongs to a plugin's name and survives reloads. Nothing here is locked on the path of
//! a push: host counters are atomics, and a machine keeps the cells it bumps.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::fault::{Code, Fault};
use super::recent::Recent;
use super::shared::Stores;

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

impl Declared {
    /// The name under which the metric of `plugin` is shown.
    pub fn exposed_name(&self, plugin: &str) -> String {
        format!("floodway_plugin_{plugin}_{}", self.name)
    }
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

/// What is counted apart in [`Counts::calls`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    GroupRelabel,
    Commit,
    Expire,
    Family,
    Push,
    Request,
    Result,
    Sample,
    Series,
    Relabel,
    Shutdown,
    Timer,
}

impl Run {
    /// Names in the order of the variants, which is theirs.
    pub const NAMES: [&str; 12] = [
        "group_relabel",
        "on_commit",
        "on_expire",
        "on_family",
        "on_push",
        "on_request",
        "on_result",
        "on_sample",
        "on_series",
        "relabel",
        "shutdown",
        "every",
    ];
}

/// Why a push went on without a plugin, as [`Counts::skipped`] counts it.
pub const SKIPS: [&str; 4] = ["breaker", "budget", "error", "memory"];

/// What a plugin in shadow would have done to a push, as [`Counts::shadow`] counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Change,
    Discard,
    Drop,
    Error,
    Reject,
}

impl Effect {
    /// Names in the order of the variants, which is theirs.
    pub const NAMES: [&str; 5] = ["change", "discard", "drop", "error", "reject"];
}

/// Upper bounds of [`Counts::durations`] in nanoseconds; one more counter takes the rest.
pub const DURATION_BOUNDS: [u64; 11] =
    [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 2_000_000, 10_000_000, 50_000_000];

/// Codes of rejections that are counted apart.
const REJECT_CODES_MAX: usize = 32;

/// Counters of the host about one plugin.
#[derive(Debug, Default)]
pub struct Counts {
    /// By [`Run`].
    pub calls: [AtomicU64; Run::NAMES.len()],
    pub nanos: AtomicU64,
    /// Pushes by how long they spent in the plugin, not cumulated.
    pub durations: [AtomicU64; DURATION_BOUNDS.len() + 1],
    rejects: Mutex<BTreeMap<String, u64>>,
    pub discards: AtomicU64,
    pub series_dropped: AtomicU64,
    /// By [`SKIPS`].
    pub skipped: [AtomicU64; SKIPS.len()],
    /// By [`Effect`].
    pub shadow: [AtomicU64; Effect::NAMES.len()],
    pub half_budget: AtomicU64,
    pub cache_hits: AtomicU64,
    pub cache_misses: AtomicU64,
    pub rebuilds: AtomicU64,
    pub splits: AtomicU64,
    pub group_label_resets: AtomicU64,
    pub log_suppressed: AtomicU64,
    /// Calls on shared state that found it full.
    pub state_full: AtomicU64,
    /// Bytes that the machines of all workers use.
    pub memory: AtomicI64,
    /// Until when the breaker of each worker is open for some job.
    open: Mutex<BTreeMap<usize, Instant>>,
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

    /// Notes the time that a push spent in the plugin.
    pub fn count_time(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        bump(&self.nanos, nanos);
        let at = DURATION_BOUNDS.iter().position(|bound| nanos <= *bound).unwrap_or(DURATION_BOUNDS.len());
        bump(&self.durations[at], 1);
    }

    /// Counts a rejection by its code; further codes count as `overflow` once there are many.
    pub fn count_reject(&self, code: &str) {
        let mut rejects = self.rejects.lock().unwrap_or_else(PoisonError::into_inner);
        let full = rejects.len() >= REJECT_CODES_MAX && !rejects.contains_key(code);
        *rejects.entry(if full { OVERFLOW } else { code }.to_owned()).or_default() += 1;
    }

    /// Rejections by code.
    pub fn rejects(&self) -> BTreeMap<String, u64> {
        self.rejects.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a push that goes on without the plugin.
    pub fn count_skip(&self, reason: &str) {
        if let Some(at) = SKIPS.iter().position(|known| *known == reason) {
            bump(&self.skipped[at], 1);
        }
    }

    /// Notes until when the breaker of `worker` is open for some job; `None` once it is for none.
    pub fn set_open(&self, worker: usize, until: Option<Instant>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match until {
            Some(until) => open.insert(worker, until),
            None => open.remove(&worker),
        };
    }

    /// Workers whose breaker is open for some job.
    pub fn open(&self, now: Instant) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().filter(|until| now < **until).count()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Shared {
    pub counts: Counts,
    pub stores: Stores,
    /// What went wrong lately, or would have been refused.
    pub recent: Recent,
    metrics: Mutex<HashMap<String, Arc<Metric>>>,
}

impl Shared {
    /// Counters and metrics that begin anew, and stores over the ones here.
    pub fn twin(&self) -> Shared {
        Shared { stores: self.stores.overlays(), ..Shared::default() }
    }

    /// Takes the metrics of the generation that comes into force. Those that were declared alike before
    /// go on, others begin or end.
    pub fn take_metrics(&self, declared: &[Declared]) {
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut *metrics);
        for declared in declared {
            let same = old.remove(&declared.name).filter(|metric| metric.declared == *declared);
            let metric = same
                .unwrap_or_else(|| Arc::new(Metric { declared: declared.clone(), cells: Mutex::default() }));
            metrics.insert(declared.name.clone(), metric);
        }
    }

    /// The metric that a machine of the generation in force declares. A machine of an older one counts
    /// where nobody looks.
    pub fn known_metric(&self, declared: Declared) -> Arc<Metric> {
        let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        match metrics.get(&declared.name) {
            Some(metric) if metric.declared == declared => metric.clone(),
            _ => Arc::new(Metric { declared, cells: Mutex::default() }),
        }
    }

    /// The metric that `declared` asks for, made if there is none like it.
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

//! What happened, counted: the face that the rest of the gateway counts through.
//!
//! Every thread counts in a copy of its own ([`PerWorker`]), without locks and without sharing cache
//! lines; a scrape adds the copies up. What is made of the counts stands in `families`.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::journal::Journal;
use super::persistence::Persistence;
use super::plugins::{PluginFigures, Source};
use super::requests::RequestCounts;
use super::slots::PerWorker;
use super::summary::{self, Merged, Summary};
use crate::model::{Leniency, Limit, Reason};

/// Counters and gauges of this process. One exists, shared by all threads.
pub struct Telemetry {
    started: Instant,
    workers: usize,
    counters: PerWorker<Counters>,
    driver: OnceLock<&'static str>,
    store: StoreFigures,
    limits: OnceLock<Vec<(Limit, f64)>>,
    /// By number of the limit; [`UNKNOWN`] where nobody said.
    uses: [AtomicU64; Limit::ALL.len()],
    persistence: OnceLock<Persistence>,
    plugins: OnceLock<Source>,
    /// Groups whose lifetime ended; there once lifetimes are used.
    expired: OnceLock<AtomicU64>,
    journal: Journal,
}

/// How much the store holds, as of the last rendering.
#[derive(Default)]
struct StoreFigures {
    groups: AtomicU64,
    series: AtomicU64,
    hidden: AtomicU64,
}

/// No use of a limit is known.
const UNKNOWN: u64 = u64::MAX;

/// The methods that push.
pub(super) const PUSH_METHODS: [&str; 2] = ["post", "put"];

/// All reasons in order of their index.
pub(super) const REASONS: [Reason; 13] = [
    Reason::BadKey,
    Reason::Malformed,
    Reason::Inconsistent,
    Reason::TooLarge(Limit::BodyBytes),
    Reason::UnsupportedEncoding,
    Reason::Plugin { status: 0, mark_failed: false },
    Reason::Overloaded,
    Reason::NotDurable,
    Reason::Full(Limit::Groups),
    Reason::Forbidden,
    Reason::Unmergeable,
    Reason::Merged,
    Reason::KeyReused,
];

/// The status codes of refused heads.
pub(super) const HEAD_CODES: [u16; 6] = [400, 408, 414, 431, 501, 505];

#[derive(Default)]
struct Counters {
    requests: RequestCounts,
    /// In bytes.
    push_sizes: [Summary; PUSH_METHODS.len()],
    /// In nanoseconds.
    push_durations: [Summary; PUSH_METHODS.len()],
    refusals: [AtomicU64; REASONS.len()],
    limit_hits: [AtomicU64; Limit::ALL.len()],
    leniencies: [AtomicU64; Leniency::ALL.len()],
    bad_heads: [AtomicU64; HEAD_CODES.len()],
    reuses: AtomicU64,
    /// Opened less closed on this copy; below zero where connections close on another thread.
    connections: AtomicI64,
}

impl Telemetry {
    /// For a process with `workers` threads that serve connections. Others may count as well.
    pub fn new(workers: usize) -> Telemetry {
        Telemetry {
            started: Instant::now(),
            workers,
            counters: PerWorker::new(workers),
            driver: OnceLock::new(),
            store: StoreFigures::default(),
            limits: OnceLock::new(),
            uses: [const { AtomicU64::new(UNKNOWN) }; Limit::ALL.len()],
            persistence: OnceLock::new(),
            plugins: OnceLock::new(),
            expired: OnceLock::new(),
            journal: Journal::default(),
        }
    }

    /// Counts a request that was answered with `code`. `handler` is a name the reference counts by
    /// (`push`, `api/v1/status`, ...), `method` is in lower case.
    pub fn count_request(&self, handler: &'static str, method: &'static str, code: u16) {
        self.counters.mine().requests.count(handler, method, code);
    }

    /// Notes size and duration of an answered push. `method` is `put` or `post`; with any other it was
    /// not a push, and nothing happens.
    pub fn observe_push(&self, method: &'static str, size_bytes: u64, duration: Duration) {
        let Some(method) = PUSH_METHODS.iter().position(|push| *push == method) else { return };
        let period = summary::period_at(self.started.elapsed());
        let counters = self.counters.mine();
        counters.push_sizes[method].observe(period, size_bytes);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        counters.push_durations[method].observe(period, nanos);
    }

    /// Counts a push that was refused, and the limit that was in its way.
    pub fn count_refusal(&self, reason: Reason) {
        self.counters.mine().refusals[index_of(reason)].fetch_add(1, Ordering::Relaxed);
        if let Some(limit) = reason.limit() {
            self.count_limit(limit);
        }
    }

    /// Counts that a limit was reached.
    pub fn count_limit(&self, limit: Limit) {
        self.counters.mine().limit_hits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes the limits in force, times in seconds. The first word stays.
    pub fn set_limits(&self, limits: Vec<(Limit, f64)>) {
        self.limits.get_or_init(|| limits);
    }

    /// Notes how much of a limit is used now.
    pub fn set_use(&self, limit: Limit, used: u64) {
        self.uses[limit as usize].store(used, Ordering::Relaxed);
    }

    /// How often a limit was reached.
    pub fn limit_hits(&self, limit: Limit) -> u64 {
        self.counters.iter().map(|part| part.limit_hits[limit as usize].load(Ordering::Relaxed)).sum()
    }

    pub(super) fn limits(&self) -> &[(Limit, f64)] {
        self.limits.get().map_or(&[], Vec::as_slice)
    }

    /// A limit in force, times in seconds; `None` if it is off.
    pub fn limit_max(&self, limit: Limit) -> Option<f64> {
        self.limits().iter().find(|(found, _)| *found == limit).map(|(_, max)| *max)
    }

    /// How much of a limit is used, where that is known.
    pub fn limit_use(&self, limit: Limit) -> Option<u64> {
        match self.uses[limit as usize].load(Ordering::Relaxed) {
            _ if limit == Limit::Connections => Some(self.connections_open()),
            UNKNOWN => None,
            used => Some(used),
        }
    }

    /// Counts a request that ended with its head, by the code of the answer; codes that no head is refused
    /// with are not counted.
    pub fn count_bad_head(&self, code: u16) {
        if let Some(index) = HEAD_CODES.iter().position(|known| *known == code) {
            self.counters.mine().bad_heads[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The last refused requests.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Pushes answered so far, whatever the answer.
    pub fn pushes(&self) -> u64 {
        self.requests().iter().filter(|((_, handler, _), _)| *handler == "push").map(|(_, count)| count).sum()
    }

    /// Counts a push of which something was forgiven.
    pub fn count_lenience(&self, leniency: Leniency) {
        self.counters.mine().leniencies[leniency as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a push that was stored as what plugins made of the last one of its shape.
    pub fn count_reuse(&self) {
        self.counters.mine().reuses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reuses(&self) -> u64 {
        self.counters.iter().map(|part| part.reuses.load(Ordering::Relaxed)).sum()
    }

    pub fn connection_opened(&self) {
        self.counters.mine().connections.fetch_add(1, Ordering::Relaxed);
    }

    pub fn connection_closed(&self) {
        self.counters.mine().connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes what moves bytes between sockets and workers: `io_uring` or `epoll`. The first word stays.
    pub fn set_driver(&self, driver: &'static str) {
        self.driver.get_or_init(|| driver);
    }

    /// The driver, once the workers have found out.
    pub fn driver(&self) -> Option<&'static str> {
        self.driver.get().copied()
    }

    /// Notes what the store holds: groups, series over all groups, and how many of those are hidden
    /// because another group shows the same. Meant for whoever renders, once per rendering, so that
    /// pushes need not keep shared counters here.
    pub fn set_store_figures(&self, groups: u64, series: u64, hidden: u64) {
        self.store.groups.store(groups, Ordering::Relaxed);
        self.store.series.store(series, Ordering::Relaxed);
        self.store.hidden.store(hidden, Ordering::Relaxed);
    }

    /// Groups have lifetimes: from now on it is shown how many came to an end.
    pub fn enable_lifetimes(&self) -> &AtomicU64 {
        self.expired.get_or_init(AtomicU64::default)
    }

    /// Counts a group that was removed at the end of its lifetime.
    pub fn count_expired(&self) {
        self.enable_lifetimes().fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn expired(&self) -> Option<u64> {
        self.expired.get().map(|count| count.load(Ordering::Relaxed))
    }

    /// The figures about groups on the disk, which exist from now on.
    pub fn enable_persistence(&self) -> &Persistence {
        self.persistence.get_or_init(Persistence::default)
    }

    /// The figures about groups on the disk, if they are kept there.
    pub(super) fn persistence(&self) -> Option<&Persistence> {
        self.persistence.get()
    }

    /// Says where the figures about plugins are read. The first word stays.
    pub fn set_plugins(&self, source: impl Fn() -> PluginFigures + Send + Sync + 'static) {
        let _ = self.plugins.set(Box::new(source));
    }

    /// The figures about plugins, where there are any.
    pub(super) fn plugins(&self) -> PluginFigures {
        let mut figures = self.plugins.get().map(|source| source()).unwrap_or_default();
        if self.plugins.get().is_some() {
            let reused = vec![super::families::single(self.reuses() as f64)];
            figures.counted.insert("floodway_plugin_outcomes_reused_total", reused);
        }
        figures
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Connections open now.
    pub fn connections_open(&self) -> u64 {
        let sum: i64 = self.counters.iter().map(|part| part.connections.load(Ordering::Relaxed)).sum();
        // The copies are read one after the other, while connections come and go.
        u64::try_from(sum).unwrap_or(0)
    }

    /// Groups, series and hidden series.
    pub(super) fn store_figures(&self) -> [u64; 3] {
        [&self.store.groups, &self.store.series, &self.store.hidden].map(|n| n.load(Ordering::Relaxed))
    }

    /// Requests by code, handler and method.
    pub(super) fn requests(&self) -> BTreeMap<(u16, &'static str, &'static str), u64> {
        let mut sums = BTreeMap::new();
        for part in self.counters.iter() {
            part.requests.add_to(&mut sums);
        }
        sums
    }

    pub(super) fn push_sizes(&self, method: usize) -> Merged {
        let parts = self.counters.iter().map(|part| &part.push_sizes[method]);
        Merged::new(parts, summary::period_at(self.started.elapsed()))
    }

    pub(super) fn push_durations(&self, method: usize) -> Merged {
        let parts = self.counters.iter().map(|part| &part.push_durations[method]);
        Merged::new(parts, summary::period_at(self.started.elapsed()))
    }

    pub(super) fn bad_heads(&self, index: usize) -> u64 {
        self.counters.iter().map(|part| part.bad_heads[index].load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn leniencies(&self, leniency: Leniency) -> u64 {
        self.counters.iter().map(|part| part.leniencies[leniency as usize].load(Ordering::Relaxed)).sum()
    }

    pub(super) fn refusals(&self, reason: usize) -> u64 {
        self.counters.iter().map(|part| part.refusals[reason].load(Ordering::Relaxed)).sum()
    }
}

/// Spelled out so that a new reason does not compile before it has a place in [`REASONS`].
fn index_of(reason: Reason) -> usize {
    match reason {
        Reason::BadKey => 0,
        Reason::Malformed => 1,
        Reason::Inconsistent => 2,
        Reason::TooLarge(_) => 3,
        Reason::UnsupportedEncoding => 4,
        Reason::Plugin { .. } => 5,
        Reason::Overloaded => 6,
        Reason::NotDurable => 7,
        Reason::Full(_) => 8,
        Reason::Forbidden => 9,
        Reason::Unmergeable => 10,
        Reason::Merged => 11,
        Reason::KeyReused => 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_where_their_index_says() {
        for (index, reason) in REASONS.into_iter().enumerate() {
            assert_eq!(index_of(reason), index);
        }
    }

    #[test]
    fn threads_count_together() {
        let telemetry = Telemetry::new(2);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        telemetry.count_request("push", "put", 200);
                        telemetry.observe_push("put", 10, Duration::from_micros(3));
                        telemetry.count_refusal(Reason::TooLarge(Limit::PushSeries));
                        telemetry.connection_opened();
                    }
                });
            }
        });
        for _ in 0..4999 {
            telemetry.connection_closed();
        }
        assert_eq!(telemetry.requests()[&(200, "push", "put")], 5000);
        assert_eq!(telemetry.push_sizes(1).sum, 50_000);
        assert_eq!(telemetry.push_sizes(0).count, 0);
        assert_eq!(telemetry.push_durations(1).sum, 15_000_000);
        assert_eq!((telemetry.refusals(3), telemetry.limit_hits(Limit::PushSeries)), (5000, 5000));
        assert_eq!(telemetry.connections_open(), 1);
        telemetry.observe_push("delete", 10, Duration::ZERO);
        assert_eq!(telemetry.push_sizes(0).count, 0);
    }

    #[test]
    fn the_first_word_on_the_driver_stays() {
        let telemetry = Telemetry::new(1);
        assert_eq!(telemetry.driver(), None);
        telemetry.set_driver("epoll");
        telemetry.set_driver("io_uring");
        assert_eq!(telemetry.driver(), Some("epoll"));
    }
}

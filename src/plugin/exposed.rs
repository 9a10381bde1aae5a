//! What is shown of plugins at a scrape: what the host counts, and what they declare themselves.
//!
//! Counters belong to a plugin's name and stay for as long as the process runs; `info` shows what is in
//! force.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::engine::Plugins;
use super::stats::{Cells, Counts, DURATION_BOUNDS, Effect, Metric, MetricKind, Run, SKIPS, Shared};
use crate::model::MetricType;
use crate::telemetry::{OwnFamily, OwnSeries, OwnValue, PluginFigures};

/// Reads all of it.
pub fn figures(plugins: &Plugins) -> PluginFigures {
    let mut figures = Figures::default();
    for (name, shared) in plugins.all_shared() {
        figures.host(&name, &shared.counts);
        figures.stores(&name, &shared);
        figures.declared(&name, &shared);
    }
    figures.process(plugins);
    PluginFigures { counted: figures.counted, declared: figures.declared }
}

#[derive(Default)]
struct Figures {
    counted: HashMap<&'static str, Vec<OwnSeries>>,
    declared: Vec<OwnFamily>,
}

fn read(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}

impl Figures {
    fn add(&mut self, family: &'static str, labels: &[(&'static str, &str)], value: OwnValue) {
        let mut labels: Vec<_> =
            labels.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
        labels.sort();
        self.counted.entry(family).or_default().push(OwnSeries { labels, value });
    }

    fn plain(&mut self, family: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.add(family, labels, OwnValue::Plain(value));
    }

    /// What the host counts of one plugin.
    fn host(&mut self, plugin: &str, counts: &Counts) {
        let of_plugin = [("plugin", plugin)];
        for (family, counter) in [
            ("floodway_plugin_cache_hits_total", &counts.cache_hits),
            ("floodway_plugin_cache_misses_total", &counts.cache_misses),
            ("floodway_plugin_discards_total", &counts.discards),
            ("floodway_plugin_group_label_resets_total", &counts.group_label_resets),
            ("floodway_plugin_half_budget_total", &counts.half_budget),
            ("floodway_plugin_log_suppressed_total", &counts.log_suppressed),
            ("floodway_plugin_rebuilds_total", &counts.rebuilds),
            ("floodway_plugin_series_dropped_total", &counts.series_dropped),
            ("floodway_plugin_splits_total", &counts.splits),
            ("floodway_plugin_state_full_total", &counts.state_full),
        ] {
            self.plain(family, &of_plugin, read(counter));
        }
        self.plain("floodway_plugin_seconds_total", &of_plugin, read(&counts.nanos) / 1e9);
        self.plain("floodway_plugin_breaker_open", &of_plugin, counts.open(Instant::now()) as f64);
        let memory = counts.memory.load(Ordering::Relaxed).max(0);
        self.plain("floodway_plugin_memory_bytes", &of_plugin, memory as f64);
        for (hook, counter) in Run::NAMES.iter().zip(&counts.calls) {
            // A hook that the plugin does not have says nothing.
            if read(counter) > 0.0 {
                let labels = [("plugin", plugin), ("hook", *hook)];
                self.plain("floodway_plugin_calls_total", &labels, read(counter));
            }
        }
        for (code, count) in counts.errors().filter(|(_, count)| *count > 0) {
            let labels = [("plugin", plugin), ("code", code.name())];
            self.plain("floodway_plugin_errors_total", &labels, count as f64);
        }
        for (code, count) in counts.rejects() {
            let labels = [("plugin", plugin), ("code", code.as_str())];
            self.plain("floodway_plugin_rejects_total", &labels, count as f64);
        }
        for (reason, counter) in SKIPS.iter().zip(&counts.skipped) {
            let labels = [("plugin", plugin), ("reason", *reason)];
            self.plain("floodway_plugin_skipped_total", &labels, read(counter));
        }
        for (effect, counter) in
            Effect::NAMES.iter().zip(&counts.shadow).filter(|(_, count)| read(count) > 0.0)
        {
            let labels = [("plugin", plugin), ("effect", *effect)];
            self.plain("floodway_plugin_shadow_total", &labels, read(counter));
        }
        let bounds = DURATION_BOUNDS.iter().map(|nanos| *nanos as f64 / 1e9);
        let counts_of = counts.durations.iter().map(|count| count.load(Ordering::Relaxed));
        let value = histogram(bounds, counts_of, read(&counts.nanos) / 1e9);
        self.add("floodway_plugin_duration_seconds", &of_plugin, value);
    }

    /// What one plugin shares between workers.
    fn stores(&mut self, plugin: &str, shared: &Shared) {
        for store in shared.stores.all() {
            let declared = &store.declared;
            let labels =
                [("plugin", plugin), ("kind", declared.kind.name()), ("name", declared.name.as_str())];
            self.plain("floodway_plugin_state_keys", &labels, store.keys() as f64);
        }
    }

    /// What one plugin declares.
    fn declared(&mut self, plugin: &str, shared: &Shared) {
        for metric in shared.metrics() {
            let declared = &metric.declared;
            self.declared.push(OwnFamily {
                name: declared.exposed_name(plugin).into(),
                help: declared.help.clone().into(),
                kind: match declared.kind {
                    MetricKind::Counter => MetricType::Counter,
                    MetricKind::Gauge => MetricType::Gauge,
                    MetricKind::Histogram => MetricType::Histogram,
                },
                from_start: false,
                yields: true,
                series: metric
                    .all()
                    .into_iter()
                    .map(|(values, cells)| series(&metric, values, &cells))
                    .collect(),
            });
        }
    }

    /// What there is once.
    fn process(&mut self, plugins: &Plugins) {
        let generation = plugins.generation();
        for planned in &generation.plugins {
            let labels = [
                ("plugin", planned.spec.name.as_str()),
                ("version", &planned.about.version),
                ("mode", planned.spec.mode.name()),
                ("on_error", planned.about.on_error.name()),
            ];
            self.plain("floodway_plugin_info", &labels, 1.0);
        }
        let (successful, at) = plugins.last_reload();
        self.plain("floodway_plugin_generation", &[], generation.number as f64);
        self.plain("floodway_plugin_reload_successful", &[], f64::from(u8::from(successful)));
        self.plain("floodway_plugin_reload_timestamp_seconds", &[], at as f64);
    }
}

fn series(metric: &Metric, values: Vec<String>, cells: &Cells) -> OwnSeries {
    let names = metric.declared.labels.iter().map(|name| name.clone().into());
    let mut labels: Vec<_> = names.zip(values).collect();
    labels.sort();
    let value = match metric.declared.kind {
        MetricKind::Histogram => {
            let bounds = &metric.declared.buckets;
            let counts = cells[..=bounds.len()].iter().map(|cell| cell.get() as u64);
            histogram(bounds.iter().copied(), counts, cells[bounds.len() + 1].get())
        }
        _ => OwnValue::Plain(cells[0].get()),
    };
    OwnSeries { labels, value }
}

/// A histogram from counts between bounds; there is one count more, above all of them.
fn histogram(bounds: impl Iterator<Item = f64>, counts: impl Iterator<Item = u64>, sum: f64) -> OwnValue {
    let bounds = bounds.chain([f64::INFINITY]);
    let mut total = 0;
    let cumulated = bounds.zip(counts).map(|(bound, count)| {
        total += count;
        (bound, total)
    });
    OwnValue::Histogram { buckets: cumulated.collect(), sum }
}

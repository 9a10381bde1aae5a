//! Every metric family of our own, declared once: name, type, help, and where its values come from.
//!
//! Families that the reference has too keep its names, types, help texts and labels, so that dashboards
//! and alerts keep working; ours begin with `floodway_`. There are no `go_*` families: they describe
//! Go's runtime, which is not here, and zeros in their place would be lies.

use std::borrow::Cow;

use super::log;
use super::metrics::{HEAD_CODES, PUSH_METHODS, REASONS, Telemetry};
use super::persistence::Persistence;
use super::plugins::PluginFigures;
use super::process::{Allocator, Process};
use super::summary::Merged;
use super::{OwnFamily, OwnSeries, OwnValue};
use crate::build_info;
use crate::model::MetricType;
use crate::model::MetricType::{Counter, Gauge, Histogram, Summary};
use crate::model::{Leniency, Limit, Reason};

/// The declaration of a family of our own.
pub struct Declared {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: MetricType,
    /// Whether the family exists from the start; see [`OwnFamily::from_start`].
    pub from_start: bool,
    collect: Collect,
}

/// Where the series of a family come from.
enum Collect {
    Here(fn(&Figures<'_>) -> Vec<OwnSeries>),
    /// Whoever runs the plugins tells them under the family's name.
    Plugins,
}

/// What is read once for all families of a scrape.
struct Figures<'t> {
    telemetry: &'t Telemetry,
    process: Process,
    allocator: Option<Allocator>,
    /// Groups, series and hidden series.
    store: [u64; 3],
    plugins: PluginFigures,
}

impl Telemetry {
    /// All families that can ever appear, sorted by name: what pushes are checked against.
    pub fn declared() -> &'static [Declared] {
        DECLARED
    }

    /// All own families that have series now, sorted by name.
    pub fn families(&self) -> Vec<OwnFamily> {
        let mut figures = Figures {
            telemetry: self,
            process: Process::read(),
            allocator: Allocator::read(),
            store: self.store_figures(),
            plugins: self.plugins(),
        };
        let mut families = std::mem::take(&mut figures.plugins.declared);
        for declared in DECLARED {
            let series = match declared.collect {
                Collect::Here(collect) => collect(&figures),
                Collect::Plugins => figures.plugins.counted.remove(declared.name).unwrap_or_default(),
            };
            families.push(OwnFamily {
                name: declared.name.into(),
                help: declared.help.into(),
                kind: declared.kind,
                from_start: declared.from_start,
                yields: false,
                series,
            });
        }
        families.retain(|family| !family.series.is_empty());
        families.sort_by(|a, b| a.name.cmp(&b.name));
        families
    }
}

const fn family(
    name: &'static str,
    kind: MetricType,
    help: &'static str,
    collect: fn(&Figures<'_>) -> Vec<OwnSeries>,
) -> Declared {
    Declared { name, help, kind, from_start: true, collect: Collect::Here(collect) }
}

/// A family that appears with its first value.
const fn later(
    name: &'static str,
    kind: MetricType,
    help: &'static str,
    collect: fn(&Figures<'_>) -> Vec<OwnSeries>,
) -> Declared {
    Declared { name, help, kind, from_start: false, collect: Collect::Here(collect) }
}

/// A family about plugins, which is there where plugins are.
const fn plugins(name: &'static str, kind: MetricType, help: &'static str) -> Declared {
    Declared { name, help, kind, from_start: false, collect: Collect::Plugins }
}

static DECLARED: &[Declared] = &[
    family(
        "floodway_allocator_allocated_bytes",
        Gauge,
        "Bytes that the process has allocated and not given back.",
        |f| plain(f.allocator.map(|allocator| allocator.allocated_bytes)),
    ),
    family(
        "floodway_allocator_resident_bytes",
        Gauge,
        "Bytes of memory that the allocator holds from the system.",
        |f| plain(f.allocator.map(|allocator| allocator.resident_bytes)),
    ),
    family("floodway_build_info", Gauge, "Always 1; the labels say what the gateway was built from.", |_| {
        labelled(&[
            ("branch", build_info::BRANCH),
            ("revision", build_info::REVISION),
            ("rustversion", build_info::RUST_VERSION),
            ("version", build_info::VERSION),
        ])
    }),
    family("floodway_connections_open", Gauge, "Client connections open now.", |f| {
        plain(Some(f.telemetry.connections_open() as f64))
    }),
    later(
        "floodway_driver_info",
        Gauge,
        "Always 1; the label names what moves bytes between sockets and workers.",
        |f| f.telemetry.driver().map(|driver| labelled(&[("driver", driver)])).unwrap_or_default(),
    ),
    family("floodway_groups", Gauge, "Groups held now.", |f| plain(Some(f.store[0] as f64))),
    later("floodway_groups_expired_total", Counter, "Groups removed at the end of their lifetime.", |f| {
        plain(f.telemetry.expired().map(|count| count as f64))
    }),
    family(
        "floodway_limit_hits_total",
        Counter,
        "How often a limit was reached, by the flag behind --limit.",
        |f| {
            let hits = |limit: &Limit| (limit.name(), f.telemetry.limit_hits(*limit) as f64);
            by_label("limit", Limit::ALL.iter().map(hits))
        },
    ),
    later(
        "floodway_limit_max",
        Gauge,
        "Limits in force, in bytes, seconds or things. A limit that is off is left out.",
        |f| by_label("limit", f.telemetry.limits().iter().map(|(limit, max)| (limit.name(), *max))),
    ),
    family(
        "floodway_limit_used",
        Gauge,
        "How much of a limit is used now, in the unit of floodway_limit_max.",
        |f| {
            let used = |limit: &Limit| Some((limit.name(), f.telemetry.limit_use(*limit)? as f64));
            by_label("limit", Limit::ALL.iter().filter_map(used))
        },
    ),
    family(
        "floodway_log_lines_dropped_total",
        Counter,
        "Log lines lost because standard error was not read in time.",
        |_| plain(Some(log::lines_dropped() as f64)),
    ),
    later("floodway_persistence_batch_groups", Summary, "Changed groups that one commit wrote.", |f| {
        persisted(f, |p| summary_of(Vec::new(), &p.sizes(), 1.0))
    }),
    later("floodway_persistence_bytes_total", Counter, "Bytes written to the log.", |f| {
        persisted(f, |p| single(p.bytes() as f64))
    }),
    later(
        "floodway_persistence_commit_duration_seconds",
        Summary,
        "Time that a commit took, waiting for the disk included.",
        |f| persisted(f, |p| summary_of(Vec::new(), &p.durations(), 1e9)),
    ),
    later(
        "floodway_persistence_failing",
        Gauge,
        "Whether the disk fails, so that pushes are refused.",
        |f| persisted(f, |p| single(f64::from(u8::from(p.is_failing())))),
    ),
    later("floodway_persistence_failures_total", Counter, "Commits and recoveries that failed.", |f| {
        persisted(f, |p| single(p.failures() as f64))
    }),
    later(
        "floodway_persistence_lag_seconds",
        Gauge,
        "For how long there have been changes that are not on the disk.",
        |f| persisted(f, |p| single(p.lag().as_secs_f64())),
    ),
    later(
        "floodway_persistence_last_error_timestamp_seconds",
        Gauge,
        "When the disk failed last; the label says how.",
        |f| {
            let last = f.telemetry.persistence().and_then(|p| p.last_error());
            by_label("error", last.map(|(error, at)| (error, at.seconds())))
        },
    ),
    plugins("floodway_plugin_breaker_open", Gauge, "Workers on which the plugin rests for at least one job."),
    plugins("floodway_plugin_cache_hits_total", Counter, "Series whose on_series was answered from memory."),
    plugins("floodway_plugin_cache_misses_total", Counter, "Series for which on_series ran."),
    plugins("floodway_plugin_calls_total", Counter, "Runs of a hook or of a list of rules, by hook."),
    plugins("floodway_plugin_discards_total", Counter, "Pushes that the plugin discarded."),
    plugins("floodway_plugin_duration_seconds", Histogram, "Time that a push spent in the plugin."),
    plugins("floodway_plugin_errors_total", Counter, "Failures of the plugin, by code."),
    plugins("floodway_plugin_generation", Gauge, "Number of the set of plugins in force."),
    plugins(
        "floodway_plugin_group_label_resets_total",
        Counter,
        "Grouping labels that a rule changed in vain.",
    ),
    plugins(
        "floodway_plugin_half_budget_total",
        Counter,
        "Runs that used more than half of their time budget.",
    ),
    plugins("floodway_plugin_info", Gauge, "Always 1; the labels say which plugin is in force and how."),
    plugins("floodway_plugin_log_suppressed_total", Counter, "Log records of the plugin over its rate."),
    plugins("floodway_plugin_memory_bytes", Gauge, "Bytes that the plugin's machines use, over all workers."),
    plugins(
        "floodway_plugin_outcomes_reused_total",
        Counter,
        "Pushes stored as what rules and on_series made of the last push of that shape.",
    ),
    plugins(
        "floodway_plugin_rebuilds_total",
        Counter,
        "Machines built anew because their memory stayed full.",
    ),
    plugins("floodway_plugin_rejects_total", Counter, "Pushes that the plugin refused, by code."),
    plugins("floodway_plugin_reload_successful", Gauge, "Whether the last reload of the plugins worked."),
    plugins(
        "floodway_plugin_reload_timestamp_seconds",
        Gauge,
        "When plugins were last loaded with success, in unix seconds.",
    ),
    plugins("floodway_plugin_seconds_total", Counter, "Time spent in the plugin."),
    plugins("floodway_plugin_series_dropped_total", Counter, "Samples that the plugin dropped from pushes."),
    plugins(
        "floodway_plugin_shadow_total",
        Counter,
        "Pushes on which a plugin in shadow had an effect, by effect.",
    ),
    plugins("floodway_plugin_skipped_total", Counter, "Pushes that went on without the plugin, by reason."),
    plugins("floodway_plugin_splits_total", Counter, "Histograms and summaries that rules took apart."),
    plugins(
        "floodway_plugin_state_full_total",
        Counter,
        "Calls on what the plugin shares between workers that found no room for a key.",
    ),
    plugins(
        "floodway_plugin_state_keys",
        Gauge,
        "Keys of what the plugin shares between workers, by kind and name.",
    ),
    family(
        "floodway_push_lenience_total",
        Counter,
        "Pushes taken only because --push.lenient forgives something, by what was forgiven.",
        |f| {
            let taken = |leniency: Leniency| (leniency.label(), f.telemetry.leniencies(leniency) as f64);
            by_label("kind", Leniency::ALL.map(taken))
        },
    ),
    family("floodway_pushes_refused_total", Counter, "Pushes refused, by reason.", |f| {
        let refused =
            |(index, reason): (usize, &Reason)| (reason.label(), f.telemetry.refusals(index) as f64);
        by_label("reason", REASONS.iter().enumerate().map(refused))
    }),
    family(
        "floodway_request_heads_refused_total",
        Counter,
        "Requests that ended with a bad or late head, by the code of the answer.",
        |f| {
            let refused =
                |(index, code): (usize, &u16)| (code.to_string(), f.telemetry.bad_heads(index) as f64);
            by_label("code", HEAD_CODES.iter().enumerate().map(refused))
        },
    ),
    family("floodway_series", Gauge, "Series held now, over all groups.", |f| plain(Some(f.store[1] as f64))),
    family(
        "floodway_series_hidden",
        Gauge,
        "Series held but not shown, because another group shows the same.",
        |f| plain(Some(f.store[2] as f64)),
    ),
    family("floodway_workers", Gauge, "Threads that serve connections.", |f| {
        plain(Some(f.telemetry.workers() as f64))
    }),
    family("process_cpu_seconds_total", Counter, "Total user and system CPU time spent in seconds.", |f| {
        plain(f.process.cpu_seconds)
    }),
    family("process_max_fds", Gauge, "Maximum number of open file descriptors.", |f| {
        plain(f.process.max_fds)
    }),
    family(
        "process_network_receive_bytes_total",
        Counter,
        "Number of bytes received by the process over the network.",
        |f| plain(f.process.received_bytes),
    ),
    family(
        "process_network_transmit_bytes_total",
        Counter,
        "Number of bytes sent by the process over the network.",
        |f| plain(f.process.sent_bytes),
    ),
    family("process_open_fds", Gauge, "Number of open file descriptors.", |f| plain(f.process.open_fds)),
    family("process_resident_memory_bytes", Gauge, "Resident memory size in bytes.", |f| {
        plain(f.process.resident_bytes)
    }),
    family(
        "process_start_time_seconds",
        Gauge,
        "Start time of the process since unix epoch in seconds.",
        |f| plain(f.process.start_seconds),
    ),
    family("process_virtual_memory_bytes", Gauge, "Virtual memory size in bytes.", |f| {
        plain(f.process.virtual_bytes)
    }),
    family(
        "process_virtual_memory_max_bytes",
        Gauge,
        "Maximum amount of virtual memory available in bytes.",
        |f| plain(f.process.virtual_max_bytes),
    ),
    family(
        "pushgateway_build_info",
        Gauge,
        "A metric with a constant '1' value labeled by version, revision, branch, goversion from which pushgateway was built, and the goos and goarch for the build.",
        |_| {
            labelled(&[
                ("branch", build_info::BRANCH),
                ("goarch", build_info::ARCH),
                ("goos", build_info::OS),
                ("goversion", build_info::RUST_VERSION),
                ("revision", build_info::REVISION),
                ("tags", build_info::TAGS),
                ("version", build_info::VERSION),
            ])
        },
    ),
    later(
        "pushgateway_http_push_duration_seconds",
        Summary,
        "HTTP request duration for pushes to the Pushgateway.",
        |f| summaries(|method| f.telemetry.push_durations(method), 1e9),
    ),
    later(
        "pushgateway_http_push_size_bytes",
        Summary,
        "HTTP request size for pushes to the Pushgateway.",
        |f| summaries(|method| f.telemetry.push_sizes(method), 1.0),
    ),
    later(
        "pushgateway_http_requests_total",
        Counter,
        "Total HTTP requests processed by the Pushgateway, excluding scrapes.",
        |f| {
            let series = |((code, handler, method), count): ((u16, &str, &str), u64)| OwnSeries {
                labels: vec![
                    ("code".into(), code.to_string()),
                    ("handler".into(), handler.to_owned()),
                    ("method".into(), method.to_owned()),
                ],
                value: OwnValue::Plain(count as f64),
            };
            f.telemetry.requests().into_iter().map(series).collect()
        },
    ),
];

/// One series without labels, or none if there is no figure.
fn plain(figure: Option<f64>) -> Vec<OwnSeries> {
    figure.map(|value| OwnSeries { labels: Vec::new(), value: OwnValue::Plain(value) }).into_iter().collect()
}

/// One series of value 1 that is there for its labels.
fn labelled(labels: &[(&'static str, &str)]) -> Vec<OwnSeries> {
    let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
    vec![OwnSeries { labels, value: OwnValue::Plain(1.0) }]
}

/// A series for each value of the one label that they have.
fn by_label<L: Into<String>>(
    label: &'static str,
    figures: impl IntoIterator<Item = (L, f64)>,
) -> Vec<OwnSeries> {
    let series = |(value, figure): (L, f64)| OwnSeries {
        labels: vec![(label.into(), value.into())],
        value: OwnValue::Plain(figure),
    };
    figures.into_iter().map(series).collect()
}

pub(super) fn single(value: f64) -> OwnSeries {
    OwnSeries { labels: Vec::new(), value: OwnValue::Plain(value) }
}

/// One series about groups on the disk, or none if they are not kept there.
fn persisted(figures: &Figures<'_>, series: impl FnOnce(&Persistence) -> OwnSeries) -> Vec<OwnSeries> {
    figures.telemetry.persistence().map(series).into_iter().collect()
}

/// A summary series for each push method that was used, in units of `per_unit` observed steps.
fn summaries(merged: impl Fn(usize) -> Merged, per_unit: f64) -> Vec<OwnSeries> {
    let series = |(index, method): (usize, &&str)| {
        let merged = merged(index);
        (merged.count > 0)
            .then(|| summary_of(vec![("method".into(), (*method).to_owned())], &merged, per_unit))
    };
    PUSH_METHODS.iter().enumerate().filter_map(series).collect()
}

/// A summary series in units of `per_unit` observed steps.
fn summary_of(labels: Vec<(Cow<'static, str>, String)>, merged: &Merged, per_unit: f64) -> OwnSeries {
    let quantile = |rank: f64| (rank, merged.quantile(rank) / per_unit);
    OwnSeries {
        labels,
        value: OwnValue::Summary {
            quantiles: [0.1, 0.5, 0.9].map(quantile).to_vec(),
            sum: merged.sum as f64 / per_unit,
            count: merged.count,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn families_and_labels_are_sorted() {
        assert!(DECLARED.is_sorted_by(|a, b| a.name < b.name));
        let telemetry = Telemetry::new(1);
        telemetry.set_driver("epoll");
        for family in telemetry.families() {
            for series in &family.series {
                assert!(series.labels.is_sorted_by(|a, b| a.0 < b.0), "{}", family.name);
            }
        }
    }

    #[test]
    fn what_exists_from_the_start_is_there_at_the_start() {
        let names =
            |telemetry: &Telemetry| telemetry.families().into_iter().map(|f| f.name).collect::<Vec<_>>();
        let telemetry = Telemetry::new(1);
        let from_start: Vec<&str> = DECLARED.iter().filter(|d| d.from_start).map(|d| d.name).collect();
        assert_eq!(names(&telemetry), from_start);
        telemetry.set_driver("epoll");
        telemetry.set_limits(vec![(Limit::Groups, 3.0)]);
        telemetry.set_store_figures(4, 5, 6);
        for (name, figure) in
            [("floodway_groups", 4.0), ("floodway_series", 5.0), ("floodway_series_hidden", 6.0)]
        {
            let family = telemetry.families().into_iter().find(|family| family.name == name).unwrap();
            assert!(matches!(family.series[0].value, OwnValue::Plain(value) if value == figure), "{name}");
        }
        telemetry.count_request("status", "get", 200);
        telemetry.observe_push("put", 1, Duration::ZERO);
        telemetry.count_expired();
        telemetry.enable_persistence().failed("no space");
        telemetry.set_plugins(|| {
            let told = DECLARED.iter().filter(|declared| matches!(declared.collect, Collect::Plugins));
            let counted = told.map(|declared| (declared.name, vec![single(1.0)])).collect();
            let declared = OwnFamily {
                name: "floodway_plugin_p_x".into(),
                help: "".into(),
                kind: Gauge,
                from_start: false,
                yields: true,
                series: vec![single(2.0)],
            };
            PluginFigures { counted, declared: vec![declared] }
        });
        let names = names(&telemetry);
        assert_eq!(names.len(), DECLARED.len() + 1);
        assert!(names.is_sorted() && names.iter().any(|name| name == "floodway_plugin_p_x"));
    }

    #[test]
    fn the_reference_families_keep_type_and_help() {
        // Name, type and the beginning of the help, from the reference's own exposition.
        for (name, kind, help) in [
            ("process_cpu_seconds_total", Counter, "Total user and system CPU time spent in seconds."),
            ("process_max_fds", Gauge, "Maximum number of open file descriptors."),
            ("process_network_receive_bytes_total", Counter, "Number of bytes received by the process over"),
            ("process_network_transmit_bytes_total", Counter, "Number of bytes sent by the process over"),
            ("process_open_fds", Gauge, "Number of open file descriptors."),
            ("process_resident_memory_bytes", Gauge, "Resident memory size in bytes."),
            ("process_start_time_seconds", Gauge, "Start time of the process since unix epoch in seconds."),
            ("process_virtual_memory_bytes", Gauge, "Virtual memory size in bytes."),
            ("process_virtual_memory_max_bytes", Gauge, "Maximum amount of virtual memory available"),
            ("pushgateway_build_info", Gauge, "A metric with a constant '1' value labeled by version, "),
            ("pushgateway_http_push_duration_seconds", Summary, "HTTP request duration for pushes to the"),
            ("pushgateway_http_push_size_bytes", Summary, "HTTP request size for pushes to the Pushgateway."),
            ("pushgateway_http_requests_total", Counter, "Total HTTP requests processed by the Pushgateway"),
        ] {
            let declared = DECLARED.iter().find(|declared| declared.name == name).expect(name);
            assert_eq!(declared.kind, kind, "{name}");
            assert!(declared.help.starts_with(help), "{name}");
        }
        for declared in DECLARED {
            let ours = declared.name.starts_with("floodway_");
            assert!(
                ours || declared.name.starts_with("process_") || declared.name.starts_with("pushgateway_")
            );
            assert!(declared.help.ends_with('.'), "{}", declared.name);
        }
    }

    #[test]
    fn values_carry_the_reference_labels() {
        let telemetry = Telemetry::new(1);
        telemetry.count_request("push", "put", 200);
        telemetry.observe_push("put", 60, Duration::from_millis(250));
        let families = telemetry.families();
        let only = |name: &str| {
            let family = families.iter().find(|family| family.name == name).expect(name);
            assert_eq!(family.series.len(), 1, "{name}");
            &family.series[0]
        };
        let labels: Vec<String> = only("pushgateway_http_requests_total")
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(labels, ["code=200", "handler=push", "method=put"]);
        let OwnValue::Summary { quantiles, sum, count } =
            &only("pushgateway_http_push_duration_seconds").value
        else {
            panic!("a duration is a summary");
        };
        assert_eq!((*sum, *count), (0.25, 1));
        assert_eq!(quantiles.iter().map(|q| q.0).collect::<Vec<_>>(), [0.1, 0.5, 0.9]);
        assert!(quantiles.iter().all(|q| (q.1 - 0.25).abs() < 0.005), "{quantiles:?}");
        let build: Vec<&str> = only("pushgateway_build_info").labels.iter().map(|label| &*label.0).collect();
        assert_eq!(build, ["branch", "goarch", "goos", "goversion", "revision", "tags", "version"]);
    }
}

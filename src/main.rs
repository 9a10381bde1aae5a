//! The `floodway` program: settings, logging, gateway, server, in this order.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use floodway::build_info;
use floodway::clock::Now;
use floodway::config::{self, Config, LogFormat, LogLevel, SyncMode};
use floodway::gateway::{Gateway, KeyLimits, OpenError, Persistence, Promise, Settings, StoreLimits};
use floodway::healthcheck;
use floodway::http::address::Addresses;
use floodway::http::config::HttpConfig;
use floodway::http::descriptors;
use floodway::http::route::Routes;
use floodway::lifetimes::Lifetimes;
use floodway::merging::Merging;
use floodway::model::{Limit, NameRules, PushLimits};
use floodway::packing;
use floodway::plugin::{self, Plugins};
use floodway::server::{self, Listen, ServerConfig};
use floodway::telemetry::{Telemetry, log};
use floodway::transfer::{export, import};
use floodway::trial;
use tracing::{Level, debug, error, info, warn};

/// Gives memory back to the system from threads of its own: the crate's feature `background_threads`
/// turns them on for the whole process, so that a worker never pays for it.
#[cfg(not(miri))]
#[global_allocator]
static ALLOCATOR: packing::Packing<tikv_jemallocator::Jemalloc> =
    packing::Packing::new(tikv_jemallocator::Jemalloc);

/// The allocator's settings. Freed memory goes back to the system after one second instead of ten: a
/// rendering frees what it replaces in one go.
// SAFETY: jemalloc reads this symbol as a pointer to bytes that end in NUL, which a reference to such an
// array is, and nothing else in the program has the name.
#[cfg(not(miri))]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8; 37] = b"dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    if let Some(code) = trial::run(std::env::args_os()) {
        return code;
    }
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|job| job == "healthcheck") {
        return healthcheck(&args[2..]);
    }
    match &args[..] {
        [_, job, path] if job == "import" => return import(Path::new(path)),
        [_, job, path] if job == "export" => return export(export::Format::Text, Path::new(path)),
        [_, job, format, path] if job == "export" && format == "--format=text" => {
            return export(export::Format::Text, Path::new(path));
        }
        [_, job, format, path] if job == "export" && format == "--format=protobuf" => {
            return export(export::Format::Protobuf, Path::new(path));
        }
        _ => {}
    }
    let config = match Config::from_args(args, Now::read().wall) {
        Ok(config) => config,
        Err(stop) => return stop.report(),
    };
    // Dropped last, which writes the lines that are still queued.
    let _logger = log::install(log_level(config.log_level), log_format(config.log_format));
    announce(&config);
    // The server has logged what ended it. The reference ends with status 0 even if it could not
    // listen, and its supervisor believes that all is well.
    if serve(config) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `floodway healthcheck [URL]`.
fn healthcheck(args: &[OsString]) -> ExitCode {
    let asked = match args {
        [] => healthcheck::ask(healthcheck::DEFAULT_URL),
        [url] => healthcheck::ask(&url.to_string_lossy()),
        _ => Err("usage: floodway healthcheck [URL]".to_owned()),
    };
    asked.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &str) -> ExitCode {
    eprintln!("floodway: error: {error}");
    ExitCode::FAILURE
}

/// `floodway import FILE`.
fn import(path: &Path) -> ExitCode {
    let logger = log::install(Level::INFO, log::Format::Logfmt);
    let done = import::import(path, true);
    drop(logger);
    done.map_or_else(|error| fail(&error.to_string()), |_| ExitCode::SUCCESS)
}

/// `floodway export [--format=text|protobuf] DIRECTORY`.
fn export(format: export::Format, path: &Path) -> ExitCode {
    let logger = log::install(Level::INFO, log::Format::Logfmt);
    let done = export::export(path, format, &mut std::io::stdout().lock());
    if let Ok(series @ 1..) = done {
        warn!(
            series,
            "text leaves out native histograms, exemplars and created times; --format=protobuf does not"
        );
    }
    drop(logger);
    done.map_or_else(|error| fail(&error.to_string()), |_| ExitCode::SUCCESS)
}

/// Serves until the process is asked to stop. False if it ended for any other reason.
fn serve(config: Config) -> bool {
    let names = if config.utf8_names { NameRules::Utf8 } else { NameRules::Legacy };
    let settings = Settings {
        check_consistency: config.check_consistency,
        names,
        lenient: config.lenient,
        offers_openmetrics: config.offers_openmetrics,
        limits: store_limits(&config.limits),
        exposition_cache_bytes: config.limits.exposition_cache,
        dialect: config.merging.dialect,
        keys: KeyLimits {
            count: config.merging.keys,
            nanos: u64::try_from(config.merging.keys_for.as_nanos()).unwrap_or(u64::MAX),
        },
    };
    let connections_max = ceiling(config.limits.connections).min(descriptors::for_connections());
    let telemetry = Arc::new(Telemetry::new(config.workers));
    telemetry.set_limits(shown_limits(&config.limits, connections_max));
    let plugins = match load_plugins(&config, names) {
        Ok(plugins) => plugins,
        Err(problems) => {
            problems.iter().for_each(|problem| error!(%problem, "could not load the plugins"));
            return false;
        }
    };
    // Kept for as long as the server runs.
    let _watch = plugins.clone().filter(|_| config.plugins.watch).map(plugin::watch::start);
    if let Some(persistence) = &config.persistence
        && let Err(err) = import::prepare(&persistence.path, settings.check_consistency)
    {
        error!(%err, "could not start");
        return false;
    }
    let lifetimes = match load_lifetimes(&config) {
        Ok(lifetimes) => lifetimes,
        Err(err) => {
            error!(err, "could not load the rules for lifetimes");
            return false;
        }
    };
    let merging = match config.merging.config.as_deref().map(|path| Merging::load(Some(path))).transpose() {
        Ok(merging) => merging,
        Err(err) => {
            error!(err, "could not load the rules for merging");
            return false;
        }
    };
    let persistence = config.persistence.as_ref().map(persistence);
    match Gateway::open(settings, telemetry, persistence.as_ref()) {
        Ok(gateway) => {
            let gateway = match plugins {
                Some(plugins) => gateway.with_plugins(plugins),
                None => gateway,
            };
            let gateway = match lifetimes {
                Some(lifetimes) => gateway.with_lifetimes(Arc::new(lifetimes)),
                None => gateway,
            };
            let gateway = Arc::new(match merging {
                Some(merging) => gateway.with_merging(Arc::new(merging)),
                None => gateway,
            });
            let served = server::run(server_config(config, connections_max), gateway.clone()).is_ok();
            gateway.close();
            served
        }
        Err(OpenError::Persistence(err)) => {
            error!(%err, way_out = err.way_out(), "could not start");
            false
        }
        Err(err) => {
            error!(%err, "could not start");
            false
        }
    }
}

fn load_plugins(config: &Config, names: NameRules) -> Result<Option<Arc<Plugins>>, Vec<plugin::Problem>> {
    let set = &config.plugins;
    if !set.are_on() {
        return Ok(None);
    }
    let path = |text: &String| Some(text).filter(|text| !text.is_empty()).map(Into::into);
    let options = plugin::Options {
        dir: path(&set.dir),
        config: path(&set.config),
        allow_broken: set.allow_broken,
        time_max: set.time_max,
        names,
        workers: config.workers,
    };
    Plugins::start_tested(options, trial::before_reload).map(Some)
}

/// Who says for how long groups live, where that was asked for.
fn load_lifetimes(config: &Config) -> Result<Option<Lifetimes>, String> {
    let set = &config.lifetimes;
    let are_on = !set.default.is_for_ever() || set.config.is_some();
    are_on.then(|| Lifetimes::load(set.default, set.config.as_deref())).transpose()
}

fn persistence(config: &config::Persistence) -> Persistence {
    let promise = match config.sync {
        SyncMode::Always => Promise::Always,
        SyncMode::Interval => Promise::Within(config.interval),
        SyncMode::Never => Promise::Nothing,
    };
    Persistence { path: config.path.clone(), promise, salvage: config.salvage }
}

/// 0 turns a limit off.
fn ceiling(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

fn store_limits(limits: &config::Limits) -> StoreLimits {
    StoreLimits {
        push: PushLimits {
            families: limits.push_families,
            series: limits.push_series,
            labels: limits.series_labels,
            value_bytes: limits.label_value_bytes,
        },
        groups: ceiling(limits.groups) as u64,
        series: ceiling(limits.series) as u64,
        job_series: ceiling(limits.job_series) as u64,
        memory: ceiling(limits.memory) as u64,
        name_sets: ceiling(limits.grouping_name_sets) as u64,
    }
}

/// The limits in force as our own metrics show them.
fn shown_limits(limits: &config::Limits, connections_max: usize) -> Vec<(Limit, f64)> {
    let value = |limit: Limit| match limit {
        Limit::HeadBytes => limits.head_bytes as f64,
        Limit::BodyBytes => limits.body_bytes as f64,
        Limit::DecodedBytes => limits.decoded_bytes as f64,
        Limit::PushFamilies => limits.push_families as f64,
        Limit::PushSeries => limits.push_series as f64,
        Limit::SeriesLabels => limits.series_labels as f64,
        Limit::LabelValueBytes => limits.label_value_bytes as f64,
        Limit::Groups => limits.groups as f64,
        Limit::Series => limits.series as f64,
        Limit::JobSeries => limits.job_series as f64,
        Limit::Memory => limits.memory as f64,
        Limit::GroupingNameSets => limits.grouping_name_sets as f64,
        Limit::Connections => connections_max as f64,
        Limit::ConnectionsPerAddress => limits.connections_per_address as f64,
        Limit::ExpositionCache => limits.exposition_cache as f64,
        Limit::HeadDeadline => limits.head_deadline.as_secs_f64(),
        Limit::BodyDeadline => limits.body_deadline.as_secs_f64(),
        Limit::IdleDeadline => limits.idle_deadline.as_secs_f64(),
        Limit::WriteDeadline => limits.write_deadline.as_secs_f64(),
    };
    let with_value = |limit: &Limit| (*limit, value(*limit));
    Limit::ALL.iter().map(with_value).filter(|(_, max)| *max > 0.0).collect()
}

fn server_config(config: Config, connections_max: usize) -> ServerConfig {
    let limits = config.limits;
    ServerConfig {
        listen: if config.systemd_socket { Listen::Passed } else { Listen::Addresses(config.listen) },
        workers: config.workers,
        routes: Routes {
            prefix: config.paths.route_prefix,
            telemetry_path: config.paths.metrics,
            lifecycle: config.lifecycle,
            admin_api: config.admin_api,
            bare_pushes: config.merging.dialect.merges(),
        },
        http: HttpConfig {
            head_deadline: limits.head_deadline,
            body_deadline: limits.body_deadline,
            write_deadline: limits.write_deadline,
            idle_deadline: limits.idle_deadline,
            body_bytes_max: limits.body_bytes,
            decoded_bytes_max: limits.decoded_bytes,
            head_bytes_max: limits.head_bytes,
            connections_max,
            addresses: match limits.connections_per_address {
                0 => None,
                max => Some(Arc::new(Addresses::new(max))),
            },
            ..HttpConfig::default()
        },
        info: Arc::new(config.info),
        push_status: config.push_status,
        web_config: config.web_config,
    }
}

fn announce(config: &Config) {
    info!(version = build_info::VERSION, "starting floodway");
    let context = format!(
        "(rust={}, platform={}/{}, user={}, date={}, tags={})",
        build_info::RUST_VERSION,
        build_info::OS,
        build_info::ARCH,
        build_info::BUILD_USER,
        build_info::BUILD_DATE,
        build_info::TAGS
    );
    info!(build_context = context, "Build context");
    debug!(path = config.paths.link_prefix, "path prefix used externally");
    debug!(path = config.paths.route_prefix, "path prefix for internal routing");
}

fn log_level(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    }
}

fn log_format(format: LogFormat) -> log::Format {
    match format {
        LogFormat::Logfmt => log::Format::Logfmt,
        LogFormat::Json => log::Format::Json,
    }
}

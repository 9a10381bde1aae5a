//! The `floodway` program: settings, logging, gateway, server, in this order.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use floodway::build_info;
use floodway::clock::Now;
use floodway::config::{Config, LogFormat, LogLevel};
use floodway::gateway::{Gateway, Settings};
use floodway::model::NameRules;
use floodway::telemetry::{Telemetry, log};
use tracing::{Level, debug, error, info};

/// Gives memory back to the system from threads of its own: the crate's feature `background_threads`
/// turns them on for the whole process, so that a worker never pays for it.
#[cfg(not(miri))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config = match Config::from_args(std::env::args_os(), Now::read().wall) {
        Ok(config) => config,
        Err(stop) => return stop.report(),
    };
    // Dropped last, which writes the lines that are still queued.
    let _logger = log::install(log_level(config.log_level), log_format(config.log_format));
    announce(&config);
    match serve(config) {
        Ok(()) => {
            info!("HTTP server stopped");
            ExitCode::SUCCESS
        }
        // The reference ends with status 0 here, and its supervisor believes that all is well.
        Err(err) => {
            error!(%err, "HTTP server stopped");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> io::Result<()> {
    let names = if config.utf8_names { NameRules::Utf8 } else { NameRules::Legacy };
    let settings = Settings { check_consistency: config.check_consistency, names };
    let telemetry = Arc::new(Telemetry::new(config.workers));
    let gateway = Arc::new(Gateway::new(settings, telemetry)?);
    floodway::server::run(config, gateway)
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

//! The settings: read from the command line, checked, and complete before a port opens.
//!
//! What a setting does is not known here; whoever serves reads [`Config`].

pub mod args;
mod flag;
pub mod flags;
mod help;
pub mod paths;
mod url;
pub mod web_config;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::clock::UnixNanos;
pub use crate::format::duration;
use crate::limits;
use crate::model::{Dialect, Lifetime};
use flag::{Action, Draft, Kind, Role};
pub use flag::{LogFormat, LogLevel, SyncMode};
use flags::FLAGS;
pub use paths::Paths;

/// Everything that was set, immutable and consistent.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to listen on, as given: `:9091`, `host:port`, or empty for any free port.
    pub listen: Vec<String>,
    /// Whether systemd passes the sockets, instead.
    pub systemd_socket: bool,
    pub paths: Paths,
    /// Whether PUT and POST to `/-/quit` are obeyed.
    pub lifecycle: bool,
    /// Whether `/api/v1/admin/wipe` exists.
    pub admin_api: bool,
    pub check_consistency: bool,
    pub utf8_names: bool,
    /// Whether scrapers that ask for OpenMetrics get it.
    pub offers_openmetrics: bool,
    /// Whether bodies are repaired that would be refused.
    pub lenient: bool,
    /// The status code of an accepted push, where pushes are checked: 200 or 202.
    pub push_status: u16,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    /// Threads that serve connections; at least one.
    pub workers: usize,
    pub limits: Limits,
    pub plugins: Plugins,
    pub lifetimes: Lifetimes,
    pub merging: Merging,
    /// The file that configures TLS and who may ask.
    pub web_config: Option<PathBuf>,
    /// Where groups are kept across restarts, if anywhere.
    pub persistence: Option<Persistence>,
    pub info: Info,
}

/// Where plugins are and what binds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugins {
    /// Empty for none.
    pub dir: String,
    /// Empty for `plugins.yml` in the directory.
    pub config: String,
    pub watch: bool,
    pub allow_broken: bool,
    /// Upper bound for the time budget of any hook.
    pub time_max: Duration,
}

impl Plugins {
    /// Whether there is anything to load.
    pub fn are_on(&self) -> bool {
        !self.dir.is_empty() || !self.config.is_empty()
    }
}

/// For how long groups live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// Where nothing more specific is said.
    pub default: Lifetime,
    /// The file with rules, if there is one.
    pub config: Option<PathBuf>,
}

/// How pushes are merged with what is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merging {
    /// The file with rules, if there is one.
    pub config: Option<PathBuf>,
    pub dialect: Dialect,
    /// How many keys of pushes a group remembers.
    pub keys: usize,
    /// For how long.
    pub keys_for: Duration,
}

/// Where and how groups are kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persistence {
    pub path: PathBuf,
    pub sync: SyncMode,
    pub interval: Duration,
    pub salvage: bool,
}

/// The bounds that operators may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request head.
    pub head_bytes: usize,
    /// Largest request body as sent.
    pub body_bytes: usize,
    /// Largest request body once decoded.
    pub decoded_bytes: usize,
    /// Families in one push.
    pub push_families: usize,
    /// Series in one push.
    pub push_series: usize,
    /// Labels of one series.
    pub series_labels: usize,
    /// Length of a label's value.
    pub label_value_bytes: usize,
    /// Groups held; 0 for no limit, as in each of the following.
    pub groups: usize,
    /// Series held.
    pub series: usize,
    /// Series held in all groups of one job.
    pub job_series: usize,
    /// Bytes of memory that groups take.
    pub memory: usize,
    /// Different sets of grouping label names.
    pub grouping_name_sets: usize,
    /// Connections open at once, over all workers.
    pub connections: usize,
    /// Connections open at once from one address.
    pub connections_per_address: usize,
    /// Rendered and compressed parts of the exposition kept ready.
    pub exposition_cache: usize,
    /// From the first byte of a request head to its last.
    pub head_deadline: Duration,
    /// For a whole request body.
    pub body_deadline: Duration,
    /// For the next request on a connection kept open.
    pub idle_deadline: Duration,
    /// For a client to take the next piece of an answer.
    pub write_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: limits::HEAD_BYTES_MAX,
            body_bytes: limits::BODY_BYTES_MAX,
            decoded_bytes: limits::DECODED_BYTES_MAX,
            push_families: limits::PUSH_FAMILIES_MAX,
            push_series: limits::PUSH_SERIES_MAX,
            series_labels: limits::SERIES_LABELS_MAX,
            label_value_bytes: limits::LABEL_VALUE_BYTES_MAX,
            groups: 0,
            series: 0,
            job_series: 0,
            memory: 0,
            grouping_name_sets: limits::GROUPING_NAME_SETS_MAX,
            connections: 0,
            connections_per_address: 0,
            exposition_cache: limits::EXPOSITION_CACHE_BYTES_MAX,
            head_deadline: limits::HEAD_DEADLINE,
            body_deadline: limits::BODY_DEADLINE,
            idle_deadline: limits::IDLE_DEADLINE,
            write_deadline: limits::WRITE_DEADLINE,
        }
    }
}

/// Shorter heads would leave no room for what every client sends.
const HEAD_BYTES_LEAST: usize = 1024;

/// What the status page and `/api/v1/status` tell about this process, besides its build.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// Every setting by flag name, sorted bytewise: the values in force, the route prefix as computed.
    pub flags: Vec<(&'static str, String)>,
    pub started: UnixNanos,
    /// Where the links of the page point.
    pub paths: Paths,
}

/// Why there is nothing to serve.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Something was asked for on standard output, such as help.
    Print(String),
    /// The command line is wrong: one line for standard error.
    Refuse(String),
}

impl Stop {
    /// Prints, and gives the status that the reference exits with.
    pub fn report(self) -> ExitCode {
        use std::io::Write;
        // A closed pipe leaves nobody to tell.
        match self {
            Stop::Print(text) => {
                let _ = std::io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Stop::Refuse(line) => {
                let _ = writeln!(std::io::stderr(), "{line}");
                ExitCode::from(1)
            }
        }
    }
}

impl Config {
    /// Reads the arguments of the process, the program's own name first.
    ///
    /// # Errors
    ///
    /// Help or the version was asked for, or a flag is wrong. Faults are worded and ordered as in the
    /// reference: `--version` wins over anything wrong after it, a malformed line over `--help`, and
    /// `--help` over a bad value.
    pub fn from_args(args: impl IntoIterator<Item = OsString>, started: UnixNanos) -> Result<Config, Stop> {
        let mut args = args.into_iter().map(|arg| arg.to_string_lossy().into_owned());
        let path = args.next().unwrap_or_default();
        let program = path.rsplit('/').next().unwrap_or_default();
        let refuse = |text: String| Stop::Refuse(format!("{program}: error: {text}, try --help"));

        let (given, fault) = args::split(args);
        let actions =
            given.iter().filter(|given| given.value == "true").filter_map(|given| match given.flag.role {
                Role::Action(action) => Some(action),
                Role::Setting { .. } => None,
            });
        if let Some(action) = actions.clone().find(|action| *action != Action::Help) {
            return Err(Stop::Print(help::text(action, program)));
        }
        if let Some(text) = fault {
            return Err(refuse(text));
        }
        if let Some(action) = actions.clone().next() {
            return Err(Stop::Print(help::text(action, program)));
        }
        let draft = fill(&given).map_err(refuse)?;
        Config::complete(draft, started).map_err(refuse)
    }

    /// Checks the settings against each other and works out what follows from them.
    fn complete(draft: Draft, started: UnixNanos) -> Result<Config, String> {
        let paths = Paths::new(&draft.route_prefix, &draft.external_path, &draft.telemetry_path)?;
        if draft.limits.decoded_bytes < draft.limits.body_bytes {
            return Err("--limit.decoded-bytes must not be smaller than --limit.body-bytes".to_owned());
        }
        if draft.limits.decoded_bytes > limits::DECODED_BYTES_LIMIT_MAX {
            let most = limits::DECODED_BYTES_LIMIT_MAX;
            return Err(format!("--limit.decoded-bytes must be at most {most}"));
        }
        if !(HEAD_BYTES_LEAST..limits::BUSY_BUFFER_BYTES_MAX).contains(&draft.limits.head_bytes) {
            let (least, most) = (HEAD_BYTES_LEAST, limits::BUSY_BUFFER_BYTES_MAX - 1);
            return Err(format!("--limit.head-bytes must be from {least} to {most}"));
        }
        let mut flags: Vec<(&'static str, String)> = FLAGS
            .iter()
            .filter_map(|flag| match flag.role {
                Role::Setting { .. } if flag.name == "web.route-prefix" => {
                    Some((flag.name, paths.route_prefix.clone()))
                }
                Role::Setting { show, .. } => Some((flag.name, show(&draft))),
                Role::Action(_) => None,
            })
            .collect();
        flags.sort_unstable();
        let workers = match draft.workers {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            workers => workers,
        };
        Ok(Config {
            listen: draft.listen,
            systemd_socket: draft.systemd_socket,
            paths: paths.clone(),
            lifecycle: draft.lifecycle,
            admin_api: draft.admin_api,
            check_consistency: !draft.disable_consistency_check,
            utf8_names: draft.utf8_names,
            offers_openmetrics: draft.openmetrics,
            lenient: draft.lenient,
            push_status: draft.push_status,
            log_level: draft.log_level,
            log_format: draft.log_format,
            workers,
            limits: draft.limits,
            plugins: draft.plugins,
            lifetimes: draft.lifetimes,
            merging: draft.merging,
            web_config: (!draft.config_file.is_empty()).then(|| draft.config_file.into()),
            persistence: (!draft.persistence_file.is_empty()).then(|| Persistence {
                path: draft.persistence_file.into(),
                sync: draft.persistence_sync,
                // As in the reference, nothing and less than nothing stand for after every push.
                interval: Duration::from_nanos(u64::try_from(draft.persistence_interval).unwrap_or(0)),
                salvage: draft.persistence_salvage,
            }),
            info: Info { flags, started, paths },
        })
    }
}

/// Sets what was given, then the defaults of the rest.
fn fill(given: &[args::Given]) -> Result<Draft, String> {
    let mut draft = Draft::default();
    let is_given = |name: &str, given: &[args::Given]| given.iter().any(|given| given.flag.name == name);
    for (position, args::Given { flag, value }) in given.iter().enumerate() {
        if flag.kind != Kind::List && is_given(flag.name, &given[..position]) {
            return Err(format!("flag '{}' cannot be repeated", flag.name));
        }
        if let Role::Setting { set, .. } = flag.role {
            set(&mut draft, value)?;
        }
    }
    for flag in FLAGS.iter().filter(|flag| !is_given(flag.name, given)) {
        if let Role::Setting { set, .. } = flag.role {
            set(&mut draft, flag.default)?;
        }
    }
    Ok(draft)
}

#[cfg(test)]
mod tests;

//! What a flag is, and what it sets: the words in which [`flags`](super::flags) speaks.

use super::{Lifetimes, Limits, Merging, Plugins};

/// One command line flag.
#[derive(Debug)]
pub struct Flag {
    /// Without dashes, spelled the way Prometheus projects spell flags.
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    /// As it would be typed.
    pub default: &'static str,
    /// One sentence or two, for `--help`.
    pub help: &'static str,
    pub section: Section,
    pub role: Role,
}

/// How a flag takes its value and how help shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Takes no value; has a `--no-` form.
    Switch,
    /// Help shows the default in quotes.
    Text,
    /// Help shows the default bare.
    Word,
    /// May be given several times, and then holds several values.
    List,
    /// Has no default; help shows this in its place.
    Placeholder(&'static str),
}

/// Under which heading `--help-long` and the man page show a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    General,
    Web,
    Persistence,
    Push,
    Plugins,
    Lifetimes,
    Merging,
    Log,
    Limits,
}

impl Section {
    pub const ALL: [Section; 9] = [
        Section::General,
        Section::Web,
        Section::Push,
        Section::Plugins,
        Section::Lifetimes,
        Section::Merging,
        Section::Persistence,
        Section::Log,
        Section::Limits,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Section::General => "General",
            Section::Web => "Web server",
            Section::Persistence => "Persistence",
            Section::Push => "Pushes",
            Section::Plugins => "Plugins",
            Section::Lifetimes => "Lifetimes",
            Section::Merging => "Merging",
            Section::Log => "Logging",
            Section::Limits => "Limits",
        }
    }
}

/// What a flag is for.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Prints something instead of serving.
    Action(Action),
    /// Changes a setting. `show` gives the value back as the API and the page show it.
    Setting { set: fn(&mut Draft, &str) -> Result<(), String>, show: fn(&Draft) -> String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Help,
    HelpLong,
    HelpMan,
    CompletionBash,
    CompletionZsh,
    Version,
}

impl Flag {
    pub fn is_switch(&self) -> bool {
        self.kind == Kind::Switch
    }

    /// Hidden flags work but are not listed.
    pub fn is_hidden(&self) -> bool {
        use Action::{CompletionBash, CompletionZsh, HelpLong, HelpMan};
        matches!(self.role, Role::Action(HelpLong | HelpMan | CompletionBash | CompletionZsh))
    }
}

/// Least severe events that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Logfmt,
    Json,
}

/// What an accepted push says about the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// It is on it.
    #[default]
    Always,
    /// It will be, at most an interval later.
    Interval,
    /// Nothing.
    Never,
}

/// The settings while the command line is read: each checked by itself, not yet against the others.
#[derive(Debug, Default)]
pub struct Draft {
    pub systemd_socket: bool,
    pub listen: Vec<String>,
    pub config_file: String,
    pub telemetry_path: String,
    pub external_url: String,
    pub external_path: String,
    pub route_prefix: String,
    pub lifecycle: bool,
    pub admin_api: bool,
    pub persistence_file: String,
    /// In nanoseconds.
    pub persistence_interval: i64,
    pub persistence_sync: SyncMode,
    pub persistence_salvage: bool,
    pub disable_consistency_check: bool,
    pub utf8_names: bool,
    pub openmetrics: bool,
    pub lenient: bool,
    pub push_status: u16,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    pub workers: usize,
    pub limits: Limits,
    pub plugins: Plugins,
    pub lifetimes: Lifetimes,
    pub merging: Merging,
}

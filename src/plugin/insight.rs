//! Plugins as the page and the API show them: plain facts, the same whether or not the build has any.

use crate::clock::UnixNanos;

/// Something that happened to one push in one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub at: UnixNanos,
    /// The push's number, as in log and answer.
    pub id: String,
    /// As received.
    pub job: String,
    /// A code of an error, a code of a rejection, or an effect.
    pub code: String,
    pub text: String,
}

/// The plugins in force.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    pub generation: u64,
    /// Whether the last reload worked, and when the last one that did was, in unix seconds.
    pub reload_successful: bool,
    pub reload_seconds: u64,
    /// What is wrong with plugins that are off for it.
    pub broken: Vec<String>,
    /// In the order of execution.
    pub plugins: Vec<PluginView>,
}

/// One of them. Counters belong to its name and last as long as the process.
#[derive(Clone, Debug, Default)]
pub struct PluginView {
    pub name: String,
    pub file: String,
    pub version: String,
    pub description: String,
    pub mode: &'static str,
    pub on_error: &'static str,
    /// Its hooks, and how often each has run.
    pub hooks: Vec<(&'static str, u64)>,
    /// The selector on grouping labels, if it has one.
    pub selector: Option<String>,
    /// Keys and values in the words of plugins.yml.
    pub budget: Vec<(&'static str, String)>,
    /// The configuration, secrets masked.
    pub config: Vec<(String, String)>,
    pub workers: usize,
    /// Workers on which it rests for some job.
    pub breaker_open: usize,
    pub memory_bytes: u64,
    /// Time spent in it, and pushes that met it.
    pub seconds: f64,
    pub pushes: u64,
    /// By code.
    pub errors: Vec<(String, u64)>,
    pub rejects: Vec<(String, u64)>,
    pub discards: u64,
    pub series_dropped: u64,
    /// By effect.
    pub shadow: Vec<(&'static str, u64)>,
    /// The latest first.
    pub last_errors: Vec<Incident>,
    pub last_shadowed: Vec<Incident>,
}

/// What one hook of one plugin did to one push, over all its calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceRow {
    pub plugin: String,
    pub hook: &'static str,
    pub calls: u64,
    /// `keep`, or what it returned or failed with last.
    pub result: String,
    pub labels_added: Vec<String>,
    pub labels_removed: Vec<String>,
    pub labels_changed: Vec<String>,
    /// Families that samples left for another name.
    pub renamed: Vec<String>,
    /// Samples.
    pub values: u64,
    pub added: u64,
    pub dropped: u64,
    pub steps: u64,
    pub microseconds: f64,
}

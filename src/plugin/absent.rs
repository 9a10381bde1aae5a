//! In place of the plugins in a build without them (cargo feature `plugins`): says so when asked for one.
//!
//! [`Plugins`] has no values, so whatever would need one is left out of the program.

#[path = "door.rs"]
mod door;
#[path = "insight.rs"]
pub mod insight;

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use crate::clock::Now;
use crate::model::{Families, GroupingKey, Lifetime, Refusal, RequestFacts};
use crate::telemetry::PluginFigures;

pub use door::{Again, Cut, Dying, LastWord, Load, Options, Passed, Push, Read, StoreFacts};
pub use insight::{Incident, Overview, PluginView, TraceRow};

/// Why there are no plugins.
const ABSENT: &str = "this program was built without plugins (cargo feature `plugins`)";

/// A set of plugins, which this build cannot have.
#[derive(Clone, Copy, Debug)]
pub struct Plugins(Infallible);

/// That plugins were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ABSENT)
    }
}

impl Plugins {
    /// # Errors
    ///
    /// Always.
    pub fn start_tested(_: Options, _: fn()) -> Result<Arc<Plugins>, Vec<Problem>> {
        Err(vec![Problem])
    }

    pub fn results_are_due(&self) -> bool {
        match self.0 {}
    }

    pub fn tick(&self) {
        match self.0 {}
    }

    pub fn tell_results(&self) {
        match self.0 {}
    }

    pub fn close_result(&self, _: u64, _: Option<&Refusal>) {
        match self.0 {}
    }

    pub fn end_thread(&self) {
        match self.0 {}
    }

    /// # Errors
    ///
    /// None, as below: there is nobody to call.
    pub fn reload(&self) -> Result<u64, Vec<Problem>> {
        match self.0 {}
    }

    pub fn rehearsal(&self) -> Plugins {
        match self.0 {}
    }

    pub fn leave_thread(&self) {
        match self.0 {}
    }

    pub fn begin_trace(&self) {
        match self.0 {}
    }

    pub fn end_trace(&self) -> Vec<TraceRow> {
        match self.0 {}
    }

    pub fn outcome(&self) -> Option<(GroupingKey, Option<f64>)> {
        match self.0 {}
    }

    pub fn take_log(&self) -> Vec<String> {
        match self.0 {}
    }

    pub fn overview(&self) -> Overview {
        match self.0 {}
    }

    pub fn chain(&self, _: &GroupingKey) -> Option<u64> {
        match self.0 {}
    }

    pub fn wants_headers(&self) -> bool {
        match self.0 {}
    }

    pub fn wants_header(&self, _: &str) -> bool {
        match self.0 {}
    }

    pub fn push<P, G, S, F>(&self, _: Push<'_, P, G, S, F>) -> Result<Passed, Refusal>
    where
        P: FnOnce(&GroupingKey, bool, Load<'_>) -> Result<(), Refusal>,
        G: Fn(&GroupingKey, &Families<'_>) -> StoreFacts,
        S: FnOnce(&GroupingKey, &Families<'_>, Cut<'_>, Option<Lifetime>) -> Result<(), Refusal>,
        F: FnOnce(&GroupingKey),
    {
        match self.0 {}
    }

    pub fn ask_at_the_end(&self) -> bool {
        match self.0 {}
    }

    pub fn expire(&self, _: &Dying<'_>, _: Now) -> LastWord {
        match self.0 {}
    }

    pub fn delete(
        &self,
        _: &GroupingKey,
        _: RequestFacts,
        _: Now,
        _: impl FnOnce(&GroupingKey) -> Result<(), Refusal>,
    ) -> Result<Passed, Refusal> {
        match self.0 {}
    }
}

/// Figures of plugins.
pub fn figures(plugins: &Plugins) -> PluginFigures {
    match plugins.0 {}
}

/// `floodway plugin ...`.
pub mod trial {
    use super::{ABSENT, ExitCode, OsString};

    /// Says that there are none if the arguments ask for one; the program's own name comes first.
    pub fn run(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
        args.into_iter().nth(1).filter(|command| command == "plugin").map(|_| {
            eprintln!("floodway: error: {ABSENT}");
            ExitCode::from(2)
        })
    }

    /// There are no tests.
    pub fn before_reload() {}
}

/// `--plugin.watch`.
pub mod watch {
    use super::{Arc, Plugins};

    pub fn start(plugins: Arc<Plugins>) {
        match plugins.0 {}
    }
}

//! Plugins in Lua: rewrite, relabel, reject, before anything is stored.
//!
//! The contract with plugin authors is `plugins/README.md`.

pub mod breaker;
pub mod budget;
pub mod bundled;
pub mod cache;
mod cidr;
pub mod command;
mod dialect;
pub mod digest;
mod door;
pub mod draft;
pub mod engine;
mod exposed;
pub mod fault;
pub mod generation;
pub mod insight;
mod interrupt;
mod lint;
mod lookup;
mod overview;
mod recent;
pub mod relabel;
pub mod results;
pub mod schema;
pub mod settings;
mod shadow;
pub mod shared;
pub mod spec;
pub mod stage;
pub mod stats;
mod stubs;
mod sweep;
pub mod testing;
mod trace;
mod transform;
pub mod value;
mod verdicts;
pub mod vm;
pub mod watch;
mod worker;

pub use crate::matching::{expand, matcher, regex, selector};
pub use door::{Again, Cut, Dying, LastWord, Load, Options, Passed, Push, Read, StoreFacts};
pub use engine::Plugins;
pub use exposed::figures;
pub use generation::Problem;
pub use insight::{Incident, Overview, PluginView, TraceRow};

#[cfg(test)]
pub mod tests;

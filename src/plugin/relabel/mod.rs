//! Relabel rules as Prometheus 3 defines them, run in Rust.
//!
//! [`rule`] checks one rule as written and compiles it, [`labels`] is the label set that rules change, and
//! [`ruleset`] runs a list of them over it. Histograms and summaries are
//! split into lines and put together again by the draft, which knows what they are made of.

pub mod labels;
pub mod rule;
pub mod ruleset;

pub use labels::LabelSet;
pub use ruleset::{Decider, Ruleset};

#[cfg(test)]
pub mod model;
#[cfg(test)]
mod tests;

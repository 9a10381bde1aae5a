//! What rules and plugins look for: patterns in Go's dialect, and selectors over labels.
//!
//! Compiling is bounded, matching is linear in the input, and nothing here knows what a match leads to.

pub mod expand;
pub mod matcher;
pub mod regex;
pub mod selector;

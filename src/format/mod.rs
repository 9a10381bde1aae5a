//! Text as Go and Prometheus write it: durations, floats, escapes, quoted strings, escaped names.
//!
//! Pure functions from values to bytes, used by whoever renders a line or words an error.

pub mod duration;
pub mod escape;
pub mod float;
pub mod json;
pub mod quote;
pub mod same;

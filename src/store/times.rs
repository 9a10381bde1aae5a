//! The two families that every group has: when it was last pushed, and when a push was last refused.
//!
//! They are fields of a group's state, never stored families; bodies that bring families of these
//! names have them dropped.

/// Last accepted push, in seconds.
pub const PUSH_TIME: &str = "push_time_seconds";
pub const PUSH_TIME_HELP: &str = "Last Unix time when changing this group in the Pushgateway succeeded.";

/// Last push refused by the store, in seconds.
pub const PUSH_FAILURE_TIME: &str = "push_failure_time_seconds";
pub const PUSH_FAILURE_TIME_HELP: &str = "Last Unix time when changing this group in the Pushgateway failed.";

//! Families with one series per group that are ours: when it was last pushed, when a push was last refused,
//! and for groups that are flagged at their end whether that has come.
//!
//! They are fields of a group's state, never stored families; bodies that bring families of these
//! names have them dropped.

/// Last accepted push, in seconds.
pub const PUSH_TIME: &str = "push_time_seconds";
pub const PUSH_TIME_HELP: &str = "Last Unix time when changing this group in the Pushgateway succeeded.";

/// Last push refused by the store, in seconds.
pub const PUSH_FAILURE_TIME: &str = "push_failure_time_seconds";
pub const PUSH_FAILURE_TIME_HELP: &str = "Last Unix time when changing this group in the Pushgateway failed.";

/// Whether a group's lifetime has ended: 0 or 1. Only groups that are flagged then have it.
pub const OVERDUE: &str = "floodway_group_overdue";
pub const OVERDUE_HELP: &str = "Whether this group should have been pushed again by now.";

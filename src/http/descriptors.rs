//! How many connections the process may hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::RESERVED_DESCRIPTORS;

/// Raises the soft limit of open descriptors to the hard one, as the Go runtime does for the reference,
/// and returns what is left for connections.
pub fn for_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let raised = setrlimit(Resource::Nofile, raised).is_ok();
    // No limit reads as none.
    let descriptors = if raised { limit.maximum } else { limit.current }.unwrap_or(u64::MAX);
    usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(RESERVED_DESCRIPTORS).max(1)
}

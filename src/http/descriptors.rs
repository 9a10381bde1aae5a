//! How many connections the process may hold.

use crate::limits::RESERVED_DESCRIPTORS;

/// Raises the soft limit of open descriptors to the hard one, as the Go runtime does for the reference,
/// and returns what is left for connections.
pub fn for_connections() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit` to the place it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        // Cannot happen with these arguments; what POSIX promises to every process is then safe.
        return 1024 - RESERVED_DESCRIPTORS;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    if limit.rlim_cur < limit.rlim_max {
        // SAFETY: the call reads one `rlimit` from the place it is given.
        let outcome = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) };
        if outcome == 0 {
            limit = raised;
        }
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX).saturating_sub(RESERVED_DESCRIPTORS).max(1)
}

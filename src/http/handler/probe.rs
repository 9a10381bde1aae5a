//! Health, readiness, and the way to stop the server over HTTP.
//!
//! These texts have no line feed at their end.

use crate::gateway::Gateway;
use crate::http::Answer;
use crate::http::status;

/// Healthy: it answers.
pub fn healthy() -> Answer {
    Answer::text(200, "OK")
}

/// Ready to take pushes: a port is open only once everything stored is there, so only a disk that fails
/// is in the way.
pub fn ready(gateway: &Gateway) -> Answer {
    match gateway.check_durable() {
        Ok(()) => Answer::text(200, "OK"),
        Err(refusal) => status::refused(&refusal),
    }
}

/// The last words.
pub fn goodbye() -> Answer {
    Answer::text(200, "Requesting termination... Goodbye!").closing()
}

/// The lifecycle endpoints are not enabled.
pub fn quit_is_off() -> Answer {
    Answer::text(403, "Lifecycle API is not enabled.")
}

/// Quitting is not for links and crawlers.
pub fn quit_by_get() -> Answer {
    Answer::text(405, "Only POST or PUT requests allowed.")
}

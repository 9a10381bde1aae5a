//! What the pusher is told when a plugin ends a push.
//!
//! Texts of scripts never reach the pusher, except the reason of a deliberate `gate.reject`.

pub use super::door::Passed;
use super::fault::{Code, Fault};
use super::vm::Reject;
use super::worker::{BREAKER_OPEN, BREAKER_SECONDS};
use crate::model::{Reason, Refusal};

/// How the chain ended before the store.
pub(super) enum Outcome {
    Refused(Refusal),
    /// Nothing is stored, and the pusher is told that all is well.
    Discarded,
}

fn headers(plugin: &str, code: &str, id: &str) -> Vec<(&'static str, String)> {
    vec![("X-Push-Plugin", plugin.to_owned()), ("X-Push-Code", code.to_owned()), ("X-Push-Id", id.to_owned())]
}

/// A refusal that a script made.
pub(super) fn refused_by_plugin(plugin: &str, reject: Reject, id: &str) -> Refusal {
    let mut headers = headers(plugin, &reject.code, id);
    if let Some(seconds) = reject.retry_after {
        headers.push(("Retry-After", seconds.to_string()));
    }
    if let Some(challenge) = reject.www_authenticate {
        headers.push(("WWW-Authenticate", challenge));
    }
    Refusal {
        reason: Reason::Plugin { status: reject.status, mark_failed: reject.mark_failed },
        text: format!("push rejected by plugin {plugin}: {}", reject.reason),
        headers,
    }
}

/// The word for a fault in answers and counters.
pub(super) fn reason_of(fault: &Fault) -> &'static str {
    match fault.code {
        Code::Limit if fault.text == BREAKER_OPEN => "breaker",
        Code::Budget => "budget",
        Code::Memory => "memory",
        _ => "error",
    }
}

/// A refusal because a plugin failed.
pub(super) fn refused_by_fault(plugin: &str, fault: &Fault, id: &str) -> Refusal {
    let code = reason_of(fault);
    let (status, wait, what) = match code {
        "breaker" => (503, Some(BREAKER_SECONDS), "rests after it broke its budget repeatedly".to_owned()),
        // Worded by the host itself.
        "budget" => (503, Some(1), fault.text.clone()),
        "memory" => (503, Some(1), "used up its memory".to_owned()),
        _ => (500, None, format!("failed ({})", fault.code.name())),
    };
    let mut headers = headers(plugin, code, id);
    if let Some(seconds) = wait {
        headers.push(("Retry-After", seconds.to_string()));
    }
    Refusal {
        reason: Reason::Plugin { status, mark_failed: false },
        text: format!("push rejected: plugin {plugin} {what}; nothing was stored; id {id}"),
        headers,
    }
}

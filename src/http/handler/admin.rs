//! The admin API.

use crate::gateway::Gateway;
use crate::http::Answer;

/// Deletes every group that exists now.
pub fn wipe(gateway: &Gateway) -> Answer {
    tracing::debug!("start wiping metric store");
    gateway.wipe();
    Answer::empty(202)
}

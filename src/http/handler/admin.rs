//! The admin API.

use crate::clock::Now;
use crate::gateway::Gateway;
use crate::http::Answer;

/// Deletes every group that exists now.
pub fn wipe(gateway: &Gateway) -> Answer {
    tracing::debug!("start wiping metric store");
    gateway.wipe(Now::read());
    Answer::empty(202)
}

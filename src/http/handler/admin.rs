//! The admin API.

use crate::gateway::Gateway;
use crate::http::Answer;
use crate::http::status;

/// Deletes every group that exists now.
pub async fn wipe(gateway: &Gateway) -> Answer {
    tracing::debug!("start wiping metric store");
    let wiped = match gateway.wipe() {
        Ok(_) => gateway.made_durable().await,
        Err(refusal) => Err(refusal),
    };
    wiped.map_or_else(|refusal| status::refused(&refusal), |()| Answer::empty(202))
}

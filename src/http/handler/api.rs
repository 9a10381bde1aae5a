//! The JSON API.

use crate::config::Info;
use crate::gateway::Gateway;
use crate::http::Answer;

/// `GET /api/v1/metrics`
pub fn metrics(_gateway: &Gateway) -> Answer {
    Answer::empty(404)
}

/// `GET /api/v1/status`
pub fn status(_gateway: &Gateway, _info: &Info) -> Answer {
    Answer::empty(404)
}

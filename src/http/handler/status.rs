//! The web page.

use crate::config::Info;
use crate::gateway::Gateway;
use crate::http::Answer;

/// `GET /` and `GET /status`
pub fn page(_gateway: &Gateway, _info: &Info) -> Answer {
    Answer::empty(404)
}

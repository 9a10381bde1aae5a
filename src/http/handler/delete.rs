//! DELETE of a group.

use crate::gateway::{Gateway, push_path};
use crate::http::Answer;
use crate::http::route::PushPath;
use crate::http::service::Next;
use crate::http::status;
use crate::model::GroupingKey;

use super::Waiting;

/// Refuses a path that spells no group.
pub fn begin(gateway: &Gateway, path: &PushPath<'_>) -> Next<Waiting> {
    let names = gateway.settings().names;
    match push_path::grouping_key(path.job, path.job_is_base64, path.rest, names) {
        Ok(key) => Next::Bodiless(Waiting::Delete(key)),
        Err(refusal) => Next::Answer(counted(gateway, status::refused(&refusal))),
    }
}

/// Deletes. The answer is the same whether the group was there or not.
pub async fn finish(gateway: &Gateway, key: &GroupingKey) -> Answer {
    let deleted = match gateway.delete(key) {
        Ok(_) => gateway.made_durable().await,
        Err(refusal) => Err(refusal),
    };
    let answer = deleted.map_or_else(|refusal| status::refused(&refusal), |()| Answer::empty(202));
    counted(gateway, answer)
}

fn counted(gateway: &Gateway, answer: Answer) -> Answer {
    gateway.telemetry().count_request("delete", "delete", answer.status);
    answer
}

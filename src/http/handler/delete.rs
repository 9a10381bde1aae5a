//! DELETE of a group.

use std::sync::Arc;

use crate::clock::Now;
use crate::gateway::{Gateway, Passed};
use crate::http::Answer;
use crate::http::client::Client;
use crate::http::head::Head;
use crate::http::route::PushPath;
use crate::http::service::Next;
use crate::http::status;
use crate::model::{Action, GroupingKey, RequestFacts};

use super::rejection::{self, Named};
use super::request::Words;
use super::{Waiting, results};

/// The status of a delete that is done (RFC 9110 section 15.3.3), as in the reference.
const ACCEPTED: u16 = 202;

/// Refuses a path that spells no group, and clients that may not delete it.
pub fn begin(gateway: &Gateway, head: &Head<'_>, client: &Client, path: &PushPath<'_>) -> Next<Waiting> {
    let key = super::grouping_key(gateway, path);
    match key.and_then(|key| client.check(Action::Delete, Some(&key)).map(|()| key)) {
        Ok(key) => {
            let request = super::request::facts(gateway, head, client);
            Next::Bodiless(Waiting::Delete(key, request, Words::wanted(head), client.clone()))
        }
        Err(refusal) => {
            let answer = status::refused(&refusal);
            rejection::note(gateway, client, "DELETE", Named::Path(path), &refusal, &answer);
            Next::Answer(counted(gateway, answer))
        }
    }
}

/// Deletes. The answer is the same whether the group was there or not.
pub async fn finish(
    gateway: &Arc<Gateway>,
    key: &GroupingKey,
    request: Option<Box<RequestFacts>>,
    words: Words,
    client: &Client,
) -> Answer {
    let has_plugins = request.is_some();
    let deleted = match request {
        None => gateway.delete(key).map(|_| Passed::default()),
        Some(request) => {
            gateway.delete_with(key, RequestFacts { accepted: ACCEPTED, ..*request }, Now::read())
        }
    };
    let durable = match deleted {
        Ok(passed) => gateway.settled(passed).await,
        Err(refusal) => Err(refusal),
    };
    let answer = match durable {
        Err(refusal) => {
            let answer = words.refused(&refusal);
            rejection::note(gateway, client, "DELETE", Named::Key(key), &refusal, &answer);
            answer
        }
        Ok(passed) => passed
            .headers()
            .into_iter()
            .fold(Answer::empty(ACCEPTED), |answer, (name, value)| answer.header(name, value)),
    };
    if has_plugins {
        results::tell_later(gateway);
    }
    counted(gateway, answer)
}

fn counted(gateway: &Gateway, answer: Answer) -> Answer {
    gateway.telemetry().count_request("delete", "delete", answer.status);
    answer
}

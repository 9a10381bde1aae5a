//! PUT and POST of metrics.

use std::time::Instant;

use bytes::Bytes;

use crate::clock::Now;
use crate::gateway::{Gateway, Manner, Mode, Passed};
use crate::http::Answer;
use crate::http::client::Client;
use crate::http::encoding::Coding;
use crate::http::head::{BodyLength, Head};
use crate::http::options;
use crate::http::route::PushPath;
use crate::http::service::{Finish, Next};
use crate::http::status;
use crate::model::{Action, GroupingKey, Refusal, RequestFacts};

use super::rejection::{self, Named};
use super::request::Words;
use super::{Frontend, Waiting, results};

/// A push whose path is fine and whose body is on its way.
pub struct Push {
    manner: Manner,
    key: GroupingKey,
    content_type: Option<Bytes>,
    coding: Coding,
    facts: Facts,
    /// For plugins, where there are any.
    request: Option<Box<RequestFacts>>,
    has_plugins: bool,
    words: Words,
    /// For the journal, if it is refused.
    client: Client,
}

/// What is counted of a push, whatever becomes of it.
#[derive(Clone, Copy)]
struct Facts {
    method: &'static str,
    size_bytes: u64,
    begun: Instant,
}

impl Facts {
    /// The method as it was sent.
    fn word(self) -> &'static str {
        if self.method == "put" { "PUT" } else { "POST" }
    }
}

/// Decides everything that the head decides.
pub fn begin(
    gateway: &Gateway,
    head: &Head<'_>,
    client: &Client,
    path: &PushPath<'_>,
    coding: Coding,
) -> Next<Waiting> {
    let (mode, method) = match head.method {
        b"PUT" => (Mode::ReplaceGroup, "put"),
        _ => (Mode::ReplaceFamilies, "post"),
    };
    let body_bytes = match head.framing.body {
        BodyLength::Known(length) => length,
        BodyLength::Chunked => 0,
    };
    let facts = Facts { method, size_bytes: head.size_bytes + body_bytes, begun: Instant::now() };
    let key = super::grouping_key(gateway, path);
    let key = key.and_then(|key| client.check(Action::Push, Some(&key)).map(|()| key));
    match key.and_then(|key| Ok((key, options::of(head)?))) {
        Ok((key, options)) => {
            let manner = Manner { mode, options };
            let content_type = head.content_type.map(|value| head.share(value));
            let request = super::request::facts(gateway, head, client);
            let words = if request.is_some() { Words::wanted(head) } else { Words::Text };
            let (has_plugins, client) = (request.is_some(), client.clone());
            let push = Push { manner, key, content_type, coding, facts, request, has_plugins, words, client };
            Next::Body(Waiting::Push(push))
        }
        Err(refusal) => {
            gateway.telemetry().count_refusal(refusal.reason);
            let answer = status::refused(&refusal);
            rejection::note(gateway, client, facts.word(), Named::Path(path), &refusal, &answer);
            Next::Answer(count(gateway, facts, Instant::now(), answer))
        }
    }
}

/// Applies a push whose body is whole, and waits for the disk if that was promised.
pub fn finish(frontend: &Frontend, mut push: Push, body: Bytes) -> Finish<'_> {
    let gateway = &frontend.gateway;
    // Refused before it gets to a handler, in the reference, which therefore does not count it as a push.
    if let Err(refusal) = push.coding.check_start(&body) {
        return Finish::Now(frontend.refused(&refusal));
    }
    if push.coding == Coding::Identity && !gateway.is_durable() {
        let applied = apply(frontend, &mut push, Ok(body));
        return Finish::Now(conclude(frontend, &push, applied));
    }
    Finish::Later(Box::pin(async move {
        let body = frontend.decoders.decode(push.coding, body).await;
        let applied = match apply(frontend, &mut push, body) {
            Ok(passed) => gateway.settled(passed).await,
            refused => refused,
        };
        conclude(frontend, &push, applied)
    }))
}

/// The status that answers an accepted push.
fn accepted(frontend: &Frontend) -> u16 {
    if frontend.gateway.settings().check_consistency { frontend.push_status } else { 202 }
}

fn apply(frontend: &Frontend, push: &mut Push, body: Result<Bytes, Refusal>) -> Result<Passed, Refusal> {
    let gateway = &*frontend.gateway;
    // The gateway counts what it refuses itself.
    let body = body.inspect_err(|refusal| gateway.telemetry().count_refusal(refusal.reason))?;
    if let Some(key) = &mut push.manner.options.key {
        key.body = options::fingerprint(&body);
    }
    match push.request.take() {
        Some(request) => {
            let request = RequestFacts { accepted: accepted(frontend), ..*request };
            gateway.push_with(push.manner, &push.key, request, &body, Now::read())
        }
        None => {
            let content_type = push.content_type.as_deref();
            gateway.push_telling(push.manner, &push.key, content_type, &body, Now::read())
        }
    }
}

fn conclude(frontend: &Frontend, push: &Push, applied: Result<Passed, Refusal>) -> Answer {
    let gateway = &*frontend.gateway;
    let answer = match applied {
        Ok(passed) => passed
            .headers()
            .into_iter()
            .fold(Answer::empty(accepted(frontend)), |answer, (name, value)| answer.header(name, value)),
        Err(refusal) => {
            let answer = push.words.refused(&refusal);
            rejection::note(
                gateway,
                &push.client,
                push.facts.word(),
                Named::Key(&push.key),
                &refusal,
                &answer,
            );
            answer
        }
    };
    if push.has_plugins {
        results::tell_later(&frontend.gateway);
    }
    count(gateway, push.facts, Instant::now(), answer)
}

/// Counts a push that was answered before it could be applied.
pub fn answered(gateway: &Gateway, push: &Push, answer: Answer) -> Answer {
    rejection::broken(gateway, &push.client, push.facts.word(), &push.key, &answer);
    count(gateway, push.facts, Instant::now(), answer)
}

fn count(gateway: &Gateway, facts: Facts, ended: Instant, answer: Answer) -> Answer {
    let telemetry = gateway.telemetry();
    telemetry.count_request("push", facts.method, answer.status);
    telemetry.observe_push(facts.method, facts.size_bytes, ended.duration_since(facts.begun));
    answer
}

//! Refused pushes and deletes: their answer, and their line in the journal.

use crate::clock::Now;
use crate::gateway::{Gateway, push_path};
use crate::http::client::Client;
use crate::http::route::PushPath;
use crate::http::{Answer, Body};
use crate::model::{GroupingKey, Refusal};
use crate::telemetry::journal::Rejection;

/// Which group a request named.
pub enum Named<'r> {
    Key(&'r GroupingKey),
    /// It spells none, or may not be named.
    Path(&'r PushPath<'r>),
}

/// Notes a refused request and how it was answered.
pub fn note(
    gateway: &Gateway,
    client: &Client,
    method: &'static str,
    named: Named<'_>,
    refusal: &Refusal,
    answer: &Answer,
) {
    enter(gateway, client, method, named, answer.status, refusal.reason.label(), refusal.text.clone());
}

/// Notes a request whose body never came to be whole, answered by `answer`.
pub fn broken(gateway: &Gateway, client: &Client, method: &'static str, key: &GroupingKey, answer: &Answer) {
    let text = match &answer.body {
        Body::Whole(text) => String::from_utf8_lossy(text).trim_end().to_owned(),
        _ => String::new(),
    };
    enter(gateway, client, method, Named::Key(key), answer.status, "broken_body", text);
}

fn enter(
    gateway: &Gateway,
    client: &Client,
    method: &'static str,
    named: Named<'_>,
    status: u16,
    reason: &'static str,
    text: String,
) {
    let (job, labels) = match named {
        Named::Key(key) => {
            let path = push_path::path_of(key);
            // What follows the job: `job/JOB/...`.
            let labels = path.splitn(3, '/').nth(2).unwrap_or_default().to_owned();
            (key.job().to_owned(), labels)
        }
        Named::Path(path) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(path.job), text(path.rest))
        }
    };
    let identity = if client.identity.is_known() { client.identity.to_string() } else { String::new() };
    gateway.telemetry().journal().note(Rejection {
        at: Now::read().wall,
        client: client.address,
        identity,
        method,
        job,
        labels,
        status,
        reason,
        text,
    });
}

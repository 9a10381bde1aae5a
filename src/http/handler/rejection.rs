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
    let header = refusal.headers.iter().find(|header| header.0 == "X-Push-Plugin");
    let plugin = header.map_or("", |header| &header.1);
    let why =
        Why { status: answer.status, reason: refusal.reason.label(), plugin, text: refusal.text.clone() };
    enter(gateway, client, method, named, why);
}

/// Notes a request whose body never came to be whole, answered by `answer`.
pub fn broken(gateway: &Gateway, client: &Client, method: &'static str, key: &GroupingKey, answer: &Answer) {
    let text = match &answer.body {
        Body::Whole(text) => String::from_utf8_lossy(text).trim_end().to_owned(),
        _ => String::new(),
    };
    let why = Why { status: answer.status, reason: "broken_body", plugin: "", text };
    enter(gateway, client, method, Named::Key(key), why);
}

/// How it was refused.
struct Why<'w> {
    status: u16,
    reason: &'static str,
    plugin: &'w str,
    text: String,
}

fn enter(gateway: &Gateway, client: &Client, method: &'static str, named: Named<'_>, why: Why<'_>) {
    let Why { status, reason, plugin, text } = why;
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
        plugin: plugin.to_owned(),
        text,
    });
}

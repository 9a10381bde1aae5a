//! `POST` and `PUT /api/v1/validate/job/...`: what a push would do, with what each hook did to it.
//!
//! It takes the rights of the push, and is worked on beside the workers.

use bytes::Bytes;

use super::api::{self, plugins as list};
use super::{Frontend, Waiting, request};
use crate::clock::Now;
use crate::gateway::{Gateway, Manner, Mode, TraceRow, Validation, push_path};
use crate::http::client::Client;
use crate::http::encoding::Coding;
use crate::http::handler::api::json::Writer;
use crate::http::head::Head;
use crate::http::options;
use crate::http::route::PushPath;
use crate::http::service::Next;
use crate::http::{Answer, status};
use crate::model::{Action, GroupingKey, Refusal, RequestFacts};

/// A push to try out whose path is fine and whose body is on its way.
pub struct Validate {
    manner: Manner,
    key: GroupingKey,
    coding: Coding,
    facts: Box<RequestFacts>,
}

/// Decides everything that the head decides.
///
/// # Errors
///
/// The path spells no group, the client may not push there, or the head asks for what is not there.
pub fn begin(
    gateway: &Gateway,
    head: &Head<'_>,
    client: &Client,
    path: &PushPath<'_>,
) -> Result<Next<Waiting>, Refusal> {
    let names = gateway.settings().names;
    let key = push_path::grouping_key(path.job, path.job_is_base64, path.rest, names)?;
    client.check(Action::Push, Some(&key))?;
    let mode = if head.method == b"PUT" { Mode::ReplaceGroup } else { Mode::ReplaceFamilies };
    let facts = request::facts(gateway, head, client).unwrap_or_else(|| {
        let content_type = head.content_type.map(|value| String::from_utf8_lossy(value).into_owned());
        Box::new(RequestFacts { content_type, ..RequestFacts::default() })
    });
    let manner = Manner { mode, options: options::of(head)? };
    let coding = Coding::of(head.content_encoding)?;
    Ok(Next::Body(Waiting::Validate(Validate { manner, key, coding, facts })))
}

/// Tries the push out once its body is whole.
pub async fn finish(frontend: &Frontend, validate: Validate, body: Bytes) -> Answer {
    let Validate { manner, key, coding, facts } = validate;
    let decoded = match coding.check_start(&body) {
        Ok(()) => frontend.decoders.decode(coding, body).await,
        Err(refusal) => Err(refusal),
    };
    let body = match decoded {
        Ok(body) => body,
        Err(refusal) => return status::refused(&refusal),
    };
    let gateway = frontend.gateway.clone();
    let accepted = if gateway.settings().check_consistency { frontend.push_status } else { 202 };
    let validated =
        frontend.aside.run(move || gateway.validate(manner, &key, *facts, &body, Now::read())).await;
    match validated {
        Some(validation) => written(&validation, accepted),
        None => Answer::error(503, "too much is being looked up, try again later").header("Retry-After", "1"),
    }
}

fn written(validation: &Validation, accepted: u16) -> Answer {
    let mut out = Writer::new();
    out.raw(br#"{"status":"success","data":{"accepted":"#);
    list::truth(&mut out, validation.result.is_ok());
    let (code, stored, error, headers) = match &validation.result {
        Ok(passed) => (accepted, passed.stored, None, passed.headers()),
        Err(refusal) => (refusal.reason.status(), false, Some(&refusal.text), refusal.headers.clone()),
    };
    out.raw(br#","status":"#);
    api::groups::whole(&mut out, code.into());
    out.raw(br#","stored":"#);
    list::truth(&mut out, stored);
    out.raw(br#","error":"#);
    match error {
        Some(text) => out.string(text),
        None => out.raw(b"null"),
    }
    out.raw(br#","headers":"#);
    api::push_object(&mut out, headers.iter().map(|(name, value)| (*name, value.as_str())));
    out.raw(br#","group":"#);
    api::push_object(&mut out, validation.key.labels());
    out.raw(br#","ttl":"#);
    match validation.ttl {
        Some(seconds) => out.raw(format!("{seconds}").as_bytes()),
        None => out.raw(b"null"),
    }
    out.raw(br#","text":"#);
    out.string(&validation.text);
    out.raw(br#","log":["#);
    list::separated(&mut out, &validation.log, |out, record| out.string(record));
    out.raw(br#"],"trace":["#);
    list::separated(&mut out, &validation.trace, push_row);
    out.raw(b"]}}");
    api::answer(out)
}

fn push_row(out: &mut Writer, row: &TraceRow) {
    out.raw(br#"{"plugin":"#);
    out.string(&row.plugin);
    out.raw(br#","hook":"#);
    out.string(row.hook);
    out.raw(br#","result":"#);
    out.string(&row.result);
    for (key, names) in [
        ("labels_added", &row.labels_added),
        ("labels_removed", &row.labels_removed),
        ("labels_changed", &row.labels_changed),
        ("renamed", &row.renamed),
    ] {
        out.raw(b",");
        out.string(key);
        out.raw(b":[");
        list::separated(out, names, |out, name| out.string(name));
        out.raw(b"]");
    }
    for (key, number) in [
        ("values_changed", row.values),
        ("samples_added", row.added),
        ("samples_dropped", row.dropped),
        ("calls", row.calls),
        ("steps", row.steps),
    ] {
        out.raw(b",");
        out.string(key);
        out.raw(b":");
        api::groups::whole(out, number);
    }
    out.raw(format!(",\"microseconds\":{:.1}}}", row.microseconds).as_bytes());
}

//! What plugins may know of a request, copied out of its head, and how it wants to be refused.

use crate::format::json;
use crate::gateway::Gateway;
use crate::http::client::Client;
use crate::http::head::{BodyLength, Head};
use crate::http::{Answer, status};
use crate::model::{Reason, Refusal, RequestFacts};

/// The facts, where plugins are there to ask for them.
pub fn facts(gateway: &Gateway, head: &Head<'_>, client: &Client) -> Option<Box<RequestFacts>> {
    if !gateway.has_plugins() {
        return None;
    }
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let wants_headers = gateway.wants_headers();
    let headers = head
        .headers()
        .filter(|_| wants_headers)
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| gateway.wants_header(name))
        .map(|(name, value)| (name, text(value)))
        .collect();
    Some(Box::new(RequestFacts {
        method: match head.method {
            b"PUT" => "PUT",
            b"DELETE" => "DELETE",
            _ => "POST",
        },
        path: text(head.raw_target.split(|byte| *byte == b'?').next().unwrap_or_default()),
        content_type: head.content_type.map(text),
        content_length: match head.framing.body {
            BodyLength::Known(length) => Some(length),
            BodyLength::Chunked => None,
        },
        headers,
        client: client.address.to_canonical().to_string(),
        user: client.identity.user.as_deref().map(str::to_owned),
        tls: client.identity.tls,
        cert_name: client.identity.cert_name().map(str::to_owned),
        grants: client.grants(),
        ..RequestFacts::default()
    }))
}

/// How a client wants to read why a plugin refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    Text,
    Json,
}

impl Words {
    /// What `Accept` names, quality values aside.
    pub fn wanted(head: &Head<'_>) -> Words {
        let is_json = |part: &[u8]| {
            let kind = part.split(|byte| *byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
        };
        let names = head.values("accept").any(|value| value.split(|byte| *byte == b',').any(is_json));
        if names { Words::Json } else { Words::Text }
    }

    /// The answer to a refused request.
    pub fn refused(self, refusal: &Refusal) -> Answer {
        let answer = status::refused(refusal);
        if self == Words::Text || !matches!(refusal.reason, Reason::Plugin { .. }) {
            return answer;
        }
        let mut body = b"{\"status\":\"error\",\"errorType\":\"plugin\"".to_vec();
        let header = |name: &str| refusal.headers.iter().find(|header| header.0 == name);
        for (key, name) in [("plugin", "X-Push-Plugin"), ("code", "X-Push-Code"), ("id", "X-Push-Id")] {
            let value = header(name).map_or("", |header| &header.1);
            body.extend_from_slice(format!(",\"{key}\":").as_bytes());
            json::push_string(&mut body, value);
        }
        body.extend_from_slice(b",\"error\":");
        json::push_string(&mut body, &refusal.text);
        body.extend_from_slice(b"}\n");
        let kept = answer.headers.into_iter().filter(|header| header.0 != "Content-Type");
        kept.fold(Answer::with_body(answer.status, "application/json", body), |answer, (name, value)| {
            answer.header(name, value)
        })
    }
}

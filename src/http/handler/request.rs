//! What plugins may know of a request, copied out of its head.

use crate::gateway::Gateway;
use crate::http::client::Client;
use crate::http::head::{BodyLength, Head};
use crate::model::RequestFacts;

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
        path: text(&head.target.path),
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
    }))
}

//! What is known of a request besides its grouping key and body.

use super::Grants;

/// Facts that plugins and rights are judged by. Owned, since they outlive the request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// `PUT`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The raw path.
    pub path: String,
    /// The client's address without port.
    pub client: String,
    /// The login that the server verified.
    pub user: Option<String>,
    pub tls: bool,
    /// First name of the verified client certificate.
    pub cert_name: Option<String>,
    pub content_type: Option<String>,
    /// How the body is read: `text`, `openmetrics` or `protobuf`; empty where there is none.
    pub format: &'static str,
    /// As announced; chunked bodies announce nothing.
    pub content_length: Option<u64>,
    /// Names in lower case, values as received, in order of arrival. Only those that somebody reads.
    pub headers: Vec<(String, String)>,
    /// What its client may do: asked again about the group that plugins make of the one it named.
    pub grants: Grants,
    /// The status that is answered if nothing refuses it.
    pub accepted: u16,
    /// Whether the disk has a say after that.
    pub is_durable: bool,
}

impl Default for RequestFacts {
    fn default() -> RequestFacts {
        RequestFacts {
            method: "",
            path: String::new(),
            client: String::new(),
            user: None,
            tls: false,
            cert_name: None,
            content_type: None,
            format: "",
            content_length: None,
            headers: Vec::new(),
            grants: Grants::default(),
            accepted: 200,
            is_durable: false,
        }
    }
}

impl RequestFacts {
    /// All values of a header, joined as RFC 9110 section 5.2 joins them. `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> =
            self.headers.iter().filter(|header| header.0 == name).map(|header| header.1.as_str()).collect();
        if values.is_empty() { None } else { Some(values.join(", ")) }
    }
}

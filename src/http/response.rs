//! What a handler answers: status, headers, body.
//!
//! A body is a list of shared slices that is never concatenated. An answer without headers of its own
//! and with an empty body allocates nothing. `Date`, `Content-Length` and `Connection` are added where
//! the answer is written, never by a handler.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::gateway::{Lease, Slices};

/// A whole answer, before the connection adds `Date`, `Content-Length` and `Connection`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Header names are written as they stand here, in Go's canonical casing.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    pub body: Body,
    /// Whether the connection ends after this answer.
    pub close: bool,
    /// Kept until the body is written; once it is revoked, the connection ends.
    pub lease: Option<Arc<Lease>>,
}

/// The bytes after the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    #[default]
    Empty,
    Whole(Bytes),
    Slices(Slices),
}

const CONTENT_TYPE: &str = "Content-Type";
const PLAIN: Cow<'static, str> = Cow::Borrowed("text/plain; charset=utf-8");

impl Answer {
    /// A status and nothing else.
    pub fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Body::Empty, close: false, lease: None }
    }

    /// Plain text exactly as given: no line feed is added.
    pub fn text(status: u16, text: impl Into<Bytes>) -> Answer {
        Answer::with_body(status, PLAIN, text)
    }

    /// The error answer of every handler: the text and one line feed, never to be sniffed as HTML.
    pub fn error(status: u16, text: &str) -> Answer {
        let mut line = String::with_capacity(text.len() + 1);
        line.push_str(text);
        line.push('\n');
        Answer::text(status, line).header("X-Content-Type-Options", "nosniff")
    }

    /// A body of one piece.
    pub fn with_body(
        status: u16,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut answer = Answer::empty(status).header(CONTENT_TYPE, content_type);
        answer.body = Body::Whole(body.into());
        answer
    }

    /// A body of shared slices.
    pub fn with_slices(
        status: u16,
        content_type: impl Into<Cow<'static, str>>,
        slices: impl Into<Slices>,
    ) -> Answer {
        let mut answer = Answer::empty(status).header(CONTENT_TYPE, content_type);
        answer.body = Body::Slices(slices.into());
        answer
    }

    /// The answer's slices are held by `lease`.
    pub fn leased(mut self, lease: Arc<Lease>) -> Answer {
        self.lease = Some(lease);
        self
    }

    /// Adds one header line.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// Ends the connection after this answer.
    #[must_use]
    pub fn closing(mut self) -> Answer {
        self.close = true;
        self
    }
}

impl Body {
    pub fn len(&self) -> usize {
        match self {
            Body::Empty => 0,
            Body::Whole(bytes) => bytes.len(),
            Body::Slices(slices) => slices.bytes(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

//! Why a request was refused, in the words the client reads.

use std::fmt;

use super::{Limit, OverLimit};

/// The cause of a refusal. Its [`label`](Reason::label) counts it in metrics; only `http` knows the
/// status code that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The path does not spell a grouping key.
    BadKey,
    /// The client has no right to it.
    Forbidden,
    /// The body does not parse, or its encoding is broken.
    Malformed,
    /// The body contradicts what is stored, or itself.
    Inconsistent,
    /// The request is over a limit by itself.
    TooLarge(Limit),
    /// Together with what is held already, the push is over a limit.
    Full(Limit),
    /// The request's content coding is not one we take.
    UnsupportedEncoding,
    /// A plugin refused it or failed.
    Plugin {
        /// The status code it gave: 400 to 499, 500 or 503.
        status: u16,
        /// Whether an existing group is to show the failure as a failed push.
        mark_failed: bool,
    },
    /// We have too much to do at the moment.
    Overloaded,
    /// Groups are kept on the disk, and the disk fails.
    NotDurable,
    /// The push cannot be merged with what is stored.
    Unmergeable,
    /// It would replace what is to be merged.
    Merged,
    /// Its key was used for a push with another body.
    KeyReused,
}

impl Reason {
    /// The value of the `reason` label on the refused-pushes counter.
    pub fn label(self) -> &'static str {
        match self {
            Reason::BadKey => "bad_key",
            Reason::Forbidden => "forbidden",
            Reason::Malformed => "malformed",
            Reason::Inconsistent => "inconsistent",
            Reason::TooLarge(_) => "too_large",
            Reason::Full(_) => "full",
            Reason::UnsupportedEncoding => "unsupported_encoding",
            Reason::Plugin { .. } => "plugin",
            Reason::Overloaded => "overloaded",
            Reason::NotDurable => "not_durable",
            Reason::Unmergeable => "unmergeable",
            Reason::Merged => "merged",
            Reason::KeyReused => "key_reused",
        }
    }

    /// The status code of the answer (RFC 9110 section 15).
    pub fn status(self) -> u16 {
        match self {
            Reason::BadKey | Reason::Malformed | Reason::Inconsistent | Reason::Unmergeable => 400,
            Reason::Forbidden => 403,
            Reason::TooLarge(_) => 413,
            // Memory is what we have, the rest is what others push.
            Reason::Full(Limit::Memory) => 503,
            Reason::Full(_) => 429,
            Reason::UnsupportedEncoding => 415,
            Reason::Overloaded => 503,
            Reason::Plugin { status, .. } => status,
            Reason::NotDurable => 503,
            Reason::Merged => 409,
            Reason::KeyReused => 422,
        }
    }

    /// The limit that was reached, if one was.
    pub fn limit(self) -> Option<Limit> {
        match self {
            Reason::TooLarge(limit) | Reason::Full(limit) => Some(limit),
            _ => None,
        }
    }
}

/// A request that is too large by itself, whatever else is held.
impl From<OverLimit> for Refusal {
    fn from(over: OverLimit) -> Refusal {
        Refusal::new(Reason::TooLarge(over.limit), over.to_string())
    }
}

/// A refused request: what kind of fault, and the text of the answer without its final line feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub text: String,
    /// Further headers of the answer.
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub fn new(reason: Reason, text: impl Into<String>) -> Refusal {
        Refusal { reason, text: text.into(), headers: Vec::new() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}

//! From `Accept` and `Accept-Encoding` to the form of an exposition.

pub use crate::format::escape::Escaping;

/// The exposition format and its name escaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    pub format: Format,
    pub escaping: Escaping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Text,
    ProtoDelimited,
    ProtoText,
    ProtoCompact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    Identity,
    Gzip,
}

impl Form {
    /// The form that the `Accept` headers of a scrape ask for; several headers are joined by commas.
    pub fn negotiate(_accept: &str) -> Form {
        todo!()
    }

    /// The exact `Content-Type` of the answer.
    pub fn content_type(self) -> String {
        todo!()
    }
}

impl Encoding {
    /// The coding that the `Accept-Encoding` headers ask for.
    pub fn negotiate(_accept_encoding: &str) -> Encoding {
        todo!()
    }
}

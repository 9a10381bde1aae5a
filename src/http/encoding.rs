//! The content coding of a request's body.

use bytes::Bytes;

use crate::model::{Reason, Refusal};

/// A coding we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
}

impl Coding {
    /// The coding that `Content-Encoding` names; its first value counts, compared as a whole.
    ///
    /// # Errors
    ///
    /// It is none of ours, or a list. The reference would take such bytes as they are.
    pub fn of(content_encoding: Option<&[u8]>) -> Result<Coding, Refusal> {
        match content_encoding {
            None | Some(b"") => Ok(Coding::Identity),
            Some(name) if name.eq_ignore_ascii_case(b"identity") => Ok(Coding::Identity),
            Some(_) => Err(Refusal::new(
                Reason::UnsupportedEncoding,
                "unsupported Content-Encoding, supported is identity",
            )),
        }
    }

    /// The body without its coding.
    ///
    /// # Errors
    ///
    /// The body is not what the coding says.
    pub fn decode(self, body: Bytes) -> Result<Bytes, Refusal> {
        match self {
            Coding::Identity => Ok(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identity_is_taken() {
        for identity in [None, Some(&b""[..]), Some(b"identity"), Some(b"IDENTITY")] {
            assert_eq!(Coding::of(identity), Ok(Coding::Identity));
        }
        for other in ["br", "gzip", "identity, identity"] {
            let refusal = Coding::of(Some(other.as_bytes())).unwrap_err();
            assert_eq!(refusal.reason, Reason::UnsupportedEncoding, "{other}");
        }
    }
}

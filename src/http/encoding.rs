//! The content coding of a request's body.
//!
//! # Invariants
//!
//! 1. What a body unpacks to is bounded while it is unpacked, and memory grows with the bytes that came
//!    out: never by a length that the body claims.
//! 2. A body that is cut, corrupt or followed by anything else is refused as a whole.

mod decoders;
mod gzip;
mod inflate;
mod output;
mod snappy;
mod zstd;

use bytes::Bytes;

pub use decoders::Decoders;

use self::output::{Fault, Output};
use crate::model::{Reason, Refusal};

/// The codings we take, as an `Accept-Encoding` header and a refusal name them.
pub const TAKEN: &str = "gzip, deflate, zstd, snappy";

/// A coding we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    /// RFC 1952, of any number of members.
    Gzip,
    /// RFC 1950, and bare RFC 1951, which some clients take for it.
    Deflate,
    /// RFC 8878, of any number of frames, with windows as RFC 9659 allows.
    Zstd,
    /// The framing format, which the reference takes, or one block of the raw format.
    Snappy,
}

impl Coding {
    /// The coding that `Content-Encoding` names; its first value counts, compared as a whole.
    ///
    /// # Errors
    ///
    /// It is none of ours, or a list. The reference would take such bytes as they are.
    pub fn of(content_encoding: Option<&[u8]>) -> Result<Coding, Refusal> {
        let Some(name) = content_encoding else { return Ok(Coding::Identity) };
        let known: [(&[u8], Coding); 7] = [
            (b"", Coding::Identity),
            (b"identity", Coding::Identity),
            (b"gzip", Coding::Gzip),
            (b"x-gzip", Coding::Gzip),
            (b"deflate", Coding::Deflate),
            (b"zstd", Coding::Zstd),
            (b"snappy", Coding::Snappy),
        ];
        match known.iter().find(|known| name.eq_ignore_ascii_case(known.0)) {
            Some((_, coding)) => Ok(*coding),
            None => Err(Refusal::new(
                Reason::UnsupportedEncoding,
                format!("unsupported Content-Encoding, supported are {TAKEN}, identity"),
            )),
        }
    }

    /// Whether the head of the body is looked at before the request is routed, as the reference does.
    pub fn has_start(self) -> bool {
        self == Coding::Gzip
    }

    /// Looks at the head of the body, if the coding [has one](Self::has_start).
    ///
    /// # Errors
    ///
    /// [`Coding::decode`] would fail on it.
    pub fn check_start(self, body: &[u8]) -> Result<(), Refusal> {
        match self {
            Coding::Gzip => gzip::check_start(body).map_err(|fault| fault.refusal(0)),
            _ => Ok(()),
        }
    }

    /// The body without its coding, of at most `max` bytes.
    ///
    /// # Errors
    ///
    /// The body is not what the coding says, or unpacks to more.
    pub fn decode(self, body: Bytes, max: usize) -> Result<Bytes, Refusal> {
        if self == Coding::Identity {
            return Ok(body);
        }
        self.unpack(&body, max).map_err(|fault| fault.refusal(max))
    }

    fn unpack(self, body: &[u8], max: usize) -> Result<Bytes, Fault> {
        let mut output = Output::new(body.len(), max);
        match self {
            Coding::Identity => output.push(body)?,
            Coding::Gzip => gzip::decode(body, &mut output)?,
            Coding::Deflate => inflate::decode_deflate(body, &mut output)?,
            Coding::Zstd => zstd::decode(body, &mut output)?,
            Coding::Snappy => snappy::decode(body, &mut output)?,
        }
        output.finish()
    }
}

#[cfg(test)]
mod tests;

//! What a body unpacks to, as it comes out.

use bytes::Bytes;

use crate::model::{Limit, OverLimit, Reason, Refusal};

/// First size of the output beyond what is known to come.
const BYTES_FIRST_MAX: usize = 64 * 1024;

/// How much text shrinks at least, by experience: the first guess at the output's size.
const RATIO_GUESSED: usize = 4;

/// Why a body cannot be unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It unpacks to more than the limit.
    TooLarge,
    /// In words for the client.
    Corrupt(String),
}

impl Fault {
    pub(super) fn corrupt(text: impl Into<String>) -> Fault {
        Fault::Corrupt(text.into())
    }

    /// The body ends too soon. Go's text for it.
    pub(super) fn cut() -> Fault {
        Fault::corrupt("unexpected EOF")
    }

    /// As an answer; `max` is the limit in bytes.
    pub(super) fn refusal(self, max: usize) -> Refusal {
        match self {
            Fault::TooLarge => {
                let text = format!("request body unpacks to more than the limit of {max} bytes");
                OverLimit::new(Limit::DecodedBytes, text).into()
            }
            Fault::Corrupt(text) => Refusal::new(Reason::Malformed, text),
        }
    }
}

/// Bytes that grow as they come, up to a limit.
pub(super) struct Output {
    bytes: Vec<u8>,
    max: usize,
}

impl Output {
    /// Empty, for a body of `body_len` bytes.
    pub(super) fn new(body_len: usize, max: usize) -> Output {
        let first = body_len.saturating_mul(RATIO_GUESSED).clamp(512, BYTES_FIRST_MAX);
        Output { bytes: Vec::with_capacity(first.min(max.saturating_add(1))), max }
    }

    /// The bytes so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The vector to append to, with room for at least one byte.
    pub(super) fn room(&mut self) -> Result<&mut Vec<u8>, Fault> {
        let len = self.bytes.len();
        if len > self.max {
            return Err(Fault::TooLarge);
        }
        if len == self.bytes.capacity() {
            // One byte past the limit shows that it was passed.
            self.bytes.reserve_exact(len.max(512).min(self.max - len + 1));
        }
        Ok(&mut self.bytes)
    }

    /// Whether `more` bytes fit.
    pub(super) fn check(&self, more: usize) -> Result<(), Fault> {
        if more > self.max.saturating_sub(self.bytes.len()) { Err(Fault::TooLarge) } else { Ok(()) }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.check(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Bytes, Fault> {
        if self.bytes.len() > self.max { Err(Fault::TooLarge) } else { Ok(self.bytes.into()) }
    }
}

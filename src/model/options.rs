//! What a single push asks for besides being stored.

use super::MergeRule;
use super::lifetime::Lifetime;

/// Asked for by the request itself, in its head. Nothing is asked for by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// How long the group is to live from this push on.
    pub lifetime: Option<Lifetime>,
    /// How all its families are to be merged with what is stored, whatever rules say.
    pub merge: Option<MergeRule>,
    /// By what a repetition of this push is to be known.
    pub key: Option<PushKey>,
}

/// A fingerprint in which no two different texts are found alike: the first half of their SHA-256.
pub type Fingerprint = [u8; 16];

/// What tells a push that was sent again from a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushKey {
    /// Of the key that the client chose; `None` if it named two different ones.
    pub name: Option<Fingerprint>,
    /// Of the decoded body.
    pub body: Fingerprint,
}

//! What a single push asks for besides being stored.

use super::lifetime::Lifetime;

/// Asked for by the request itself, in its head. Nothing is asked for by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// How long the group is to live from this push on.
    pub lifetime: Option<Lifetime>,
}

//! To come.

/// What the status pages show of flags, build and start time.
#[derive(Debug, Default)]
pub struct Info {}

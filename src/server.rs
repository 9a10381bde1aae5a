//! Startup and shutdown.

use std::io;
use std::sync::Arc;

use crate::config::Config;
use crate::gateway::Gateway;

/// Serves `gateway` as `config` says until the process is asked to stop.
///
/// # Errors
///
/// This build has no server yet.
pub fn run(_config: Config, _gateway: Arc<Gateway>) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this build has no server yet"))
}

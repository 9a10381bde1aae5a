//! The web configuration file while the server runs: read at start, and again when asked or when it or a
//! file it names has changed.
//!
//! A new reading takes effect whole or not at all; what is wrong with it is logged once and the old one
//! stays. Whether there is TLS at all is settled at start: a slip in the file must not turn a closed port
//! into an open one. All of this runs on the control thread.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::web_config::WebConfig;

use super::auth::Door;
use super::rights::Rights;
use super::tls::{self, Tls};

/// The file, and what workers see of it.
pub struct Web {
    path: PathBuf,
    /// What is in force.
    config: WebConfig,
    /// The file and those that the last reading of it named, good or bad, each with what it looked like
    /// before it was read.
    seen: Vec<(PathBuf, Option<Seen>)>,
    pub door: Arc<Door>,
    pub tls: Option<Arc<Tls>>,
}

/// What tells one content of a file from another: device, inode, size and time of change. It is seen
/// through symbolic links, as whole mounted folders are swapped by one.
type Seen = (u64, u64, u64, i64, i64);

impl Web {
    /// Reads the file for the first time.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one text.
    pub fn load(path: &Path) -> Result<Web, String> {
        let mut seen = Vec::new();
        let Reading { config, tls, rights } = read(path, &mut seen)?;
        let door = Arc::new(Door::new(&config, rights).map_err(|error| error.to_string())?);
        let tls = tls.map(|tls| Arc::new(Tls::new(tls)));
        Ok(Web { path: path.to_owned(), config, seen, door, tls })
    }

    /// Reads it again if it or a file that it names has changed.
    pub fn refresh(&mut self) {
        if self.seen.iter().any(|(path, seen)| look(path) != *seen) {
            self.reload();
        }
    }

    /// Reads it again.
    pub fn reload(&mut self) {
        self.seen.clear();
        let outcome = read(&self.path, &mut self.seen).and_then(|reading| {
            let Reading { config, tls, rights } = reading;
            match (&self.tls, tls) {
                (Some(current), Some(tls)) => current.replace(tls),
                (None, None) => {}
                _ => return Err("TLS can only be turned on or off by a restart".to_owned()),
            }
            self.door.replace(&config, rights);
            Ok(config)
        });
        let file = self.path.display();
        match outcome {
            Ok(config) => {
                self.config = config;
                tracing::info!(%file, "web configuration reloaded");
            }
            Err(err) => {
                tracing::error!(%file, %err, "Unable to parse configuration; the old one stays");
                // What the old one names may change as well.
                let old: Vec<PathBuf> = self.config.files().cloned().collect();
                old.iter().for_each(|path| note(path, &mut self.seen));
            }
        }
    }

    /// Says at start what cannot be seen from outside.
    pub fn announce(&self) {
        if let Some(limit) = self.config.rate_limit {
            let interval =
                crate::config::duration::GoDuration(i64::try_from(limit.interval).unwrap_or(i64::MAX));
            tracing::info!(burst = limit.burst, %interval, "Rate Limiter is enabled.");
        }
    }
}

/// Everything that one reading gives.
struct Reading {
    config: WebConfig,
    tls: Option<tls::Settings>,
    rights: Option<Arc<Rights>>,
}

/// Reads the file and what it names. Each is looked at before it is read, so that a change meanwhile is
/// seen the next time; whatever was found out before a fault stays in `seen`.
fn read(path: &Path, seen: &mut Vec<(PathBuf, Option<Seen>)>) -> Result<Reading, String> {
    note(path, seen);
    let text = fs::read_to_string(path).map_err(|error| tls::open_fault(path, &error))?;
    let config = WebConfig::parse(&text, path.parent().unwrap_or(Path::new("")))?;
    config.files().for_each(|path| note(path, seen));
    let rights = config.rights.as_ref().map(Rights::compile).transpose()?;
    let tls = config.tls.as_ref().map(tls::build).transpose()?;
    Ok(Reading { config, tls, rights })
}

fn note(path: &Path, seen: &mut Vec<(PathBuf, Option<Seen>)>) {
    if seen.iter().all(|(known, _)| known != path) {
        seen.push((path.to_owned(), look(path)));
    }
}

fn look(path: &Path) -> Option<Seen> {
    let seen = fs::metadata(path).ok()?;
    Some((seen.dev(), seen.ino(), seen.size(), seen.ctime(), seen.ctime_nsec()))
}

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

use rustls::ServerConfig;

use crate::config::web_config::WebConfig;

use super::auth::Door;
use super::tls::{self, Tls};

/// The file, and what workers see of it.
pub struct Web {
    path: PathBuf,
    /// What was last read, with what all its files looked like then.
    config: WebConfig,
    seen: Vec<Option<Seen>>,
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
        let (config, tls) = read(path)?;
        let door = Arc::new(Door::new(&config).map_err(|error| error.to_string())?);
        let seen = look(path, &config);
        let tls = tls.map(|tls| Arc::new(Tls::new(tls)));
        Ok(Web { path: path.to_owned(), config, seen, door, tls })
    }

    /// Reads it again if it or a file that it names has changed.
    pub fn refresh(&mut self) {
        if look(&self.path, &self.config) != self.seen {
            self.reload();
        }
    }

    /// Reads it again.
    pub fn reload(&mut self) {
        let outcome = read(&self.path).and_then(|(config, tls)| match (&self.tls, tls) {
            (Some(current), Some(tls)) => {
                current.replace(tls);
                Ok(config)
            }
            (None, None) => Ok(config),
            _ => Err("TLS can only be turned on or off by a restart".to_owned()),
        });
        let file = self.path.display();
        match outcome {
            Ok(config) => {
                self.door.replace(&config);
                self.config = config;
                tracing::info!(%file, "web configuration reloaded");
            }
            Err(err) => tracing::error!(%file, %err, "Unable to parse configuration; the old one stays"),
        }
        self.seen = look(&self.path, &self.config);
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

type Reading = (WebConfig, Option<Arc<ServerConfig>>);

fn read(path: &Path) -> Result<Reading, String> {
    let text = fs::read_to_string(path).map_err(|error| tls::open_fault(path, &error))?;
    let config = WebConfig::parse(&text, path.parent().unwrap_or(Path::new("")))?;
    let tls = config.tls.as_ref().map(tls::build).transpose()?;
    Ok((config, tls))
}

fn look(path: &Path, config: &WebConfig) -> Vec<Option<Seen>> {
    std::iter::once(path)
        .chain(config.files().map(PathBuf::as_path))
        .map(|path| {
            let seen = fs::metadata(path).ok()?;
            Some((seen.dev(), seen.ino(), seen.size(), seen.ctime(), seen.ctime_nsec()))
        })
        .collect()
}

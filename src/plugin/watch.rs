//! Reloads plugins when their files change: `--plugin.watch`.
//!
//! Looks at names, sizes and times twice a second, on a thread of its own; a change takes effect once
//! the files stay as they are between two looks, so that a half-written file is not read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use super::engine::Plugins;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Files in deeper folders, or past this many, are not looked at.
const DEPTH_MAX: usize = 4;
const FILES_MAX: usize = 10_000;

type Look = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watch {
    _alive: Sender<()>,
}

/// Starts to watch. Where no thread can be had, that is logged and nothing is watched.
pub fn start(plugins: Arc<Plugins>) -> Watch {
    let (alive, dropped) = channel();
    let started = thread::Builder::new().name("plugin-watch".to_owned()).spawn(move || {
        let (mut loaded, mut last) = (look(&plugins), None);
        while dropped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            let now = look(&plugins);
            let quiet = last.as_ref() == Some(&now);
            if now != loaded && quiet {
                // What is wrong is logged where it is found.
                let _ = plugins.reload();
                loaded = now.clone();
            }
            last = Some(now);
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "cannot watch plugins");
    }
    Watch { _alive: alive }
}

fn look(plugins: &Plugins) -> Look {
    let mut found = Look::new();
    if let Some(dir) = &plugins.options().dir {
        collect(dir, 0, &mut found);
    }
    if let Some(config) = &plugins.options().config {
        note(config, &mut found);
    }
    found.sort();
    found
}

fn collect(dir: &Path, depth: usize, found: &mut Look) {
    // A directory that is away for a moment counts as empty.
    let Ok(items) = fs::read_dir(dir) else { return };
    for item in items.flatten() {
        let path = item.path();
        if found.len() >= FILES_MAX {
            return;
        }
        if path.is_dir() && depth < DEPTH_MAX {
            collect(&path, depth + 1, found);
        } else {
            note(&path, found);
        }
    }
}

fn note(path: &Path, found: &mut Look) {
    if let Ok(data) = fs::metadata(path) {
        found.push((path.to_owned(), data.len(), data.modified().ok()));
    }
}

//! Throws out of shared state what is over, so that it makes room: on a thread of its own, which is there once
//! a plugin has shared state and ends with the plugins.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::engine::AllShared;
use super::shared::Tick;
use crate::clock::Now;

/// Time between two rounds.
const PAUSE: Duration = Duration::from_secs(5);

/// Keeps the thread running.
#[derive(Debug)]
pub struct Sweeper {
    _alive: Sender<()>,
}

/// Starts it. Where no thread can be had, that is logged, and what is over keeps its room.
pub fn start(all: AllShared) -> Sweeper {
    let (alive, dropped) = channel();
    let started = thread::Builder::new().name("plugin-sweep".to_owned()).spawn(move || {
        while dropped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            let now = Tick::of(Now::read());
            all.list().iter().for_each(|(_, shared)| shared.stores.sweep(now));
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "cannot sweep the shared state of plugins");
    }
    Sweeper { _alive: alive }
}

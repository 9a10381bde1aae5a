//! Shared state as a push sees it that is only tried out: a store that lies over the live one.
//!
//! What lives under a key is brought over when the key is first used. From then on the key is the overlay's own,
//! and calls do there what they would do in the live store, which is only read. What they do goes with the
//! overlay.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Body, Store, Tick};

#[derive(Debug)]
pub(super) struct Overlay {
    live: Arc<Store>,
    /// Keys that were looked for: what becomes of them below is nothing to the overlay any more.
    brought: Mutex<HashSet<Box<[u8]>>>,
}

impl Store {
    /// A store over `live`.
    pub(super) fn over(live: &Arc<Store>) -> Arc<Store> {
        let body = match &live.body {
            Body::Dict(live) => Body::Dict(live.beside()),
            Body::Bucket(live) => Body::Bucket(live.beside()),
            Body::Distinct(live) => Body::Distinct(live.beside()),
        };
        let overlay = Some(Overlay { live: live.clone(), brought: Mutex::default() });
        Arc::new(Store { declared: live.declared.clone(), body, overlay })
    }

    /// To be called before anything is done with `key`: where this is an overlay, shows it what lives there.
    pub fn bring(&self, key: &[u8], now: Tick) {
        let Some(overlay) = &self.overlay else { return };
        if !overlay.brought.lock().unwrap_or_else(PoisonError::into_inner).insert(key.into()) {
            return;
        }
        match (&self.body, &overlay.live.body) {
            (Body::Dict(own), Body::Dict(live)) => own.bring(key, live),
            (Body::Bucket(own), Body::Bucket(live)) => own.bring(key, live),
            (Body::Distinct(own), Body::Distinct(live)) => own.bring(key, live, now),
            // They are of one kind.
            _ => {}
        }
    }

    /// The same for every key of a dictionary.
    pub fn bring_all(&self, now: Tick) {
        if let Some(overlay) = &self.overlay
            && let Body::Dict(live) = &overlay.live.body
        {
            live.scan(0, usize::MAX - 1, now).0.iter().for_each(|key| self.bring(key, now));
        }
    }
}

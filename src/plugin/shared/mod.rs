//! State that all workers share: declared by a plugin, kept under its name, gone with the process.
//!
//! What is here knows no Lua and reads no clock. No call waits for a lock; a map's growth is papaya's, which
//! moves entries in steps.

mod bucket;
mod dict;
mod distinct;
mod overlay;
mod room;
mod sketch;
#[cfg(test)]
mod tests;
mod words;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use self::overlay::Overlay;
use super::fault::{Code, Fault};
use crate::clock::Now;

pub use bucket::{Bucket, Taken};
pub use dict::{Dict, Not, Value};
pub use distinct::Distinct;

/// Stores of one kind that a plugin may declare.
pub const STORES_MAX: usize = 16;

/// Nanoseconds of a clock that is never set, from a beginning of no meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

impl Tick {
    pub fn of(now: Now) -> Tick {
        static BEGINNING: OnceLock<Instant> = OnceLock::new();
        const DAY: Duration = Duration::from_secs(24 * 3600);
        // Readings from before the first one asked for still differ from each other.
        let beginning = BEGINNING.get_or_init(|| now.monotonic.checked_sub(DAY).unwrap_or(now.monotonic));
        let since = now.monotonic.saturating_duration_since(*beginning);
        Tick(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The time some seconds later.
    pub fn after(self, seconds: f64) -> Tick {
        Tick(self.0.saturating_add((seconds * 1e9) as u64))
    }

    /// How long it is from `now` to here.
    pub fn since(self, now: Now) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(Tick::of(now).0))
    }

    /// Seconds from here to `later`.
    pub fn seconds_to(self, later: Tick) -> f64 {
        later.0.saturating_sub(self.0) as f64 / 1e9
    }
}

/// What a store is and how large it may get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `ttl` in seconds.
    Dict { keys_max: usize, ttl: Option<f64> },
    /// `rate` in tokens per second.
    Bucket { keys_max: usize, rate: f64, burst: f64 },
    /// `window` in seconds.
    Distinct { keys_max: usize, window: f64 },
}

impl Kind {
    /// The function that declares it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Dict { .. } => "shared",
            Kind::Bucket { .. } => "bucket",
            Kind::Distinct { .. } => "distinct",
        }
    }
}

/// A store as a plugin declared it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    pub name: String,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Body {
    Dict(Dict),
    Bucket(Bucket),
    Distinct(Distinct),
}

/// A declared store and what it holds.
#[derive(Debug)]
pub struct Store {
    pub declared: Declared,
    pub body: Body,
    /// What it lies over, where it is to be thrown away.
    overlay: Option<Overlay>,
}

impl Store {
    fn new(declared: Declared) -> Arc<Store> {
        let body = match declared.kind {
            Kind::Dict { keys_max, .. } => Body::Dict(Dict::new(keys_max)),
            Kind::Bucket { keys_max, rate, burst } => Body::Bucket(Bucket::new(rate, burst, keys_max)),
            Kind::Distinct { keys_max, window } => Body::Distinct(Distinct::new(window, keys_max)),
        };
        Arc::new(Store { declared, body, overlay: None })
    }

    /// Keys that it holds, about.
    pub fn keys(&self) -> usize {
        match &self.body {
            Body::Dict(dict) => dict.keys(),
            Body::Bucket(bucket) => bucket.keys(),
            Body::Distinct(distinct) => distinct.keys(),
        }
    }

    fn sweep(&self, now: Tick) {
        match &self.body {
            Body::Dict(dict) => dict.sweep(now),
            Body::Bucket(bucket) => bucket.sweep(now),
            Body::Distinct(distinct) => distinct.sweep(now),
        }
    }
}

/// The stores of one plugin's name. The lock is for declaring and listing; a machine keeps its stores.
#[derive(Debug, Default)]
pub struct Stores(Mutex<HashMap<(&'static str, String), Arc<Store>>>);

impl Stores {
    fn lock(&self) -> MutexGuard<'_, HashMap<(&'static str, String), Arc<Store>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the stores of the generation that comes into force. Those that were declared alike before go
    /// on; gives the names of those that begin anew, with other options.
    pub fn take(&self, declared: &[Declared]) -> Vec<String> {
        let mut stores = self.lock();
        let mut old = std::mem::take(&mut *stores);
        let mut emptied = Vec::new();
        for declared in declared {
            let key = (declared.kind.name(), declared.name.clone());
            let store = match old.remove(&key) {
                Some(same) if same.declared == *declared => same,
                Some(_) => {
                    emptied.push(declared.name.clone());
                    Store::new(declared.clone())
                }
                None => Store::new(declared.clone()),
            };
            stores.insert(key, store);
        }
        emptied
    }

    /// The store that a machine of the generation in force declares. One of an older generation gets a
    /// store of its own, which goes with it.
    pub fn known(&self, declared: Declared) -> Arc<Store> {
        let stores = self.lock();
        match stores.get(&(declared.kind.name(), declared.name.clone())) {
            Some(store) if store.declared == declared => store.clone(),
            _ => Store::new(declared),
        }
    }

    /// The store that `declared` asks for, made if there is none like it.
    ///
    /// # Errors
    ///
    /// E_LIMIT: there are too many of its kind. E_VALUE: there is another one of its kind and name.
    pub fn declare(&self, declared: Declared) -> Result<Arc<Store>, Fault> {
        let mut stores = self.lock();
        let kind = declared.kind.name();
        let key = (kind, declared.name.clone());
        if let Some(store) = stores.get(&key) {
            if store.declared == declared {
                return Ok(store.clone());
            }
            let text = format!("gate.{kind}: {} was declared otherwise before", declared.name);
            return Err(Fault::new(Code::Value, text));
        }
        if stores.keys().filter(|key| key.0 == kind).count() >= STORES_MAX {
            return Err(Fault::new(
                Code::Limit,
                format!("a plugin may declare {STORES_MAX} times gate.{kind}"),
            ));
        }
        let store = Store::new(declared);
        stores.insert(key, store.clone());
        Ok(store)
    }

    /// Stores of the same kinds and names, each over the one here: they show what is here now and keep to
    /// themselves what is done to them.
    pub fn overlays(&self) -> Stores {
        let over = |(key, store): (&(&'static str, String), &Arc<Store>)| (key.clone(), Store::over(store));
        Stores(Mutex::new(self.lock().iter().map(over).collect()))
    }

    /// Every store, sorted by kind and name.
    pub fn all(&self) -> Vec<Arc<Store>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        let key = |store: &Store| (store.declared.kind.name(), store.declared.name.clone());
        all.sort_by_key(|store| key(store));
        all
    }

    /// Throws out what is over, so that there is room for what comes.
    pub fn sweep(&self, now: Tick) {
        self.all().iter().for_each(|store| store.sweep(now));
    }

    /// Begins anew, for machines that are made from here on.
    pub fn empty(&self) {
        self.lock().values_mut().for_each(|store| *store = Store::new(store.declared.clone()));
    }
}

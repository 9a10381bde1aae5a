//! `gate.bucket`: a token bucket for each key, in one word (GCRA, the generic cell rate algorithm of ITU-T
//! I.371).
//!
//! A full bucket is as good as none, so buckets that have filled up are forgotten. When there are as many
//! keys as may be, others are let through uncounted: a limit must not turn away strangers because of the
//! crowd.

use papaya::{Compute, HashMap, Operation};
use rapidhash::quality::GlobalState as Hashing;

use super::Tick;
use super::room::Room;
use super::words::{Pace, Took};

/// See the module.
#[derive(Debug)]
pub struct Bucket {
    map: HashMap<Box<[u8]>, Pace, Hashing>,
    room: Room,
    /// Nanoseconds in which one token comes back.
    nanos: f64,
    /// What a full bucket is worth in nanoseconds.
    span: u64,
    burst: f64,
}

/// What came of taking tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Taken {
    Yes,
    /// There was no room for the key, so nothing was counted.
    Unknown,
    /// Seconds until there are enough.
    No(f64),
}

impl Bucket {
    /// `rate` in tokens per second.
    pub fn new(rate: f64, burst: f64, keys_max: usize) -> Bucket {
        let nanos = 1e9 / rate;
        Bucket {
            map: HashMap::with_hasher(Hashing::default()),
            room: Room::new(keys_max),
            nanos,
            span: (nanos * burst) as u64,
            burst,
        }
    }

    /// An empty one with the same options and as much room.
    pub(super) fn beside(&self) -> Bucket {
        let Bucket { nanos, span, burst, .. } = *self;
        Bucket { map: HashMap::with_hasher(Hashing::default()), room: self.room.beside(), nanos, span, burst }
    }

    /// Takes over what `live` has under `key`, whose room is counted already.
    pub(super) fn bring(&self, key: &[u8], live: &Bucket) {
        if let Some(pace) = live.map.get(key, &live.map.guard()).and_then(Pace::copy) {
            self.map.insert(key.into(), pace, &self.map.guard());
        }
    }

    pub fn take(&self, key: &[u8], tokens: f64, now: Tick) -> Taken {
        let cost = (tokens * self.nanos) as u64;
        let guard = self.map.guard();
        loop {
            match self.map.get(key, &guard).map(|pace| pace.take(now.0, cost, self.span)) {
                Some(Took::Yes) => return Taken::Yes,
                Some(Took::Short(nanos)) => return Taken::No(nanos as f64 / 1e9),
                // None there, or one that was full.
                Some(Took::Gone) | None if cost > self.span => {
                    return Taken::No((cost - self.span) as f64 / 1e9);
                }
                Some(Took::Gone) | None => {}
            }
            let is_room = self.room.take();
            let done = self.map.compute(
                key.into(),
                |found| match found {
                    Some((_, pace)) if !pace.is_gone() => Operation::Abort(true),
                    None if !is_room => Operation::Abort(false),
                    _ => Operation::Insert(Pace::begun(now.0, cost)),
                },
                &guard,
            );
            let is_new = matches!(done, Compute::Inserted(..));
            if is_room && !is_new {
                self.room.give_back();
            }
            match done {
                Compute::Aborted(true) => {}
                Compute::Aborted(false) => return Taken::Unknown,
                _ => return Taken::Yes,
            }
        }
    }

    /// Tokens that are there.
    pub fn peek(&self, key: &[u8], now: Tick) -> f64 {
        let missing = self.map.get(key, &self.map.guard()).map_or(0, |pace| pace.until_full(now.0));
        (self.burst - missing as f64 / self.nanos).max(0.0)
    }

    /// Keys whose buckets are not full, about.
    pub fn keys(&self) -> usize {
        self.room.taken()
    }

    /// Forgets buckets that are full.
    pub fn sweep(&self, now: Tick) {
        let guard = self.map.guard();
        for (key, pace) in self.map.iter(&guard) {
            // One that somebody else put in its place stays.
            if pace.forget(now.0)
                && let Ok(Some(_)) = self.map.remove_if(&**key, |_, pace| pace.is_gone(), &guard)
            {
                self.room.give_back();
            }
        }
    }
}

//! The keys of a group's last merged pushes, so that a push which is sent again is not added again.
//!
//! They are part of the group's state: a push, its key and what it added are published by one
//! compare-and-swap, and are on the disk in one batch or not at all.
//!
//! They lie in chunks that never change: a push copies the newest one, and the disk is given the chunks it
//! does not have.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::UnixNanos;
use crate::model::{Fingerprint, PushKey};

/// Keys in a chunk.
pub const CHUNK: usize = 64;

/// How many keys a group remembers and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimits {
    pub count: usize,
    /// In nanoseconds, by the wall clock.
    pub nanos: u64,
}

impl Default for KeyLimits {
    fn default() -> KeyLimits {
        KeyLimits { count: 1024, nanos: 3_600_000_000_000 }
    }
}

/// A push that was merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: Fingerprint,
    pub body: Fingerprint,
    pub at: UnixNanos,
}

/// What is known of the key of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    New,
    /// This very push was merged.
    Replayed,
    /// It was used for another one.
    Reused,
}

/// See the module. None by default.
#[derive(Clone, Debug, Default)]
pub struct Keys(Option<Arc<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    /// The number of the first chunk; those after it are numbered on.
    first: u64,
    /// Oldest first; all but the last one are full, and none is empty.
    chunks: VecDeque<Arc<[Entry]>>,
}

impl Keys {
    /// Keys that were remembered; the first of the chunks has the number `first`. `None` if these can be
    /// nobody's chunks.
    pub fn restored(first: u64, chunks: Vec<Arc<[Entry]>>) -> Option<Keys> {
        let (last, full) = chunks.split_last()?;
        let fits = full.iter().all(|chunk| chunk.len() == CHUNK) && (1..=CHUNK).contains(&last.len());
        fits.then(|| Keys(Some(Arc::new(Ring { first, chunks: chunks.into() }))))
    }

    /// Whether `key` is that of a push which is remembered at `now`.
    pub fn find(&self, name: Fingerprint, body: Fingerprint, now: UnixNanos, limits: KeyLimits) -> Known {
        let Some(ring) = &self.0 else { return Known::New };
        let newest_first = ring.chunks.iter().rev().flat_map(|chunk| chunk.iter().rev());
        let mut remembered = newest_first.take(limits.count).filter(|entry| is_young(entry, now, limits));
        match remembered.find(|entry| entry.name == name) {
            None => Known::New,
            Some(entry) if entry.body == body => Known::Replayed,
            Some(_) => Known::Reused,
        }
    }

    /// These and one more; those are left out that need not be remembered any longer.
    #[must_use]
    pub fn with(&self, entry: Entry, limits: KeyLimits) -> Keys {
        let nothing = Ring::default();
        let ring = self.0.as_deref().unwrap_or(&nothing);
        let (mut first, mut chunks) = (ring.first, ring.chunks.clone());
        match chunks.back_mut() {
            Some(last) if last.len() < CHUNK => *last = last.iter().copied().chain([entry]).collect(),
            _ => chunks.push_back([entry].into()),
        }
        let mut count: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        // The last one, which is new, always stays.
        while let Some(oldest) = chunks.front().filter(|_| chunks.len() > 1)
            && (count - oldest.len() >= limits.count
                || !oldest.iter().any(|old| is_young(old, entry.at, limits)))
        {
            count -= oldest.len();
            first += 1;
            chunks.pop_front();
        }
        Keys(Some(Arc::new(Ring { first, chunks })))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The chunks with their numbers, oldest first.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = (u64, &Arc<[Entry]>)> {
        let first = self.0.as_ref().map_or(0, |ring| ring.first);
        static NONE: VecDeque<Arc<[Entry]>> = VecDeque::new();
        let chunks = self.0.as_ref().map_or(&NONE, |ring| &ring.chunks);
        chunks.iter().enumerate().map(move |(at, chunk)| (first + at as u64, chunk))
    }

    /// Memory that they take.
    pub fn bytes(&self) -> usize {
        let chunk = |chunk: &Arc<[Entry]>| 32 + size_of_val(&**chunk);
        self.0
            .as_ref()
            .map_or(0, |ring| size_of::<Ring>() + 16 + ring.chunks.iter().map(chunk).sum::<usize>())
    }

    /// Whether these are the very keys that `other` is.
    pub fn is(&self, other: &Keys) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }
}

/// A clock that was set back makes nothing old.
fn is_young(entry: &Entry, now: UnixNanos, limits: KeyLimits) -> bool {
    now.0.saturating_sub(entry.at.0) < limits.nanos
}

/// The key of a push, and how its group is to remember it.
#[derive(Clone, Copy, Debug)]
pub struct Remember {
    pub name: Fingerprint,
    pub body: Fingerprint,
    pub limits: KeyLimits,
}

impl Remember {
    /// `None` if the client named two different keys.
    pub fn new(key: PushKey, limits: KeyLimits) -> Option<Remember> {
        key.name.map(|name| Remember { name, body: key.body, limits })
    }

    pub fn known(&self, keys: &Keys, now: UnixNanos) -> Known {
        keys.find(self.name, self.body, now, self.limits)
    }

    /// `keys` and this one, which was merged at `now`.
    pub fn added(&self, keys: &Keys, now: UnixNanos) -> Keys {
        keys.with(Entry { name: self.name, body: self.body, at: now }, self.limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64) -> Fingerprint {
        let mut name = Fingerprint::default();
        name[..8].copy_from_slice(&number.to_le_bytes());
        name
    }

    fn entry(number: u64) -> Entry {
        Entry { name: name(number), body: name(number), at: UnixNanos(1000 + number) }
    }

    #[test]
    fn the_last_keys_are_known_for_a_while() {
        let limits = KeyLimits { count: 100, nanos: 500 };
        let mut keys = Keys::default();
        for number in 0..1000 {
            let now = UnixNanos(1000 + number);
            assert_eq!(keys.find(name(number), name(number), now, limits), Known::New);
            keys = keys.with(entry(number), limits);
            assert_eq!(keys.find(name(number), name(number), now, limits), Known::Replayed);
            assert_eq!(keys.find(name(number), name(0xffff), now, limits), Known::Reused);
            let oldest = number.saturating_sub(99);
            assert_eq!(keys.find(name(oldest), name(oldest), now, limits), Known::Replayed);
            if oldest > 0 {
                assert_eq!(keys.find(name(oldest - 1), name(oldest - 1), now, limits), Known::New);
            }
            assert!(keys.chunks().map(|(_, chunk)| chunk.len()).sum::<usize>() < 100 + CHUNK);
        }
        let later = UnixNanos(1999 + 499);
        assert_eq!(keys.find(name(999), name(999), later, limits), Known::Replayed);
        assert_eq!(keys.find(name(998), name(998), later, limits), Known::New);
        // Old ones go with the next push.
        let keys = keys.with(Entry { at: UnixNanos(9000), ..entry(1000) }, limits);
        assert_eq!(keys.chunks().len(), 1);
        assert_eq!(keys.chunks().next().unwrap().0, 15);
        assert!(keys.bytes() < CHUNK * size_of::<Entry>() + 200);
    }

    #[test]
    fn they_come_back_as_they_were() {
        let mut keys = Keys::default();
        for number in 0..200 {
            keys = keys.with(entry(number), KeyLimits::default());
        }
        let chunks: Vec<_> = keys.chunks().map(|(_, chunk)| chunk.clone()).collect();
        let back = Keys::restored(0, chunks.clone()).unwrap();
        assert_eq!(back.find(name(7), name(7), UnixNanos(1300), KeyLimits::default()), Known::Replayed);
        assert!(Keys::restored(0, Vec::new()).is_none());
        assert!(Keys::restored(0, vec![chunks[3].clone(), chunks[0].clone()]).is_none());
    }
}

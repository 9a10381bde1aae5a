//! Keyed hashing for the store. The key is random for each process, since names, labels and grouping
//! keys are chosen by whoever pushes.

use std::hash::BuildHasher;

pub use rapidhash::quality::GlobalState as Hashing;

/// Hashes bytes.
pub fn of_bytes(bytes: &[u8]) -> u64 {
    Hashing::default().hash_one(bytes)
}

/// Hashes one label. The hash of a label set is the wrapping sum of its labels' hashes, so that the
/// sets of a series, of its group and of a part of either can be put together and taken apart.
pub fn of_label(name: &str, value: &str) -> u64 {
    Hashing::default().hash_one((name, value))
}

/// A map keyed by this process' hashing.
pub type Map<K, V> = std::collections::HashMap<K, V, Hashing>;

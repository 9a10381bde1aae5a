//! Counts of requests by handler, method and status code, one table per worker.
//!
//! An open-addressed table of atomics: the first request of a kind claims an entry by one
//! compare-and-swap, each further one is a probe and an addition. Entries are never given back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The handlers of the reference, under the names it counts them by, and ours.
const HANDLERS: [&str; 16] = [
    "push",
    "delete",
    "status",
    "static",
    "healthy",
    "ready",
    "api/v1/status",
    "api/v1/metrics",
    "api/v1/options",
    "wipe",
    "group",
    "form",
    "api/v1/groups",
    "api/v1/group",
    "api/v1/rejections",
    "api/v1/limits",
];

/// The methods with a name of their own; all others are counted as one.
const METHODS: [&str; 10] =
    ["get", "put", "post", "delete", "head", "options", "patch", "connect", "trace", "notify"];

/// Far more than there are combinations in use: most handlers know one method and two status codes.
const ENTRIES: usize = 512;

pub struct RequestCounts {
    entries: Box<[Entry]>,
}

#[derive(Default)]
struct Entry {
    /// Handler, method and code packed; zero while the entry is free, which no code makes it.
    key: AtomicU32,
    count: AtomicU64,
}

impl Default for RequestCounts {
    fn default() -> RequestCounts {
        RequestCounts { entries: (0..ENTRIES).map(|_| Entry::default()).collect() }
    }
}

impl RequestCounts {
    /// Counts one request. `method` is in lower case. If the table is full, a request of a new kind is
    /// not counted.
    pub fn count(&self, handler: &str, method: &str, code: u16) {
        let key = (position(&HANDLERS, handler) << 24) | (position(&METHODS, method) << 16) | u32::from(code);
        let start = key.wrapping_mul(0x9e37_79b1) as usize >> 16;
        for step in 0..ENTRIES {
            let entry = &self.entries[(start + step) % ENTRIES];
            let mut found = entry.key.load(Ordering::Relaxed);
            if found == 0 {
                let claim = entry.key.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
                found = claim.map_or_else(|other| other, |_| key);
            }
            if found == key {
                entry.count.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Adds all counts to `sums`, which is keyed by code, handler and method.
    pub fn add_to(&self, sums: &mut BTreeMap<(u16, &'static str, &'static str), u64>) {
        for entry in &self.entries {
            let key = entry.key.load(Ordering::Relaxed);
            let count = entry.count.load(Ordering::Relaxed);
            // An entry just claimed may not have its first request counted yet.
            if count > 0 {
                let handler = HANDLERS.get((key >> 24) as usize).unwrap_or(&"unknown");
                let method = METHODS.get((key >> 16 & 0xff) as usize).unwrap_or(&"unknown");
                *sums.entry(((key & 0xffff) as u16, handler, method)).or_default() += count;
            }
        }
    }
}

fn position(names: &[&str], name: &str) -> u32 {
    names.iter().position(|known| *known == name).unwrap_or(names.len()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_kind() {
        let counts = RequestCounts::default();
        counts.count("push", "put", 200);
        counts.count("push", "put", 200);
        counts.count("push", "put", 400);
        counts.count("api/v1/metrics", "get", 200);
        counts.count("push", "brew", 418);
        let mut sums = BTreeMap::new();
        counts.add_to(&mut sums);
        counts.add_to(&mut sums);
        let expect = [
            ((200, "api/v1/metrics", "get"), 2),
            ((200, "push", "put"), 4),
            ((400, "push", "put"), 2),
            ((418, "push", "unknown"), 2),
        ];
        assert_eq!(sums.into_iter().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_full_table_still_counts_what_it_knows() {
        let counts = RequestCounts::default();
        for code in 1..=ENTRIES as u16 + 5 {
            counts.count("push", "put", code);
        }
        counts.count("push", "put", 1);
        let mut sums = BTreeMap::new();
        counts.add_to(&mut sums);
        assert_eq!(sums.len(), ENTRIES);
        assert_eq!(sums[&(1, "push", "put")], 2);
    }
}

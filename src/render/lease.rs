//! What holds an old exposition in memory while a scraper takes its time.
//!
//! An answer that is being written keeps the slices of its rendering alive. The renderer counts
//! them by the lease that goes with each answer, and revokes the oldest when they and the segments kept
//! ready are over the limit; whoever writes the answer then ends that connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Goes with one answer until it is written.
#[derive(Debug, Default)]
pub struct Lease(AtomicBool);

impl Lease {
    /// Whether the answer takes too long and its memory is wanted back.
    pub fn is_revoked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A lease is like no other.
impl PartialEq for Lease {
    fn eq(&self, other: &Lease) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Lease {}

/// The answers being written, oldest first.
#[derive(Debug, Default)]
pub struct Leases {
    out: Vec<(Weak<Lease>, usize)>,
}

impl Leases {
    /// A lease for an answer of `bytes`.
    pub fn grant(&mut self, bytes: usize) -> Arc<Lease> {
        let lease = Arc::new(Lease::default());
        self.out.push((Arc::downgrade(&lease), bytes));
        lease
    }

    /// Revokes the oldest leases until those left hold at most `bytes_max`; returns how many it revoked.
    pub fn shrink_to(&mut self, bytes_max: usize) -> usize {
        self.out.retain(|(lease, _)| lease.strong_count() > 0);
        let mut held: usize = self.out.iter().map(|(_, bytes)| bytes).sum();
        let mut revoked = 0;
        while held > bytes_max {
            let (lease, bytes) = self.out.remove(0);
            held -= bytes;
            if let Some(lease) = lease.upgrade() {
                lease.0.store(true, Ordering::Relaxed);
                revoked += 1;
            }
        }
        revoked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answers_give_way() {
        let mut leases = Leases::default();
        let [one, two, three] = [10, 20, 30].map(|bytes| leases.grant(bytes));
        assert_eq!(leases.shrink_to(60), 0);
        drop(two);
        assert_eq!(leases.shrink_to(40), 0, "what is written counts no more");
        assert_eq!(leases.shrink_to(39), 1);
        assert!(one.is_revoked() && !three.is_revoked());
        assert_eq!(leases.shrink_to(0), 1);
        assert!(three.is_revoked());
    }
}

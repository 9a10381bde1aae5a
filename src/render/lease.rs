//! What holds an old exposition in memory while a scraper takes its time.
//!
//! An answer that is being written keeps the slices of its rendering alive. The renderer counts
//! them by the lease that goes with each answer, and revokes the oldest when they and the segments kept
//! ready are over the limit; whoever writes the answer then ends that connection.
//!
//! The last answer under a lease sends the slices home to the renderer. Giving back the memory of a large
//! exposition takes milliseconds, which no worker should spend; and text that nobody else holds is written
//! over by the next rendering.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak, mpsc};

use super::renderer::Message;
use super::slices::Slices;

/// Goes with one answer until it is written.
#[derive(Debug)]
pub struct Lease {
    is_revoked: AtomicBool,
    slices: Slices,
    home: mpsc::Sender<Message>,
}

impl Lease {
    /// Whether the answer takes too long and its memory is wanted back.
    pub fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Without a renderer, at the end of the process, they are freed here.
        let _ = self.home.send(Message::Written(std::mem::take(&mut self.slices)));
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
    /// A lease for answers of these `slices`, which `home` is sent at the end.
    pub fn grant(&mut self, slices: Slices, home: mpsc::Sender<Message>) -> Arc<Lease> {
        let bytes = slices.bytes();
        let lease = Arc::new(Lease { is_revoked: AtomicBool::new(false), slices, home });
        self.out.push((Arc::downgrade(&lease), bytes));
        lease
    }

    /// Revokes the oldest leases until those left hold at most `bytes_max`, but never the newest, or an
    /// exposition over the limit could not be scraped at all; returns how many it revoked.
    pub fn shrink_to(&mut self, bytes_max: usize) -> usize {
        self.out.retain(|(lease, _)| lease.strong_count() > 0);
        let mut held: usize = self.out.iter().map(|(_, bytes)| bytes).sum();
        let mut revoked = 0;
        while held > bytes_max && self.out.len() > 1 {
            let (lease, bytes) = self.out.remove(0);
            held -= bytes;
            if let Some(lease) = lease.upgrade() {
                lease.is_revoked.store(true, Ordering::Relaxed);
                revoked += 1;
            }
        }
        revoked
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn slices(bytes: usize) -> Slices {
        vec![Bytes::from(vec![b'x'; bytes])].into()
    }

    #[test]
    fn the_oldest_answers_give_way() {
        let (home, _renderer) = mpsc::channel();
        let mut leases = Leases::default();
        let [one, two, three] = [10, 20, 30].map(|bytes| leases.grant(slices(bytes), home.clone()));
        assert_eq!(leases.shrink_to(60), 0);
        drop(two);
        assert_eq!(leases.shrink_to(40), 0, "what is written counts no more");
        assert_eq!(leases.shrink_to(39), 1);
        assert!(one.is_revoked() && !three.is_revoked());
        assert_eq!(leases.shrink_to(0), 0);
        assert!(!three.is_revoked(), "the newest is always served");
    }

    #[test]
    fn the_last_answer_sends_the_slices_home() {
        let (home, renderer) = mpsc::channel();
        let one = Leases::default().grant(slices(5), home);
        let other = one.clone();
        drop(one);
        assert!(renderer.try_recv().is_err());
        drop(other);
        let Ok(Message::Written(slices)) = renderer.try_recv() else { panic!("the slices are lost") };
        assert_eq!(slices.bytes(), 5);
    }
}

//! What holds an old exposition in memory while a scraper takes its time.
//!
//! An answer that is being written keeps the slices of its rendering alive. The renderer counts
//! them by the lease that goes with each answer, each slice once however many renderings share it. When they
//! are over the limit it revokes leases, first those whose scrapers take least for the time they had, so that
//! whoever reads as fast as it can is not cut for the sake of those who do not; whoever writes the answer
//! then ends that connection.
//!
//! The last answer under a lease sends the slices home to the renderer. Giving back the memory of a large
//! exposition takes milliseconds, which no worker should spend; and text that nobody else holds is written
//! over by the next rendering.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::renderer::Message;
use super::slices::Slices;

/// An answer younger than this is not judged by how much of it was taken.
const GRACE: Duration = Duration::from_secs(1);

/// Goes with one answer until it is written.
#[derive(Debug)]
pub struct Lease {
    is_revoked: AtomicBool,
    /// Bytes that scrapers took.
    taken: AtomicU64,
    slices: Slices,
    home: mpsc::Sender<Message>,
}

impl Lease {
    /// Whether the answer takes too long and its memory is wanted back.
    pub fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Relaxed)
    }

    /// Notes that a scraper took so many bytes more.
    pub fn note_taken(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Without a renderer, at the end of the process, they are freed here.
        let _ = self.home.send(Message::Written(std::mem::take(&mut self.slices), self.is_revoked()));
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
    out: Vec<(Weak<Lease>, Instant)>,
    /// How many leases hold the slice of an address and length.
    holders: HashMap<(usize, usize), usize>,
    /// The bytes of those slices.
    held: usize,
}

impl Leases {
    /// A lease for answers of these `slices`, which `home` is sent at the end.
    pub fn grant(&mut self, slices: Slices, home: mpsc::Sender<Message>, now: Instant) -> Arc<Lease> {
        for slice in slices.list() {
            let holders = self.holders.entry(place(slice)).or_default();
            *holders += 1;
            self.held += if *holders == 1 { slice.len() } else { 0 };
        }
        let (is_revoked, taken) = (AtomicBool::new(false), AtomicU64::new(0));
        let lease = Arc::new(Lease { is_revoked, taken, slices, home });
        self.out.push((Arc::downgrade(&lease), now));
        lease
    }

    /// Counts the slices of a lease no more: they came home, or soon will.
    pub fn give_back(&mut self, slices: &Slices) {
        for slice in slices.list() {
            if let Some(holders) = self.holders.get_mut(&place(slice)) {
                *holders -= 1;
                if *holders == 0 {
                    self.holders.remove(&place(slice));
                    self.held -= slice.len();
                }
            }
        }
    }

    /// Revokes leases until those left hold at most `bytes_max`, but never the newest, or an
    /// exposition over the limit could not be scraped at all; returns how many it revoked.
    pub fn shrink_to(&mut self, bytes_max: usize, now: Instant) -> usize {
        self.out.retain(|(lease, _)| lease.strong_count() > 0);
        if self.held <= bytes_max {
            return 0;
        }
        let newest = self.out.pop();
        let mut victims: Vec<_> = self
            .out
            .drain(..)
            .filter_map(|(lease, granted)| Some((lease.upgrade()?, granted)))
            .map(|(lease, granted)| (pace(&lease, now.duration_since(granted)), lease, granted))
            .collect();
        // Stable: of two that are alike the older goes first.
        victims.sort_by_key(|(pace, ..)| *pace);
        let mut revoked = 0;
        victims.retain(|(_, lease, _)| {
            if self.held <= bytes_max {
                return true;
            }
            self.give_back(&lease.slices);
            lease.is_revoked.store(true, Ordering::Relaxed);
            revoked += 1;
            false
        });
        victims.sort_by_key(|(.., granted)| *granted);
        self.out.extend(victims.iter().map(|(_, lease, granted)| (Arc::downgrade(lease), *granted)));
        self.out.extend(newest);
        revoked
    }
}

/// What tells a slice from all others that are held at the same time.
fn place(slice: &Bytes) -> (usize, usize) {
    (slice.as_ptr() as usize, slice.len())
}

/// Bytes taken per second; of a young answer nothing can be said, and the others go before it.
fn pace(lease: &Lease, age: Duration) -> u64 {
    if age < GRACE {
        return u64::MAX;
    }
    let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    lease.taken.load(Ordering::Relaxed).saturating_mul(1000) / millis
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(bytes: usize) -> Slices {
        vec![Bytes::from(vec![b'x'; bytes])].into()
    }

    #[test]
    fn the_oldest_answers_give_way() {
        let (home, _renderer) = mpsc::channel();
        let mut leases = Leases::default();
        let now = Instant::now();
        let [one, two, three] = [10, 20, 30].map(|bytes| leases.grant(slices(bytes), home.clone(), now));
        assert_eq!(leases.shrink_to(60, now), 0);
        leases.give_back(&two.slices);
        drop(two);
        assert_eq!(leases.shrink_to(40, now), 0, "what is written counts no more");
        assert_eq!(leases.shrink_to(39, now), 1);
        assert!(one.is_revoked() && !three.is_revoked());
        assert_eq!(leases.shrink_to(0, now), 0);
        assert!(!three.is_revoked(), "the newest is always served");
    }

    #[test]
    fn those_who_read_go_on() {
        let (home, _renderer) = mpsc::channel();
        let mut leases = Leases::default();
        let then = Instant::now();
        let [reader, idler, dripper] =
            [10, 10, 10].map(|bytes| leases.grant(slices(bytes), home.clone(), then));
        reader.note_taken(9);
        dripper.note_taken(1);
        let now = then + GRACE;
        let [young, newest] = [10, 10].map(|bytes| leases.grant(slices(bytes), home.clone(), now));
        assert_eq!(leases.shrink_to(40, now), 1);
        assert!(idler.is_revoked());
        assert_eq!(leases.shrink_to(30, now), 1);
        assert!(dripper.is_revoked());
        assert_eq!(leases.shrink_to(20, now), 1);
        assert!(reader.is_revoked());
        assert_eq!(leases.shrink_to(10, now), 1);
        assert!(young.is_revoked() && !newest.is_revoked());
    }

    #[test]
    fn what_renderings_share_counts_once() {
        let (home, _renderer) = mpsc::channel();
        let mut leases = Leases::default();
        let now = Instant::now();
        let (quiet, busy) = (Bytes::from(vec![b'q'; 100]), |text: u8| Bytes::from(vec![text; 10]));
        let held: Vec<_> = (0..5u8)
            .map(|text| leases.grant(vec![quiet.clone(), busy(text)].into(), home.clone(), now))
            .collect();
        assert_eq!(leases.shrink_to(150, now), 0);
        assert_eq!(leases.shrink_to(149, now), 1);
        assert!(held[0].is_revoked() && !held[1].is_revoked());
    }

    #[test]
    fn the_last_answer_sends_the_slices_home() {
        let (home, renderer) = mpsc::channel();
        let one = Leases::default().grant(slices(5), home, Instant::now());
        let other = one.clone();
        drop(one);
        assert!(renderer.try_recv().is_err());
        drop(other);
        let Ok(Message::Written(slices, false)) = renderer.try_recv() else { panic!("the slices are lost") };
        assert_eq!(slices.bytes(), 5);
    }
}

//! One copy of a thing per worker, far enough apart that counting never makes cores wait for each other.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Copies of `T` that threads share as little as possible. All access is by `&T`, so `T` must count
/// right even when two threads do share one.
pub struct PerWorker<T> {
    /// A power of two of them.
    slots: Box<[Padded<T>]>,
}

/// Two cache lines, because processors fetch them in pairs.
#[repr(align(128))]
struct Padded<T>(T);

static THREADS_SEEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The number of this thread among those that ever counted something.
    static THREAD: usize = THREADS_SEEN.fetch_add(1, Ordering::Relaxed);
}

impl<T: Default> PerWorker<T> {
    /// Room for `workers` threads without sharing, and one more for those that count now and then.
    pub fn new(workers: usize) -> PerWorker<T> {
        let slots = (0..(workers + 1).next_power_of_two()).map(|_| Padded(T::default()));
        PerWorker { slots: slots.collect() }
    }
}

impl<T> PerWorker<T> {
    /// This thread's copy. A thread that is being torn down may get another's.
    pub fn mine(&self) -> &T {
        let thread = THREAD.try_with(|thread| *thread).unwrap_or(0);
        &self.slots[thread & (self.slots.len() - 1)].0
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().map(|slot| &slot.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_do_not_share() {
        let per_worker = PerWorker::<AtomicUsize>::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| per_worker.mine().fetch_add(1, Ordering::Relaxed));
            }
        });
        assert_eq!(per_worker.iter().map(|n| n.load(Ordering::Relaxed)).sum::<usize>(), 4);
        assert_eq!(per_worker.iter().count(), 4);
        let first: *const AtomicUsize = per_worker.mine();
        assert!(std::ptr::eq(first, per_worker.mine()));
        assert_eq!(first.addr() % 128, 0);
    }
}

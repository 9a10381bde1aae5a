//! A value that any thread reads without waiting and replaces without locking, until it is sealed.
//!
//! # Invariants
//!
//! 1. The pointer is never null. It is destroyed only by `defer_destroy` after its replacement, or by
//!    `Drop`, which has exclusive access.
//! 2. A sealed value is never replaced again: the seal is a tag on the pointer itself, so the
//!    compare-and-swap of a writer that read it before the seal fails.
//! 3. No guard leaves this file, so none can live across an `.await`.

use std::sync::atomic::Ordering;

use crossbeam_epoch::{self as epoch, Atomic, Owned};

/// The tag of a sealed pointer.
const SEALED: usize = 1;

/// The value was sealed: whoever wants to write starts again from the map.
#[derive(Debug, PartialEq, Eq)]
pub struct Sealed;

/// What a writer decides after looking at the newest value.
pub enum Next<T, R> {
    /// Publish this value and return `R`.
    Publish(T, R),
    /// Leave things as they are and return `R`.
    Keep(R),
}

pub struct Published<T> {
    current: Atomic<T>,
}

impl<T: Send + Sync + 'static> Published<T> {
    pub fn new(value: T) -> Published<T> {
        Published { current: Atomic::new(value) }
    }

    /// Shows the newest value to `look`, and whether it is sealed. The epoch is pinned only for the
    /// length of this call.
    pub fn read<R>(&self, look: impl FnOnce(&T, bool) -> R) -> R {
        let guard = epoch::pin();
        let current = self.current.load(Ordering::Acquire, &guard);
        // SAFETY: Not null, by invariant 1. A value replaced while we look at it is destroyed only
        // after every guard pinned before the exchange, ours included, is gone.
        look(unsafe { current.deref() }, current.tag() == SEALED)
    }

    /// Makes what `next` decides of the newest value the newest value.
    ///
    /// `next` runs again when another thread got there first, so it must have no effects of its own.
    ///
    /// # Errors
    ///
    /// The value is sealed; nothing was published.
    pub fn update<R>(&self, mut next: impl FnMut(&T) -> Next<T, R>) -> Result<R, Sealed> {
        let guard = epoch::pin();
        let mut current = self.current.load(Ordering::Acquire, &guard);
        loop {
            if current.tag() == SEALED {
                return Err(Sealed);
            }
            // SAFETY: As in `read`.
            let (value, result) = match next(unsafe { current.deref() }) {
                Next::Keep(result) => return Ok(result),
                Next::Publish(value, result) => (value, result),
            };
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match self.current.compare_exchange(current, Owned::new(value), success, failure, &guard) {
                Ok(_) => {
                    // SAFETY: Our exchange took the only shared path to `current`: no later reader can
                    // find it, and no other thread can retire it a second time.
                    unsafe { guard.defer_destroy(current) };
                    return Ok(result);
                }
                Err(lost) => current = lost.current,
            }
        }
    }

    /// Seals the newest value if `look` returns something for exactly this value; returns what the last
    /// `look` returned.
    ///
    /// # Errors
    ///
    /// Somebody else sealed it before.
    pub fn seal<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> Result<Option<R>, Sealed> {
        let guard = epoch::pin();
        let mut current = self.current.load(Ordering::Acquire, &guard);
        loop {
            if current.tag() == SEALED {
                return Err(Sealed);
            }
            // SAFETY: As in `read`.
            let Some(result) = look(unsafe { current.deref() }) else { return Ok(None) };
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match self.current.compare_exchange(current, current.with_tag(SEALED), success, failure, &guard) {
                Ok(_) => return Ok(Some(result)),
                Err(lost) => current = lost.current,
            }
        }
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        let current = std::mem::replace(&mut self.current, Atomic::null());
        // SAFETY: `&mut self` proves that no reader or writer is left, and the pointer is not null, by
        // invariant 1.
        drop(unsafe { current.into_owned() });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts the values that are alive.
    struct Counted<'a>(u64, &'a AtomicUsize);

    impl<'a> Counted<'a> {
        fn new(value: u64, alive: &'a AtomicUsize) -> Self {
            alive.fetch_add(1, Ordering::Relaxed);
            Counted(value, alive)
        }
    }

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.1.fetch_sub(1, Ordering::Relaxed);
        }
    }

    static ALIVE: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn no_update_is_lost_and_readers_never_go_back() {
        let rounds = if cfg!(miri) { 30 } else { 5_000 };
        let published = Published::new(Counted::new(0, &ALIVE));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        published.update(|v| Next::Publish(Counted::new(v.0 + 1, &ALIVE), ())).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                let mut last = 0;
                for _ in 0..rounds {
                    let seen = published.read(|v, _| v.0);
                    assert!(seen >= last);
                    last = seen;
                }
            });
        });
        assert_eq!(published.read(|v, _| v.0), 4 * rounds);
    }

    #[test]
    fn a_sealed_value_stays_as_it_is() {
        let published = Published::new(1);
        assert_eq!(published.update(|v| Next::<_, i32>::Keep(*v)), Ok(1));
        assert_eq!(published.seal(|_| None::<i32>), Ok(None));
        assert_eq!(published.seal(|v| Some(*v)), Ok(Some(1)));
        assert_eq!(published.seal(|v| Some(*v)), Err(Sealed));
        assert_eq!(published.update(|v| Next::Publish(v + 1, ())), Err(Sealed));
        assert_eq!(published.read(|v, sealed| (*v, sealed)), (1, true));
    }

    #[test]
    fn exactly_one_thread_seals_and_nothing_is_published_after() {
        let rounds = if cfg!(miri) { 5 } else { 500 };
        for _ in 0..rounds {
            let published = Published::new(0u64);
            let (sealed_at, seals) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                scope.spawn(|| while published.update(|v| Next::Publish(v + 1, ())).is_ok() {});
                for _ in 0..2 {
                    scope.spawn(|| {
                        if let Ok(Some(value)) = published.seal(|v| Some(*v)) {
                            sealed_at.store(value as usize, Ordering::SeqCst);
                            seals.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            });
            assert_eq!(seals.load(Ordering::SeqCst), 1);
            assert_eq!(published.read(|v, _| *v as usize), sealed_at.load(Ordering::SeqCst));
        }
    }
}

//! The atomic words of shared state, each decided by one compare-and-swap.
//!
//! A word that was given up is given up for good: whoever meets it goes back to the map and finds, or
//! puts there, another one. So nothing that a call was told it did is lost with an entry that leaves.
//! Every interleaving is run by `tests/loom`.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

/// A signalling NaN that no calculation makes: the number is being replaced by something that is none.
const FROZEN: u64 = 0x7ff4_dead_dead_dead;

/// The word has left the map, or is about to.
const GONE: u64 = u64::MAX;

/// Reads and changes a word until the change takes; `None` of `next` leaves it as it is.
fn change(word: &AtomicU64, mut next: impl FnMut(u64) -> Option<u64>) -> Result<u64, u64> {
    let mut bits = word.load(Ordering::Acquire);
    loop {
        let Some(to) = next(bits) else { return Err(bits) };
        match word.compare_exchange_weak(bits, to, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(bits),
            Err(found) => bits = found,
        }
    }
}

/// A number that many threads change. It can be frozen once, to become something that is no number
/// without losing what came before.
#[derive(Debug)]
pub struct Number(AtomicU64);

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Changed {
    To(f64),
    /// The number is another than the one asked for.
    Not,
    /// Its replacement is under way in another thread: look into the map again.
    Frozen,
}

fn bits_of(number: f64) -> u64 {
    // One form for all that is no number, which is not `FROZEN`.
    if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() }
}

impl Number {
    pub fn new(number: f64) -> Number {
        Number(AtomicU64::new(bits_of(number)))
    }

    /// The number; `None` if it is frozen.
    pub fn get(&self) -> Option<f64> {
        let bits = self.0.load(Ordering::Acquire);
        (bits != FROZEN).then(|| f64::from_bits(bits))
    }

    /// Makes it what `next` makes of it.
    pub fn change(&self, next: impl Fn(f64) -> Option<f64>) -> Changed {
        let mut to = 0.0;
        let changed = change(&self.0, |bits| {
            if bits == FROZEN {
                return None;
            }
            to = next(f64::from_bits(bits))?;
            Some(bits_of(to))
        });
        match changed {
            Ok(_) => Changed::To(to),
            Err(FROZEN) => Changed::Frozen,
            Err(_) => Changed::Not,
        }
    }

    /// Takes it out of use if it is what `is_it` asks for; gives the last number.
    pub fn freeze(&self, is_it: impl Fn(f64) -> bool) -> Changed {
        let frozen =
            change(&self.0, |bits| (bits != FROZEN && is_it(f64::from_bits(bits))).then_some(FROZEN));
        match frozen {
            Ok(bits) => Changed::To(f64::from_bits(bits)),
            Err(FROZEN) => Changed::Frozen,
            Err(_) => Changed::Not,
        }
    }
}

/// A token bucket as the time at which it will be full again (GCRA), in nanoseconds.
#[derive(Debug)]
pub struct Pace(AtomicU64);

/// What came of taking tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    Yes,
    /// Not enough: nanoseconds until there will be.
    Short(u64),
    /// The bucket was full and has been forgotten.
    Gone,
}

impl Pace {
    /// A bucket that was full at `now` before tokens worth `cost` were taken.
    pub fn begun(now: u64, cost: u64) -> Pace {
        Pace(AtomicU64::new(now.saturating_add(cost).min(GONE - 1)))
    }

    /// Takes tokens worth `cost`, where those of a full bucket are worth `span`.
    pub fn take(&self, now: u64, cost: u64, span: u64) -> Took {
        let end = now.saturating_add(span);
        let next = |full: u64| full.max(now).saturating_add(cost).min(GONE - 1);
        match change(&self.0, |full| (full != GONE && next(full) <= end).then(|| next(full))) {
            Ok(_) => Took::Yes,
            Err(GONE) => Took::Gone,
            Err(full) => Took::Short(next(full) - end),
        }
    }

    /// Nanoseconds until the bucket is full.
    pub fn until_full(&self, now: u64) -> u64 {
        match self.0.load(Ordering::Acquire) {
            GONE => 0,
            full => full.saturating_sub(now),
        }
    }

    /// Gives up a bucket that is full, which is as good as none.
    pub fn forget(&self, now: u64) -> bool {
        change(&self.0, |full| (full != GONE && full <= now).then_some(GONE)).is_ok()
    }

    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == GONE
    }

    /// A word of its own that says the same; `None` if this one was given up.
    pub fn copy(&self) -> Option<Pace> {
        let full = self.0.load(Ordering::Acquire);
        (full != GONE).then(|| Pace(AtomicU64::new(full)))
    }
}

/// When something was last used, in steps of time; it can be given up once it was not used for long.
#[derive(Debug)]
pub struct LastUse(AtomicU64);

impl LastUse {
    pub fn new(step: u64) -> LastUse {
        LastUse(AtomicU64::new(step))
    }

    /// Notes a use; false if it was given up.
    pub fn touch(&self, step: u64) -> bool {
        // A load is enough where nothing changes: who gives it up changes it.
        match self.0.load(Ordering::Acquire) {
            GONE => false,
            last if last >= step => true,
            _ => change(&self.0, |last| (last != GONE).then(|| last.max(step))).is_ok(),
        }
    }

    /// Gives it up if it was not used in step `oldest` or since.
    pub fn forget(&self, oldest: u64) -> bool {
        change(&self.0, |last| (last != GONE && last < oldest).then_some(GONE)).is_ok()
    }

    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == GONE
    }

    /// A word of its own that says the same; `None` if this one was given up.
    pub fn copy(&self) -> Option<LastUse> {
        let last = self.0.load(Ordering::Acquire);
        (last != GONE).then(|| LastUse(AtomicU64::new(last)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_number_stays_as_it_is() {
        let number = Number::new(2.0);
        assert_eq!(number.change(|n| Some(n + 1.0)), Changed::To(3.0));
        assert_eq!(number.change(|_| None), Changed::Not);
        assert_eq!(number.freeze(|n| n == 2.0), Changed::Not);
        assert_eq!(number.freeze(|n| n == 3.0), Changed::To(3.0));
        assert_eq!(number.change(|n| Some(n + 1.0)), Changed::Frozen);
        assert_eq!((number.freeze(|_| true), number.get()), (Changed::Frozen, None));
        let nan = Number::new(f64::from_bits(FROZEN));
        assert!(nan.get().unwrap().is_nan());
    }

    #[test]
    fn tokens_come_back_with_time() {
        let pace = Pace::begun(100, 10);
        assert_eq!(pace.until_full(100), 10);
        assert_eq!(pace.take(100, 10, 20), Took::Yes);
        assert_eq!(pace.take(100, 10, 20), Took::Short(10));
        assert_eq!(pace.take(110, 10, 20), Took::Yes);
        assert_eq!(pace.take(0, u64::MAX, u64::MAX), Took::Yes);
        assert!(!pace.forget(1000) && !pace.is_gone());
        let pace = Pace::begun(100, 10);
        assert!(!pace.forget(109) && pace.forget(110) && pace.is_gone());
        assert_eq!((pace.take(110, 1, 20), pace.until_full(0)), (Took::Gone, 0));
    }

    #[test]
    fn what_is_in_use_is_not_given_up() {
        let last = LastUse::new(3);
        assert!(!last.forget(3) && last.touch(5) && last.touch(4) && !last.forget(5));
        assert!(last.forget(6) && last.is_gone() && !last.touch(7) && !last.forget(8));
    }
}

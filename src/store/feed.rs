//! Which groups changed, for each reader that follows the store.
//!
//! A feed names changed groups; it does not queue pushes. Each group carries one [`Mark`] per reader,
//! so a queue holds a group about once, however often it is pushed (twice where two pushes meet in the
//! instant of linking, which is harmless).
//!
//! # Protocol
//!
//! A writer publishes its state, then notes the group. The reader takes an entry, clears the mark and
//! only *then* loads the state. Both touch the mark by read-modify-write, so one of the two holds: the
//! writer came first and the reader sees its state, or the reader came first and the writer finds the
//! mark clear and queues the group anew.
//!
//! Between marking a group and linking it into the queue there is a gap. A second writer that answered
//! its client in that gap would have been acknowledged without being on the queue; so whoever finds
//! the mark in that state queues the group as well. The mark carries a round, raised by each clearing,
//! so that a slow writer never declares a later writer's entry linked.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

/// Set from the moment that some writer is about to queue the group.
const LINKING: u64 = 1;
/// Set once an entry of this round is in the queue.
const QUEUED: u64 = 2;
/// Rounds count from here up.
const ROUND: u64 = 4;

/// A group's place on one reader's feed.
#[derive(Debug)]
pub struct Mark(AtomicU64);

impl Default for Mark {
    fn default() -> Mark {
        Mark(AtomicU64::new(0))
    }
}

impl Mark {
    /// Called by a writer after publishing; `queue` adds the group to the reader's queue.
    pub fn note(&self, queue: impl FnOnce()) {
        let before = self.0.fetch_or(LINKING, Ordering::AcqRel);
        if before & QUEUED != 0 {
            return;
        }
        queue();
        let linking = before | LINKING;
        // Fails if the reader cleared the mark meanwhile or another writer was faster: both are fine.
        let _ = self.0.compare_exchange(linking, linking | QUEUED, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Called by the reader after taking the group from its queue and before loading its state.
    pub fn clear(&self) {
        // Only the reader raises the round, so the round read here is still the newest at the swap.
        let round = self.0.load(Ordering::Relaxed) / ROUND;
        self.0.swap((round + 1) * ROUND, Ordering::AcqRel);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_queued_once_per_clearing() {
        let mark = Mark::default();
        let mut queued = 0;
        for _ in 0..3 {
            mark.note(|| queued += 1);
        }
        assert_eq!(queued, 1);
        mark.clear();
        mark.note(|| queued += 1);
        mark.note(|| queued += 1);
        assert_eq!(queued, 2);
    }

    #[test]
    fn a_writer_in_the_gap_queues_as_well() {
        let mark = Mark::default();
        let mut queued = 0;
        mark.note(|| mark.note(|| queued += 1));
        assert_eq!(queued, 1);
    }

    #[test]
    fn a_slow_writer_does_not_declare_a_later_entry_linked() {
        let mark = Mark::default();
        let mut queued = 0;
        // The first writer's entry is taken and cleared before it says so; a second writer is in its gap.
        mark.note(|| {
            mark.clear();
            mark.0.fetch_or(LINKING, Ordering::AcqRel);
        });
        mark.note(|| queued += 1);
        assert_eq!(queued, 1, "the third writer must not rely on an entry that is not linked yet");
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::sync::{Arc, Mutex};

    use super::Mark;

    #[derive(Default)]
    struct Shared {
        mark: Mark,
        state: AtomicUsize,
        entries: Mutex<usize>,
    }

    impl Shared {
        fn write(&self, writer: usize) {
            self.state.fetch_or(1 << writer, Ordering::AcqRel);
            self.mark.note(|| *self.entries.lock().unwrap() += 1);
        }

        fn take(&self) -> bool {
            let mut entries = self.entries.lock().unwrap();
            let any = *entries > 0;
            *entries = entries.saturating_sub(1);
            any
        }

        /// What the reader loads while emptying its queue.
        fn drain(&self) -> usize {
            let mut seen = 0;
            while self.take() {
                self.mark.clear();
                seen |= self.state.load(Ordering::Acquire);
            }
            seen
        }
    }

    /// A writer whose note has returned is seen by the drain that begins next, whatever two other
    /// writers are in the middle of and wherever an earlier drain cut in.
    #[test]
    fn what_was_noted_is_seen_by_the_next_drain() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Arc::new(Shared::default());
            let others: Vec<_> = (0..2)
                .map(|writer| {
                    let shared = shared.clone();
                    loom::thread::spawn(move || shared.write(writer))
                })
                .collect();
            let mut seen = shared.drain();
            shared.write(2);
            seen |= shared.drain();
            assert_ne!(seen & 1 << 2, 0, "an acknowledged write is missing");
            for other in others {
                other.join().unwrap();
            }
            seen |= shared.drain();
            assert_eq!(seen, 0b111);
        });
    }
}

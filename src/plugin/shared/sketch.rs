//! How many different items there were lately, in bounded memory: a few by name, many by HyperLogLog.
//!
//! Time goes in steps, and an item counts in the step of its last addition and the [`STEPS`]` - 1` after it.
//! Up to [`FEW`] items are kept by their hashes. With more, registers take over: each holds, for each of the
//! last steps, the greatest rank seen in it, and three registers share a word with the step they are of.
//! So one compare-and-swap both forgets what is old and adds what is new, and no reader clears anything.
//!
//! # Growing
//!
//! Who finds no free place for an item makes the registers and then carries over what the places hold. Who
//! puts an item into a place looks *afterwards* whether there are registers, and adds it there as well. One of
//! the two sees the other. What is counted is the greater of both counts, so nobody sees the carrying.

use std::sync::OnceLock;

#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Steps of time that count, the running one among them.
pub const STEPS: u64 = 3;

/// Items that are counted exactly.
pub const FEW: usize = if cfg!(loom) { 2 } else { 64 };

/// Registers in a word, and words. The standard error is 1.04 / sqrt(registers): 1.15 %.
const IN_WORD: u64 = 3;
const WORDS: usize = if cfg!(loom) { 1 } else { 2731 };
const REGISTERS: u64 = WORDS as u64 * IN_WORD;

/// Bits of a rank, which is capped: 2^31 times as many items as registers are enough.
const RANK_BITS: u64 = 5;
const RANK_MAX: u64 = (1 << RANK_BITS) - 1;

/// Bits of all ranks in a word, below the step.
const RANKS_BITS: u64 = RANK_BITS * STEPS * IN_WORD;
const STEP_BITS: u64 = 64 - RANKS_BITS;

/// Steps are counted modulo this; zero stands for never.
const STEP_MODULUS: u64 = (1 << STEP_BITS) - 1;

/// The step as words note it: from one up.
fn note_of(step: u64) -> u64 {
    step % STEP_MODULUS + 1
}

/// Steps by which the clocks of two threads may differ. What is noted further ahead is from long ago.
const AHEAD_MAX: u64 = 8;

/// How many steps `note` lies before `now`; a very large number for never.
fn age(note: u64, now: u64) -> u64 {
    if note == 0 {
        return u64::MAX;
    }
    let age = (note_of(now) + STEP_MODULUS - note) % STEP_MODULUS;
    // Who reads with an older clock sees what is newer as of now.
    if age >= STEP_MODULUS - AHEAD_MAX { 0 } else { age }
}

/// See the module.
#[derive(Debug)]
pub struct Sketch {
    /// The upper bits of a hash, and below them the step of its last addition.
    few: [AtomicU64; FEW],
    has_many: AtomicU32,
    many: OnceLock<Box<[AtomicU64]>>,
    /// The last estimate as float bits, and below it the step it is of; zero if there is none.
    estimate: AtomicU64,
}

const HASH_MASK: u64 = !((1 << STEP_BITS) - 1);

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch {
            few: std::array::from_fn(|_| AtomicU64::new(0)),
            has_many: AtomicU32::new(0),
            many: OnceLock::new(),
            estimate: AtomicU64::new(0),
        }
    }
}

impl Sketch {
    /// A sketch of its own in which the same items count.
    pub fn copy(&self, step: u64) -> Sketch {
        // Places first: an item that leaves them for want of room is in the registers by then.
        let few = std::array::from_fn(|at| AtomicU64::new(self.few[at].load(Ordering::SeqCst)));
        let copy = Sketch { few, ..Sketch::default() };
        fence(Ordering::SeqCst);
        if let Some(words) = self.many.get() {
            let words = words.iter().map(|word| AtomicU64::new(word.load(Ordering::Acquire)));
            copy.many.get_or_init(|| words.collect());
            // Whoever was about to carry the places over does not know of the copy.
            copy.grow(step);
        }
        copy
    }

    /// Adds an item by its hash.
    pub fn add(&self, hash: u64, step: u64) {
        if self.has_many.load(Ordering::Acquire) == 0 {
            if self.add_to_few(hash, step) {
                fence(Ordering::SeqCst);
                if self.has_many.load(Ordering::SeqCst) == 0 {
                    return;
                }
            } else {
                self.grow(step);
            }
        }
        self.add_to_many(hash, step);
    }

    /// False if all places hold other items that still count.
    fn add_to_few(&self, hash: u64, step: u64) -> bool {
        let item = hash & HASH_MASK;
        let word = item | note_of(step);
        loop {
            let mut free = None;
            let mut own = None;
            for (at, place) in self.few.iter().enumerate() {
                let found = place.load(Ordering::Acquire);
                let note = found & !HASH_MASK;
                if note != 0 && found & HASH_MASK == item {
                    own = Some((at, found));
                    break;
                }
                if free.is_none() && age(note, step) >= STEPS {
                    free = Some((at, found));
                }
            }
            let Some((at, found)) = own.or(free) else { return false };
            if own.is_some() && age(found & !HASH_MASK, step) == 0 {
                return true;
            }
            let taken = self.few[at].compare_exchange(found, word, Ordering::SeqCst, Ordering::Acquire);
            if taken.is_ok() {
                return true;
            }
        }
    }

    fn grow(&self, step: u64) {
        self.many.get_or_init(|| (0..WORDS).map(|_| AtomicU64::new(0)).collect());
        self.has_many.store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        for place in &self.few {
            let found = place.load(Ordering::SeqCst);
            let age = age(found & !HASH_MASK, step);
            if age < STEPS {
                self.add_to_many(found & HASH_MASK, step.saturating_sub(age));
            }
        }
    }

    fn add_to_many(&self, hash: u64, step: u64) {
        let Some(words) = self.many.get() else { return };
        // Places keep no more of a hash than this, and it must lead to the same register.
        let hash = hash & HASH_MASK;
        let register = ((u128::from(hash) * u128::from(REGISTERS)) >> 64) as u64;
        // The register takes the upper bits; the rank must hang on others.
        let rest = (hash >> STEP_BITS).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let rank = u64::from(mix(rest).leading_zeros() + 1).min(RANK_MAX);
        let (word, shift) = ((register / IN_WORD) as usize, register % IN_WORD * RANK_BITS * STEPS);
        let mut found = words[word].load(Ordering::Acquire);
        loop {
            let current = aged(found, step);
            // Added with an older clock than others, it goes where that clock is.
            let back = age(note_of(step), newest(current, step)).min(STEPS - 1);
            let at = shift + back * RANK_BITS;
            if (current >> at) & RANK_MAX >= rank {
                return;
            }
            let next = current & !(RANK_MAX << at) | rank << at;
            match words[word].compare_exchange_weak(found, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => found = now,
            }
        }
        self.estimate.store(0, Ordering::Release);
    }

    /// How many different items count, about.
    pub fn count(&self, step: u64) -> f64 {
        let few = self.count_few(step);
        let Some(words) = self.many.get() else { return few as f64 };
        let known = self.estimate.load(Ordering::Acquire);
        let note = step as u32;
        if known != 0 && known as u32 == note {
            return f64::from(f32::from_bits((known >> 32) as u32)).max(few as f64);
        }
        // An addition from here on takes the estimate away again.
        let blank = self.estimate.compare_exchange(known, 0, Ordering::AcqRel, Ordering::Acquire).is_ok();
        let mut ranks = [0u32; RANK_MAX as usize + 1];
        for word in words {
            let word = aged(word.load(Ordering::Acquire), step);
            for register in 0..IN_WORD {
                let of_steps = (word >> (register * RANK_BITS * STEPS)) & ((1 << (RANK_BITS * STEPS)) - 1);
                let rank = (0..STEPS).map(|back| (of_steps >> (back * RANK_BITS)) & RANK_MAX).max();
                ranks[rank.unwrap_or_default() as usize] += 1;
            }
        }
        let estimate = estimate(&ranks) as f32;
        if blank {
            let noted = u64::from(estimate.to_bits()) << 32 | u64::from(note);
            // Fails if somebody added something meanwhile.
            let _ = self.estimate.compare_exchange(0, noted, Ordering::AcqRel, Ordering::Relaxed);
        }
        f64::from(estimate).max(few as f64)
    }

    fn count_few(&self, step: u64) -> usize {
        let mut items = [0; FEW];
        let mut count = 0;
        for place in &self.few {
            let found = place.load(Ordering::SeqCst);
            if age(found & !HASH_MASK, step) < STEPS {
                items[count] = found & HASH_MASK;
                count += 1;
            }
        }
        // Two threads may have put the same item into two places.
        items[..count].sort_unstable();
        (0..count).filter(|at| *at == 0 || items[*at] != items[*at - 1]).count()
    }
}

/// The step that a word is of, as a step near `step`.
fn newest(word: u64, step: u64) -> u64 {
    let note = word >> RANKS_BITS;
    let ahead = (note + STEP_MODULUS - note_of(step)) % STEP_MODULUS;
    if note == 0 || ahead > AHEAD_MAX { step } else { step + ahead }
}

/// A word as of `step`: ranks move back by the steps that went by, and out.
fn aged(word: u64, step: u64) -> u64 {
    let note = word >> RANKS_BITS;
    let by = age(note, step);
    if by == 0 {
        return word;
    }
    let mut ranks = 0;
    if by < STEPS {
        let kept = (1 << (RANK_BITS * (STEPS - by))) - 1;
        for register in 0..IN_WORD {
            let shift = register * RANK_BITS * STEPS;
            ranks |= ((word >> shift) & kept) << (shift + by * RANK_BITS);
        }
    }
    note_of(step) << RANKS_BITS | ranks
}

/// The finalizer of SplitMix64.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The estimate from how many registers have which rank, without bias at either end: O. Ertl, "New
/// cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm 6.
fn estimate(ranks: &[u32; RANK_MAX as usize + 1]) -> f64 {
    let registers = REGISTERS as f64;
    let mut z = registers * tau(1.0 - f64::from(ranks[RANK_MAX as usize]) / registers);
    for count in ranks[1..RANK_MAX as usize].iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += registers * sigma(f64::from(ranks[0]) / registers);
    registers * registers / (2.0 * std::f64::consts::LN_2 * z)
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn hash(item: u64) -> u64 {
        mix(item.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[test]
    fn a_few_are_counted_exactly_and_many_within_three_percent() {
        let sketch = Sketch::default();
        let mut next = 0;
        for items in [1, 2, 63, 64, 65, 100, 500, 1000, 5000, 8192, 20_000, 100_000, 300_000] {
            for item in next..items {
                sketch.add(hash(item), 7);
                if item % 3 == 0 {
                    sketch.add(hash(item), 7);
                }
            }
            next = items;
            let (count, items) = (sketch.count(7), items as f64);
            let error = (count - items).abs() / items;
            assert!(error < if items <= 64.0 { 1e-9 } else { 0.03 }, "{items}: {count}");
            assert_eq!(count, sketch.count(7), "the estimate that is kept");
        }
    }

    #[test]
    fn items_count_for_three_steps_after_their_last_addition() {
        for items in [10u64, 3000] {
            let sketch = Sketch::default();
            for begin in [0, 300_000, STEP_MODULUS - 2, 1_000_000] {
                for item in 0..items {
                    sketch.add(hash(item), begin);
                }
                for item in 0..items / 2 {
                    sketch.add(hash(item), begin + 2);
                }
                let near = |step: u64, expected: f64| {
                    let count = sketch.count(step);
                    assert!((count - expected).abs() <= expected * 0.03, "{items} {step}: {count}");
                };
                near(begin + 2, items as f64);
                near(begin + 3, (items / 2) as f64);
                near(begin + 4, (items / 2) as f64);
                near(begin + 5, 0.0);
                // Whoever is late sees what there is.
                near(begin + 1, items as f64);
            }
        }
    }

    #[test]
    fn an_estimate_knows_of_what_came_later() {
        let sketch = Sketch::default();
        (0..1000).for_each(|item| sketch.add(hash(item), 1));
        let before = sketch.count(1);
        (1000..2000).for_each(|item| sketch.add(hash(item), 1));
        assert!(sketch.count(1) > before * 1.9);
    }

    #[test]
    fn an_item_with_an_older_clock_does_not_move_time_back() {
        let sketch = Sketch::default();
        (0..1000).for_each(|item| sketch.add(hash(item), 10));
        (1000..2000).for_each(|item| sketch.add(hash(item), 9));
        assert!((sketch.count(10) - 2000.0).abs() < 60.0);
        assert!((sketch.count(12) - 1000.0).abs() < 30.0);
    }
}

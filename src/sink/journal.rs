//! Looks at the database's journals before the database does.
//!
//! Opening it cuts a journal at the first thing that it cannot read, wherever that is, and says
//! nothing: one flipped bit in the middle would take every later acknowledged push with it. So the
//! journals are read here first. What follows the last whole batch of the newest journal is the torn
//! end of a write that nobody was told of, and is cut; anything else is damage, and is left as it is.
//!
//! ```text
//! batch   1 u8, items u32, sequence u64
//!         items, each:  2 u8, kind u8, compression u8, keyspace u64, key length u16,
//!                       value length u32, stored length u32, key, value
//!                 or:   4 u8, keyspace u64
//!         3 u8, XXH3-64 of all items u64, "FJL" 3
//! ```
//!
//! Little-endian throughout; batches follow each other without gaps, and zeros fill the file to the size
//! that it was given in advance.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";

const START_BYTES: usize = 1 + 4 + 8;
const ITEM_HEAD_BYTES: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;
const CLEAR_BYTES: usize = 1 + 8;
const END_BYTES: usize = 1 + 8 + 4;

/// What a journal is like.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Whole batches and zeros.
    Whole,
    /// Something that is no whole batch follows the last one: where it begins and ends.
    Torn(Range<usize>),
    /// Something that is no whole batch has a whole batch behind it: where it begins and ends.
    Damaged(Range<usize>),
}

/// Looks at a whole journal.
pub fn examine(journal: &[u8]) -> Verdict {
    let end = batches_from(journal, 0).last().map_or(0, |batch| batch.end);
    let used = journal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if used <= end {
        return Verdict::Whole;
    }
    match next_batch(journal, end + 1) {
        Some(batch) => Verdict::Damaged(end..batch.start),
        None => Verdict::Torn(end..used),
    }
}

/// The whole batches of a journal, those behind damaged places included, one after the other.
pub fn readable(journal: &[u8]) -> Vec<u8> {
    let mut batches = Vec::new();
    let mut at = 0;
    while let Some(batch) = next_batch(journal, at) {
        batches.extend_from_slice(&journal[batch.clone()]);
        at = batch.end;
    }
    batches
}

/// The batches that follow each other from `at` on.
fn batches_from(journal: &[u8], at: usize) -> impl Iterator<Item = Range<usize>> {
    let first = batch_at(journal, at);
    std::iter::successors(first, |batch| batch_at(journal, batch.end))
}

/// The first whole batch that begins at `from` or later.
fn next_batch(journal: &[u8], from: usize) -> Option<Range<usize>> {
    let last = journal.len().checked_sub(START_BYTES + CLEAR_BYTES)?;
    // Most places are ruled out by two bytes.
    let may_be = |at: &usize| journal[*at] == START && matches!(journal[at + START_BYTES], ITEM | CLEAR);
    (from..last).filter(may_be).find_map(|at| batch_at(journal, at))
}

/// The whole batch that begins at `start`.
fn batch_at(journal: &[u8], start: usize) -> Option<Range<usize>> {
    let head = journal.get(start..start + START_BYTES)?;
    if head[0] != START {
        return None;
    }
    let items_start = start + START_BYTES;
    let mut at = items_start;
    for _ in 0..number(&head[1..5]) {
        at += match journal.get(at)? {
            &ITEM => {
                let item = journal.get(at..at + ITEM_HEAD_BYTES)?;
                ITEM_HEAD_BYTES + number(&item[11..13]) + number(&item[17..21])
            }
            &CLEAR => CLEAR_BYTES,
            _ => return None,
        };
    }
    let end = journal.get(at..at + END_BYTES)?;
    let checksum = xxh3_64(&journal[items_start..at]).to_le_bytes();
    (end[0] == END && end[1..9] == checksum && end[9..] == TRAILER).then_some(start..at + END_BYTES)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(items: &[(&str, &str)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (key, value) in items {
            body.extend_from_slice(&[ITEM, 0, 0]);
            body.extend_from_slice(&1u64.to_le_bytes());
            body.extend_from_slice(&(key.len() as u16).to_le_bytes());
            body.extend_from_slice(&(value.len() as u32).to_le_bytes());
            body.extend_from_slice(&(value.len() as u32).to_le_bytes());
            body.extend_from_slice(key.as_bytes());
            body.extend_from_slice(value.as_bytes());
        }
        let mut batch = vec![START];
        batch.extend_from_slice(&(items.len() as u32).to_le_bytes());
        batch.extend_from_slice(&9u64.to_le_bytes());
        batch.extend_from_slice(&body);
        batch.push(END);
        batch.extend_from_slice(&xxh3_64(&body).to_le_bytes());
        batch.extend_from_slice(&TRAILER);
        batch
    }

    fn journal() -> (Vec<u8>, usize) {
        let first = [batch(&[("a", "1"), ("b", "22")]), batch(&[("c", "333")])].concat();
        let last = batch(&[("d", "4444"), ("e", "")]);
        let at = first.len();
        ([first, last, vec![0; 100]].concat(), at)
    }

    #[test]
    fn whole_journals_are_whole() {
        assert_eq!(examine(&journal().0), Verdict::Whole);
        assert_eq!(examine(&[]), Verdict::Whole);
        assert_eq!(examine(&[0; 50]), Verdict::Whole);
    }

    #[test]
    fn what_the_database_writes_is_read() {
        let folder = std::env::temp_dir().join(format!("floodway-journal-{}", std::process::id()));
        {
            let database = fjall::Database::builder(&folder).worker_threads(1).open().unwrap();
            let keyspace = database.keyspace("k", Default::default).unwrap();
            for at in 0..10 {
                let mut batch = database.batch().durability(Some(fjall::PersistMode::SyncData));
                batch.insert(&keyspace, [at], vec![at; 5000]);
                batch.remove(&keyspace, [at + 1]);
                batch.commit().unwrap();
            }
        }
        let journal = std::fs::read(folder.join("0.jnl")).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(examine(&journal), Verdict::Whole);
        assert_eq!(batches_from(&journal, 0).count(), 10);
    }

    #[test]
    fn every_cut_is_a_torn_end_or_a_whole_journal() {
        let (journal, _) = journal();
        let used = journal.len() - 100;
        let ends: Vec<usize> = batches_from(&journal, 0).map(|batch| batch.end).collect();
        assert_eq!(ends.len(), 3);
        for length in 0..used {
            let cut = &journal[..length];
            if length == 0 || ends.contains(&length) {
                assert_eq!(examine(cut), Verdict::Whole, "{length}");
            } else {
                assert!(matches!(examine(cut), Verdict::Torn(_)), "{length}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_before_the_last_batch_is_damage() {
        let (mut journal, last) = journal();
        let used = journal.len() - 100;
        // The sequence of a batch is under no checksum, and nothing of ours hangs on it.
        let starts: Vec<usize> = batches_from(&journal, 0).map(|batch| batch.start).collect();
        let is_sequence =
            |at: usize| starts.iter().any(|start| (start + 5..start + START_BYTES).contains(&at));
        for bit in (0..used * 8).filter(|bit| !is_sequence(bit / 8)) {
            journal[bit / 8] ^= 1 << (bit % 8);
            let verdict = examine(&journal);
            if bit / 8 < last {
                assert!(matches!(verdict, Verdict::Damaged(_)), "bit {bit}: {verdict:?}");
                assert!(readable(&journal).len() < used, "bit {bit}");
                assert!(readable(&journal).ends_with(&journal[last..used]), "bit {bit}");
            } else {
                assert!(matches!(verdict, Verdict::Torn(_)), "bit {bit}: {verdict:?}");
            }
            journal[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

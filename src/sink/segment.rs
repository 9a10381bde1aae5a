//! The bytes of one file of the log, and telling a torn end from damage.
//!
//! ```text
//! segment   "FLOODLOG", version u32, number u64, salt u64, length u64, checksum u32
//!           batches
//!           zeros up to the length
//!
//! batch     salt u64, checksum u32, kind u8 ('b', or 's' for the last one of a segment that has a
//!           successor), length u64, sequence u64, synced u64, groups u64, digest u64,
//!           running time u64 and what the wall clock said then u64 (nanoseconds; 0 without
//!           lifetimes), entries
//!
//! entry     kind u8 ('s' a shape record, 'v' a values record, 'd' none: the group is gone),
//!           key length u32, record length u64, key, record
//! ```
//!
//! Little-endian throughout. The checksum of a header is the CRC-32 of what precedes it, that of a batch of
//! what follows. Sequences rise by one from batch to batch over all segments. A file is never shorter than
//! the length in its header.
//!
//! # Torn or damaged
//!
//! *Synced* is the sequence up to which everything was on the disk before this batch was written. So where
//! a batch cannot be read, what comes behind it tells whether anyone was told that it is safe: if a later
//! batch says so it is damage; if none does, nobody was, and it is the torn end of a write.
//!
//! The salt is drawn at random for each segment, so that nothing that is pushed can look like a batch.

use std::ops::Range;

use super::records::Summary;
use crate::clock::{Running, UnixNanos};

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"FLOODLOG";
pub const HEADER_BYTES: usize = 8 + 4 + 8 + 8 + 8 + 4;
pub const BATCH_HEAD_BYTES: usize = 8 + 4 + 1 + 7 * 8;
const ENTRY_HEAD_BYTES: usize = 1 + 4 + 8;

/// Where the checksum of a batch ends.
const CHECKED_FROM: usize = 8 + 4;

/// What begins a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub number: u64,
    pub salt: u64,
    /// Bytes that the file has at least.
    pub length: u64,
}

/// Why a header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    Damaged,
    Version,
}

impl Header {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        [self.number, self.salt, self.length].iter().for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the header of `segment`.
    ///
    /// # Errors
    ///
    /// It is damaged, or of a version that is not known here.
    pub fn read(segment: &[u8]) -> Result<Header, BadHeader> {
        let bytes = segment.get(..HEADER_BYTES).ok_or(BadHeader::Damaged)?;
        let (body, checksum) = bytes.split_at(HEADER_BYTES - 4);
        if body[..8] != MAGIC || crc32fast::hash(body) != u32_at(checksum, 0) {
            return Err(BadHeader::Damaged);
        }
        if u32_at(body, 8) != VERSION {
            return Err(BadHeader::Version);
        }
        Ok(Header { number: u64_at(body, 12), salt: u64_at(body, 20), length: u64_at(body, 28) })
    }
}

/// What a batch says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub is_seal: bool,
    pub sequence: u64,
    pub synced: u64,
    /// What all groups come to with this batch.
    pub summary: Summary,
}

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Shape = b's',
    Values = b'v',
    Gone = b'd',
}

/// What an entry comes to.
pub fn entry_bytes(key_bytes: usize, record_bytes: usize) -> usize {
    ENTRY_HEAD_BYTES + key_bytes + record_bytes
}

/// A batch while it is made.
#[derive(Debug)]
pub struct Batch(Vec<u8>);

impl Default for Batch {
    fn default() -> Batch {
        Batch(vec![0; BATCH_HEAD_BYTES])
    }
}

impl Batch {
    /// Adds an entry whose record `write` appends. Returns the record.
    pub fn add(&mut self, kind: Kind, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let out = &mut self.0;
        out.push(kind as u8);
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        let length_at = out.len();
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(key);
        let start = out.len();
        write(out);
        let length = (out.len() - start) as u64;
        out[length_at..length_at + 8].copy_from_slice(&length.to_le_bytes());
        &out[start..]
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The finished batch.
    pub fn finish(&mut self, salt: u64, head: &Head) -> &[u8] {
        let out = &mut self.0;
        let length = (out.len() - BATCH_HEAD_BYTES) as u64;
        out[..8].copy_from_slice(&salt.to_le_bytes());
        out[CHECKED_FROM] = if head.is_seal { b's' } else { b'b' };
        let Summary { groups, digest, time } = head.summary;
        let (running, wall) = time.unwrap_or_default();
        let numbers = [length, head.sequence, head.synced, groups, digest, running.0, wall.0];
        for (place, number) in out[CHECKED_FROM + 1..BATCH_HEAD_BYTES].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32fast::hash(&out[CHECKED_FROM..]);
        out[8..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Makes room for the next batch; keeps the memory unless it is much.
    pub fn clear(&mut self, kept_bytes_max: usize) {
        self.0.truncate(BATCH_HEAD_BYTES);
        self.0.shrink_to(kept_bytes_max);
    }
}

/// A whole batch in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub head: Head,
    pub start: usize,
    /// Where its entries are.
    pub entries: Range<usize>,
}

/// What follows the batches that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Zeros.
    Whole,
    /// Something that nobody was told was safe: where it begins and ends.
    Torn(Range<usize>),
    /// Something that was on the disk and cannot be read.
    Damaged(usize),
}

/// The batches of `segment` from its beginning, the first of which follows the one of the sequence
/// `before`, and what comes behind them.
pub fn examine(segment: &[u8], salt: u64, before: u64) -> (Vec<Frame>, Verdict) {
    let mut frames = Vec::new();
    let (mut at, mut last) = (HEADER_BYTES, before);
    while let Some(frame) = frame_at(segment, salt, at).filter(|frame| follows(frame, last)) {
        (at, last) = (frame.entries.end, frame.head.sequence);
        let is_seal = frame.head.is_seal;
        frames.push(frame);
        if is_seal {
            break;
        }
    }
    let used = segment.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if used <= at {
        return (frames, Verdict::Whole);
    }
    // A seal is written once everything before it is on the disk, and nothing is written behind it.
    let is_sealed = frames.last().is_some_and(|frame| frame.head.is_seal);
    let was_safe = is_sealed || frames_from(segment, salt, at).any(|frame| frame.head.synced > last);
    (frames, if was_safe { Verdict::Damaged(at) } else { Verdict::Torn(at..used) })
}

/// The oldest segment that is left may begin anywhere.
fn follows(frame: &Frame, last: u64) -> bool {
    last == 0 || frame.head.sequence == last + 1
}

/// The whole batches of `segment` at `from` or later, those behind damaged places included.
pub fn frames_from(segment: &[u8], salt: u64, from: usize) -> impl Iterator<Item = Frame> {
    let salt_bytes = salt.to_le_bytes();
    let mut at = from;
    std::iter::from_fn(move || {
        let last = segment.len().checked_sub(BATCH_HEAD_BYTES)?;
        while at <= last {
            let here = at;
            if segment[here..here + 8] == salt_bytes
                && let Some(frame) = frame_at(segment, salt, here)
            {
                at = frame.entries.end;
                return Some(frame);
            }
            at += 1;
        }
        None
    })
}

/// The salt of a segment whose header is damaged: the first batch repeats it.
pub fn salt_of_first(segment: &[u8]) -> Option<u64> {
    segment.get(HEADER_BYTES..HEADER_BYTES + 8).map(|bytes| u64_at(bytes, 0))
}

fn frame_at(segment: &[u8], salt: u64, start: usize) -> Option<Frame> {
    let head = segment.get(start..start.checked_add(BATCH_HEAD_BYTES)?)?;
    if u64_at(head, 0) != salt {
        return None;
    }
    let number = |at: usize| u64_at(head, CHECKED_FROM + 1 + 8 * at);
    let entries_start = start + BATCH_HEAD_BYTES;
    let end = entries_start.checked_add(usize::try_from(number(0)).ok()?)?;
    let checked = segment.get(start + CHECKED_FROM..end)?;
    if crc32fast::hash(checked) != u32_at(head, 8) {
        return None;
    }
    let head = Head {
        is_seal: head[CHECKED_FROM] == b's',
        sequence: number(1),
        synced: number(2),
        summary: Summary {
            groups: number(3),
            digest: number(4),
            time: (number(6) != 0).then(|| (Running(number(5)), UnixNanos(number(6)))),
        },
    };
    Some(Frame { head, start, entries: entries_start..end })
}

/// One entry of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub key: Range<usize>,
    pub record: Range<usize>,
}

/// The entries of a batch; ends early where there is none, which no batch that was written has.
pub fn entries<'s>(segment: &'s [u8], frame: &Frame) -> impl Iterator<Item = Entry> + use<'s> {
    let Range { start: mut at, end } = frame.entries;
    std::iter::from_fn(move || {
        let head = segment.get(at..at + ENTRY_HEAD_BYTES).filter(|_| at + ENTRY_HEAD_BYTES <= end)?;
        let kind = match head[0] {
            b's' => Kind::Shape,
            b'v' => Kind::Values,
            b'd' => Kind::Gone,
            _ => return None,
        };
        let key = at + ENTRY_HEAD_BYTES..at + ENTRY_HEAD_BYTES + u32_at(head, 1) as usize;
        let record = key.end..key.end.checked_add(usize::try_from(u64_at(head, 5)).ok()?)?;
        at = record.end;
        (at <= end).then_some(Entry { kind, key, record })
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: Summary = Summary { groups: 1, digest: 2, time: Some((Running(3), UnixNanos(4))) };
    const SALT: u64 = 0x1234_5678_9abc_def1;

    /// A segment of three batches, each synced before the next, where the last begins, and zeros.
    fn segment(synced: bool) -> (Vec<u8>, Vec<Range<usize>>) {
        let mut bytes = Header { number: 3, salt: SALT, length: 1200 }.bytes();
        let mut ranges = Vec::new();
        for sequence in 8..11 {
            let mut batch = Batch::default();
            batch.add(Kind::Shape, b"key", |out| out.extend_from_slice(b"shape"));
            batch.add(Kind::Gone, &sequence.to_string().into_bytes(), |_| {});
            let synced = if synced { sequence - 1 } else { 0 };
            let head = Head { is_seal: false, sequence, synced, summary: SUMMARY };
            let start = bytes.len();
            bytes.extend_from_slice(batch.finish(SALT, &head));
            ranges.push(start..bytes.len());
        }
        bytes.resize(1200, 0);
        (bytes, ranges)
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, ranges) = segment(true);
        assert_eq!(Header::read(&bytes), Ok(Header { number: 3, salt: SALT, length: 1200 }));
        let (frames, verdict) = examine(&bytes, SALT, 7);
        assert_eq!((frames.len(), verdict), (3, Verdict::Whole));
        assert_eq!(frames[1].head, Head { is_seal: false, sequence: 9, synced: 8, summary: SUMMARY });
        let entries: Vec<Entry> = entries(&bytes, &frames[1]).collect();
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (&bytes[entries[0].key.clone()], &bytes[entries[0].record.clone()]),
            (&b"key"[..], &b"shape"[..])
        );
        assert_eq!((entries[1].kind, &bytes[entries[1].key.clone()]), (Kind::Gone, &b"9"[..]));
        assert_eq!(frames[2].entries.end, ranges[2].end);
        // Not the batch that should come.
        assert_eq!(examine(&bytes, SALT, 6).1, Verdict::Damaged(HEADER_BYTES));
        assert_eq!(examine(&bytes, SALT, 0).1, Verdict::Whole);
    }

    #[test]
    fn every_flipped_bit_of_a_synced_batch_is_damage_and_of_the_last_one_a_torn_end() {
        let (mut bytes, ranges) = segment(true);
        for bit in HEADER_BYTES * 8..ranges[2].end * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (frames, verdict) = examine(&bytes, SALT, 7);
            let at = ranges.iter().position(|range| range.contains(&(bit / 8))).unwrap();
            assert_eq!(frames.len(), at, "bit {bit}");
            if at < 2 {
                assert_eq!(verdict, Verdict::Damaged(ranges[at].start), "bit {bit}");
                assert_eq!(frames_from(&bytes, SALT, HEADER_BYTES).count(), 2, "bit {bit}");
            } else {
                assert!(matches!(verdict, Verdict::Torn(_)), "bit {bit}: {verdict:?}");
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for bit in 0..HEADER_BYTES * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::read(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_hole_in_front_of_batches_that_nobody_was_promised_is_a_torn_end() {
        let (mut bytes, ranges) = segment(false);
        bytes[ranges[0].start + 20] ^= 1;
        assert_eq!(examine(&bytes, SALT, 7), (vec![], Verdict::Torn(HEADER_BYTES..ranges[2].end)));
    }

    #[test]
    fn every_cut_leaves_whole_batches_and_a_torn_rest() {
        let (bytes, ranges) = segment(true);
        for length in HEADER_BYTES..ranges[2].end {
            let whole = ranges.iter().filter(|range| range.end <= length).count();
            let (frames, verdict) = examine(&bytes[..length], SALT, 7);
            assert_eq!(frames.len(), whole, "{length}");
            let is_whole = length == HEADER_BYTES || ranges.iter().any(|range| range.end == length);
            assert_eq!(is_whole, verdict == Verdict::Whole, "{length}: {verdict:?}");
        }
    }

    #[test]
    fn nothing_follows_a_seal() {
        let (mut bytes, ranges) = segment(true);
        let head = Head { is_seal: true, sequence: 11, synced: 10, summary: SUMMARY };
        let mut batch = Batch::default();
        let end = ranges[2].end + batch.len();
        bytes[ranges[2].end..end].copy_from_slice(batch.finish(SALT, &head));
        let (frames, verdict) = examine(&bytes, SALT, 7);
        assert!(frames[3].head.is_seal && verdict == Verdict::Whole);
        bytes[end + 5] = 1;
        assert_eq!(examine(&bytes, SALT, 7).1, Verdict::Damaged(end));
    }
}

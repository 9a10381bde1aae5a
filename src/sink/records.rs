//! The bytes in which a group is kept: one record for its shape, one for its values.
//!
//! A steady pusher changes nothing but values, so the shape, which is most of the bytes, is written
//! only when it changes. All integers are little-endian; *varint* is LEB128; *text* is a varint length
//! and UTF-8.
//!
//! ```text
//! grouping key    name 0xFF value 0xFF name 0xFF value 0xFF ...   (0xFF occurs in no UTF-8)
//!
//! shape record    version u8
//!                 blocks varint, each:
//!                     families varint, each:
//!                         name text, type u8, flags u8 (1: has help, 2: has unit), help, unit
//!                         series varint, each:
//!                             flags u8 (1: its counts are floats)
//!                             labels varint, each: name text, value text
//!                             bounds varint, each: float64
//!                 checksum u32
//!
//! values record   version u8
//!                 sequence u64, checksum u32 of the shape record
//!                 push time u64, failure time u64   (nanoseconds since 1970)
//!                 from version 2: lifetime u64      (milliseconds; 0: for ever)
//!                                 flags u8          (1: flagged at its end, 2: overdue)
//!                                 due u64           (nanoseconds of running time)
//!                 from version 3: chunks varint, number of the first u64
//!                                 sum of the checksums of their records, wrapping, u32
//!                 blocks varint, each:
//!                     pushed at u64
//!                     values varint, each: u64
//!                     details varint, each: first value varint, length varint, bytes
//!                 checksum u32
//! ```
//!
//! Records of version 2 are written only where lifetimes are used, those of version 3 only where a group
//! remembers keys of pushes. In these the flag 4 says that nothing was said about the lifetime. Running time is
//! [`Running`](crate::clock::Running).
//!
//! The keys lie in chunks (see [`keys`](crate::store::keys)), each in a record of its own that is written when
//! it changes. It is kept like the values of a group whose key is that of the group, 0xFE, and the chunk's
//! number: versions of floodway that know nothing of keys find the version of these records too new for them,
//! and refuse the log whole.
//!
//! ```text
//! chunk record    version u8 (3)
//!                 keys varint, each: fingerprints of key and body, 16 bytes each, pushed at u64
//!                 checksum u32
//! ```
//!
//! The checksum is the CRC-32 of the grouping key and of all bytes of the record before it, so that a
//! record that ends up under another key is found out too. Families that a later push hid are left out.
//! Each batch carries a summary of all groups, whose digest is the wrapping sum of [`digest`] over them: with
//! it, a record that is missing or older than it should be is found out.

use std::sync::Arc;

use crate::clock::{Running, UnixNanos};
use crate::model::{
    AtEnd, Families, Family, GroupingKey, Label, Lifetime, MetricType, Number, Part, Series, Span, Term,
};
use crate::store::group::{Details, GroupState, Held};
use crate::store::keys::Entry;
use crate::store::life::Life;
use crate::store::shape::{FamilyShape, run_labels};

/// The version of records that know nothing of lifetimes.
pub const VERSION: u8 = 1;

/// The version of those that do.
const VERSION_LIFETIMES: u8 = 2;

/// The version of records of groups that remember keys, and the newest that is read.
pub const VERSION_NEWEST: u8 = 3;

/// Between the pieces of a grouping key.
const SEPARATOR: u8 = 0xff;

const HAS_HELP: u8 = 1;
const HAS_UNIT: u8 = 2;
const FLOAT_COUNTS: u8 = 1;
const FLAG: u8 = 1;
const OVERDUE: u8 = 2;
const NOTHING_SAID: u8 = 4;

/// Between a grouping key and the number of a chunk; occurs in no UTF-8 either.
const CHUNK_MARK: u8 = 0xfe;

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    #[error("a record is cut short")]
    Cut,
    #[error("a record's checksum does not match")]
    Checksum,
    #[error("a record is of version {0}, and this version of floodway does not know that")]
    Version(u8),
    #[error("a record makes no sense: {0}")]
    Nonsense(&'static str),
}

/// The bytes that a group is found by.
pub fn key_bytes(key: &GroupingKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_key(&mut bytes, key);
    bytes
}

/// Makes `bytes` those that a group is found by.
pub fn write_key(bytes: &mut Vec<u8>, key: &GroupingKey) {
    bytes.clear();
    for (name, value) in key.labels() {
        for piece in [name, value] {
            bytes.extend_from_slice(piece.as_bytes());
            bytes.push(SEPARATOR);
        }
    }
}

/// What the chunk `number` of the group `key` is kept under.
pub fn chunk_key(key: &[u8], number: u64) -> Vec<u8> {
    [key, &[CHUNK_MARK], &number.to_le_bytes()].concat()
}

/// The key of the group and the number of the chunk that is kept under `bytes`; `None` if that is no chunk.
pub fn read_chunk_key(bytes: &[u8]) -> Option<(&[u8], u64)> {
    let (rest, number) = bytes.split_last_chunk()?;
    Some((rest.strip_suffix(&[CHUNK_MARK])?, u64::from_le_bytes(*number)))
}

/// The grouping key that `bytes` were made of.
///
/// # Errors
///
/// They are no grouping key.
pub fn read_key(bytes: &[u8]) -> Result<GroupingKey, BadRecord> {
    const NONSENSE: BadRecord = BadRecord::Nonsense("it is kept under what is no grouping key");
    if bytes.is_empty() {
        return Ok(GroupingKey::bare());
    }
    let text = bytes.strip_suffix(&[SEPARATOR]).ok_or(NONSENSE)?;
    let pieces: Result<Vec<&str>, _> = text.split(|byte| *byte == SEPARATOR).map(str::from_utf8).collect();
    let pieces = pieces.map_err(|_| NONSENSE)?;
    if pieces.len() % 2 != 0 {
        return Err(NONSENSE);
    }
    let labels = || pieces.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let job = labels().find(|label| label.0 == "job").ok_or(NONSENSE)?.1;
    let key = GroupingKey::new(job, labels());
    if job.is_empty() || key_bytes(&key) != bytes { Err(NONSENSE) } else { Ok(key) }
}

/// A group's share of the summary's digest.
pub fn digest(shape_checksum: u32, values_checksum: u32) -> u64 {
    // The finalizer of splitmix64: every bit of both checksums moves about half of the digest.
    let mut x = u64::from(shape_checksum) << 32 | u64::from(values_checksum);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The checksum that ends `record`.
pub fn checksum_of(record: &[u8]) -> u32 {
    record.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Ends the record that begins at `start`.
fn finish(out: &mut Vec<u8>, start: usize, key: &[u8]) {
    let checksum = checksum(&out[start..], key);
    out.extend_from_slice(&checksum.to_le_bytes());
}

fn checksum(body: &[u8], key: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

/// Checks the frame of a record of which versions up to `newest` are known; its version, and what is left
/// to read of it.
fn open<'r>(record: &'r [u8], key: &[u8], newest: u8) -> Result<(u8, Reader<'r>), BadRecord> {
    let (body, stored) = record.split_last_chunk().ok_or(BadRecord::Cut)?;
    let (version, rest) = body.split_first().ok_or(BadRecord::Cut)?;
    if checksum(body, key) != u32::from_le_bytes(*stored) {
        return Err(BadRecord::Checksum);
    }
    if !(VERSION..=newest).contains(version) {
        return Err(BadRecord::Version(*version));
    }
    Ok((*version, Reader(rest)))
}

/// The visible families of a block in the order in which the body brought them, which is the order of
/// the values.
fn in_body_order(held: &Held) -> Vec<&FamilyShape> {
    let mut families: Vec<&FamilyShape> = held.families().map(|(_, family)| family).collect();
    families.sort_unstable_by_key(|family| held.block.shape.body_place(family));
    families
}

/// Appends the shape record of `state`, which is kept under `key`.
pub fn push_shape(out: &mut Vec<u8>, state: &GroupState, key: &[u8]) {
    let start = out.len();
    out.push(VERSION);
    push_varint(out, state.blocks.len());
    for held in &state.blocks {
        let shape = &held.block.shape;
        let families = in_body_order(held);
        push_varint(out, families.len());
        for family in families {
            push_text(out, shape.name(family));
            let (help, unit) = (shape.help(family), shape.unit(family));
            out.push(family.kind as u8);
            out.push(if help.is_some() { HAS_HELP } else { 0 } | if unit.is_some() { HAS_UNIT } else { 0 });
            help.into_iter().chain(unit).for_each(|text| push_text(out, text));
            push_varint(out, family.series.len());
            for series in shape.series(family) {
                out.push(if series.float_counts { FLOAT_COUNTS } else { 0 });
                let run = shape.run(series);
                push_varint(out, run_labels(run).count());
                for (name, value) in run_labels(run) {
                    push_text(out, &name);
                    push_text(out, &value);
                }
                let bounds = shape.bounds(series);
                push_varint(out, bounds.len());
                bounds.iter().for_each(|bound| out.extend_from_slice(&bound.to_bits().to_le_bytes()));
            }
        }
    }
    finish(out, start, key);
}

/// Appends the values record of `state`, which is kept under `key` and whose shape record ends with
/// `shape_checksum`. Of two records the one with the higher `sequence` is newer.
/// `chunk_checksums` is the sum of those of the chunks' records.
pub fn push_values(
    out: &mut Vec<u8>,
    state: &GroupState,
    key: &[u8],
    sequence: u64,
    shape_checksum: u32,
    chunk_checksums: u32,
) {
    let start = out.len();
    let version = match (state.keys.is_empty(), state.life.term()) {
        (true, None) => VERSION,
        (true, Some(_)) => VERSION_LIFETIMES,
        (false, _) => VERSION_NEWEST,
    };
    out.push(version);
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&shape_checksum.to_le_bytes());
    out.extend_from_slice(&state.push_time.0.to_le_bytes());
    out.extend_from_slice(&state.failure_time.0.to_le_bytes());
    if version > VERSION {
        push_life(out, state.life);
    }
    if version == VERSION_NEWEST {
        push_varint(out, state.keys.chunks().len());
        let first = state.keys.chunks().next().map_or(0, |(number, _)| number);
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&chunk_checksums.to_le_bytes());
    }
    push_varint(out, state.blocks.len());
    for held in &state.blocks {
        out.extend_from_slice(&held.block.pushed_at.0.to_le_bytes());
        push_block_values(out, held);
    }
    finish(out, start, key);
}

fn push_life(out: &mut Vec<u8>, life: Life) {
    let said = if life.term().is_some() { 0 } else { NOTHING_SAID };
    let term = life.term().unwrap_or_default();
    let flag = said | if term.action == AtEnd::Flag { FLAG } else { 0 };
    out.extend_from_slice(&term.lifetime.millis().to_le_bytes());
    out.push(flag | if life.is_overdue() { OVERDUE } else { 0 });
    out.extend_from_slice(&life.due().unwrap_or_default().0.to_le_bytes());
}

fn read_life(reader: &mut Reader<'_>) -> Result<Life, BadRecord> {
    let lifetime = Lifetime::from_millis(reader.u64()?).ok_or(BadRecord::Nonsense("a lifetime"))?;
    let flags = reader.byte()?;
    let due = Running(reader.u64()?);
    let action = if flags & FLAG != 0 { AtEnd::Flag } else { AtEnd::Remove };
    if flags & NOTHING_SAID != 0 {
        return Ok(Life::default());
    }
    Ok(Life::restored(Term { lifetime, action }, due, flags & OVERDUE != 0))
}

fn push_block_values(out: &mut Vec<u8>, held: &Held) {
    let block = &held.block;
    if held.is_whole() && block.details.is_empty() {
        push_varint(out, block.values.len());
        out.reserve(8 * block.values.len());
        block.values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        push_varint(out, 0);
        return;
    }
    let spans: Vec<_> = in_body_order(held).iter().map(|family| block.shape.values_of(family)).collect();
    push_varint(out, spans.iter().map(ExactSizeIterator::len).sum());
    let mut details = Vec::new();
    let mut written = 0;
    for span in spans {
        for value in &block.values[span.clone()] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        // Positions move where families in front are left out.
        let own = block.details.iter().filter(|(first, _)| span.contains(&(*first as usize)));
        details.extend(own.map(|(first, message)| (first as usize - span.start + written, message)));
        written += span.len();
    }
    push_varint(out, details.len());
    for (first, message) in details {
        push_varint(out, first);
        push_varint(out, message.len());
        out.extend_from_slice(message);
    }
}

/// What a shape record holds: the families of each block, with zeros for values.
///
/// # Errors
///
/// The record is damaged, or of a version that is not known here.
pub fn read_shape<'r>(record: &'r [u8], key: &[u8]) -> Result<Vec<Families<'r>>, BadRecord> {
    let (_, mut reader) = open(record, key, VERSION)?;
    let blocks = reader.count(1)?;
    let blocks = (0..blocks).map(|_| read_families(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    reader.end()?;
    Ok(blocks)
}

fn read_families<'r>(reader: &mut Reader<'r>) -> Result<Families<'r>, BadRecord> {
    let mut all = Families::default();
    for _ in 0..reader.count(4)? {
        let name = reader.text()?.into();
        let kind = kind_of(reader.byte()?)?;
        let flags = reader.byte()?;
        let help = if flags & HAS_HELP != 0 { Some(reader.text()?.into()) } else { None };
        let unit = if flags & HAS_UNIT != 0 { Some(reader.text()?.into()) } else { None };
        let start = all.series.len() as u32;
        for _ in 0..reader.count(3)? {
            let count = if reader.byte()? & FLOAT_COUNTS != 0 { Number::Float(0.0) } else { Number::Int(0) };
            let labels_start = all.labels.len() as u32;
            for _ in 0..reader.count(2)? {
                all.labels.push(Label { name: reader.text()?.into(), value: reader.text()?.into() });
            }
            let parts_start = all.parts.len() as u32;
            for _ in 0..reader.count(8)? {
                all.parts.push(Part { bound: f64::from_bits(reader.u64()?), value: Number::Int(0) });
            }
            all.series.push(Series {
                labels: Span { start: labels_start, end: all.labels.len() as u32 },
                parts: Span { start: parts_start, end: all.parts.len() as u32 },
                value: 0.0,
                count,
            });
        }
        let series = Span { start, end: all.series.len() as u32 };
        all.families.push(Family { name, help, unit, kind, series });
    }
    Ok(all)
}

fn kind_of(byte: u8) -> Result<MetricType, BadRecord> {
    Ok(match byte {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Summary,
        3 => MetricType::Untyped,
        4 => MetricType::Histogram,
        5 => MetricType::GaugeHistogram,
        _ => return Err(BadRecord::Nonsense("a type that does not exist")),
    })
}

/// What a values record holds.
#[derive(Debug)]
pub struct Values {
    pub sequence: u64,
    /// The checksum of the shape record that belongs to it.
    pub shape_checksum: u32,
    pub push_time: UnixNanos,
    pub failure_time: UnixNanos,
    pub life: Life,
    pub keys: KeysFacts,
    /// In the order of the shape record's blocks.
    pub blocks: Vec<BlockValues>,
}

/// Which chunks of keys belong to a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeysFacts {
    pub chunks: usize,
    /// The number of the first one.
    pub first: u64,
    /// The wrapping sum of the checksums of their records.
    pub checksums: u32,
}

#[derive(Debug)]
pub struct BlockValues {
    pub pushed_at: UnixNanos,
    pub values: Box<[u64]>,
    pub details: Details,
}

/// Reads a values record.
///
/// # Errors
///
/// The record is damaged, or of a version that is not known here.
pub fn read_values(record: &[u8], key: &[u8]) -> Result<Values, BadRecord> {
    let (version, mut reader) = open(record, key, VERSION_NEWEST)?;
    let sequence = reader.u64()?;
    let shape_checksum = reader.u32()?;
    let (push_time, failure_time) = (UnixNanos(reader.u64()?), UnixNanos(reader.u64()?));
    let life = if version == VERSION { Life::default() } else { read_life(&mut reader)? };
    let keys = match version {
        VERSION_NEWEST => {
            KeysFacts { chunks: reader.varint()?, first: reader.u64()?, checksums: reader.u32()? }
        }
        _ => KeysFacts::default(),
    };
    let mut blocks = Vec::new();
    for _ in 0..reader.count(10)? {
        let pushed_at = UnixNanos(reader.u64()?);
        let count = reader.count(8)?;
        let values = (0..count).map(|_| reader.u64()).collect::<Result<_, _>>()?;
        let mut details = Vec::new();
        for _ in 0..reader.count(2)? {
            let first = u32::try_from(reader.varint()?).map_err(|_| BadRecord::Nonsense("a position"))?;
            let length = reader.varint()?;
            details.push((first, reader.take(length)?));
        }
        let details = Details::from_sorted(&details).ok_or(BadRecord::Nonsense("details out of order"))?;
        blocks.push(BlockValues { pushed_at, values, details });
    }
    reader.end()?;
    Ok(Values { sequence, shape_checksum, push_time, failure_time, life, keys, blocks })
}

/// Appends the record of a chunk of keys, which is kept under `key`.
pub fn push_chunk(out: &mut Vec<u8>, chunk: &[Entry], key: &[u8]) {
    let start = out.len();
    out.push(VERSION_NEWEST);
    push_varint(out, chunk.len());
    for entry in chunk {
        out.extend_from_slice(&entry.name);
        out.extend_from_slice(&entry.body);
        out.extend_from_slice(&entry.at.0.to_le_bytes());
    }
    finish(out, start, key);
}

/// Reads the record of a chunk of keys.
///
/// # Errors
///
/// The record is damaged, or of a version that is not known here.
pub fn read_chunk(record: &[u8], key: &[u8]) -> Result<Arc<[Entry]>, BadRecord> {
    let (_, mut reader) = open(record, key, VERSION_NEWEST)?;
    let entries = (0..reader.count(40)?).map(|_| {
        let (name, body) = (*reader.array()?, *reader.array()?);
        Ok(Entry { name, body, at: UnixNanos(reader.u64()?) })
    });
    let entries = entries.collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(entries)
}

/// What all groups come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub groups: u64,
    /// The wrapping sum of the groups' [`digest`]s.
    pub digest: u64,
    /// The running time of the last batch, and what the wall clock said then; where lifetimes are used.
    pub time: Option<(Running, UnixNanos)>,
}

fn push_varint(out: &mut Vec<u8>, number: usize) {
    let mut rest = number as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_varint(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// What is left of a record.
struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    fn take(&mut self, length: usize) -> Result<&'r [u8], BadRecord> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BadRecord::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<&'r [u8; N], BadRecord> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(BadRecord::Cut)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, BadRecord> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, BadRecord> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self) -> Result<u64, BadRecord> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn varint(&mut self) -> Result<usize, BadRecord> {
        let mut number = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).map_err(|_| BadRecord::Nonsense("a length"));
            }
        }
        Err(BadRecord::Nonsense("a length"))
    }

    /// A number of things of which each takes at least `bytes_min` of what is left.
    fn count(&mut self, bytes_min: usize) -> Result<usize, BadRecord> {
        let count = self.varint()?;
        if count > self.0.len() / bytes_min { Err(BadRecord::Cut) } else { Ok(count) }
    }

    fn text(&mut self) -> Result<&'r str, BadRecord> {
        let length = self.varint()?;
        str::from_utf8(self.take(length)?).map_err(|_| BadRecord::Nonsense("text that is not UTF-8"))
    }

    fn end(&self) -> Result<(), BadRecord> {
        if self.0.is_empty() { Ok(()) } else { Err(BadRecord::Nonsense("it goes on after its end")) }
    }
}

#[cfg(test)]
mod tests;

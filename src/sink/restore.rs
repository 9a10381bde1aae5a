//! From records back to groups.
//!
//! Everything is read and checked before anything is put into the store; then the groups are put back,
//! newest first, so that of two that contradict each other the newer one wins. Equal shapes are built
//! once, however many groups have them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::records::{self, BadRecord, BlockValues, KeysFacts, Summary, Values};
use crate::clock::{Running, UnixNanos};
use crate::model::GroupingKey;
use crate::store::Store;
use crate::store::group::{Block, Group, Mould};
use crate::store::keys::{Entry, Keys};
use crate::store::restore::Kept;
use crate::store::shape::Shape;

/// Between two lines in the log about a long restore.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Why the groups cannot be restored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("the group {group}: {fault}")]
    Group { group: String, fault: BadRecord },
    #[error("the group {0} has a shape and no values, or values and no shape, or those of another time")]
    Unpaired(String),
    #[error("the group {0} makes no sense: {1}")]
    Contradiction(String, String),
    #[error("{found} groups are there and {expected} were written, or some are older than they should be")]
    Incomplete { found: u64, expected: u64 },
}

/// A group of the disk.
struct Read {
    kept: Kept,
    sequence: u64,
    shape_checksum: u32,
    values_checksum: u32,
}

/// A group that is in the store now.
pub struct Restored {
    pub group: Arc<Group>,
    /// The batch in which it changed last.
    pub sequence: u64,
    pub shape_checksum: u32,
    pub values_checksum: u32,
}

/// Reads groups record by record, shapes first.
pub struct Reader<'s> {
    store: &'s Store,
    shapes: HashMap<Vec<u8>, Shapes>,
    /// Chunks of keys by group and number, until the group takes them.
    chunks: HashMap<Vec<u8>, BTreeMap<u64, Chunk>>,
    /// Shapes by label names of the grouping key and bytes of the record without its checksum.
    known: HashMap<Vec<u8>, Vec<Arc<Shape>>>,
    read: Vec<(Vec<u8>, Read)>,
    digest: u64,
    progress: Progress,
}

/// A chunk of keys and the checksum of its record.
type Chunk = (Arc<[Entry]>, u32);

struct Shapes {
    key: GroupingKey,
    shapes: Vec<Arc<Shape>>,
    checksum: u32,
}

/// Tells the log how far a long restore has come.
struct Progress {
    last: Instant,
    groups: usize,
}

impl Progress {
    fn step(&mut self) {
        self.groups += 1;
        // Asking for the time costs as much as a small group.
        if self.groups.is_multiple_of(256) && self.last.elapsed() >= PROGRESS_EVERY {
            self.last = Instant::now();
            tracing::info!(groups = self.groups, "restoring persisted metrics");
        }
    }
}

/// What became of the groups that were read.
#[derive(Default)]
pub struct Outcome {
    pub restored: Vec<Restored>,
    /// Groups that contradicted newer ones and are not in the store: keys and shares of the digest.
    pub lost: Vec<(Vec<u8>, u64)>,
}

impl<'s> Reader<'s> {
    pub fn new(store: &'s Store) -> Reader<'s> {
        Reader {
            store,
            shapes: HashMap::new(),
            chunks: HashMap::new(),
            known: HashMap::new(),
            read: Vec::new(),
            digest: 0,
            progress: Progress { last: Instant::now(), groups: 0 },
        }
    }

    /// Takes the shape record of the group `key`.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn shape(&mut self, key: &[u8], record: &[u8]) -> Result<(), Damage> {
        let group = records::read_key(key).map_err(|fault| damaged(key, fault))?;
        let families = records::read_shape(record, key).map_err(|fault| damaged(key, fault))?;
        let mut look = Vec::new();
        group.labels().for_each(|(name, _)| {
            look.extend_from_slice(name.as_bytes());
            look.push(0xff);
        });
        look.extend_from_slice(&record[..record.len() - 4]);
        let shapes = match self.known.get(&look) {
            Some(shapes) => shapes.clone(),
            None => {
                let shapes: Result<Vec<_>, String> =
                    families.iter().map(|families| self.store.shape_of(families, &group)).collect();
                let shapes = shapes.map_err(|text| Damage::Contradiction(group.to_string(), text))?;
                self.known.insert(look, shapes.clone());
                shapes
            }
        };
        let checksum = records::checksum_of(record);
        self.shapes.insert(key.to_vec(), Shapes { key: group, shapes, checksum });
        Ok(())
    }

    /// Takes the values record of the group `key`, whose shape and chunks of keys were taken before; or such
    /// a chunk.
    ///
    /// # Errors
    ///
    /// It is damaged, or does not belong to the shape or the chunks.
    pub fn values(&mut self, key: &[u8], record: &[u8]) -> Result<(), Damage> {
        if let Some((group, number)) = records::read_chunk_key(key) {
            let chunk = records::read_chunk(record, key).map_err(|fault| damaged(group, fault))?;
            let chunks = self.chunks.entry(group.to_vec()).or_default();
            chunks.insert(number, (chunk, records::checksum_of(record)));
            return Ok(());
        }
        let Values { sequence, shape_checksum, push_time, failure_time, life, keys, blocks } =
            records::read_values(record, key).map_err(|fault| damaged(key, fault))?;
        let unpaired = || Damage::Unpaired(shown(key));
        let shapes = self.shapes.remove(key).ok_or_else(unpaired)?;
        let fits = |(shape, block): (&Arc<Shape>, &BlockValues)| shape.value_count() == block.values.len();
        if shapes.checksum != shape_checksum
            || shapes.shapes.len() != blocks.len()
            || !shapes.shapes.iter().zip(&blocks).all(fits)
        {
            return Err(unpaired());
        }
        let blocks = shapes.shapes.into_iter().zip(blocks).map(|(shape, block)| Block {
            mould: Mould::new(shape, None),
            values: block.values,
            details: block.details,
            pushed_at: block.pushed_at,
        });
        let blocks = blocks.collect();
        let keys = self.keys(key, keys).ok_or_else(unpaired)?;
        let kept = Kept { key: shapes.key, blocks, push_time, failure_time, life, keys };
        let values_checksum = records::checksum_of(record);
        self.digest = self.digest.wrapping_add(records::digest(shape_checksum, values_checksum));
        self.read.push((key.to_vec(), Read { kept, sequence, shape_checksum, values_checksum }));
        self.progress.step();
        Ok(())
    }

    /// The keys of the group `key`; `None` if the chunks that were taken are not those of `facts`.
    fn keys(&mut self, key: &[u8], facts: KeysFacts) -> Option<Keys> {
        let chunks = self.chunks.remove(key).unwrap_or_default();
        if facts.chunks == 0 {
            return chunks.is_empty().then(Keys::default);
        }
        let is_next = |(number, at): (&u64, u64)| *number == facts.first.wrapping_add(at);
        let checksums = chunks.values().fold(0u32, |sum, (_, checksum)| sum.wrapping_add(*checksum));
        let fits = chunks.len() == facts.chunks && checksums == facts.checksums;
        if !fits || !chunks.keys().zip(0..).all(is_next) {
            return None;
        }
        Keys::restored(facts.first, chunks.into_values().map(|(chunk, _)| chunk).collect())
    }

    /// Checks that everything is there that `summary` counts.
    ///
    /// # Errors
    ///
    /// Something is missing, or older than it should be.
    pub fn check(&self, summary: Summary) -> Result<(), Damage> {
        if let Some(key) = self.shapes.keys().chain(self.chunks.keys()).next() {
            return Err(Damage::Unpaired(shown(key)));
        }
        let found = self.read.len() as u64;
        if found != summary.groups || self.digest != summary.digest {
            return Err(Damage::Incomplete { found, expected: summary.groups });
        }
        Ok(())
    }

    /// Puts everything that was read into the store, whose groups live on from the `time` of the summary.
    pub fn finish(mut self, time: Option<(Running, UnixNanos)>) -> Outcome {
        if let Some((running, wall)) = time {
            self.store.resume(running, wall);
        }
        let now = self.store.running_at(self.store.now());
        self.read.sort_by_key(|(_, read)| std::cmp::Reverse(read.sequence));
        let mut outcome = Outcome::default();
        self.progress.groups = 0;
        for (key, read) in self.read {
            self.progress.step();
            let group = read.kept.key.clone();
            // Without the time nobody knows where the ends are: no group lives longer than it may.
            let life = read.kept.life;
            let life = if time.is_some() { life } else { life.no_later_than(now) };
            let kept = Kept { life, ..read.kept };
            match self.store.restore(kept) {
                Ok(group) => outcome.restored.push(Restored {
                    group,
                    sequence: read.sequence,
                    shape_checksum: read.shape_checksum,
                    values_checksum: read.values_checksum,
                }),
                Err(err) => {
                    tracing::warn!(%group, err, "a persisted group contradicts newer ones and is left out");
                    outcome.lost.push((key, records::digest(read.shape_checksum, read.values_checksum)));
                }
            }
        }
        outcome
    }
}

fn damaged(key: &[u8], fault: BadRecord) -> Damage {
    Damage::Group { group: shown(key), fault }
}

/// A key for a message, whatever its bytes are.
fn shown(key: &[u8]) -> String {
    records::read_key(key).map_or_else(|_| key.escape_ascii().to_string(), |key| key.to_string())
}

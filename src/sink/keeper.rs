//! What is on the disk, and how it is brought up to the store: batch by batch.
//!
//! A batch is ordered like a rendering: the feed is taken again until a round changes no shape, so that
//! a family which left one group for another is never kept in both.
//!
//! # Invariants
//!
//! 1. `written` and `summary` say what the log holds, unless a commit failed; then the log is given up,
//!    and a fresh one is made from memory before anything else is written.
//! 2. `CURRENT` names a log only once it is whole on the disk.
//! 3. The log is at most about twice as long as what counts in it, and a fixed amount more: each commit
//!    also writes some groups of the oldest segment anew, until nothing in that counts and it can go.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::folder::{Current, Folder};
use super::log::Log;
use super::records::{self, Summary};
use super::restore::Outcome;
use super::scan::Live;
use super::segment::{Batch, Kind, entry_bytes};
use crate::clock::Now;
use crate::limits;
use crate::model::GroupingKey;
use crate::store::Store;
use crate::store::group::{GroupState, KEEPER, Layout};
use crate::store::keys::Entry;

/// How keys are hashed: they come from pushers.
pub type Hashing = rapidhash::quality::RandomState;

/// Rounds over the feed before changes of shape are held back.
const ROUNDS_MAX: usize = 4;

/// Room for changes kept from one commit for the next.
const CHANGES_KEPT_MAX: usize = 4096;

/// What the log holds of a group.
struct Written {
    layout: Layout,
    shape_checksum: u32,
    digest: u64,
    /// The batch in which it changed last.
    sequence: u64,
    /// Where its shape is. Its values are there or in a later one.
    segment: u64,
    shape_bytes: usize,
    values_bytes: usize,
    /// Its keys, chunk by chunk.
    chunks: Vec<WrittenChunk>,
}

/// A chunk of a group's keys in the log.
struct WrittenChunk {
    number: u64,
    /// To know the chunk again: chunks never change.
    entries: Arc<[Entry]>,
    checksum: u32,
    bytes: usize,
}

impl Written {
    fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.bytes).sum();
        self.shape_bytes + self.values_bytes + chunks
    }
}

/// Changed groups as they are now; `None` for those that are gone.
type Changes = HashMap<Arc<GroupingKey>, Option<GroupState>, Hashing>;

/// See the module.
pub struct Keeper {
    store: Arc<Store>,
    folder: Folder,
    name: String,
    /// `None` once it failed.
    log: Option<Log>,
    written: HashMap<Arc<GroupingKey>, Written, Hashing>,
    /// The groups whose shapes were written to each segment; some are elsewhere by now.
    homes: BTreeMap<u64, Vec<Arc<GroupingKey>>>,
    summary: Summary,
    /// Bytes of all entries that count.
    live_bytes: usize,
    /// Empty between commits.
    batch: Batch,
    changes: Changes,
    key: Vec<u8>,
    /// When the last batch was written.
    marked_at: Now,
}

/// What a commit wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    pub groups: usize,
    pub bytes: usize,
}

impl Keeper {
    /// Follows `store`, which holds nothing that `log` does not.
    pub fn new(
        store: Arc<Store>,
        folder: Folder,
        name: String,
        log: Option<Log>,
        summary: Summary,
    ) -> Keeper {
        Keeper {
            marked_at: store.now(),
            store,
            folder,
            name,
            log,
            written: HashMap::default(),
            homes: BTreeMap::new(),
            summary,
            live_bytes: 0,
            batch: Batch::default(),
            changes: Changes::default(),
            key: Vec::new(),
        }
    }

    /// Follows `store`, which was just restored from `log`. Groups that the store would not take back
    /// are removed from it.
    ///
    /// # Errors
    ///
    /// They cannot be removed.
    pub fn restored(
        store: Arc<Store>,
        folder: Folder,
        name: String,
        (log, live): (Log, Live),
        outcome: Outcome,
        summary: Summary,
    ) -> io::Result<Keeper> {
        let mut keeper = Keeper::new(store, folder, name, Some(log), summary);
        // What was restored is on the disk already.
        while keeper.store.next_changed(KEEPER).is_some() {}
        for restored in outcome.restored {
            let Some(state) = restored.group.load() else { continue };
            let key = restored.group.key.clone();
            let key_bytes = records::key_bytes(&key);
            let places = live.get(&key_bytes);
            let Some((shape, values)) = places.and_then(|of| of.shape.as_ref().zip(of.values.as_ref()))
            else {
                continue;
            };
            let entry = Written {
                layout: Layout::of(&state),
                shape_checksum: restored.shape_checksum,
                digest: records::digest(restored.shape_checksum, restored.values_checksum),
                sequence: restored.sequence,
                segment: shape.segment,
                shape_bytes: entry_bytes(key_bytes.len(), shape.record.len()),
                values_bytes: entry_bytes(key_bytes.len(), values.record.len()),
                chunks: state
                    .keys
                    .chunks()
                    .map(|(number, chunk)| chunk_of(&key_bytes, number, chunk))
                    .collect(),
            };
            keeper.live_bytes += entry.bytes();
            keeper.homes.entry(entry.segment).or_default().push(key.clone());
            keeper.written.insert(key, entry);
        }
        if let (false, Some(log)) = (outcome.lost.is_empty(), &mut keeper.log) {
            let lost: HashSet<&[u8]> = outcome.lost.iter().map(|(key, _)| &key[..]).collect();
            let is_lost =
                |kept: &&Vec<u8>| records::read_chunk_key(kept).is_some_and(|(of, _)| lost.contains(of));
            for chunk in live.keys().filter(is_lost) {
                keeper.batch.add(Kind::Gone, chunk, |_| {});
            }
            for (key, digest) in &outcome.lost {
                keeper.batch.add(Kind::Gone, key, |_| {});
                keeper.summary.groups -= 1;
                keeper.summary.digest = keeper.summary.digest.wrapping_sub(*digest);
            }
            log.append(&mut keeper.batch, keeper.summary)?;
            log.sync()?;
            keeper.batch.clear(limits::KEPT_BATCH_BYTES);
        }
        Ok(keeper)
    }

    /// Follows `store` in a fresh log, written from memory, and keeps the one called `name` aside.
    /// Returns where that is then, too.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn salvaged(
        store: Arc<Store>,
        folder: Folder,
        name: &str,
        unix_seconds: u64,
    ) -> io::Result<(Keeper, PathBuf)> {
        let fresh = folder.next_name()?;
        let mut keeper = Keeper::new(store, folder, fresh.clone(), None, Summary::default());
        keeper.seed(&fresh)?;
        let aside = keeper.folder.set_aside(name, unix_seconds)?;
        Ok((keeper, aside))
    }

    /// Whether the log takes changes.
    pub fn is_whole(&self) -> bool {
        self.log.is_some()
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether the time should be written down although nothing changed: after a restart groups live on from
    /// the last batch.
    pub fn owes_time(&self, stopping: bool) -> bool {
        let since = || self.store.now().monotonic.saturating_duration_since(self.marked_at.monotonic);
        self.store.has_lifetimes() && (stopping || since() >= limits::TIME_RECORD_INTERVAL)
    }

    /// Writes what changed, if anything did or the time is to be written, and waits for the disk if `synced`.
    ///
    /// # Errors
    ///
    /// What was written may be on the disk or not, and the log takes nothing more: go on with
    /// [`start_anew`](Keeper::start_anew).
    pub fn commit(&mut self, synced: bool, stopping: bool) -> io::Result<Commit> {
        let mut log = self.log.take().ok_or_else(given_up)?;
        self.collect();
        let mut commit = Commit::default();
        if !self.changes.is_empty() || self.owes_time(stopping) {
            commit = self.write(&mut log)?;
            if synced {
                log.sync()?;
            }
            self.remove_empty(&mut log)?;
        }
        self.log = Some(log);
        Ok(commit)
    }

    /// Waits until everything that was written is on the disk, and says so in the log.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Keeper::commit).
    pub fn close(&mut self) -> io::Result<()> {
        let mut log = self.log.take().ok_or_else(given_up)?;
        log.sync()?;
        // A batch behind the last one: from here on damage to that is no torn end.
        log.append(&mut Batch::default(), self.summary)?;
        log.sync()?;
        self.log = Some(log);
        Ok(())
    }

    /// Makes a fresh log of everything in memory and puts it in the place of the one that failed, which
    /// is removed then.
    ///
    /// # Errors
    ///
    /// It cannot be written; the one in use is still the old one.
    pub fn start_anew(&mut self) -> io::Result<Commit> {
        self.log = None;
        let name = self.folder.next_name()?;
        let outcome = self.seed(&name);
        if outcome.is_err() {
            // It would only take up room on a disk that may be full.
            self.folder.remove(&name);
        }
        let commit = outcome?;
        self.folder.remove(&std::mem::replace(&mut self.name, name));
        Ok(commit)
    }

    fn seed(&mut self, name: &str) -> io::Result<Commit> {
        let mut log = Log::create(&self.folder.path_of(name))?;
        self.written.clear();
        self.homes.clear();
        self.changes.clear();
        self.batch.clear(limits::KEPT_BATCH_BYTES);
        self.summary = Summary { time: self.summary.time, ..Summary::default() };
        self.live_bytes = 0;
        let mut total = Commit::default();
        let mut bytes = 0;
        for group in self.store.groups() {
            let Some(state) = group.load() else { continue };
            bytes += 64 + 8 * state.blocks.iter().map(|held| held.block.values.len()).sum::<usize>();
            self.changes.insert(group.key.clone(), Some(state));
            if bytes >= limits::SEED_BATCH_BYTES {
                total.add(self.write(&mut log)?);
                bytes = 0;
            }
        }
        total.add(self.write(&mut log)?);
        // States were loaded one after the other; now those that changed meanwhile, in order.
        self.collect();
        total.add(self.write(&mut log)?);
        log.sync()?;
        self.folder.switch_to(&Current { name: name.to_owned(), used: true })?;
        self.log = Some(log);
        Ok(total)
    }

    /// Takes the feed until a round changes no shape.
    fn collect(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if !self.take_feed() {
                return;
            }
        }
        let store = self.store.clone();
        store.hold_shapes(|| self.take_feed());
    }

    /// One round over the feed as it is now; true if a shape changed.
    fn take_feed(&mut self) -> bool {
        let mut reshaped = false;
        for _ in 0..self.store.changed(KEEPER) {
            let Some(group) = self.store.next_changed(KEEPER) else { break };
            // In the place of a group that is gone there may be a new one, which this must not remove.
            let state = group.load().or_else(|| self.store.state_of(&group.key));
            reshaped |= !match (&state, self.changes.get(&group.key)) {
                (Some(state), Some(Some(seen))) => state.same_shape(seen),
                (Some(state), None) => {
                    self.written.get(&group.key).is_some_and(|old| old.layout.is_of(state))
                }
                (None, Some(seen)) => seen.is_none(),
                (None, None) => !self.written.contains_key(&group.key),
                (Some(_), Some(None)) => false,
            };
            self.changes.insert(group.key.clone(), state);
        }
        reshaped
    }

    /// Appends `changes` as one batch, with some groups of the oldest segment.
    fn write(&mut self, log: &mut Log) -> io::Result<Commit> {
        let sequence = log.next_sequence();
        self.mark_time();
        let mut homecoming = Vec::new();
        let mut changes = std::mem::take(&mut self.changes);
        let groups = changes.len();
        for (key, state) in changes.drain() {
            match state {
                Some(state) => self.put(key, &state, sequence, false, &mut homecoming),
                None => self.remove(&key),
            }
        }
        // Going over a table costs what it has room for.
        if changes.capacity() <= CHANGES_KEPT_MAX {
            self.changes = changes;
        }
        self.clean(log, &mut homecoming);
        let bytes = self.batch.len();
        let segment = log.append(&mut self.batch, self.summary)?;
        self.batch.clear(limits::KEPT_BATCH_BYTES);
        for key in homecoming {
            if let Some(written) = self.written.get_mut(&key) {
                written.segment = segment;
                self.homes.entry(segment).or_default().push(key);
            }
        }
        Ok(Commit { groups, bytes })
    }

    /// Writes down what time it is, where that matters.
    fn mark_time(&mut self) {
        if self.store.has_lifetimes() || self.summary.time.is_some() {
            let now = self.store.now();
            self.summary.time = Some((self.store.running_at(now), now.wall));
            self.marked_at = now;
        }
    }

    /// Adds a group to the batch, its shape only if that changed or all is to be written `anew`; then its key
    /// goes to `homecoming`.
    fn put(
        &mut self,
        key: Arc<GroupingKey>,
        state: &GroupState,
        sequence: u64,
        anew: bool,
        homecoming: &mut Vec<Arc<GroupingKey>>,
    ) {
        records::write_key(&mut self.key, &key);
        let known = self.written.get(&key).filter(|old| !anew && old.layout.is_of(state));
        let checksum = known.as_ref().map(|old| old.shape_checksum);
        let (shape_checksum, shape_bytes) = match checksum {
            Some(checksum) => (checksum, 0),
            None => {
                let record = self.batch.add(Kind::Shape, &self.key, |out| {
                    records::push_shape(out, state, &self.key);
                });
                (records::checksum_of(record), entry_bytes(self.key.len(), record.len()))
            }
        };
        // Whoever writes the shape anew writes everything, so that nothing that counts is older than that.
        let old = checksum.and_then(|_| self.written.get_mut(&key));
        let chunks = put_chunks(
            &mut self.batch,
            &mut self.live_bytes,
            &self.key,
            state,
            old.map(|old| std::mem::take(&mut old.chunks)).unwrap_or_default(),
        );
        let checksums = chunks.iter().fold(0u32, |sum, chunk| sum.wrapping_add(chunk.checksum));
        let record = self.batch.add(Kind::Values, &self.key, |out| {
            records::push_values(out, state, &self.key, sequence, shape_checksum, checksums);
        });
        let values_bytes = entry_bytes(self.key.len(), record.len());
        let digest = records::digest(shape_checksum, records::checksum_of(record));
        self.summary.digest = self.summary.digest.wrapping_add(digest);
        self.live_bytes += shape_bytes + values_bytes;
        if let Some(old) = checksum.and_then(|_| self.written.get_mut(&key)) {
            self.summary.digest = self.summary.digest.wrapping_sub(old.digest);
            self.live_bytes -= old.values_bytes;
            (old.digest, old.sequence, old.values_bytes) = (digest, sequence, values_bytes);
            old.chunks = chunks;
            return;
        }
        let layout = Layout::of(state);
        let numbers: Vec<u64> = chunks.iter().map(|chunk| chunk.number).collect();
        let entry = Written {
            layout,
            shape_checksum,
            digest,
            sequence,
            segment: 0,
            shape_bytes,
            values_bytes,
            chunks,
        };
        self.summary.groups += 1;
        if let Some(old) = self.written.insert(key.clone(), entry) {
            self.summary.groups -= 1;
            self.forget(&old);
            // All others were written over.
            self.end_chunks(old.chunks.iter().map(|chunk| chunk.number).filter(|old| !numbers.contains(old)));
        }
        homecoming.push(key);
    }

    fn remove(&mut self, key: &GroupingKey) {
        let Some(old) = self.written.remove(key) else { return };
        records::write_key(&mut self.key, key);
        self.batch.add(Kind::Gone, &self.key, |_| {});
        self.end_chunks(old.chunks.iter().map(|chunk| chunk.number));
        self.summary.groups -= 1;
        self.forget(&old);
    }

    /// Ends chunks of keys of the group under `key`.
    fn end_chunks(&mut self, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            self.batch.add(Kind::Gone, &records::chunk_key(&self.key, number), |_| {});
        }
    }

    fn forget(&mut self, old: &Written) {
        self.summary.digest = self.summary.digest.wrapping_sub(old.digest);
        self.live_bytes -= old.bytes();
    }

    /// Adds groups whose records keep the oldest segment from being removed, if the log is too long.
    fn clean(&mut self, log: &Log, homecoming: &mut Vec<Arc<GroupingKey>>) {
        let Some(oldest) = log.oldest_full() else { return };
        if log.bytes() <= 2 * self.live_bytes as u64 + limits::LOG_SLACK_BYTES {
            return;
        }
        let bytes_max = 3 * self.batch.len() + limits::CLEANED_BYTES_MIN;
        let mut home = self.homes.remove(&oldest).unwrap_or_default();
        let mut later = Vec::new();
        while self.batch.len() < bytes_max
            && let Some(key) = home.pop()
        {
            let Some(old) = self.written.get(&key).filter(|old| old.segment == oldest) else { continue };
            match self.store.state_of(&key) {
                Some(state) if old.layout.is_of(&state) => {
                    self.put(key, &state, old.sequence, true, homecoming);
                }
                // It is on the feed, and moves with what it has become: not before others that it may
                // have given a family to, or taken one from.
                _ => later.push(key),
            }
        }
        home.append(&mut later);
        if !home.is_empty() {
            self.homes.insert(oldest, home);
        }
    }

    /// Removes the oldest segments as far as nothing in them counts.
    fn remove_empty(&mut self, log: &mut Log) -> io::Result<()> {
        while let Some(oldest) = log.oldest_full()
            && !self.homes.contains_key(&oldest)
        {
            log.remove_oldest()?;
        }
        Ok(())
    }
}

/// Adds the chunks of keys of a group to the batch, where they are not among the `old` ones that were written
/// since the group's shape, and ends those of them that are no more.
fn put_chunks(
    batch: &mut Batch,
    live_bytes: &mut usize,
    key: &[u8],
    state: &GroupState,
    old: Vec<WrittenChunk>,
) -> Vec<WrittenChunk> {
    let mut chunks = Vec::with_capacity(state.keys.chunks().len());
    let mut old: BTreeMap<u64, WrittenChunk> = old.into_iter().map(|chunk| (chunk.number, chunk)).collect();
    for (number, entries) in state.keys.chunks() {
        let known = old.remove(&number);
        if let Some(known) = known {
            if Arc::ptr_eq(&known.entries, entries) {
                chunks.push(known);
                continue;
            }
            *live_bytes -= known.bytes;
        }
        let chunk_key = records::chunk_key(key, number);
        let record = batch.add(Kind::Values, &chunk_key, |out| records::push_chunk(out, entries, &chunk_key));
        let checksum = records::checksum_of(record);
        let bytes = entry_bytes(chunk_key.len(), record.len());
        *live_bytes += bytes;
        chunks.push(WrittenChunk { number, entries: entries.clone(), checksum, bytes });
    }
    for (number, chunk) in old {
        *live_bytes -= chunk.bytes;
        batch.add(Kind::Gone, &records::chunk_key(key, number), |_| {});
    }
    chunks
}

/// A chunk that was restored, as it was written.
fn chunk_of(key: &[u8], number: u64, entries: &Arc<[Entry]>) -> WrittenChunk {
    let (chunk_key, mut record) = (records::chunk_key(key, number), Vec::new());
    records::push_chunk(&mut record, entries, &chunk_key);
    WrittenChunk {
        number,
        entries: entries.clone(),
        checksum: records::checksum_of(&record),
        bytes: entry_bytes(chunk_key.len(), record.len()),
    }
}

fn given_up() -> io::Error {
    io::Error::other("the log was given up")
}

impl Commit {
    fn add(&mut self, other: Commit) {
        self.groups += other.groups;
        self.bytes += other.bytes;
    }
}

//! What is on the disk, and how it is brought up to the store: batch by batch.
//!
//! A batch is ordered like a rendering: the feed is taken again until a round changes no shape, so that
//! a family which left one group for another is never kept in both.
//!
//! # Invariants
//!
//! 1. `written` and `summary` say what the database holds, unless a commit failed; then the database is
//!    given up, and a fresh one is made from memory before anything else is written.
//! 2. `CURRENT` names a database only once it is whole on the disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::database::{Batch, Database, DatabaseError, Tag};
use super::folder::{Current, Folder};
use super::records::{self, Summary};
use super::restore::Outcome;
use crate::clock::Now;
use crate::limits;
use crate::model::GroupingKey;
use crate::store::Store;
use crate::store::group::{GroupState, KEEPER, Layout};

/// Rounds over the feed before changes of shape are held back.
const ROUNDS_MAX: usize = 4;

/// What the database holds of a group.
struct Written {
    layout: Layout,
    shape_checksum: u32,
    digest: u64,
}

/// Changed groups as they are now; `None` for those that are gone.
type Changes = HashMap<Arc<GroupingKey>, Option<GroupState>>;

/// See the module.
pub struct Keeper {
    store: Arc<Store>,
    folder: Folder,
    name: String,
    /// `None` once it failed.
    database: Option<Database>,
    written: HashMap<Arc<GroupingKey>, Written>,
    summary: Summary,
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
    /// Follows `store`, which was just restored from `database`. Groups that the store would not take
    /// back are removed from it.
    ///
    /// # Errors
    ///
    /// They cannot be removed.
    pub fn new(
        store: Arc<Store>,
        folder: Folder,
        name: String,
        database: Database,
        outcome: Outcome,
        mut summary: Summary,
    ) -> Result<Keeper, DatabaseError> {
        // What was restored is on the disk already.
        while store.next_changed(KEEPER).is_some() {}
        let mut written = HashMap::with_capacity(outcome.restored.len());
        for restored in outcome.restored {
            let Some(state) = restored.group.load() else { continue };
            let entry = Written {
                layout: Layout::of(&state),
                shape_checksum: restored.shape_checksum,
                digest: records::digest(restored.shape_checksum, restored.values_checksum),
            };
            written.insert(restored.group.key.clone(), entry);
        }
        if !outcome.lost.is_empty() {
            let mut batch = database.batch();
            summary.sequence += 1;
            for (key, digest) in outcome.lost {
                database.remove(&mut batch, Tag::Shape, &key);
                database.remove(&mut batch, Tag::Values, &key);
                summary.groups -= 1;
                summary.digest = summary.digest.wrapping_sub(digest);
            }
            database.put(&mut batch, Tag::Summary, b"", summary.record(b""));
            database.commit(batch, true)?;
        }
        let marked_at = store.now();
        Ok(Keeper { store, folder, name, database: Some(database), written, summary, marked_at })
    }

    /// Follows `store` in a fresh database, written from memory, and keeps the one called `name` aside.
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
    ) -> Result<(Keeper, PathBuf), DatabaseError> {
        let fresh = folder.next_name()?;
        let mut keeper = Keeper {
            marked_at: store.now(),
            store,
            folder,
            name: fresh.clone(),
            database: None,
            written: HashMap::new(),
            summary: Summary::default(),
        };
        keeper.database = Some(keeper.seed(&fresh)?.0);
        let aside = keeper.folder.set_aside(name, unix_seconds)?;
        Ok((keeper, aside))
    }

    /// Whether the database takes changes.
    pub fn is_whole(&self) -> bool {
        self.database.is_some()
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
    /// What was written may be on the disk or not, and the database takes nothing more: go on with
    /// [`start_anew`](Keeper::start_anew).
    pub fn commit(&mut self, synced: bool, stopping: bool) -> Result<Commit, DatabaseError> {
        let Some(database) = self.database.take() else {
            return Err(DatabaseError::Damage("the database was given up".to_owned()));
        };
        let changes = self.collect();
        if changes.is_empty() && !self.owes_time(stopping) {
            self.database = Some(database);
            return Ok(Commit::default());
        }
        let commit = self.write(&database, changes, synced)?;
        self.database = Some(database);
        Ok(commit)
    }

    /// Waits until everything that was written is on the disk.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Keeper::commit).
    pub fn sync(&mut self) -> Result<(), DatabaseError> {
        let Some(database) = self.database.take() else { return Ok(()) };
        database.sync()?;
        self.database = Some(database);
        Ok(())
    }

    /// Makes a fresh database of everything in memory and puts it in the place of the one that failed,
    /// which is removed then.
    ///
    /// # Errors
    ///
    /// It cannot be written; the one in use is still the old one.
    pub fn start_anew(&mut self) -> Result<Commit, DatabaseError> {
        self.database = None;
        let name = self.folder.next_name()?;
        let outcome = self.seed(&name);
        if outcome.is_err() {
            // It would only take up room on a disk that may be full.
            self.folder.remove(&name);
        }
        let (database, commit) = outcome?;
        self.database = Some(database);
        self.folder.remove(&std::mem::replace(&mut self.name, name));
        Ok(commit)
    }

    fn seed(&mut self, name: &str) -> Result<(Database, Commit), DatabaseError> {
        let database = Database::open(&self.folder.database(name))?;
        self.written.clear();
        self.summary = Summary { sequence: self.summary.sequence, ..Summary::default() };
        let mut total = Commit::default();
        let mut changes = Changes::new();
        let mut bytes = 0;
        for group in self.store.groups() {
            let Some(state) = group.load() else { continue };
            bytes += 64 + 8 * state.blocks.iter().map(|held| held.block.values.len()).sum::<usize>();
            changes.insert(group.key.clone(), Some(state));
            if bytes >= limits::SEED_BATCH_BYTES {
                total.add(self.write(&database, std::mem::take(&mut changes), false)?);
                bytes = 0;
            }
        }
        total.add(self.write(&database, changes, false)?);
        // States were loaded one after the other; now those that changed meanwhile, in order.
        let changes = self.collect();
        total.add(self.write(&database, changes, false)?);
        database.sync()?;
        self.folder.switch_to(&Current { name: name.to_owned(), used: true })?;
        Ok((database, total))
    }

    /// Takes the feed until a round changes no shape.
    fn collect(&self) -> Changes {
        let mut changes = Changes::new();
        for _ in 0..ROUNDS_MAX {
            if !self.take_feed(&mut changes) {
                return changes;
            }
        }
        self.store.hold_shapes(|| self.take_feed(&mut changes));
        changes
    }

    /// One round over the feed as it is now; true if a shape changed.
    fn take_feed(&self, changes: &mut Changes) -> bool {
        let mut reshaped = false;
        for _ in 0..self.store.changed(KEEPER) {
            let Some(group) = self.store.next_changed(KEEPER) else { break };
            // In the place of a group that is gone there may be a new one, which this must not remove.
            let state = group.load().or_else(|| self.store.state_of(&group.key));
            reshaped |= !match (&state, changes.get(&group.key)) {
                (Some(state), Some(Some(seen))) => state.same_shape(seen),
                (Some(state), None) => {
                    self.written.get(&group.key).is_some_and(|old| old.layout.is_of(state))
                }
                (None, Some(seen)) => seen.is_none(),
                (None, None) => !self.written.contains_key(&group.key),
                (Some(_), Some(None)) => false,
            };
            changes.insert(group.key.clone(), state);
        }
        reshaped
    }

    fn write(
        &mut self,
        database: &Database,
        changes: Changes,
        synced: bool,
    ) -> Result<Commit, DatabaseError> {
        let mut batch = database.batch();
        self.summary.sequence += 1;
        self.mark_time();
        let groups = changes.len();
        for (key, state) in changes {
            match state {
                Some(state) => self.put(database, &mut batch, key, &state),
                None => self.remove(database, &mut batch, &key),
            }
        }
        database.put(&mut batch, Tag::Summary, b"", self.summary.record(b""));
        let bytes = batch.bytes;
        database.commit(batch, synced)?;
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

    fn put(&mut self, database: &Database, batch: &mut Batch, key: Arc<GroupingKey>, state: &GroupState) {
        let bytes = records::key_bytes(&key);
        let old = self.written.get(&key);
        let shape_checksum = match old {
            Some(old) if old.layout.is_of(state) => old.shape_checksum,
            _ => {
                let record = records::shape_record(state, &bytes);
                let checksum = records::checksum_of(&record);
                database.put(batch, Tag::Shape, &bytes, record);
                checksum
            }
        };
        let values = records::values_record(state, &bytes, self.summary.sequence, shape_checksum);
        let digest = records::digest(shape_checksum, records::checksum_of(&values));
        database.put(batch, Tag::Values, &bytes, values);
        self.summary.digest =
            self.summary.digest.wrapping_add(digest).wrapping_sub(old.map_or(0, |old| old.digest));
        self.summary.groups += u64::from(old.is_none());
        match self.written.get_mut(&key) {
            Some(old) if old.layout.is_of(state) => old.digest = digest,
            _ => {
                self.written.insert(key, Written { layout: Layout::of(state), shape_checksum, digest });
            }
        }
    }

    fn remove(&mut self, database: &Database, batch: &mut Batch, key: &Arc<GroupingKey>) {
        let Some(old) = self.written.remove(key) else { return };
        let bytes = records::key_bytes(key);
        database.remove(batch, Tag::Shape, &bytes);
        database.remove(batch, Tag::Values, &bytes);
        self.summary.digest = self.summary.digest.wrapping_sub(old.digest);
        self.summary.groups -= 1;
    }
}

impl Commit {
    fn add(&mut self, other: Commit) {
        self.groups += other.groups;
        self.bytes += other.bytes;
    }
}

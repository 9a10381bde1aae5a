//! The database under the durable sink: the one file that knows which engine it is.
//!
//! One key space holds everything, so that what is flushed is always a prefix of what was committed.
//! Keys are a tag byte, then the grouping key's bytes (see [`records`](super::records)).

use std::path::Path;

use fjall::config::FilterPolicy;
use fjall::{Database as Engine, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use crate::limits;

/// The name of the key space.
const KEYSPACE: &str = "groups";

/// What a record is: the first byte of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    Shape = b's',
    /// The summary of all groups, under the empty grouping key.
    Summary = b't',
    Values = b'v',
}

/// Why the database does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The system refused; trying again later may help.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the database is in use by another process")]
    Locked,
    #[error("the database is of a format that this version of floodway does not know")]
    Version,
    /// What is there cannot be understood.
    #[error("{0}")]
    Damage(String),
}

impl From<fjall::Error> for DatabaseError {
    fn from(error: fjall::Error) -> DatabaseError {
        match error {
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
                // An end of file that comes too early is no refusal of the system's.
                match error.kind() {
                    std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => {
                        DatabaseError::Damage(error.to_string())
                    }
                    _ => DatabaseError::Io(error),
                }
            }
            fjall::Error::Locked => DatabaseError::Locked,
            fjall::Error::InvalidVersion(_) => DatabaseError::Version,
            other => DatabaseError::Damage(other.to_string()),
        }
    }
}

/// An open database.
pub struct Database {
    engine: Engine,
    keyspace: Keyspace,
}

/// Changes that become visible together.
pub struct Batch {
    batch: OwnedWriteBatch,
    pub bytes: usize,
}

impl Database {
    /// Opens the database in `folder`, or makes one if there is no folder.
    ///
    /// # Errors
    ///
    /// It cannot be read or written.
    pub fn open(folder: &Path) -> Result<Database, DatabaseError> {
        let engine = Engine::builder(folder)
            // Groups are read once, at start.
            .cache_size(1 << 20)
            .worker_threads(1)
            .max_journaling_size(limits::JOURNAL_BYTES_MAX)
            .manual_journal_persist(true)
            .open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(limits::MEMTABLE_BYTES)
                .manual_journal_persist(true)
                .filter_policy(FilterPolicy::disabled())
        };
        let keyspace = engine.keyspace(KEYSPACE, options)?;
        Ok(Database { engine, keyspace })
    }

    pub fn batch(&self) -> Batch {
        Batch { batch: self.engine.batch(), bytes: 0 }
    }

    pub fn put(&self, batch: &mut Batch, tag: Tag, key: &[u8], record: Vec<u8>) {
        let key = tagged(tag, key);
        batch.bytes += key.len() + record.len();
        batch.batch.insert(&self.keyspace, key, record);
    }

    pub fn remove(&self, batch: &mut Batch, tag: Tag, key: &[u8]) {
        let key = tagged(tag, key);
        batch.bytes += key.len();
        batch.batch.remove(&self.keyspace, key);
    }

    /// Hands a batch to the system, and waits until it is on the disk if `synced`. After an error the
    /// database takes nothing more.
    ///
    /// # Errors
    ///
    /// The batch may be on the disk or not.
    pub fn commit(&self, batch: Batch, synced: bool) -> Result<(), DatabaseError> {
        let mode = if synced { PersistMode::SyncData } else { PersistMode::Buffer };
        Ok(batch.batch.durability(Some(mode)).commit()?)
    }

    /// Waits until everything that was committed is on the disk.
    ///
    /// # Errors
    ///
    /// It may be there or not; the database takes nothing more.
    pub fn sync(&self) -> Result<(), DatabaseError> {
        Ok(self.engine.persist(PersistMode::SyncAll)?)
    }

    /// Shows every record of a kind to `take`, ordered by key.
    ///
    /// # Errors
    ///
    /// A part of the database cannot be read, or `take` gave up.
    pub fn each<E: From<DatabaseError>>(
        &self,
        tag: Tag,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for entry in self.keyspace.prefix([tag as u8]) {
            let (key, record) = entry.into_inner().map_err(DatabaseError::from)?;
            take(&key[1..], &record)?;
        }
        Ok(())
    }
}

fn tagged(tag: Tag, key: &[u8]) -> Vec<u8> {
    let mut tagged = Vec::with_capacity(1 + key.len());
    tagged.push(tag as u8);
    tagged.extend_from_slice(key);
    tagged
}

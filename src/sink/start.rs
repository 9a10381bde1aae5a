//! From a directory to a store that holds what was kept there, before the first push is taken.
//!
//! What cannot be read is never written to: a torn end of the newest journal is cut, which takes only
//! what nobody was told of, and everything else refuses to start. With `--persistence.salvage` the
//! database is set aside as it is, a copy of it gives what is readable, and that goes into a fresh one.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::database::{Database, DatabaseError, Tag};
use super::durable::Options;
use super::folder::{Current, Folder, FolderError, Holds};
use super::journal::{self, Verdict};
use super::keeper::Keeper;
use super::records::{BadRecord, Summary};
use super::restore::{Damage, Outcome, Reader};
use crate::clock::Now;
use crate::store::Store;

/// The working copy of a salvage.
const SALVAGE: &str = "salvage";

/// Files without which the engine would take a database for a fresh one, or remove parts of it.
const ENGINE_FILES: [&str; 3] = ["version", "keyspaces/0/current", "keyspaces/1/current"];

/// Why the persisted groups cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot use --persistence.file={}: {fault}", path.display())]
    Folder { path: PathBuf, fault: FolderError },
    #[error("cannot read the groups persisted in {}: {fault}", path.display())]
    Groups { path: PathBuf, fault: Fault },
    #[error("cannot start the thread that persists groups: {0}")]
    Thread(io::Error),
}

impl StartError {
    /// What can be done about it.
    pub fn way_out(&self) -> &'static str {
        match self {
            StartError::Folder { fault, .. } => way_out(fault),
            StartError::Groups { fault, .. } => fault.way_out(),
            StartError::Thread(_) => "allow the process more threads",
        }
    }
}

fn way_out(fault: &FolderError) -> &'static str {
    match fault {
        FolderError::Io(_) => "it must name a directory that may be read and written, in one that exists",
        FolderError::Locked => "stop that process, or name another directory",
        FolderError::Foreign => "name an empty directory, or one that does not exist yet",
        FolderError::Newer(_) => "start the version of floodway that wrote it, or name another directory",
        FolderError::NotAFolder => "name a directory, or move the file away",
        FolderError::NoCurrent => "--persistence.salvage keeps it aside and starts with what is readable",
    }
}

/// Why a database cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Database(#[from] DatabaseError),
    #[error("{0}")]
    Damage(#[from] Damage),
    #[error("the journal {file} is damaged at byte {at}")]
    Journal { file: String, at: usize },
    #[error("its file {0} is missing")]
    Missing(&'static str),
    #[error("the database engine gave up on it")]
    Panic,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Database(error.into())
    }
}

impl Fault {
    /// Whether a salvage may help.
    fn is_damage(&self) -> bool {
        let newer = matches!(self, Fault::Damage(damage) if damage.is_of_newer_format());
        let other = matches!(self, Fault::Database(error) if !matches!(error, DatabaseError::Damage(_)));
        !newer && !other
    }

    fn way_out(&self) -> &'static str {
        match self {
            Fault::Database(DatabaseError::Locked) => "stop that process, or name another directory",
            Fault::Database(DatabaseError::Io(_)) => {
                "see to the disk and the permissions; nothing was changed"
            }
            fault if fault.is_damage() => {
                "put a copy in its place, or start with --persistence.salvage, which keeps it aside and starts \
                 with what is readable; nothing was changed"
            }
            _ => "start the version of floodway that wrote it, or name another directory",
        }
    }
}

/// Opens the directory and puts what it holds into the empty `store`.
///
/// # Errors
///
/// The directory or what is in it cannot be used.
pub(super) fn start(store: &Arc<Store>, options: &Options) -> Result<Keeper, StartError> {
    let of_folder = |fault: FolderError| StartError::Folder { path: options.path.clone(), fault };
    let (folder, holds) = Folder::open(&options.path).map_err(of_folder)?;
    let (name, used) = match holds {
        Holds::Nothing => (folder.next_name().map_err(|error| of_folder(error.into()))?, false),
        Holds::Database(Current { name, used }) => (name, used),
        Holds::Unnamed => match folder.newest() {
            Ok(Some(name)) if options.salvage => (name, true),
            Ok(_) => return Err(of_folder(FolderError::NoCurrent)),
            Err(error) => return Err(of_folder(error.into())),
        },
    };
    let path = folder.database(&name);
    let keeper = if used { existing(store, folder, name, options) } else { fresh(store, folder, name) };
    keeper.map_err(|fault| StartError::Groups { path, fault })
}

/// Makes the first database. What is there under its name was never in use.
fn fresh(store: &Arc<Store>, folder: Folder, name: String) -> Result<Keeper, Fault> {
    let path = folder.database(&name);
    folder.switch_to(&Current { name: name.clone(), used: false })?;
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let database = Database::open(&path)?;
    let mut batch = database.batch();
    database.put(&mut batch, Tag::Summary, b"", Summary::default().record(b""));
    database.commit(batch, true)?;
    folder.switch_to(&Current { name: name.clone(), used: true })?;
    Ok(Keeper::new(store.clone(), folder, name, database, Outcome::default(), Summary::default())?)
}

fn existing(store: &Arc<Store>, folder: Folder, name: String, options: &Options) -> Result<Keeper, Fault> {
    let path = folder.database(&name);
    let begun = Instant::now();
    match restore(store, &path) {
        Ok((database, outcome, summary)) => {
            tracing::info!(
                path = %path.display(),
                groups = outcome.restored.len(),
                series = store.series_count(),
                seconds = begun.elapsed().as_secs_f64(),
                "restored persisted metrics"
            );
            folder.remove_newer(&name);
            Ok(Keeper::new(store.clone(), folder, name, database, outcome, summary)?)
        }
        Err(fault) if options.salvage && fault.is_damage() => {
            tracing::error!(err = %fault, "persisted metrics are damaged; salvaging what is readable");
            salvage(store, folder, name)
        }
        Err(fault) => Err(fault),
    }
}

type Restored = (Database, Outcome, Summary);

/// Reads a database whole, then puts it into the store.
fn restore(store: &Store, path: &Path) -> Result<Restored, Fault> {
    if let Some(missing) = ENGINE_FILES.iter().find(|file| !path.join(file).exists()) {
        return Err(Fault::Missing(missing));
    }
    for (journal, is_last) in journals(path)? {
        check_journal(&journal, is_last)?;
    }
    catching(|| {
        let database = Database::open(path)?;
        let mut reader = Reader::new(store);
        database.each(Tag::Shape, |key, record| Ok::<_, Fault>(reader.shape(key, record)?))?;
        database.each(Tag::Values, |key, record| Ok::<_, Fault>(reader.values(key, record)?))?;
        let mut summary = None;
        database.each(Tag::Summary, |key, record| {
            summary = Some(Summary::read(record, key).map_err(Damage::Summary)?);
            Ok::<_, Fault>(())
        })?;
        let summary = reader.check(summary)?;
        let time = summary.time;
        Ok((database, reader.finish(time), summary))
    })
}

/// Turns a panic of the engine's, which meets damage with assertions, into a fault.
fn catching<R>(run: impl FnOnce() -> Result<R, Fault>) -> Result<R, Fault> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Fault::Panic))
}

/// The journals of a database in the order in which they were written, and which is the last.
fn journals(path: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(number) = name.strip_suffix(".jnl") {
            journals.push((number.parse::<u64>().unwrap_or(u64::MAX), path));
        }
    }
    journals.sort();
    let last = journals.len().saturating_sub(1);
    Ok(journals.into_iter().enumerate().map(|(at, (_, path))| (path, at == last)).collect())
}

/// Cuts the torn end of the last journal; refuses any other fault.
fn check_journal(path: &Path, is_last: bool) -> Result<(), Fault> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match journal::examine(&fs::read(path)?) {
        Verdict::Whole => Ok(()),
        Verdict::Torn(torn) if is_last => {
            tracing::warn!(
                file,
                at = torn.start,
                bytes = torn.len(),
                "cut the torn end of a write that was never acknowledged"
            );
            let journal = File::options().write(true).open(path)?;
            journal.set_len(torn.start as u64)?;
            Ok(journal.sync_all()?)
        }
        Verdict::Torn(damaged) | Verdict::Damaged(damaged) => Err(Fault::Journal { file, at: damaged.start }),
    }
}

/// Sets the database aside and starts a fresh one with what a copy of it gives.
fn salvage(store: &Arc<Store>, folder: Folder, name: String) -> Result<Keeper, Fault> {
    let copy = folder.database(SALVAGE);
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    copy_folder(&folder.database(&name), &copy)?;
    let mut faults = 0;
    let outcome = read_leniently(store, &copy, &mut faults);
    fs::remove_dir_all(&copy)?;
    let now = Now::read().wall.0 / 1_000_000_000;
    let (keeper, aside) = Keeper::salvaged(store.clone(), folder, &name, now)?;
    tracing::warn!(
        groups = outcome.restored.len(),
        contradicting = outcome.lost.len(),
        faults,
        kept = %aside.display(),
        "salvaged persisted metrics; what was there is kept aside"
    );
    Ok(keeper)
}

/// Puts into the store what can be read, however little it is.
fn read_leniently(store: &Store, path: &Path, faults: &mut usize) -> Outcome {
    let mut reader = Reader::new(store);
    let mut time = None;
    let read = catching(|| {
        for (journal, _) in journals(path)? {
            let bytes = fs::read(&journal)?;
            if journal::examine(&bytes) != Verdict::Whole {
                *faults += 1;
                fs::write(&journal, journal::readable(&bytes))?;
            }
        }
        let database = Database::open(path)?;
        let mut tell = |damage: Damage| {
            *faults += 1;
            tracing::error!(err = %damage, "left out");
        };
        database.each(Tag::Shape, |key, record| {
            reader.shape(key, record).unwrap_or_else(&mut tell);
            Ok::<_, Fault>(())
        })?;
        database.each(Tag::Values, |key, record| {
            reader.values(key, record).unwrap_or_else(&mut tell);
            Ok::<_, Fault>(())
        })?;
        database.each(Tag::Summary, |key, record| {
            match Summary::read(record, key) {
                Ok(summary) => time = summary.time,
                Err(fault) => tell(Damage::Summary(fault)),
            }
            Ok::<_, Fault>(())
        })
    });
    if let Err(fault) = read {
        *faults += 1;
        tracing::error!(err = %fault, "the rest cannot be read");
    }
    reader.finish(time)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        fs::create_dir(&to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push((entry.path(), target));
            } else {
                fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}

impl Damage {
    fn is_of_newer_format(&self) -> bool {
        matches!(
            self,
            Damage::Group { fault: BadRecord::Version(_), .. } | Damage::Summary(BadRecord::Version(_))
        )
    }
}

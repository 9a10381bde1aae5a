//! From a directory to a store that holds what was kept there, before the first push is taken.
//!
//! What cannot be read is never written to: a torn end of the log is cut, which takes only what nobody was
//! told of, and everything else refuses to start. With `--persistence.salvage` the log is set aside as it
//! is, and what is readable of it goes into a fresh one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::durable::Options;
use super::folder::{Current, Folder, FolderError, Holds};
use super::keeper::Keeper;
use super::log::Log;
use super::records::{BadRecord, Summary};
use super::restore::{Damage, Outcome, Reader};
use super::scan::{self, Live, LogError, Scan};
use super::segment::{Batch, Kind};
use crate::clock::Now;
use crate::store::Store;

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
        FolderError::Format(_) => "start the version of floodway that wrote it, or name another directory",
        FolderError::NotAFolder => "name a directory, or move the file away",
        FolderError::NoCurrent => "--persistence.salvage keeps it aside and starts with what is readable",
    }
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Log(#[from] LogError),
    #[error("{0}")]
    Damage(#[from] Damage),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Log(error.into())
    }
}

impl Fault {
    /// Whether a salvage may help.
    fn is_damage(&self) -> bool {
        match self {
            Fault::Log(error) => matches!(error, LogError::Missing(_) | LogError::Damaged { .. }),
            Fault::Damage(damage) => !damage.is_of_newer_format(),
        }
    }

    fn way_out(&self) -> &'static str {
        match self {
            Fault::Log(LogError::Io(_)) => "see to the disk and the permissions; nothing was changed",
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
        Holds::Log(Current { name, used }) => (name, used),
        Holds::Unnamed => match folder.newest() {
            Ok(Some(name)) if options.salvage => (name, true),
            Ok(_) => return Err(of_folder(FolderError::NoCurrent)),
            Err(error) => return Err(of_folder(error.into())),
        },
    };
    let path = folder.path_of(&name);
    let keeper = if used { existing(store, folder, name, options) } else { fresh(store, folder, name) };
    keeper.map_err(|fault| StartError::Groups { path, fault })
}

/// Makes the first log. What is there under its name was never in use.
fn fresh(store: &Arc<Store>, folder: Folder, name: String) -> Result<Keeper, Fault> {
    let path = folder.path_of(&name);
    folder.switch_to(&Current { name: name.clone(), used: false })?;
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut log = Log::create(&path)?;
    log.append(&mut Batch::default(), Summary::default())?;
    log.sync()?;
    folder.switch_to(&Current { name: name.clone(), used: true })?;
    Ok(Keeper::new(store.clone(), folder, name, Some(log), Summary::default()))
}

fn existing(store: &Arc<Store>, folder: Folder, name: String, options: &Options) -> Result<Keeper, Fault> {
    let path = folder.path_of(&name);
    let begun = Instant::now();
    match restore(store, &path) {
        Ok((log, outcome, summary)) => {
            tracing::info!(
                path = %path.display(),
                groups = outcome.restored.len(),
                series = store.series_count(),
                seconds = begun.elapsed().as_secs_f64(),
                "restored persisted metrics"
            );
            folder.remove_newer(&name);
            Ok(Keeper::restored(store.clone(), folder, name, log, outcome, summary)?)
        }
        Err(fault) if options.salvage && fault.is_damage() => {
            tracing::error!(err = %fault, "persisted metrics are damaged; salvaging what is readable");
            salvage(store, folder, name)
        }
        Err(fault) => Err(fault),
    }
}

/// Reads a log whole, then puts what it holds into the store.
fn restore(store: &Store, path: &Path) -> Result<((Log, Live), Outcome, Summary), Fault> {
    let scan = Scan::of(path)?;
    let summary = scan.summary;
    let mut reader = Reader::new(store);
    scan::each(path, &scan.live, |kind, key, record| Ok::<_, Fault>(take(&mut reader, kind, key, record)?))?;
    reader.check(summary)?;
    let log = scan.resume()?;
    Ok((log, reader.finish(summary.time), summary))
}

fn take(reader: &mut Reader<'_>, kind: Kind, key: &[u8], record: &[u8]) -> Result<(), Damage> {
    if kind == Kind::Shape { reader.shape(key, record) } else { reader.values(key, record) }
}

/// Sets the log aside and starts a fresh one with what it gives.
fn salvage(store: &Arc<Store>, folder: Folder, name: String) -> Result<Keeper, Fault> {
    let mut faults = 0;
    let outcome = read_leniently(store, &folder.path_of(&name), &mut faults);
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
    let read = scan::readable(path, faults).map_err(LogError::from).and_then(|(live, summary)| {
        time = summary.time;
        scan::each(path, &live, |kind, key, record| {
            take(&mut reader, kind, key, record).unwrap_or_else(|damage| {
                *faults += 1;
                tracing::error!(err = %damage, "left out");
            });
            Ok(())
        })
    });
    if let Err(fault) = read {
        *faults += 1;
        tracing::error!(err = %fault, "the rest cannot be read");
    }
    reader.finish(time)
}

impl Damage {
    fn is_of_newer_format(&self) -> bool {
        matches!(self, Damage::Group { fault: BadRecord::Version(_), .. })
    }
}

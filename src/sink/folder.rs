//! The directory that `--persistence.file` names.
//!
//! ```text
//! lock        held for as long as a process uses the directory
//! CURRENT     one line: `floodway 2 groups-N used CHECKSUM`
//! groups-N    a log
//! damaged-*   what could not be read, kept aside by a salvage
//! ```
//!
//! `CURRENT` is replaced by a rename, so it names either the old log or the new one. Its state is
//! `new` until the log it names is whole on the disk; until then nothing in it was acknowledged and
//! it may be made again. A `groups-N` that is not named by it is never read. The number after `floodway`
//! is raised with every change that an older version must not touch.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
const CURRENT: &str = "CURRENT";
const CURRENT_NEXT: &str = "CURRENT.next";
const LOGS: &str = "groups-";
const MAGIC: &str = "floodway";
const VERSION: &str = "2";

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is in use by another process")]
    Locked,
    #[error("it is a file, and not a Pushgateway's")]
    NotAFolder,
    #[error("it holds files that are not floodway's")]
    Foreign,
    #[error("it is of format {0}, and this version of floodway knows {VERSION} only")]
    Format(String),
    #[error("its file {CURRENT} is damaged or missing")]
    NoCurrent,
}

/// The directory, locked.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
}

/// What a directory holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Holds {
    Nothing,
    Log(Current),
    /// Logs, and no telling which of them is in use.
    Unnamed,
}

/// Which log is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    pub name: String,
    /// Whether it was whole on the disk when this was written.
    pub used: bool,
}

impl Folder {
    /// Locks the directory, which is made if it is not there, and reads what it holds.
    ///
    /// # Errors
    ///
    /// It cannot be used. Nothing in it was changed.
    pub fn open(path: &Path) -> Result<(Folder, Holds), FolderError> {
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => return Err(FolderError::NotAFolder),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(path)?;
                sync_folder(path.parent().filter(|parent| !parent.as_os_str().is_empty()))?;
            }
            Err(error) => return Err(error.into()),
        }
        let names = names_in(path)?;
        let known = names.iter().any(|name| name == CURRENT || name.starts_with(LOGS));
        if !known && names.iter().any(|name| name != LOCK && name != CURRENT_NEXT) {
            return Err(FolderError::Foreign);
        }
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::Locked),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let folder = Folder { path: path.to_owned(), _lock: lock };
        let holds = match fs::read(path.join(CURRENT)) {
            Ok(line) => parse(&line)?.map_or(Holds::Unnamed, Holds::Log),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Err(_) if known => Holds::Unnamed,
            Err(_) => Holds::Nothing,
        };
        Ok((folder, holds))
    }

    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A name that no log has or had.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn next_name(&self) -> io::Result<String> {
        let names = names_in(&self.path)?;
        // Those that were set aside count as well.
        let number = |name: &String| name.find(LOGS).and_then(|at| number_of(&name[at..]));
        Ok(format!("{LOGS}{}", names.iter().filter_map(number).max().unwrap_or(0) + 1))
    }

    /// The newest log there is, whatever `CURRENT` says.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn newest(&self) -> io::Result<Option<String>> {
        let names = names_in(&self.path)?.into_iter();
        Ok(names.filter(|name| number_of(name).is_some()).max_by_key(|name| number_of(name)))
    }

    /// Makes `current` the log in use; it is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// It may be in use or not.
    pub fn switch_to(&self, current: &Current) -> io::Result<()> {
        let state = if current.used { "used" } else { "new" };
        let words = format!("{MAGIC} {VERSION} {} {state}", current.name);
        let next = self.path.join(CURRENT_NEXT);
        let mut file = File::create(&next)?;
        writeln!(file, "{words} {:08x}", crc32fast::hash(words.as_bytes()))?;
        file.sync_all()?;
        fs::rename(next, self.path.join(CURRENT))?;
        sync_folder(Some(&self.path))
    }

    /// Removes a log. If that fails it only takes up room.
    pub fn remove(&self, name: &str) {
        let _ = fs::remove_dir_all(self.path.join(name));
    }

    /// Removes the logs made after `name`: attempts to take its place that did not come to an end.
    pub fn remove_newer(&self, name: &str) {
        for other in names_in(&self.path).unwrap_or_default() {
            if number_of(&other) > number_of(name) {
                self.remove(&other);
            }
        }
    }

    /// Keeps a log aside under a name that says so; where it is then.
    ///
    /// # Errors
    ///
    /// It cannot be renamed.
    pub fn set_aside(&self, name: &str, unix_seconds: u64) -> io::Result<PathBuf> {
        let aside = self.path.join(format!("damaged-{unix_seconds}-{name}"));
        fs::rename(self.path.join(name), &aside)?;
        sync_folder(Some(&self.path))?;
        Ok(aside)
    }
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(LOGS)?.parse().ok()
}

fn names_in(path: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn sync_folder(path: Option<&Path>) -> io::Result<()> {
    File::open(path.unwrap_or(Path::new(".")))?.sync_all()
}

/// Reads `CURRENT`; `None` if it is damaged.
fn parse(line: &[u8]) -> Result<Option<Current>, FolderError> {
    let Ok(line) = str::from_utf8(line) else { return Ok(None) };
    let Some((words, checksum)) = line.trim_end().rsplit_once(' ') else { return Ok(None) };
    if checksum != format!("{:08x}", crc32fast::hash(words.as_bytes())) {
        return Ok(None);
    }
    let words: Vec<&str> = words.split(' ').collect();
    match words[..] {
        [MAGIC, VERSION, name, state @ ("used" | "new")] if number_of(name).is_some() => {
            Ok(Some(Current { name: name.to_owned(), used: state == "used" }))
        }
        [MAGIC, version, ..] if version != VERSION => Err(FolderError::Format(version.to_owned())),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::scratch::Scratch;

    #[test]
    fn a_folder_remembers_what_is_in_use() {
        let scratch = Scratch::new("folder");
        let path = scratch.path("f");
        let (folder, holds) = Folder::open(&path).unwrap();
        assert_eq!(holds, Holds::Nothing);
        assert!(matches!(Folder::open(&path), Err(FolderError::Locked)));
        let name = folder.next_name().unwrap();
        assert_eq!(name, "groups-1");
        for used in [false, true] {
            folder.switch_to(&Current { name: name.clone(), used }).unwrap();
        }
        fs::create_dir(folder.path_of(&name)).unwrap();
        fs::create_dir(folder.path_of("groups-10")).unwrap();
        assert_eq!(folder.next_name().unwrap(), "groups-11");
        assert_eq!(folder.newest().unwrap().unwrap(), "groups-10");
        folder.remove_newer(&name);
        assert_eq!(folder.newest().unwrap(), Some(name.clone()));
        let aside = folder.set_aside(&name, 7).unwrap();
        assert!(aside.ends_with("damaged-7-groups-1") && aside.is_dir());
        assert_eq!(folder.next_name().unwrap(), "groups-2");
        drop(folder);
        assert_eq!(Folder::open(&path).unwrap().1, Holds::Log(Current { name, used: true }));
        fs::write(path.join(CURRENT), "x").unwrap();
        assert_eq!(Folder::open(&path).unwrap().1, Holds::Unnamed);
    }

    #[test]
    fn what_is_not_ours_is_refused_and_left_alone() {
        let scratch = Scratch::new("foreign");
        let file = scratch.path("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(Folder::open(&file), Err(FolderError::NotAFolder)));
        assert!(matches!(Folder::open(&scratch.path("no/parent")), Err(FolderError::Io(_))));
        let foreign = scratch.path("foreign");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("letter"), "x").unwrap();
        assert!(matches!(Folder::open(&foreign), Err(FolderError::Foreign)));
        assert_eq!(names_in(&foreign).unwrap(), ["letter"]);
    }

    #[test]
    fn every_flipped_bit_of_the_pointer_is_found() {
        let words = "floodway 2 groups-7 used";
        let line = format!("{words} {:08x}\n", crc32fast::hash(words.as_bytes()));
        let current = Current { name: "groups-7".to_owned(), used: true };
        assert_eq!(parse(line.as_bytes()).unwrap(), Some(current));
        for bit in 0..(line.len() - 1) * 8 {
            let mut damaged = line.clone().into_bytes();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&damaged).unwrap(), None, "bit {bit}");
        }
        let newer = "floodway 3 something else";
        let line = format!("{newer} {:08x}\n", crc32fast::hash(newer.as_bytes()));
        assert!(matches!(parse(line.as_bytes()), Err(FolderError::Format(version)) if version == "3"));
    }
}

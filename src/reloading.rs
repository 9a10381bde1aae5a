//! Rules that stand in a YAML file of the operator, and are read again when it changes.
//!
//! They are read again on SIGHUP, on `/-/reload` and when their file changes; a bad new file leaves the
//! old rules. They are asked at each push, so a change is felt from the next push on.
//!
//! Workers look at one number per push, and take a lock only to fetch rules that are new to them.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::LocalKey;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Most rules in a file: each push that none matches is held against all of them.
const RULES_MAX: usize = 1000;

/// The rules that a thread asked last, with their number; zero stands for none.
pub type Asked<R> = RefCell<(u64, Arc<[R]>)>;

/// What tells one content of a file from another: device, inode, size and time of change.
type Seen = (u64, u64, u64, i64, i64);

/// Counts readings of all rules in the process.
static READINGS: AtomicU64 = AtomicU64::new(1);

/// What kind of rules a file holds.
#[derive(Debug)]
pub struct Kind<R: 'static> {
    /// What the log calls them.
    pub what: &'static str,
    /// Reads the text of a file; see [`parse`].
    pub parse: fn(&str) -> Result<Vec<R>, String>,
    /// Where threads keep the rules that they asked last.
    pub asked: &'static LocalKey<Asked<R>>,
}

/// See the module.
#[derive(Debug)]
pub struct Reloading<R: 'static> {
    kind: Kind<R>,
    path: Option<PathBuf>,
    /// What the file looked like when it was read last.
    seen: Mutex<Option<Seen>>,
    /// The number of the rules in force: unique in the process, raised with each reading.
    number: AtomicU64,
    rules: Mutex<Arc<[R]>>,
}

impl<R> Reloading<R> {
    /// Reads the rules of the file `path`, if there is one.
    ///
    /// # Errors
    ///
    /// It cannot be read, or it is no such file.
    pub fn load(kind: Kind<R>, path: Option<&Path>) -> Result<Reloading<R>, String> {
        let seen = path.and_then(look);
        let rules = path.map_or(Ok(Vec::new()), |path| read(&kind, path))?.into();
        let number = AtomicU64::new(READINGS.fetch_add(1, Ordering::Relaxed));
        let path = path.map(Path::to_owned);
        Ok(Reloading { kind, path, seen: Mutex::new(seen), number, rules: Mutex::new(rules) })
    }

    /// Reads the rules again. What is wrong is logged.
    ///
    /// # Errors
    ///
    /// As [`load`](Reloading::load); the old rules stay in force.
    pub fn reload(&self) -> Result<(), String> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = look(path);
        let (file, what) = (path.display(), self.kind.what);
        let read = read(&self.kind, path)
            .inspect_err(|err| tracing::error!(%file, err, "{what} not reloaded; the old rules stay"))?;
        tracing::info!(%file, rules = read.len(), "{what} reloaded");
        self.put_in_force(read);
        Ok(())
    }

    /// Makes `rules` the ones in force.
    pub fn put_in_force(&self, rules: Vec<R>) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules.into();
        self.number.store(READINGS.fetch_add(1, Ordering::Relaxed), Ordering::Release);
    }

    /// Reads the rules again if their file has changed.
    pub fn refresh(&self) {
        let Some(path) = &self.path else { return };
        if look(path) != *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            // What is wrong has been logged.
            let _ = self.reload();
        }
    }

    /// Shows `ask` the rules in force, which it must not ask for again.
    pub fn with<T>(&self, ask: impl FnOnce(&[R]) -> T) -> T {
        let number = self.number.load(Ordering::Acquire);
        self.kind.asked.with_borrow_mut(|asked| {
            if asked.0 != number {
                *asked = (number, self.rules.lock().unwrap_or_else(PoisonError::into_inner).clone());
            }
            ask(&asked.1)
        })
    }
}

fn read<R>(kind: &Kind<R>, path: &Path) -> Result<Vec<R>, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    (kind.parse)(&text).map_err(|fault| format!("{shown}: {fault}"))
}

fn look(path: &Path) -> Option<Seen> {
    let seen = fs::metadata(path).ok()?;
    Some((seen.dev(), seen.ino(), seen.size(), seen.ctime(), seen.ctime_nsec()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<E> {
    #[serde(default = "Vec::new")]
    rules: Vec<E>,
}

/// Reads the text of a file: a list `rules` of entries, each of which `rule` makes a rule of. Pure: text in,
/// checked rules out.
///
/// # Errors
///
/// The first fault found. What is not known is one.
pub fn parse<E: DeserializeOwned, R>(text: &str, rule: fn(E) -> Result<R, String>) -> Result<Vec<R>, String> {
    // A file of comments alone is no rules.
    let file: Option<File<E>> =
        serde_saphyr::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
    let entries = file.map_or_else(Vec::new, |file| file.rules);
    if entries.len() > RULES_MAX {
        return Err(format!("{} rules, at most {RULES_MAX} are allowed", entries.len()));
    }
    let number = |(at, entry)| rule(entry).map_err(|fault| format!("rule {}: {fault}", at + 1));
    entries.into_iter().enumerate().map(number).collect()
}

//! Takes a Pushgateway's persistence file over, whole, into a directory of ours in its place.
//!
//! The directory is built beside the file and is whole on the disk before either is renamed, so a crash
//! leaves the file, or both; the next start goes on from there. The file itself is kept under another
//! name and never written to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::gob::{self, GobError};
use crate::clock::UnixNanos;
use crate::gateway;
use crate::limits;
use crate::model::{Families, GroupingKey, NameRules};
use crate::parse::protobuf;
use crate::sink::durable::{Durable, Options, Promise};
use crate::sink::records;
use crate::sink::start::StartError;
use crate::store::Store;
use crate::store::build::Fault;
use crate::store::keys::Keys;
use crate::store::life::Life;
use crate::store::restore::Kept;
use crate::store::times::{PUSH_FAILURE_TIME, PUSH_TIME};
use crate::telemetry::Telemetry;
use crate::wire;

/// What is added to the name of the file once it was taken over.
const KEPT_SUFFIX: &str = ".pushgateway";

/// What is added to the name of the directory while it is built.
const BUILT_SUFFIX: &str = ".importing";

/// Why a file was not taken over. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{} is a file, and not a Pushgateway's: {fault}; name a directory, or move the file away", path.display())]
    Foreign { path: PathBuf, fault: GobError },
    #[error("cannot import {}: {fault}", path.display())]
    Io { path: PathBuf, fault: io::Error },
    #[error("cannot import {}: {} is in the way", path.display(), other.display())]
    InTheWay { path: PathBuf, other: PathBuf },
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("cannot import {}: {fault}", path.display())]
    Disk { path: PathBuf, fault: String },
}

/// What came over.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    pub groups: u64,
    pub series: u64,
    /// Groups that contradict themselves or newer ones, and how.
    pub left_out: Vec<(String, String)>,
    /// Where the file is now.
    pub kept: PathBuf,
}

/// Goes on with an import that was interrupted, and imports the file that `path` names if it does name a
/// file. `check` says whether groups are checked against each other.
///
/// # Errors
///
/// The file is no Pushgateway's, or the directory cannot be written.
pub fn prepare(path: &Path, check: bool) -> Result<Option<Imported>, ImportError> {
    let (kept, built) = (beside(path, KEPT_SUFFIX), beside(path, BUILT_SUFFIX));
    let io = |fault| ImportError::Io { path: path.to_owned(), fault };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => import(path, check).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound && kept.exists() && built.exists() => {
            fs::rename(built, path).map_err(io)?;
            tracing::info!(path = %path.display(), "finished an import that was interrupted");
            Ok(None)
        }
        // Whatever else is wrong is told by whoever uses the directory.
        _ => Ok(None),
    }
}

/// Takes the file `path` over.
///
/// # Errors
///
/// It is no Pushgateway's, or the directory cannot be written.
pub fn import(path: &Path, check: bool) -> Result<Imported, ImportError> {
    let io = |fault| ImportError::Io { path: path.to_owned(), fault };
    let file = fs::read(path).map_err(io)?;
    let groups = gob::read(&file).map_err(|fault| ImportError::Foreign { path: path.to_owned(), fault })?;
    let (kept, built) = (beside(path, KEPT_SUFFIX), beside(path, BUILT_SUFFIX));
    if kept.exists() {
        return Err(ImportError::InTheWay { path: path.to_owned(), other: kept });
    }
    if built.exists() {
        // Left by an import that did not come to its end.
        fs::remove_dir_all(&built).map_err(io)?;
    }
    let store = Arc::new(Store::new(check, gateway::own_families()).followed_by_keeper());
    let options = Options { path: built.clone(), promise: Promise::Nothing, salvage: false };
    let durable = Durable::start(&store, &Arc::new(Telemetry::new(1)), &options)?;
    let left_out = fill(&store, &groups);
    durable.stop().map_err(|fault| ImportError::Disk { path: path.to_owned(), fault })?;
    drop(durable);
    fs::rename(path, &kept).map_err(io)?;
    fs::rename(&built, path).map_err(io)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all()).map_err(io)?;
    let (groups, series) = (store.groups_count(), store.series_count());
    for (group, err) in &left_out {
        tracing::warn!(group, err, "a group was not imported");
    }
    tracing::info!(
        groups,
        series,
        left_out = left_out.len(),
        kept = %kept.display(),
        "imported the groups of a Pushgateway"
    );
    Ok(Imported { groups, series, left_out, kept })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Puts the groups into the store, those that were pushed last first; the ones that stay out, and why.
fn fill(store: &Store, groups: &[gob::Group<'_>]) -> Vec<(String, String)> {
    let mut left_out = Vec::new();
    let mut kept = Vec::with_capacity(groups.len());
    for group in groups {
        match read_group(store, group) {
            Ok(group) => kept.push(group),
            Err(fault) => left_out.push((shown(group), fault)),
        }
    }
    kept.sort_by_key(|kept| std::cmp::Reverse(kept.push_time));
    for group in kept {
        let key = group.key.to_string();
        if let Err(fault) = store.restore(group) {
            left_out.push((key, fault));
        }
    }
    left_out
}

fn shown(group: &gob::Group<'_>) -> String {
    let labels = group.labels.iter();
    let labels: Vec<String> = labels
        .map(|(name, value)| format!("{}={:?}", name.escape_ascii(), value.escape_ascii().to_string()))
        .collect();
    format!("{{{}}}", labels.join(","))
}

fn read_group(store: &Store, group: &gob::Group<'_>) -> Result<Kept, String> {
    let key = read_key(group)?;
    let (mut push_time, mut failure_time) = (UnixNanos::NEVER, UnixNanos::NEVER);
    // A block is what one push stored.
    let mut pushes: BTreeMap<UnixNanos, Vec<u8>> = BTreeMap::new();
    for family in &group.families {
        match family.name {
            name if name == PUSH_TIME.as_bytes() => push_time = read_time(family)?,
            name if name == PUSH_FAILURE_TIME.as_bytes() => failure_time = read_time(family)?,
            _ => {
                let body = pushes.entry(family.pushed_at).or_default();
                wire::push_varint(body, family.message.len() as u64);
                body.extend_from_slice(family.message);
            }
        }
    }
    let mut blocks = Vec::with_capacity(pushes.len());
    for (pushed_at, body) in &pushes {
        let families = protobuf::parse(body, NameRules::Utf8, Families::default());
        let families = families.map_err(|error| error.to_string())?;
        blocks.push(store.block(&key, &families, None, *pushed_at).map_err(Fault::text)?);
    }
    Ok(Kept { key, blocks, push_time, failure_time, life: Life::default(), keys: Keys::default() })
}

fn read_key(group: &gob::Group<'_>) -> Result<GroupingKey, String> {
    let text = |bytes| str::from_utf8(bytes).map_err(|_| "a grouping label is not UTF-8".to_owned());
    let labels = group.labels.iter().map(|(name, value)| Ok((text(name)?, text(value)?)));
    let labels: Vec<(&str, &str)> = labels.collect::<Result<_, String>>()?;
    let job = labels.iter().find(|label| label.0 == "job").map_or("", |label| label.1);
    if job.is_empty() {
        return Err("it has no job".to_owned());
    }
    let key = GroupingKey::new(job, labels.iter().copied());
    if key.len() > limits::GROUPING_LABELS_MAX + 1
        || records::key_bytes(&key).len() > limits::STORED_KEY_BYTES_MAX
    {
        return Err("its grouping key is too long".to_owned());
    }
    Ok(key)
}

/// What one of the two push time families says. Its value is a float of seconds; the time of the family
/// is the same instant in whole nanoseconds.
fn read_time(family: &gob::Family<'_>) -> Result<UnixNanos, String> {
    let mut body = Vec::new();
    wire::push_varint(&mut body, family.message.len() as u64);
    body.extend_from_slice(family.message);
    let families = protobuf::parse(&body, NameRules::Utf8, Families::default());
    let families = families.map_err(|error| error.to_string())?;
    let seconds = families.series.first().map_or(0.0, |series| series.value);
    if seconds == family.pushed_at.seconds() {
        return Ok(family.pushed_at);
    }
    // Too large or no number at all: it saturates.
    Ok(UnixNanos((seconds * 1e9) as u64))
}

#[cfg(test)]
mod tests {
    use super::super::gob::writer;
    use super::*;
    use crate::sink::scratch::Scratch;

    /// A family of one gauge: name, labels, value.
    fn gauge(name: &str, labels: &[(&str, &str)], value: f64) -> Vec<u8> {
        let mut metric = Vec::new();
        for (label, text) in labels {
            let mut pair = Vec::new();
            wire::push_bytes_field(&mut pair, 1, label.as_bytes());
            wire::push_bytes_field(&mut pair, 2, text.as_bytes());
            wire::push_bytes_field(&mut metric, 1, &pair);
        }
        let mut message = Vec::new();
        wire::push_double_field(&mut message, 1, value);
        wire::push_bytes_field(&mut metric, 2, &message);
        let mut family = Vec::new();
        wire::push_bytes_field(&mut family, 1, name.as_bytes());
        wire::push_varint_field(&mut family, 3, 1);
        wire::push_bytes_field(&mut family, 4, &metric);
        family
    }

    const AT: u64 = 1_784_000_000_514_629_762;

    fn file() -> Vec<u8> {
        let of = |job| [("instance", ""), ("job", job)];
        let time = |name, job, value| (name, AT, gauge(name, &of(job), value));
        let seconds = UnixNanos(AT).seconds();
        writer::file(&[
            (
                &[("job", "a")],
                vec![
                    ("m", AT, gauge("m", &of("a"), 1.5)),
                    ("n", AT - 1, gauge("n", &of("a"), 2.5)),
                    time(PUSH_TIME, "a", seconds),
                    time(PUSH_FAILURE_TIME, "a", 0.0),
                ],
            ),
            (&[("job", "failed")], vec![time(PUSH_FAILURE_TIME, "failed", seconds)]),
            // The same series as the first group's.
            (&[("instance", ""), ("job", "a")], vec![("m", AT - 5, gauge("m", &of("a"), 7.0))]),
            (&[("instance", "no job")], vec![]),
        ])
    }

    #[test]
    fn groups_come_over_with_their_times_and_the_file_is_kept() {
        let scratch = Scratch::new("import");
        let path = scratch.path("pg.data");
        fs::write(&path, file()).unwrap();
        let imported = prepare(&path, true).unwrap().unwrap();
        assert_eq!((imported.groups, imported.series), (2, 2));
        let out: Vec<&str> = imported.left_out.iter().map(|group| &*group.0).collect();
        assert_eq!(out, ["{instance=\"no job\"}", "{instance=\"\",job=\"a\"}"]);
        assert_eq!(fs::read(&imported.kept).unwrap(), file());
        assert_eq!(prepare(&path, true).unwrap(), None);

        let store = Arc::new(Store::new(true, []).followed_by_keeper());
        let options = Options { path: path.clone(), promise: Promise::Nothing, salvage: false };
        let durable = Durable::start(&store, &Arc::new(Telemetry::new(1)), &options).unwrap();
        let views = store.views();
        assert_eq!((views[0].push_time(), views[0].failure_time()), (UnixNanos(AT), UnixNanos::NEVER));
        let families: Vec<_> = views[0].families().iter().map(|f| (f.name.to_owned(), f.pushed_at)).collect();
        assert_eq!(families, [("m".to_owned(), UnixNanos(AT)), ("n".to_owned(), UnixNanos(AT - 1))]);
        assert_eq!((views[1].push_time(), views[1].failure_time()), (UnixNanos::NEVER, UnixNanos(AT)));
        drop(durable);

        // As if the process had ended between the two renames.
        fs::rename(&path, beside(&path, BUILT_SUFFIX)).unwrap();
        assert_eq!(prepare(&path, true).unwrap(), None);
        assert!(path.is_dir());
    }

    #[test]
    fn what_is_no_such_file_is_left_alone() {
        let scratch = Scratch::new("import-foreign");
        let path = scratch.path("letter");
        for bytes in [&b"Dear sir"[..], b"", &file()[..200]] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(prepare(&path, true), Err(ImportError::Foreign { .. })));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        fs::write(&path, file()).unwrap();
        fs::write(beside(&path, KEPT_SUFFIX), "older").unwrap();
        assert!(matches!(prepare(&path, true), Err(ImportError::InTheWay { .. })));
    }
}

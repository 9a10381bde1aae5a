//! Writes the groups of a directory as text: one group after another, each behind a comment with its key.
//!
//! The families of a group are in the text format; those of two groups are not merged, so the whole is
//! not an exposition. What text cannot say, native histograms and exemplars, is left out.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::format::escape::Escaping;
use crate::render::text;
use crate::sink::durable::{Durable, Options, Promise};
use crate::sink::start::StartError;
use crate::store::Store;
use crate::telemetry::Telemetry;

/// Why nothing, or not everything, was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{0} is not a directory in which groups are kept")]
    NotThere(String),
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// Writes the groups that are kept in the directory `path`, which no process may be using.
///
/// # Errors
///
/// They cannot be read, or `out` takes no more.
pub fn export(path: &Path, out: &mut impl Write) -> Result<(), ExportError> {
    if !path.is_dir() {
        return Err(ExportError::NotThere(path.display().to_string()));
    }
    let store = Arc::new(Store::new(false, []).followed_by_keeper());
    let options = Options { path: path.to_owned(), promise: Promise::Nothing, salvage: false };
    let _durable = Durable::start(&store, &Arc::new(Telemetry::new(1)), &options)?;
    write(&store, out)
}

fn write(store: &Store, out: &mut impl Write) -> Result<(), ExportError> {
    let mut groups = store.groups();
    groups.sort_by(|a, b| a.key.labels().cmp(b.key.labels()));
    let mut text = Vec::new();
    for group in groups {
        let Some(state) = group.load() else { continue };
        text.clear();
        writeln!(text, "# group {}", group.key)?;
        writeln!(
            text,
            "# pushed at {}, failed at {}",
            state.push_time.seconds(),
            state.failure_time.seconds()
        )?;
        for (held, _, family) in state.families() {
            let (shape, escaping) = (&held.block.shape, Escaping::AllowUtf8);
            text::write_header(&mut text, shape.name(family), shape.help(family), family.kind, escaping);
            text::write_fragment(&mut text, &group, &held.block, family, escaping, |_| true);
        }
        out.write_all(&text)?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixNanos;
    use crate::model::{Families, GroupingKey, NameRules};
    use crate::store::Mode;

    #[test]
    fn groups_follow_each_other_with_their_keys() {
        let store = Store::new(true, []);
        for (job, body) in [("b", "m{x=\"1\"} 2\n"), ("a", "# HELP m h\n# TYPE m gauge\nm 1\n")] {
            let names = NameRules::Utf8;
            let families = crate::parse::text::parse(body.as_bytes(), names, Families::default()).unwrap();
            let key = GroupingKey::new(job, []);
            let _ = store.push(Mode::ReplaceGroup, &key, &families, None, UnixNanos(1_500_000_000));
        }
        let mut out = Vec::new();
        write(&store, &mut out).unwrap();
        let want = "# group {job=\"a\"}\n# pushed at 0, failed at 1.5\n\
            # group {job=\"b\"}\n# pushed at 1.5, failed at 0\n# TYPE m untyped\nm{instance=\"\",job=\"b\",x=\"1\"} 2\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
        assert!(export(Path::new("/nowhere"), &mut Vec::new()).is_err());
    }
}

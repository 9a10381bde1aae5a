//! Writes the groups of a directory, one group after another, as text or as delimited protobuf.
//!
//! The families of a group are in the format asked for; those of two groups are not merged, so the whole is
//! not an exposition. In text each group stands behind a comment with its key; what text cannot say, native
//! histograms, exemplars and created times, is left out of it and counted. In protobuf nothing is left out:
//! the push times of a group are families of it, as in a scrape.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::clock::UnixNanos;
use crate::format::escape::Escaping;
use crate::model::MetricType;
use crate::render::{protobuf, text};
use crate::sink::durable::{Durable, Options, Promise};
use crate::sink::start::StartError;
use crate::store::Store;
use crate::store::group::{Group, GroupState, Held};
use crate::store::shape::FamilyShape;
use crate::store::times::{PUSH_FAILURE_TIME, PUSH_TIME};
use crate::telemetry::Telemetry;

/// How groups are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Protobuf,
}

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

/// Writes the groups that are kept in the directory `path`, which no process may be using. Returns of how
/// many series something was left out.
///
/// # Errors
///
/// They cannot be read, or `out` takes no more.
pub fn export(path: &Path, format: Format, out: &mut impl Write) -> Result<usize, ExportError> {
    if !path.is_dir() {
        return Err(ExportError::NotThere(path.display().to_string()));
    }
    let store = Arc::new(Store::new(false, []).followed_by_keeper());
    let options = Options { path: path.to_owned(), promise: Promise::Nothing, salvage: false };
    let _durable = Durable::start(&store, &Arc::new(Telemetry::new(1)), &options)?;
    write(&store, format, out)
}

fn write(store: &Store, format: Format, out: &mut impl Write) -> Result<usize, ExportError> {
    let mut groups = store.groups();
    groups.sort_by(|a, b| a.key.labels().cmp(b.key.labels()));
    let mut left_out = 0;
    for group in groups {
        let Some(state) = group.load() else { continue };
        match format {
            Format::Text => {
                out.write_all(&text_of(&group, &state)?)?;
                left_out += details_of(&state);
            }
            Format::Protobuf => out.write_all(&protobuf_of(&group, &state))?,
        }
    }
    out.flush()?;
    Ok(left_out)
}

fn text_of(group: &Group, state: &GroupState) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    writeln!(text, "# group {}", group.key)?;
    writeln!(text, "# pushed at {}, failed at {}", state.push_time.seconds(), state.failure_time.seconds())?;
    for (held, _, family) in state.families() {
        let (shape, escaping) = (&held.block.shape, Escaping::AllowUtf8);
        text::write_header(&mut text, shape.name(family), shape.help(family), family.kind, escaping);
        text::write_fragment(&mut text, group, &held.block, family, escaping, |_| true);
    }
    Ok(text)
}

/// Of how many series `state` holds more than text can say.
fn details_of(state: &GroupState) -> usize {
    let of_family = |(held, _, family): (&Held, usize, &FamilyShape)| {
        let values = held.block.shape.values_of(family);
        held.block.details.iter().filter(|(first, _)| values.contains(&(*first as usize))).count()
    };
    state.families().map(of_family).sum()
}

fn protobuf_of(group: &Group, state: &GroupState) -> Vec<u8> {
    let escaping = Escaping::AllowUtf8;
    let mut out = Vec::new();
    let mut add = |name: &str, help: Option<&str>, kind: MetricType, writer: protobuf::Writer| {
        let metrics = writer.finish();
        out.extend_from_slice(&protobuf::head(name, help, kind, escaping, metrics.len()));
        out.extend_from_slice(&metrics);
    };
    for (held, _, family) in state.families() {
        let (shape, mut writer) = (&held.block.shape, protobuf::Writer::default());
        protobuf::write_fragment(&mut writer, group, &held.block, family, escaping, |_| true);
        add(shape.name(family), shape.help(family), family.kind, writer);
    }
    let times: [(&str, UnixNanos); 2] =
        [(PUSH_TIME, state.push_time), (PUSH_FAILURE_TIME, state.failure_time)];
    for (name, time) in times.into_iter().filter(|_| !group.key.is_bare()) {
        let mut writer = protobuf::Writer::default();
        protobuf::write_field(&mut writer, group, time.seconds(), escaping);
        add(name, None, MetricType::Gauge, writer);
    }
    out
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
        assert_eq!(write(&store, Format::Text, &mut out).unwrap(), 0);
        let want = "# group {job=\"a\"}\n# pushed at 0, failed at 1.5\n\
            # group {job=\"b\"}\n# pushed at 1.5, failed at 0\n# TYPE m untyped\nm{instance=\"\",job=\"b\",x=\"1\"} 2\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
        assert!(export(Path::new("/nowhere"), Format::Text, &mut Vec::new()).is_err());
    }

    #[test]
    fn text_counts_what_it_cannot_say_and_protobuf_says_it() {
        use crate::parse::protobuf::oracle::{self, Counter, Exemplar, Metric, MetricFamily};

        let counter = |exemplar| Counter { value: Some(2.0), exemplar, ..Default::default() };
        let with = Some(Exemplar { value: Some(1.5), ..Default::default() });
        let families = [(0, with.clone()), (1, None)].map(|(number, exemplar)| MetricFamily {
            name: Some(format!("m{number}")),
            r#type: Some(0),
            metric: vec![Metric { counter: Some(counter(exemplar)), ..Default::default() }],
            ..Default::default()
        });
        let store = Store::new(true, []);
        let body = oracle::encoded(&families);
        let parsed = crate::parse::protobuf::parse(&body, NameRules::Utf8, Families::default()).unwrap();
        let key = GroupingKey::new("j", []);
        store.push(Mode::ReplaceGroup, &key, &parsed, None, UnixNanos(1_500_000_000)).unwrap();

        assert_eq!(write(&store, Format::Text, &mut Vec::new()).unwrap(), 1);
        let mut out = Vec::new();
        assert_eq!(write(&store, Format::Protobuf, &mut out).unwrap(), 0);
        let again = crate::parse::protobuf::parse(&out, NameRules::Utf8, Families::default()).unwrap();
        let names: Vec<&str> = again.families.iter().map(|family| &*family.name).collect();
        assert_eq!(names, ["m0", "m1", PUSH_TIME, PUSH_FAILURE_TIME]);
        assert_eq!(again.details.len(), 1);
        assert_eq!(again.series[2].value, 1.5);
    }
}

//! What is counted: each step on its own, its result checked.

use std::fmt::Write;

use floodway::clock::UnixNanos;
use floodway::model::template::Template;
use floodway::model::{Families, GroupingKey, NameRules};
use floodway::parse::{push_path, text};
use floodway::store::{Mode, Store};

/// `series` samples of three labels, about ninety bytes a line.
pub fn body(series: usize, value: usize) -> String {
    let mut body = String::new();
    for family in 0..series.div_ceil(10) {
        let name = format!("batch_job_stage_{family}_records_total");
        let _ = write!(body, "# HELP {name} What stage {family} of the job did.\n# TYPE {name} counter\n");
        for shard in 0..10.min(series - family * 10) {
            let _ = writeln!(
                body,
                "{name}{{shard=\"{shard}\",region=\"eu-west-1\",status=\"succeeded\"}} {}",
                (value * 7919 + shard * 17 + family) % 1000
            );
        }
    }
    body
}

pub fn key(instance: usize) -> GroupingKey {
    GroupingKey::new("nightly_report", [("instance", &*format!("worker-{instance}"))])
}

/// Parses into vectors that a first body has stretched.
pub fn parse((warm, body): (Families<'static>, String)) -> (Families<'static>, String) {
    let families = text::parse(body.as_bytes(), NameRules::Legacy, warm).expect("the body is well-formed");
    assert!(!families.samples.is_empty());
    (families.recycle(), body)
}

pub fn warm(series: usize) -> (Families<'static>, String) {
    parse((Families::default(), body(series, 1)))
}

/// The template of a body, and another body that fits it.
pub fn template(series: usize) -> (Template, String) {
    let first = body(series, 1);
    let families = text::parse(first.as_bytes(), NameRules::Legacy, Families::default())
        .expect("the body is well-formed");
    let template = Template::cut(first.as_bytes(), &families, series, Some).expect("plain values have one");
    (template, body(series, 2))
}

pub fn compare((template, body): (Template, String)) -> (Template, String) {
    assert!(template.read(body.as_bytes()).is_some());
    (template, body)
}

/// A store of `groups` groups that push alike, one of their keys, and another body for it.
pub fn store(groups: usize) -> (Store, GroupingKey, String) {
    let store = Store::new(true, []);
    let body = body(100, 1);
    let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default())
        .expect("the body is well-formed");
    for group in 0..groups {
        let stored =
            store.push(Mode::ReplaceGroup, &key(group), &families, Some(body.as_bytes()), UnixNanos(1));
        stored.expect("nothing contradicts it");
    }
    (store, key(groups / 2), self::body(100, 2))
}

pub fn push_known((store, key, body): (Store, GroupingKey, String)) -> Store {
    assert!(store.push_known(Mode::ReplaceGroup, &key, body.as_bytes(), UnixNanos(2)));
    store
}

/// A push that changes the group's shape: built, checked against the others, published.
pub fn push_changed((store, key, _): (Store, GroupingKey, String)) -> Store {
    let body = "batch_job_stage_0_records_total{shard=\"new\"} 1\n";
    let body = format!("# TYPE batch_job_stage_0_records_total counter\n{body}");
    let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default())
        .expect("the body is well-formed");
    assert!(store.push(Mode::ReplaceGroup, &key, &families, None, UnixNanos(3)).is_ok());
    store
}

pub fn path() -> usize {
    let rest = b"/instance/host-1:9100/dc/eu-west".as_slice();
    let key = push_path::grouping_key(b"nightly_backup", false, rest, NameRules::Legacy);
    key.expect("the path is well-formed").len()
}

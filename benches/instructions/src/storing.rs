//! Pushes to a store: of a known shape, of another one, of what contradicts other groups.

use floodway::clock::UnixNanos;
use floodway::model::template::Syntax;
use floodway::model::{Families, GroupingKey, NameRules, Reason};
use floodway::parse::text;
use floodway::store::{Mode, Store};

use crate::{bodies, parsing};

/// A store, the key of one of its groups, and a body to push to it.
pub type Input = (Store, GroupingKey, String);

pub fn key(instance: usize) -> GroupingKey {
    GroupingKey::new("nightly_report", [("instance", &*format!("worker-{instance}"))])
}

/// A store of `groups` groups that push alike, and another body for one of them.
pub fn filled(groups: usize) -> Input {
    let store = Store::new(true, []);
    let body = bodies::text(100, 1);
    let families = parsing::read(Syntax::Text, body.as_bytes());
    for group in 0..groups {
        let stored =
            store.push(Mode::ReplaceGroup, &key(group), &families, Some(body.as_bytes()), UnixNanos(1));
        stored.expect("nothing contradicts it");
    }
    (store, key(groups / 2), bodies::text(100, 2))
}

pub fn push_known((store, key, body): Input) -> Input {
    assert!(store.push_known(Mode::ReplaceGroup, &key, body.as_bytes(), UnixNanos(2)));
    (store, key, body)
}

/// The same with a body that changes the group's shape.
pub fn to_change(groups: usize) -> Input {
    let (store, key, _) = filled(groups);
    let family = "batch_job_stage_0_records_total";
    (store, key, format!("# TYPE {family} counter\n{family}{{shard=\"new\"}} 1\n"))
}

/// A push that changes the group's shape: built, checked against the others, published.
pub fn push_changed((store, key, body): Input) -> Input {
    let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default());
    let families = families.expect("the body is well-formed");
    let before = store.series_count();
    assert!(store.push(Mode::ReplaceGroup, &key, &families, None, UnixNanos(3)).is_ok());
    assert_eq!(store.series_count(), before - 99);
    (store, key, body)
}

/// A store of one group, and a body that gives one of its families another type. Of more groups the one that the
/// refusal names is found after a number of steps that depends on the key of the hashes.
pub fn to_refuse() -> Input {
    let (store, ..) = filled(1);
    (store, GroupingKey::new("rival", []), "batch_job_stage_0_records_total 1\n".to_owned())
}

/// A push that is refused, since it contradicts other groups.
pub fn refuse((store, key, body): Input) -> Input {
    let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default());
    let families = families.expect("the body is well-formed");
    let refused = store.push(Mode::ReplaceGroup, &key, &families, None, UnixNanos(3)).map(|_| ());
    assert_eq!(refused.expect_err("a counter's name is pushed as untyped").reason, Reason::Inconsistent);
    (store, key, body)
}

//! The store from outside: what groups share, what a refusal leaves behind, what deletes give back.

use super::group::GroupState;
use super::*;
use crate::clock::UnixNanos;
use crate::model::{Families, NameRules};
use crate::parse::text;

fn key(instance: &'static str) -> GroupingKey {
    GroupingKey::new("j", [("instance", instance)])
}

fn push(store: &Store, mode: Mode, key: &GroupingKey, body: &str, now: u64) -> Result<(), String> {
    if store.push_known(mode, key, body.as_bytes(), UnixNanos(now)) {
        return Ok(());
    }
    let families = text::parse(body.as_bytes(), NameRules::Utf8, Families::default()).unwrap();
    store.push(mode, key, &families, Some(body.as_bytes()), UnixNanos(now)).map_err(|refusal| refusal.text)
}

fn put(store: &Store, instance: &'static str, body: &str) -> Result<(), String> {
    push(store, Mode::ReplaceGroup, &key(instance), body, 1)
}

fn state(store: &Store, instance: &'static str) -> GroupState {
    store.get(&key(instance)).unwrap().load().unwrap()
}

#[test]
fn groups_that_push_alike_share_shape_and_template() {
    let store = Store::new(true, []);
    put(&store, "a", "m{x=\"1\"} 1\n").unwrap();
    put(&store, "b", "m{x=\"1\"} 2\n").unwrap();
    put(&store, "c", "m{x=\"2\"} 2\n").unwrap();
    let blocks = ["a", "b", "c"].map(|instance| state(&store, instance).blocks[0].block.clone());
    assert!(Arc::ptr_eq(&blocks[0].shape, &blocks[1].shape));
    let template = |at: usize| blocks[at].template.clone().unwrap();
    assert!(Arc::ptr_eq(&template(0), &template(1)));
    assert!(!Arc::ptr_eq(&blocks[0].shape, &blocks[2].shape));
}

#[test]
fn a_known_shape_goes_the_short_way_and_another_does_not() {
    let store = Store::new(true, []);
    let known = |mode, body: &str| store.push_known(mode, &key("a"), body.as_bytes(), UnixNanos(2));
    assert!(!known(Mode::ReplaceGroup, "m 1\n"), "the group does not exist");
    put(&store, "a", "m 1\n").unwrap();
    assert!(known(Mode::ReplaceGroup, "m 2\n") && known(Mode::ReplaceFamilies, "m 3\n"));
    assert!(!known(Mode::ReplaceGroup, "n 2\n"));
    push(&store, Mode::ReplaceFamilies, &key("a"), "n 4\n", 3).unwrap();
    assert!(known(Mode::ReplaceFamilies, "m 5\n") && known(Mode::ReplaceFamilies, "n 6\n"));
    assert!(!known(Mode::ReplaceGroup, "m 5\n"), "a PUT would drop n");
    assert_eq!(state(&store, "a").push_time, UnixNanos(2));
}

#[test]
fn a_refusal_names_the_group_that_has_the_series() {
    let store = Store::new(true, []);
    let wide = GroupingKey::new("j", []);
    push(&store, Mode::ReplaceGroup, &wide, "m{instance=\"a\"} 1\n", 1).unwrap();
    let text = put(&store, "a", "m 1\n").unwrap_err();
    assert!(text.contains("in group {job=\"j\"}} was collected before"), "{text}");
    let refused = state(&store, "a");
    assert!(refused.blocks.is_empty() && refused.failure_time == UnixNanos(1));
}

#[test]
fn a_group_with_the_push_times_of_another_is_refused_without_a_trace() {
    let store = Store::new(true, []);
    push(&store, Mode::ReplaceGroup, &GroupingKey::new("j", []), "", 1).unwrap();
    let text = put(&store, "", "m 1\n").unwrap_err();
    assert!(text.contains("push_time_seconds"), "{text}");
    assert_eq!(store.groups_count(), 1);
    // Nor does a push that would be refused anyway leave its failure time.
    assert!(put(&store, "", "m 1 5\n").is_err());
    assert_eq!(store.groups_count(), 1);
}

#[test]
fn bodies_cannot_bring_push_times_of_their_own() {
    let store = Store::new(true, []);
    put(&store, "a", "push_time_seconds 5\nm 1\npush_failure_time_seconds 6\n").unwrap();
    assert_eq!(store.series_count(), 1);
    assert!(store.push_known(
        Mode::ReplaceGroup,
        &key("a"),
        &b"push_time_seconds 7\nm 2\npush_failure_time_seconds 6\n"[..],
        UnixNanos(9)
    ));
    assert_eq!(f64::from_bits(state(&store, "a").blocks[0].block.values[0]), 2.0);
}

#[test]
fn names_that_scrapers_would_be_shown_alike_are_refused() {
    let store = Store::new(true, []);
    put(&store, "a", "{\"m.x\"} 1\n").unwrap();
    assert!(put(&store, "b", "m_x 1\n").unwrap_err().contains("are both shown as \"m_x\""));
    assert!(put(&store, "b", "{\"n.x\"} 1\nn_x 1\n").unwrap_err().contains("both shown"));
    assert!(put(&store, "b", "m{\"l.x\"=\"1\",l_x=\"2\"} 1\n").unwrap_err().contains("both shown"));
    put(&store, "a", "m_x 1\n").unwrap();
}

/// A map that gives up a place for each delete would move to another table again and again.
#[test]
fn a_group_that_comes_and_goes_keeps_its_place_in_the_map() {
    let store = Store::new(true, []);
    let places = || store.map.pin().len();
    put(&store, "a", "m 1\n").unwrap();
    put(&store, "b", "m 1\n").unwrap();
    for round in 0..2 * ending::MARKERS {
        assert!(store.delete(&key("a")));
        assert_eq!((places(), store.groups().len(), store.groups_count()), (2, 1, 1), "{round}");
        assert!(store.state_of(&key("a")).is_none() && !store.delete(&key("a")));
        put(&store, "a", "m 1\n").unwrap();
        assert_eq!((places(), store.groups().len()), (2, 2), "{round}");
    }
    let many = |at: usize| GroupingKey::new("j", [("instance", &*format!("{at}"))]);
    for at in 0..2 * ending::MARKERS {
        push(&store, Mode::ReplaceGroup, &many(at), "m 1\n", 1).unwrap();
        assert!(store.delete(&many(at)));
    }
    // Of the many the last are marked; older markers are gone.
    assert_eq!((places(), store.groups().len()), (2 + ending::MARKERS, 2));
}

#[test]
fn deleting_everything_leaves_nothing_counted() {
    let store = Store::new(true, []);
    for (at, instance) in ["a", "b", "c"].into_iter().enumerate() {
        put(&store, instance, "m 1\nn{x=\"1\"} 2\n").unwrap();
        push(&store, Mode::ReplaceFamilies, &key(instance), "n{x=\"2\"} 2\n", at as u64).unwrap();
    }
    assert_eq!((store.groups_count(), store.series_count()), (3, 6));
    assert_eq!(store.wipe(), 3);
    assert_eq!((store.groups_count(), store.series_count()), (0, 0));
    assert!(store.name_sets.snapshot().sets().next().is_none());
    // The name is free for any type again.
    put(&store, "a", "# TYPE m summary\nm_sum 1\n").unwrap();
}

//! Records come back as they were, and no damage to them passes unnoticed.

use proptest::prelude::*;

use super::*;
use crate::model::{Detail, Families, MergeRule, NameRules};
use crate::parse::text;
use crate::sink::restore::Reader as Restore;
use crate::store::keys::{KeyLimits, Known, Remember};
use crate::store::life::Stamp;
use crate::store::merge::Manner;
use crate::store::{Mode, Store};

/// The records of `key` as `store` holds it.
fn records(store: &Store, key: &GroupingKey) -> (Vec<u8>, Vec<u8>) {
    let state = store.state_of(key).unwrap();
    let key = key_bytes(key);
    let (mut shape, mut values) = (Vec::new(), Vec::new());
    push_shape(&mut shape, &state, &key);
    push_values(&mut values, &state, &key, 7, checksum_of(&shape), 0);
    (shape, values)
}

/// A store that holds what the records say.
fn restored(key: &GroupingKey, shape: &[u8], values: &[u8]) -> Store {
    let (store, key) = (Store::new(true, []), key_bytes(key));
    let mut reader = Restore::new(&store);
    reader.shape(&key, shape).unwrap();
    reader.values(&key, values).unwrap();
    let digest = digest(checksum_of(shape), checksum_of(values));
    let summary = Summary { groups: 1, digest, time: None };
    reader.check(summary).unwrap();
    assert!(reader.check(Summary { digest: digest ^ 1, ..summary }).is_err());
    assert!(reader.check(Summary { groups: 2, ..summary }).is_err());
    assert_eq!(reader.finish(None).lost.len(), 0);
    store
}

fn push(store: &Store, key: &GroupingKey, body: &str, at: u64) {
    let families = text::parse(body.as_bytes(), NameRules::Utf8, Families::default()).unwrap();
    store.push(Mode::ReplaceFamilies, key, &families, Some(body.as_bytes()), UnixNanos(at)).unwrap();
}

/// A record of these bytes under the key `k`.
fn finished(body: &[u8]) -> Vec<u8> {
    let mut record = body.to_vec();
    finish(&mut record, 0, b"k");
    record
}

const BODY: &str = "# HELP c h\\\\e\\nlp\n# TYPE c counter\nc{z=\"é\\n\\\"\"} 1.5\nc{z=\"\"} NaN\n\
    # TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum -0\nh_count 3\n\
    {\"x.y\",\"l m\"=\"1\"} -Inf\n# TYPE s summary\ns{quantile=\"0.5\"} 2\ns_sum 5\ns_count 4\n";

fn sample() -> (Store, GroupingKey) {
    let store = Store::new(true, []);
    let key = GroupingKey::new("j/ é", [("a", ""), ("instance", "i"), ("u", "Π")]);
    push(&store, &key, BODY, 5);
    push(&store, &key, "# TYPE s summary\ns_sum 6\ns_count 5\na 1\n", 6);
    (store, key)
}

#[test]
fn a_group_comes_back_as_it_was() {
    let (store, key) = sample();
    let (shape, values) = records(&store, &key);
    let again = restored(&key, &shape, &values);
    assert_eq!(records(&again, &key), (shape, values));
    let lines = |store: &Store| {
        let views = store.views();
        let mut lines = vec![format!("{:?} {:?}", views[0].push_time(), views[0].failure_time())];
        for family in views[0].families() {
            lines.push(format!("{} {:?} {:?} {:?}", family.name, family.help, family.kind, family.pushed_at));
            lines.extend(family.series().map(|series| format!("{:?} {:?}", series.labels, series.value)));
        }
        lines
    };
    assert_eq!(lines(&again), lines(&store));
    // The next push of the same body must find its shape again.
    let state = again.state_of(&key).unwrap();
    push(&again, &key, "# TYPE s summary\ns_sum 7\ns_count 5\na 2\n", 8);
    assert!(state.same_shape(&again.state_of(&key).unwrap()));
}

#[test]
fn details_move_with_their_values() {
    let (store, key) = (Store::new(true, []), GroupingKey::new("j", []));
    let series = |at: u32| Series {
        labels: Span::default(),
        parts: Span::default(),
        value: f64::from(at),
        count: Number::Float(1.5),
    };
    let family = |name: &'static str, at: u32| Family {
        name: name.into(),
        help: Some("".into()),
        unit: Some("seconds".into()),
        kind: MetricType::GaugeHistogram,
        series: Span { start: at, end: at + 1 },
    };
    let families = Families {
        families: vec![family("b", 0), family("a", 1)],
        series: vec![series(0), series(1)],
        details: vec![
            Detail { series: 0, message: b"first".as_slice().into() },
            Detail { series: 1, message: b"second".as_slice().into() },
        ],
        ..Families::default()
    };
    store.push(Mode::ReplaceGroup, &key, &families, None, UnixNanos(1)).unwrap();
    push(&store, &key, "b 1\n", 2);
    let (shape, values) = records(&store, &key);
    let again = restored(&key, &shape, &values);
    let state = again.state_of(&key).unwrap();
    let (held, family) = state.find("a").unwrap();
    let series = &held.block.shape.series(family)[0];
    assert_eq!(held.block.details.get(series.first_value), Some(b"second".as_slice()));
    assert_eq!(held.block.values.len(), 2);
    assert_eq!(held.block.shape.unit(family), Some("seconds"));
    assert_eq!(records(&again, &key), (shape, values));
}

#[test]
fn every_cut_and_every_flipped_bit_is_found() {
    let (store, key) = sample();
    let (shape, values) = records(&store, &key);
    let key = key_bytes(&key);
    type Check = fn(&[u8], &[u8]) -> bool;
    let checks: [(&[u8], &[u8], Check); 2] = [
        (&shape, &key, |record, key| read_shape(record, key).is_ok()),
        (&values, &key, |record, key| read_values(record, key).is_ok()),
    ];
    for (record, key, reads) in checks {
        assert!(reads(record, key));
        assert!(!reads(record, b"another key"));
        for length in 0..record.len() {
            assert!(!reads(&record[..length], key), "cut to {length}");
        }
        let mut damaged = record.to_vec();
        for bit in 0..record.len() * 8 {
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!reads(&damaged, key), "bit {bit}");
            damaged[bit / 8] ^= 1 << (bit % 8);
        }
        damaged.push(0);
        assert!(!reads(&damaged, key), "one byte more");
    }
}

#[test]
fn a_newer_format_says_so() {
    let record = finished(&[VERSION + 1, 1, 2, 3]);
    assert_eq!(read_shape(&record, b"k").unwrap_err(), BadRecord::Version(VERSION + 1));
    let record = finished(&[VERSION_NEWEST + 1, 1, 2, 3]);
    assert_eq!(read_values(&record, b"k").unwrap_err(), BadRecord::Version(VERSION_NEWEST + 1));
}

#[test]
fn lifetimes_come_back_and_cost_nothing_where_there_are_none() {
    let key = GroupingKey::new("j", []);
    let term = |millis, action| Term { lifetime: Lifetime::from_millis(millis).unwrap(), action };
    let lives = [
        Life::default(),
        Life::new(term(90, AtEnd::Remove), Running(0)),
        Life::new(term(90, AtEnd::Flag), Running(0)).overdue(),
        Life::new(term(0, AtEnd::Flag), Running(0)),
    ];
    for life in lives {
        let store = Store::new(true, []);
        let families = text::parse(b"m 1\n", NameRules::Utf8, Families::default()).unwrap();
        let stamp = Stamp { at: UnixNanos(3), life };
        store.push(Mode::ReplaceGroup, &key, &families, None, stamp).unwrap();
        let (shape, values) = records(&store, &key);
        assert_eq!(values[0], if life == Life::default() { VERSION } else { VERSION_LIFETIMES });
        assert_eq!(read_values(&values, &key_bytes(&key)).unwrap().life, life);
        let again = restored(&key, &shape, &values);
        assert_eq!(again.state_of(&key).unwrap().life, life);
        assert_eq!(again.has_lifetimes(), life.alarm().is_some());
    }
}

#[test]
fn keys_of_pushes_come_back_whole_or_not_at_all() {
    let limits = KeyLimits { count: 100, ..KeyLimits::default() };
    let sum = |_: &str, _| MergeRule::Sum;
    let store = Store::new(true, []);
    let key = GroupingKey::new("j", []);
    let families = text::parse(b"m 1\n", NameRules::Utf8, Families::default()).unwrap();
    for number in 0..200u8 {
        let remember = Remember { name: [number; 16], body: [7; 16], limits };
        let manner = Manner { rule: &sum, remember: Some(remember), stamp: UnixNanos(3).into() };
        store.merge(&key, &families, manner, |_, _| None).unwrap();
    }
    let (state, bytes) = (store.state_of(&key).unwrap(), key_bytes(&key));
    let mut chunks = Vec::new();
    for (number, chunk) in state.keys.chunks() {
        let (chunk_key, mut record) = (chunk_key(&bytes, number), Vec::new());
        push_chunk(&mut record, chunk, &chunk_key);
        assert_eq!(read_chunk_key(&chunk_key), Some((&bytes[..], number)));
        assert!(read_key(&chunk_key).is_err());
        chunks.push((chunk_key, record));
    }
    assert_eq!(chunks.len(), 3);
    let checksums = chunks.iter().fold(0u32, |sum, (_, record)| sum.wrapping_add(checksum_of(record)));
    let (mut shape, mut values) = (Vec::new(), Vec::new());
    push_shape(&mut shape, &state, &bytes);
    push_values(&mut values, &state, &bytes, 7, checksum_of(&shape), checksums);
    assert_eq!((values[0], chunks[0].1[0]), (VERSION_NEWEST, VERSION_NEWEST));
    let read = |chunks: &[(Vec<u8>, Vec<u8>)]| {
        let store = Store::new(true, []);
        let mut reader = Restore::new(&store);
        reader.shape(&bytes, &shape).map_err(|damage| damage.to_string())?;
        for (key, record) in chunks {
            reader.values(key, record).map_err(|damage| damage.to_string())?;
        }
        reader.values(&bytes, &values).map_err(|damage| damage.to_string())?;
        reader.finish(None);
        Ok::<_, String>(store.state_of(&key).unwrap())
    };
    let again = read(&chunks).unwrap();
    assert_eq!(again.life, Life::default());
    let known = |number: u8, body| again.keys.find([number; 16], body, UnixNanos(4), limits);
    assert_eq!((known(150, [7; 16]), known(150, [8; 16])), (Known::Replayed, Known::Reused));
    assert_eq!((known(99, [7; 16]), known(200, [7; 16])), (Known::New, Known::New));
    assert!(read(&chunks[1..]).is_err() && read(&chunks[..2]).is_err() && read(&[]).is_err());
    let strange = (chunk_key(&bytes, 9), chunks[0].1.clone());
    assert!(read(&[strange, chunks[1].clone(), chunks[2].clone()]).unwrap_err().contains("checksum"));
}

#[test]
fn keys_come_back_and_nothing_else_does() {
    let key = GroupingKey::new("j", [("a", ""), ("é", "x\n")]);
    assert_eq!(read_key(&key_bytes(&key)).unwrap(), key);
    // The group of bare pushes.
    assert_eq!(read_key(b"").unwrap(), GroupingKey::bare());
    for bytes in [
        &b"job"[..],
        b"job\xff",
        b"job\xffj",
        b"job\xff\xff",
        b"a\xff1\xff",
        b"z\xff1\xffjob\xffj\xff",
        b"job\xffj\xffjob\xffj\xff",
        b"job\xff\xc3\xff",
    ] {
        assert!(read_key(bytes).is_err(), "{}", bytes.escape_ascii());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let record = finished(&[&[VERSION], &bytes[..]].concat());
        let _ = (read_shape(&record, b"k"), read_values(&record, b"k"), read_key(&bytes));
    }

    #[test]
    fn any_group_comes_back(
        labels in proptest::collection::btree_map("[a-i]{1,2}", ".{0,4}", 0..3),
        pushes in proptest::collection::vec(
            proptest::collection::btree_map(
                ("[k-n]", ".{0,4}"),
                any::<f64>(),
                1..6,
            ),
            1..4,
        ),
    ) {
        let store = Store::new(true, []);
        let key = GroupingKey::new("j", labels.iter().map(|(name, value)| (&**name, &**value)));
        for (at, series) in pushes.iter().enumerate() {
            let mut body = String::new();
            for ((name, label), value) in series {
                let label = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                body.push_str(&format!("{name}{{x=\"{label}\"}} {value}\n"));
            }
            push(&store, &key, &body, at as u64 + 1);
        }
        let (shape, values) = records(&store, &key);
        let again = restored(&key, &shape, &values);
        prop_assert_eq!(records(&again, &key), (shape, values));
    }
}

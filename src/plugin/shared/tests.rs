//! Shared state by itself: what calls do, that none is lost, and that nothing grows without bound.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;

fn number(number: f64) -> Value {
    Value::Number(number)
}

fn text(text: &str) -> Value {
    Value::Text(text.as_bytes().into())
}

fn tick(seconds: f64) -> Tick {
    Tick(1_000_000_000).after(seconds)
}

fn incr(dict: &Dict, key: &str, by: f64, now: Tick) -> Result<f64, Not> {
    dict.change(key.as_bytes(), |n| n + by, by, None, now)
}

#[test]
fn a_dict_keeps_numbers_truths_and_texts() {
    let (dict, now) = (Dict::new(10), tick(0.0));
    assert_eq!(dict.get(b"a", now), None);
    for value in [number(1.5), Value::Bool(false), text("x"), number(f64::INFINITY)] {
        dict.set(b"a", &value, None).unwrap();
        assert_eq!(dict.get(b"a", now), Some(value));
    }
    assert_eq!(dict.add(b"a", &number(1.0), None, now), Ok(false));
    dict.delete(b"a");
    assert_eq!((dict.get(b"a", now), dict.keys()), (None, 0));
    assert_eq!(dict.add(b"a", &number(1.0), None, now), Ok(true));
    assert_eq!((incr(&dict, "a", 2.0, now), incr(&dict, "b", 2.0, now)), (Ok(3.0), Ok(2.0)));
    assert_eq!(dict.change(b"a", |n| n.max(7.0), 7.0, None, now), Ok(7.0));
    dict.set(b"t", &text("x"), None).unwrap();
    assert_eq!(incr(&dict, "t", 1.0, now), Err(Not::Number));
}

#[test]
fn a_value_is_swapped_for_another_where_it_is_the_expected_one() {
    let (dict, now) = (Dict::new(10), tick(0.0));
    let kinds = [None, Some(number(1.0)), Some(text("x")), Some(Value::Bool(true)), Some(number(2.0))];
    for old in &kinds {
        for new in &kinds {
            match old {
                Some(old) => dict.set(b"k", old, None).unwrap(),
                None => dict.delete(b"k"),
            }
            for other in kinds.iter().filter(|other| *other != old) {
                assert_eq!(
                    dict.swap(b"k", other.as_ref(), new.as_ref(), None, now),
                    Ok(false),
                    "{old:?} {other:?}"
                );
            }
            assert_eq!(dict.swap(b"k", old.as_ref(), new.as_ref(), None, now), Ok(true), "{old:?} {new:?}");
            assert_eq!(dict.get(b"k", now), *new);
            assert_eq!(dict.keys(), usize::from(new.is_some()));
        }
    }
}

#[test]
fn values_end_and_leave_room() {
    let dict = Dict::new(2);
    dict.set(b"a", &number(1.0), Some(tick(5.0))).unwrap();
    dict.set(b"b", &text("x"), None).unwrap();
    assert_eq!(dict.set(b"c", &number(1.0), None), Err(Not::Full));
    assert_eq!(incr(&dict, "c", 1.0, tick(0.0)), Err(Not::Full));
    assert_eq!(dict.end_of(b"a", tick(1.0)), Some(Some(tick(5.0))));
    assert_eq!((dict.end_of(b"b", tick(1.0)), dict.end_of(b"c", tick(1.0))), (Some(None), None));
    // What exists can be changed in a full dict, and its end stays.
    assert_eq!(incr(&dict, "a", 1.0, tick(4.9)), Ok(2.0));
    assert_eq!(dict.swap(b"a", Some(&number(2.0)), Some(&text("y")), None, tick(4.9)), Ok(true));
    assert_eq!((dict.get(b"a", tick(4.9)), dict.get(b"a", tick(5.0))), (Some(text("y")), None));
    // In the place of what is over there is always room.
    assert_eq!(incr(&dict, "a", 3.0, tick(6.0)), Ok(3.0));
    assert!(dict.expire(b"a", Some(tick(8.0)), tick(7.0)) && dict.expire(b"b", Some(tick(8.0)), tick(7.0)));
    assert!(!dict.expire(b"a", None, tick(8.0)));
    assert_eq!((dict.get(b"a", tick(7.9)), dict.get(b"b", tick(7.9))), (Some(number(3.0)), Some(text("x"))));
    assert_eq!(dict.set(b"c", &number(1.0), None), Err(Not::Full));
    dict.sweep(tick(7.9));
    assert_eq!(dict.keys(), 2);
    dict.sweep(tick(8.0));
    assert_eq!(dict.keys(), 0);
    dict.set(b"c", &number(1.0), None).unwrap();
}

#[test]
fn a_scan_comes_by_every_key_once() {
    let dict = Dict::new(10_000);
    for key in 0..2500 {
        let until = (key % 5 == 0).then(|| tick(1.0));
        dict.set(format!("k{key}").as_bytes(), &number(0.0), until).unwrap();
    }
    for most in [1, 7, 1000] {
        let (mut seen, mut cursor, mut pages) = (HashSet::new(), Some(0), 0);
        while let Some(from) = cursor {
            let (keys, next) = dict.scan(from, most, tick(2.0));
            assert!(keys.len() <= most);
            pages += 1;
            for key in keys {
                assert!(seen.insert(key));
            }
            cursor = next;
            if most == 1 && pages == 50 {
                break;
            }
        }
        assert_eq!(seen.len(), if most == 1 { 50 } else { 2000 });
    }
}

/// No update of one key is lost: numbers, their becoming something else, and their going away.
#[test]
fn nothing_is_lost_where_threads_meet_at_one_key() {
    const THREADS: usize = 8;
    const EACH: usize = 20_000;
    let dict = Dict::new(10);
    let now = tick(0.0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..EACH).for_each(|_| assert!(incr(&dict, "n", 1.0, now).is_ok())));
        }
    });
    assert_eq!(dict.get(b"n", now), Some(number((THREADS * EACH) as f64)));

    // Becoming something else freezes a number, which others wait for: far fewer of these.
    const MIXED: usize = 2000;
    // Each thread adds one where it finds a number, and takes the whole number away at times: what was
    // taken and what is left are all that was added.
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (dict, taken) = (&dict, &taken);
            scope.spawn(move || {
                for round in 0..MIXED {
                    match (round + thread) % 4 {
                        0 => match dict.get(b"m", now) {
                            Some(Value::Number(found)) => {
                                let new = (round % 8 == 0).then(|| text("gone"));
                                if dict.swap(b"m", Some(&number(found)), new.as_ref(), None, now) == Ok(true)
                                {
                                    taken.fetch_add(found as u64, Ordering::Relaxed);
                                }
                            }
                            Some(old) => {
                                dict.swap(b"m", Some(&old), Some(&number(0.0)), None, now).unwrap();
                            }
                            None => {}
                        },
                        1 => {
                            dict.expire(b"m", Some(now.after(1e6)), now);
                        }
                        _ => {
                            while incr(dict, "m", 1.0, now).is_err() {
                                dict.swap(b"m", Some(&text("gone")), Some(&number(0.0)), None, now).unwrap();
                            }
                        }
                    }
                }
            });
        }
    });
    let left = match dict.get(b"m", now) {
        Some(Value::Number(left)) => left as u64,
        _ => 0,
    };
    assert_eq!(taken.into_inner() + left, (THREADS * MIXED / 2) as u64);
    assert!(dict.keys() <= 2);
}

#[test]
fn room_is_exact_where_threads_come_and_go() {
    let dict = Dict::new(100);
    thread::scope(|scope| {
        for thread in 0..8 {
            let dict = &dict;
            scope.spawn(move || {
                for round in 0..5000 {
                    let key = format!("{}", (round * 7 + thread) % 150);
                    let until = (round % 3 == 0).then(|| tick(1.0));
                    let _ = dict.set(key.as_bytes(), &number(1.0), until);
                    let _ = dict.add(key.as_bytes(), &number(1.0), None, tick(2.0));
                    if round % 2 == 0 {
                        dict.delete(key.as_bytes());
                    }
                    if round % 500 == 0 {
                        dict.sweep(tick(2.0));
                    }
                }
            });
        }
    });
    dict.sweep(tick(2.0));
    let (keys, more) = dict.scan(0, 1000, tick(2.0));
    assert_eq!((keys.len(), more), (dict.keys(), None));
    assert!(dict.keys() <= 100);
}

#[test]
fn a_bucket_lets_the_burst_and_then_the_rate_through() {
    let bucket = Bucket::new(2.0, 5.0, 2);
    let now = tick(0.0);
    assert_eq!(bucket.peek(b"a", now), 5.0);
    assert_eq!((0..10).filter(|_| bucket.take(b"a", 1.0, now) == Taken::Yes).count(), 5);
    assert_eq!(bucket.take(b"a", 1.0, now), Taken::No(0.5));
    assert_eq!(bucket.take(b"a", 4.0, now), Taken::No(2.0));
    assert_eq!(bucket.peek(b"a", tick(0.75)), 1.5);
    assert_eq!(bucket.take(b"a", 1.0, tick(0.5)), Taken::Yes);
    assert_eq!(bucket.take(b"a", 1.0, tick(0.5)), Taken::No(0.5));
    assert_eq!(bucket.take(b"b", 6.0, now), Taken::No(0.5), "more than there ever is");
    assert_eq!(bucket.keys(), 1);
    assert_eq!(bucket.take(b"b", 1.0, tick(100.0)), Taken::Yes);
    assert_eq!(bucket.take(b"c", 1.0, tick(100.0)), Taken::Unknown);
    bucket.sweep(tick(100.1));
    assert_eq!(bucket.keys(), 1, "the full one is forgotten");
    assert_eq!(bucket.take(b"c", 5.0, tick(100.1)), Taken::Yes);
    assert_eq!(bucket.take(b"c", 1.0, tick(100.1)), Taken::No(0.5));
}

#[test]
fn a_bucket_is_exact_where_threads_meet() {
    let bucket = Bucket::new(1000.0, 1000.0, 10);
    let passed = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for round in 0..500 {
                    if bucket.take(b"k", 1.0, tick(0.0)) == Taken::Yes {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                    if round % 50 == 0 {
                        bucket.sweep(tick(0.0));
                    }
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 1000);
}

#[test]
fn a_distinct_count_is_of_the_window_and_of_its_key() {
    let distinct = Distinct::new(30.0, 2);
    for round in 0..2 {
        for item in 0..50 {
            let count = distinct.add(b"a", format!("i{item}").as_bytes(), tick(0.0));
            assert_eq!(count, Some(if round == 0 { item + 1 } else { 50 } as f64));
        }
    }
    assert_eq!(distinct.add(b"b", b"i0", tick(5.0)), Some(1.0));
    assert_eq!(distinct.add(b"c", b"i0", tick(5.0)), None);
    assert_eq!((distinct.count(b"a", tick(18.0)), distinct.count(b"c", tick(18.0))), (50.0, 0.0));
    distinct.sweep(tick(18.0));
    assert_eq!((distinct.keys(), distinct.count(b"a", tick(40.0))), (2, 0.0));
    distinct.sweep(tick(40.0));
    assert_eq!(distinct.keys(), 0);
}

#[test]
fn a_distinct_count_loses_nothing_where_threads_meet() {
    let distinct = Distinct::new(3600.0, 10);
    thread::scope(|scope| {
        for thread in 0..8 {
            let distinct = &distinct;
            scope.spawn(move || {
                for item in 0..1000 {
                    // Every item is added by two threads.
                    let item = format!("{}", item * 4 + thread / 2);
                    distinct.add(b"many", item.as_bytes(), tick(0.0)).unwrap();
                    if item.len() < 2 {
                        distinct.add(b"few", item.as_bytes(), tick(0.0)).unwrap();
                    }
                }
            });
        }
    });
    let many = distinct.count(b"many", tick(0.0));
    assert!((many - 4000.0).abs() < 4000.0 * 0.06, "{many}");
    assert_eq!(distinct.count(b"few", tick(0.0)), 10.0);
}

#[test]
fn stores_go_on_where_they_are_declared_alike() {
    let stores = Stores::default();
    let dict = |keys_max| Declared { name: "d".into(), kind: Kind::Dict { keys_max, ttl: None } };
    let bucket = Declared { name: "d".into(), kind: Kind::Bucket { keys_max: 1, rate: 1.0, burst: 1.0 } };
    assert!(stores.take(&[dict(1), bucket.clone()]).is_empty());
    let before = stores.known(dict(1));
    let Body::Dict(held) = &before.body else { panic!() };
    held.set(b"k", &number(1.0), None).unwrap();
    assert!(stores.take(&[bucket.clone(), dict(1)]).is_empty());
    assert!(Arc::ptr_eq(&before, &stores.known(dict(1))) && before.keys() == 1);
    // A machine of an older generation gets one that nobody shares.
    assert!(!Arc::ptr_eq(&stores.known(dict(2)), &stores.known(dict(2))));
    assert_eq!(stores.take(&[dict(2)]), ["d"]);
    assert_eq!(stores.all().len(), 1);
    assert_eq!(stores.declare(dict(3)).unwrap_err().code, Code::Value);
    for number in 1..STORES_MAX {
        stores.declare(Declared { name: format!("n{number}"), ..dict(1) }).unwrap();
    }
    let more = Declared { name: "more".into(), ..dict(1) };
    assert_eq!(stores.declare(more).unwrap_err().code, Code::Limit);
    stores.declare(bucket).unwrap();
}

fn store(kind: Kind) -> Arc<Store> {
    Store::new(Declared { name: "s".to_owned(), kind })
}

fn dict_of(store: &Store) -> &Dict {
    match &store.body {
        Body::Dict(dict) => dict,
        _ => panic!("another kind"),
    }
}

#[test]
fn an_overlay_shows_what_is_in_a_dict_and_keeps_changes_to_itself() {
    let (live, now) = (store(Kind::Dict { keys_max: 4, ttl: None }), tick(0.0));
    let dict = dict_of(&live);
    dict.set(b"n", &number(1.0), Some(now.after(9.0))).unwrap();
    dict.set(b"t", &text("x"), None).unwrap();
    dict.set(b"ended", &number(1.0), Some(now)).unwrap();
    let over = Store::over(&live);
    let own = dict_of(&over);
    for key in [&b"n"[..], b"t", b"ended", b"none"] {
        over.bring(key, now);
        assert_eq!(own.get(key, now), dict.get(key, now), "{key:?}");
    }
    assert_eq!((own.end_of(b"n", now), own.keys()), (Some(Some(now.after(9.0))), 3));
    // From now on what is done here stays here, and so it is there.
    assert_eq!((incr(own, "n", 5.0, now), incr(dict, "n", 1.0, now)), (Ok(6.0), Ok(2.0)));
    own.delete(b"t");
    over.bring(b"t", now);
    over.bring(b"n", now);
    assert_eq!((own.get(b"t", now), own.get(b"n", now)), (None, Some(number(6.0))));
    assert_eq!((dict.get(b"t", now), dict.get(b"n", now)), (Some(text("x")), Some(number(2.0))));
    // There is as much room as there, and what has ended makes way.
    assert_eq!(own.add(b"ended", &number(2.0), None, now), Ok(true));
    own.set(b"a", &number(1.0), None).unwrap();
    own.set(b"b", &number(1.0), None).unwrap();
    assert_eq!((own.set(b"c", &number(1.0), None), own.keys()), (Err(Not::Full), 4));
    assert_eq!((dict.get(b"ended", now), dict.get(b"a", now), dict.keys()), (None, None, 3));
    let over = Store::over(&live);
    over.bring_all(now);
    assert_eq!((dict_of(&over).scan(0, 10, now).0.len(), dict_of(&over).keys()), (2, 3));
}

#[test]
fn keys_that_come_after_an_overlay_do_not_lead_its_count_astray() {
    let (live, now) = (store(Kind::Dict { keys_max: 1, ttl: None }), tick(0.0));
    let over = Store::over(&live);
    let own = dict_of(&over);
    dict_of(&live).set(b"late", &number(1.0), None).unwrap();
    over.bring(b"late", now);
    own.delete(b"late");
    assert_eq!(own.keys(), 0);
    own.set(b"a", &number(1.0), None).unwrap();
    own.set(b"b", &number(1.0), None).unwrap();
    assert_eq!(own.set(b"c", &number(1.0), None), Err(Not::Full));
}

#[test]
fn an_overlay_takes_tokens_that_nobody_misses() {
    let (live, now) = (store(Kind::Bucket { keys_max: 1, rate: 1.0, burst: 4.0 }), tick(0.0));
    let over = Store::over(&live);
    let (Body::Bucket(bucket), Body::Bucket(own)) = (&live.body, &over.body) else { panic!("another kind") };
    assert_eq!(bucket.take(b"k", 3.0, now), Taken::Yes);
    over.bring(b"k", now);
    assert_eq!((own.peek(b"k", now), own.take(b"k", 1.0, now)), (1.0, Taken::Yes));
    assert_eq!((own.take(b"k", 1.0, now), bucket.peek(b"k", now)), (Taken::No(1.0), 1.0));
    // The room is that of the live one when the overlay came.
    let over = Store::over(&live);
    let Body::Bucket(own) = &over.body else { panic!("another kind") };
    over.bring(b"other", now);
    assert_eq!(own.take(b"other", 1.0, now), Taken::Unknown);
}

#[test]
fn an_overlay_counts_items_on_from_what_there_is() {
    let now = tick(0.0);
    for items in [10u32, 64, 65, 3000] {
        let live = store(Kind::Distinct { keys_max: 1, window: 30.0 });
        let over = Store::over(&live);
        let (Body::Distinct(seen), Body::Distinct(own)) = (&live.body, &over.body) else {
            panic!("another kind")
        };
        for item in 0..items {
            seen.add(b"k", &item.to_be_bytes(), now);
        }
        let before = seen.count(b"k", now);
        over.bring(b"k", now);
        assert_eq!(own.count(b"k", now), before);
        for item in items..2 * items {
            own.add(b"k", &item.to_be_bytes(), now);
        }
        let (count, expected) = (own.count(b"k", now), f64::from(2 * items));
        assert!((count - expected).abs() <= if expected <= 64.0 { 0.0 } else { 0.04 * expected }, "{count}");
        assert_eq!(seen.count(b"k", now), before);
        // The window goes on as well.
        assert_eq!(own.count(b"k", now.after(31.0)), 0.0);
    }
}

//! Logs of many segments: they come back whole after any end, stay short, and no damage to them passes
//! unnoticed. (Segments are small in unit tests.)

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::durable::{Options, Promise};
use super::keeper::Keeper;
use super::scratch::Scratch;
use super::{log, records, segment, start};
use crate::clock::UnixNanos;
use crate::limits;
use crate::model::{Families, GroupingKey, NameRules};
use crate::parse::text;
use crate::store::{Mode, Store};

/// What `store` holds, group by group.
fn held(store: &Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let records = store.groups().into_iter().filter_map(|group| {
        let (key, state) = (records::key_bytes(&group.key), group.load()?);
        let mut bytes = Vec::new();
        records::push_shape(&mut bytes, &state, &key);
        records::push_values(&mut bytes, &state, &key, 0, 0, 0);
        Some((key, bytes))
    });
    records.collect()
}

fn open(path: &Path, salvage: bool) -> Result<(Arc<Store>, Keeper), String> {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let store = Arc::new(Store::new(true, []).followed_by_keeper());
        let options = Options { path: path.to_owned(), promise: Promise::Always, salvage };
        match start::start(&store, &options) {
            Ok(keeper) => return Ok((store, keeper)),
            // A test that starts a process beside this one lets it have the lock until it is another program.
            Err(error)
                if Instant::now() < patience && error.to_string().contains("in use by another process") =>
            {
                std::thread::yield_now();
            }
            Err(error) => return Err(format!("{error}; {}", error.way_out())),
        }
    }
}

/// A small generator, so that a failure can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// One PUT, POST or DELETE of one of 30 groups.
    fn change(&mut self, store: &Store, at: u64) {
        let key = GroupingKey::new("j", [("n", &*self.below(30).to_string())]);
        if self.below(12) == 0 {
            store.delete(&key);
            return;
        }
        let mode = if self.below(4) == 0 { Mode::ReplaceFamilies } else { Mode::ReplaceGroup };
        let family = if self.below(8) == 0 { self.below(3) } else { 0 };
        let body: String =
            (0..40).map(|n| format!("f{family}{{series=\"{n}\"}} {}\n", self.below(1000))).collect();
        let families = text::parse(body.as_bytes(), NameRules::Utf8, Families::default()).unwrap();
        store.push(mode, &key, &families, Some(body.as_bytes()), UnixNanos(at)).unwrap();
    }
}

fn log_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn a_log_comes_back_whole_after_any_end_and_stays_short() {
    let scratch = Scratch::new("log");
    let path = scratch.path("groups");
    let folder = path.join("groups-1");
    let mut chance = Chance(7);
    let (mut store, mut keeper) = open(&path, false).unwrap();
    for at in 1..=8000 {
        chance.change(&store, at);
        if chance.below(3) == 0 {
            keeper.commit(true, false).unwrap();
        }
        if chance.below(400) == 0 {
            keeper.commit(chance.below(2) == 0, false).unwrap();
            if chance.below(2) == 0 {
                keeper.close().unwrap();
            }
            let before = held(&store);
            drop((keeper, store));
            (store, keeper) = open(&path, false).unwrap();
            assert!(held(&store) == before, "at {at}");
        }
        if at % 100 == 0 {
            let live: usize = held(&store).values().map(|bytes| bytes.len() + 60).sum();
            let bytes_max = 2 * live as u64 + limits::LOG_SLACK_BYTES + 3 * limits::SEGMENT_BYTES;
            assert!(log_bytes(&folder) <= bytes_max, "{} of {bytes_max} at {at}", log_bytes(&folder));
        }
    }
    assert!(log::numbers_in(&folder).unwrap()[0] > 20, "segments must go");
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to.join("groups-1")).unwrap();
    fs::copy(from.join("CURRENT"), to.join("CURRENT")).unwrap();
    for entry in fs::read_dir(from.join("groups-1")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join("groups-1").join(entry.file_name())).unwrap();
    }
}

/// A log of several segments, and what it holds after its last batch and before it.
fn several_segments(path: &Path) -> [BTreeMap<Vec<u8>, Vec<u8>>; 2] {
    let (store, mut keeper) = open(path, false).unwrap();
    let mut chance = Chance(3);
    for at in 1..=350 {
        chance.change(&store, at);
        keeper.commit(true, false).unwrap();
    }
    let before = held(&store);
    chance.change(&store, 400);
    keeper.commit(true, false).unwrap();
    [held(&store), before]
}

#[test]
fn damage_to_any_block_of_any_file_is_refused_unless_it_is_the_torn_end() {
    const BLOCK: usize = 4096;
    let scratch = Scratch::new("blocks");
    let (whole, damaged) = (scratch.path("whole"), scratch.path("damaged"));
    let [last, before] = several_segments(&whole);
    let numbers = log::numbers_in(&whole.join("groups-1")).unwrap();
    assert!(numbers.len() >= 3, "{numbers:?}");
    let newest = numbers[numbers.len() - 1];
    let (mut refused, mut cut) = (0, 0);
    for number in numbers {
        let file: PathBuf = log::path_of(&damaged.join("groups-1"), number);
        let bytes = fs::read(log::path_of(&whole.join("groups-1"), number)).unwrap();
        for at in (0..bytes.len()).step_by(BLOCK) {
            let mut flipped = bytes.clone();
            flipped[at + 100 + at / BLOCK % 1000] ^= 0x10;
            for content in [&flipped[..], &bytes[..at]] {
                copy(&whole, &damaged);
                fs::write(&file, content).unwrap();
                match open(&damaged, false) {
                    Ok((store, _)) => {
                        // Only what nobody can know to have been safe, and nothing is ever missing silently.
                        assert!(number == newest && content.len() == bytes.len(), "{number} at {at}");
                        assert!([&last, &before].contains(&&held(&store)), "{number} at {at}");
                        cut += 1;
                    }
                    Err(text) => {
                        assert!(text.contains("--persistence.salvage"), "{text}");
                        assert!(fs::read(&file).unwrap() == content, "the evidence was changed");
                        refused += 1;
                        let (store, _) = open(&damaged, true).unwrap();
                        assert!(held(&store).len() + 25 >= last.len());
                    }
                }
            }
        }
    }
    assert!(refused > 3 * 16 && cut > 0, "{refused} refused, {cut} cut");
}

#[test]
fn after_an_orderly_end_damage_to_the_last_change_is_no_torn_end() {
    let scratch = Scratch::new("closed");
    let path = scratch.path("groups");
    let (store, mut keeper) = open(&path, false).unwrap();
    Chance(1).change(&store, 1);
    keeper.commit(true, false).unwrap();
    keeper.close().unwrap();
    drop(keeper);
    let file = log::path_of(&path.join("groups-1"), 1);
    let mut bytes = fs::read(&file).unwrap();
    // Behind the batch that makes the log.
    bytes[segment::HEADER_BYTES + 2 * segment::BATCH_HEAD_BYTES + 50] ^= 1;
    fs::write(file, bytes).unwrap();
    assert!(open(&path, false).err().unwrap().contains("damaged at byte"));
}

#[test]
fn a_segment_that_was_made_and_never_used_is_no_damage() {
    let scratch = Scratch::new("stillborn");
    let path = scratch.path("groups");
    let [last, _] = several_segments(&path);
    let folder = path.join("groups-1");
    let next = log::path_of(&folder, log::numbers_in(&folder).unwrap().pop().unwrap() + 1);
    for content in [&b""[..], b"FLOODLOG", &[0; 70_000]] {
        fs::write(&next, content).unwrap();
        let (store, _) = open(&path, false).unwrap();
        assert!(held(&store) == last && !next.exists());
    }
}

//! The program with `--persistence.file`: what survives which end, what it refuses to start with, and
//! what it does while the disk fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

#[path = "support/process.rs"]
mod process;

use process::{Scratch, Server, request};

/// Every file below a folder with its bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    files
}

/// The newest file of the log in use.
fn segment(folder: &Path) -> PathBuf {
    let segments = contents(folder).into_keys().filter(|path| path.extension().is_some_and(|e| e == "log"));
    segments.max().unwrap()
}

/// Bytes of a file in front of the zeros that fill it.
fn used(segment: &[u8]) -> usize {
    segment.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// CRC-32 as zip files have it, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// What one pusher knows of its group.
#[derive(Default)]
struct Known {
    /// The value that was last acknowledged; `None` if the group was deleted.
    acknowledged: Option<u64>,
    /// What was asked for since, without an answer.
    pending: Vec<Option<u64>>,
}

/// Pushes and deletes a group of its own until the server goes away.
fn pusher(server: &Server, number: usize, known: &mut Known, next: &mut u64, go: &AtomicBool) {
    while go.load(Ordering::Relaxed) {
        *next += 1;
        let path = format!("/metrics/job/j{number}/n/{}", number % 3);
        let (method, wanted) = match *next % 7 {
            0 => ("DELETE", None),
            1 | 2 => ("POST", Some(*next)),
            _ => ("PUT", Some(*next)),
        };
        // A body that changes its shape now and then.
        let extra = if next.is_multiple_of(5) { "also 1\n" } else { "" };
        let body = wanted.map_or(String::new(), |value| format!("v{{p=\"{number}\"}} {value}\n{extra}"));
        known.pending.push(wanted);
        match request(server.address, method, &path, &body) {
            Some((200 | 202, _)) => {
                known.acknowledged = wanted;
                known.pending.clear();
            }
            Some((status, text)) => panic!("{status}: {text}"),
            None => return,
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    const PUSHERS: usize = 6;
    let cycles = if cfg!(debug_assertions) { 4 } else { 10 };
    let scratch = Scratch::new();
    let folder = scratch.path("groups");
    let mut known: Vec<Known> = (0..PUSHERS).map(|_| Known::default()).collect();
    let mut next = vec![0; PUSHERS];
    let mut total = 0;
    for cycle in 0..cycles {
        let server = Server::start(&folder, &[]);
        for (number, known) in known.iter_mut().enumerate() {
            let prefix = format!("v{{instance=\"\",job=\"j{number}\"");
            let found: Vec<u64> = server
                .lines(&prefix)
                .iter()
                .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
                .collect();
            assert!(found.len() <= 1, "{found:?}");
            let found = found.first().copied();
            assert!(
                found == known.acknowledged || known.pending.contains(&found),
                "cycle {cycle}, group {number}: found {found:?}, acknowledged {:?}, pending {:?}",
                known.acknowledged,
                known.pending
            );
            *known = Known { acknowledged: found, pending: Vec::new() };
        }
        let go = AtomicBool::new(true);
        std::thread::scope(|scope| {
            for (number, (known, next)) in known.iter_mut().zip(&mut next).enumerate() {
                let (server, go) = (&server, &go);
                scope.spawn(move || pusher(server, number, known, next, go));
            }
            std::thread::sleep(std::time::Duration::from_millis(200 + 130 * cycle));
            assert!(
                Command::new("kill").args(["-KILL", &server.id().to_string()]).status().unwrap().success()
            );
            // Those that are between two requests end here, the others by the end of their connection.
            go.store(false, Ordering::Relaxed);
        });
        total = next.iter().sum();
    }
    assert!(total > 100, "only {total} changes were made");
}

#[test]
fn every_mode_keeps_everything_over_an_orderly_end() {
    for flags in [
        &["--persistence.sync=always"][..],
        &["--persistence.sync=interval", "--persistence.interval=1h"],
        &["--persistence.sync=interval", "--persistence.interval=0s"],
        &["--persistence.sync=never"],
    ] {
        let scratch = Scratch::new();
        let folder = scratch.path("groups");
        let server = Server::start(&folder, flags);
        server.expect(200, "PUT", "/metrics/job/a", "a 1\n# TYPE h histogram\nh_sum 1\nh_count 2\n");
        server.expect(200, "POST", "/metrics/job/a", "b{x=\"\\n\"} NaN\n");
        server.expect(200, "PUT", "/metrics/job/gone", "c 1\n");
        server.expect(202, "DELETE", "/metrics/job/gone", "");
        server.expect(400, "PUT", "/metrics/job/refused", "d 1 1\n");
        let of = |server: &Server| ["a", "b", "c", "h", "push_"].map(|prefix| server.lines(prefix)).concat();
        let before = of(&server);
        assert_eq!(before.len(), 9, "{before:#?}");
        assert!(server.stop().success());
        let server = Server::start(&folder, flags);
        assert_eq!(of(&server), before, "{flags:?}");
        server.expect(202, "PUT", "/api/v1/admin/wipe", "");
        assert!(server.stop().success());
        assert_eq!(of(&Server::start(&folder, flags)), [""; 0], "{flags:?}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_a_way_out_and_left_alone() {
    let scratch = Scratch::new();
    let refused = |path: &Path, word: &str, way_out: &str| {
        let before = path.exists().then(|| if path.is_dir() { contents(path) } else { BTreeMap::new() });
        let ended = Server::try_start(path, &[]).err().expect("it refuses to start");
        assert!(!ended.status.success());
        assert!(ended.log.contains(word) && ended.log.contains(way_out), "{}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
        if let Some(before) = before.filter(|before| !before.is_empty()) {
            assert!(before == contents(path), "something was changed");
        }
    };
    let file = scratch.path("file");
    fs::write(&file, "a letter").unwrap();
    refused(&file, "is a file", "name a directory");
    assert_eq!(fs::read(&file).unwrap(), b"a letter");

    let foreign = scratch.path("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter"), "x").unwrap();
    refused(&foreign, "not floodway's", "name an empty directory");
    refused(&scratch.path("no/parent"), "No such file", "must name a directory");

    let folder = scratch.path("groups");
    let server = Server::start(&folder, &[]);
    server.expect(200, "PUT", "/metrics/job/a", "a 1\n");
    let ended = Server::try_start(&folder, &[]).err().expect("it refuses to start");
    assert!(ended.log.contains("in use by another process"), "{}", ended.log);
    server.kill();

    let current = fs::read(folder.join("CURRENT")).unwrap();
    fs::write(folder.join("CURRENT"), &current[1..]).unwrap();
    refused(&folder, "CURRENT", "--persistence.salvage");
    fs::remove_file(folder.join("CURRENT")).unwrap();
    refused(&folder, "CURRENT", "--persistence.salvage");
    fs::write(folder.join("CURRENT"), &current).unwrap();
    // What was written before there was this format.
    fs::write(folder.join("CURRENT"), "floodway 1 groups-1 used ce81fce6\n").unwrap();
    refused(&folder, "it is of format 1", "start the version of floodway");
    fs::write(folder.join("CURRENT"), &current).unwrap();
    let path = segment(&folder);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    refused(&folder, "is damaged at byte", "--persistence.salvage");
    let mut newer = whole.clone();
    newer[8] = 2;
    let checksum = crc32(&newer[..36]);
    newer[36..40].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, newer).unwrap();
    refused(&folder, "of a newer format", "version of floodway");
    fs::remove_file(&path).unwrap();
    refused(&folder, "is missing", "--persistence.salvage");
    fs::write(&path, whole).unwrap();
    assert_eq!(Server::start(&folder, &[]).lines("a{").len(), 1);
}

#[test]
fn a_torn_end_is_cut_and_other_damage_is_not_touched_until_salvaged() {
    let scratch = Scratch::new();
    let folder = scratch.path("groups");
    let server = Server::start(&folder, &[]);
    for number in 0..20 {
        server.expect(200, "PUT", &format!("/metrics/job/j{number}"), &format!("m {number}\n"));
    }
    server.kill();
    let path = segment(&folder);
    let whole = fs::read(&path).unwrap();
    let end = used(&whole);

    // The last batch, half of it.
    let mut torn = whole.clone();
    torn[end - 30..end].fill(0);
    fs::write(&path, torn).unwrap();
    let server = Server::start(&folder, &[]);
    assert!(server.log().contains("cut the torn end"), "{}", server.log());
    assert_eq!(server.lines("m{").len(), 19);
    server.kill();

    let mut damaged = whole.clone();
    damaged[end / 2] ^= 4;
    fs::write(&path, &damaged).unwrap();
    let ended = Server::try_start(&folder, &[]).err().expect("it refuses to start");
    assert!(ended.log.contains("damaged at byte"), "{}", ended.log);
    assert!(fs::read(&path).unwrap() == damaged, "the evidence was changed");

    let server = Server::start(&folder, &["--persistence.salvage"]);
    assert_eq!(server.lines("m{").len(), 19, "{}", server.log());
    server.expect(200, "PUT", "/metrics/job/new", "m 7\n");
    server.kill();
    let aside = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("damaged-"))
        .expect("the evidence is kept");
    assert!(fs::read(aside.join(path.file_name().unwrap())).unwrap() == damaged);
    assert_eq!(Server::start(&folder, &[]).lines("m{").len(), 20);
}

#[test]
fn while_the_disk_fails_pushes_are_refused_and_then_taken_again() {
    let scratch = Scratch::new();
    let folder = scratch.path("groups");
    let server = Server::start(&folder, &[]);
    server.expect(200, "PUT", "/metrics/job/before", "m 1\n");
    let limit = |limit: &str| {
        let id = format!("--pid={}", server.id());
        assert!(Command::new("prlimit").args([&id, limit]).status().unwrap().success());
    };
    limit("--fsize=1:");
    let text = server.expect(503, "PUT", "/metrics/job/during", "m 2\n");
    assert!(text.contains("outcome unknown") && text.contains("File too large"), "{text}");
    let text = server.expect(503, "PUT", "/metrics/job/after", "m 3\n");
    assert!(text.contains("cannot be made durable"), "{text}");
    server.expect(503, "DELETE", "/metrics/job/before", "");
    server.expect(503, "PUT", "/api/v1/admin/wipe", "");
    server.expect(503, "GET", "/-/ready", "");
    server.expect(200, "GET", "/-/healthy", "");
    assert_eq!(server.lines("m{").len(), 2, "the push in flight may be seen, the later one must not");
    assert_eq!(server.lines("floodway_persistence_failing"), ["floodway_persistence_failing 1"]);
    limit("--fsize=unlimited:");
    server.until("GET", "/-/ready", "", |status, _| status == 200);
    server.expect(200, "PUT", "/metrics/job/again", "m 4\n");
    assert_eq!(server.lines("floodway_persistence_failing"), ["floodway_persistence_failing 0"]);
    let before = server.lines("m{");
    assert_eq!(before.len(), 3);
    server.kill();
    assert_eq!(Server::start(&folder, &[]).lines("m{"), before);
}

#[cfg(feature = "plugins")]
#[test]
fn plugins_are_told_what_the_disk_made_of_a_push() {
    use std::time::{Duration, Instant};

    let scratch = Scratch::new();
    let plugins = scratch.path("plugins");
    fs::create_dir(&plugins).unwrap();
    let told = "return { api = 1, on_result = function(res, req)
      gate.log.info('told ' .. req.method .. ' ' .. req.job .. ' ' .. res.status .. ' ' .. (res.code or '-'))
    end }";
    fs::write(plugins.join("p.lua"), told).unwrap();
    let server = Server::start(&scratch.path("groups"), &[&format!("--plugin.dir={}", plugins.display())]);
    let told = |words: &str| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !server.log().contains(words) {
            assert!(Instant::now() < deadline, "no {words:?} in {}", server.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    server.expect(200, "PUT", "/metrics/job/before", "m 1\n");
    told("told PUT before 200");
    server.expect(202, "DELETE", "/metrics/job/before", "");
    told("told DELETE before 202");
    let id = format!("--pid={}", server.id());
    assert!(Command::new("prlimit").args([&id, "--fsize=1:"]).status().unwrap().success());
    server.expect(503, "PUT", "/metrics/job/during", "m 2\n");
    told("told PUT during 503");
    assert!(!server.log().contains("told PUT during 200"));
}

#[test]
fn of_groups_that_contradict_each_other_the_newer_one_comes_back() {
    let scratch = Scratch::new();
    let folder = scratch.path("groups");
    let server = Server::start(&folder, &["--push.disable-consistency-check"]);
    server.expect(202, "PUT", "/metrics/job/older", "# TYPE m counter\nm 1\n");
    server.expect(202, "PUT", "/metrics/job/newer", "# TYPE m gauge\nm 2\n");
    server.kill();
    for start in 0..2 {
        let server = Server::start(&folder, &[]);
        assert_eq!(server.lines("m{"), ["m{instance=\"\",job=\"newer\"} 2"]);
        let told = server.log().contains("contradicts newer ones");
        assert_eq!(told, start == 0, "{}", server.log());
        server.expect(200, "PUT", "/metrics/job/newer", "# TYPE m gauge\nm 2\n");
        server.kill();
    }
}

#[test]
fn groups_are_exported_as_text_and_files_that_are_none_are_not_imported() {
    let scratch = Scratch::new();
    let folder = scratch.path("groups");
    let server = Server::start(&folder, &[]);
    server.expect(200, "PUT", "/metrics/job/a/b/c", "# HELP m h\n# TYPE m counter\nm{x=\"1\"} 2\n");
    let floodway = |job: &str, path: &Path| {
        Command::new(env!("CARGO_BIN_EXE_floodway")).arg(job).arg(path).output().unwrap()
    };
    let output = floodway("export", &folder);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use by another process"));
    assert!(server.stop().success());
    let output = floodway("export", &folder);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("# group {b=\"c\",job=\"a\"}\n"), "{text}");
    let family = "# HELP m h\n# TYPE m counter\nm{b=\"c\",instance=\"\",job=\"a\",x=\"1\"} 2\n";
    assert!(text.ends_with(family), "{text}");

    let letter = scratch.path("letter");
    fs::write(&letter, "Dear sir").unwrap();
    let output = floodway("import", &letter);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a Pushgateway's"));
    assert_eq!(fs::read(&letter).unwrap(), b"Dear sir");
}

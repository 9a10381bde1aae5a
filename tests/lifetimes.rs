//! Lifetimes as users see them: flags, headers, query parameters, rules, restarts, plugins.
//!
//! Lifetimes here are short, or so long that they never end: what happens at which moment is tested with a
//! clock moved by hand.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

mod common;
#[path = "support/process.rs"]
#[allow(dead_code)]
mod process;

use common::{Answer, PATIENCE, Server};
use process::Scratch;

const SIGHUP: i32 = 1;

/// Waits until `done` is true, which nothing but a fault can prevent.
#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}: never");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn put_for(server: &Server, target: &str, lifetime: &str) -> Answer {
    server.send("PUT", target, &[("Push-Lifetime", lifetime)], b"m 1\n")
}

fn labels(pairs: &[(&str, &str)]) -> Value {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The sample lines of the exposition that begin with `prefix`, sorted.
fn lines(server: &Server, prefix: &str) -> Vec<String> {
    let answer = server.get("/metrics");
    let mut lines: Vec<String> =
        answer.text().lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    path.display().to_string()
}

#[test]
fn nothing_ends_and_nothing_is_shown_unless_asked_for() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/j", "m 1\n");
    let group = server.group(&labels(&[("job", "j")])).unwrap();
    let keys: Vec<&String> = group.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["labels", "last_push_successful", "m", "push_failure_time_seconds", "push_time_seconds"]
    );
    assert!(
        lines(&server, "floodway_group_").is_empty() && lines(&server, "floodway_groups_expired").is_empty()
    );
    assert!(!server.get("/").text().contains("lifetime "));
}

#[test]
fn a_push_may_ask_for_a_lifetime() {
    let server = Server::start(&[]);
    put_for(&server, "/metrics/job/short", "300ms").is_empty_with(200);
    put_for(&server, "/metrics/job/long", "1d12h").is_empty_with(200);
    server.put("/metrics/job/query?lifetime=90m&x=1", "m 1\n").is_empty_with(200);
    server.must_put("/metrics/job/none", "m 1\n");
    until("the short one ends", || {
        lines(&server, "push_time_seconds{instance=\"\",job=\"short\"").is_empty()
    });
    assert_eq!(
        lines(&server, "m{"),
        [
            "m{instance=\"\",job=\"long\"} 1",
            "m{instance=\"\",job=\"none\"} 1",
            "m{instance=\"\",job=\"query\"} 1"
        ]
    );
    assert_eq!(lines(&server, "floodway_groups_expired_total"), ["floodway_groups_expired_total 1"]);
    assert!(lines(&server, "floodway_group_overdue").is_empty());
    let group = |job| server.group(&labels(&[("job", job)])).unwrap();
    assert_eq!((&group("long")["lifetime"], &group("long")["overdue"]), (&json!("36h0m0s"), &json!(false)));
    assert_eq!(group("query")["lifetime"], "1h30m0s");
    assert!(group("query")["expires_at"].as_str().unwrap().contains('T'));
    assert!(group("none").get("lifetime").is_none());
    assert!(server.get("/").text().contains("(lifetime 36h0m0s)"));
    // The next push says nothing, and so it is.
    server.must_put("/metrics/job/long", "m 2\n");
    assert!(group("long").get("lifetime").is_none());
}

#[test]
fn what_is_no_lifetime_is_refused_before_anything_is_stored() {
    let server = Server::start(&[]);
    let invalid = "bad header Push-Lifetime: time: invalid duration \"soon\"";
    put_for(&server, "/metrics/job/j", "soon").is_error(400, invalid);
    server
        .put("/metrics/job/j?lifetime=90", "m 1\n")
        .is_error(400, "bad query parameter lifetime: time: missing unit in duration \"90\"");
    put_for(&server, "/metrics/job/j", "-1m")
        .is_error(400, "bad header Push-Lifetime: a lifetime of -1m is less than nothing");
    put_for(&server, "/metrics/job/j?lifetime=2h", "1h")
        .is_error(400, "the push asks for different lifetimes in header and query");
    assert_eq!(server.api("/api/v1/metrics"), json!([]));
    put_for(&server, "/metrics/job/j?lifetime=60m", "1h").is_empty_with(200);
    assert_eq!(
        lines(&server, "floodway_pushes_refused_total{reason=\"malformed\"}"),
        ["floodway_pushes_refused_total{reason=\"malformed\"} 4"]
    );
}

#[test]
fn a_refused_push_renews_nothing() {
    let server = Server::start(&["--lifetime.default=1s"]);
    server.must_put("/metrics/job/j", "m 1\n");
    // A group that only ever failed lives from its creation.
    assert_eq!(server.put("/metrics/job/failed", "m 1 5\n").status, 400);
    let gone = || {
        for job in ["j", "failed"] {
            let target = format!("/metrics/job/{job}");
            if server.group(&labels(&[("job", job)])).is_some() {
                assert_eq!(server.put(&target, "m 1 5\n").status, 400);
            }
        }
        lines(&server, "floodway_groups_expired_total") != ["floodway_groups_expired_total 0"]
    };
    until("one of them ends", gone);
}

#[test]
fn rules_say_which_groups_live_for_how_long() {
    let scratch = Scratch::new();
    let rules = scratch.path("rules.yml");
    let flag = format!(
        "--lifetime.config={}",
        write(
            &rules,
            "rules:\n- match: '{job=~\"ci-.*\"}'\n  lifetime: 200ms\n- match: '{job=\"capped\"}'\n  max: 1h\n"
        )
    );
    let server = Server::start(&[&flag, "--lifetime.default=7d", "--web.enable-lifecycle"]);
    let lifetime = |job| {
        server.must_put(&format!("/metrics/job/{job}"), "m 1\n");
        server.group(&labels(&[("job", job)])).unwrap()["lifetime"].clone()
    };
    assert_eq!(lifetime("other"), "168h0m0s");
    server.must_put("/metrics/job/ci-1", "m 1\n");
    until("the rule's end", || lines(&server, "m{instance=\"\",job=\"ci-1\"}").is_empty());
    put_for(&server, "/metrics/job/capped", "2h").is_empty_with(200);
    assert_eq!(server.group(&labels(&[("job", "capped")])).unwrap()["lifetime"], "1h0m0s");

    // Asked to read it again: a bad file changes nothing, a good one holds from the next push on.
    write(&rules, "rules:\n- match: '{job=\"other\"}'\n  lifetme: 1h\n");
    let answer = server.send("POST", "/-/reload", &[], b"");
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("lifetme"), "{}", answer.text());
    assert_eq!(lifetime("other"), "168h0m0s");
    write(&rules, "rules:\n- match: '{job=\"other\"}'\n  lifetime: 2h\n");
    server.send("PUT", "/-/reload", &[], b"").is_empty_with(200);
    assert_eq!(lifetime("other"), "2h0m0s");
    write(&rules, "rules:\n- match: '{job=\"other\"}'\n  lifetime: 3h\n");
    server.signal(SIGHUP);
    until("a hangup reads the rules", || lifetime("other") == "3h0m0s");
    write(&rules, "rules:\n- match: '{job=\"other\"}'\n  lifetime: 4h\n# longer than before\n");
    until("a changed file is read", || lifetime("other") == "4h0m0s");
}

#[test]
fn bad_settings_keep_it_from_starting() {
    let scratch = Scratch::new();
    let rules = write(&scratch.path("rules.yml"), "rules:\n- match: 'up'\n  lifetime: 1h\n");
    for (flag, says) in [
        ("--lifetime.default=soon".to_owned(), "invalid duration"),
        ("--lifetime.default=-1h".to_owned(), "less than nothing"),
        (format!("--lifetime.config={rules}"), "names a metric"),
        ("--lifetime.config=/nowhere/rules.yml".to_owned(), "cannot read /nowhere/rules.yml"),
    ] {
        let output = common::program()
            .args(["--web.listen-address=127.0.0.1:0", &flag])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{flag}: {said}");
    }
}

#[test]
fn a_flagged_group_stays_and_says_that_it_is_overdue() {
    let scratch = Scratch::new();
    let rules = write(
        &scratch.path("rules.yml"),
        "rules:\n- match: '{env=\"prod\"}'\n  lifetime: 400ms\n  action: flag\n  max: 8d\n",
    );
    let server = Server::start(&[&format!("--lifetime.config={rules}")]);
    server.must_put("/metrics/job/backup/env/prod", "m 1\n");
    server.must_put("/metrics/job/backup/env/dev", "m 1\n");
    let series = "floodway_group_overdue{env=\"prod\",instance=\"\",job=\"backup\"}";
    until("it is overdue", || lines(&server, series) == [format!("{series} 1")]);
    assert_eq!(lines(&server, "floodway_group_overdue").len(), 1);
    assert_eq!(lines(&server, "m{").len(), 2);
    let group = || server.group(&labels(&[("job", "backup"), ("env", "prod")])).unwrap();
    assert_eq!(group()["overdue"], true);
    assert!(server.get("/").text().contains("Overdue!"));
    // Nobody can push it.
    server.must_post(
        "/metrics/job/backup/env/dev",
        "# TYPE floodway_group_overdue gauge\nfloodway_group_overdue 7\nn 2\n",
    );
    assert_eq!(lines(&server, "floodway_group_overdue"), [format!("{series} 1")]);
    assert_eq!(lines(&server, "n{").len(), 1);
    let refused =
        server.put("/metrics/job/other", "# TYPE floodway_group_overdue counter\nfloodway_group_overdue 1\n");
    refused.is_empty_with(200);
    assert_eq!(lines(&server, "floodway_group_overdue"), [format!("{series} 1")]);
    // A push begins anew; it is 0 until the group is due.
    server
        .send("PUT", "/metrics/job/backup/env/prod", &[("Push-Lifetime", "1d")], b"m 2\n")
        .is_empty_with(200);
    assert_eq!(lines(&server, "floodway_group_overdue"), [format!("{series} 0")]);
    let protobuf = [(
        "Accept",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    )];
    let answer = server.send("GET", "/metrics", &protobuf, b"");
    assert!(answer.body.windows(22).any(|window| window == b"floodway_group_overdue"));
    server.delete("/metrics/job/backup/env/prod");
    assert!(lines(&server, "floodway_group_overdue").is_empty());
}

#[test]
fn lifetimes_survive_a_kill() {
    let scratch = Scratch::new();
    let folder = scratch.path("groups");
    let server = process::Server::start(&folder, &[]);
    server.expect(200, "PUT", "/metrics/job/long?lifetime=1h", "m 1\n");
    server.expect(200, "PUT", "/metrics/job/ever", "m 1\n");
    server.expect(200, "PUT", "/metrics/job/short?lifetime=30s", "m 1\n");
    server.expect(200, "PUT", "/metrics/job/shorter?lifetime=300ms", "m 1\n");
    let group = |server: &process::Server, job: &str| -> Option<Value> {
        let all: Value = serde_json::from_str(&server.expect(200, "GET", "/api/v1/metrics", "")).unwrap();
        all["data"].as_array().unwrap().iter().find(|group| group["labels"]["job"] == job).cloned()
    };
    let before = group(&server, "long").unwrap();
    server.kill();
    let server = process::Server::start(&folder, &["--lifetime.default=2h"]);
    let after = group(&server, "long").unwrap();
    assert_eq!(after["lifetime"], before["lifetime"]);
    // The same minute, or the one beside it.
    let minute = |group: &Value| -> i64 {
        let at = group["expires_at"].as_str().unwrap();
        at[11..13].parse::<i64>().unwrap() * 60 + at[14..16].parse::<i64>().unwrap()
    };
    assert!((minute(&after) - minute(&before) + 1).rem_euclid(24 * 60) <= 2, "{before} {after}");
    until("what ended while nobody ran", || group(&server, "shorter").is_none());
    assert_eq!(group(&server, "short").unwrap()["lifetime"], "30s");
    // Of a time when nobody asked for lifetimes: it lives from this start.
    assert_eq!(group(&server, "ever").unwrap()["lifetime"], "2h0m0s");
    assert_eq!(server.stop().code(), Some(0));
    let server = process::Server::start(&folder, &[]);
    assert!(group(&server, "shorter").is_none());
    assert_eq!(group(&server, "long").unwrap()["lifetime"], before["lifetime"]);
}

#[test]
fn plugins_have_the_last_word() {
    let scratch = Scratch::new();
    let dir = scratch.path("plugins");
    fs::create_dir(&dir).unwrap();
    write(
        &dir.join("p.lua"),
        "return { api = 1,
          on_request = function(req)
            if req.job == 'set' then req.ttl = 3600 end
            if req.job == 'ever' then req.ttl = 0 end
          end,
          on_expire = function(group)
            assert(group.job == group.labels.job and group.n_series == 1 and group.age >= 0)
            if group.job == 'kept' then return gate.extend(86400) end
          end }",
    );
    let server = Server::start(&[&format!("--plugin.dir={}", dir.display()), "--lifetime.default=300ms"]);
    for job in ["set", "ever", "kept", "ends"] {
        put_for(&server, &format!("/metrics/job/{job}"), "300ms").is_empty_with(200);
    }
    until("one ends", || lines(&server, "m{instance=\"\",job=\"ends\"}").is_empty());
    let lifetime = |job| server.group(&labels(&[("job", job)])).unwrap().get("lifetime").cloned();
    assert_eq!(lifetime("set"), Some(json!("1h0m0s")));
    assert_eq!(lifetime("ever"), None);
    until("the other is kept", || lifetime("kept") == Some(json!("24h0m0s")));
}

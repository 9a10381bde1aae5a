//! Merging as users see it: rules, headers, query parameters, types, keys, restarts, many clients at once.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

mod common;
#[path = "support/process.rs"]
#[allow(dead_code)]
mod process;

use common::{Answer, Server};
use process::Scratch;

const SUM: &str = "/metrics/job/j?merge=sum";

/// The sample lines of the exposition that begin with `prefix`, without `instance` and `job`, sorted.
fn lines(server: &Server, prefix: &str) -> Vec<String> {
    let answer = server.get("/metrics");
    let bare = |line: &str| line.replace("instance=\"\",job=\"j\"", "").replace("{}", "");
    let lines = answer.text().lines().map(bare);
    let mut lines: Vec<String> = lines.filter(|line| line.starts_with(prefix)).collect();
    lines.sort();
    lines
}

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    format!("--merge.config={}", path.display())
}

fn keyed(server: &Server, target: &str, key: &str, body: &str) -> Answer {
    server.send("POST", target, &[("Idempotency-Key", key)], body.as_bytes())
}

#[test]
fn a_push_may_ask_to_be_added() {
    let server = Server::start(&[]);
    server.must_post(SUM, "# TYPE c counter\nc{a=\"1\"} 2\nc{a=\"2\"} 3\n# TYPE g gauge\ng 1.5\nu 1\n");
    server.must_post(SUM, "# TYPE c counter\nc{a=\"2\"} 4\nc{a=\"3\"} 5\n# TYPE g gauge\ng 2\n");
    server.send("POST", "/metrics/job/j", &[("Push-Merge", "sum")], b"u 7\n").is_empty_with(200);
    assert_eq!(lines(&server, "c"), ["c{a=\"1\",} 2", "c{a=\"2\",} 7", "c{a=\"3\",} 5"]);
    assert_eq!((lines(&server, "g{"), lines(&server, "u{")), (vec![], vec![]));
    assert_eq!((lines(&server, "g "), lines(&server, "u ")), (vec!["g 3.5".into()], vec!["u 8".into()]));
    // What does not ask is as before.
    server.must_post("/metrics/job/j", "# TYPE c counter\nc 1\n");
    assert_eq!(lines(&server, "c"), ["c 1"]);
    // The same body again and again: known by its shape.
    for _ in 0..10 {
        server.must_post(SUM, "# TYPE c counter\nc 1\n");
    }
    assert_eq!(lines(&server, "c"), ["c 11"]);
    server.must_put("/metrics/job/j", "only 1\n");
    assert_eq!((lines(&server, "c"), lines(&server, "only")), (vec![], vec!["only 1".into()]));
}

#[test]
fn each_rule_does_what_it_says() {
    let server = Server::start(&[]);
    for (rule, expect) in [
        ("min", ["g{a=\"1\",} 2", "g{a=\"2\",} 3", "g{a=\"3\",} 1"]),
        ("max", ["g{a=\"1\",} 2", "g{a=\"2\",} 4", "g{a=\"3\",} 1"]),
        ("sum", ["g{a=\"1\",} 2", "g{a=\"2\",} 7", "g{a=\"3\",} 1"]),
        ("last", ["g{a=\"1\",} 2", "g{a=\"2\",} 4", "g{a=\"3\",} 1"]),
        ("first", ["g{a=\"1\",} 2", "g{a=\"2\",} 3", "g{a=\"3\",} 1"]),
    ] {
        server.must_put("/metrics/job/j", "# TYPE g gauge\ng{a=\"1\"} 2\ng{a=\"2\"} 3\n");
        let target = format!("/metrics/job/j?merge={rule}");
        server.must_post(&target, "# TYPE g gauge\ng{a=\"2\"} 4\ng{a=\"3\"} 1\n");
        assert_eq!(lines(&server, "g"), expect, "{rule}");
    }
    server.must_post("/metrics/job/j?merge=replace", "# TYPE g gauge\ng{a=\"2\"} 4\n");
    assert_eq!(lines(&server, "g"), ["g{a=\"2\",} 4"]);
    // A number rather than NaN.
    server.must_post("/metrics/job/j?merge=max", "# TYPE g gauge\ng{a=\"2\"} NaN\n");
    assert_eq!(lines(&server, "g"), ["g{a=\"2\",} 4"]);
}

#[test]
fn what_cannot_be_merged_is_refused_and_changes_nothing() {
    let server = Server::start(&[]);
    let stored = "# TYPE c counter\nc 1\n# TYPE s summary\ns{quantile=\"0.5\"} 2\ns_sum 2\ns_count 1\n";
    server.must_put("/metrics/job/j", stored);
    let before = server.pushed();
    let refused = |target: &str, headers: &[(&str, &str)], body: &str, says: &str| {
        let answer = server.send("POST", target, headers, body.as_bytes());
        assert_eq!(answer.status, 400, "{target} {body}: {}", answer.text());
        assert!(answer.text().contains(says), "{}", answer.text());
        answer.has_error_shape();
        assert_eq!(server.pushed(), before);
    };
    let rules = "must be replace, sum, min, max, last or first";
    refused("/metrics/job/j?merge=add", &[], "c 1\n", rules);
    refused("/metrics/job/j?merge=sum", &[("Push-Merge", "max")], "c 1\n", "different ways to merge");
    let counter = "# TYPE c counter\nc 5\n";
    refused("/metrics/job/j?merge=min", &[], counter, "the rule min is for gauges and untyped families");
    refused("/metrics/job/j?merge=max", &[], stored, "the rule max is for gauges and untyped families");
    refused(
        "/metrics/job/j?merge=sum",
        &[],
        "# TYPE c gauge\nc 5\n",
        "stored as a counter and pushed as a gauge",
    );
    refused("/metrics/job/j?merge=sum", &[], stored, "quantiles cannot be added");
    refused("/metrics/job/j?merge=sum", &[], "# TYPE s summary\ns_sum 2\ns_count 1\n", "quantiles cannot");
    refused(SUM, &[("Idempotency-Key", "a"), ("Push-Id", "b")], "c 1\n", "different keys");
    let group = server.group(&json!({"job": "j"})).unwrap();
    assert_eq!(group["last_push_successful"], true);
    let refusals = lines(&server, "floodway_pushes_refused_total{reason=\"unmergeable\"");
    assert_eq!(refusals, ["floodway_pushes_refused_total{reason=\"unmergeable\"} 5"]);
}

#[test]
fn summaries_add_counts_and_sums_and_keep_the_last_quantiles() {
    let server = Server::start(&[]);
    let body = "# TYPE s summary\ns_sum 1.5\ns_count 2\n";
    server.must_post(SUM, body);
    server.must_post(SUM, "# TYPE s summary\ns_sum 2\ns_count 3\n");
    assert_eq!(lines(&server, "s_"), ["s_count 5", "s_sum 3.5"]);
    let last = "/metrics/job/j?merge=last";
    server.must_post(last, "# TYPE s summary\ns{quantile=\"0.5\"} 7\ns_sum 9\ns_count 1\n");
    assert_eq!(lines(&server, "s"), ["s_count 1", "s_sum 9", "s{quantile=\"0.5\"} 7"].map(quantiled));
}

/// `quantile` and `le` come last, behind the labels of the group.
fn quantiled(line: &str) -> String {
    line.replace("{quantile", "{,quantile").replace("{le", "{,le")
}

#[test]
fn histograms_have_the_buckets_of_both() {
    let server = Server::start(&[]);
    let one = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"4\"} 5\nh_bucket{le=\"+Inf\"} 6\n\
               h_sum 10\nh_count 6\n";
    let two = "# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"2\"} 10\nh_bucket{le=\"+Inf\"} 20\n\
               h_sum 5\nh_count 20\n";
    server.must_post(SUM, one);
    server.must_post(SUM, two);
    let expect = [
        "h_bucket{le=\"+Inf\"} 26",
        "h_bucket{le=\"0.5\"} 1",
        "h_bucket{le=\"1\"} 3",
        "h_bucket{le=\"2\"} 12",
        "h_bucket{le=\"4\"} 15",
        "h_count 26",
        "h_sum 15",
    ];
    assert_eq!(lines(&server, "h_"), expect.map(quantiled));
    // In the other order it comes to the same, and so do fewer buckets.
    server.delete("/metrics/job/j").is_empty_with(202);
    server.must_post(SUM, two);
    server.must_post(SUM, one);
    assert_eq!(lines(&server, "h_"), expect.map(quantiled));
    server.must_post(SUM, "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 4\n");
    let expect = [
        "h_bucket{le=\"+Inf\"} 30",
        "h_bucket{le=\"0.5\"} 1",
        "h_bucket{le=\"1\"} 4",
        "h_bucket{le=\"2\"} 13",
        "h_bucket{le=\"4\"} 16",
        "h_count 30",
        "h_sum 16",
    ];
    assert_eq!(lines(&server, "h_"), expect.map(quantiled));
}

#[test]
fn created_times_keep_the_earliest_and_exemplars_the_latest() {
    let server = Server::start(&["--web.enable-openmetrics"]);
    // As clients without OpenMetrics push it: a gauge.
    let plain = |value, created| {
        format!("# TYPE a_total counter\na_total {value}\n# TYPE a_created gauge\na_created {created}\n")
    };
    server.must_post(SUM, &plain(1, 200));
    server.must_post(SUM, &plain(2, 100));
    server.must_post(SUM, &plain(3, 300));
    assert_eq!(lines(&server, "a_"), ["a_created 100", "a_total 6"]);
    let openmetrics = [("Content-Type", "application/openmetrics-text; version=1.0.0")];
    let push = |value, created, exemplar: &str| {
        let body = format!("# TYPE b counter\nb_total {value}{exemplar}\nb_created {created}\n# EOF\n");
        server.send("POST", SUM, &openmetrics, body.as_bytes()).is_empty_with(200);
    };
    push(1, 200, " # {id=\"old\"} 1");
    push(2, 100, " # {id=\"new\"} 2");
    push(3, 300, "");
    let accept = [("Accept", "application/openmetrics-text; version=1.0.0")];
    let answer = server.send("GET", "/metrics", &accept, b"");
    let told: Vec<&str> = answer.text().lines().filter(|line| line.starts_with("b_")).collect();
    assert_eq!(told, ["b_total{instance=\"\",job=\"j\"} 6.0 # {id=\"new\"} 2.0"]);
    let protobuf =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let answer = server.send("GET", "/metrics", &[("Accept", protobuf)], b"");
    // The created time of a counter, a timestamp of 100 seconds.
    let created: &[u8] = b"\x1a\x02\x08\x64";
    assert!(answer.body.windows(4).any(|bytes| bytes == created));
}

#[test]
fn rules_say_it_for_everybody_and_forbid_put() {
    let scratch = Scratch::new();
    let path = scratch.path("merge.yml");
    let flag = write(
        &path,
        "rules:\n- match: '{job=\"j\",__name__=~\"max_.*\"}'\n  types: [gauge]\n  rule: max\n\
         - match: '{job=\"j\"}'\n  types: [counter, histogram]\n  rule: sum\n",
    );
    let server = Server::start(&[&flag]);
    let body = |c, g, max| {
        format!("# TYPE c counter\nc {c}\n# TYPE g gauge\ng {g}\n# TYPE max_g gauge\nmax_g {max}\n")
    };
    server.must_post("/metrics/job/j", &body(1, 1, 3));
    server.must_post("/metrics/job/j", &body(2, 2, 2));
    server.must_post("/metrics/job/other", &body(1, 1, 1));
    server.must_post("/metrics/job/other", &body(2, 2, 2));
    assert_eq!(lines(&server, "c "), ["c 3"]);
    assert_eq!(
        (lines(&server, "g "), lines(&server, "max_g ")),
        (vec!["g 2".into()], vec!["max_g 3".into()])
    );
    assert_eq!(lines(&server, "c{"), ["c{instance=\"\",job=\"other\"} 2"]);
    // The push itself is more specific.
    server.must_post("/metrics/job/j?merge=last", "# TYPE c counter\nc 9\n");
    assert_eq!(lines(&server, "c "), ["c 9"]);
    let forbidden = |family: &str, rule: &str| {
        format!(
            "PUT replaces the whole group, and metric family {family:?} has the merge rule {rule}: push with POST, \
             or DELETE the group first"
        )
    };
    server.put("/metrics/job/j", "# TYPE c counter\nc 1\n").is_error(409, &forbidden("c", "sum"));
    server.put("/metrics/job/j", "# TYPE g gauge\ng 1\n").is_error(409, &forbidden("c", "sum"));
    server.put("/metrics/job/new?merge=last", "x 1\n").is_error(409, &forbidden("x", "last"));
    server.must_put("/metrics/job/other", "# TYPE c counter\nc 1\n");
    server.delete("/metrics/job/j").is_empty_with(202);
    server.must_put("/metrics/job/j", "# TYPE g gauge\ng 1\n");
    server.must_post("/metrics/job/j", "# TYPE c counter\nc 4\n");
    assert_eq!(lines(&server, "c "), ["c 4"]);

    // A bad file leaves the old rules.
    write(&path, "rules:\n- match: '{job=\"j\"}'\n  rule: add\n");
    server.signal(1);
    server.must_log("merge rules not reloaded");
    server.must_post("/metrics/job/j", "# TYPE c counter\nc 4\n");
    assert_eq!(lines(&server, "c "), ["c 8"]);
    write(&path, "rules: []\n");
    server.signal(1);
    server.must_log("msg=\"merge rules reloaded\"");
    server.must_put("/metrics/job/j", "# TYPE c counter\nc 1\n");
    assert_eq!(lines(&server, "c "), ["c 1"]);
    assert!(!common::run(&["--merge.config=/nowhere", "--web.listen-address=127.0.0.1:0"]).status.success());
}

#[test]
fn a_push_with_a_key_counts_once() {
    let server = Server::start(&["--merge.keys=3"]);
    let body = "# TYPE c counter\nc 1\n";
    let first = keyed(&server, SUM, "a", body);
    first.is_empty_with(200);
    assert_eq!(first.header("Push-Replayed"), None);
    let again = keyed(&server, SUM, " a ", body);
    again.is_empty_with(200);
    assert_eq!(again.header("Push-Replayed"), Some("true"));
    let text = "the key of this push was used for a push with another body";
    keyed(&server, SUM, "a", "# TYPE c counter\nc 2\n").is_error(422, text);
    server.send("POST", SUM, &[("Push-Id", "a")], body.as_bytes()).is_empty_with(200);
    assert_eq!(lines(&server, "c "), ["c 1"]);
    // Keys count for their group and under a merge rule only.
    keyed(&server, "/metrics/job/k?merge=sum", "a", body).is_empty_with(200);
    assert_eq!(keyed(&server, "/metrics/job/j", "a", "d 5\n").header("Push-Replayed"), None);
    assert_eq!(keyed(&server, "/metrics/job/j?merge=replace", "a", "d 5\n").header("Push-Replayed"), None);
    for key in ["b", "c", "d"] {
        keyed(&server, SUM, key, body).is_empty_with(200);
    }
    assert_eq!(lines(&server, "c "), ["c 4"]);
    // Three are remembered.
    assert_eq!(keyed(&server, SUM, "b", body).header("Push-Replayed"), Some("true"));
    assert_eq!(keyed(&server, SUM, "a", body).header("Push-Replayed"), None);
    assert_eq!(lines(&server, "c "), ["c 5"]);
    server.delete("/metrics/job/j").is_empty_with(202);
    assert_eq!(keyed(&server, SUM, "d", body).header("Push-Replayed"), None);
    assert_eq!(lines(&server, "c "), ["c 1"]);
}

#[test]
fn values_and_keys_survive_a_kill_together() {
    let scratch = Scratch::new();
    let folder = scratch.path("groups");
    let flag = format!("--persistence.file={}", folder.display());
    let body = "# TYPE c counter\nc 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n";
    for round in 0..4 {
        let server = Server::start(&[&flag]);
        if round > 0 {
            assert_eq!(lines(&server, "c "), [format!("c {}", 50 * round)]);
            let key = format!("{}-{}", round - 1, 49);
            assert_eq!(keyed(&server, SUM, &key, body).header("Push-Replayed"), Some("true"));
            assert_eq!(keyed(&server, SUM, "0-0", body).header("Push-Replayed"), Some("true"));
        }
        for number in 0..50 {
            keyed(&server, SUM, &format!("{round}-{number}"), body).is_empty_with(200);
        }
        drop(server);
    }
    let server = Server::start(&[&flag]);
    assert_eq!(lines(&server, "c "), ["c 200"]);
    server.delete("/metrics/job/j").is_empty_with(202);
    keyed(&server, SUM, "0-0", body).is_empty_with(200);
    drop(server);
    let server = Server::start(&[&flag]);
    assert_eq!(lines(&server, "c "), ["c 1"]);
    assert_eq!(keyed(&server, SUM, "0-0", body).header("Push-Replayed"), Some("true"));
    assert_eq!(keyed(&server, SUM, "0-1", body).header("Push-Replayed"), None);
    assert_eq!(lines(&server, "h_count "), ["h_count 2"]);
}

#[test]
fn sixty_four_clients_lose_nothing() {
    const CLIENTS: u64 = 64;
    // All their keys are remembered, however long a client waits for its turn.
    const PUSHES: u64 = 16;
    let server = Server::start(&["--web.workers=4"]);
    let replays = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, replays) = (&server, &replays);
            scope.spawn(move || {
                let mut connection = server.connect();
                for push in 0..PUSHES {
                    // Shapes that meet now and then: own series, shared ones, buckets of all kinds.
                    let bound = 1 + (client + push) % 4;
                    let body = format!(
                        "# TYPE c counter\nc 1\nc{{client=\"{client}\"}} 2\nc{{push=\"{}\"}} 3\n\
                         # TYPE h histogram\nh_bucket{{le=\"{bound}\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\n\
                         h_sum 4\nh_count 2\n",
                        push % 8
                    );
                    let key = format!("{client}-{push}");
                    let headers = [("Idempotency-Key", &*key)];
                    for _ in 0..=push % 2 {
                        let answer = connection.send("POST", SUM, &headers, body.as_bytes());
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        let replayed = u64::from(answer.header("Push-Replayed").is_some());
                        replays.fetch_add(replayed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let all = CLIENTS * PUSHES;
    assert_eq!(replays.into_inner(), all / 2);
    assert_eq!(lines(&server, "c "), [format!("c {all}")]);
    let own = |line: &String| line.ends_with(&format!(" {}", 2 * PUSHES));
    assert!(lines(&server, "c{client").iter().all(own) && lines(&server, "c{client").len() == 64);
    let shared = |line: &String| line.ends_with(&format!(" {}", 3 * all / 8));
    assert!(lines(&server, "c{").iter().filter(|line| line.contains("push=")).all(shared));
    assert_eq!(lines(&server, "h_count "), [format!("h_count {}", 2 * all)]);
    assert_eq!(lines(&server, "h_sum "), [format!("h_sum {}", 4 * all)]);
    let buckets = [("+Inf", 2 * all), ("1", all / 4), ("2", all / 2), ("3", all / 4 * 3), ("4", all)];
    let expect = buckets.map(|(le, count)| quantiled(&format!("h_bucket{{le=\"{le}\"}} {count}")));
    assert_eq!(lines(&server, "h_bucket"), expect);
}

#[test]
#[cfg(feature = "plugins")]
fn what_plugins_made_of_a_push_is_merged() {
    let scratch = Scratch::new();
    let folder = scratch.path("plugins");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("tag.lua"),
        "return { api = 1, on_series = function(s) s:set('tag', 'x') end,
           on_request = function(req)
             if req.job == '' and req.method == 'PUT' then req.group.env = 'x' end
           end,
           on_push = function(push) end }",
    )
    .unwrap();
    let server = Server::start(&[
        &format!("--plugin.dir={}", folder.display()),
        "--merge.dialect=aggregation-gateway",
    ]);
    let body = "# TYPE c counter\nc 1\n";
    for _ in 0..3 {
        server.must_put("/metrics/job/j", body);
        server.must_post("/metrics", body);
    }
    assert!(keyed(&server, "/metrics/job/j", "a", body).header("Push-Replayed").is_none());
    assert_eq!(keyed(&server, "/metrics/job/j", "a", body).header("Push-Replayed"), Some("true"));
    assert_eq!(keyed(&server, "/metrics/job/j", "a", "c 7\n").status, 422);
    // Labels without a job are no group, whoever makes them.
    server.put("/metrics", body).is_error(400, "job name is required");
    assert_eq!(lines(&server, "c{"), ["c{,tag=\"x\"} 4", "c{tag=\"x\"} 3"]);
    server.delete("/metrics").is_empty_with(202);
    assert_eq!(lines(&server, "c{"), ["c{,tag=\"x\"} 4"]);
}

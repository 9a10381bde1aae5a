//! Plugins as clients see them: metrics about them and of their own, what is left of pushes that they end,
//! and who waits while a script runs away.
#![cfg(feature = "plugins")]

mod common;

use common::folder::Folder;
use common::{Scrape, Server, plugins_of, request_bytes, run};

#[track_caller]
fn is(scrape: &Scrape, series: &str, value: f64) {
    assert_eq!(scrape.value(series), Some(value), "{series}");
}

#[test]
fn what_plugins_do_is_counted() {
    let folder = Folder::new(&[
        (
            "plugins.yml",
            "plugins:\n- name: a\n- name: b\n- name: rules\n  metric_relabel_configs:\n\
             \x20 - { source_labels: [x], regex: drop, action: drop }\n",
        ),
        (
            "a.lua",
            "return { api = 1, version = '2.1', on_error = 'pass',
               on_series = function(s) s:set('seen', 'yes') end,
               on_push = function(push)
                 if push:count('fails') > 0 then error('no') end
                 if push:count('loops') > 0 then while true do end end
               end }",
        ),
        (
            "b.lua",
            "return { api = 1,
               on_request = function(req) if req.job == 'void' then return gate.discard() end end,
               on_commit = function(push)
                 if push:count('refused') > 0 then return gate.reject(400, 'no', { code = 'words' }) end
               end }",
        ),
    ]);
    let server = Server::start(&[&plugins_of(&folder), "--web.workers=1", "--web.enable-lifecycle"]);
    for n in 1..4 {
        server.must_put("/metrics/job/j", &format!("a {n}\nb{{x=\"drop\"}} 1\n"));
    }
    assert_eq!(server.put("/metrics/job/j", "refused 1\n").status, 400);
    server.must_put("/metrics/job/void", "a 1\n");
    let skipped = server.put("/metrics/job/j", "fails 1\n");
    assert_eq!((skipped.status, skipped.header("X-Push-Skipped")), (200, Some("a")));
    for _ in 0..6 {
        assert_eq!(server.put("/metrics/job/loops", "loops 1\n").status, 200);
    }
    let scrape = server.scrape();
    for (series, value) in [
        (r#"floodway_plugin_info{mode="enforce",on_error="pass",plugin="a",version="2.1"}"#, 1.0),
        (r#"floodway_plugin_info{mode="enforce",on_error="reject",plugin="rules",version=""}"#, 1.0),
        (r#"floodway_plugin_calls_total{hook="on_commit",plugin="b"}"#, 11.0),
        (r#"floodway_plugin_calls_total{hook="on_request",plugin="b"}"#, 12.0),
        (r#"floodway_plugin_calls_total{hook="relabel",plugin="rules"}"#, 11.0),
        (r#"floodway_plugin_cache_misses_total{plugin="a"}"#, 3.0),
        (r#"floodway_plugin_cache_hits_total{plugin="a"}"#, 4.0),
        (r#"floodway_plugin_rejects_total{code="words",plugin="b"}"#, 1.0),
        (r#"floodway_plugin_discards_total{plugin="b"}"#, 1.0),
        (r#"floodway_plugin_series_dropped_total{plugin="rules"}"#, 3.0),
        (r#"floodway_plugin_errors_total{code="E_RUNTIME",plugin="a"}"#, 1.0),
        (r#"floodway_plugin_skipped_total{plugin="a",reason="error"}"#, 1.0),
        (r#"floodway_plugin_rebuilds_total{plugin="a"}"#, 0.0),
        (r#"floodway_plugin_duration_seconds_bucket{plugin="b",le="+Inf"}"#, 12.0),
        (r#"floodway_plugin_duration_seconds_count{plugin="b"}"#, 12.0),
        ("floodway_plugin_generation", 1.0),
        ("floodway_plugin_reload_successful", 1.0),
        ("floodway_plugin_outcomes_reused_total", 0.0),
    ] {
        is(&scrape, series, value);
    }
    let value = |series: &str| scrape.value(series).unwrap_or_else(|| panic!("{series}"));
    assert!(value(r#"floodway_plugin_seconds_total{plugin="a"}"#) > 0.0);
    assert!(value(r#"floodway_plugin_memory_bytes{plugin="a"}"#) > 50_000.0);
    let half = value(r#"floodway_plugin_half_budget_total{plugin="a"}"#);
    let budget = value(r#"floodway_plugin_skipped_total{plugin="a",reason="budget"}"#);
    let breaker = value(r#"floodway_plugin_skipped_total{plugin="a",reason="breaker"}"#);
    // Five within a second open it, on a machine that is fast enough for them.
    assert_eq!(budget + breaker, 6.0);
    assert!(budget >= 5.0 && half <= budget + 1.0, "{budget} {half}");
    assert!(value("floodway_plugin_reload_timestamp_seconds") > 1e9);
    // Every family is in the form that scrapers take, protobuf included.
    let headers =
        [("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text")];
    let text = server.send("GET", "/metrics", &headers, b"").unpacked();
    assert!(text.contains("name: \"floodway_plugin_duration_seconds\""), "{text}");

    folder.write("b.lua", "return {");
    assert_eq!(server.post("/-/reload", "").status, 422);
    let scrape = server.scrape();
    is(&scrape, "floodway_plugin_reload_successful", 0.0);
    is(&scrape, "floodway_plugin_generation", 1.0);
    folder.write("b.lua", "return { api = 1 }");
    assert_eq!(server.post("/-/reload", "").status, 200);
    let scrape = server.scrape();
    is(&scrape, "floodway_plugin_reload_successful", 1.0);
    is(&scrape, "floodway_plugin_generation", 2.0);
    is(&scrape, r#"floodway_plugin_discards_total{plugin="b"}"#, 1.0);
    // Only rules and on_series are left, but for a's on_push.
    folder.write("a.lua", "return { api = 1, on_series = function(s) s:set('seen', 'yes') end }");
    assert_eq!(server.post("/-/reload", "").status, 200);
    (0..3).for_each(|n| server.must_put("/metrics/job/j", &format!("a {n}\n")));
    is(&server.scrape(), "floodway_plugin_outcomes_reused_total", 2.0);
}

/// A plugin with a metric of each kind; `$` stands for more members.
const COUNTING: &str = "return { api = 1, init = function()
  local pushes = gate.counter { name = 'pushes_total', help = 'Pushes.', labels = { 'job', 'form' } }
  local last = gate.gauge { name = 'last', help = 'Last \"value\".' }
  local sizes = gate.histogram { name = 'sizes', help = 'Sizes.', labels = { 'b' }, buckets = { 1, 2.5 } }
  local bound = sizes:with('x')
  return { on_push = function(push)
    pushes:inc(2, push.job, push.format)
    for s in push:samples('v') do last:set(s.value) bound:observe(s.value) end
    last:add(0.5)
    $
  end }
end }";

#[test]
fn metrics_of_plugins_are_shown() {
    let folder = Folder::new(&[("p.lua", &COUNTING.replace('$', ""))]);
    let server = Server::start(&[&plugins_of(&folder), "--web.enable-lifecycle"]);
    for value in ["1", "2", "3"] {
        server.must_put("/metrics/job/j", &format!("v {value}\n"));
    }
    let scrape = server.scrape();
    assert_eq!(
        scrape.family("floodway_plugin_p_pushes_total"),
        "# HELP floodway_plugin_p_pushes_total Pushes.\n# TYPE floodway_plugin_p_pushes_total counter\n\
         floodway_plugin_p_pushes_total{form=\"text\",job=\"j\"} 6\n"
    );
    is(&scrape, "floodway_plugin_p_last", 3.5);
    for (series, value) in [
        (r#"bucket{b="x",le="1"}"#, 1.0),
        (r#"bucket{b="x",le="2.5"}"#, 2.0),
        (r#"bucket{b="x",le="+Inf"}"#, 3.0),
        (r#"sum{b="x"}"#, 6.0),
        (r#"count{b="x"}"#, 3.0),
    ] {
        is(&scrape, &format!("floodway_plugin_p_sizes_{series}"), value);
    }
    // A reload keeps what is declared alike, begins what is not, and ends what is not declared.
    folder.write(
        "p.lua",
        "return { api = 1, init = function()
           gate.counter { name = 'pushes_total', help = 'Pushes.', labels = { 'job', 'form' } }
           gate.gauge { name = 'last', help = 'Another help.' }
         end }",
    );
    assert_eq!(server.post("/-/reload", "").status, 200);
    let scrape = server.scrape();
    is(&scrape, r#"floodway_plugin_p_pushes_total{form="text",job="j"}"#, 6.0);
    assert_eq!(scrape.value("floodway_plugin_p_last"), None);
    assert_eq!(scrape.value(r#"floodway_plugin_p_sizes_sum{b="x"}"#), None);
    // A reload that fails changes nothing of it.
    folder.write(
        "p.lua",
        "gate.counter { name = 'pushes_total', help = 'Other.' } return { api = 1, nonsense = 1 }",
    );
    assert_eq!(server.post("/-/reload", "").status, 422);
    is(&server.scrape(), r#"floodway_plugin_p_pushes_total{form="text",job="j"}"#, 6.0);
}

#[test]
fn labels_of_plugin_metrics_are_bounded_and_escaped() {
    let folder = Folder::new(&[
        // Time enough on a busy machine.
        ("plugins.yml", "plugins:\n- { name: p, budget: { time: 1s } }\n"),
        (
            "p.lua",
            "return { api = 1, init = function()
           local many = gate.counter { name = 'many', labels = { 'n' } }
           local odd = gate.counter { name = 'odd', labels = { 'n' } }
           return { on_push = function()
             for i = 1, 500 do many:inc(1, i) end
             odd:inc(1, 'a\"b\\\\c\\nd')
             odd:inc(1, string.rep('x', 1000))
             assert(not pcall(odd.inc, odd, 1))
             assert(not pcall(odd.inc, odd, -1, 'x'))
             assert(not pcall(odd.set, odd, 1, 'x'))
           end }
         end }",
        ),
    ]);
    let server = Server::start(&[&plugins_of(&folder)]);
    server.must_put("/metrics/job/j", "a 1\n");
    let scrape = server.scrape();
    assert_eq!(scrape.samples("floodway_plugin_p_many").len(), 201);
    is(&scrape, r#"floodway_plugin_p_many{n="overflow"}"#, 300.0);
    is(&scrape, r#"floodway_plugin_p_odd{n="a\"b\\c\nd"}"#, 1.0);
    is(&scrape, &format!("floodway_plugin_p_odd{{n=\"{}\"}}", "x".repeat(256)), 1.0);
}

#[test]
fn two_metrics_of_one_name_are_refused() {
    let metric = |name: &str| format!("gate.counter {{ name = '{name}' }} return {{ api = 1 }}");
    let folder = Folder::new(&[("a.lua", &metric("b_c")), ("a_b.lua", &metric("c"))]);
    let output = run(&["--web.listen-address=127.0.0.1:0", &plugins_of(&folder)]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("floodway_plugin_a_b_c is also one of"), "{text}");
    let folder = Folder::new(&[("calls.lua", &metric("total"))]);
    let output = run(&["--web.listen-address=127.0.0.1:0", &plugins_of(&folder)]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("is the gateway's own"), "{text}");
    for bad in [
        "{ name = 'x', labels = { 'a', 'a' } }",
        "{ name = 'x', labels = { '__a' } }",
        "{ name = '9' }",
        "{ labels = { 'a' } }",
    ] {
        let folder = Folder::new(&[("p.lua", &format!("gate.counter {bad} return {{ api = 1 }}"))]);
        assert!(!run(&["--web.listen-address=127.0.0.1:0", &plugins_of(&folder)]).status.success(), "{bad}");
    }
}

/// Pushed names win over those that a plugin chose, and the exposition stays one that Prometheus takes.
#[test]
fn a_plugin_metric_gives_way_to_a_pushed_one() {
    let folder = Folder::new(&[("p.lua", &COUNTING.replace('$', ""))]);
    let server = Server::start(&[&plugins_of(&folder)]);
    server.must_put("/metrics/job/j", "v 1\n");
    server.must_put("/metrics/job/k", "floodway_plugin_p_last 7\n# TYPE floodway_plugin_p_sizes_sum counter\nfloodway_plugin_p_sizes_sum 1\n");
    let scrape = server.scrape();
    assert_eq!(scrape.samples("floodway_plugin_p_last").len(), 1);
    assert_eq!(scrape.samples("floodway_plugin_p_sizes_sum").len(), 1);
    assert!(scrape.family("floodway_plugin_p_sizes").is_empty());
    assert_eq!(server.delete("/metrics/job/k").status, 202);
    is(&server.scrape(), r#"floodway_plugin_p_sizes_count{b="x"}"#, 1.0);
}

#[test]
fn facts_say_what_is_stored() {
    let folder = Folder::new(&[(
        "p.lua",
        "return { api = 1, facts = true, on_commit = function(push)
           local f = push:facts()
           if push:count('ask') == 0 then return end
           f.x = 1 -- a table of its own each time
           assert(push:facts().x == nil)
           local age = f.group_age and (f.group_age >= 0 and f.group_age < 600 and 'some' or 'odd') or 'none'
           return gate.reject(400, table.concat({ f.group_series, age, f.job_series, f.job_groups, f.total_series,
             f.total_groups, f.replaced_series, push.n_series }, ' '))
         end }",
    )]);
    let server = Server::start(&[&plugins_of(&folder)]);
    let facts = |method: &str, path: &str, body: &str| {
        let text = server.send(method, path, &[], body.as_bytes());
        text.text().trim_end().rsplit(": ").next().unwrap().to_owned()
    };
    assert_eq!(facts("PUT", "/metrics/job/j", "ask 1\n"), "0 none 0 0 0 0 0 1");
    let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n";
    server.must_put("/metrics/job/j", &format!("a 1\nb{{x=\"1\"}} 1\nb{{x=\"2\"}} 1\n{histogram}"));
    server.must_put("/metrics/job/j/instance/i", "a 1\n");
    server.must_put("/metrics/job/k", "a 1\n");
    assert_eq!(facts("PUT", "/metrics/job/j", "ask 1\n"), "7 some 8 2 9 3 7 1");
    assert_eq!(facts("POST", "/metrics/job/j", &format!("ask 1\nb 1\n{histogram}")), "7 some 8 2 9 3 6 6");
    assert_eq!(facts("POST", "/metrics/job/new", "ask 1\n"), "0 none 0 0 9 3 0 1");
    let undeclared = Folder::new(&[("p.lua", "return { api = 1, on_commit = function(p) p:facts() end }")]);
    let server = Server::start(&[&plugins_of(&undeclared)]);
    assert_eq!(server.put("/metrics/job/j", "a 1\n").header("X-Push-Code"), Some("error"));
    server.must_log("E_UNDECLARED");
}

/// What each hook does to raise an error of each code, having changed what it can first.
const ATTACKS: &[(&str, &str)] = &[
    ("runtime", "local x = nil; x.y = 1"),
    ("error", "error('no')"),
    ("return", "return 5"),
    ("phase", "gate.re('x')"),
    ("stale", "return kept.name"),
    ("field", "return push.nothing"),
    ("value", "gate.md5mod('x', 0)"),
    ("name", "push:set_label('9', 'x') push:add { name = '9', value = 1 }"),
    ("type", "push:add { name = 'x', type = 'histogram', value = 1 }"),
    ("limit", "for i = 1, 5000 do push:add { name = 'n' .. i, value = 1 } end push:header('x')"),
    ("undeclared", "push:header('x')"),
    ("global", "return nothing"),
    ("budget", "while true do end"),
    ("caught", "while true do pcall(function() while true do end end) end"),
    ("memory", "local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end"),
    ("reject", "return gate.reject(400, 'no')"),
];

const PHASES: [&str; 6] = ["on_request", "on_push", "on_family", "on_series", "on_sample", "on_commit"];

/// A plugin whose hook `phase` attacks when `bad` is pushed, or by the request's method where the body is
/// not there yet.
fn attacker(phase: &str, attack: &str) -> String {
    let (arguments, changes, is_bad) = match phase {
        "on_request" => ("push", "push.group.team = 'x'", "push.method == 'PUT'"),
        "on_push" => ("push", "push:set_label('half', 'done') push:drop('other')", "push:count('bad') > 0"),
        "on_family" => ("f, push", "f.help = 'half' f:scale(2)", "f.name == 'bad'"),
        "on_series" => ("s", "s:set('half', 'done') local push = s", "s.name == 'bad'"),
        "on_sample" => ("s, push", "s.value = 9 s.name = 'half'", "s.name == 'bad'"),
        _ => ("push", "", "push:count('bad') > 0"),
    };
    format!(
        "local kept
         return {{ api = 1,
           on_sample = function(s) kept = s end,
           init = function() return {{ {phase} = {{ function({arguments})
             if not ({is_bad}) then return end
             {changes}
             do {attack} end
             error('still here')
           end }} }} end }}"
    )
}

#[test]
fn a_push_that_a_plugin_ends_leaves_no_trace() {
    let data = Folder::new(&[]);
    let persistence = format!("--persistence.file={}", data.path().join("data").display());
    let exported = || {
        let output = run(&["export", &data.path().join("data").display().to_string()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let folder = Folder::new(&[]);
    let mut yml = String::from("plugins:\n");
    for phase in PHASES {
        for (name, attack) in ATTACKS {
            let plugin = format!("{phase}_{name}");
            folder.write(&format!("{plugin}.lua"), &attacker(phase, attack));
            // Small enough to be full before the time is over.
            let budget = if *name == "memory" { ", budget: { memory: 1MiB, time: 50ms }" } else { "" };
            yml += &format!("- {{ name: {plugin}, match: '{{job=\"{plugin}\"}}'{budget} }}\n");
        }
    }
    // More than a configuration may hold, so one phase at a time.
    let entries: Vec<&str> = yml.lines().skip(1).collect();
    for half in entries.chunks(32) {
        folder.write("plugins.yml", &format!("plugins:\n{}\n", half.join("\n")));
        let start = || Server::start(&[&plugins_of(&folder), &persistence, "--web.workers=1"]);
        let server = start();
        let plugins: Vec<&str> = half.iter().map(|entry| entry[10..].split(',').next().unwrap()).collect();
        for plugin in &plugins {
            server.must_post(&format!("/metrics/job/{plugin}"), "base{x=\"1\"} 1\nother 2\n");
        }
        server.signal(libc::SIGTERM);
        assert!(server.wait().0.success());
        let before = exported();
        let server = start();
        let shown = server.pushed();
        for plugin in &plugins {
            let path = format!("/metrics/job/{plugin}");
            let answer = server.put(&path, "bad{x=\"1\"} 5\nother 6\nbase 7\n");
            assert!(
                [400, 500, 503].contains(&answer.status),
                "{plugin}: {} {}",
                answer.status,
                answer.text()
            );
            assert_eq!(answer.header("X-Push-Plugin"), Some(*plugin));
            assert!(!answer.text().contains("still here"));
            // A group that is not there is not made either.
            let absent = server.put(&format!("{path}/instance/new"), "bad 5\n");
            assert!([400, 500, 503].contains(&absent.status), "{plugin}: {}", absent.status);
            assert_eq!(server.pushed(), shown, "{plugin}");
        }
        for code in ["E_RUNTIME", "E_RETURN", "E_PHASE", "E_BUDGET", "E_MEMORY", "E_VALUE"] {
            server.must_log(code);
        }
        let log = server.log();
        assert!(!log.contains("still here"), "{log}");
        server.signal(libc::SIGTERM);
        assert!(server.wait().0.success());
        assert_eq!(exported(), before);
    }
}

/// One worker, scripts that never end, and others who want to be answered.
#[test]
fn others_are_answered_while_scripts_run_away() {
    let folder = Folder::new(&[(
        "p.lua",
        "return { api = 1, on_push = function(push)
           if push:count('bad') > 0 then while true do pcall(function() while true do end end) end end
         end }",
    )]);
    let server = Server::start(&[&plugins_of(&folder), "--web.workers=1"]);
    let mut attackers: Vec<_> = (0..8).map(|_| server.connect()).collect();
    let mut other = server.connect();
    for round in 0..20 {
        for (n, attacker) in attackers.iter_mut().enumerate() {
            // Jobs of their own, so that the breaker helps nobody.
            let path = format!("/metrics/job/attack_{n}_{round}");
            attacker.write(&request_bytes("PUT", &path, &[], b"bad 1\n"));
        }
        let path = "/metrics/job/good";
        assert_eq!(other.send("PUT", path, &[], format!("good {round}\n").as_bytes()).status, 200);
        assert_eq!(other.send("GET", "/-/ready", &[], b"").status, 200);
        for attacker in &mut attackers {
            assert_eq!(attacker.answer_to("PUT").status, 503);
        }
    }
    assert_eq!(server.scrape().samples("good"), ["good{instance=\"\",job=\"good\"} 19"]);
    assert!(!server.pushed().contains("bad"));
}

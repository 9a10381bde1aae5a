//! What an operator learns of plugins: by the API and the page, in shadow, and before anything is stored.
#![cfg(feature = "plugins")]

mod common;

use common::folder::Folder;
use common::{Server, plugins_of};
use serde_json::{Value, json};

fn serve(folder: &Folder) -> Server {
    Server::start(&[&plugins_of(folder), "--web.enable-admin-api"])
}

/// Does something to all that there is.
const LOUD: &str = "return { api = 1, version = '1.2', lenient_names = true,
  config = { key = { type = 'secret', default = 'hush' }, limit = { type = 'integer', default = 7 } },
  on_request = function(req) req.group.extra = 'x' req.ttl = 60 end,
  on_push = function(push)
    push:set_label('a', 'changed')
    push:add { name = 'added', value = 1 }
    push:drop('gone')
  end,
  on_family = function(f) f:scale(2) f.help = 'other' if f.name == 'm' then f.name = 'n' end end,
  on_series = function(s) s:set('b', 'new') end,
  on_commit = function(push)
    if push.job == 'bad' then return gate.reject(422, '<b>no</b> ' .. push.job, { code = 'words' }) end
    if push.job == 'worse' then error('oh') end
    if push.job == 'loop' then while true do end end
  end }";

const BODY: &str = "# HELP m help\n# TYPE m gauge\nm{a=\"1\"} 1\ngone 2\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n";

/// Everything exposed but our own metrics and the times of pushes.
fn exposed(server: &Server) -> String {
    let text = server.get("/metrics").text().to_owned();
    let own =
        ["floodway_", "process_", "pushgateway_", "go_", "push_time_seconds", "push_failure_time_seconds"];
    let is_own = |line: &str| {
        let line = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        // The groups that there are show in the times of their pushes.
        own.iter().any(|own| line.starts_with(own)) && !line.starts_with("push_time_seconds{")
    };
    let without_time = |line: &str| match line.strip_prefix("push_time_seconds{") {
        Some(rest) => rest.split('}').next().unwrap().to_owned(),
        None => line.to_owned(),
    };
    text.lines().filter(|line| !is_own(line)).map(without_time).map(|line| line + "\n").collect()
}

fn plugin(server: &Server, at: usize) -> Value {
    server.api("/api/v1/plugins")["plugins"][at].take()
}

#[test]
fn what_runs_in_shadow_changes_nothing_and_is_told() {
    let config = "plugins:\n- name: loud\n  mode: shadow\n- name: rules\n  mode: shadow\n  metric_relabel_configs:\n\
                  \x20 - { regex: a, action: labeldrop }\n  group_relabel_configs:\n\
                  \x20 - { target_label: zone, replacement: z }\n";
    let folder = Folder::new(&[("loud.lua", LOUD), ("plugins.yml", config)]);
    let (shadowed, plain) = (serve(&folder), Server::start(&[]));
    for server in [&shadowed, &plain] {
        for job in ["good", "bad", "worse", "loop"] {
            // Pushed twice: what is known of a shape makes no difference.
            for _ in 0..2 {
                assert_eq!(server.put(&format!("/metrics/job/{job}/l/v"), BODY).status, 200, "{job}");
            }
        }
        assert_eq!(server.put("/metrics/job/careless", "free memory 5\n").status, 400);
        assert_eq!(server.post("/metrics/job/good/l/v", "k 1\n").status, 200);
        assert_eq!(server.delete("/metrics/job/loop/l/v").status, 202);
    }
    let without = exposed(&plain);
    assert!(without.contains("gone{") && without.contains("a=\"1\""), "{without}");
    assert_eq!(exposed(&shadowed), without);

    let loud = plugin(&shadowed, 0);
    assert_eq!(loud["mode"], "shadow");
    for effect in ["change", "drop", "reject", "error"] {
        assert!(loud["shadow"][effect].as_u64() > Some(0), "{effect}: {loud}");
    }
    let told = loud["last_shadowed"].to_string();
    assert!(told.contains("422 words: <b>no</b> bad"), "{told}");
    assert!(plugin(&shadowed, 1)["shadow"]["change"].as_u64() > Some(0));
    let scrape = shadowed.scrape();
    assert!(scrape.value("floodway_plugin_shadow_total{effect=\"reject\",plugin=\"loud\"}") >= Some(2.0));
    assert_eq!(
        scrape.value(
            "floodway_plugin_info{mode=\"shadow\",on_error=\"reject\",plugin=\"loud\",version=\"1.2\"}"
        ),
        Some(1.0)
    );
    let page = shadowed.get("/").text().to_owned();
    assert!(page.contains("in shadow") && page.contains("would have: "), "{page}");
    assert!(page.contains("&#60;b&#62;no&#60;/b&#62; bad") && !page.contains("<b>no"), "{page}");
}

#[test]
fn plugins_are_listed_with_what_they_did() {
    let folder = Folder::new(&[("loud.lua", LOUD)]);
    let server = serve(&folder);
    assert_eq!(server.put("/metrics/job/good", "m 1\n").status, 200);
    assert_eq!(server.put("/metrics/job/bad", "m 1\n").status, 422);
    assert_eq!(server.put("/metrics/job/worse", "m 1\n").status, 500);
    let overview = server.api("/api/v1/plugins");
    assert_eq!((&overview["generation"], &overview["reload_successful"]), (&json!(1), &json!(true)));
    let loud = &overview["plugins"][0];
    for (key, expected) in [
        ("name", json!("loud")),
        ("file", json!("loud.lua")),
        ("version", json!("1.2")),
        ("mode", json!("enforce")),
        ("on_error", json!("reject")),
        ("match", json!(null)),
        ("config", json!({"key": "<secret>", "limit": "7"})),
        ("pushes", json!(3)),
        ("breaker_open", json!(0)),
        ("errors", json!({"E_RUNTIME": 1})),
        ("rejects", json!({"words": 1})),
        ("shadow", json!({})),
    ] {
        assert_eq!(loud[key], expected, "{key}");
    }
    assert_eq!(loud["hooks"]["on_commit"], 3);
    assert_eq!(
        (&loud["last_errors"][0]["job"], &loud["last_errors"][0]["code"]),
        (&json!("worse"), &json!("E_RUNTIME"))
    );
    // Errors are refusals, too.
    assert_eq!(loud["last_rejections"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&loud["last_rejections"][1]["status"], &loud["last_rejections"][1]["job"]),
        (&json!(422), &json!("bad"))
    );
    assert_eq!(server.api("/api/v1/rejections?job=bad")[0]["plugin"], "loud");
    let page = server.get("/").text().to_owned();
    assert!(page.contains("loud.lua") && page.contains("error E_RUNTIME"), "{page}");
    // Without plugins there is nothing to list, and the configuration takes the admin API.
    assert_eq!(Server::start(&[]).api("/api/v1/plugins")["plugins"], json!([]));
    let plain = Server::start(&[&plugins_of(&folder)]);
    assert_eq!(plugin(&plain, 0)["config"], Value::Null);
}

/// What `/api/v1/validate` says of a push.
fn validated(server: &Server, method: &str, target: &str, body: &str) -> Value {
    let answer = server.send(method, &format!("/api/v1/validate{target}"), &[], body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_str::<Value>(answer.text()).unwrap()["data"].take()
}

#[test]
fn a_push_is_tried_out_without_a_trace_of_it() {
    let folder = Folder::new(&[("loud.lua", LOUD)]);
    let server = serve(&folder);
    assert_eq!(server.put("/metrics/job/held", "k 1\n").status, 200);
    let before = exposed(&server);
    let figures = plugin(&server, 0);
    let tried = validated(&server, "POST", "/job/good/l/v", BODY);
    assert_eq!(
        (&tried["accepted"], &tried["status"], &tried["error"]),
        (&json!(true), &json!(200), &json!(null))
    );
    assert_eq!(tried["group"], json!({"job": "good", "l": "v", "extra": "x"}));
    assert_eq!(tried["ttl"], 60);
    let text = tried["text"].as_str().unwrap();
    assert!(
        text.contains("n{a=\"changed\",b=\"new\",extra=\"x\",instance=\"\",job=\"good\",l=\"v\"} 2\n"),
        "{text}"
    );
    assert!(text.contains("h_bucket") && !text.contains("gone"), "{text}");
    let row = |hook: &str| {
        tried["trace"].as_array().unwrap().iter().find(|row| row["hook"] == hook).unwrap().clone()
    };
    assert_eq!(row("on_request")["labels_added"], json!(["extra"]));
    let push = row("on_push");
    assert_eq!(
        (&push["plugin"], &push["calls"], &push["result"]),
        (&json!("loud"), &json!(1), &json!("keep"))
    );
    assert_eq!((&push["labels_changed"], &push["labels_added"]), (&json!(["a"]), &json!(["a"])));
    assert_eq!((&push["samples_added"], &push["samples_dropped"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&row("on_family")["renamed"], &row("on_family")["values_changed"]),
        (&json!(["m"]), &json!(2))
    );
    assert_eq!((&row("on_series")["calls"], &row("on_series")["labels_added"]), (&json!(2), &json!(["b"])));
    assert!(row("on_commit")["steps"].as_u64().is_some());

    // Refusals of plugins, of the parser and of the store are told.
    let refused = validated(&server, "PUT", "/job/bad", "m 1\n");
    assert_eq!((&refused["accepted"], &refused["status"]), (&json!(false), &json!(422)));
    assert_eq!(refused["headers"]["X-Push-Code"], "words");
    assert!(refused["trace"].to_string().contains("reject 422 words"), "{refused}");
    assert_eq!(validated(&server, "PUT", "/job/worse", "m 1\n")["status"], 500);
    assert_eq!(validated(&server, "PUT", "/job/good", "m one two three\n")["status"], 400);
    assert_eq!(
        validated(&server, "PUT", "/job/good", "# TYPE floodway_plugin_info counter\nm 1\nm 2\n")["status"],
        400
    );

    // Nothing is stored, counted, marked or journalled.
    assert_eq!(exposed(&server), before);
    let after = plugin(&server, 0);
    for key in ["pushes", "errors", "rejects", "hooks", "last_errors", "last_rejections"] {
        assert_eq!(after[key], figures[key], "{key}");
    }
    assert_eq!(server.api("/api/v1/rejections"), json!([]));
    assert_eq!(server.send("POST", "/api/v1/validate/job/a/l", &[], b"").status, 400);
    assert_eq!(server.send("GET", "/api/v1/validate/job/a", &[], b"").status, 405);

    // Without plugins the body and what is stored decide.
    let plain = Server::start(&[]);
    assert_eq!(plain.put("/metrics/job/a", "# TYPE m gauge\nm 1\n").status, 200);
    let before = exposed(&plain);
    let tried = validated(&plain, "PUT", "/job/a", "# TYPE m counter\nm{x=\"1\"} 3\n");
    assert_eq!((&tried["accepted"], &tried["trace"]), (&json!(true), &json!([])));
    assert_eq!(tried["text"], "# TYPE m counter\nm{instance=\"\",job=\"a\",x=\"1\"} 3\n");
    let tried = validated(&plain, "PUT", "/job/b", "# TYPE m counter\nm{x=\"1\"} 3\n");
    assert_eq!(tried["status"], 400, "{tried}");
    assert_eq!(exposed(&plain), before);
}

//! Plugins from outside: the walk-through of their manual, what they may know of a request, how they
//! refuse, and the `plugin` command.
#![cfg(feature = "plugins")]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use common::folder::Folder;
use common::{PATIENCE, Server, plugins_of, program};

fn serve(folder: &Folder) -> Server {
    Server::start(&[&plugins_of(folder), "--web.workers=1"])
}

/// Runs the program in `folder` with `input` to read.
fn run_in(folder: &Folder, arguments: &[&str], input: &str) -> Output {
    let mut command = program();
    command.current_dir(folder.path()).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn wait_for(server: &Server, words: &str) {
    let begun = Instant::now();
    while !server.log().contains(words) {
        assert!(begun.elapsed() < PATIENCE, "no {words:?} in {}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// What the manual shows is done as it stands there: files are written, commands run, and what they print
/// compared. Only the port is another.
#[test]
fn the_walk_through_of_the_manual_works_as_written() {
    let manual = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/README.md")).unwrap();
    let section = manual.split("\n## ").find(|part| part.starts_with("From an empty file")).unwrap();
    let folder = Folder::new(&[]);
    let mut server = None;
    let mut commands = 0;
    for (before, block) in blocks(section) {
        let (kind, content) = block.split_once('\n').unwrap();
        if kind == "lua" {
            let name = before.trim_end().rsplit('`').nth(1).unwrap();
            folder.write(name, content);
            continue;
        }
        assert_eq!(kind, "console");
        for step in content.split("$ ").skip(1) {
            let (command, expected) = step.split_once('\n').unwrap();
            commands += 1;
            if command == "floodway --plugin.dir=plugins &" {
                let flag = format!("--plugin.dir={}", folder.path().join("plugins").display());
                server = Some(Server::start(&[&flag]));
                continue;
            }
            let address = server.as_ref().map(|server: &Server| server.address.to_string());
            let command = command.replace("localhost:9091", &address.unwrap_or_default());
            let binary = Path::new(env!("CARGO_BIN_EXE_floodway")).parent().unwrap();
            let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
            let output = Command::new("bash")
                .args(["-c", &format!("{command} 2>&1")])
                .current_dir(folder.path())
                .env("PATH", path)
                .output()
                .unwrap();
            assert_eq!(text(&output), expected, "{command}");
        }
    }
    assert!(commands >= 5, "{commands}");
}

/// Every recipe of the manual: its files are written as they stand there, checked, and its tests run.
#[test]
fn the_recipes_of_the_manual_work_as_written() {
    let manual = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/README.md")).unwrap();
    let section = manual.split("\n## ").find(|part| part.starts_with("Cookbook")).unwrap();
    let recipes: Vec<&str> = section.split("\n### ").skip(1).collect();
    assert_eq!(recipes.len(), 10);
    for recipe in recipes {
        let title = recipe.lines().next().unwrap();
        let folder = Folder::new(&[]);
        for (before, block) in blocks(recipe) {
            let content = block.split_once('\n').unwrap().1;
            folder.write(before.trim_end().rsplit('`').nth(1).unwrap(), content);
        }
        let output = run_in(&folder, &["plugin", "test"], "");
        assert!(output.status.success(), "{title}: {}", text(&output));
        assert!(!text(&output).starts_with("0 passed"), "{title}");
        let output = run_in(&folder, &["plugin", "check"], "");
        // What is required has no value here.
        let is_well =
            text(&output).ends_with("1 plugin, all well\n") || text(&output).contains("is required");
        assert!(is_well, "{title}: {}", text(&output));
        assert!(!text(&output).contains("is not Lua 5.1"), "{title}: {}", text(&output));
    }
}

/// The fenced blocks of a text, each with what stands before it.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = text.split("```").collect();
    parts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

const TELLS: &str = "return { api = 1, headers = { 'X-Who' },
  on_request = function(req)
    return gate.reject(418, table.concat({
      req.client, tostring(req.user), tostring(req.tls), tostring(req.cert_name), req.method, req.path,
      tostring(req.content_type), tostring(req.content_length), tostring(req:header('x-who')), req.id, req.job,
    }, ' '))
  end }";

#[test]
fn a_plugin_knows_the_request() {
    let folder = Folder::new(&[("p.lua", TELLS)]);
    let server = serve(&folder);
    let answer = server.send(
        "PUT",
        "/metrics/job/a%2Db?x=y",
        &[("Content-Type", "text/plain; x=y"), ("x-WHO", "me"), ("X-Who", "too"), ("X-Other", "no")],
        b"m 1\n",
    );
    let id = answer.header("X-Push-Id").unwrap().to_owned();
    assert_eq!(
        answer.text(),
        format!(
            "push rejected by plugin p: 127.0.0.1 nil false nil PUT /metrics/job/a%2Db text/plain; x=y 4 me, too {id} a-b\n"
        )
    );
    assert_eq!(answer.status, 418);
    let answer = server.delete("/metrics/job/a");
    assert!(answer.text().contains(" DELETE /metrics/job/a nil 0 nil "), "{}", answer.text());
}

#[test]
fn refusals_are_json_for_those_who_ask() {
    let folder = Folder::new(&[(
        "p.lua",
        "return { api = 1, on_request = function() return gate.reject(429, 'no \"more\"', { code = 'rate', retry_after = 3 }) end }",
    )]);
    let server = serve(&folder);
    for method in ["PUT", "DELETE"] {
        let answer =
            server.send(method, "/metrics/job/a", &[("Accept", "text/plain;q=0.5, application/JSON")], b"");
        assert_eq!((answer.status, answer.header("Content-Type")), (429, Some("application/json")));
        assert_eq!((answer.header("Retry-After"), answer.header("X-Push-Plugin")), (Some("3"), Some("p")));
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "status": "error", "errorType": "plugin", "plugin": "p", "code": "rate",
                "error": "push rejected by plugin p: no \"more\"", "id": answer.header("X-Push-Id").unwrap(),
            })
        );
    }
    let plain = server.send("PUT", "/metrics/job/a", &[("Accept", "*/*")], b"");
    assert_eq!(plain.text(), "push rejected by plugin p: no \"more\"\n");
}

#[test]
fn results_are_told_after_the_answer_and_the_end_before_it() {
    let folder = Folder::new(&[(
            "p.lua",
            "return { api = 1,
               on_request = function(req) req.ctx.seen = req.job if req.job == 'no' then return gate.reject(422, 'so') end end,
               on_result = function(res, push)
                 gate.log.info('result', { s = res.status, stored = res.stored, ctx = push.ctx.seen, job = push.job,
                   why = res.reason or '-', n = res.n_series, client = push.client })
               end,
               shutdown = function(reason) print('ends by ' .. reason) end }",
        )],
    );
    let server = serve(&folder);
    server.must_put("/metrics/job/yes", "a 1\nb 2\n");
    assert_eq!(server.put("/metrics/job/no", "a 1\n").status, 422);
    wait_for(
        &server,
        r#"client=\"127.0.0.1\" ctx=\"yes\" job=\"yes\" n=\"2\" s=\"200\" stored=\"true\" why=\"-\""#,
    );
    wait_for(&server, r#"ctx=\"no\" job=\"no\" n=\"0\" s=\"422\" stored=\"false\" why=\"so\""#);
    server.signal(libc::SIGTERM);
    let (status, log) = server.wait();
    assert!(status.success() && log.contains("ends by exit"), "{log}");
}

#[test]
fn a_new_plugin_comes_with_tests_that_pass() {
    let folder = Folder::new(&[]);
    assert_eq!(
        text(&run_in(&folder, &["plugin", "new", "owner"], "")),
        "wrote owner.lua\nwrote owner_test.lua\n"
    );
    assert_eq!(run_in(&folder, &["plugin", "new", "owner"], "").status.code(), Some(1));
    let output = run_in(&folder, &["plugin", "test"], "");
    assert!(output.status.success() && text(&output).ends_with("3 passed, 0 failed\n"), "{}", text(&output));
    folder.write("owner_test.lua", "gate.test.case('no', function() gate.test.ok(false) end)");
    let output = run_in(&folder, &["plugin", "test", "owner_test.lua"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output),
        "FAIL  owner_test.lua: no\n      owner_test.lua:1: expected something true, got false\n0 passed, 1 failed\n"
    );
    assert_eq!(run_in(&folder, &["plugin", "test", "--nope"], "").status.code(), Some(2));
    assert_eq!(run_in(&folder, &["plugin", "test", "nowhere"], "").status.code(), Some(2));
}

#[test]
fn one_push_runs_without_a_server() {
    let folder = Folder::new(&[(
        "plugins.yml",
        "plugins:\n- name: tenant\n  use: bundled:tenant\n  config: { users: { bob: blue } }\n",
    )]);
    let run = |more: &[&str]| {
        let mut arguments = vec!["plugin", "run", "--config", "plugins.yml", "--path", "/metrics/job/x"];
        arguments.extend(more);
        run_in(&folder, &arguments, "up 1\n")
    };
    let output = run(&["--method", "post", "--user", "bob", "--trace"]);
    let printed = text(&output);
    assert!(
        printed.starts_with("HTTP/1.1 200 OK\n\nup{instance=\"\",job=\"x\",tenant=\"blue\"} 1\n\ngroup    {job=\"x\",tenant=\"blue\"}\n"),
        "{printed}"
    );
    assert!(output.status.success());
    assert_eq!(
        text(&run(&["--header", "X-Tenant: red"])),
        "HTTP/1.1 401 Unauthorized\n\npush rejected by plugin tenant: no tenant for this caller\n"
    );
    assert_eq!(run_in(&folder, &["plugin", "run", "--path", "/metrics/job/x"], "").status.code(), Some(2));
    folder.write("plugins.yml", "plugins: [{ name: nope }]");
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("plugin nope: E_LOAD: cannot read ./nope/init.lua"), "{}", text(&output));
}

#[test]
fn a_check_warns_of_what_is_no_lua_5_1() {
    let folder = Folder::new(&[("p.lua", "local n = 0\nn += 1\nreturn { api = 1 }\n")]);
    let output = run_in(&folder, &["plugin", "check"], "");
    assert_eq!(
        text(&output),
        "warning: plugin p: p:2: compound assignment is not Lua 5.1\n1 plugin, all well\n"
    );
}

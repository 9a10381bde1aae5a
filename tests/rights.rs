//! Rights by identity from outside, with the example of `docs/security.md` as it is written there.

mod common;
mod tls_support;

use std::fs;

use common::{Answer, Server, request_bytes, run};
use tls_support::{Folder, eventually};

/// `alice:opensesame` and `prometheus:opensesame`.
const ALICE: (&str, &str) = ("Authorization", "Basic YWxpY2U6b3BlbnNlc2FtZQ==");
const PROMETHEUS: (&str, &str) = ("Authorization", "Basic cHJvbWV0aGV1czpvcGVuc2VzYW1l");
const CI: (&str, &str) = ("Authorization", "Bearer 2c3f0a9de5b14f6f8b1d7c6e9a0452c1");

/// The first block of YAML in the documentation.
fn example() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("```yaml\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

struct Gateway {
    folder: Folder,
    server: Server,
}

impl Gateway {
    fn start(name: &str, flags: &[&str]) -> Gateway {
        let folder = Folder::new(name);
        folder.certify();
        folder.write("web.yml", &example());
        let flag = folder.flag();
        let flags: Vec<&str> = flags.iter().copied().chain([flag.as_str()]).collect();
        let server = Server::start(&flags);
        Gateway { folder, server }
    }

    /// Status and body of the answer to a request with these credentials.
    #[track_caller]
    fn ask(
        &self,
        certificate: Option<&str>,
        credentials: Option<(&str, &str)>,
        method: &str,
        path: &str,
    ) -> (u16, String) {
        let headers: Vec<(&str, &str)> = credentials.into_iter().chain([("Connection", "close")]).collect();
        let body: &[u8] = if matches!(method, "PUT" | "POST") { b"m 1\n" } else { b"" };
        let request = request_bytes(method, path, &headers, body);
        let answer = self.folder.tls(self.server.address, certificate, &request).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

#[test]
fn the_documented_example_does_what_it_says() {
    let gateway = Gateway::start("rights", &["--web.enable-admin-api", "--web.enable-lifecycle"]);
    let (good, none) = (Some("good"), None);
    let backend = "/metrics/job/j/team/backend";
    let build = "/metrics/job/ci_build/team/frontend";
    let wipe = "/api/v1/admin/wipe";
    for (certificate, credentials, method, path, status) in [
        (none, Some(ALICE), "PUT", backend, 200),
        (none, Some(ALICE), "POST", backend, 200),
        (none, Some(ALICE), "PUT", "/metrics/job/j/team/frontend", 403),
        (none, Some(ALICE), "PUT", "/metrics/job/j", 403),
        (none, Some(ALICE), "DELETE", "/metrics/job/j/team/frontend", 403),
        (none, Some(ALICE), "DELETE", backend, 202),
        (none, Some(ALICE), "GET", "/metrics", 403),
        (none, Some(ALICE), "GET", "/", 403),
        (none, Some(ALICE), "GET", "/api/v1/metrics", 403),
        (none, Some(ALICE), "PUT", wipe, 403),
        (none, Some(ALICE), "PUT", "/-/quit", 403),
        (none, Some(ALICE), "PUT", "/-/reload", 403),
        (none, Some(ALICE), "GET", "/-/ready", 200),
        (none, Some(CI), "PUT", build, 200),
        (none, Some(CI), "PUT", "/metrics/job/ci_build/team/frontends", 403),
        (none, Some(CI), "PUT", "/metrics/job/other/team/frontend", 403),
        (none, Some(CI), "DELETE", build, 403),
        (none, Some(PROMETHEUS), "GET", "/metrics", 200),
        (none, Some(PROMETHEUS), "GET", "/api/v1/status", 200),
        (none, Some(PROMETHEUS), "PUT", build, 403),
        (good, None, "DELETE", build, 202),
        (good, None, "PUT", "/metrics/job/anything", 200),
        (good, None, "GET", "/metrics", 200),
        (good, None, "PUT", wipe, 202),
        // Of two identities the rights of both.
        (good, Some(ALICE), "PUT", "/metrics/job/anything", 200),
        // By the authority, but named in no grant.
        (Some("other"), None, "PUT", backend, 403),
        (Some("other"), Some(ALICE), "PUT", backend, 200),
        (Some("other"), None, "GET", "/-/ready", 200),
        // Nobody, and somebody who is not who he says.
        (none, None, "PUT", backend, 401),
        (none, None, "GET", "/-/ready", 401),
        (none, Some(("Authorization", "Bearer nope")), "PUT", backend, 401),
        (none, Some(("Authorization", "Bearer ")), "PUT", backend, 401),
        (none, Some(("Authorization", "Basic YWxpY2U6d3Jvbmc=")), "PUT", backend, 401),
        (good, Some(("Authorization", "Bearer nope")), "PUT", backend, 401),
        (good, Some(("Authorization", "Digest x")), "PUT", backend, 401),
    ] {
        let (got, body) = gateway.ask(certificate, credentials, method, path);
        assert_eq!(got, status, "{certificate:?} {credentials:?} {method} {path}: {body}");
        if status == 403 {
            assert!(body.contains("has no right to"), "{body}");
        }
    }
    let (_, body) = gateway.ask(none, Some(ALICE), "PUT", "/metrics/job/j");
    assert_eq!(body, "user \"alice\" has no right to push in the group \"{job=\\\"j\\\"}\"\n");
    let (_, scrape) = gateway.ask(good, None, "GET", "/metrics");
    assert!(scrape.contains("floodway_pushes_refused_total{reason=\"forbidden\"} "));
    assert!(!scrape.contains("team=\"frontend\""));
}

#[test]
fn what_plugins_make_of_a_group_is_checked_again() {
    let folder = Folder::new("rights-plugins");
    folder.write(
        "move.lua",
        "return { api = 1, on_request = function(req)\n\
         if req.group.to then req.group.team = req.group.to; req.group.to = nil end\n\
         end }\n",
    );
    folder.write("plugins.yml", "plugins:\n  - name: move\n");
    folder.write(
        "web.yml",
        &format!(
            "basic_auth_users:\n  {}\nfloodway:\n  rights:\n    - {{users: [alice], may: [push, delete], groups: {{team: {{regex: a.*}}}}}}\n    - {{users: [alice], may: [scrape]}}\n",
            tls_support::ALICE
        ),
    );
    let dir = format!("--plugin.dir={}", folder.0.display());
    let server = Server::start(&[&folder.flag(), &dir]);
    let send = |method, path| -> Answer {
        let body: &[u8] = if method == "DELETE" { b"" } else { b"m 1\n" };
        server.send(method, path, &[ALICE], body)
    };
    send("PUT", "/metrics/job/j/team/a/to/ab").is_empty_with(200);
    for method in ["PUT", "POST", "DELETE"] {
        let answer = send(method, "/metrics/job/j/team/a/to/b");
        assert_eq!(answer.status, 403, "{method}: {}", answer.text());
        assert!(answer.text().contains("team=\\\"b\\\""), "{}", answer.text());
    }
    // Nor does the move give a right that the received group does not have.
    assert_eq!(send("PUT", "/metrics/job/j/team/b/to/a").status, 403);
    let scrape = server.send("GET", "/metrics", &[ALICE], b"");
    assert!(scrape.text().contains("\nm{instance=\"\",job=\"j\",team=\"ab\"} 1\n"));
    assert!(!scrape.text().contains("team=\"b\""));
    send("DELETE", "/metrics/job/j/team/a/to/ab").is_empty_with(202);
    assert!(!server.send("GET", "/metrics", &[ALICE], b"").text().contains("team=\"ab\""));
}

#[test]
fn rights_change_with_the_file_and_slips_in_it_are_faults() {
    let folder = Folder::new("rights-reload");
    let file = |may: &str| {
        format!(
            "basic_auth_users:\n  {}\nfloodway:\n  rights:\n    - {{users: [alice], may: [{may}]}}\n",
            tls_support::ALICE
        )
    };
    let server = folder.serve(&file("scrape"));
    let push = || server.send("PUT", "/metrics/job/j", &[ALICE], b"m 1\n").status;
    assert_eq!(push(), 403);
    folder.write("web.yml", &file("push"));
    eventually(|| push() == 200);
    folder.write("web.yml", &file("push, nothing"));
    eventually(|| server.log().contains("unknown variant"));
    assert_eq!(push(), 200);

    let zeros = "0".repeat(64);
    for (section, said) in [
        ("floodway:\n".to_owned(), "yaml: "),
        ("floodway: {rights: []}\n".to_owned(), "floodway.rights is empty"),
        ("floodway: {nope: 1}\n".to_owned(), "field nope not found in type floodway"),
        (
            "floodway: {rights: [{user: a, may: [push]}]}\n".to_owned(),
            "field user not found in type floodway.rights",
        ),
        (
            "floodway: {rights: [{users: [bob], may: [push]}]}\n".to_owned(),
            "floodway.rights[0] names the user \"bob\", who has no password",
        ),
        (
            "floodway: {rights: [{tokens: [t], may: [push]}]}\n".to_owned(),
            "names the token \"t\", which is not in floodway.tokens",
        ),
        (
            "floodway: {rights: [{certificates: [c], may: [push]}]}\n".to_owned(),
            "names certificates, but tls_server_config verifies none",
        ),
        ("floodway: {rights: [{may: [push]}]}\n".to_owned(), "names nobody"),
        (
            format!("floodway: {{tokens: {{t: '{zeros}'}}, rights: [{{tokens: [t], may: []}}]}}\n"),
            "allows nothing",
        ),
        (
            format!("floodway: {{tokens: {{t: '{zeros}0'}}, rights: [{{tokens: [t], may: [push]}}]}}\n"),
            "floodway.tokens.t is no SHA-256",
        ),
        (
            format!(
                "floodway: {{tokens: {{t: '{zeros}'}}, rights: [{{tokens: [t], may: [scrape], groups: {{job: j}}}}]}}\n"
            ),
            "binds scrape or admin to groups",
        ),
        (
            format!(
                "floodway: {{tokens: {{t: '{zeros}'}}, rights: [{{tokens: [t], may: [push], groups: {{job: {{regex: '('}}}}}}]}}\n"
            ),
            "error parsing regexp",
        ),
        (
            format!(
                "floodway: {{tokens: {{t: '{zeros}'}}, rights: [{{tokens: [t], may: [push], groups: {{job: 1}}}}]}}\n"
            ),
            "in quotes if it looks like a number",
        ),
        (
            format!(
                "floodway: {{tokens: {{t: '{zeros}'}}, rights: [{{tokens: [t], may: [push], groups: {{job: {{glob: x}}}}}}]}}\n"
            ),
            "glob",
        ),
    ] {
        folder.write("web.yml", &section);
        let output = run(&["--web.listen-address=127.0.0.1:0", &folder.flag()]);
        let log = String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"");
        assert!(output.status.code() == Some(1) && log.contains(said), "{section}{log}");
    }
}

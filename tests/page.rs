//! The pages and what beside them reads groups, from outside: search, one group, forms, the journal.

mod common;

use common::Server;
use serde_json::json;

/// The value of the hidden field of the first form on a page.
fn token(html: &str) -> String {
    let (_, rest) = html.split_once("name=\"token\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

fn post(server: &Server, target: &str, token: &str) -> common::Answer {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    server.send("POST", target, &form, format!("token={token}").as_bytes())
}

#[test]
fn a_group_is_deleted_by_the_form_of_its_own_page_only() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/a/l/v", "m 1\n");
    server.must_put("/metrics/job/b", "m 1\n");
    let page = server.get("/group/job/a/l/v");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<code>l=&#34;v&#34;</code>"), "{}", page.text());
    let token = token(page.text());
    // Another group's form, a stranger's, nobody's.
    for (target, token) in [("/group/job/b", &*token), ("/group/job/a/l/v", "00"), ("/group/job/a/l/v", "")] {
        let answer = post(&server, target, token);
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    assert_eq!(server.api("/api/v1/groups")["total"], 2);
    let answer = post(&server, "/group/job/a/l/v", &token);
    assert_eq!((answer.status, answer.header("Location")), (303, Some("../../../../")));
    let groups = server.api("/api/v1/groups");
    assert_eq!((&groups["total"], &groups["groups"][0]["labels"]), (&json!(1), &json!({"job": "b"})));
    assert_eq!(server.get("/group/job/a/l/v").status, 404);
}

#[test]
fn all_groups_are_deleted_by_a_form_where_the_admin_api_is_on() {
    let server = Server::start(&["--web.enable-admin-api", "--web.external-url=http://x/pre"]);
    server.must_put("/pre/metrics/job/a", "m 1\n");
    let token = token(server.get("/pre/").text());
    assert_eq!(post(&server, "/pre/groups", "0").status, 403);
    let answer = post(&server, "/pre/groups", &token);
    assert_eq!((answer.status, answer.header("Location")), (303, Some("/pre/")));
    assert_eq!(server.api("/pre/api/v1/groups")["total"], 0);
    let closed = Server::start(&[]);
    closed.must_put("/metrics/job/a", "m 1\n");
    assert!(!closed.get("/").text().contains("Delete all"));
    assert_eq!(post(&closed, "/groups", &token).status, 404);
}

#[test]
fn groups_are_listed_and_found() {
    let server = Server::start(&[]);
    for job in ["alpha", "beta", "gamma"] {
        server.must_put(&format!("/metrics/job/{job}"), "m 1\nn 2\n");
    }
    server.must_put("/metrics/job/delta", "other{x=\"1\"} 1\nother{x=\"2\"} 1\nother{x=\"3\"} 1\n");
    let found = |query: &str| {
        let data = server.api(&format!("/api/v1/groups?{query}"));
        let jobs = data["groups"].as_array().unwrap().iter();
        let jobs: Vec<_> = jobs.map(|group| group["labels"]["job"].as_str().unwrap().to_owned()).collect();
        (data["matched"].as_u64().unwrap(), jobs.join(" "))
    };
    assert_eq!(found(""), (4, "alpha beta delta gamma".to_owned()));
    assert_eq!(found("search=other"), (1, "delta".to_owned()));
    assert_eq!(found("sort=largest&limit=2"), (4, "delta alpha".to_owned()));
    assert_eq!(found("offset=3"), (4, "gamma".to_owned()));
    assert!(server.get("/?search=job%3Dbet").text().contains("1 matches."));
    let one = server.api("/api/v1/group/job/delta");
    assert_eq!(one, server.group(&json!({"job": "delta"})).unwrap());
    assert_eq!(server.get("/api/v1/group/job/nobody").status, 404);
    assert_eq!(server.get("/group/job/x/odd").status, 400);
}

#[test]
fn refusals_are_found_by_job() {
    let server = Server::start(&["--limit.body-bytes=100"]);
    assert_eq!(server.put("/metrics/job/a/l/v", "m one\n").status, 400);
    assert_eq!(server.put("/metrics/job/b", "no newline").status, 400);
    assert_eq!(server.put("/metrics/job/b/odd", "m 1\n").status, 400);
    assert_eq!(server.put("/metrics/job/c", &"x".repeat(200)).status, 413);
    let all = server.api("/api/v1/rejections");
    assert_eq!(all.as_array().unwrap().len(), 4);
    let of_a = server.api("/api/v1/rejections?job=a");
    assert_eq!(of_a.as_array().unwrap().len(), 1);
    let entry = &of_a[0];
    assert_eq!((&entry["method"], &entry["status"]), (&json!("PUT"), &json!(400)));
    assert_eq!((&entry["labels"], &entry["client"]), (&json!("l/v"), &json!("127.0.0.1")));
    assert!(entry["text"].as_str().unwrap().contains("expected float"), "{entry}");
    assert_eq!(server.api("/api/v1/rejections?job=c")[0]["status"], 413);
    assert!(server.get("/").text().contains("expected float"));
    let limits = server.api("/api/v1/limits");
    assert_eq!((&limits["body-bytes"]["max"], &limits["body-bytes"]["hits"]), (&json!(100), &json!(1)));
    assert_eq!(limits["groups"]["max"], json!(null));
}

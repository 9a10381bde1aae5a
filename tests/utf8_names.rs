//! `--push.enable-utf8-names`: names in quotes, in paths, and in every escaping.

mod common;

use common::{Scrape, Server};
use serde_json::json;

fn utf8() -> Server {
    Server::start(&["--push.enable-utf8-names", "--web.enable-admin-api"])
}

fn scrape_as(server: &Server, escaping: &str) -> Scrape {
    server.scrape_with(&[("Accept", &format!("text/plain;version=0.0.4;escaping={escaping}"))])
}

#[test]
fn one_name_in_every_escaping() {
    let server = utf8();
    server.must_put(
        "/metrics/job/j",
        "# HELP \"e.m:a-b_c\" text\n# TYPE \"e.m:a-b_c\" gauge\n{\"e.m:a-b_c\",\"l.a_b\"=\"v\"} 1\n",
    );
    for (escaping, name, label) in [
        ("underscores", "e_m:a_b_c", "l_a_b"),
        ("dots", "e_dot_m:a__b__c", "l_dot_a__b"),
        ("values", "U__e_2e_m:a_2d_b__c", "U__l_2e_a__b"),
    ] {
        let scrape = scrape_as(&server, escaping);
        let expected = format!(
            "# HELP {name} text\n# TYPE {name} gauge\n{name}{{instance=\"\",job=\"j\",{label}=\"v\"}} 1\n"
        );
        let shown: String = scrape.pushed();
        // Labels keep the order of their real names.
        let sorted = |text: &str| {
            let mut parts: Vec<String> = text.split(['{', '}', ',', '\n']).map(str::to_owned).collect();
            parts.sort_unstable();
            parts
        };
        assert_eq!(sorted(&shown), sorted(&expected), "{escaping}: {shown}");
    }
    assert_eq!(
        scrape_as(&server, "allow-utf-8").pushed(),
        "# HELP \"e.m:a-b_c\" text\n# TYPE \"e.m:a-b_c\" gauge\n{\"e.m:a-b_c\",instance=\"\",job=\"j\",\"l.a_b\"=\"v\"} 1\n"
    );
    // Whoever names no escaping gets underscores.
    assert_eq!(server.scrape().pushed(), scrape_as(&server, "underscores").pushed());
}

#[test]
fn every_place_a_quoted_name_may_stand_in() {
    let server = utf8();
    let expected = "# TYPE \"a.b\" untyped\n{\"a.b\",instance=\"\",job=\"j\",x=\"1\"} 1\n";
    for body in [
        "{\"a.b\",x=\"1\"} 1\n",
        "{x=\"1\",\"a.b\"} 1\n",
        "\"a.b\"{x=\"1\"} 1\n",
        "{\"a.b\",\"x\"=\"1\",} 1\n",
        " { \"a.b\" , x = \"1\" } 1\n",
    ] {
        server.must_put("/metrics/job/j", body);
        assert_eq!(scrape_as(&server, "allow-utf-8").pushed(), expected, "{body}");
    }
    server.must_put("/metrics/job/j", "{\"é\\\"\\\\\\n\"} 1\n");
    assert_eq!(
        scrape_as(&server, "allow-utf-8").pushed(),
        "# TYPE \"é\\\"\\\\\\n\" untyped\n{\"é\\\"\\\\\\n\",instance=\"\",job=\"j\"} 1\n"
    );
    assert_eq!(scrape_as(&server, "underscores").samples("____"), [r#"____{instance="",job="j"} 1"#]);
}

#[test]
fn parts_of_a_family_have_their_suffix_in_the_quotes() {
    let server = utf8();
    let body = "# TYPE \"h.x\" histogram\n{\"h.x_bucket\",le=\"1\"} 2\n{\"h.x_sum\"} 3\n{\"h.x_count\"} 4\n\
        # TYPE \"s.x\" summary\n{\"s.x\",quantile=\"0.5\"} 1\n{\"s.x_count\"} 2\n";
    server.must_put("/metrics/job/j", body);
    assert_eq!(
        scrape_as(&server, "allow-utf-8").pushed(),
        "# TYPE \"h.x\" histogram\n\
         {\"h.x_bucket\",instance=\"\",job=\"j\",le=\"1\"} 2\n\
         {\"h.x_bucket\",instance=\"\",job=\"j\",le=\"+Inf\"} 4\n\
         {\"h.x_sum\",instance=\"\",job=\"j\"} 3\n\
         {\"h.x_count\",instance=\"\",job=\"j\"} 4\n\
         # TYPE \"s.x\" summary\n\
         {\"s.x\",instance=\"\",job=\"j\",quantile=\"0.5\"} 1\n\
         {\"s.x_sum\",instance=\"\",job=\"j\"} 0\n\
         {\"s.x_count\",instance=\"\",job=\"j\"} 2\n"
    );
    assert_eq!(
        scrape_as(&server, "underscores").samples("h_x_bucket"),
        [r#"h_x_bucket{instance="",job="j",le="+Inf"} 4"#, r#"h_x_bucket{instance="",job="j",le="1"} 2"#,]
    );
}

#[test]
fn names_of_grouping_labels_in_paths() {
    let server = utf8();
    for (written, name) in [
        ("U__a_2e_b", "a.b"),
        ("U__a_2E_b", "a.b"),
        ("a.b", "a.b"),
        ("a%2Eb", "a.b"),
        ("U__a_2e_b@base64", "a.b"),
        ("U__a__b", "a_b"),
        ("U___55_____", "U__"),
        ("%C3%A9", "é"),
        ("U___e9_", "é"),
        // Whatever does not decode is a name as it stands.
        ("U__in_xxx_valid", "U__in_xxx_valid"),
        ("U__a_2e", "U__a_2e"),
        ("U___d800_", "U___d800_"),
        ("U__a_0000002e_", "U__a_0000002e_"),
        ("u__a_2e_b", "u__a_2e_b"),
    ] {
        let value = if written.ends_with("@base64") { "dg" } else { "v" };
        server.must_put(&format!("/metrics/job/j/{written}/{value}"), "m 1\n");
        let labels = json!({"job": "j", name: "v"});
        let group = server.group(&labels).unwrap_or_else(|| panic!("{written}"));
        assert_eq!(group["m"]["metrics"][0]["labels"][name], "v");
        server.wipe();
    }
    // The job of the path stays what it is.
    server.must_put("/metrics/job/j/U__job/other", "m 1\n");
    assert!(server.group(&json!({"job": "j"})).is_some());
}

#[test]
fn names_that_stay_refused() {
    let server = utf8();
    for (path, name) in [
        ("/metrics/job/j/U__/x", r#""U__""#),
        ("/metrics/job/j/__a/x", r#""__a""#),
        ("/metrics/job/j/%ff/x", r#""\xff""#),
        ("/metrics/job/j/@base64/eA", r#""""#),
    ] {
        server.put(path, "m 1\n").is_error(400, &format!("improper label name {name}"));
    }
    for (body, text) in [
        ("\"\" 1\n", "invalid metric name"),
        ("{\"\"} 1\n", r#"invalid label name for metric """#),
        ("é 1\n", "invalid metric name"),
        ("m{\"__name__\"=\"x\"} 1\n", r#"label name "__name__" is reserved"#),
        ("{\"a\",\"b\"} 1\n", r#"multiple metric names for metric "a""#),
    ] {
        let answer = server.put("/metrics/job/j", body);
        assert_eq!(
            (answer.status, answer.text()),
            (400, format!("text format parsing error in line 1: {text}\n").as_str()),
            "{body}"
        );
    }
    assert_eq!(server.api("/api/v1/metrics"), json!([]));
}

#[test]
fn the_api_shows_real_names() {
    let server = utf8();
    server.must_put("/metrics/job/j/g.l/v", "{\"a.b\",\"l.é\"=\"1\"} 1\n");
    let group = server.group(&json!({"job": "j", "g.l": "v"})).unwrap();
    assert_eq!(
        group["a.b"]["metrics"][0]["labels"],
        json!({"g.l": "v", "instance": "", "job": "j", "l.é": "1"})
    );
}

#[test]
fn old_names_are_untouched() {
    let server = utf8();
    server.must_put("/metrics/job/j", "# TYPE m_a:b gauge\nm_a:b{l_1=\"x\"} 1\n");
    for escaping in ["underscores", "dots", "values", "allow-utf-8"] {
        assert_eq!(
            scrape_as(&server, escaping).pushed(),
            "# TYPE m_a:b gauge\nm_a:b{instance=\"\",job=\"j\",l_1=\"x\"} 1\n",
            "{escaping}"
        );
    }
}

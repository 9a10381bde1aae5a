//! From the URL path to the group: components, base64, percent signs, and each way to get it wrong.

mod common;

use common::Server;
use serde_json::json;

#[test]
fn a_path_spells_the_labels_of_its_group() {
    let server = Server::start(&[]);
    let rows = [
        ("/metrics/job/j", r#"instance="",job="j""#),
        ("/metrics/job/j/", r#"instance="",job="j""#),
        ("/metrics/job/j/instance/i", r#"instance="i",job="j""#),
        ("/metrics/job/j/instance/", r#"instance="",job="j""#),
        ("/metrics/job/j/z/1/a/2", r#"a="2",instance="",job="j",z="1""#),
        // The last one of a name wins, whichever way it is written; `job` is settled already.
        ("/metrics/job/j/a/1/a/2", r#"a="2",instance="",job="j""#),
        ("/metrics/job/j/a@base64/MQ/a/2", r#"a="2",instance="",job="j""#),
        ("/metrics/job/j/job/other", r#"instance="",job="j""#),
        // Nothing else is special.
        ("/metrics/job/j/le/1/quantile/2", r#"instance="",job="j",le="1",quantile="2""#),
        ("/metrics/job/...", r#"instance="",job="...""#),
        ("/metrics/job/job/metrics/job", r#"instance="",job="job",metrics="job""#),
        ("/metrics/job/j?a=b", r#"instance="",job="j""#),
        ("/metrics/job/j#a", r#"instance="",job="j#a""#),
        // Percent signs, once; a plus is a plus.
        ("/metrics/job/a%20b+c", r#"instance="",job="a b+c""#),
        ("/metrics/job/%25%32%30", r#"instance="",job="%20""#),
        ("/metrics/job/%C3%A9/l/%E2%82%AC", r#"instance="",job="é",l="€""#),
        ("/metrics/job/é", r#"instance="",job="é""#),
        ("/metrics%2Fjob%2Fj%2Fa%2Fb", r#"a="b",instance="",job="j""#),
        ("/metrics/job/a%22%5C%0Ab", r#"instance="",job="a\"\\\nb""#),
        ("/metrics/job/a%00b", "instance=\"\",job=\"a\u{0}b\""),
        // Base64, with and without padding.
        ("/metrics/job@base64/L3Zhci90bXA", r#"instance="",job="/var/tmp""#),
        ("/metrics/job@base64/L3Zhci90bXA=", r#"instance="",job="/var/tmp""#),
        ("/metrics/job@base64/YQ====", r#"instance="",job="a""#),
        ("/metrics/job@base64/YR", r#"instance="",job="a""#),
        ("/metrics/job@base64/YW%0AJj", r#"instance="",job="abc""#),
        ("/metrics/job/j/path@base64/L2E_Yj5j", r#"instance="",job="j",path="/a?b>c""#),
        ("/metrics/job/j/e@base64/=", r#"e="",instance="",job="j""#),
        ("/metrics/job/j/e@base64/", r#"e="",instance="",job="j""#),
        ("/metrics/job/j/instance@base64/=/z/1", r#"instance="",job="j",z="1""#),
    ];
    for (path, labels) in rows {
        let answer = server.put(path, "m 1\n");
        assert_eq!((answer.status, answer.text()), (200, ""), "{path}");
        assert_eq!(server.pushed(), format!("# TYPE m untyped\nm{{{labels}}} 1\n"), "{path}");
        assert!(server.scrape().has_group(labels), "{path}");
        server.delete(path).is_empty_with(202);
        assert!(!server.scrape().has_group(labels), "{path}");
    }
}

#[test]
fn a_path_that_spells_no_group_is_refused_and_leaves_nothing() {
    let server = Server::start(&[]);
    let rows = [
        (
            "/metrics/job@base64/YWJj!",
            r#"invalid base64 encoding in job name "abc": illegal base64 data at input byte 4"#,
        ),
        (
            "/metrics/job@base64/Y",
            r#"invalid base64 encoding in job name "": illegal base64 data at input byte 0"#,
        ),
        (
            "/metrics/job@base64/YWJjZ",
            r#"invalid base64 encoding in job name "abc": illegal base64 data at input byte 4"#,
        ),
        (
            "/metrics/job@base64/a+b",
            r#"invalid base64 encoding in job name "": illegal base64 data at input byte 1"#,
        ),
        ("/metrics/job@base64/=", "job name is required"),
        ("/metrics/job/j/a", r#"odd number of components in label string "/a""#),
        ("/metrics/job/j/a/b/c", r#"odd number of components in label string "/a/b/c""#),
        ("/metrics/job/j/a/b/", r#"odd number of components in label string "/a/b/""#),
        ("/metrics/job/a%2Fb", r#"odd number of components in label string "/b""#),
        ("/metrics/job/j/%22%0A", r#"odd number of components in label string "/\"\n""#),
        ("/metrics/job/j/1a/b", r#"improper label name "1a""#),
        ("/metrics/job/j/a-b/c", r#"improper label name "a-b""#),
        ("/metrics/job/j/__a/b", r#"improper label name "__a""#),
        ("/metrics/job/j/a%22%0A/b", r#"improper label name "a\"\n""#),
        ("/metrics/job/j/%C3%A9/b", r#"improper label name "é""#),
        ("/metrics/job/j/%FF/b", r#"improper label name "\xff""#),
        ("/metrics/job/j/@base64/YQ", r#"improper label name """#),
        ("/metrics/job/j/a@base64@base64/YQ", r#"improper label name "a@base64""#),
        (
            "/metrics/job/j/a@base64/!",
            r#"invalid base64 encoding for label a="!": illegal base64 data at input byte 0"#,
        ),
        (
            "/metrics/job/j/a@base64/YQ%22",
            r#"invalid base64 encoding for label a="YQ\"": illegal base64 data at input byte 2"#,
        ),
        // Job before components, components before names, one pair after the other.
        (
            "/metrics/job@base64/!/a",
            r#"invalid base64 encoding in job name "": illegal base64 data at input byte 0"#,
        ),
        ("/metrics/job/j/a-b/1/c", r#"odd number of components in label string "/a-b/1/c""#),
        (
            "/metrics/job/j/a@base64/!/b-c/1",
            r#"invalid base64 encoding for label a="!": illegal base64 data at input byte 0"#,
        ),
    ];
    for (path, text) in rows {
        for method in ["PUT", "POST", "DELETE"] {
            let answer = server.send(method, path, &[], if method == "DELETE" { b"" } else { b"m 1\n" });
            assert_eq!(
                (answer.status, answer.text()),
                (400, format!("{text}\n").as_str()),
                "{method} {path}"
            );
            answer.has_error_shape();
        }
    }
    assert_eq!(server.api("/api/v1/metrics"), json!([]));
    assert_eq!(server.pushed(), "");
}

#[test]
fn a_bad_path_is_answered_whatever_the_body() {
    let server = Server::start(&[]);
    let answer = server.put("/metrics/job/j/a", "this is no metric");
    answer.is_error(400, r#"odd number of components in label string "/a""#);
}

#[test]
fn the_order_of_labels_in_the_path_does_not_matter() {
    let server = Server::start(&[]);
    let orders = ["/metrics/job/j/a/1/b/2/c/3", "/metrics/job/j/c/3/a/1/b/2", "/metrics/job/j/b/2/c/3/a/1"];
    for (value, path) in orders.iter().enumerate() {
        server.must_put(path, &format!("m {value}\n"));
    }
    assert_eq!(server.scrape().samples("m"), [r#"m{a="1",b="2",c="3",instance="",job="j"} 2"#]);
    server.delete(orders[1]).is_empty_with(202);
    assert_eq!(server.api("/api/v1/metrics"), json!([]));
}

#[test]
fn groups_that_share_labels_are_different_groups() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/j", "m 1\n");
    server.must_put("/metrics/job/j/instance/i", "m 2\n");
    server.must_put("/metrics/job/j/instance/i/z/", "m 3\n");
    server.must_put("/metrics/job/k/instance/i", "m 4\n");
    server.delete("/metrics/job/j").is_empty_with(202);
    server.delete("/metrics/job/j/instance/other").is_empty_with(202);
    assert_eq!(
        server.scrape().samples("m"),
        [r#"m{instance="i",job="j",z=""} 3"#, r#"m{instance="i",job="j"} 2"#, r#"m{instance="i",job="k"} 4"#,]
    );
    let labels = json!({"job": "j", "instance": "i", "z": ""});
    assert!(server.group(&labels).is_some());
}

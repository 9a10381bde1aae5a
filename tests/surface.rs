//! Every path and method: probes, redirects, 404 and 405, prefixes, and how the flags move them.

mod common;

use common::{Answer, Server};

#[test]
fn probes_answer_ok() {
    let server = Server::start(&[]);
    for path in ["/-/healthy", "/-/ready"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.text()), (200, "OK"));
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    }
}

const PUSH: &str = "DELETE, OPTIONS, POST, PUT";
const READ: &str = "GET, OPTIONS";

#[test]
fn another_method_is_405_with_those_that_are_allowed() {
    let server = Server::start(&["--web.enable-admin-api"]);
    let rows = [
        ("PUT", "/metrics", READ),
        ("POST", "/metrics", READ),
        ("HEAD", "/metrics", READ),
        ("GET", "/metrics/job/x", PUSH),
        ("HEAD", "/metrics/job/x/a/b", PUSH),
        ("FOO", "/metrics/job/x", PUSH),
        ("put", "/metrics/job/x", PUSH),
        ("PATCH", "/metrics/job@base64/eA", PUSH),
        ("POST", "/", READ),
        ("PUT", "/status", READ),
        ("PUT", "/-/healthy", READ),
        ("DELETE", "/-/ready", READ),
        ("DELETE", "/-/quit", "GET, OPTIONS, POST, PUT"),
        ("POST", "/api/v1/status", READ),
        ("DELETE", "/api/v1/metrics", READ),
        ("GET", "/api/v1/admin/wipe", "OPTIONS, PUT"),
        ("POST", "/api/v1/admin/wipe", "OPTIONS, PUT"),
    ];
    for (method, path, allow) in rows {
        let answer = server.send(method, path, &[], b"");
        assert_eq!((answer.status, answer.header("Allow")), (405, Some(allow)), "{method} {path}");
        if method == "HEAD" {
            assert_eq!(answer.header("Content-Length"), Some("19"), "{path}");
        } else {
            answer.is_error(405, "Method Not Allowed");
        }
    }
}

#[test]
fn options_names_the_methods_of_a_path() {
    let server = Server::start(&[]);
    for (path, allow) in [
        ("/metrics", READ),
        ("/metrics/job/x", PUSH),
        ("/status", READ),
        ("/-/quit", "GET, OPTIONS, POST, PUT"),
    ] {
        let answer = server.send("OPTIONS", path, &[], b"");
        answer.is_empty_with(200);
        assert_eq!(answer.header("Allow"), Some(allow), "{path}");
    }
    server.send("OPTIONS", "*", &[], b"").is_empty_with(200);
    for path in ["/nope", "/metrics/"] {
        assert_eq!(server.send("OPTIONS", path, &[], b"").status, 404, "{path}");
    }
}

#[test]
fn unknown_paths_are_404() {
    let server = Server::start(&[]);
    for (method, path) in [
        ("GET", "/nope"),
        ("HEAD", "/Metrics"),
        ("PUT", "/metrics/job"),
        ("PUT", "/metrics/"),
        ("PUT", "/metrics/jobs/a"),
        ("PUT", "/metrics/job@base64/"),
        ("GET", "/api"),
        ("GET", "/api/v1/"),
        ("GET", "/api/v1/nope"),
        ("GET", "/api/v1/metrics/x"),
        ("GET", "/api/v2/status"),
        ("PUT", "/api/v1/admin/wipe"),
    ] {
        let answer = server.send(method, path, &[], b"");
        assert_eq!(answer.status, 404, "{method} {path}");
        if method != "HEAD" {
            answer.is_error(404, "404 page not found");
        }
    }
}

#[track_caller]
fn leads_to(answer: &Answer, status: u16, location: &str) {
    assert_eq!((answer.status, answer.header("Location")), (status, Some(location)));
}

#[test]
fn almost_right_paths_are_redirected() {
    let server = Server::start(&["--web.enable-admin-api"]);
    let rows = [
        // Paths that are not clean: 301, whatever the method.
        ("GET", "//metrics?a=b", 301, "/metrics?a=b"),
        ("GET", "/./metrics", 301, "/metrics"),
        ("PUT", "/metrics//job/a", 301, "/metrics/job/a"),
        ("POST", "/metrics/job//b/c", 301, "/metrics/job/b/c"),
        ("PUT", "/metrics/job/a/b//c/d", 301, "/metrics/job/a/b/c/d"),
        ("PUT", "/metrics/job/a/b/%2e%2e", 301, "/metrics/job/a"),
        ("DELETE", "/x/../metrics/job/a", 301, "/metrics/job/a"),
        // Clean, and wrong by a slash or by case: 307, and 301 for GET.
        ("GET", "/metrics/", 301, "/metrics"),
        ("GET", "/Metrics", 301, "/metrics"),
        ("GET", "/STATUS/", 301, "/status"),
        ("PUT", "/METRICS/job/a", 307, "/metrics/job/a"),
        ("PUT", "/metrics/Job/a/b/C", 307, "/metrics/job/a/b/C"),
        ("DELETE", "/metrics/JOB/x?a=b", 307, "/metrics/job/x?a=b"),
        ("PUT", "/metrics/job/", 307, "/metrics/job"),
        ("POST", "/-/quit/", 307, "/-/quit"),
        // The API's router does not know where it hangs, as in the reference.
        ("GET", "/api/v1/status/", 301, "/status"),
        ("PUT", "/api/v1/admin/WIPE", 307, "/admin/wipe"),
        ("GET", "/api/v1", 301, "/api/v1/"),
    ];
    for (method, path, status, location) in rows {
        let answer = server.send(method, path, &[], b"");
        assert_eq!((answer.status, answer.header("Location")), (status, Some(location)), "{method} {path}");
        if method == "GET" {
            let body = format!("<a href=\"{location}\">Moved Permanently</a>.\n\n");
            assert_eq!(answer.text(), body);
            assert_eq!(answer.header("Content-Type"), Some("text/html; charset=utf-8"));
        } else {
            assert_eq!((answer.text(), answer.header("Content-Type")), ("", None));
        }
    }
    leads_to(&server.get("http://gateway/metrics/"), 301, "http://gateway/metrics");
    assert_eq!(server.pushed(), "");
}

#[test]
fn quit_is_off_unless_asked_for() {
    let mut server = Server::start(&[]);
    for method in ["PUT", "POST"] {
        let answer = server.send(method, "/-/quit", &[], b"");
        assert_eq!((answer.status, answer.text()), (403, "Lifecycle API is not enabled."));
    }
    let answer = server.get("/-/quit");
    assert_eq!((answer.status, answer.text()), (405, "Only POST or PUT requests allowed."));
    assert_eq!(answer.header("Allow"), None);
    assert!(server.is_running());
    assert_eq!(server.get("/-/healthy").status, 200);
}

#[test]
fn quit_ends_the_process_with_status_0() {
    for (method, prefix) in [("PUT", ""), ("POST", ""), ("PUT", "/p")] {
        let flag = format!("--web.route-prefix={prefix}");
        let server = Server::start(&["--web.enable-lifecycle", &flag]);
        assert_eq!(server.get("/-/quit").status, 405);
        let answer = server.send(method, &format!("{prefix}/-/quit"), &[], b"");
        assert_eq!((answer.status, answer.text()), (200, "Requesting termination... Goodbye!"));
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn a_prefix_stands_before_every_path() {
    for (flags, prefix) in [
        (&["--web.route-prefix=/pre/fix"][..], "/pre/fix"),
        (&["--web.route-prefix=pre/"], "/pre"),
        (&["--web.external-url=http://example.org:1234/ext/"], "/ext"),
        (&["--web.external-url=http://example.org/ext", "--web.route-prefix=/"], ""),
        (&["--web.external-url=http://example.org/ext", "--web.route-prefix=/other"], "/other"),
    ] {
        let server = Server::start(flags);
        let at = |path: &str| format!("{prefix}{path}");
        server.must_put(&at("/metrics/job/j/a@base64/L2I"), "m 1\n");
        let scrape = server.get(&at("/metrics"));
        assert!(scrape.text().contains("\nm{a=\"/b\",instance=\"\",job=\"j\"} 1\n"), "{flags:?}");
        for path in ["/", "/status", "/-/healthy", "/-/ready", "/api/v1/status", "/api/v1/metrics"] {
            assert_eq!(server.get(&at(path)).status, 200, "{flags:?} {path}");
        }
        server
            .put(&at("/metrics/job/j/a"), "")
            .is_error(400, r#"odd number of components in label string "/a""#);
        if !prefix.is_empty() {
            for path in ["/", "/metrics", "/status", "/-/ready", "/api/v1/status"] {
                assert_eq!(server.get(path).status, 404, "{flags:?} {path}");
            }
            assert_eq!(server.put("/metrics/job/j", "m 1\n").status, 404);
            leads_to(&server.get(prefix), 301, &at("/"));
            leads_to(&server.put(&format!("{prefix}//metrics/job/j"), ""), 301, &at("/metrics/job/j"));
        }
        server.delete(&at("/metrics/job/j/a@base64/L2I")).is_empty_with(202);
    }
}

#[test]
fn the_telemetry_path_moves_scrapes_and_not_pushes() {
    for (flags, scrape_path, push_path) in [
        (&["--web.telemetry-path=/tele/metry"][..], "/tele/metry", "/metrics/job/j"),
        (&["--web.telemetry-path=tele//x/", "--web.route-prefix=p"], "/p/tele/x", "/p/metrics/job/j"),
    ] {
        let server = Server::start(flags);
        server.must_put(push_path, "m 1\n");
        assert!(server.get(scrape_path).text().contains("\nm{instance=\"\",job=\"j\"} 1\n"));
        let old = push_path.strip_suffix("/job/j").unwrap();
        assert_eq!(server.get(old).status, 404);
    }
}

#[test]
fn the_page_shows_groups_and_escapes_what_pushers_send() {
    let server = Server::start(&["--web.external-url=http://example.org/x/"]);
    server.must_put("/x/metrics/job/a%3Cscript%3E/i/1", "# HELP m <img src=x>\nm{l=\"<b>\"} 1\n");
    for path in ["/x/", "/x/status"] {
        let page = server.get(path);
        assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
        let text = page.text();
        assert!(text.contains("i=") && text.contains("web.external-url"), "{text}");
        assert!(text.contains("&#60;script&#62;") && !text.contains("<script>"), "{text}");
        assert!(!text.contains("<img src=x>") && text.contains("href=\"/x/metrics\""), "{text}");
        let policy = page.header("Content-Security-Policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
    }
}

#[test]
fn requests_that_cannot_be_read_are_answered_and_end_the_connection() {
    let server = Server::start(&[]);
    let rows: &[(&[u8], &str)] = &[
        (b"nonsense\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics\r\n\r\n", "400 Bad Request"),
        (b"GET metrics HTTP/1.1\r\nHost: h\r\n\r\n", "400 Bad Request"),
        (b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header"),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\nHost: a b\r\n\r\n", "400 Bad Request: malformed Host header"),
        (b"GET /metrics HTTP/1.1\r\nHost: h\r\nA b: c\r\n\r\n", "400 Bad Request"),
        (b"PUT /metrics/job/j HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", "400 Bad Request"),
        (
            b"PUT /metrics/job/j HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "400 Bad Request",
        ),
        (b"PUT /metrics/job/j HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", "501 Not Implemented"),
        (b"GET /metrics HTTP/2.0\r\nHost: h\r\n\r\n", "505 HTTP Version Not Supported"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported"),
    ];
    for (bytes, line) in rows {
        let text = server.raw(bytes);
        let shown = String::from_utf8_lossy(bytes);
        assert!(text.starts_with(&format!("HTTP/1.1 {line}")), "{shown}: {text}");
        assert!(text.contains("\r\nConnection: close\r\n"), "{shown}: {text}");
    }
    assert_eq!(server.pushed(), "");
}

#[test]
fn old_clients_and_kept_connections() {
    let server = Server::start(&[]);
    let text = server.raw(b"PUT /metrics/job/j HTTP/1.0\r\nContent-Length: 4\r\n\r\nm 1\n");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") || text.starts_with("HTTP/1.0 200 OK\r\n"), "{text}");
    let kept = server.raw(
        b"GET /-/ready HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /-/healthy HTTP/1.0\r\n\r\nGET /-/ready HTTP/1.0\r\n\r\n",
    );
    assert_eq!(kept.matches("200 OK").count(), 2, "{kept}");
    assert!(kept.to_lowercase().contains("\r\nconnection: keep-alive\r\n"), "{kept}");

    let mut connection = server.connect();
    for _ in 0..3 {
        assert_eq!(connection.send("GET", "/-/ready", &[], b"").text(), "OK");
        connection.send("PUT", "/metrics/job/j", &[], b"m 1\n").is_empty_with(200);
        connection.send("DELETE", "/metrics/job/j", &[], b"a body that nobody reads").is_empty_with(202);
        assert_eq!(connection.send("HEAD", "/metrics", &[], b"").status, 405);
    }
    let last = connection.send("GET", "/-/ready", &[("Connection", "close")], b"");
    assert_eq!(last.header("Connection"), Some("close"));
    assert!(connection.rest().is_empty());
}

#[test]
fn bodies_in_chunks() {
    let server = Server::start(&[]);
    let head = "PUT /metrics/job/j HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in [
        "4\r\nm 1\n\r\n0\r\n\r\n",
        "1\r\nm\r\n2;a=b\r\n 1\r\n1\r\n\n\r\n0\r\nTrailer: x\r\n\r\n",
        "0004\r\nm 1\n\r\n000\r\n\r\n",
    ] {
        let mut connection = server.connect();
        connection.write(format!("{head}{chunks}").as_bytes());
        connection.answer_to("PUT").is_empty_with(200);
        assert_eq!(server.scrape().samples("m"), [r#"m{instance="",job="j"} 1"#]);
        connection.send("DELETE", "/metrics/job/j", &[], b"").is_empty_with(202);
    }
    let mut connection = server.connect();
    connection.write(format!("{head}0\r\n\r\n").as_bytes());
    connection.answer_to("PUT").is_empty_with(200);
    // Neither length nor chunks: an empty body.
    connection.write(b"PUT /metrics/job/j HTTP/1.1\r\nHost: h\r\n\r\n");
    connection.answer_to("PUT").is_empty_with(200);
}

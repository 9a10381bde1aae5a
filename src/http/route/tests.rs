//! The reference's routing table, row by row.

use super::*;
use crate::http::Body;

fn routes(prefix: &str) -> Routes {
    Routes {
        prefix: prefix.to_owned(),
        telemetry_path: format!("{prefix}/metrics"),
        lifecycle: true,
        admin_api: true,
        bare_pushes: false,
    }
}

/// What a request comes to, in one line: the route, or status, `Allow` and `Location`.
fn outcome(routes: &Routes, method: &str, raw: &str) -> String {
    let target = Target::parse(raw.as_bytes(), method == "CONNECT").unwrap();
    let routed = match routes.router(method.as_bytes(), &target) {
        Router::Answered(answer) => Routed::Answered(answer),
        Router::Main => routes.main(method.as_bytes(), &target.path, &target),
        Router::Api(prefix) => routes.api(method.as_bytes(), &target.path[prefix..], &target),
    };
    match routed {
        Routed::To(Route::Push(path)) => format!(
            "push {}{} {}",
            String::from_utf8_lossy(path.job),
            if path.job_is_base64 { " base64" } else { "" },
            String::from_utf8_lossy(path.rest)
        ),
        Routed::To(route) => format!("{route:?}"),
        Routed::Answered(answer) => {
            let mut line = answer.status.to_string();
            for (name, value) in &answer.headers {
                if matches!(*name, "Allow" | "Location") {
                    line = format!("{line} {value}");
                }
            }
            line
        }
    }
}

#[test]
fn the_table_of_the_reference() {
    let routes = routes("");
    for (method, target, expected) in [
        ("GET", "/metrics", "Scrape"),
        ("PUT", "/metrics/job/j", "push j "),
        ("POST", "/metrics/job/j/", "push j /"),
        ("DELETE", "/metrics/job@base64/ag/a/b", "push ag base64 /a/b"),
        ("PUT", "/metrics/job/a%2Fb", "push a /b"),
        ("PUT", "/metrics/job/...", "push ... "),
        ("GET", "/", "Page"),
        ("GET", "/status", "Page"),
        ("GET", "/-/healthy", "Healthy"),
        ("GET", "/-/ready", "Ready"),
        ("PUT", "/-/quit", "Quit"),
        ("POST", "/-/quit", "Quit"),
        ("PUT", "/-/reload", "Reload"),
        ("POST", "/-/reload", "Reload"),
        ("GET", "/-/quit", "QuitByGet"),
        ("GET", "/api/v1/status", "ApiStatus"),
        ("GET", "/api/v1/metrics", "ApiMetrics"),
        ("OPTIONS", "/api/v1/nope", "ApiOptions"),
        ("PUT", "/api/v1/admin/wipe", "Wipe"),
        ("OPTIONS", "*", "200"),
        ("GET", "*", "400"),
        ("PUT", "/metrics", "405 GET, OPTIONS"),
        ("HEAD", "/metrics", "405 GET, OPTIONS"),
        ("OPTIONS", "/metrics", "200 GET, OPTIONS"),
        ("GET", "/metrics/", "301 /metrics"),
        ("GET", "/Metrics", "301 /metrics"),
        ("HEAD", "/Metrics", "404"),
        ("GET", "//metrics?a=b", "301 /metrics?a=b"),
        ("GET", "http://h/metrics/", "301 http://h/metrics"),
        ("GET", "/metrics/job/x", "405 DELETE, OPTIONS, POST, PUT"),
        ("FOO", "/metrics/job/x", "405 DELETE, OPTIONS, POST, PUT"),
        ("put", "/metrics/job/x", "405 DELETE, OPTIONS, POST, PUT"),
        ("PUT", "/metrics/job", "404"),
        ("PUT", "/metrics/", "404"),
        ("PUT", "/metrics/jobs/a", "404"),
        ("PUT", "/metrics/job/", "307 /metrics/job"),
        ("PUT", "/metrics/job@base64/", "404"),
        ("PUT", "/METRICS/job/a", "307 /metrics/job/a"),
        ("PUT", "/metrics/Job/A/b/C", "307 /metrics/job/A/b/C"),
        ("DELETE", "/metrics/JOB/x?a=b", "307 /metrics/job/x?a=b"),
        ("PUT", "/metrics//job/a", "301 /metrics/job/a"),
        ("PUT", "/metrics/job//b/c", "301 /metrics/job/b/c"),
        ("PUT", "/metrics/job/a/b//c/d", "301 /metrics/job/a/b/c/d"),
        ("PUT", "/metrics/job/a/b/%2e%2e", "301 /metrics/job/a"),
        ("POST", "/", "405 GET, OPTIONS"),
        ("PUT", "/status", "405 GET, OPTIONS"),
        ("DELETE", "/-/quit", "405 GET, OPTIONS, POST, PUT"),
        ("POST", "/-/quit/", "307 /-/quit"),
        ("GET", "/api/v1", "301 /api/v1/"),
        ("PUT", "/api/v1?x", "301 /api/v1/?x"),
        ("GET", "/api/v1/status/", "301 /status"),
        ("PUT", "/api/v1/admin/WIPE", "307 /admin/wipe"),
        ("GET", "/api/v1/nope", "404"),
        ("GET", "/api/v1/", "404"),
        ("GET", "/api", "404"),
        ("POST", "/api/v1/status", "405 GET, OPTIONS"),
        ("GET", "/api/v1/admin/wipe", "405 OPTIONS, PUT"),
        ("OPTIONS", "/nope", "404"),
        ("OPTIONS", "/metrics/", "404"),
        ("GET", "/nope", "404"),
        ("CONNECT", "h:443", "404"),
        ("CONNECT", "/metrics", "405 GET, OPTIONS"),
    ] {
        assert_eq!(outcome(&routes, method, target), expected, "{method} {target}");
    }
}

#[test]
fn a_prefix_moves_everything_but_get_quit() {
    let routes = routes("/pre/fix");
    for (method, target, expected) in [
        ("GET", "/pre/fix", "301 /pre/fix/"),
        ("GET", "/pre/fix/", "Page"),
        ("GET", "/", "404"),
        ("GET", "/metrics", "404"),
        ("PUT", "/metrics/job/a", "404"),
        ("GET", "/pre/fix/metrics", "Scrape"),
        ("GET", "/pre/fix//metrics", "301 /pre/fix/metrics"),
        ("PUT", "/pre/fix/metrics/job/a", "push a "),
        ("PUT", "/PRE/fix/metrics/job/A", "307 /pre/fix/metrics/job/A"),
        ("DELETE", "/pre/fix/-/quit", "405 OPTIONS, POST, PUT"),
        ("GET", "/-/quit", "QuitByGet"),
        ("GET", "/api/v1/status", "404"),
        ("GET", "/pre/fix/api/v1/status", "ApiStatus"),
        ("GET", "/pre/fix/api/v1", "301 /pre/fix/api/v1/"),
    ] {
        assert_eq!(outcome(&routes, method, target), expected, "{method} {target}");
    }
}

#[test]
fn the_telemetry_path_moves_only_the_scrape() {
    let mut routes = routes("");
    routes.telemetry_path = "/tele/Metry".to_owned();
    routes.admin_api = false;
    for (method, target, expected) in [
        ("GET", "/tele/Metry", "Scrape"),
        ("GET", "/tele/metry/", "301 /tele/Metry"),
        ("GET", "/metrics", "404"),
        ("PUT", "/metrics/job/a", "push a "),
        ("PUT", "/api/v1/admin/wipe", "404"),
        ("GET", "/api/v1/admin/wipe", "404"),
    ] {
        assert_eq!(outcome(&routes, method, target), expected, "{method} {target}");
    }
}

#[test]
fn only_get_gets_the_page_of_a_redirect() {
    let routes = routes("");
    for (method, body, content_type) in [
        ("GET", "<a href=\"/metrics?a=1&amp;b\">Moved Permanently</a>.\n\n", true),
        ("HEAD", "", true),
        ("PUT", "", false),
    ] {
        let target = Target::parse(b"//metrics?a=1&b", false).unwrap();
        let Router::Answered(answer) = routes.router(method.as_bytes(), &target) else { panic!("{method}") };
        let text = match &answer.body {
            Body::Whole(text) => &text[..],
            _ => b"",
        };
        assert_eq!(text, body.as_bytes(), "{method}");
        assert_eq!(answer.headers.iter().any(|header| header.0 == "Content-Type"), content_type, "{method}");
    }
}

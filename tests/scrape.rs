//! The exposition as scrapers read it: order, parts of a family, content types, our own metrics.

mod common;

use common::Server;

#[test]
fn families_stand_by_name_each_once() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/j", "zz 1\nA 1\n_x 1\na:b 1\nb 1\nab 1\n");
    server.must_put("/metrics/job/k", "b 2\nzz 2\nhttp_a 1\nquite 1\n");
    let scrape = server.scrape();
    let names = scrape.names();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(names, sorted);
    for name in ["A", "_x", "a:b", "b", "quite", "push_time_seconds", "process_start_time_seconds"] {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(scrape.samples("b"), [r#"b{instance="",job="j"} 1"#, r#"b{instance="",job="k"} 2"#]);
    // Each family is one block: its comments, then its samples, then the next family.
    let mut current = String::new();
    for line in scrape.text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split(' ').next().unwrap().to_owned();
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let part = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} in {current}"));
            assert!(["", "_sum", "_count", "_bucket"].contains(&part), "{line} in {current}");
        }
    }
}

#[test]
fn series_of_a_group_stand_by_number_of_labels_then_by_labels() {
    let server = Server::start(&[]);
    let body = "p{a=\"5\",b=\"0\"} 8\np{zz=\"\"} 6\np{a=\"9\"} 5\np{a=\"1\",c=\"3\"} 3\np 7\np{a=\"2\"} 2\np{b=\"1\"} 1\np{a=\"10\"} 4\n";
    server.must_put("/metrics/job/s", body);
    let expected = "# TYPE p untyped\n\
        p{instance=\"\",job=\"s\"} 7\n\
        p{a=\"10\",instance=\"\",job=\"s\"} 4\n\
        p{a=\"2\",instance=\"\",job=\"s\"} 2\n\
        p{a=\"9\",instance=\"\",job=\"s\"} 5\n\
        p{b=\"1\",instance=\"\",job=\"s\"} 1\n\
        p{instance=\"\",job=\"s\",zz=\"\"} 6\n\
        p{a=\"1\",c=\"3\",instance=\"\",job=\"s\"} 3\n\
        p{a=\"5\",b=\"0\",instance=\"\",job=\"s\"} 8\n";
    assert_eq!(server.pushed(), expected);
}

#[test]
fn le_and_quantile_stand_last_and_parts_together() {
    let server = Server::start(&[]);
    let body = "# TYPE h histogram\nh_bucket{zz=\"1\",le=\"1\"} 1\nh_bucket{a=\"2\",le=\"1\"} 1\nh_count{zz=\"1\"} 2\nh_count{a=\"2\"} 3\n\
        # TYPE s summary\ns{zz=\"1\",quantile=\"0.5\"} 1\ns_count{zz=\"1\"} 2\n";
    server.must_put("/metrics/job/j", body);
    let expected = "# TYPE h histogram\n\
        h_bucket{a=\"2\",instance=\"\",job=\"j\",le=\"1\"} 1\n\
        h_bucket{a=\"2\",instance=\"\",job=\"j\",le=\"+Inf\"} 3\n\
        h_sum{a=\"2\",instance=\"\",job=\"j\"} 0\n\
        h_count{a=\"2\",instance=\"\",job=\"j\"} 3\n\
        h_bucket{instance=\"\",job=\"j\",zz=\"1\",le=\"1\"} 1\n\
        h_bucket{instance=\"\",job=\"j\",zz=\"1\",le=\"+Inf\"} 2\n\
        h_sum{instance=\"\",job=\"j\",zz=\"1\"} 0\n\
        h_count{instance=\"\",job=\"j\",zz=\"1\"} 2\n\
        # TYPE s summary\n\
        s{instance=\"\",job=\"j\",zz=\"1\",quantile=\"0.5\"} 1\n\
        s_sum{instance=\"\",job=\"j\",zz=\"1\"} 0\n\
        s_count{instance=\"\",job=\"j\",zz=\"1\"} 2\n";
    assert_eq!(server.pushed(), expected);
}

#[test]
fn accept_decides_the_escaping_and_is_echoed() {
    let text = |escaping: &str| format!("text/plain; version=0.0.4; charset=utf-8; escaping={escaping}");
    let rows = [
        ("*/*", "underscores"),
        ("text/plain", "underscores"),
        ("application/json", "underscores"),
        ("text/plain;escaping=dots", "dots"),
        ("text/plain; version=0.0.4; escaping=values", "values"),
        ("text/plain;escaping=allow-utf-8", "allow-utf-8"),
        ("text/plain;escaping=nonsense", "underscores"),
        ("text/plain;escaping=dots;q=0.1,text/plain;escaping=values;q=0.9", "values"),
        // It counts even where its clause matches nothing.
        ("application/openmetrics-text;version=1.0.0;escaping=dots,text/plain;q=0.5", "dots"),
        // Prometheus 2.42, then 3.5.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "underscores",
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "allow-utf-8",
        ),
    ];
    let server = Server::start(&[]);
    server.must_put("/metrics/job/j", "m 1\n");
    let plain = server.get("/metrics");
    assert_eq!(plain.header("Content-Type"), Some(text("underscores").as_str()));
    for (accept, escaping) in rows {
        let answer = server.send("GET", "/metrics", &[("Accept", accept)], b"");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("Content-Type"), Some(text(escaping).as_str()), "{accept}");
        // No name here needs escaping.
        assert!(answer.text().contains("# TYPE m untyped\nm{instance=\"\",job=\"j\"} 1\n"), "{accept}");
    }
}

#[test]
fn identity_unless_a_coding_is_wanted_more() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/j", "m 1\n");
    for wanted in ["", "identity", "br", "gzip;q=0", "*", "GZIP", "gzip, identity", "identity, gzip"] {
        let answer = server.send("GET", "/metrics", &[("Accept-Encoding", wanted)], b"");
        assert_eq!((answer.status, answer.header("Content-Encoding")), (200, None), "{wanted}");
        assert!(answer.text().contains("\nm{instance=\"\",job=\"j\"} 1\n"), "{wanted}");
    }
}

#[test]
fn queries_change_nothing() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/j", "m 1\nn 1\n");
    for query in ["?", "?name[]=m", "?a=b&c"] {
        let answer = server.get(&format!("/metrics{query}"));
        assert!(answer.text().contains("\nn{instance"), "{query}");
    }
}

#[test]
fn our_own_families() {
    let server = Server::start(&[]);
    let scrape = server.scrape();
    let own = [
        ("pushgateway_build_info", "gauge"),
        ("process_cpu_seconds_total", "counter"),
        ("process_max_fds", "gauge"),
        ("process_open_fds", "gauge"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_start_time_seconds", "gauge"),
        ("process_virtual_memory_bytes", "gauge"),
        ("process_virtual_memory_max_bytes", "gauge"),
        ("floodway_build_info", "gauge"),
        ("floodway_groups", "gauge"),
        ("floodway_pushes_refused_total", "counter"),
    ];
    for (name, kind) in own {
        let family = scrape.family(name);
        assert!(family.starts_with(&format!("# HELP {name} ")), "{name}: {family}");
        assert!(family.contains(&format!("\n# TYPE {name} {kind}\n{name}")), "{family}");
        assert!(!family.contains("job=") && !family.contains("instance="), "{family}");
    }
    let start = scrape.value("process_start_time_seconds").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(start > now - 3600.0 && start <= now + 1.0, "{start} {now}");
}

#[test]
fn requests_are_counted_by_code_handler_and_method() {
    let server = Server::start(&["--web.enable-admin-api"]);
    server.must_put("/metrics/job/j", "m 1\n");
    server.must_put("/metrics/job/j", "m 1\n");
    server.must_post("/metrics/job/j", "m 1\n");
    assert_eq!(server.put("/metrics/job/j", "m\n").status, 400);
    assert_eq!(server.put("/metrics/job/j/a", "m 1\n").status, 400);
    assert_eq!(server.put("/metrics/job/j", "m 1 1\n").status, 400);
    server.delete("/metrics/job/j").is_empty_with(202);
    server.wipe();
    for path in ["/-/healthy", "/-/ready", "/status", "/api/v1/status", "/api/v1/metrics"] {
        assert_eq!(server.get(path).status, 200);
    }
    // Nothing of these is counted.
    for path in ["/nope", "/metrics/", "/metrics", "/Metrics"] {
        server.get(path);
    }
    let scrape = server.scrape();
    let count = |code: u16, handler: &str, method: &str| {
        let labels = format!("code=\"{code}\",handler=\"{handler}\",method=\"{method}\"");
        scrape.value(&format!("pushgateway_http_requests_total{{{labels}}}")).unwrap_or(0.0)
    };
    assert_eq!(count(200, "push", "put"), 2.0);
    assert_eq!(count(200, "push", "post"), 1.0);
    assert_eq!(count(400, "push", "put"), 3.0);
    assert_eq!(count(202, "delete", "delete"), 1.0);
    assert_eq!(count(202, "wipe", "put"), 1.0);
    for handler in ["healthy", "ready", "status", "api/v1/status", "api/v1/metrics"] {
        assert_eq!(count(200, handler, "get"), 1.0, "{handler}");
    }
    assert_eq!(scrape.samples("pushgateway_http_requests_total").len(), 10);
    for name in ["pushgateway_http_push_size_bytes", "pushgateway_http_push_duration_seconds"] {
        assert_eq!(scrape.value(&format!("{name}_count{{method=\"put\"}}")), Some(5.0));
        assert_eq!(scrape.value(&format!("{name}_count{{method=\"post\"}}")), Some(1.0));
        assert_eq!(scrape.samples(name).len(), 6, "three quantiles of two methods");
        assert!(scrape.value(&format!("{name}_sum{{method=\"put\"}}")).unwrap() > 0.0);
    }
    let refused =
        |reason: &str| scrape.value(&format!("floodway_pushes_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!(refused("malformed"), Some(1.0));
    assert_eq!(refused("bad_key"), Some(1.0));
    assert_eq!(refused("inconsistent"), Some(1.0));
}

#[test]
fn the_store_is_counted() {
    let server = Server::start(&[]);
    server.must_put("/metrics/job/j", "m 1\nn 1\n");
    server.must_put("/metrics/job/k", "m 1\n");
    let scrape = server.scrape();
    assert_eq!(scrape.value("floodway_groups"), Some(2.0));
    assert_eq!(scrape.value("floodway_series"), Some(3.0));
    server.delete("/metrics/job/j").is_empty_with(202);
    let scrape = server.scrape();
    assert_eq!(scrape.value("floodway_groups"), Some(1.0));
    assert_eq!(scrape.value("floodway_series"), Some(1.0));
}

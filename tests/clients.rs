//! Requests byte for byte as known clients write them, and what comes of each.
//!
//! The bytes are what each client's own code makes of the same small registry. `scripts/clients` runs
//! the clients themselves, where they can be had.

mod common;

use common::protobuf::{COUNTER, HISTOGRAM, Message, delimited, family};
use common::{Answer, Connection, Server};

const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Sends a head, whose line ends are written as `\n` here, and a body with its length.
fn exchange(connection: &mut Connection, head: &str, body: &[u8]) -> Answer {
    let mut bytes = head.trim_end().replace('\n', "\r\n").into_bytes();
    bytes.extend_from_slice(format!("\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    connection.write(&bytes);
    connection.answer_to(head.split(' ').next().unwrap())
}

/// The same without a length, in chunks of at most `chunk` bytes.
fn exchange_chunked(connection: &mut Connection, head: &str, body: &[u8], chunk: usize) -> Answer {
    connection.write(
        format!("{}\r\nTransfer-Encoding: chunked\r\n\r\n", head.trim_end().replace('\n', "\r\n")).as_bytes(),
    );
    for piece in body.chunks(chunk) {
        connection.write(format!("{:x}\r\n", piece.len()).as_bytes());
        connection.write(piece);
        connection.write(b"\r\n");
    }
    connection.write(b"0\r\n\r\n");
    connection.answer_to(head.split(' ').next().unwrap())
}

#[test]
fn curl_takes_a_body_for_a_form() {
    let server = Server::start(&[]);
    let head = "POST /metrics/job/some_job/instance/some_instance HTTP/1.1\nHost: 127.0.0.1:9091\nUser-Agent: curl/7.88.1\nAccept: */*\nContent-Type: application/x-www-form-urlencoded\n";
    let body = "# TYPE some_metric counter\nsome_metric{label=\"val1+2%3D&x=y\"} 42\n# TYPE another_metric gauge\n# HELP another_metric Just an example.\nanother_metric 2398.283\n";
    exchange(&mut server.connect(), head, body.as_bytes()).is_empty_with(200);
    assert_eq!(
        server.pushed(),
        "# HELP another_metric Just an example.\n# TYPE another_metric gauge\n\
         another_metric{instance=\"some_instance\",job=\"some_job\"} 2398.283\n\
         # TYPE some_metric counter\n\
         some_metric{instance=\"some_instance\",job=\"some_job\",label=\"val1+2%3D&x=y\"} 42\n"
    );
    let head = "DELETE /metrics/job/some_job/instance/some_instance HTTP/1.1\nHost: 127.0.0.1:9091\nUser-Agent: curl/7.88.1\nAccept: */*\n";
    let mut connection = server.connect();
    connection.write(format!("{}\r\n", head.replace('\n', "\r\n")).as_bytes());
    connection.answer_to("DELETE").is_empty_with(202);
    assert_eq!(server.pushed(), "");
}

#[test]
fn curl_asks_before_it_sends_much() {
    let server = Server::start(&[]);
    let body: String = (0..40_000).map(|number| format!("m{{n=\"{number}\"}} 1.5\n")).collect();
    let mut connection = server.connect();
    connection.write(
        format!(
            "PUT /metrics/job/j HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-Length: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    assert_eq!(connection.answer_to("PUT").status, 100);
    connection.write(body.as_bytes());
    connection.answer_to("PUT").is_empty_with(200);
    // From standard input, its length unknown.
    connection.write(b"PUT /metrics/job/k HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(connection.answer_to("PUT").status, 100);
    connection.write(b"4\r\nn 1\n\r\n0\r\n\r\n");
    connection.answer_to("PUT").is_empty_with(200);
    let scrape = server.scrape();
    assert_eq!(scrape.samples("m").len(), 40_000);
    assert_eq!(scrape.samples("n"), [r#"n{instance="",job="k"} 1"#]);
}

/// `push_to_gateway`, `pushadd_to_gateway`, `delete_from_gateway`.
#[test]
fn python_prometheus_client() {
    let server = Server::start(&[]);
    let head = |method: &str, path: &str| {
        format!(
            "{method} {path} HTTP/1.1\nAccept-Encoding: identity\nHost: localhost:9091\nUser-Agent: Python-urllib/3.11\nContent-Type: {TEXT}\nConnection: close\n"
        )
    };
    let body = "# HELP jobs_total Jobs done\n# TYPE jobs_total counter\njobs_total{kind=\"a b\"} 3.0\n\
        # HELP jobs_created Jobs done\n# TYPE jobs_created gauge\njobs_created{kind=\"a b\"} 1.7000000001234567e+09\n\
        # HELP latency Latency\n# TYPE latency histogram\nlatency_bucket{le=\"0.5\"} 1.0\nlatency_bucket{le=\"+Inf\"} 2.0\nlatency_count 2.0\nlatency_sum 1.25\n";
    let path = "/metrics/job/batch+A/dir@base64/L3Zhci90bXA=/inst/a%3A1/none@base64/=";
    let mut connection = server.connect();
    let answer = exchange(&mut connection, &head("PUT", path), body.as_bytes());
    answer.is_empty_with(200);
    assert_eq!(answer.header("Connection"), Some("close"));
    assert!(connection.rest().is_empty());
    let labels = r#"dir="/var/tmp",inst="a:1",instance="",job="batch+A""#;
    assert_eq!(
        server.pushed(),
        format!(
            "# HELP jobs_created Jobs done\n# TYPE jobs_created gauge\njobs_created{{{labels},kind=\"a b\",none=\"\"}} 1.7000000001234567e+09\n\
             # HELP jobs_total Jobs done\n# TYPE jobs_total counter\njobs_total{{{labels},kind=\"a b\",none=\"\"}} 3\n\
             # HELP latency Latency\n# TYPE latency histogram\nlatency_bucket{{{labels},none=\"\",le=\"0.5\"}} 1\n\
             latency_bucket{{{labels},none=\"\",le=\"+Inf\"}} 2\nlatency_sum{{{labels},none=\"\"}} 1.25\nlatency_count{{{labels},none=\"\"}} 2\n"
        )
    );
    let more = b"# HELP last_success_unixtime Last time\n# TYPE last_success_unixtime gauge\nlast_success_unixtime 1.5e+09\n";
    exchange(&mut server.connect(), &head("POST", path), more).is_empty_with(200);
    assert_eq!(server.scrape().samples("last_success_unixtime").len(), 1);
    assert_eq!(server.scrape().samples("jobs_total").len(), 1);
    exchange(&mut server.connect(), &head("DELETE", path), b"").is_empty_with(202);
    assert_eq!(server.pushed(), "");
}

/// Chunked, without a content type, an empty line between families.
#[test]
fn node_prom_client() {
    let server = Server::start(&[]);
    let body = b"# HELP c h\n# TYPE c counter\nc 1\n\n# HELP g n\n# TYPE g gauge\ng{a=\"b\"} 2\n";
    let head = |method: &str| {
        format!(
            "{method} /metrics/job/node%20app/path/a%3Fb HTTP/1.1\nHost: 127.0.0.1:9091\nConnection: close\n"
        )
    };
    for method in ["PUT", "POST"] {
        exchange_chunked(&mut server.connect(), &head(method), body, 65_536).is_empty_with(200);
        assert_eq!(
            server.pushed(),
            "# HELP c h\n# TYPE c counter\nc{instance=\"\",job=\"node app\",path=\"a?b\"} 1\n\
             # HELP g n\n# TYPE g gauge\ng{a=\"b\",instance=\"\",job=\"node app\",path=\"a?b\"} 2\n"
        );
    }
    let mut connection = server.connect();
    connection.write(format!("{}\r\n", head("DELETE").replace('\n', "\r\n")).as_bytes());
    connection.answer_to("DELETE").is_empty_with(202);
    assert_eq!(server.pushed(), "");
}

/// What client_golang registers, as protobuf: a counter with its start time and a histogram.
fn go_families() -> Vec<u8> {
    let created = || Message::new().uint(1, 1_700_000_000).uint(2, 5);
    let counter =
        Message::new().label("code", "200").message(3, Message::new().double(1, 3.0).message(3, created()));
    let bucket = |count, bound| Message::new().uint(1, count).double(2, bound);
    let histogram = Message::new()
        .uint(1, 2)
        .double(2, 0.5)
        .message(3, bucket(1, 0.1))
        .message(3, bucket(2, 0.5))
        .message(15, created());
    delimited([
        family("c_total", "c", COUNTER, [counter]),
        family("h_seconds", "h", HISTOGRAM, [Message::new().message(7, histogram)]),
    ])
}

/// PUT for `Push`, POST for `Add`; the order of labels differs from call to call.
#[test]
fn client_golang() {
    let server = Server::start(&[]);
    let head = |method: &str, labels: &str| {
        format!(
            "{method} /metrics/job/db_backup{labels} HTTP/1.1\nHost: localhost:9091\nUser-Agent: Go-http-client/1.1\nContent-Type: {PROTOBUF}\nAccept-Encoding: gzip\n"
        )
    };
    let orders = [
        "/instance/i/zone/z/path@base64/L2E/none@base64/=",
        "/none@base64/=/path@base64/L2E/zone/z/instance/i",
    ];
    let mut connection = server.connect();
    for (method, labels) in [("PUT", orders[0]), ("POST", orders[1]), ("PUT", orders[1])] {
        exchange(&mut connection, &head(method, labels), &go_families()).is_empty_with(200);
    }
    let labels = r#"instance="i",job="db_backup",none="",path="/a",zone="z""#;
    assert_eq!(
        server.pushed(),
        format!(
            "# HELP c_total c\n# TYPE c_total counter\nc_total{{code=\"200\",{labels}}} 3\n\
             # HELP h_seconds h\n# TYPE h_seconds histogram\nh_seconds_bucket{{{labels},le=\"0.1\"}} 1\nh_seconds_bucket{{{labels},le=\"0.5\"}} 2\n\
             h_seconds_bucket{{{labels},le=\"+Inf\"}} 2\nh_seconds_sum{{{labels}}} 0.5\nh_seconds_count{{{labels}}} 2\n"
        )
    );
    connection.write(format!("DELETE /metrics/job/db_backup{} HTTP/1.1\r\nHost: localhost:9091\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n", orders[1]).as_bytes());
    connection.answer_to("DELETE").is_empty_with(202);
    assert_eq!(server.pushed(), "");
}

/// Protobuf by default, names of path labels escaped, over Java's own HTTP connection.
#[test]
fn client_java() {
    let server = Server::start(&["--push.enable-utf8-names"]);
    let head = |method: &str, content_type: &str| {
        format!(
            "{method} /metrics/job/my+job/U__host_2e_name/x%3Ay/path@base64/L2E= HTTP/1.1\nContent-Type: {content_type}\nUser-Agent: Java/21.0.5\nHost: localhost:9091\nAccept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\nConnection: keep-alive\n"
        )
    };
    let mut connection = server.connect();
    exchange(&mut connection, &head("PUT", PROTOBUF), &go_families()).is_empty_with(200);
    exchange(&mut connection, &head("POST", TEXT), b"# TYPE g gauge\ng 1.0\n").is_empty_with(200);
    let group = serde_json::json!({"job": "my+job", "host.name": "x:y", "path": "/a"});
    let group = server.group(&group).unwrap();
    assert_eq!(group["c_total"]["metrics"][0]["value"], "3");
    assert_eq!(group["g"]["metrics"][0]["value"], "1");
    exchange(&mut connection, &head("DELETE", PROTOBUF), b"").is_empty_with(202);
    assert_eq!(server.pushed(), "");
}

/// The JDK's newer client offers HTTP/2 with every plain request; the answer is HTTP/1.1.
#[test]
fn java_http_client_offers_h2c() {
    let server = Server::start(&[]);
    let head = "POST /metrics/job/test HTTP/1.1\nConnection: Upgrade, HTTP2-Settings\nHost: localhost:9091\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\nUpgrade: h2c\nUser-Agent: Java-http-client/17.0.9\nContent-Type: text/plain\n";
    let mut connection = server.connect();
    for number in 0..3 {
        let body = format!("elements_count {number}\nmax_delay_ms 0.5\n");
        let answer = exchange(&mut connection, head, body.as_bytes());
        answer.is_empty_with(200);
        assert_eq!(answer.version, "HTTP/1.1");
    }
    assert_eq!(
        server.pushed(),
        "# TYPE elements_count untyped\nelements_count{instance=\"\",job=\"test\"} 2\n\
         # TYPE max_delay_ms untyped\nmax_delay_ms{instance=\"\",job=\"test\"} 0.5\n"
    );
    // What it makes of a counter without a value, of names that are no metric names, of a name twice.
    for (body, text) in [
        (
            "a 1\nelements null\n",
            "text format parsing error in line 2: expected float as value, got \"null\"",
        ),
        ("my-counter 1\n", "text format parsing error in line 1: expected float as value, got \"-counter\""),
        ("my counter 1\n", "text format parsing error in line 1: expected float as value, got \"counter\""),
    ] {
        exchange(&mut connection, head, body.as_bytes()).is_error(400, text);
    }
    assert_eq!(exchange(&mut connection, head, b"a 1\na 2\n").status, 400);
    assert_eq!(server.scrape().samples("elements_count").len(), 1);
}

/// POST for `Push`, PUT for `PushAdd`; its own spelling of numbers.
#[test]
fn prometheus_cpp() {
    let server = Server::start(&[]);
    let head = |method: &str| {
        format!(
            "{method} /metrics/job/sample_client/instance/host HTTP/1.1\nHost: 127.0.0.1:9091\nAccept: */*\nContent-Type: {TEXT}\n"
        )
    };
    let body = b"# HELP c_total h\n# TYPE c_total counter\nc_total{x=\"y\"} 1\n# HELP s s\n# TYPE s summary\ns_count 1\ns_sum 0.10000000000000001\ns{quantile=\"0.5\"} Nan\n";
    let mut connection = server.connect();
    exchange(&mut connection, &head("POST"), body).is_empty_with(200);
    exchange(&mut connection, &head("POST"), b"# HELP u \n# TYPE u untyped\nu 17\n").is_empty_with(200);
    let labels = r#"instance="host",job="sample_client""#;
    assert_eq!(
        server.pushed(),
        format!(
            "# HELP c_total h\n# TYPE c_total counter\nc_total{{{labels},x=\"y\"}} 1\n\
             # HELP s s\n# TYPE s summary\ns{{{labels},quantile=\"0.5\"}} NaN\ns_sum{{{labels}}} 0.1\ns_count{{{labels}}} 1\n\
             # TYPE u untyped\nu{{{labels}}} 17\n"
        )
    );
    exchange(&mut connection, &head("PUT"), b"# TYPE u untyped\nu 18\n").is_empty_with(200);
    assert_eq!(server.pushed(), format!("# TYPE u untyped\nu{{{labels}}} 18\n"));
    connection.write(b"DELETE /metrics/job/sample_client/instance/host HTTP/1.1\r\nHost: 127.0.0.1:9091\r\nAccept: */*\r\n\r\n");
    connection.answer_to("DELETE").is_empty_with(202);
}

/// Protobuf by POST over reqwest, header names in lower case.
#[test]
fn rust_prometheus() {
    let server = Server::start(&[]);
    let head = format!(
        "POST /metrics/job/example/instance/i HTTP/1.1\ncontent-type: {PROTOBUF}\naccept: */*\nhost: 127.0.0.1:9091\n"
    );
    let metric = Message::new().label("z", "1").label("a", "2").message(3, Message::new().double(1, 1.0));
    exchange(&mut server.connect(), &head, &delimited([family("c", "h", COUNTER, [metric])]))
        .is_empty_with(200);
    assert_eq!(
        server.pushed(),
        "# HELP c h\n# TYPE c counter\nc{a=\"2\",instance=\"i\",job=\"example\",z=\"1\"} 1\n"
    );
}

/// The .NET client sends small chunks on a kept connection, and an empty line at the end.
#[test]
fn dotnet_prometheus_net() {
    let server = Server::start(&[]);
    let head =
        format!("POST /metrics/job/j/instance/i HTTP/1.1\nHost: localhost:9091\nContent-Type: {TEXT}\n");
    let mut connection = server.connect();
    for number in 0..4 {
        let body = format!("# HELP m h\n# TYPE m gauge\nm {number}\n\n");
        exchange_chunked(&mut connection, &head, body.as_bytes(), 16).is_empty_with(200);
        assert_eq!(server.scrape().samples("m"), [format!("m{{instance=\"i\",job=\"j\"}} {number}")]);
    }
}

/// Examples for Python's `requests`: two groups of one job, pushed, replaced, and one of them deleted.
#[test]
fn python_requests_with_two_groups() {
    let server = Server::start(&[]);
    let head = |method: &str, instance: &str| {
        format!(
            "{method} /metrics/job/video_processing/instance/{instance} HTTP/1.1\nHost: localhost:9091\nUser-Agent: python-requests/2.32.3\nAccept-Encoding: gzip, deflate\nAccept: */*\nConnection: keep-alive\n"
        )
    };
    let body = |latency: f64, count: u32| {
        format!(
            "# TYPE processing_time_seconds gauge\nprocessing_time_seconds{{quality=\"hd\"}} {latency}\n# TYPE processed_videos_total counter\nprocessed_videos_total{{status=\"success\"}} {count}\n"
        )
    };
    let mut connection = server.connect();
    exchange(&mut connection, &head("POST", "mp4_node1"), body(1.5, 10).as_bytes()).is_empty_with(200);
    exchange(&mut connection, &head("POST", "mov_node1"), body(2.5, 20).as_bytes()).is_empty_with(200);
    let line = |instance: &str, value: u32| {
        format!(
            "processed_videos_total{{instance=\"{instance}\",job=\"video_processing\",status=\"success\"}} {value}"
        )
    };
    assert_eq!(
        server.scrape().samples("processed_videos_total"),
        [line("mov_node1", 20), line("mp4_node1", 10)]
    );
    // POST leaves the other family alone; PUT does not.
    let one = b"# TYPE processed_videos_total counter\nprocessed_videos_total{status=\"success\"} 11\n";
    exchange(&mut connection, &head("POST", "mp4_node1"), one).is_empty_with(200);
    assert_eq!(server.scrape().samples("processing_time_seconds").len(), 2);
    exchange(&mut connection, &head("PUT", "mp4_node1"), one).is_empty_with(200);
    let scrape = server.scrape();
    assert_eq!(scrape.samples("processing_time_seconds").len(), 1);
    assert_eq!(scrape.samples("processed_videos_total"), [line("mov_node1", 20), line("mp4_node1", 11)]);
    // Without the final line feed, which is the usual mistake, the body is refused.
    let cut = exchange(&mut connection, &head("POST", "mp4_node1"), b"some_metric 3.14");
    cut.is_error(400, "text format parsing error in line 1: unexpected end of input stream");
    exchange(&mut connection, &head("DELETE", "mp4_node1"), b"").is_empty_with(202);
    assert_eq!(server.scrape().samples("processed_videos_total"), [line("mov_node1", 20)]);
    exchange(&mut connection, &head("DELETE", "mov_node1"), b"").is_empty_with(202);
    assert_eq!(server.pushed(), "");
}

/// Ruby's Net::HTTP, wget, and Java's older simpleclient, which spells every path part in base64.
#[test]
fn further_clients_that_push_text() {
    let server = Server::start(&[]);
    for (number, headers) in [
        "Content-Type: text/plain; version=0.0.4\nAccept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3\nAccept: */*\nUser-Agent: Ruby\nConnection: close\n",
        "User-Agent: Wget/1.21.3\nAccept: */*\nAccept-Encoding: identity\nConnection: Keep-Alive\nContent-Type: application/x-www-form-urlencoded\n",
        "Content-Type: text/plain; version=0.0.4; charset=utf-8\nUser-Agent: Java/17.0.9\nAccept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\nConnection: keep-alive\n",
    ]
    .into_iter()
    .enumerate()
    {
        let head = format!("PUT /metrics/job@base64/YQ/instance@base64/aS8x HTTP/1.1\nHost: h\n{headers}");
        let body = format!("# HELP m h\n# TYPE m gauge\nm {number}.0\n");
        exchange(&mut server.connect(), &head, body.as_bytes()).is_empty_with(200);
        assert_eq!(server.scrape().samples("m"), [format!("m{{instance=\"i/1\",job=\"a\"}} {number}")]);
    }
}

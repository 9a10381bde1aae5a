//! Pushes in every form over real sockets, and what is exposed of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use floodway::config::Info;
use floodway::gateway::{Gateway, Settings};
use floodway::http::aside::Aside;
use floodway::http::config::HttpConfig;
use floodway::http::encoding::Decoders;
use floodway::http::handler::{Frontend, Site};
use floodway::http::route::Routes;
use floodway::server::{Listen, Server};
use floodway::telemetry::Telemetry;

const OPENMETRICS: &str = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";

/// Runs `test` against a gateway, and stops it afterwards.
fn with_gateway(settings: Settings, push_status: u16, test: impl FnOnce(SocketAddr)) {
    let server = Server::bind(&Listen::Addresses(vec!["127.0.0.1:0".to_owned()]), 1).unwrap();
    let address = server.addresses()[0];
    let gateway = Arc::new(Gateway::new(settings, Arc::new(Telemetry::new(1))).unwrap());
    let decoders = Arc::new(Decoders::start(4 << 20).unwrap());
    let routes = Arc::new(Routes {
        prefix: String::new(),
        telemetry_path: "/metrics".to_owned(),
        lifecycle: true,
        admin_api: false,
        bare_pushes: false,
    });
    let site = Arc::new(Site::new(gateway.clone(), Arc::new(Info::default()), false).unwrap());
    let aside = Aside::start().unwrap();
    let frontend = move |quit| Frontend {
        gateway: gateway.clone(),
        decoders: decoders.clone(),
        routes: routes.clone(),
        site: site.clone(),
        aside: aside.clone(),
        push_status,
        quit,
        doorkeeper: None,
    };
    let serving =
        std::thread::spawn(move || server.serve(&HttpConfig::default(), Arc::new(frontend)).unwrap());
    test(address);
    request(address, "PUT", "/-/quit", "", b"");
    serving.join().unwrap();
}

/// Status and body of the answer.
fn request(server: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let mut client = TcpStream::connect(server).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn put(server: SocketAddr, job: &str, headers: &str, body: &[u8]) -> (u16, String) {
    request(server, "PUT", &format!("/metrics/job/{job}"), headers, body)
}

/// The exposed lines that hold `part`.
fn exposed(server: SocketAddr, part: &str) -> Vec<String> {
    let (_, body) = request(server, "GET", "/metrics", "", b"");
    body.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_coding_is_taken_and_damage_is_not_stored() {
    with_gateway(Settings::default(), 200, |server| {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"m 1\n").unwrap();
        let mut frames = snap::write::FrameEncoder::new(Vec::new());
        frames.write_all(b"m 1\n").unwrap();
        let block = snap::raw::Encoder::new().compress_vec(b"m 1\n").unwrap();
        for (job, coding, body) in [
            ("gzip", "GZIP", gzip(b"m 1\n")),
            ("zlib", "deflate", zlib.finish().unwrap()),
            ("zstd", "zstd", zstd::bulk::compress(b"m 1\n", 3).unwrap()),
            ("frames", "snappy", frames.into_inner().unwrap()),
            ("block", "snappy", block),
        ] {
            let header = format!("Content-Encoding: {coding}\r\n");
            let cut = put(server, &format!("cut-{job}"), &header, &body[..body.len() - 1]);
            assert_eq!(cut.0, 400, "{job}: {}", cut.1);
            assert_eq!(put(server, job, &header, &body), (200, String::new()));
            assert_eq!(exposed(server, &format!("m{{instance=\"\",job=\"{job}\"}}")).len(), 1);
        }
        assert_eq!(exposed(server, "cut-"), [""; 0]);
        let (status, text) = put(server, "br", "Content-Encoding: br\r\n", b"m 1\n");
        let taken = "unsupported Content-Encoding, supported are gzip, deflate, zstd, snappy, identity\n";
        assert_eq!((status, &*text), (415, taken));
        let bomb = gzip(&vec![b'\n'; (4 << 20) + 1]);
        assert_eq!(put(server, "bomb", "Content-Encoding: gzip\r\n", &bomb).0, 413);
        // Large enough for a helper.
        let large = gzip(&"m{l=\"x\"} 1\n".repeat(2).into_bytes().repeat(100_000));
        assert_eq!(put(server, "large", "Content-Encoding: gzip\r\n", &large).0, 400);
        let large: String = (0..100_000).map(|number| format!("m{{l=\"{number}\"}} 1\n")).collect();
        assert_eq!(put(server, "large", "Content-Encoding: gzip\r\n", &gzip(large.as_bytes())).0, 200);
        assert_eq!(exposed(server, "job=\"large\",l=").len(), 100_000);
    });
}

#[test]
fn the_head_of_gzip_comes_before_the_route() {
    with_gateway(Settings::default(), 200, |server| {
        let header = "Content-Encoding: gzip\r\n";
        let whole = gzip(b"");
        for (method, path, sound) in [
            ("GET", "/metrics", 200),
            ("PUT", "/nope", 404),
            ("DELETE", "/metrics/job/x", 202),
            ("GET", "/-/ready", 200),
        ] {
            assert_eq!(request(server, method, path, header, b""), (400, "EOF\n".to_owned()), "{path}");
            let text = "gzip: invalid header\n".to_owned();
            assert_eq!(request(server, method, path, header, b"eleven bytes"), (400, text), "{path}");
            assert_eq!(request(server, method, path, header, &whole).0, sound, "{path}");
        }
        // The API does not look.
        assert_eq!(request(server, "GET", "/api/v1/status", header, b"").0, 200);
        assert_eq!(request(server, "PUT", "/metrics/job@base64/%%", header, b"").0, 400);
    });
}

#[test]
fn openmetrics_is_understood_and_plain_text_under_its_name() {
    with_gateway(Settings::default(), 200, |server| {
        let body = "# TYPE c counter\n# HELP c Done.\nc_total 3 # {trace=\"t\"} 1 1.5\nc_created 7\n# TYPE i info\ni_info{v=\"1\"} 1\n# EOF\n";
        assert_eq!(put(server, "om", OPENMETRICS, body.as_bytes()).0, 200);
        assert_eq!(
            exposed(server, "c_"),
            exposed(server, "c_total"),
            "the created time is no series of its own"
        );
        let lines = exposed(server, "c_total");
        for line in ["# HELP c_total Done.", "# TYPE c_total counter", "c_total{instance=\"\",job=\"om\"} 3"]
        {
            assert!(lines.iter().any(|other| other == line), "{line}: {lines:?}");
        }
        assert!(exposed(server, "i_info").contains(&"i_info{instance=\"\",job=\"om\",v=\"1\"} 1".to_owned()));

        let plain = "# A comment.\n# TYPE p counter\np 1\n\n# TYPE q untyped\nq 2\n";
        assert_eq!(put(server, "plain", OPENMETRICS, plain.as_bytes()).0, 200);
        assert_eq!(exposed(server, "# TYPE p "), ["# TYPE p counter"]);

        for (body, answer) in [
            ("c_total 1\n# EOF\nc_total 2\n", "OpenMetrics parsing error in line 3: data after # EOF\n"),
            ("x y\n", "OpenMetrics parsing error in line 1: expected float as value, got \"y\"\n"),
            (
                "x 1 5.5\n# EOF\n",
                "pushed metrics are invalid or inconsistent with existing metrics: pushed metrics must not have timestamps\n",
            ),
            (
                "x 1 5\n",
                "pushed metrics are invalid or inconsistent with existing metrics: pushed metrics must not have timestamps\n",
            ),
        ] {
            let (status, text) = put(server, "bad", OPENMETRICS, body.as_bytes());
            assert_eq!((status, &*text), (400, answer), "{body}");
        }
    });
}

#[test]
fn lenience_is_asked_for_and_counted() {
    let bodies = ["# TYPE x gauge\r\nx 1\r\n", "x 1", "x 1 1700000000\n"];
    with_gateway(Settings::default(), 200, |server| {
        for body in bodies {
            assert_eq!(put(server, "strict", "", body.as_bytes()).0, 400, "{body}");
        }
        assert_eq!(
            exposed(server, "floodway_push_lenience_total{kind=\"crlf\"}"),
            ["floodway_push_lenience_total{kind=\"crlf\"} 0"]
        );
    });
    with_gateway(Settings { lenient: true, ..Settings::default() }, 200, |server| {
        for body in bodies {
            assert_eq!(put(server, "lenient", "", body.as_bytes()), (200, String::new()), "{body}");
            assert_eq!(exposed(server, "x{"), ["x{instance=\"\",job=\"lenient\"} 1"]);
        }
        assert_eq!(put(server, "lenient", OPENMETRICS, b"x 2 5.5\n# EOF\n").0, 200);
        assert_eq!(put(server, "lenient", "", b"x 3\n").0, 200);
        // What is only tried out is forgiven, too, and not counted.
        for (content_type, body) in [("", "x 1\r\n"), ("", "x 1"), (OPENMETRICS, "x 2 5.5\n# EOF\n")] {
            let (_, text) =
                request(server, "PUT", "/api/v1/validate/job/lenient", content_type, body.as_bytes());
            assert!(text.contains("\"accepted\":true"), "{text}");
        }
        let (status, text) = put(server, "lenient", "", b"x 1\r\ny z");
        assert_eq!(
            (status, &*text),
            (400, "text format parsing error in line 2: expected float as value, got \"z\"\n")
        );
        assert_eq!(
            exposed(server, "floodway_push_lenience_total{"),
            [("crlf", 1), ("final_newline", 1), ("timestamp", 2)]
                .map(|(kind, count)| format!("floodway_push_lenience_total{{kind=\"{kind}\"}} {count}"))
        );
    });
}

#[test]
fn the_status_of_success() {
    with_gateway(Settings::default(), 202, |server| {
        assert_eq!(put(server, "a", "", b"x 1\n"), (202, String::new()));
        assert_eq!(put(server, "a", "", b"x y\n").0, 400);
        assert_eq!(request(server, "DELETE", "/metrics/job/a", "", b"").0, 202);
    });
    with_gateway(Settings { check_consistency: false, ..Settings::default() }, 200, |server| {
        assert_eq!(put(server, "a", "", b"x 1\n").0, 202);
    });
    with_gateway(Settings::default(), 200, |server| {
        assert_eq!(put(server, "a", "", b"x 1\n").0, 200);
        assert_eq!(request(server, "DELETE", "/metrics/job/a", "", b"").0, 202);
    });
}

#[test]
fn openmetrics_is_answered_only_where_it_is_offered() {
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let body = b"# TYPE c counter\nc_total 3 # {trace=\"t\"} 1.0 1.5\n# EOF\n";
    for offers_openmetrics in [false, true] {
        with_gateway(Settings { offers_openmetrics, ..Settings::default() }, 200, |server| {
            assert_eq!(put(server, "om", OPENMETRICS, body).0, 200);
            let (_, text) = request(server, "GET", "/metrics", accept, b"");
            let line = "# TYPE c counter\nc_total{instance=\"\",job=\"om\"} 3.0 # {trace=\"t\"} 1.0 1.5\n";
            assert_eq!(text.contains(line), offers_openmetrics, "{text}");
            assert_eq!(text.ends_with("\n# EOF\n"), offers_openmetrics);
        });
    }
}

//! `--web.config.file` from outside: passwords, headers, rate limit, TLS, client certificates, reload.

mod common;
mod tls_support;

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};

use common::{PATIENCE, request_bytes, run};
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls::version::{TLS12, TLS13};
use tls_support::{ALICE, Folder, OPENSESAME, eventually};

#[test]
fn every_path_wants_the_password_and_answers_with_the_headers() {
    let folder = Folder::new("password");
    let server = folder.serve(&format!(
        "basic_auth_users:\n  {ALICE}\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n"
    ));
    let wrong = ("Authorization", "Basic YWxpY2U6d3Jvbmc=");
    for (method, path) in
        [("GET", "/metrics"), ("PUT", "/metrics/job/a"), ("GET", "/-/ready"), ("GET", "/nope")]
    {
        for headers in [&[][..], &[wrong], &[wrong]] {
            let answer = server.send(method, path, headers, b"");
            answer.is_error(401, "Unauthorized");
            assert_eq!(answer.header("Www-Authenticate"), Some("Basic"));
            assert_eq!(answer.header("X-Frame-Options"), Some("deny"));
        }
    }
    let mut connection = server.connect();
    assert_eq!(connection.send("PUT", "/metrics/job/a", &[], b"lost 1\n").status, 401);
    assert_eq!(connection.send("PUT", "/metrics/job/a", &[OPENSESAME], b"kept 1\n").status, 200);
    let scrape = connection.send("GET", "/metrics", &[OPENSESAME], b"");
    assert!(scrape.text().contains("\nkept{") && !scrape.text().contains("\nlost{"));
    for answer in [scrape, connection.send("GET", "/nope", &[OPENSESAME], b"")] {
        assert_eq!(answer.header("X-Frame-Options"), Some("deny"), "{}", answer.status);
    }
}

#[test]
fn the_rate_limit_answers_without_the_headers() {
    let folder = Folder::new("rate");
    let server = folder.serve(
        "rate_limit: {interval: 1h, burst: 2}\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n",
    );
    assert_eq!(server.get("/-/ready").header("X-Frame-Options"), Some("deny"));
    assert_eq!(server.get("/-/ready").status, 200);
    let answer = server.get("/-/ready");
    answer.is_error(429, "Too Many Requests");
    assert_eq!(answer.header("X-Frame-Options"), None);
    eventually(|| server.log().contains("Rate Limiter is enabled.\" burst=2 interval=1h0m0s"));
}

#[test]
fn a_changed_file_is_read_again_and_a_bad_one_is_not_taken() {
    let folder = Folder::new("reload");
    let server = folder.serve("");
    assert_eq!(server.get("/-/ready").status, 200);
    folder.write("web.yml", &format!("basic_auth_users:\n  {ALICE}\n"));
    eventually(|| server.get("/-/ready").status == 401);
    folder.write("web.yml", "nope: 1\n");
    server.signal(libc::SIGHUP);
    eventually(|| server.log().contains("field nope not found in type web.Config"));
    assert_eq!(server.get("/-/ready").status, 401);
    assert_eq!(server.send("GET", "/-/ready", &[OPENSESAME], b"").status, 200);
    folder.write("web.yml", "# open again\n");
    server.signal(libc::SIGHUP);
    eventually(|| server.get("/-/ready").status == 200);
}

#[test]
fn a_bad_file_at_start_ends_the_program() {
    let folder = Folder::new("bad");
    let ends_with = |said: &str| {
        let output = run(&["--web.listen-address=127.0.0.1:0", &folder.flag()]);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains("HTTP server stopped") && log.contains(said), "{log}");
        assert!(!log.contains("Listening on"), "{log}");
    };
    ends_with("web.yml: no such file or directory");
    folder.write("web.yml", "tls_server_config: {cert_file: c.pem, key_file: k.pem}");
    ends_with("failed to read cert_file (");
    for (name, text) in [("c.pem", "x"), ("k.pem", "y")] {
        folder.write(name, text);
    }
    ends_with("failed to parse X509KeyPair: ");
}

#[test]
fn pushes_and_scrapes_over_tls() {
    let folder = Folder::new("tls");
    folder.certify();
    let server = folder.serve(&format!(
        "tls_server_config: {{cert_file: server.pem, key_file: server.key}}\nbasic_auth_users:\n  {ALICE}\n"
    ));
    let mut body = String::new();
    for number in 0..20_000 {
        body += &format!("over_tls{{i=\"{number}\"}} {number}\n");
    }
    let mut requests = request_bytes("PUT", "/metrics/job/t", &[OPENSESAME], body.as_bytes());
    requests.extend(request_bytes("GET", "/metrics", &[OPENSESAME, ("Connection", "close")], b""));
    let answers = folder.tls(server.address, None, &requests).unwrap();
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers:.200}");
    assert_eq!(answers.matches("\nover_tls{").count(), 20_000);
    server.must_log("msg=\"TLS is enabled.\" http2=false");

    let clear = server.raw(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(clear, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");

    folder.write("web.yml", "# no TLS\n");
    server.signal(libc::SIGHUP);
    eventually(|| server.log().contains("TLS can only be turned on or off by a restart"));
    assert!(server.raw(b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.0 400"));
}

#[test]
fn client_certificates_open_the_door_by_authority_and_name() {
    let folder = Folder::new("clients");
    folder.certify();
    let config = |rest: &str| {
        format!(
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_ca_file: ca.pem\n{rest}"
        )
    };
    let server = folder.serve(&config("  client_auth_type: RequireAndVerifyClientCert\n"));
    let ready = request_bytes("GET", "/-/ready", &[("Connection", "close")], b"");
    let is_let_in = |certificate: Option<&str>| {
        folder.tls(server.address, certificate, &ready).is_ok_and(|answer| answer.ends_with("OK"))
    };
    assert!(!is_let_in(None));
    assert!(is_let_in(Some("good")) && is_let_in(Some("other")));

    let allowed = "  client_allowed_sans: ['spiffe://x/good']\n";
    folder.write("web.yml", &config(&format!("  client_auth_type: VerifyClientCertIfGiven\n{allowed}")));
    eventually(|| is_let_in(None));
    assert!(is_let_in(Some("good")) && !is_let_in(Some("other")));

    folder.write("web.yml", &config("  client_auth_type: RequireAnyClientCert\n"));
    eventually(|| !is_let_in(None));
    assert!(is_let_in(Some("good")) && is_let_in(Some("other")));
}

/// Whether a client that knows only these versions, suites and curves is let in.
fn agrees(
    folder: &Folder,
    server: SocketAddr,
    versions: &[&'static rustls::SupportedProtocolVersion],
    suite: Option<rustls::SupportedCipherSuite>,
    curve: Option<&'static dyn rustls::crypto::SupportedKxGroup>,
) -> bool {
    let mut provider = default_provider();
    provider.cipher_suites.retain(|known| suite.is_none_or(|suite| *known == suite));
    provider.kx_groups.retain(|known| curve.is_none_or(|curve| known.name() == curve.name()));
    let ready = request_bytes("GET", "/-/ready", &[("Connection", "close")], b"");
    folder.tls_by(provider, versions, server, None, &ready).is_ok_and(|answer| answer.ends_with("OK"))
}

#[test]
fn versions_suites_and_curves_are_those_of_the_file() {
    let folder = Folder::new("agree");
    folder.certify();
    let config =
        |rest: &str| format!("tls_server_config: {{cert_file: server.pem, key_file: server.key, {rest}}}\n");
    let any = [&TLS12, &TLS13];
    let server = folder.serve(&config("prefer_server_cipher_suites: true"));
    let address = server.address;
    let by_version = |version| agrees(&folder, address, &[version], None, None);
    assert!(by_version(&TLS12) && by_version(&TLS13));

    folder.write("web.yml", &config("min_version: TLS13"));
    eventually(|| !by_version(&TLS12));
    assert!(by_version(&TLS13));
    folder.write("web.yml", &config("max_version: TLS12"));
    eventually(|| by_version(&TLS12));
    assert!(!by_version(&TLS13));

    let small = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let large = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    let by_suite = |suite| agrees(&folder, address, &[&TLS12], Some(suite), None);
    assert!(by_suite(small) && by_suite(large));
    folder.write("web.yml", &config("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"));
    eventually(|| !by_suite(large));
    assert!(by_suite(small));

    let by_curve = |curve| agrees(&folder, address, &any, None, Some(curve));
    assert!(by_curve(kx_group::X25519) && by_curve(kx_group::SECP384R1));
    folder.write("web.yml", &config("curve_preferences: [CurveP384, CurveP256]"));
    eventually(|| !by_curve(kx_group::X25519));
    assert!(by_curve(kx_group::SECP384R1) && by_curve(kx_group::SECP256R1));
}

#[test]
fn certificates_keys_and_authorities_may_stand_in_the_file() {
    let folder = Folder::new("inline");
    folder.certify();
    let server = folder.serve(&format!(
        "tls_server_config:\n  client_auth_type: RequireAndVerifyClientCert\n  cert: |\n{}  key: |\n{}  client_ca: |\n{}",
        folder.inline("server.pem"),
        folder.inline("server.key"),
        folder.inline("ca.pem"),
    ));
    let ready = request_bytes("GET", "/-/ready", &[("Connection", "close")], b"");
    assert!(folder.tls(server.address, Some("good"), &ready).unwrap().ends_with("OK"));
    assert!(folder.tls(server.address, None, &ready).is_err());
}

#[test]
fn a_certificate_may_be_asked_for_without_being_wanted() {
    let folder = Folder::new("request");
    folder.certify();
    let server = folder.serve(
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequestClientCert}\n",
    );
    let ready = request_bytes("GET", "/-/ready", &[("Connection", "close")], b"");
    for certificate in [None, Some("good"), Some("server")] {
        assert!(folder.tls(server.address, certificate, &ready).unwrap().ends_with("OK"), "{certificate:?}");
    }
}

#[test]
fn each_header_of_the_file_is_answered() {
    let headers = [
        ("Strict-Transport-Security", "max-age=3600"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "sameorigin"),
        ("X-XSS-Protection", "0"),
        ("Content-Security-Policy", "default-src 'self'"),
    ];
    let folder = Folder::new("headers");
    let lines: String = headers.iter().map(|(name, value)| format!("    {name}: \"{value}\"\n")).collect();
    let server = folder.serve(&format!("http_server_config:\n  http2: true\n  headers:\n{lines}"));
    for path in ["/metrics", "/", "/nope"] {
        let answer = server.get(path);
        for (name, value) in headers {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
}

/// What a file names that was refused is looked at again when it comes.
#[test]
fn a_missing_certificate_that_comes_later_is_taken() {
    let folder = Folder::new("later");
    folder.certify();
    let server = folder.serve("tls_server_config: {cert_file: server.pem, key_file: server.key}\n");
    let ready = request_bytes("GET", "/-/ready", &[("Connection", "close")], b"");
    let answer = || folder.tls(server.address, None, &ready).unwrap();
    folder.write(
        "web.yml",
        "tls_server_config: {cert_file: new.pem, key_file: new.key}\n\
         http_server_config: {headers: {X-Frame-Options: deny}}\n",
    );
    eventually(|| server.log().contains("new.pem: no such file or directory"));
    assert!(!answer().contains("X-Frame-Options"));
    for end in ["key", "pem"] {
        let text = fs::read_to_string(folder.0.join(format!("server.{end}"))).unwrap();
        folder.write(&format!("new.{end}"), &text);
    }
    eventually(|| answer().contains("\r\nX-Frame-Options: deny\r\n"));
}

/// A connection to the server from an address of ours.
fn connect_from(address: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::from(address), 0).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// The status of the answer to a request with this login.
fn login(stream: &mut TcpStream, credentials: &str) -> String {
    let authorization = format!("Basic {credentials}");
    let headers = [("Authorization", &*authorization), ("Connection", "close")];
    stream.write_all(&request_bytes("GET", "/-/ready", &headers, b"")).unwrap();
    String::from_utf8_lossy(&read_all(stream)).into_owned()
}

fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset counts as a close.
    let _ = std::io::Read::read_to_end(stream, &mut bytes);
    bytes
}

/// Few passwords of an address wait to be compared; others pass it by, and the thread that compares them makes
/// way for those that serve.
#[test]
fn a_flood_of_wrong_passwords_is_429_and_passed_by() {
    let folder = Folder::new("flood");
    // An unknown user takes as long as the dearest one.
    let server = folder.serve(&format!(
        "basic_auth_users:\n  {ALICE}\n  dear: $2b$12$abcdefghijklmnopqrstuuFuhxWRTXIsURoluSTZ1N4tYaWGn9oOi\n"
    ));
    let mut flood: Vec<TcpStream> = (0..60).map(|_| connect_from([127, 0, 0, 1], server.address)).collect();
    for (number, stream) in flood.iter_mut().enumerate() {
        // USER:PASSWORD in base 64, each another one.
        let credentials =
            format!("Basic bm9ib2R5Ong{}=", ["A", "B", "C", "D"][number % 4].repeat(4 * number));
        let headers = [("Authorization", &*credentials), ("Connection", "close")];
        stream.write_all(&request_bytes("GET", "/-/ready", &headers, b"")).unwrap();
    }
    let mut other = connect_from([127, 0, 0, 2], server.address);
    let first = login(&mut other, "YWxpY2U6b3BlbnNlc2FtZQ==");
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    // Remembered from now on, so that a flood does not matter to it at all.
    let mut same = connect_from([127, 0, 0, 1], server.address);
    assert!(login(&mut same, "YWxpY2U6b3BlbnNlc2FtZQ==").starts_with("HTTP/1.1 200 "));

    let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    let hashers: Vec<String> = tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("stat")).unwrap())
        .filter(|stat| stat.contains("(hasher)"))
        .collect();
    assert_eq!(hashers.len(), 1);
    for stat in hashers {
        // The 41st field of proc(5), counted behind the name: SCHED_IDLE is 5.
        let policy = stat.rsplit(") ").next().unwrap().split(' ').nth(38);
        assert_eq!(policy, Some("5"), "{stat}");
    }

    let mut refused = 0;
    for stream in &mut flood {
        let answer = String::from_utf8(read_all(stream)).unwrap();
        if answer.starts_with("HTTP/1.1 429 ") {
            assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
            assert!(
                answer.ends_with("too many passwords wait to be compared, try again later\n"),
                "{answer}"
            );
            refused += 1;
        } else {
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        }
    }
    assert!((1..=44).contains(&refused), "{refused} of 60 were refused");
}

/// Rejects everything, saying who asked.
#[cfg(feature = "plugins")]
const TELLS: &str = "return { api = 1, on_request = function(req)
  return gate.reject(418, table.concat({ tostring(req.user), tostring(req.tls), tostring(req.cert_name) }, ' '))
end }";

#[cfg(feature = "plugins")]
#[test]
fn plugins_know_who_was_verified() {
    let folder = Folder::new("web-plugins");
    folder.certify();
    folder.write("p.lua", TELLS);
    let web = |more: &str| {
        format!(
            "tls_server_config: {{cert_file: server.pem, key_file: server.key{more}}}\nbasic_auth_users: {{{ALICE}}}\n"
        )
    };
    let authorized = request_bytes("PUT", "/metrics/job/j", &[OPENSESAME, ("Connection", "close")], b"m 1\n");
    let plugins = format!("--plugin.dir={}", folder.0.display());
    let verified = ", client_ca_file: ca.pem, client_auth_type: VerifyClientCertIfGiven";
    let unverified = ", client_auth_type: RequestClientCert";
    for (client_auth, certificate, told) in [
        ("", None, "alice true nil"),
        (verified, Some("good"), "alice true a"),
        (verified, Some("other"), "alice true spiffe"),
        (verified, Some("server"), "alice true localhost"),
        (verified, None, "alice true nil"),
        (unverified, Some("good"), "alice true nil"),
    ] {
        folder.write("web.yml", &web(client_auth));
        let server = common::Server::start(&[&folder.flag(), &plugins]);
        // A password is compared once, and known afterwards.
        for _ in 0..2 {
            let answer = folder.tls(server.address, certificate, &authorized).unwrap();
            assert!(answer.contains(&format!("push rejected by plugin p: {told}\n")), "{told}: {answer}");
        }
    }
}

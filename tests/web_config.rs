//! `--web.config.file` from outside: passwords, headers, rate limit, TLS, client certificates, reload.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, Server, request_bytes, run};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const ALICE: &str = "alice: $2b$04$abcdefghijklmnopqrstuuFuhxWRTXIsURoluSTZ1N4tYaWGn9oOi";
const OPENSESAME: (&str, &str) = ("Authorization", "Basic YWxpY2U6b3BlbnNlc2FtZQ==");

/// A folder that is removed when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("floodway-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        // Renamed into place, so that nobody reads half of it.
        let draft = self.0.join(format!("{name}.draft"));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.0.join(name)).unwrap();
    }

    fn flag(&self) -> String {
        format!("--web.config.file={}/web.yml", self.0.display())
    }

    fn serve(&self, text: &str) -> Server {
        self.write("web.yml", text);
        Server::start(&[&self.flag()])
    }

    /// An authority, and certificates by it for a server and two clients.
    fn certify(&self) {
        self.write(
            "openssl.cnf",
            "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n\
             [server]\nbasicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n\
             [good]\nbasicConstraints=CA:FALSE\nsubjectAltName=DNS:a,URI:spiffe://x/good\n\
             [other]\nbasicConstraints=CA:FALSE\nsubjectAltName=DNS:spiffe\n",
        );
        for name in ["ca", "server", "good", "other"] {
            let mut openssl = Command::new("openssl");
            openssl.current_dir(&self.0).args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"]);
            openssl.args([
                "ec_paramgen_curve:P-256",
                "-days",
                "30",
                "-config",
                "openssl.cnf",
                "-extensions",
                name,
            ]);
            openssl.args(["-subj", &format!("/CN={name}"), "-keyout", &format!("{name}.key"), "-out"]);
            openssl.arg(format!("{name}.pem"));
            if name != "ca" {
                openssl.args(["-CA", "ca.pem", "-CAkey", "ca.key"]);
            }
            let output = openssl.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// What a client that trusts our authority reads until the server closes; `certificate` is its own.
    fn tls(&self, server: SocketAddr, certificate: Option<&str>, request: &[u8]) -> std::io::Result<String> {
        let pem = |name: &str| CertificateDer::from_pem_file(self.0.join(name)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(pem("ca.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.0.join(format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(vec![pem(&format!("{name}.pem"))], key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tls = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = rustls::StreamOwned::new(tls, stream);
        stream.write_all(request)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        Ok(answer)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn eventually(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < PATIENCE, "it never came to be");
        thread::sleep(Duration::from_millis(20));
    }
}

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
    assert!(server.log().contains("msg=\"TLS is enabled.\" http2=false"));

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

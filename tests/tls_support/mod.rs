//! A folder with a web configuration file, certificates made by `openssl`, and a TLS client that trusts
//! them.

// Each test file is a crate of its own and uses a part of this one.
#![allow(dead_code)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, Server};
use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};

/// A user of the password `opensesame`.
pub const ALICE: &str = "alice: $2b$04$abcdefghijklmnopqrstuuFuhxWRTXIsURoluSTZ1N4tYaWGn9oOi";
pub const OPENSESAME: (&str, &str) = ("Authorization", "Basic YWxpY2U6b3BlbnNlc2FtZQ==");

/// A folder that is removed when the test is over.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("floodway-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn write(&self, name: &str, text: &str) {
        // Renamed into place, so that nobody reads half of it.
        let draft = self.0.join(format!("{name}.draft"));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.0.join(name)).unwrap();
    }

    pub fn flag(&self) -> String {
        format!("--web.config.file={}/web.yml", self.0.display())
    }

    pub fn serve(&self, text: &str) -> Server {
        self.write("web.yml", text);
        Server::start(&[&self.flag()])
    }

    /// An authority, and certificates by it for a server and two clients.
    pub fn certify(&self) {
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

    /// The text of a file that [`Folder::certify`] made, indented for a block of YAML.
    pub fn inline(&self, name: &str) -> String {
        let text = fs::read_to_string(self.0.join(name)).unwrap();
        text.lines().map(|line| format!("    {line}\n")).collect()
    }

    /// What a client that trusts our authority reads until the server closes; `certificate` is its own.
    pub fn tls(
        &self,
        server: SocketAddr,
        certificate: Option<&str>,
        request: &[u8],
    ) -> std::io::Result<String> {
        let provider = rustls::crypto::ring::default_provider();
        self.tls_by(provider, &[&TLS13, &TLS12], server, certificate, request)
    }

    /// The same for a client that knows only these suites, curves and versions.
    pub fn tls_by(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
        server: SocketAddr,
        certificate: Option<&str>,
        request: &[u8],
    ) -> std::io::Result<String> {
        let pem = |name: &str| CertificateDer::from_pem_file(self.0.join(name)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(pem("ca.pem")).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
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

/// Waits until `what` holds.
#[track_caller]
pub fn eventually(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < PATIENCE, "it never came to be");
        thread::sleep(Duration::from_millis(20));
    }
}

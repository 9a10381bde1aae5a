//! TLS below HTTP: what rustls is told, and the way from an accepted connection to an encrypted one.
//!
//! Only HTTP/1.1 is offered. The settings of a connection are those in force when it was accepted. Reading
//! certificates is for the control thread; workers only take what is ready.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{NamedGroup, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::config::web_config::tls::{ClientAuth, Pem, TlsSettings, Version};
use crate::limits::LINGER_BYTES_MAX;

use super::config::HttpConfig;
use super::watch::{Phase, Slot, Watch};

mod clients;
mod stream;

use clients::Clients;
use stream::{NoTls, TlsStream};

/// What is said to a client that speaks HTTP without TLS, as in the reference.
const CLEAR_TEXT_ANSWER: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// What connections are made with.
#[derive(Clone, Debug)]
pub struct Settings {
    config: Arc<ServerConfig>,
    /// Whether client certificates are checked for where they come from, so that their names mean
    /// something.
    verifies: bool,
}

/// The TLS settings in force, shared by all workers.
#[derive(Debug)]
pub struct Tls(RwLock<Settings>);

impl Tls {
    pub fn new(settings: Settings) -> Tls {
        Tls(RwLock::new(settings))
    }

    /// From now on new connections are made with `settings`.
    pub fn replace(&self, settings: Settings) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Makes a fresh connection an encrypted one; none if it came to nothing.
    pub async fn accept<S: AsyncReadRent + AsyncWriteRent>(
        &self,
        stream: S,
        slot: &Slot,
        watch: &Watch,
        config: &HttpConfig,
    ) -> Option<TlsStream<S>> {
        let settings = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let connection = ServerConnection::new(settings.config).ok()?;
        let mut tls = TlsStream::new(stream, connection, settings.verifies);
        // Whatever a handshake waits for, its deadline ends both directions.
        watch.wait(slot, Phase::Handshake, config.head_deadline);
        match tls.handshake().await {
            Ok(()) => return Some(tls),
            Err(NoTls::Fault(err)) => tracing::debug!(%err, "TLS handshake error"),
            Err(NoTls::ClearText) => {
                watch.wait(slot, Phase::Lingering, config.linger_deadline);
                refuse_clear_text(tls.stream()).await;
            }
        }
        None
    }
}

/// The names of the verified certificate of the client behind `stream`; none if there is none or it bears
/// no name.
pub fn names_of<S>(stream: &TlsStream<S>) -> Option<Arc<[String]>> {
    let names = clients::names(stream.verified_certificate()?);
    (!names.is_empty()).then(|| names.into())
}

/// Answers, then reads on until the client closes, so that it can read the answer.
async fn refuse_clear_text<S: AsyncReadRent + AsyncWriteRent>(stream: &mut S) {
    let (written, _) = stream.write_all(CLEAR_TEXT_ANSWER).await;
    if written.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut buffer = Vec::with_capacity(4096);
    let mut forgotten = 0;
    while forgotten < LINGER_BYTES_MAX {
        buffer.clear();
        let (read, back) = stream.read(buffer).await;
        buffer = back;
        match read {
            Ok(read) if read > 0 => forgotten += read,
            _ => return,
        }
    }
}

/// Reads what `settings` names and makes it ready for connections.
///
/// # Errors
///
/// A file cannot be read, or what it holds is not what it should be; in the reference's words.
pub fn build(settings: &TlsSettings) -> Result<Settings, String> {
    let provider = Arc::new(provider(settings));
    let versions: &[&SupportedProtocolVersion] = match (settings.min_version, settings.max_version) {
        (Version::Tls13, _) => &[&TLS13],
        (_, Version::Tls12) => &[&TLS12],
        _ => &[&TLS13, &TLS12],
    };
    let certificates = certificates(&read(&settings.cert, "cert_file")?)
        .map_err(|fault| format!("failed to parse X509KeyPair: {fault}"))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&settings.key, "key_file")?)
        .map_err(|fault| format!("failed to parse X509KeyPair: {fault}"))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|fault| format!("tls_server_config: {fault}"))?;
    let clients = clients(settings, &provider)?;
    let verifies = clients.as_ref().is_some_and(|clients| clients.authority.is_some());
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::new(clients)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|fault| format!("failed to parse X509KeyPair: {fault}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Settings { config: Arc::new(config), verifies })
}

fn provider(settings: &TlsSettings) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(wanted) = &settings.cipher_suites {
        let is_wanted = |number: u16| number >> 8 == 0x13 || wanted.contains(&number);
        provider.cipher_suites.retain(|suite| is_wanted(u16::from(suite.suite())));
    }
    if let Some(wanted) = &settings.curves {
        let ours = provider.kx_groups;
        let group = |number: &u16| ours.iter().find(|group| group.name() == NamedGroup::from(*number));
        provider.kx_groups = wanted.iter().filter_map(group).copied().collect();
    }
    provider
}

/// The policy towards clients; none if nothing is asked of them.
fn clients(settings: &TlsSettings, provider: &Arc<CryptoProvider>) -> Result<Option<Clients>, String> {
    let is_mandatory = match settings.client_auth {
        ClientAuth::NoClientCert => return Ok(None),
        ClientAuth::RequestClientCert | ClientAuth::VerifyClientCertIfGiven => false,
        ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert => true,
    };
    let is_verified = matches!(
        settings.client_auth,
        ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert
    );
    let mut authority = None;
    if let Some(pem) = &settings.client_ca {
        let fault = |fault: String| format!("unable to use specified CA cert: {fault}");
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&read(pem, "client_ca_file")?).map_err(fault)? {
            roots.add(certificate).map_err(|error| fault(error.to_string()))?;
        }
        if is_verified {
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            authority = Some(builder.build().map_err(|error| fault(error.to_string()))?);
        }
    }
    Ok(Some(Clients {
        authority,
        is_mandatory,
        allowed_names: settings.client_allowed_sans.clone(),
        algorithms: provider.signature_verification_algorithms,
    }))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|fault| fault.to_string())?;
    if all.is_empty() { Err("no certificate found".to_owned()) } else { Ok(all) }
}

fn read(pem: &Pem, key: &str) -> Result<Vec<u8>, String> {
    match pem {
        Pem::Inline(text) => Ok(text.clone().into_bytes()),
        Pem::File(path) => fs::read(path).map_err(|error| {
            format!("failed to read {key} ({}): {}", path.display(), open_fault(path, &error))
        }),
    }
}

/// Why a file cannot be read, in Go's words.
pub fn open_fault(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("open {path}: no such file or directory"),
        io::ErrorKind::PermissionDenied => format!("open {path}: permission denied"),
        _ => format!("open {path}: {error}"),
    }
}

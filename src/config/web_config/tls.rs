//! The TLS part of the web configuration file: what is asked for, checked as far as that goes without
//! reading a file.
//!
//! TLS here begins with 1.2 and has neither CBC suites nor P-521. A file that asks for one of them is
//! refused with the name of what is missing; nothing is left out silently.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// TLS as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub cert: Pem,
    pub key: Pem,
    pub client_auth: ClientAuth,
    /// Whom client certificates must come from.
    pub client_ca: Option<Pem>,
    /// If not empty: one of these must stand in a client's certificate as an alternative name, exactly.
    pub client_allowed_sans: Vec<String>,
    pub min_version: Version,
    pub max_version: Version,
    /// IANA numbers of the suites for TLS 1.2; none: all. Those of TLS 1.3 are always on, as in Go.
    pub cipher_suites: Option<Vec<u16>>,
    /// IANA numbers, the best first; none: all.
    pub curves: Option<Vec<u16>>,
}

/// Where PEM text comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    File(PathBuf),
    Inline(String),
}

impl std::fmt::Debug for Pem {
    /// Inline text may be a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pem::File(path) => write!(f, "File({})", path.display()),
            Pem::Inline(_) => f.write_str("Inline"),
        }
    }
}

/// What is asked of clients; the names are Go's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    #[default]
    NoClientCert,
    RequestClientCert,
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tls12,
    Tls13,
}

/// The section as it stands in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsFile {
    cert_file: Option<String>,
    key_file: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    client_ca: Option<String>,
    client_auth_type: Option<String>,
    client_ca_file: Option<String>,
    client_allowed_sans: Option<Vec<String>>,
    min_version: Option<String>,
    max_version: Option<String>,
    cipher_suites: Option<Vec<String>>,
    curve_preferences: Option<Vec<String>>,
    /// Without effect in the reference as well: the suites' order is the server's choice.
    #[serde(rename = "prefer_server_cipher_suites")]
    _prefer_server_cipher_suites: Option<bool>,
}

/// Go's names of the suites that the toolkit takes, and whether we have them.
const CIPHER_SUITES: &[(&str, u16, bool)] = &[
    ("TLS_AES_128_GCM_SHA256", 0x1301, true),
    ("TLS_AES_256_GCM_SHA384", 0x1302, true),
    ("TLS_CHACHA20_POLY1305_SHA256", 0x1303, true),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", 0xc009, false),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", 0xc00a, false),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", 0xc013, false),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", 0xc014, false),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b, true),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c, true),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f, true),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030, true),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8, true),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9, true),
];

const CURVES: &[(&str, u16, bool)] =
    &[("CurveP256", 23, true), ("CurveP384", 24, true), ("CurveP521", 25, false), ("X25519", 29, true)];

impl TlsFile {
    /// Checks what is asked for; none if TLS is not.
    pub(super) fn check(self, folder: &Path) -> Result<Option<TlsSettings>, String> {
        let min_version = version(self.min_version.as_deref(), Version::Tls12)?;
        let max_version = version(self.max_version.as_deref(), Version::Tls13)?;
        let cipher_suites = numbers(self.cipher_suites, CIPHER_SUITES, "cipher")?;
        let curves = numbers(self.curve_preferences, CURVES, "curve")?;
        let pem = |file: Option<String>, text: Option<String>| match (given(file), given(text)) {
            // A path that is absolute stays as it is.
            (Some(file), _) => Some(Pem::File(folder.join(file))),
            (None, text) => text.map(Pem::Inline),
        };
        let cert = pem(self.cert_file, self.cert);
        let key = pem(self.key_file, self.key);
        let client_ca = pem(self.client_ca_file, self.client_ca);
        let auth_type = given(self.client_auth_type);
        let (cert, key) = match (cert, key) {
            (None, None) if client_ca.is_none() && auth_type.is_none() => return Ok(None),
            (None, _) => return Err("missing one of cert or cert_file".to_owned()),
            (Some(_), None) => return Err("missing one of key or key_file".to_owned()),
            (Some(cert), Some(key)) => (cert, key),
        };
        let client_auth = client_auth(auth_type.as_deref().unwrap_or_default())?;
        match (client_auth, &client_ca) {
            (ClientAuth::NoClientCert, Some(_)) => {
                return Err("client CA's have been configured without a Client Auth Policy".to_owned());
            }
            // The reference falls back to the system's authorities, which would let in strangers.
            (ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert, None) => {
                return Err(
                    "client certificates are to be verified, but client_ca_file is missing".to_owned()
                );
            }
            _ => {}
        }
        if min_version > max_version {
            return Err("min_version is above max_version".to_owned());
        }
        let tls13_only = min_version == Version::Tls13;
        let is_for_12 = |number: &u16| *number >> 8 != 0x13;
        if cipher_suites.as_ref().is_some_and(|suites| !tls13_only && !suites.iter().any(is_for_12)) {
            return Err("cipher_suites has none for TLS12; name one, or set min_version to TLS13".to_owned());
        }
        Ok(Some(TlsSettings {
            cert,
            key,
            client_auth,
            client_ca,
            client_allowed_sans: self.client_allowed_sans.unwrap_or_default(),
            min_version,
            max_version,
            cipher_suites,
            curves,
        }))
    }
}

impl TlsSettings {
    /// The files that hold what is not inline.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten().filter_map(|pem| {
            match pem {
                Pem::File(path) => Some(path),
                Pem::Inline(_) => None,
            }
        })
    }
}

/// An empty value is as good as none.
fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

fn version(name: Option<&str>, default: Version) -> Result<Version, String> {
    match name {
        None | Some("") => Ok(default),
        Some("TLS12") => Ok(Version::Tls12),
        Some("TLS13") => Ok(Version::Tls13),
        Some(name @ ("TLS10" | "TLS11")) => {
            Err(format!("TLS version {name} is not supported by floodway: the oldest is TLS12"))
        }
        Some(name) => Err(format!("unknown TLS version: {name}")),
    }
}

fn client_auth(name: &str) -> Result<ClientAuth, String> {
    match name {
        "" | "NoClientCert" => Ok(ClientAuth::NoClientCert),
        "RequestClientCert" => Ok(ClientAuth::RequestClientCert),
        "RequireAnyClientCert" | "RequireClientCert" => Ok(ClientAuth::RequireAnyClientCert),
        "VerifyClientCertIfGiven" => Ok(ClientAuth::VerifyClientCertIfGiven),
        "RequireAndVerifyClientCert" => Ok(ClientAuth::RequireAndVerifyClientCert),
        name => Err(format!("invalid ClientAuth: {name}")),
    }
}

/// The numbers of `names` in `table`; none if no name is given.
fn numbers(
    names: Option<Vec<String>>,
    table: &[(&str, u16, bool)],
    kind: &str,
) -> Result<Option<Vec<u16>>, String> {
    let names = names.unwrap_or_default();
    let number = |name: &String| match table.iter().find(|(known, ..)| known == name) {
        None => Err(format!("unknown {kind}: {name}")),
        Some((_, number, true)) => Ok(*number),
        Some((_, _, false)) => {
            let ours: Vec<&str> = table.iter().filter(|row| row.2).map(|row| row.0).collect();
            Err(format!("{kind} {name} is not supported by floodway, only {}", ours.join(", ")))
        }
    };
    let numbers: Vec<u16> = names.iter().map(number).collect::<Result<_, _>>()?;
    Ok((!numbers.is_empty()).then_some(numbers))
}

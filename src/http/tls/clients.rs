//! Client certificates: whether one is asked for, who must have signed it, and which names it must bear.
//!
//! Two of Go's policies take any certificate, signed by whomever; the client must still prove that it
//! holds the key. Names are compared exactly, as text, like the reference does.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// One policy towards clients.
#[derive(Debug)]
pub struct Clients {
    /// Who checks where a certificate comes from; none: nobody.
    pub authority: Option<Arc<dyn ClientCertVerifier>>,
    pub is_mandatory: bool,
    /// Names of which a certificate must bear one; empty: any will do.
    pub allowed_names: Vec<String>,
    pub algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authority.as_ref().map_or(&[], |authority| authority.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(authority) = &self.authority {
            authority.verify_client_cert(certificate, between, now)?;
        }
        let is_allowed = |name: &String| self.allowed_names.contains(name);
        if self.allowed_names.is_empty() || alternative_names(certificate).iter().any(is_allowed) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.17, RFC 5280 section 4.2.1.6.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Of the attribute `commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;

/// All names that a certificate bears: its alternative names, then its common name.
pub fn names(certificate: &[u8]) -> Vec<String> {
    let mut names = alternative_names(certificate);
    names.extend(common_name(certificate).filter(|name| !name.is_empty()));
    names
}

/// The last common name of the subject, which is the most specific one.
fn common_name(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (to_be_signed, _) = expect(SEQUENCE, certificate)?;
    // RFC 5280 section 4.1: of the sequences, signature algorithm, issuer and validity come first.
    let subject = elements(to_be_signed).filter(|(tag, _)| *tag == SEQUENCE).nth(3)?.1;
    let attributes = elements(subject).filter(|(tag, _)| *tag == SET).flat_map(|(_, set)| elements(set));
    let name = |(_, attribute): (u8, &[u8])| {
        let (id, rest) = expect(OBJECT_ID, attribute)?;
        let (tag, text, _) = element(rest)?;
        let is_text = matches!(tag, UTF8_STRING | PRINTABLE_STRING);
        (id == COMMON_NAME && is_text).then(|| String::from_utf8(text.to_vec()).ok())?
    };
    attributes.filter_map(name).last()
}

/// The DNS names, mail addresses, URIs and IP addresses that a certificate bears; none if it is malformed.
fn alternative_names(certificate: &[u8]) -> Vec<String> {
    find_names(certificate).unwrap_or_default()
}

fn find_names(certificate: &[u8]) -> Option<Vec<String>> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (to_be_signed, _) = expect(SEQUENCE, certificate)?;
    let extensions = elements(to_be_signed).find(|(tag, _)| *tag == EXTENSIONS)?.1;
    let (extensions, _) = expect(SEQUENCE, extensions)?;
    for (_, extension) in elements(extensions) {
        let (id, _) = expect(OBJECT_ID, extension)?;
        if id == SUBJECT_ALT_NAME {
            let value = elements(extension).find(|(tag, _)| *tag == OCTETS)?.1;
            let (names, _) = expect(SEQUENCE, value)?;
            return Some(elements(names).filter_map(|(tag, name)| name_text(tag, name)).collect());
        }
    }
    None
}

fn name_text(tag: u8, name: &[u8]) -> Option<String> {
    match (tag, name.len()) {
        // Mail address, DNS name, URI.
        (0x81 | 0x82 | 0x86, _) => String::from_utf8(name.to_vec()).ok(),
        (0x87, 4) => Some(IpAddr::from(<[u8; 4]>::try_from(name).ok()?).to_string()),
        (0x87, 16) => Some(IpAddr::from(<[u8; 16]>::try_from(name).ok()?).to_string()),
        _ => None,
    }
}

/// The elements that lie one after the other in `rest` (X.690), up to the first malformed one.
fn elements(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, after) = element(rest)?;
        rest = after;
        Some((tag, content))
    })
}

/// The content of the first element, which must have this tag, and what follows.
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (digits, rest) =
            rest.split_at_checked(usize::from(length & 0x7f)).filter(|(d, _)| d.len() <= 4)?;
        (digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag, 0x82];
        bytes.extend((content.len() as u16).to_be_bytes());
        bytes.extend(content);
        bytes
    }

    #[test]
    fn names_are_found_and_nothing_else_is() {
        let names = [
            der(0x81, b"a@b"),
            der(0x82, b"host"),
            der(0x86, b"spiffe://x/y"),
            der(0x87, &[127, 0, 0, 1]),
            der(0x87, &[1]),
            der(0xa4, b"directory"),
        ]
        .concat();
        let extension =
            [der(OBJECT_ID, SUBJECT_ALT_NAME), der(1, &[255]), der(OCTETS, &der(SEQUENCE, &names))];
        let other = der(SEQUENCE, &[der(OBJECT_ID, b"x"), der(OCTETS, b"y")].concat());
        let extensions = [other, der(SEQUENCE, &extension.concat())].concat();
        let signed = [der(2, &[1]), der(EXTENSIONS, &der(SEQUENCE, &extensions))].concat();
        let certificate = der(SEQUENCE, &der(SEQUENCE, &signed));
        assert_eq!(alternative_names(&certificate), ["a@b", "host", "spiffe://x/y", "127.0.0.1"]);
        for length in 0..certificate.len() {
            assert!(alternative_names(&certificate[..length]).is_empty());
        }
    }
}

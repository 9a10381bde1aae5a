//! Each key and each fault of the web configuration file.

use super::tls::{ClientAuth, Pem, Version};
use super::*;

const HASH: &str = "$2b$04$abcdefghijklmnopqrstuuFuhxWRTXIsURoluSTZ1N4tYaWGn9oOi";

fn parse(text: &str) -> Result<WebConfig, String> {
    WebConfig::parse(text, Path::new("/conf"))
}

#[track_caller]
fn tls(rest: &str) -> TlsSettings {
    parse(&format!("tls_server_config:\n  cert_file: c.pem\n  key_file: /k.pem\n{rest}"))
        .unwrap()
        .tls
        .unwrap()
}

#[track_caller]
fn tls_fault(rest: &str, fault: &str) {
    let text = format!("tls_server_config:\n  cert_file: c.pem\n  key_file: /k.pem\n{rest}");
    assert_eq!(parse(&text).unwrap_err(), fault, "{rest}");
}

#[test]
fn an_empty_file_opens_every_door() {
    for text in
        ["", "\n", "# nothing\n", "{}", "tls_server_config:\nbasic_auth_users:\n", "tls_server_config: {}"]
    {
        assert_eq!(parse(text).unwrap(), WebConfig::default(), "{text:?}");
    }
}

#[test]
fn unknown_keys_are_faults() {
    for (text, fault) in [
        ("nope: 1", "line 1: field nope not found in type web.Config"),
        ("\ntls_server_config:\n  nope: 1", "line 3: field nope not found in type web.TLSConfig"),
        ("http_server_config:\n  nope: 1", "line 2: field nope not found in type web.HTTPConfig"),
        ("rate_limit:\n  nope: 1", "line 2: field nope not found in type web.RateLimiterConfig"),
    ] {
        assert_eq!(parse(text).unwrap_err(), format!("yaml: unmarshal errors:\n  {fault}"));
    }
    for text in [
        "tls_server_config: [",
        "- 1",
        "basic_auth_users: {a: b}\nbasic_auth_users: {a: b}",
        "rate_limit: {burst: -1}",
    ] {
        let fault = parse(text).unwrap_err();
        assert!(fault.starts_with("yaml: ") && !fault.contains('\n'), "{text}: {fault}");
    }
}

#[test]
fn certificates_from_files_and_inline() {
    let settings = tls("");
    assert_eq!(settings.cert, Pem::File("/conf/c.pem".into()));
    assert_eq!(settings.key, Pem::File("/k.pem".into()));
    assert_eq!((settings.min_version, settings.max_version), (Version::Tls12, Version::Tls13));
    assert_eq!((settings.cipher_suites, settings.curves), (None, None));
    assert_eq!(settings.client_auth, ClientAuth::NoClientCert);
    let config =
        parse("tls_server_config: {cert: C, key: K, client_ca: A, client_auth_type: RequestClientCert}");
    let settings = config.unwrap().tls.unwrap();
    let inline = |text: &str| Pem::Inline(text.to_owned());
    assert_eq!((&settings.cert, &settings.key), (&inline("C"), &inline("K")));
    assert_eq!(settings.client_ca, Some(inline("A")));
    assert_eq!(settings.files().count(), 0);
    assert!(!format!("{settings:?}").contains('K'));
    for (text, fault) in [
        ("{cert_file: c}", "missing one of key or key_file"),
        ("{key_file: c}", "missing one of cert or cert_file"),
        ("{client_auth_type: RequestClientCert}", "missing one of cert or cert_file"),
    ] {
        assert_eq!(parse(&format!("tls_server_config: {text}")).unwrap_err(), fault);
    }
}

#[test]
fn client_certificates() {
    for (name, expected) in [
        ("NoClientCert", ClientAuth::NoClientCert),
        ("RequestClientCert", ClientAuth::RequestClientCert),
        ("RequireAnyClientCert", ClientAuth::RequireAnyClientCert),
        ("RequireClientCert", ClientAuth::RequireAnyClientCert),
    ] {
        assert_eq!(tls(&format!("  client_auth_type: {name}\n")).client_auth, expected);
    }
    for (name, expected) in [
        ("VerifyClientCertIfGiven", ClientAuth::VerifyClientCertIfGiven),
        ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerifyClientCert),
    ] {
        let settings = tls(&format!(
            "  client_auth_type: {name}\n  client_ca_file: ca.pem\n  client_allowed_sans: [a, b]\n"
        ));
        assert_eq!(settings.client_auth, expected);
        assert_eq!(settings.client_allowed_sans, ["a", "b"]);
        assert_eq!(settings.files().count(), 3);
        let fault = "client certificates are to be verified, but client_ca_file is missing";
        tls_fault(&format!("  client_auth_type: {name}\n"), fault);
    }
    tls_fault("  client_auth_type: foo\n", "invalid ClientAuth: foo");
    tls_fault("  client_ca_file: x\n", "client CA's have been configured without a Client Auth Policy");
}

#[test]
fn versions_suites_and_curves() {
    let settings = tls("  min_version: TLS13\n  max_version: TLS13\n  prefer_server_cipher_suites: false\n");
    assert_eq!((settings.min_version, settings.max_version), (Version::Tls13, Version::Tls13));
    let settings = tls(
        "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [X25519, CurveP256]\n",
    );
    assert_eq!(settings.cipher_suites, Some(vec![0xc02f]));
    assert_eq!(settings.curves, Some(vec![29, 23]));
    for (key, fault) in [
        ("min_version: TLS99", "unknown TLS version: TLS99"),
        ("max_version: TLS11", "TLS version TLS11 is not supported by floodway: the oldest is TLS12"),
        ("{min_version: TLS13, max_version: TLS12}", "min_version is above max_version"),
        ("cipher_suites: [foo]", "unknown cipher: foo"),
        ("curve_preferences: [foo]", "unknown curve: foo"),
        (
            "curve_preferences: [CurveP521]",
            "curve CurveP521 is not supported by floodway, only CurveP256, CurveP384, X25519",
        ),
        (
            "cipher_suites: [TLS_AES_128_GCM_SHA256]",
            "cipher_suites has none for TLS12; name one, or set min_version to TLS13",
        ),
    ] {
        let lines: String =
            key.trim_matches(['{', '}']).split(", ").map(|key| format!("  {key}\n")).collect();
        tls_fault(&lines, fault);
    }
    let fault =
        parse("tls_server_config: {cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]}").unwrap_err();
    assert!(fault.starts_with("cipher TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported"), "{fault}");
}

#[test]
fn headers_and_http2() {
    let config = parse(
        "http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: sameorigin\n    \
         Strict-Transport-Security: max-age=1\n    X-Content-Type-Options: nosniff\n    \
         X-XSS-Protection: 0\n    Content-Security-Policy: default-src 'self'\n",
    )
    .unwrap();
    assert_eq!(config.headers.len(), 5);
    assert!(config.headers.contains(&("X-Frame-Options", "sameorigin".to_owned())));
    assert!(config.headers.contains(&("X-XSS-Protection", "0".to_owned())));
    for (header, fault) in [
        ("Foo: x", "HTTP header \"Foo\" can not be configured"),
        (
            "X-Frame-Options: foo",
            "invalid value for X-Frame-Options. Expected one of: [\"deny\" \"sameorigin\"], but got: \"foo\"",
        ),
    ] {
        assert_eq!(parse(&format!("http_server_config: {{headers: {{{header}}}}}")).unwrap_err(), fault);
    }
}

#[test]
fn users_and_their_hashes() {
    let config = parse(&format!("basic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\n")).unwrap();
    assert_eq!(config.users["alice"].text, HASH);
    assert_eq!(config.users["alice"].cost, 4);
    let rest = &HASH[7..];
    for (hash, fault) in [
        ("x".to_owned(), "hashedSecret too short to be a bcrypted password"),
        ("\"\"".to_owned(), "hashedSecret too short to be a bcrypted password"),
        (format!("x2b$04${rest}"), "bcrypt hashes must start with '$', but hashedSecret started with 'x'"),
        (
            format!("$3b$04${rest}"),
            "bcrypt algorithm version '3' requested is newer than current version '2'",
        ),
        (format!("$2b$03${rest}"), "cost 3 is outside allowed inclusive range 4..31"),
        (format!("$2b$32${rest}"), "cost 32 is outside allowed inclusive range 4..31"),
        (format!("$2b$xx${rest}"), "hashedSecret is not a bcrypted password"),
        (format!("$2b$04${rest}x"), "hashedSecret is not a bcrypted password"),
    ] {
        let fault = format!("crypto/bcrypt: {fault}");
        assert_eq!(parse(&format!("basic_auth_users: {{a: {hash}}}")).unwrap_err(), fault, "{hash}");
    }
    assert!(!format!("{config:?}").contains(rest));
}

#[test]
fn the_decoy_costs_what_the_dearest_user_costs() {
    let config = parse(&format!("basic_auth_users:\n  a: {HASH}\n  b: $2y$11${}\n", &HASH[7..])).unwrap();
    let decoy = PasswordHash::decoy(&config.users);
    assert_eq!(decoy.cost, 11);
    assert_eq!(PasswordHash::parse(&decoy.text).unwrap(), decoy);
}

#[test]
fn rate_limits() {
    let limit = |text: &str| parse(&format!("rate_limit: {text}")).unwrap().rate_limit;
    assert_eq!(limit("{interval: 1m, burst: 20}"), Some(RateLimit { interval: 60_000_000_000, burst: 20 }));
    assert_eq!(limit("{interval: 5}"), Some(RateLimit { interval: 5, burst: 0 }));
    assert_eq!(limit("{interval: 0, burst: 20}"), None);
    assert_eq!(limit("{burst: 20}"), None);
    assert!(parse("rate_limit: {interval: -1s}").unwrap_err().contains("negative"));
    assert!(parse("rate_limit: {interval: soon}").unwrap_err().contains("time: invalid duration"));
}

//! The web configuration file, in the form of Prometheus' exporter-toolkit: TLS, passwords, headers and a
//! rate limit.
//!
//! Reading is pure: text in, checked settings out, no file touched. Faults are worded as the toolkit
//! words them, since operators search for those lines. A key that is not known is a fault, and so is one
//! that asks for something our TLS cannot do: a server must never be less closed than its file says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::duration::GoDuration;

pub mod password;
pub mod rights;
pub mod tls;

use password::PasswordHash;
use rights::{Rights, RightsFile};
use tls::{TlsFile, TlsSettings};

/// Everything that the file says, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebConfig {
    /// None: clear text.
    pub tls: Option<TlsSettings>,
    /// Passwords by user. Empty: everybody may do everything, unless there are rights.
    pub users: BTreeMap<String, PasswordHash>,
    /// Set on every answer of a handler, names as the standard spells them.
    pub headers: Vec<(&'static str, String)>,
    pub rate_limit: Option<RateLimit>,
    /// None: whoever is let in may do everything.
    pub rights: Option<Rights>,
}

/// One token bucket for all clients together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Nanoseconds until the next token; at least one.
    pub interval: u64,
    /// Tokens that the bucket holds. With none, no request is ever served, as in the reference.
    pub burst: u32,
}

impl WebConfig {
    /// Reads the text of a file that lies in `folder`, which relative file names start from.
    ///
    /// # Errors
    ///
    /// One text, which may have more than one line: the first fault found.
    pub fn parse(text: &str, folder: &Path) -> Result<WebConfig, String> {
        let file: Option<File> = serde_saphyr::from_str(text).map_err(|error| yaml_fault(&error))?;
        let file = file.unwrap_or_default();
        let headers = file.http_server_config.unwrap_or_default().headers.unwrap_or_default();
        let tls = file.tls_server_config.unwrap_or_default().check(folder)?;
        let users = password::check(file.basic_auth_users.unwrap_or_default())?;
        let rights = file.floodway.map(|section| section.check(&users, tls.as_ref())).transpose()?;
        Ok(WebConfig {
            tls,
            users,
            rights,
            headers: headers.into_iter().map(check_header).collect::<Result<_, _>>()?,
            rate_limit: file.rate_limit.and_then(|limit| limit.check().transpose()).transpose()?,
        })
    }

    /// The files it names, which are read whenever they or it change.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.tls.iter().flat_map(TlsSettings::files)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tls_server_config: Option<TlsFile>,
    http_server_config: Option<HttpFile>,
    basic_auth_users: Option<BTreeMap<String, String>>,
    rate_limit: Option<RateFile>,
    /// Ours. Given without a value it is a fault, since nobody knows what was meant.
    #[serde(default, deserialize_with = "given")]
    floodway: Option<RightsFile>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RightsFile>, D::Error> {
    RightsFile::deserialize(deserializer).map(Some)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpFile {
    /// Taken so that files of the reference are; we speak HTTP/1.1 alone, and whoever is offered that
    /// falls back to it.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateFile {
    interval: Option<Interval>,
    burst: Option<u32>,
}

impl RateFile {
    fn check(&self) -> Result<Option<RateLimit>, String> {
        let interval = self.interval.as_ref().map_or(0, |interval| interval.0);
        let interval = u64::try_from(interval).map_err(|_| "rate_limit.interval is negative".to_owned())?;
        Ok((interval > 0).then(|| RateLimit { interval, burst: self.burst.unwrap_or(0) }))
    }
}

/// In nanoseconds; written as Go writes durations.
#[derive(Debug)]
struct Interval(i64);

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Interval, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Go takes a bare number as nanoseconds.
        let nanos = text.parse().or_else(|_| GoDuration::parse(&text).map(|duration| duration.0));
        nanos.map(Interval).map_err(de::Error::custom)
    }
}

/// The only headers that may be set, with their values where only some make sense.
const HEADERS: &[(&str, &[&str])] = &[
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

fn check_header((name, value): (String, String)) -> Result<(&'static str, String), String> {
    let Some((name, values)) = HEADERS.iter().find(|(known, _)| *known == name) else {
        return Err(format!("HTTP header {name:?} can not be configured"));
    };
    if values.is_empty() || values.contains(&value.as_str()) {
        return Ok((name, value));
    }
    let expected: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    let expected = expected.join(" ");
    Err(format!("invalid value for {name}. Expected one of: [{expected}], but got: {value:?}"))
}

/// The fault of a text that is no such file, in the words of Go's YAML reader where it has them.
fn yaml_fault(error: &serde_saphyr::Error) -> String {
    let error = error.without_snippet();
    let line = error.location().map_or(0, |location| location.line());
    let said = match error {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            let kind = match expected.first() {
                Some(&"cert_file") => "web.TLSConfig",
                Some(&"http2") => "web.HTTPConfig",
                Some(&"interval") => "web.RateLimiterConfig",
                Some(&"tokens") => "floodway",
                Some(&"users") => "floodway.rights",
                Some(&"regex") => "floodway.rights.groups",
                _ => "web.Config",
            };
            format!("field {field} not found in type {kind}")
        }
        other => {
            let text = other.to_string();
            return format!("yaml: {}", text.lines().next().unwrap_or_default());
        }
    };
    format!("yaml: unmarshal errors:\n  line {line}: {said}")
}

#[cfg(test)]
mod tests;

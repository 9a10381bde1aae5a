//! Who may do what to which groups: the `floodway:` key of the web configuration file, which the
//! reference does not have.
//!
//! Without the key every client that is let in may do everything. With it, what no grant allows is
//! refused. A slip must not open a door: a grant that names a user, token or certificate that cannot log
//! in is a fault, and so is one that gives or binds nothing. Patterns are compiled where they are used.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::password::PasswordHash;
use super::tls::{ClientAuth, TlsSettings};

/// The SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Bearer tokens by name.
    pub tokens: BTreeMap<String, TokenHash>,
    pub grants: Vec<Grant>,
}

/// What some identities may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub users: Vec<String>,
    /// Alternative or common names of verified client certificates.
    pub certificates: Vec<String>,
    /// Names of tokens.
    pub tokens: Vec<String>,
    pub may: Vec<May>,
    /// Grouping labels that a group must have, all of them; none: every group.
    pub groups: BTreeMap<String, Value>,
}

/// What can be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum May {
    Push,
    Delete,
    Scrape,
    Admin,
}

/// Which values of a grouping label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Exact(String),
    /// A pattern in Prometheus' dialect that the whole value must match.
    Regex(String),
}

/// The section as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RightsFile {
    tokens: Option<BTreeMap<String, String>>,
    rights: Vec<GrantFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    users: Option<Vec<String>>,
    certificates: Option<Vec<String>>,
    tokens: Option<Vec<String>>,
    may: Vec<May>,
    groups: Option<BTreeMap<String, Value>>,
}

impl RightsFile {
    /// Checks the section against what the rest of the file lets in.
    pub(super) fn check(
        self,
        users: &BTreeMap<String, PasswordHash>,
        tls: Option<&TlsSettings>,
    ) -> Result<Rights, String> {
        let tokens: BTreeMap<String, TokenHash> = self
            .tokens
            .unwrap_or_default()
            .into_iter()
            .map(|(name, hash)| check_hash(&name, &hash).map(|hash| (name, hash)))
            .collect::<Result<_, String>>()?;
        if self.rights.is_empty() {
            return Err("floodway.rights is empty: nobody could do anything".to_owned());
        }
        let verifies = tls.is_some_and(|tls| {
            use ClientAuth::{RequireAndVerifyClientCert, VerifyClientCertIfGiven};
            matches!(tls.client_auth, RequireAndVerifyClientCert | VerifyClientCertIfGiven)
        });
        let mut grants = Vec::with_capacity(self.rights.len());
        for (number, file) in self.rights.into_iter().enumerate() {
            let grant = Grant {
                users: file.users.unwrap_or_default(),
                certificates: file.certificates.unwrap_or_default(),
                tokens: file.tokens.unwrap_or_default(),
                may: file.may,
                groups: file.groups.unwrap_or_default(),
            };
            let is_user = |name: &String| users.contains_key(name);
            let is_token = |name: &String| tokens.contains_key(name);
            check_grant(&grant, is_user, is_token, verifies)
                .map_err(|fault| format!("floodway.rights[{number}] {fault}"))?;
            grants.push(grant);
        }
        Ok(Rights { tokens, grants })
    }
}

fn check_grant(
    grant: &Grant,
    is_user: impl Fn(&String) -> bool,
    is_token: impl Fn(&String) -> bool,
    verifies: bool,
) -> Result<(), String> {
    if let Some(user) = grant.users.iter().find(|user| !is_user(user)) {
        return Err(format!("names the user {user:?}, who has no password in basic_auth_users"));
    }
    if let Some(token) = grant.tokens.iter().find(|token| !is_token(token)) {
        return Err(format!("names the token {token:?}, which is not in floodway.tokens"));
    }
    if !grant.certificates.is_empty() && !verifies {
        return Err("names certificates, but tls_server_config verifies none of clients".to_owned());
    }
    if grant.users.is_empty() && grant.tokens.is_empty() && grant.certificates.is_empty() {
        return Err("names nobody: give it users, certificates or tokens".to_owned());
    }
    if grant.may.is_empty() {
        return Err("allows nothing: give it may: [push, delete, scrape, admin] or some of these".to_owned());
    }
    let is_for_all = |may: &May| matches!(may, May::Scrape | May::Admin);
    if !grant.groups.is_empty() && grant.may.iter().any(is_for_all) {
        return Err(
            "binds scrape or admin to groups, but these see all of them: give them in a grant of their own"
                .to_owned(),
        );
    }
    Ok(())
}

fn check_hash(name: &str, hash: &str) -> Result<TokenHash, String> {
    let digit = |at: usize| char::from(hash.as_bytes()[at]).to_digit(16);
    let byte = |at: usize| Some((digit(2 * at)? << 4 | digit(2 * at + 1)?) as u8);
    let fault = || format!("floodway.tokens.{name} is no SHA-256 in 64 hexadecimal digits");
    if hash.len() != 64 {
        return Err(fault());
    }
    let mut bytes = [0; 32];
    for (at, slot) in bytes.iter_mut().enumerate() {
        *slot = byte(at).ok_or_else(fault)?;
    }
    Ok(bytes)
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a label value (in quotes if it looks like a number) or {regex: PATTERN}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Exact(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        match map.next_entry::<String, String>()? {
            Some((key, pattern)) if key == "regex" => match map.next_key::<String>()? {
                None => Ok(Value::Regex(pattern)),
                Some(key) => Err(de::Error::unknown_field(&key, &["regex"])),
            },
            Some((key, _)) => Err(de::Error::unknown_field(&key, &["regex"])),
            None => Err(de::Error::missing_field("regex")),
        }
    }
}

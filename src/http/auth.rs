//! Who may ask, and how often: passwords, tokens, the rate limit, and the headers that every answer
//! carries.
//!
//! A request is looked at before its body is read: the rate limit first, then who it is from. Where there
//! are rights by identity, a password, a bearer token or a verified certificate will do; without them only
//! a password does, as in the reference. What a request says must be right: a wrong password is refused
//! whatever else the client has.
//!
//! A token is known by the SHA-256 of it: tokens are random, so there is nothing to guess that a slow hash
//! would protect. Hashes are looked up by a keyed hash of theirs, whose key nobody outside knows, so that
//! the time this takes says nothing about them. A password
//! that was compared before is known by a keyed hash of the credentials, which is injective because a
//! user's name has no colon; any other is compared by `hasher`, off the workers. An unknown user is
//! compared with a decoy, so that it takes as long as a known one. Each worker sees new rules at its next
//! request, without a lock while they stay the same.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ring::{digest, hmac};

use crate::config::web_config::password::PasswordHash;
use crate::config::web_config::{RateLimit, WebConfig};
use crate::limits::VERDICTS_MAX;

use super::client::{Client, Peer};
use super::hasher::{Hasher, Job};
use super::head::Head;
use super::response::Answer;
use super::rights::Rights;
use super::service::Admission;
use crate::model::Identity;

/// What stands for a pair of user and password, without telling it.
pub type CredentialsKey = [u8; 32];

/// The rules in force, shared by all workers.
pub struct Door {
    generation: AtomicU64,
    rules: Mutex<Arc<Rules>>,
    secret: hmac::Key,
    hasher: Arc<Hasher>,
}

/// One worker's way to the rules.
pub struct Doorkeeper {
    door: Arc<Door>,
    rules: RefCell<Arc<Rules>>,
}

/// One reading of the web configuration file.
pub struct Rules {
    pub generation: u64,
    users: BTreeMap<String, PasswordHash>,
    decoy: PasswordHash,
    /// Names of tokens by the keyed hash of the token's SHA-256.
    tokens: HashMap<CredentialsKey, Arc<str>>,
    rights: Option<Arc<Rights>>,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    bucket: Option<Bucket>,
    verdicts: Mutex<Verdicts>,
}

/// What comparisons came to. The two kinds do not crowd each other out.
#[derive(Default)]
struct Verdicts {
    right: HashSet<CredentialsKey>,
    wrong: HashSet<CredentialsKey>,
}

/// A password that has to be compared.
pub struct Question {
    rules: Arc<Rules>,
    credentials: Vec<u8>,
    key: CredentialsKey,
    peer: Peer,
}

/// What a request says about its sender.
enum Said {
    Nothing,
    /// `USER:PASSWORD`
    Password(Vec<u8>),
    Token(Vec<u8>),
    /// Something that is none of these.
    Else,
}

impl Door {
    /// Starts the thread that compares passwords. `config` is what holds at first.
    ///
    /// # Errors
    ///
    /// The system gives no thread or no random bytes.
    pub fn new(config: &WebConfig, rights: Option<Arc<Rights>>) -> std::io::Result<Door> {
        let random = ring::rand::SystemRandom::new();
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &random)
            .map_err(|_| std::io::Error::other("no random bytes"))?;
        let rules = Mutex::new(Arc::new(Rules::new(config, rights, &secret, 0)));
        Ok(Door { generation: AtomicU64::new(0), rules, secret, hasher: Hasher::start()? })
    }

    /// From now on `config` holds. Verdicts are forgotten.
    pub fn replace(&self, config: &WebConfig, rights: Option<Arc<Rights>>) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = rules.generation + 1;
        *rules = Arc::new(Rules::new(config, rights, &self.secret, generation));
        self.generation.store(generation, Ordering::Release);
    }
}

impl Doorkeeper {
    pub fn new(door: Arc<Door>) -> Doorkeeper {
        let rules = door.rules.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Doorkeeper { door, rules: RefCell::new(rules) }
    }

    fn rules(&self) -> Arc<Rules> {
        let mut rules = self.rules.borrow_mut();
        if rules.generation != self.door.generation.load(Ordering::Acquire) {
            *rules = self.door.rules.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        rules.clone()
    }

    /// Decides about a request by its head.
    pub fn admit(&self, head: &Head<'_>, peer: &Peer) -> Admission<Question> {
        let rules = self.rules();
        if rules.bucket.as_ref().is_some_and(|bucket| !bucket.take()) {
            return Admission::Refused(Answer::error(429, "Too Many Requests"));
        }
        if rules.is_open() {
            return Admission::Granted(Client::of(peer));
        }
        let refused = |rules: &Rules| Admission::Refused(rules.dress(rules.unauthorized()));
        match said(head) {
            Said::Nothing if rules.rights.is_some() && peer.certificate.is_some() => {
                Admission::Granted(rules.client(peer.identity(), peer.address))
            }
            Said::Token(token) => {
                let hash = digest::digest(&digest::SHA256, &token);
                match rules.tokens.get(&keyed(&self.door.secret, hash.as_ref())) {
                    Some(name) => {
                        let identity = Identity { token: Some(name.clone()), ..peer.identity() };
                        Admission::Granted(rules.client(identity, peer.address))
                    }
                    None => refused(&rules),
                }
            }
            Said::Password(credentials) if !rules.users.is_empty() => {
                let key = keyed(&self.door.secret, &credentials);
                match rules.verdict(&key) {
                    Some(true) => Admission::Granted(rules.client_of(&credentials, peer)),
                    Some(false) => refused(&rules),
                    None => Admission::Ask(Question { rules, credentials, key, peer: peer.clone() }),
                }
            }
            Said::Nothing | Said::Password(_) | Said::Else => refused(&rules),
        }
    }

    /// Compares a password.
    ///
    /// # Errors
    ///
    /// The answer to who may not pass.
    pub async fn ask(&self, question: Question) -> Result<Client, Answer> {
        let Question { rules, credentials, key, peer } = question;
        let job = Job { rules: rules.clone(), credentials: credentials.clone(), key };
        let Some(verdict) = self.door.hasher.ask(job, peer.address) else {
            let answer = Answer::error(429, "too many passwords wait to be compared, try again later");
            return Err(rules.dress(answer.header("Retry-After", "1")));
        };
        // The sender is dropped unused only by a fault of ours.
        if verdict.await.unwrap_or(false) {
            Ok(rules.client_of(&credentials, &peer))
        } else {
            Err(rules.dress(rules.unauthorized()))
        }
    }

    /// Adds the configured headers.
    pub fn dress(&self, answer: Answer) -> Answer {
        self.rules().dress(answer)
    }
}

impl Rules {
    /// `secret` is what verdicts and tokens are known by.
    pub fn new(
        config: &WebConfig,
        rights: Option<Arc<Rights>>,
        secret: &hmac::Key,
        generation: u64,
    ) -> Rules {
        let tokens = config.rights.iter().flat_map(|rights| &rights.tokens);
        let headers = config.headers.iter().map(|(name, value)| (*name, Cow::Owned(value.clone())));
        Rules {
            generation,
            users: config.users.clone(),
            decoy: PasswordHash::decoy(&config.users),
            tokens: tokens.map(|(name, hash)| (keyed(secret, hash), Arc::from(&**name))).collect(),
            rights,
            headers: headers.collect(),
            bucket: config.rate_limit.map(Bucket::new),
            verdicts: Mutex::default(),
        }
    }

    /// Whether everybody may do everything.
    fn is_open(&self) -> bool {
        self.users.is_empty() && self.rights.is_none()
    }

    fn client(&self, identity: Identity, address: IpAddr) -> Client {
        Client::known(identity, address, self.rights.clone())
    }

    /// Who sent `USER:PASSWORD`, which is right.
    fn client_of(&self, credentials: &[u8], peer: &Peer) -> Client {
        let user = user_of(credentials).map(Arc::from);
        self.client(Identity { user, ..peer.identity() }, peer.address)
    }

    fn unauthorized(&self) -> Answer {
        let answer = Answer::error(401, "Unauthorized");
        // As in the reference, wherever a password would do.
        let answer = if self.users.is_empty() { answer } else { answer.header(CHALLENGE, "Basic") };
        if self.tokens.is_empty() { answer } else { answer.header(CHALLENGE, "Bearer") }
    }

    /// Sets the configured headers; what the operator says wins over what a handler says.
    fn dress(&self, mut answer: Answer) -> Answer {
        for (name, value) in &self.headers {
            answer.headers.retain(|(other, _)| other != name);
            answer.headers.push((name, value.clone()));
        }
        answer
    }

    /// What is known about these credentials.
    pub fn verdict(&self, key: &CredentialsKey) -> Option<bool> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.right.contains(key) { Some(true) } else { verdicts.wrong.contains(key).then_some(false) }
    }

    /// Compares `USER:PASSWORD` and remembers the outcome. It takes as long as bcrypt does.
    pub fn compare(&self, credentials: &[u8], key: CredentialsKey) -> bool {
        let known = user_of(credentials).and_then(|user| self.users.get(user));
        let password = &credentials[(user_bytes(credentials).len() + 1).min(credentials.len())..];
        let hash = known.unwrap_or(&self.decoy);
        let right = bcrypt::verify(password, &hash.text).unwrap_or(false) && known.is_some();
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = if right { &mut verdicts.right } else { &mut verdicts.wrong };
        if kind.len() >= VERDICTS_MAX {
            kind.clear();
        }
        kind.insert(key);
        right
    }
}

const CHALLENGE: &str = "Www-Authenticate";

/// A keyed hash that tells nobody what it is of.
fn keyed(secret: &hmac::Key, text: &[u8]) -> CredentialsKey {
    let mut key = CredentialsKey::default();
    key.copy_from_slice(hmac::sign(secret, text).as_ref());
    key
}

/// What the first `Authorization` says.
fn said(head: &Head<'_>) -> Said {
    let Some(value) = head.values("authorization").next() else { return Said::Nothing };
    if let Some(credentials) = basic_credentials(value) {
        return Said::Password(credentials);
    }
    match value.split_at_checked(7) {
        // RFC 6750 section 2.1.
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            Said::Token(token.trim_ascii().to_vec())
        }
        _ => Said::Else,
    }
}

/// What stands before the colon of `USER:PASSWORD`.
fn user_bytes(credentials: &[u8]) -> &[u8] {
    credentials.split(|byte| *byte == b':').next().unwrap_or_default()
}

fn user_of(credentials: &[u8]) -> Option<&str> {
    std::str::from_utf8(user_bytes(credentials)).ok()
}

/// The user that an `Authorization` value names, whatever the password.
pub fn login_of(value: &[u8]) -> Option<String> {
    let credentials = basic_credentials(value)?;
    user_of(&credentials).map(str::to_owned)
}

/// `USER:PASSWORD` out of an `Authorization` value (RFC 7617).
fn basic_credentials(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let credentials = if scheme.eq_ignore_ascii_case(b"basic ") { base64(rest)? } else { return None };
    credentials.contains(&b':').then_some(credentials)
}

/// Base 64 with padding (RFC 4648 section 4).
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let data = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for byte in data {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

/// A token bucket, as the moment at which it will be full again; no lock.
struct Bucket {
    limit: RateLimit,
    begun: Instant,
    full_at: AtomicU64,
}

impl Bucket {
    fn new(limit: RateLimit) -> Bucket {
        Bucket { limit, begun: Instant::now(), full_at: AtomicU64::new(0) }
    }

    fn take(&self) -> bool {
        self.take_at(u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Takes a token `now` nanoseconds after the beginning, if there is one.
    fn take_at(&self, now: u64) -> bool {
        let RateLimit { interval, burst } = self.limit;
        let latest = now.saturating_add(interval.saturating_mul(u64::from(burst)));
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let next = full_at.max(now).checked_add(interval)?;
            (next <= latest).then_some(next)
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const HASH: &str = "$2b$04$abcdefghijklmnopqrstuuFuhxWRTXIsURoluSTZ1N4tYaWGn9oOi";

    fn rules(config: &WebConfig) -> Rules {
        Rules::new(config, None, &hmac::Key::new(hmac::HMAC_SHA256, b"test"), 0)
    }

    #[test]
    fn credentials_are_read_as_the_reference_reads_them() {
        let read =
            |value: &str| basic_credentials(value.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        for value in ["Basic YWxpY2U6b3BlbnNlc2FtZQ==", "bASIC YWxpY2U6b3BlbnNlc2FtZQ=="] {
            assert_eq!(read(value).as_deref(), Some("alice:opensesame"));
        }
        assert_eq!(read("Basic Og==").as_deref(), Some(":"));
        assert_eq!(read("Basic YTpi").as_deref(), Some("a:b"));
        for value in
            ["", "Basic", "Basic ", "Basic !!", "Bearer x", "Basic YQ==", "Basic YTpi=", "Basic  YTpi"]
        {
            assert_eq!(read(value), None, "{value:?}");
        }
    }

    #[test]
    fn passwords_are_compared_and_remembered() {
        let config =
            WebConfig::parse(&format!("basic_auth_users: {{alice: {HASH}}}"), Path::new("")).unwrap();
        let rules = rules(&config);
        for (number, (credentials, right)) in
            [("alice:opensesame", true), ("alice:x", false), ("bob:opensesame", false), ("alice:", false)]
                .into_iter()
                .enumerate()
        {
            let key = [number as u8; 32];
            assert_eq!(rules.verdict(&key), None);
            assert_eq!(rules.compare(credentials.as_bytes(), key), right, "{credentials}");
            assert_eq!(rules.verdict(&key), Some(right));
        }
    }

    #[test]
    fn configured_headers_replace_ours() {
        let text = "http_server_config: {headers: {X-Content-Type-Options: nosniff, X-Frame-Options: deny}}";
        let rules = rules(&WebConfig::parse(text, Path::new("")).unwrap());
        let answer = Answer::error(401, "Unauthorized").header(CHALLENGE, "Basic");
        let names: Vec<&str> = rules.dress(answer).headers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["Content-Type", "Www-Authenticate", "X-Content-Type-Options", "X-Frame-Options"]);
    }

    #[test]
    fn tokens_come_back_one_per_interval() {
        let bucket = Bucket::new(RateLimit { interval: 10, burst: 2 });
        let taken: Vec<bool> =
            [100, 100, 100, 109, 110, 110, 200, 200, 200].map(|now| bucket.take_at(now)).to_vec();
        assert_eq!(taken, [true, true, false, false, true, false, true, true, false]);
        assert!(!Bucket::new(RateLimit { interval: 10, burst: 0 }).take_at(100));
    }
}

//! Passwords as the web configuration file holds them: bcrypt hashes.
//!
//! Only the form is checked here, in the order and words of Go's bcrypt, so that a bad hash is found at
//! start and not at the first login.

use std::collections::BTreeMap;

/// Go's bcrypt and ours hash for 2 to the power of this many rounds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// The length of `$2b$10$`, 22 characters of salt and 31 of hash.
const HASH_BYTES: usize = 60;

/// A bcrypt hash in a form that can be compared with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// As bcrypt writes it.
    pub text: String,
    /// Binary logarithm of the rounds.
    pub cost: u32,
}

impl std::fmt::Debug for PasswordHash {
    /// Hashes belong in no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PasswordHash(cost {})", self.cost)
    }
}

impl PasswordHash {
    /// Takes a hash as it stands in the file.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(text: &str) -> Result<PasswordHash, String> {
        let fault = |text: String| Err(format!("crypto/bcrypt: {text}"));
        let bytes = text.as_bytes();
        if bytes.len() < HASH_BYTES - 1 {
            return fault("hashedSecret too short to be a bcrypted password".to_owned());
        }
        if bytes[0] != b'$' {
            let first = text.chars().next().unwrap_or_default();
            return fault(format!(
                "bcrypt hashes must start with '$', but hashedSecret started with '{first}'"
            ));
        }
        if bytes[1] > b'2' {
            let version = char::from(bytes[1]);
            return fault(format!(
                "bcrypt algorithm version '{version}' requested is newer than current version '2'"
            ));
        }
        let malformed = || "crypto/bcrypt: hashedSecret is not a bcrypted password".to_owned();
        let parts: Vec<&str> = text.split('$').collect();
        let &["", "2a" | "2b" | "2x" | "2y", cost, rest] = parts.as_slice() else {
            return Err(malformed());
        };
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
        if cost.len() != 2 || bytes.len() != HASH_BYTES || !rest.bytes().all(is_digit) {
            return Err(malformed());
        }
        let cost: u32 = cost.parse().map_err(|_| malformed())?;
        if !COSTS.contains(&cost) {
            return fault(format!("cost {cost} is outside allowed inclusive range 4..31"));
        }
        Ok(PasswordHash { text: text.to_owned(), cost })
    }

    /// A hash that takes as long to compare as the dearest of `users`, and that no password is known for.
    pub fn decoy(users: &BTreeMap<String, PasswordHash>) -> PasswordHash {
        let cost = users.values().map(|hash| hash.cost).max().unwrap_or(*COSTS.start());
        PasswordHash {
            text: format!("$2b${cost:02}$decoydecoydecoydecoyde{}", "nobody1".repeat(5).split_at(31).0),
            cost,
        }
    }
}

/// Checks every user's hash.
pub(super) fn check(users: BTreeMap<String, String>) -> Result<BTreeMap<String, PasswordHash>, String> {
    users.into_iter().map(|(user, hash)| Ok((user, PasswordHash::parse(&hash)?))).collect()
}

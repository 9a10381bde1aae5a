//! Tokens that tie a form to the page it stands on and to whom the page was shown.
//!
//! Browsers send remembered passwords and client certificates along with whatever another site makes them
//! send. A form that changes something carries a token which only somebody who reads our pages can know:
//! a keyed hash of what the form does and of who was proven to read the page. The key is made at start and
//! never leaves the process.

use ring::{hmac, rand};

use crate::model::Identity;

/// Makes and checks tokens.
pub struct Tokens(hmac::Key);

impl Tokens {
    /// With a key of its own.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn new() -> Result<Tokens, String> {
        hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map(Tokens)
            .map_err(|_| "no random numbers".to_owned())
    }

    /// The token of a form that does `what` for `identity`, in hexadecimal.
    pub fn make(&self, what: &str, identity: &Identity) -> String {
        let tag = hmac::sign(&self.0, message(what, identity).as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether `token` is that; takes as long whatever it is.
    pub fn check(&self, token: &str, what: &str, identity: &Identity) -> bool {
        let digit = |at: usize| token.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..token.len()).step_by(2).map(digit).collect();
        bytes.is_some_and(|bytes| hmac::verify(&self.0, message(what, identity).as_bytes(), &bytes).is_ok())
    }
}

/// No identity's words hold a NUL that is not escaped, so no two pairs run together.
fn message(what: &str, identity: &Identity) -> String {
    format!("{identity}\0{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_form_and_one_reader() {
        let tokens = Tokens::new().unwrap();
        let (nobody, ada) =
            (Identity::default(), Identity { user: Some("ada".into()), ..Identity::default() });
        let token = tokens.make("delete job/a", &ada);
        assert!(tokens.check(&token, "delete job/a", &ada));
        assert!(!tokens.check(&token, "delete job/b", &ada));
        assert!(!tokens.check(&token, "delete job/a", &nobody));
        assert!(!Tokens::new().unwrap().check(&token, "delete job/a", &ada));
        for bad in ["", "0", "zz", "é0", &token[2..], &format!("{token}00")] {
            assert!(!tokens.check(bad, "delete job/a", &ada), "{bad}");
        }
    }
}

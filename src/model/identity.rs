//! Who a client is, as far as it was proven, and what it may do.

use std::fmt;
use std::sync::Arc;

use super::{GroupingKey, Refusal};

/// What a client has proven about itself. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The login whose password was right.
    pub user: Option<Arc<str>>,
    /// The name of the bearer token that was presented.
    pub token: Option<Arc<str>>,
    /// The names of the verified client certificate, not empty: its alternative names (RFC 5280 section
    /// 4.2.1.6) as they stand there, then its common name.
    pub certificate: Option<Arc<[String]>>,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

impl Identity {
    /// Whether anything was proven.
    pub fn is_known(&self) -> bool {
        self.user.is_some() || self.token.is_some() || self.certificate.is_some()
    }

    /// The first name of the client certificate.
    pub fn cert_name(&self) -> Option<&str> {
        self.certificate.as_deref()?.first().map(String::as_str)
    }
}

/// For refusals: `user "a"`, `token "b"`, `certificate "c"`, or several of them.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_deref().map(|name| ("user", name));
        let token = self.token.as_deref().map(|name| ("token", name));
        let certificate = self.cert_name().map(|name| ("certificate", name));
        let mut and = "";
        for (kind, name) in [user, token, certificate].into_iter().flatten() {
            write!(f, "{and}{kind} {name:?}")?;
            and = " with ";
        }
        if and.is_empty() { f.write_str("nobody known") } else { Ok(()) }
    }
}

/// What rights are given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// PUT and POST of metrics.
    Push,
    /// DELETE of a group.
    Delete,
    /// Reading what is stored: the exposition, the API, the page.
    Scrape,
    /// Wiping, reloading, stopping.
    Admin,
}

impl Action {
    /// As the web configuration file has it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Push => "push",
            Action::Delete => "delete",
            Action::Scrape => "scrape",
            Action::Admin => "admin",
        }
    }
}

type Check = dyn Fn(Action, &GroupingKey) -> Result<(), Refusal> + Send + Sync;

/// What the client of a request may do to which groups; everything, by default.
#[derive(Clone, Default)]
pub struct Grants(Option<Arc<Check>>);

impl Grants {
    pub fn new(
        check: impl Fn(Action, &GroupingKey) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Grants {
        Grants(Some(Arc::new(check)))
    }

    /// Whether the client may do this to the group `key`.
    ///
    /// # Errors
    ///
    /// It may not; [`Reason::Forbidden`](super::Reason::Forbidden).
    pub fn check(&self, action: Action, key: &GroupingKey) -> Result<(), Refusal> {
        self.0.as_ref().map_or(Ok(()), |check| check(action, key))
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Grants(some)" } else { "Grants(all)" })
    }
}

/// Equal where both grant everything, or both are one and the same.
impl PartialEq for Grants {
    fn eq(&self, other: &Grants) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }
}

impl Eq for Grants {}

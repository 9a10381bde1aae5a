//! Who is at the other end of a connection, and who sent a request.

use std::net::IpAddr;
use std::sync::Arc;

use super::rights::Rights;
use crate::model::{Action, Grants, GroupingKey, Identity, Refusal};

/// The other end of a connection, known before its first request.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: IpAddr,
    pub tls: bool,
    /// The names of its certificate, if that was verified.
    pub certificate: Option<Arc<[String]>>,
}

/// The sender of a request that was let in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: IpAddr,
    pub identity: Identity,
    /// None: it may do everything.
    rights: Option<Arc<Rights>>,
}

impl Peer {
    /// A connection without TLS.
    pub fn in_clear(address: IpAddr) -> Peer {
        Peer { address, tls: false, certificate: None }
    }

    /// What the connection itself proves.
    pub fn identity(&self) -> Identity {
        Identity { certificate: self.certificate.clone(), tls: self.tls, ..Identity::default() }
    }
}

impl Client {
    /// Whoever is at the other end; may do everything.
    pub fn of(peer: &Peer) -> Client {
        Client { address: peer.address, identity: peer.identity(), rights: None }
    }

    /// Whoever has proven to be `identity`, held to `rights` if there are any.
    pub fn known(identity: Identity, address: IpAddr, rights: Option<Arc<Rights>>) -> Client {
        Client { address, identity, rights }
    }

    /// Whether it may do this, to the group `key` if it is done to one.
    ///
    /// # Errors
    ///
    /// It may not.
    pub fn check(&self, action: Action, key: Option<&GroupingKey>) -> Result<(), Refusal> {
        self.rights.as_ref().map_or(Ok(()), |rights| rights.check(&self.identity, action, key))
    }

    /// The same for whoever knows no clients.
    pub fn grants(&self) -> Grants {
        if self.rights.is_none() {
            return Grants::default();
        }
        let client = self.clone();
        Grants::new(move |action, key| client.check(action, Some(key)))
    }
}

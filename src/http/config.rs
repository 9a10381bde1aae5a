//! What bounds a connection, as values: the constants of `limits` in service, shorter ones in tests.

use std::sync::Arc;
use std::time::Duration;

use crate::limits;

use super::address::Addresses;
use super::tls::Tls;

/// The bounds of every connection of a worker.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// For a whole head, from its first byte.
    pub head_deadline: Duration,
    /// For a whole body, from the end of its head.
    pub body_deadline: Duration,
    /// For the client to take the next piece of an answer.
    pub write_deadline: Duration,
    /// For the next request on a quiet connection.
    pub idle_deadline: Duration,
    /// For the rest of a refused request.
    pub linger_deadline: Duration,
    /// For requests in flight once the server stops.
    pub drain_deadline: Duration,
    /// Longest head.
    pub head_bytes_max: usize,
    /// Largest body as sent.
    pub body_bytes_max: usize,
    /// Largest body once decoded.
    pub decoded_bytes_max: usize,
    /// Most connections at once over all workers; fewer if the process may not open as many descriptors.
    pub connections_max: usize,
    /// Connections by address, where those are limited.
    pub addresses: Option<Arc<Addresses>>,
    /// How connections are encrypted; none: they are not.
    pub tls: Option<Arc<Tls>>,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            head_deadline: limits::HEAD_DEADLINE,
            body_deadline: limits::BODY_DEADLINE,
            write_deadline: limits::WRITE_DEADLINE,
            idle_deadline: limits::IDLE_DEADLINE,
            linger_deadline: limits::LINGER_DEADLINE,
            drain_deadline: limits::DRAIN_DEADLINE,
            head_bytes_max: limits::HEAD_BYTES_MAX,
            body_bytes_max: limits::BODY_BYTES_MAX,
            decoded_bytes_max: limits::DECODED_BYTES_MAX,
            connections_max: usize::MAX,
            addresses: None,
            tls: None,
        }
    }
}

//! Listening sockets, with the options that Go sets and one per worker.
//!
//! SO_REUSEPORT lets the kernel spread connections over our workers, and would let a second gateway,
//! started by mistake, take half of the pushes. So the first socket of an address binds and listens
//! without it, which fails if anybody listens there, and only then opens the port to its siblings.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel completes before we accept them; the kernel lowers it to `somaxconn`.
const BACKLOG: i32 = 4096;

/// One address and its sockets.
pub struct Bound {
    /// The address in use: with the real port where any free one was asked for.
    pub address: SocketAddr,
    /// One socket per worker.
    pub listeners: Vec<TcpListener>,
}

/// Opens `address` for `workers` workers: `HOST:PORT`, `:PORT` for every interface, IPv6 and IPv4, or
/// nothing for any free port.
///
/// # Errors
///
/// The address cannot be understood or resolved, or it is in use.
pub fn bind(address: &str, workers: usize) -> io::Result<Bound> {
    let first = open_first(address)?;
    let address = first.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut sockets = vec![first];
    if workers > 1 {
        sockets[0].set_reuse_port(true)?;
        for _ in 1..workers {
            let socket = new_socket(address, true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            sockets.push(socket);
        }
    }
    Ok(Bound { address, listeners: sockets.into_iter().map(TcpListener::from).collect() })
}

/// Gives each of `workers` workers a handle on one listening socket, whose queue they share.
///
/// # Errors
///
/// No descriptors are left, or the socket has no address.
pub fn share(listener: TcpListener, workers: usize) -> io::Result<Bound> {
    let address = listener.local_addr()?;
    let mut listeners = vec![listener];
    for _ in 1..workers {
        listeners.push(listeners[0].try_clone()?);
    }
    Ok(Bound { address, listeners })
}

fn open_first(address: &str) -> io::Result<Socket> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for candidate in candidates(address)? {
        let socket = new_socket(candidate, false).and_then(|socket| {
            socket.bind(&candidate.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket)
        });
        match socket {
            Ok(socket) => return Ok(socket),
            // Without IPv6 every interface is 0.0.0.0; any other failure is the answer.
            Err(error) if is_without_ipv6(&error) => failure = error,
            Err(error) => return Err(error),
        }
    }
    Err(failure)
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Addresses to try in turn; IPv4 first where a name has both, as Go prefers.
fn candidates(address: &str) -> io::Result<Vec<SocketAddr>> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    if address.is_empty() {
        return candidates(":0");
    }
    let (host, port) = address
        .rsplit_once(':')
        .ok_or_else(|| invalid(format!("address {address}: missing port in address")))?;
    let port: u16 = match port {
        "" => 0,
        port => port.parse().map_err(|_| invalid(format!("address {address}: invalid port")))?,
    };
    if host.is_empty() {
        return Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut found: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.truncate(1);
    Ok(found)
}

fn new_socket(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Lets a restart bind while connections of its predecessor are still in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_port_is_shared_among_our_workers_only() {
        let bound = bind("127.0.0.1:0", 3).unwrap();
        assert_eq!(bound.listeners.len(), 3);
        for second in [1, 3] {
            let error = bind(&bound.address.to_string(), second).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
        drop(bound.listeners);
        assert!(bind(&bound.address.to_string(), 2).is_ok());
    }

    #[test]
    fn connections_reach_every_worker() {
        let bound = bind("127.0.0.1:0", 2).unwrap();
        for listener in &bound.listeners {
            listener.set_nonblocking(true).unwrap();
        }
        let mut reached = [false; 2];
        // The kernel picks by a hash of both ends: each try is a coin.
        for _ in 0..200 {
            let _client = TcpStream::connect(bound.address).unwrap();
            for (listener, reached) in bound.listeners.iter().zip(&mut reached) {
                *reached |= listener.accept().is_ok();
            }
        }
        assert_eq!(reached, [true; 2]);
    }

    #[test]
    fn no_host_is_every_interface_of_both_families() {
        let bound = bind("", 2).unwrap();
        let port = bound.address.port();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
        if bound.address.is_ipv6() {
            assert!(TcpStream::connect(("::1", port)).is_ok());
        }
    }

    #[test]
    fn addresses_that_make_no_sense() {
        for bad in ["nonsense", "127.0.0.1:x", "127.0.0.1:65536", "1:2:3"] {
            assert!(bind(bad, 1).is_err(), "{bad}");
        }
        assert!(bind("[::1]:0", 1).is_ok() || bind("0.0.0.0:0", 1).is_ok());
    }
}

//! What a supervisor that speaks systemd's protocols hands us and hears from us.
//!
//! Sockets come by `LISTEN_FDS` (sd_listen_fds(3)), news go to `NOTIFY_SOCKET` (sd_notify(3)); without a
//! supervisor both are silent. A passed socket stays the supervisor's: it is never shut down, since the
//! supervisor goes on listening on it for our successor.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// Longest wait of a [`knock`]; the other end is on this machine.
const KNOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The listening sockets that were passed to this process.
///
/// # Errors
///
/// None was passed, or one of them is no TCP socket that listens.
pub fn passed_listeners() -> io::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        listeners.extend(passed.take_tcp_listener(index)?);
    }
    if listeners.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no socket activation file descriptors found: --web.systemd-socket needs a socket unit",
        ));
    }
    Ok(listeners)
}

/// Says that connections are answered from now on.
pub fn tell_ready() {
    tell(NotifyState::Ready);
}

/// Says that the process is about to end.
pub fn tell_stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify the supervisor");
    }
}

/// Connects to a listener of ours and hangs up, so that whoever waits there to accept looks up.
pub fn knock(listener: SocketAddr) {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    // If it fails there is nobody left to wake, or the next knock does.
    let _ = TcpStream::connect_timeout(&SocketAddr::new(ip, listener.port()), KNOCK_PATIENCE);
}

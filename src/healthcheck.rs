//! `floodway healthcheck`: asks a running gateway whether it is healthy, for images that hold no other
//! program to ask with.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// What is asked when nothing is named: the default port of this machine.
pub const DEFAULT_URL: &str = "http://127.0.0.1:9091/-/healthy";

/// For connecting, for writing, and for each read.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of an answer, this much is read: its first line.
const ANSWER_BYTES: u64 = 512;

/// Asks `url`, `http://HOST[:PORT][/PATH]`. A gateway that wants a password first is up, and so healthy.
///
/// # Errors
///
/// Why it counts as unhealthy, in words: the URL makes no sense, nobody answers, or the answer is
/// neither 200 nor 401.
pub fn ask(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url:?} does not begin with http://"))?;
    let (host, path) = rest.find('/').map_or((rest, "/-/healthy"), |slash| rest.split_at(slash));
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let address = if has_port { host.to_owned() } else { format!("{host}:80") };
    let unreached = |error: std::io::Error| format!("{url}: {error}");
    let address = address.to_socket_addrs().map_err(unreached)?.next().ok_or("no address")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(unreached)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(unreached)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(unreached)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(unreached)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).map_err(unreached)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200" | "401") if status.starts_with("HTTP/1.") => Ok(()),
        _ => Err(format!("{url} answered {status:?}")),
    }
}

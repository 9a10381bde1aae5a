//! A gateway under hostile input, and what must be as it was after each piece of it.
//!
//! After every vector the store and the scrape are compared with what they were before, byte by byte but
//! for our own families; where the answer is "refused and stamped", one failure time may have moved and
//! nothing else. A neighbour's push on a connection of its own must still be taken and seen.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use super::{Answer, Connection, PATIENCE, Scrape, Server, request_bytes};

/// What follows a request that must not be served: it ends up in the store if anybody serves it.
const SMUGGLED: &[u8] =
    b"PUT /metrics/job/smuggled HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nsmuggled 1\n";

/// Longest answer to anything bad: what it repeats of the input is bounded.
const REFUSAL_BYTES_MAX: usize = 4096;

/// How the connection goes on after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It ends, and what was pipelined behind is not served.
    Closed,
    /// It serves the next request.
    Kept,
}
pub use Then::{Closed, Kept};

/// A server with something stored, a neighbour who pushes, and the last sight of the store.
pub struct Siege {
    pub server: Server,
    neighbour: Connection,
    seen: Seen,
}

/// The store as it is seen from outside, without our own families.
#[derive(Clone, Debug)]
struct Seen {
    /// Everything refused so far, as our own counters have it.
    refused: f64,
    exposition: String,
    /// `/api/v1/metrics`, whole.
    groups: String,
}

impl Siege {
    pub fn begin(flags: &[&str]) -> Siege {
        let server = Server::start(flags);
        server.must_put("/metrics/job/kept/a/1", "# HELP kept Stays.\n# TYPE kept gauge\nkept{b=\"2\"} 3\n");
        let mut neighbour = server.connect();
        let seen = look(&mut neighbour);
        Siege { server, neighbour, seen }
    }

    /// Sends `bytes` and something to smuggle behind them; they must be answered with `status` and a line
    /// that holds `says`, and leave nothing behind.
    #[track_caller]
    pub fn refused(&mut self, bytes: &[u8], status: u16, says: &str, then: Then) -> Answer {
        let mut connection = self.server.connect();
        let answer = match then {
            Closed => {
                connection.write_if_open(&[bytes, SMUGGLED].concat());
                let answer = connection.answer_to("PUT");
                let rest = connection.rest();
                assert!(rest.is_empty(), "{}: then {}", shown(bytes), shown(&rest));
                assert_eq!(answer.header("Connection"), Some("close"), "{}", shown(bytes));
                answer
            }
            Kept => {
                connection.write(bytes);
                let answer = connection.answer_to("PUT");
                let next = connection.send("GET", "/-/ready", &[], b"");
                assert_eq!(next.text(), "OK", "{}", shown(bytes));
                answer
            }
        };
        self.check_refusal(bytes, &answer, status, says);
        self.is_counted(bytes, status);
        self.nothing_changed(bytes);
        answer
    }

    /// As [`Siege::refused`] for what ends before it is whole: the client sends no more, but reads.
    #[track_caller]
    pub fn refused_at_its_end(&mut self, bytes: &[u8], status: u16, says: &str) {
        let mut connection = self.server.connect();
        connection.write(bytes);
        connection.end();
        let answer = connection.answer_to("PUT");
        assert!(connection.rest().is_empty(), "{}", shown(bytes));
        self.check_refusal(bytes, &answer, status, says);
        self.nothing_changed(bytes);
    }

    /// Every refusal but those of the router goes up in a counter.
    #[track_caller]
    fn is_counted(&mut self, bytes: &[u8], status: u16) {
        if !matches!(status, 301 | 307 | 403 | 404 | 405 | 417)
            && !bytes.windows(3).any(|part| part == b" * ")
        {
            let now = look(&mut self.neighbour).refused;
            assert!(now > self.seen.refused, "not counted: {}", shown(bytes));
        }
    }

    /// A push refused by the store: only the failure time of the group with these labels has moved.
    #[track_caller]
    pub fn stamped(&mut self, bytes: &[u8], says: &str, labels: &str) {
        let before = self.server.scrape();
        let mut connection = self.server.connect();
        connection.write(bytes);
        let answer = connection.answer_to("PUT");
        assert_eq!(connection.send("GET", "/-/ready", &[], b"").text(), "OK");
        self.check_refusal(bytes, &answer, 400, says);
        let after = self.server.scrape();
        let stamp = format!("push_failure_time_seconds{{{labels}}}");
        let moved = (before.value(&stamp).unwrap_or(0.0), after.value(&stamp).unwrap_or(0.0));
        assert!(moved.1 > moved.0, "{}: {moved:?}", shown(bytes));
        let new = !before.has_group(labels);
        let push = format!("push_time_seconds{{{labels}}} ");
        let others = |scrape: &Scrape| -> String {
            let is_ours =
                |line: &str| line.starts_with(&stamp) || new && line.starts_with(&push) || is_own(line);
            scrape.text.lines().filter(|line| !is_ours(line)).map(|line| format!("{line}\n")).collect()
        };
        assert_eq!(others(&after), others(&before), "{}", shown(bytes));
        self.go_on();
    }

    /// What must be taken all the same, or is none of the store's business.
    #[track_caller]
    pub fn answered(&mut self, bytes: &[u8], status: u16) -> Answer {
        let mut connection = self.server.connect();
        connection.write(bytes);
        let answer = connection.answer_to("PUT");
        assert_eq!(answer.status, status, "{}: {}", shown(bytes), shown(&answer.body));
        self.go_on();
        answer
    }

    /// Nothing is stored, whatever happened to whoever sent `what`.
    #[track_caller]
    pub fn nothing_changed(&mut self, what: &[u8]) {
        let now = look(&mut self.neighbour);
        assert_eq!(now.exposition, self.seen.exposition, "after {}", shown(what));
        assert_eq!(now.groups, self.seen.groups, "after {}", shown(what));
        self.go_on();
    }

    /// The value of one of our own series.
    pub fn figure(&self, series: &str) -> f64 {
        self.server.scrape().value(series).unwrap_or_else(|| panic!("no {series}"))
    }

    /// The neighbour pushes, sees its push, and takes a new look.
    #[track_caller]
    fn go_on(&mut self) {
        self.neighbour.send("PUT", "/metrics/job/neighbour", &[], b"neighbour 1\n").is_empty_with(200);
        self.seen = look(&mut self.neighbour);
        assert!(self.seen.exposition.contains("\nneighbour{instance=\"\",job=\"neighbour\"} 1\n"));
    }

    #[track_caller]
    fn check_refusal(&self, bytes: &[u8], answer: &Answer, status: u16, says: &str) {
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{}: {text}", shown(bytes));
        assert!(text.contains(says), "{}: {text}", shown(bytes));
        assert!(text.len() <= REFUSAL_BYTES_MAX, "{}: {} bytes", shown(bytes), text.len());
        let one_line = text.strip_suffix('\n').unwrap_or(&text);
        assert!(!one_line.contains(['\n', '\0']), "{}: {text:?}", shown(bytes));
        if !answer.body.is_empty() {
            assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
        }
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.server.is_running(), "the server is gone: {}", self.server.log());
            let log = self.server.log();
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}

/// A push with these headers besides `Host`.
pub fn push_with(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("PUT /metrics/job/hostile HTTP/1.1\r\nHost: h\r\n{headers}\r\n").as_bytes(), body].concat()
}

/// A push of `body` to group `hostile`.
pub fn push(body: &[u8]) -> Vec<u8> {
    request_bytes("PUT", "/metrics/job/hostile", &[], body)
}

/// A connection on which every byte is this test's business.
pub fn raw_connection(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Lets this process open as many descriptors as the system allows it: crowds need a thousand.
pub fn allow_many_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls on a structure of ours.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

/// Sends and resets the connection at once.
pub fn send_and_reset(server: &Server, bytes: &[u8]) {
    let mut stream = raw_connection(server);
    stream.write_all(bytes).unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

/// Sends, says that no more will come, and does not wait for an answer.
pub fn send_and_leave(server: &Server, bytes: &[u8]) {
    let mut stream = raw_connection(server);
    stream.write_all(bytes).unwrap();
    // The server may have answered and gone.
    let _ = stream.shutdown(Shutdown::Write);
}

/// Input as a failure shows it.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
    format!("{text:?} ({} bytes)", bytes.len())
}

fn look(connection: &mut Connection) -> Seen {
    let scrape = connection.send("GET", "/metrics", &[], b"");
    assert_eq!(scrape.status, 200, "{}", shown(&scrape.body));
    let exposition =
        scrape.text().lines().filter(|line| !is_own(line)).map(|line| format!("{line}\n")).collect();
    let groups = connection.send("GET", "/api/v1/metrics", &[], b"");
    assert_eq!(groups.status, 200);
    Seen { refused: refused(scrape.text()), exposition, groups: groups.text().to_owned() }
}

/// The sum of what counts refusals: bad heads, and pushes and deletes answered with an error.
fn refused(exposition: &str) -> f64 {
    let counts = |line: &&str| {
        line.starts_with("floodway_request_heads_refused_total{")
            || line.starts_with("floodway_pushes_refused_total{")
            || line.starts_with("pushgateway_http_requests_total{code=\"4")
    };
    let value =
        |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
    exposition.lines().filter(counts).map(value).sum()
}

fn is_own(line: &str) -> bool {
    let rest = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
    ["floodway_", "process_", "pushgateway_"].iter().any(|own| rest.starts_with(own))
}

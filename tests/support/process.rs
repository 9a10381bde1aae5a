//! The program itself in a process of its own, with a directory to keep groups in.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A directory for one test, removed at its end.
pub struct Scratch(PathBuf);

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Scratch {
    pub fn new() -> Scratch {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("floodway-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to sweep.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running server; killed when it is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

/// What a server that ended by itself said.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub log: String,
}

impl Server {
    /// Starts a server that keeps its groups in `folder`, and waits until it listens.
    pub fn start(folder: &Path, flags: &[&str]) -> Server {
        Server::try_start(folder, flags).expect("the server starts")
    }

    /// As [`Server::start`]; what it said if it ended instead.
    pub fn try_start(folder: &Path, flags: &[&str]) -> Result<Server, Ended> {
        // Writes that are too large for a limit set by a test are errors then, and no signal.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_floodway")])
            .args(["--web.listen-address=127.0.0.1:0", "--web.workers=2", "--web.enable-admin-api"])
            .arg(format!("--persistence.file={}", folder.display()))
            .args(flags)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        while lines.read_line(&mut log).unwrap() > 0 {
            let last = log.lines().next_back().unwrap();
            if let Some((_, address)) = last.split_once("address=").filter(|_| last.contains("Listening on"))
            {
                let address = address.split_whitespace().next().unwrap().parse().unwrap();
                let log = Arc::new(Mutex::new(log));
                let rest = log.clone();
                // Ends with the server's last word.
                std::thread::spawn(move || {
                    let mut line = String::new();
                    while lines.read_line(&mut line).unwrap_or(0) > 0 {
                        rest.lock().unwrap().push_str(&std::mem::take(&mut line));
                    }
                });
                return Ok(Server { child, address, log });
            }
        }
        Err(Ended { status: child.wait().unwrap(), log })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends it without a chance to write anything.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap()
    }

    /// One request on a connection of its own: status and body. `None` if the server went away.
    pub fn request(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        request(self.address, method, path, body)
    }

    /// A request that must be answered with `status`.
    pub fn expect(&self, status: u16, method: &str, path: &str, body: &str) -> String {
        let (got, text) = self.request(method, path, body).expect("an answer");
        assert_eq!(got, status, "{method} {path}: {text}");
        text
    }

    /// The sample lines of the exposition that begin with `prefix`, sorted.
    pub fn lines(&self, prefix: &str) -> Vec<String> {
        let text = self.expect(200, "GET", "/metrics", "");
        let mut lines: Vec<String> =
            text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Asks again until `done` likes the answer.
    pub fn until(&self, method: &str, path: &str, body: &str, done: impl Fn(u16, &str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let (status, text) = self.request(method, path, body).expect("an answer");
            if done(status, &text) {
                return;
            }
            assert!(Instant::now() < deadline, "{method} {path} stays at {status}: {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own: status and body. `None` if the server went away.
pub fn request(server: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut client = TcpStream::connect(server).ok()?;
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

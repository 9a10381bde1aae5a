//! The built binary on a free loopback port, and a small HTTP client for it.
//!
//! Nothing here knows the gateway's insides: what a test can say is what a client can see. A [`Server`]
//! ends its process when it is dropped, so a failed test leaves nothing behind.

// Each test file is a crate of its own and uses a part of this one.
#![allow(dead_code)]

mod client;
#[path = "../../src/plugin/tests/folder.rs"]
pub mod folder;
pub mod hostile;
pub mod protobuf;
mod scrape;

pub use client::{Answer, Connection, request_bytes};
pub use scrape::Scrape;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything. No test measures it; it only turns a hang into a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test, ready for arguments.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_floodway"))
}

/// Runs the program to its end, for arguments that do not let it serve.
pub fn run(arguments: &[&str]) -> Output {
    program().args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The flag that makes a gateway run the plugins of `folder`.
pub fn plugins_of(folder: &folder::Folder) -> String {
    format!("--plugin.dir={}", folder.path().display())
}

/// A running gateway.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the program with `flags` on a free port of the loopback interface.
    pub fn start(flags: &[&str]) -> Server {
        Server::start_as(program(), flags)
    }

    /// As [`Server::start`], for a command that runs the program under conditions of its own.
    pub fn start_as(mut command: Command, flags: &[&str]) -> Server {
        command.arg("--web.listen-address=127.0.0.1:0").args(flags).stdin(Stdio::null());
        Server::of(command)
    }

    /// Starts the program as `command` says, which is all but where its output goes.
    pub fn of(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        // The port is open before the line that names it is written.
        let address = loop {
            let Some(line) = lines.next().map(Result::unwrap) else {
                panic!("{command:?} ended with {:?}: {log}", child.wait());
            };
            log += &line;
            log.push('\n');
            if let Some(address) = listening_on(&line) {
                break address;
            }
        };
        let log = Arc::new(Mutex::new(log));
        let shared = log.clone();
        let log_reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = shared.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Server { child, address, log, log_reader: Some(log_reader) }
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut connection = self.connect();
        connection.write(&request_bytes(method, target, headers, body));
        connection.answer_to(method)
    }

    /// Writes `bytes`, ends the sending side, and reads until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut connection = self.connect();
        connection.write(bytes);
        connection.end();
        String::from_utf8_lossy(&connection.rest()).into_owned()
    }

    pub fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], b"")
    }

    pub fn put(&self, target: &str, body: &str) -> Answer {
        self.send("PUT", target, &[], body.as_bytes())
    }

    pub fn post(&self, target: &str, body: &str) -> Answer {
        self.send("POST", target, &[], body.as_bytes())
    }

    pub fn delete(&self, target: &str) -> Answer {
        self.send("DELETE", target, &[], b"")
    }

    /// A push that must be taken.
    #[track_caller]
    pub fn must_put(&self, target: &str, body: &str) {
        self.put(target, body).is_empty_with(200);
    }

    /// A POST that must be taken.
    #[track_caller]
    pub fn must_post(&self, target: &str, body: &str) {
        self.post(target, body).is_empty_with(200);
    }

    #[track_caller]
    pub fn scrape(&self) -> Scrape {
        self.scrape_with(&[])
    }

    /// What a scraper with these headers reads.
    #[track_caller]
    pub fn scrape_with(&self, headers: &[(&str, &str)]) -> Scrape {
        let answer = self.send("GET", "/metrics", headers, b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Scrape::new(answer.text())
    }

    /// The exposition without our own families and the push times.
    #[track_caller]
    pub fn pushed(&self) -> String {
        self.scrape().pushed()
    }

    /// The `data` of an API answer.
    #[track_caller]
    pub fn api(&self, target: &str) -> Value {
        let answer = self.get(target);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut all: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(all["status"], "success");
        all["data"].take()
    }

    /// The group with exactly these labels as `/api/v1/metrics` shows it.
    #[track_caller]
    pub fn group(&self, labels: &Value) -> Option<Value> {
        let Value::Array(groups) = self.api("/api/v1/metrics") else { panic!("data is no array") };
        groups.into_iter().find(|group| group["labels"] == *labels)
    }

    /// Removes every group; the server was started with `--web.enable-admin-api`.
    #[track_caller]
    pub fn wipe(&self) {
        self.send("PUT", "/api/v1/admin/wipe", &[], b"").is_empty_with(202);
    }

    /// The process, for `/proc`.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: plain system call; the child has not been waited for, so the id is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// How the process ended, and all that it logged.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "still running: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        };
        self.log_reader.take().unwrap().join().unwrap();
        (status, self.log())
    }

    /// Waits until it has logged `words`; lines come from a thread of their own.
    #[track_caller]
    pub fn must_log(&self, words: &str) {
        let begun = Instant::now();
        while !self.log().contains(words) {
            assert!(begun.elapsed() < PATIENCE, "{words:?} was not logged: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the log line that says where the server listens, in either log format.
fn listening_on(line: &str) -> Option<SocketAddr> {
    if !line.contains("Listening on") {
        return None;
    }
    let (_, rest) = line.split_once("address")?;
    let address = rest.trim_start_matches(['"', '=', ':']);
    address.split(['"', ' ', ',']).next()?.parse().ok()
}

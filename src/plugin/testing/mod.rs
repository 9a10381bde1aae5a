//! Tests of plugins: `*_test.lua` files with `gate.test`, and golden files.
//!
//! This is the part that knows Lua and files. The gateway that a test pushes into is a [`World`], handed in
//! by whoever can make one. Every case runs three times, and must get the same answers: with the cache of
//! `on_series` off, on, and on with what the second run has filled in.

pub mod diff;
mod find;
mod golden;

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::door::StoreFacts;
use super::fault::{Code, Fault};
use super::settings::File;
use super::value::Value;
use super::vm::TestFile;
use crate::format::json;

pub use find::{Found, Kind, find};
pub use golden::{read as read_request, written as write_reply};

/// Unix seconds at which every case begins.
pub const EPOCH: f64 = 1_700_000_000.0;

/// A request as a test writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `PUT`, `POST` or `DELETE`.
    pub method: String,
    /// As in a request line; it spells job and grouping labels.
    pub path: String,
    pub user: Option<String>,
    pub client: String,
    pub tls: bool,
    pub cert_name: Option<String>,
    /// Names in any case. The user of `Authorization: Basic` counts as verified, unless `user` says.
    pub headers: Vec<(String, String)>,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
    /// Unix seconds.
    pub time: f64,
    /// What plugins are told is stored, in place of what is.
    pub facts: Option<StoreFacts>,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            method: "POST".into(),
            path: "/metrics/job/test".into(),
            user: None,
            client: "127.0.0.1".into(),
            tls: false,
            cert_name: None,
            headers: Vec::new(),
            content_type: None,
            body: Vec::new(),
            time: EPOCH,
            facts: None,
        }
    }
}

/// One line of an exposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
    /// As it is exposed.
    pub text: String,
}

/// The answer to a [`Request`], and what plugins did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub stored: bool,
    /// What the pusher reads of a refusal, without its line feed; empty if there is none.
    pub message: String,
    /// The same as the plugin gave it.
    pub reason: Option<String>,
    pub plugin: Option<String>,
    pub code: Option<String>,
    pub headers: Vec<(String, String)>,
    /// Grouping labels as the plugins left them.
    pub group: Vec<(String, String)>,
    /// The group as it is stored now, sorted by text.
    pub lines: Vec<Line>,
    /// HELP and TYPE of its families, sorted.
    pub comments: Vec<String>,
    pub dropped: usize,
    /// Seconds that a plugin gave the group to live; zero: for ever.
    pub ttl: Option<f64>,
    pub log: Vec<String>,
    pub steps: u64,
    /// Results of `on_series` that were remembered.
    pub cached: u64,
}

impl Reply {
    /// The group in canonical form: one line each, no comments.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// What must not depend on the cache.
    fn essence(&self) -> String {
        let mut reply = self.clone();
        (reply.steps, reply.cached) = (0, 0);
        let labels = |pairs: &[(String, String)]| -> String {
            pairs.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
        };
        format!(
            "status {}\nstored {}\n{}\n{}group:\n{}{}log:\n{}\ndropped {} ttl {:?}",
            reply.status,
            reply.stored,
            reply.message,
            labels(&reply.headers),
            labels(&reply.group),
            reply.text(),
            reply.log.join("\n"),
            reply.dropped,
            reply.ttl
        )
    }
}

/// A gateway that belongs to one case.
pub trait World {
    fn send(&mut self, request: &Request) -> Reply;

    /// Lets time pass up to some unix seconds: timers run and groups end as they are due.
    fn advance(&mut self, to: f64);

    /// Begins anew, with what is remembered of series.
    fn again(&mut self);
}

/// Makes worlds; the text of an error says what is wrong with the plugins.
pub type Open = Rc<dyn Fn(&Path, &File) -> Result<Box<dyn World>, String>>;

/// What to run, and how.
#[derive(Clone)]
pub struct Plan {
    pub found: Vec<Found>,
    /// Only cases whose names hold this.
    pub filter: Option<String>,
    /// Writes answers into golden files instead of comparing them.
    pub update: bool,
    pub open: Open,
    /// The words that go with a status code.
    pub phrase: fn(u16) -> &'static str,
    /// The configuration of a directory where it is not read from its file.
    pub configured: Option<File>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// One line per case, and what is wrong with it.
    pub text: String,
    pub passed: usize,
    /// File and case, and what is wrong, of each that failed.
    pub failures: Vec<(String, String)>,
}

impl Report {
    fn add(&mut self, name: String, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                self.text.push_str(&format!("ok    {name}\n"));
            }
            Err(why) => {
                let lines: String = why.lines().map(|line| format!("      {line}\n")).collect();
                self.text.push_str(&format!("FAIL  {name}\n{lines}"));
                self.failures.push((name, why));
            }
        }
    }
}

/// How a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    CacheOff,
    CacheOn,
    CacheWarm,
}

impl Pass {
    const ALL: [Pass; 3] = [Pass::CacheOff, Pass::CacheOn, Pass::CacheWarm];

    fn text(self) -> &'static str {
        match self {
            Pass::CacheOff => "with the series cache off",
            Pass::CacheOn => "with the series cache on",
            Pass::CacheWarm => "with the series cache on and filled",
        }
    }
}

/// Runs everything that `plan` names.
pub fn run(plan: &Plan) -> Report {
    let mut report = Report::default();
    for found in &plan.found {
        match found.kind {
            Kind::Lua => run_file(plan, found, &mut report),
            Kind::Golden => golden::run(plan, found, &mut report),
        }
    }
    report
}

fn is_wanted(plan: &Plan, name: &str) -> bool {
    plan.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
}

fn run_file(plan: &Plan, found: &Found, report: &mut Report) {
    let file = found.shown();
    let loaded = fs::read_to_string(&found.path)
        .map_err(|error| error.to_string())
        .and_then(|source| TestFile::load(&source, found, plan));
    let tests = match loaded {
        Ok(tests) => tests,
        Err(why) => return report.add(file, Err(why)),
    };
    for (at, case) in tests.cases().iter().enumerate() {
        let name = format!("{file}: {case}");
        if is_wanted(plan, &name) {
            report.add(name, three_times(|pass| tests.run(at, pass)));
        }
    }
}

/// Runs a case in each way and compares its answers.
fn three_times(run: impl Fn(Pass) -> Result<Vec<Reply>, String>) -> Result<(), String> {
    let mut first: Option<Vec<Reply>> = None;
    for pass in Pass::ALL {
        let replies = run(pass).map_err(|why| {
            // The plain text where the cache makes no difference.
            if pass == Pass::CacheOff { why } else { format!("{} only: {why}", pass.text()) }
        })?;
        let Some(first) = &first else {
            first = Some(replies);
            continue;
        };
        let pairs = first.iter().map(Reply::essence).zip(replies.iter().map(Reply::essence));
        for (number, (off, on)) in pairs.enumerate() {
            let (off, on): (Vec<&str>, Vec<&str>) = (off.lines().collect(), on.lines().collect());
            if let Some(difference) = diff::difference(&off, &on) {
                let (number, how) = (number + 1, pass.text());
                return Err(format!(
                    "push {number} is answered otherwise {how} (+) than with it off (-): is on_series pure?\n{difference}"
                ));
            }
        }
    }
    Ok(())
}

/// What a test says of the plugins it wants, in place of the one it belongs to.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub config: Option<Value>,
    /// Entries as in plugins.yml; a text is a name.
    pub chain: Option<Vec<Value>>,
}

/// The configuration for a test.
///
/// # Errors
///
/// What it wants is not valid.
pub fn configuration(found: &Found, setup: &Setup, plan: &Plan, cached: bool) -> Result<File, String> {
    let text = |text: &str| Value::Text(text.to_owned());
    let entry = |value: &Value| match value {
        Value::Text(name) => match name.strip_prefix("bundled:") {
            Some(plain) => Value::Map(vec![("name".into(), text(plain)), ("use".into(), text(name))]),
            None => Value::Map(vec![("name".into(), text(name))]),
        },
        other => other.clone(),
    };
    let mut file = match (&setup.chain, &found.plugin) {
        (Some(chain), _) => written(chain.iter().map(entry).collect())?,
        (None, Some(plugin)) => {
            let mut own = vec![("name".to_owned(), text(plugin))];
            own.extend(setup.config.clone().map(|config| ("config".to_owned(), config)));
            written(vec![Value::Map(own)])?
        }
        (None, None) => found.configuration(plan)?,
    };
    if !cached {
        file.series_cache = Some(0);
    }
    Ok(file)
}

fn written(plugins: Vec<Value>) -> Result<File, String> {
    // JSON is YAML, so the reader of plugins.yml checks it all.
    let mut out = Vec::new();
    write_json(&mut out, &Value::Map(vec![("plugins".into(), Value::List(plugins))]));
    File::read(&String::from_utf8_lossy(&out)).map_err(|fault| fault.to_string())
}

/// Tables that describe something have a bounded depth.
fn write_json(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(is) => out.extend_from_slice(is.to_string().as_bytes()),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Float(number) => out.extend_from_slice(format!("{number:?}").as_bytes()),
        Value::Text(text) => json::push_string(out, text),
        // An empty table of Lua has no kind; the readers of lists take an empty map.
        Value::List(items) if items.is_empty() => out.extend_from_slice(b"{}"),
        Value::List(items) => {
            for (at, item) in items.iter().enumerate() {
                out.push(if at == 0 { b'[' } else { b',' });
                write_json(out, item);
            }
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            for (at, (key, item)) in pairs.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                json::push_string(out, key);
                out.push(b':');
                write_json(out, item);
            }
            out.push(b'}');
        }
    }
}

/// The failures of a report as what stops a reload.
pub fn faults(report: &Report) -> Vec<Fault> {
    let fault = |(name, why): &(String, String)| Fault::new(Code::Test, format!("{name}: {why}"));
    report.failures.iter().map(fault).collect()
}

/// The directory of plugins that a path lies in, and the file's own place below it.
fn below<'p>(dir: &Path, path: &'p Path) -> &'p Path {
    path.strip_prefix(dir).unwrap_or(path)
}

/// A path that is never empty.
fn or_here(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

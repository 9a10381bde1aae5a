//! Plugins tried out without a server: `floodway plugin test`, `floodway plugin run`, and the tests that
//! must pass before a reload.
//!
//! A [`World`] is a whole gateway of its own, so a test sees what a pusher and a scraper would see.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::clock::{Clock, Now, UnixNanos};
use crate::gateway::{Gateway, Mode, Settings, push_path};
use crate::http::auth::login_of;
use crate::http::route::{Route, Routed, Routes};
use crate::http::status;
use crate::http::target::Target;
use crate::model::{GroupingKey, NameRules, Refusal, RequestFacts};
use crate::plugin::command::{self, Failure, usage};
use crate::plugin::fault::{Code, Fault};
use crate::plugin::results::About;
use crate::plugin::settings::File;
use crate::plugin::testing::{self, Plan, Reply, Report, Request, World};
use crate::plugin::{Options, Passed, Plugins, Problem, TraceRow};
use crate::telemetry::Telemetry;

mod bench;
mod lines;
#[cfg(test)]
mod tests;

/// Runs `floodway plugin ...` if the arguments ask for it; the program's own name comes first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let args: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args.get(1).map(String::as_str) != Some("plugin") {
        return None;
    }
    let outcome = match args.get(2).map(String::as_str) {
        Some("test") => test(&args[3..]),
        Some("run") => run_once(&args[3..]),
        Some("bench") => bench::run(&args[3..]),
        _ => command::command(&args[2..]),
    };
    Some(command::finish(outcome))
}

fn options(dir: Option<PathBuf>, names: NameRules) -> Options {
    Options { dir, config: None, allow_broken: false, time_max: Duration::from_millis(50), names, workers: 1 }
}

/// Runs the tests of all plugins of `base` before a reload takes effect.
///
/// # Errors
///
/// What fails.
pub fn before_reload(base: &Options, file: &File) -> Result<(), Vec<Problem>> {
    let problem = |fault| Problem { plugin: None, fault };
    let Some(dir) = &base.dir else { return Ok(()) };
    let found = testing::find(dir).map_err(|text| vec![problem(Fault::new(Code::Test, text))])?;
    let configured = Some(File { reload_tests: false, ..file.clone() });
    let report = testing::run(&Plan { configured, ..plan(found, base.names) });
    let faults = testing::faults(&report);
    if faults.is_empty() { Ok(()) } else { Err(faults.into_iter().map(problem).collect()) }
}

fn plan(found: Vec<testing::Found>, names: NameRules) -> Plan {
    let open = move |dir: &Path, file: &File| -> Result<Box<dyn World>, String> {
        let bench = Bench::open(options(Some(dir.to_owned()), names), file.clone());
        bench.map(|bench| Box::new(bench) as Box<dyn World>).map_err(|problems| listed(&problems))
    };
    Plan { found, filter: None, update: false, open: Rc::new(open), phrase: status::phrase, configured: None }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// `plugin test [PATHS] [--update] [--filter TEXT]`.
fn test(args: &[String]) -> Result<String, Failure> {
    let (mut paths, mut update, mut filter, mut names) = (Vec::new(), false, None, NameRules::Legacy);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--update" => update = true,
            "--utf8-names" => names = NameRules::Utf8,
            "--filter" => {
                filter = Some(args.next().ok_or_else(|| usage("--filter needs a text"))?.clone());
            }
            _ => match arg.strip_prefix("--filter=") {
                Some(text) => filter = Some(text.to_owned()),
                None if arg.starts_with('-') => return Err(usage(format!("unknown option {arg}"))),
                None => paths.push(PathBuf::from(arg)),
            },
        }
    }
    if paths.is_empty() {
        paths.push(PathBuf::from("."));
    }
    let mut found = Vec::new();
    for path in &paths {
        found.extend(testing::find(path).map_err(usage)?);
    }
    let Report { text, passed, failures } = testing::run(&Plan { filter, update, ..plan(found, names) });
    let text = format!("{text}{passed} passed, {} failed\n", failures.len());
    if failures.is_empty() { Ok(text) } else { Err(Failure::Problems(text)) }
}

/// `plugin run --config FILE --method M --path P [--header K:V]... [--user U] [--trace] < BODY`.
fn run_once(args: &[String]) -> Result<String, Failure> {
    let mut request = Request { time: Now::read().wall.seconds(), ..Request::default() };
    let (mut config, mut dir, mut trace, mut has_path) = (None, None, false, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--trace" {
            trace = true;
            continue;
        }
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let value = args.next().ok_or_else(|| usage(format!("{arg} needs a value")))?;
                (arg.as_str(), value.clone())
            }
        };
        match name {
            "--config" => config = Some(PathBuf::from(value)),
            "--dir" => dir = Some(PathBuf::from(value)),
            "--method" => request.method = value.to_ascii_uppercase(),
            "--path" => (request.path, has_path) = (value, true),
            "--user" => request.user = Some(value),
            "--header" => {
                let (name, value) = value.split_once(':').ok_or_else(|| usage("--header is NAME:VALUE"))?;
                request.add_header(name.trim(), value.trim());
            }
            other => return Err(usage(format!("unknown option {other}"))),
        }
    }
    if !has_path || (config.is_none() && dir.is_none()) {
        return Err(usage("plugin run needs --path and --config or --dir"));
    }
    let problem = |text: String| Failure::Problems(format!("{text}\n"));
    std::io::stdin().read_to_end(&mut request.body).map_err(|error| problem(error.to_string()))?;
    let dir = dir.or_else(|| command::dir_of(config.as_deref()?));
    let options = Options { config, ..options(dir, NameRules::Legacy) };
    let file =
        crate::plugin::generation::read_config(&options).map_err(|fault| problem(fault.to_string()))?;
    // What is remembered of a series is not run, and a trace is to show it.
    let file = if trace { File { series_cache: Some(0), ..file } } else { file };
    let mut bench = Bench::open(options, file).map_err(|problems| problem(listed(&problems)))?;
    if trace {
        bench.plugins.begin_trace();
    }
    let reply = bench.send(&request);
    let mut out = testing::write_reply(&reply, status::phrase(reply.status));
    if trace {
        out.push_str(&traced(&reply, &bench.plugins.end_trace()));
    }
    Ok(out)
}

/// What plugins did, for `--trace`.
fn traced(reply: &Reply, rows: &[TraceRow]) -> String {
    let mut out = String::from("\n");
    let group: Vec<String> = reply.group.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    out.push_str(&format!("group    {{{}}}\n", group.join(",")));
    for (name, value) in &reply.headers {
        out.push_str(&format!("header   {name}: {value}\n"));
    }
    out.push_str(&format!("dropped  {} samples\nsteps    {}\n", reply.dropped, reply.steps));
    for row in rows {
        let TraceRow { plugin, hook, calls, result, steps, microseconds, .. } = row;
        out.push_str(&format!(
            "hook     {plugin} {hook}: {result}; {calls} calls, {steps} steps, {microseconds:.1} µs{}\n",
            effects(row)
        ));
    }
    for record in &reply.log {
        out.push_str(&format!("log      {record}\n"));
    }
    out
}

/// What a hook did to the push, each thing behind a semicolon.
fn effects(row: &TraceRow) -> String {
    let mut out = String::new();
    for (what, names) in [
        ("adds labels", &row.labels_added),
        ("removes labels", &row.labels_removed),
        ("changes labels", &row.labels_changed),
        ("renames", &row.renamed),
    ] {
        if !names.is_empty() {
            out.push_str(&format!("; {what} {}", names.join(", ")));
        }
    }
    for (what, count) in
        [("values changed", row.values), ("samples added", row.added), ("samples dropped", row.dropped)]
    {
        if count > 0 {
            out.push_str(&format!("; {count} {what}"));
        }
    }
    out
}

/// A gateway with plugins on trial.
struct Bench {
    plugins: Arc<Plugins>,
    gateway: Gateway,
    names: NameRules,
    /// What the monotonic clock says at the beginning of a case.
    began: Instant,
    clock: Clock,
}

/// Runs of timers that one passing of time may bring.
const TIMER_RUNS_MAX: usize = 10_000;

impl Bench {
    fn open(options: Options, file: File) -> Result<Bench, Vec<Problem>> {
        let names = options.names;
        let plugins = Plugins::start_trial(options, file)?;
        let began = Instant::now();
        let clock = Clock::by_hand(reading(began, testing::EPOCH));
        let gateway = empty_gateway(names, &plugins, &clock)
            .map_err(|text| vec![Problem { plugin: None, fault: Fault::new(Code::Internal, text) }])?;
        Ok(Bench { plugins, gateway, names, began, clock })
    }

    fn remembered(&self) -> u64 {
        let all = self.plugins.all_shared();
        all.iter().map(|(_, shared)| shared.counts.cache_hits.load(Ordering::Relaxed)).sum()
    }
}

fn empty_gateway(names: NameRules, plugins: &Arc<Plugins>, clock: &Clock) -> Result<Gateway, String> {
    let settings = Settings { names, ..Settings::default() };
    let gateway = Gateway::open_by(clock.clone(), settings, Arc::new(Telemetry::new(1)), None);
    Ok(gateway.map_err(|error| error.to_string())?.with_plugins(plugins.clone()))
}

/// Both clocks at some unix seconds of a case that began at the epoch of tests.
fn reading(began: Instant, time: f64) -> Now {
    let since = Duration::from_secs_f64((time - testing::EPOCH).max(0.0));
    Now { wall: UnixNanos((time * 1e9) as u64), monotonic: began + since }
}

/// What the server makes of a request line: the group, or its refusal.
fn key_of(request: &Request, names: NameRules) -> Result<GroupingKey, (u16, String)> {
    let routes = Routes {
        prefix: String::new(),
        telemetry_path: "/metrics".into(),
        lifecycle: false,
        admin_api: false,
        bare_pushes: false,
    };
    let no_push = || (404, "no push path".to_owned());
    let target = Target::parse(request.path.as_bytes(), false).map_err(|_| (400, "bad path".to_owned()))?;
    match routes.main(request.method.as_bytes(), &target.path, &target) {
        Routed::To(Route::Push(path)) => {
            push_path::grouping_key(path.job, path.job_is_base64, path.rest, names)
                .map_err(|refusal| (refusal.reason.status(), refusal.text))
        }
        Routed::Answered(answer) if answer.status != 404 => Err((answer.status, no_push().1)),
        _ => Err(no_push()),
    }
}

impl World for Bench {
    fn send(&mut self, request: &Request) -> Reply {
        let key = match key_of(request, self.names) {
            Ok(key) => key,
            Err((status, message)) => {
                return Reply { status, reason: Some(message.clone()), message, ..Reply::default() };
            }
        };
        let remembered = self.remembered();
        let (accepted, result) = self.apply(request, &key);
        let trace = self.plugins.trace();
        self.plugins.tell_results();
        let mut reply = Reply { log: self.plugins.take_log(), ..Reply::default() };
        let mut stored_under = key;
        if let Some(trace) = trace {
            (reply.dropped, reply.steps, stored_under) = (trace.dropped, trace.steps, trace.key);
            reply.ttl = trace.ttl;
        }
        reply.cached = self.remembered() - remembered;
        let pairs = stored_under.labels().map(|(name, value)| (name.to_owned(), value.to_owned()));
        reply.group = pairs.collect();
        match result {
            Ok(passed) => {
                reply.status = accepted;
                reply.stored = passed.stored;
                let headers = passed.headers().into_iter();
                reply.headers = headers.map(|(name, value)| (name.to_owned(), value)).collect();
            }
            Err(refusal) => refuse(&mut reply, &refusal),
        }
        if let Some(group) = self.gateway.groups().iter().find(|group| *group.key == stored_under) {
            (reply.lines, reply.comments) = lines::of(group);
        }
        reply
    }

    fn again(&mut self) {
        self.plugins.forget_machines();
        self.clock = Clock::by_hand(reading(self.began, testing::EPOCH));
        // A thread can be had, for there was one.
        if let Ok(gateway) = empty_gateway(self.names, &self.plugins, &self.clock) {
            self.gateway = gateway;
        }
    }

    fn advance(&mut self, to: f64) {
        let now = self.clock.now();
        let then = reading(self.began, to);
        // Timers begin when their machine does, which is now if no push came.
        self.plugins.run_timers(now);
        for _ in 0..TIMER_RUNS_MAX {
            let Some(due) = self.plugins.next_timer().map(|due| due.since(now)) else { break };
            let by = then.monotonic.saturating_duration_since(now.monotonic);
            if due > by {
                break;
            }
            let wall =
                UnixNanos(now.wall.0.saturating_add(u64::try_from(due.as_nanos()).unwrap_or(u64::MAX)));
            self.plugins.run_timers(Now { wall, monotonic: now.monotonic + due });
        }
        self.clock.advance(then.monotonic.saturating_duration_since(now.monotonic));
        self.plugins.sweep(then);
        self.gateway.tend();
    }
}

fn refuse(reply: &mut Reply, refusal: &Refusal) {
    let about = About::of(refusal);
    reply.status = refusal.reason.status();
    reply.message = refusal.text.clone();
    reply.reason = Some(about.reason.to_owned());
    reply.plugin = about.plugin.map(str::to_owned);
    reply.code = about.code.map(str::to_owned);
    let headers = refusal.headers.iter();
    reply.headers = headers.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
}

impl Bench {
    /// Pushes or deletes; also says what is answered if nothing refuses it.
    fn apply(&self, request: &Request, key: &GroupingKey) -> (u16, Result<Passed, Refusal>) {
        let now = reading(self.began, request.time);
        let is_credentials = |header: &&(String, String)| header.0.eq_ignore_ascii_case("authorization");
        let credentials = request.headers.iter().find(is_credentials);
        let user = || credentials.and_then(|header| login_of(header.1.as_bytes()));
        let wanted = |header: &&(String, String)| self.gateway.wants_header(&header.0.to_ascii_lowercase());
        let facts = RequestFacts {
            method: match request.method.as_str() {
                "PUT" => "PUT",
                "DELETE" => "DELETE",
                _ => "POST",
            },
            path: request.path.clone(),
            client: request.client.clone(),
            user: request.user.clone().or_else(user),
            tls: request.tls,
            cert_name: request.cert_name.clone(),
            content_type: request.content_type.clone(),
            content_length: Some(request.body.len() as u64),
            headers: {
                let headers = request.headers.iter().filter(wanted);
                headers.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
            },
            accepted: if request.method == "DELETE" { 202 } else { 200 },
            ..RequestFacts::default()
        };
        self.plugins.lend_facts(request.facts);
        let body = Bytes::copy_from_slice(&request.body);
        let accepted = facts.accepted;
        let result = match facts.method {
            "DELETE" => self.gateway.delete_with(key, facts, now),
            "PUT" => self.gateway.push_with(Mode::ReplaceGroup, key, facts, &body, now),
            _ => self.gateway.push_with(Mode::ReplaceFamilies, key, facts, &body, now),
        };
        (accepted, result)
    }
}

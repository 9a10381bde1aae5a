//! What plugins cost a sample, a machine and a start, held against the gates of the plugin API.
//!
//! Costs per sample are differences: pushes of ten samples with five labels through one plugin, less the
//! same through a plugin that looks at nothing, case by case, all of a shape that is new each time, so that nothing is
//! remembered but by the cache of `on_series`. They hold what the store pays for labels that the plugin added.
//! Beside each stands the time that a push spends in the plugin, as the host counts it
//! (`floodway_plugin_seconds_total`), with the fixed cost of a call. Differences are CPU time of the thread;
//! all are the best of many interleaved windows.
//!
//! `--gates` makes a figure over its gate an error. A word besides (`-- T0`) runs what costs a sample alone,
//! of the cases that hold it: for profiles.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use floodway::clock::Now;
use floodway::gateway::{Gateway, Mode, Settings};
use floodway::model::{GroupingKey, NameRules, RequestFacts};
use floodway::packing::Packing;
use floodway::plugin::{Options, Plugins};
use floodway::telemetry::Telemetry;
use tikv_jemallocator::Jemalloc;

/// The server's: another one has its steps in cost elsewhere.
#[global_allocator]
static ALLOCATOR: Packing<Jemalloc> = Packing::new(Jemalloc);

const SAMPLES: usize = 10;
const WINDOWS: usize = 200;
const PUSHES: usize = 100;

/// What the three calls are, in each tier that can make them.
const CALLS: &str =
    "if s:is('env', 'dev') then return gate.DROP end s:rename('host', 'node') s:set('cluster', 'c1')";

/// Name, plugin, labels of a stored series, gate in nanoseconds per sample.
type Case = (&'static str, String, usize, Option<f64>);

fn cases() -> Vec<Case> {
    let rules = |rules: &str| format!("return {{ api = 1, relabel = {{ {rules} }} }}");
    let hook = |hook: &str| format!("return {{ api = 1, {hook} = function(s) {CALLS} end }}");
    vec![
        ("looks at nothing", "return { api = 1, on_push = function() end }".into(), 7, None),
        (
            "T0: three literal rules",
            rules(
                "{ source_labels = { 'env' }, regex = 'dev', action = 'drop' },
                 { source_labels = { 'host' }, target_label = 'node' },
                 { target_label = 'cluster', replacement = 'c1' }",
            ),
            9,
            Some(100.0),
        ),
        (
            "T0: three rules by the regex engine",
            rules(
                "{ source_labels = { 'env' }, regex = 'd(e)v', action = 'drop' },
                 { source_labels = { 'host' }, regex = 'node-([0-9]+)', target_label = 'node' },
                 { source_labels = { 'path' }, regex = '/api/v1/items/([0-9]+)', target_label = 'item' }",
            ),
            9,
            None,
        ),
        ("T1: on_series, three calls, remembered", hook("on_series"), 8, Some(120.0)),
        ("T3: on_sample, three calls", hook("on_sample"), 8, Some(350.0)),
    ]
}

/// A folder of plugins, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(String, String)]) -> Folder {
        let path = std::env::temp_dir().join(format!("floodway-cost-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        files.iter().for_each(|(name, text)| fs::write(path.join(name), text).expect("a file"));
        Folder(path)
    }

    fn start(&self, workers: usize) -> Arc<Plugins> {
        let options = Options {
            dir: Some(self.0.clone()),
            config: None,
            allow_broken: false,
            time_max: Duration::from_millis(50),
            names: NameRules::Legacy,
            workers,
        };
        Plugins::start(options).unwrap_or_else(|problems| panic!("{}", problems[0]))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn body(round: usize) -> Bytes {
    let mut text = format!("# {round}\n# HELP requests_total Requests.\n# TYPE requests_total counter\n");
    for at in 0..SAMPLES {
        text.push_str(&format!(
            "requests_total{{env=\"prod\",host=\"node-{at}\",path=\"/api/v1/items/{at}\",method=\"GET\",code=\"200\"}} {round}\n"
        ));
    }
    text.into()
}

fn gateway(plugins: Arc<Plugins>) -> Gateway {
    Gateway::new(Settings::default(), Arc::new(Telemetry::new(1))).expect("a thread").with_plugins(plugins)
}

fn push(gateway: &Gateway, key: &GroupingKey, body: &Bytes) {
    let facts = RequestFacts { method: "PUT", ..RequestFacts::default() };
    gateway.push_with(Mode::ReplaceGroup, key, facts, body, Now::read()).expect("a push that is taken");
}

/// CPU time that this thread has used.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn resident_bytes() -> usize {
    let text = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// Prints a figure; the gate it breaks, if any.
fn judge(name: &str, figure: f64, unit: &str, gate: Option<f64>) -> Option<String> {
    let said = gate.map(|gate| format!(" (gate {gate} {unit})")).unwrap_or_default();
    println!("{name}: {figure:.2} {unit}{said}");
    gate.filter(|gate| figure > *gate).map(|_| name.to_owned())
}

/// Each case beside the first. No more at a time: a thread remembers the machines of a few engines only.
fn in_pairs(cases: &[Case]) -> Vec<Option<String>> {
    let pairs = cases[1..].iter().map(|case| [cases[0].clone(), case.clone()]);
    pairs.flat_map(|pair| per_sample(&pair)).collect()
}

/// The first case is what the others are compared with.
fn per_sample(cases: &[Case]) -> Vec<Option<String>> {
    let key = GroupingKey::new("cost", [("instance", "i")]);
    let bodies: Vec<Bytes> = (0..64).map(body).collect();
    let servers: Vec<(Arc<Plugins>, Gateway)> = cases
        .iter()
        .enumerate()
        .map(|(at, (_, lua, ..))| {
            let folder = Folder::new(&format!("case{at}"), &[("p.lua".into(), lua.clone())]);
            let plugins = folder.start(1);
            (plugins.clone(), gateway(plugins))
        })
        .collect();
    let inside = |plugins: &Plugins| plugins.overview().plugins[0].seconds * 1e9;
    // Of a push: all of it, and in the plugin.
    let mut best = vec![(f64::INFINITY, f64::INFINITY); servers.len()];
    let mut at = 0;
    for _ in 0..WINDOWS {
        for ((plugins, gateway), best) in servers.iter().zip(&mut best) {
            let (was_inside, before) = (inside(plugins), cpu());
            for _ in 0..PUSHES {
                at = (at + 1) % bodies.len();
                push(gateway, &key, &bodies[at]);
            }
            best.0 = best.0.min((cpu() - before).as_nanos() as f64 / PUSHES as f64);
            best.1 = best.1.min((inside(plugins) - was_inside) / PUSHES as f64);
        }
    }
    println!(
        "a push of {SAMPLES} samples through a plugin that looks at nothing: {:.2} µs",
        best[0].0 / 1000.0
    );
    let judged = cases.iter().zip(&servers).zip(&best).skip(1);
    let judged = judged.map(|(((name, _, labels, gate), (_, gateway)), figure)| {
        let groups = gateway.groups();
        let families = groups[0].families();
        let series: Vec<_> = families[0].series().collect();
        assert_eq!((series.len(), series[0].labels.len()), (SAMPLES, *labels), "{name}");
        judge(&format!("{name}: in the plugin"), figure.1 / SAMPLES as f64, "ns per sample", None);
        judge(name, (figure.0 - best[0].0) / SAMPLES as f64, "ns per sample", *gate)
    });
    judged.collect()
}

/// Thirty-two plugins on sixty-four workers.
fn footprint() -> Vec<Option<String>> {
    const PLUGINS: usize = 32;
    const WORKERS: usize = 64;
    let lua = format!("return {{ api = 1, on_sample = function(s) {CALLS} end }}");
    let files: Vec<_> = (0..PLUGINS).map(|at| (format!("p{at}.lua"), lua.clone())).collect();
    let folder = Folder::new("many", &files);
    let gateway = Arc::new(gateway(folder.start(WORKERS)));
    let (loaded, done) = (Arc::new(Barrier::new(WORKERS + 1)), Arc::new(Barrier::new(WORKERS + 1)));
    let start = Arc::new(Barrier::new(WORKERS + 1));
    let threads: Vec<_> = (0..WORKERS)
        .map(|at| {
            let (gateway, start, loaded, done) =
                (gateway.clone(), start.clone(), loaded.clone(), done.clone());
            thread::spawn(move || {
                start.wait();
                let before = cpu();
                push(&gateway, &GroupingKey::new(&format!("j{at}"), []), &Bytes::from_static(b"a 1\n"));
                let used = cpu() - before;
                loaded.wait();
                done.wait();
                used
            })
        })
        .collect();
    let before = resident_bytes();
    let begun = Instant::now();
    start.wait();
    loaded.wait();
    let (wall, after) = (begun.elapsed(), resident_bytes());
    done.wait();
    let used: Duration = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    assert_eq!(gateway.groups().len(), WORKERS);
    let machines = (PLUGINS * WORKERS) as f64;
    vec![
        judge("a machine, made and loaded", used.as_secs_f64() * 1e3 / machines, "ms", Some(1.0)),
        judge("a machine, resident", (after - before) as f64 / machines / 1048576.0, "MiB", Some(0.3)),
        judge("32 plugins on 64 workers, from the first push", wall.as_secs_f64(), "s", Some(2.0)),
    ]
}

/// Scripts that would stay, and that look where steps are not counted: in the collector, in metamethods, in
/// C functions, in unwinding.
const RUNAWAYS: &[(&str, &str)] = &[
    ("an endless loop", "while true do end"),
    ("endless loops in pcall", "while true do pcall(function() while true do end end) end"),
    (
        "an endless chain of __index",
        "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end })
         while true do pcall(function() return t[1] end) end",
    ),
    (
        "the same in xpcall",
        "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end })
         while true do xpcall(function() return t[1] end, function(e) return t[1] end) end",
    ),
    (
        "a backtracking pattern",
        "string.find(string.rep('a', 200), string.rep('a?', 200) .. string.rep('a', 200) .. 'b')
         while true do string.match(string.rep('x', 30000), '.-.-.-.-y') end",
    ),
    ("deep recursion", "local function f(n) return 1 + f(n + 1) end while true do pcall(f, 1) end"),
    ("memory", "local t = {} while true do t[#t + 1] = string.rep('x', 1000) .. #t end"),
    (
        "memory in pcall",
        "local t = {} while true do pcall(function() t[#t + 1] = string.rep('x', 100000) .. #t end) end",
    ),
    ("copies of a large string", "local s = string.rep('x', 2000000) while true do local t = s .. 'y' end"),
    ("sorting", "table.sort({ 3, 2, 1 }, function() while true do end end)"),
    ("API calls", "while true do for s in push:samples() do s:set('a', 'b') end end"),
];

/// What a runaway uses of a worker before it is stopped, the least of some pushes of one sample: others on
/// the machine can only add to it.
fn runaways() -> Vec<Option<String>> {
    const TURNS: usize = 7;
    let plugin = |attack: &str| {
        format!(
            "return {{ api = 1, on_push = function(push) if push:count('bad') > 0 then {attack} end end }}"
        )
    };
    let judged = RUNAWAYS.iter().map(|(name, attack)| {
        let folder = Folder::new("runaway", &[("p.lua".into(), plugin(attack))]);
        let gateway = gateway(folder.start(1));
        let send = |turn: usize, body: &'static [u8]| {
            let facts = RequestFacts { method: "PUT", ..RequestFacts::default() };
            // The breaker goes by job.
            let key = GroupingKey::new(&format!("{name} {turn}"), []);
            let before = cpu();
            let sent =
                gateway.push_with(Mode::ReplaceGroup, &key, facts, &Bytes::from_static(body), Now::read());
            (sent.is_ok(), cpu() - before)
        };
        let mut least = Duration::MAX;
        for turn in 0..TURNS {
            assert!(send(turn, b"good 1\n").0, "{name}: the machine does not work");
            let (stored, used) = send(turn, b"bad 1\n");
            assert!(!stored, "{name} is not stopped");
            least = least.min(used);
        }
        // Twice the budget of a push of one sample, which is 2.005 ms.
        judge(&format!("stopped: {name}"), least.as_secs_f64() * 1e3, "ms of CPU", Some(4.01))
    });
    judged.collect()
}

fn main() {
    let cases = cases();
    if let Some(word) = std::env::args().skip(1).find(|arg| !arg.starts_with("--")) {
        let chosen: Vec<Case> = cases
            .into_iter()
            .enumerate()
            .filter(|(at, case)| *at == 0 || case.0.contains(&word))
            .map(|case| case.1)
            .collect();
        in_pairs(&chosen);
        return;
    }
    let mut broken: Vec<String> = in_pairs(&cases).into_iter().flatten().collect();
    broken.extend(runaways().into_iter().flatten());
    broken.extend(footprint().into_iter().flatten());
    if std::env::args().any(|arg| arg == "--gates") && !broken.is_empty() {
        eprintln!("over its gate: {}", broken.join("; "));
        std::process::exit(1);
    }
}

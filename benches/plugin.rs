//! What plugins cost a push of ten samples with five labels each, through the whole gateway.
//!
//! `alone` is the gateway without plugins on bodies it has seen before, which is its short way;
//! `alone, new shape` is the way that a push with plugins takes as well: parse, build, compare. Each
//! case asserts what was stored, so none can be fast by doing nothing.

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use floodway::clock::Now;
use floodway::gateway::{Gateway, Mode, Settings};
use floodway::model::{GroupingKey, NameRules, RequestFacts};
use floodway::plugin::{Options, Plugins};
use floodway::telemetry::Telemetry;

fn body(round: u32) -> Bytes {
    let mut text = String::from("# HELP requests_total Requests.\n# TYPE requests_total counter\n");
    for at in 0..10 {
        text.push_str(&format!(
            "requests_total{{env=\"prod\",host=\"node-{at}\",path=\"/api/v1/items/{at}\",method=\"GET\",code=\"200\"}} {round}\n"
        ));
    }
    text.into()
}

fn gateway() -> Gateway {
    Gateway::new(Settings::default(), Arc::new(Telemetry::new(1))).expect("a thread for the renderer")
}

fn with_plugin(name: &str, lua: &str) -> Gateway {
    let dir = std::env::temp_dir().join(format!("floodway-bench-{}-{name}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder");
    fs::write(dir.join("p.lua"), lua).expect("a file");
    let options = Options {
        dir: Some(dir.clone()),
        config: None,
        allow_broken: false,
        time_max: Duration::from_millis(50),
        names: NameRules::Legacy,
        workers: 1,
    };
    let plugins = Plugins::start(options).unwrap_or_else(|problems| panic!("{}", problems[0]));
    fs::remove_dir_all(dir).expect("the folder made above");
    gateway().with_plugins(plugins)
}

/// Name, plugin, labels of a stored series.
const CASES: &[(&str, &str, usize)] = &[
    ("nothing", "return { api = 1, on_push = function() end }", 7),
    (
        "rules",
        "return { api = 1, relabel = {
           { source_labels = { 'env' }, regex = 'dev', action = 'drop' },
           { source_labels = { 'host' }, target_label = 'node' },
           { source_labels = { 'path' }, regex = '/api/v1/items/([0-9]+)', target_label = 'item', replacement = 'n$1' },
         } }",
        9,
    ),
    (
        "series",
        "return { api = 1, on_series = function(s)
           if s:is('env', 'dev') then return gate.DROP end
           s:rename('host', 'node') s:set('cluster', 'c1')
         end }",
        8,
    ),
    (
        "sample",
        "return { api = 1, on_sample = function(s)
           if s:is('env', 'dev') then return gate.DROP end
           s:rename('host', 'node') s:set('cluster', 'c1')
         end }",
        8,
    ),
];

/// Asserts that ten series are stored, with so many labels each, unless the case was filtered out.
fn check(gateway: &Gateway, labels: usize, name: &str) {
    let groups = gateway.groups();
    if groups.is_empty() {
        return;
    }
    let families = groups[0].families();
    let series: Vec<_> = families[0].series().collect();
    assert_eq!((groups.len(), families.len(), series.len()), (1, 1, 10), "{name}");
    assert!(series.iter().all(|series| series.labels.len() == labels), "{name}");
}

fn pushes(c: &mut Criterion) {
    let key = GroupingKey::new("bench", [("instance", "i")]);
    let bodies: Vec<Bytes> = (0..16).map(body).collect();
    let mut group = c.benchmark_group("push of 10 samples");
    let alone = gateway();
    let mut at = 0;
    group.bench_function("alone", |b| {
        b.iter(|| {
            at = (at + 1) % bodies.len();
            alone.push(Mode::ReplaceGroup, &key, None, black_box(&bodies[at]), Now::read())
        });
    });
    check(&alone, 7, "alone");
    // A comment that differs each time is enough for the template not to fit.
    let shapes: Vec<Bytes> =
        (0..16).map(|round| Bytes::from([format!("#{round}\n").as_bytes(), &body(round)].concat())).collect();
    let renewed = gateway();
    group.bench_function("alone, new shape", |b| {
        b.iter(|| {
            at = (at + 1) % shapes.len();
            renewed.push(Mode::ReplaceGroup, &key, None, black_box(&shapes[at]), Now::read())
        });
    });
    check(&renewed, 7, "alone, new shape");
    for (name, lua, labels) in CASES {
        let gateway = with_plugin(name, lua);
        let facts = RequestFacts { method: "PUT", ..RequestFacts::default() };
        group.bench_function(*name, |b| {
            b.iter(|| {
                at = (at + 1) % bodies.len();
                gateway.push_with(
                    Mode::ReplaceGroup,
                    &key,
                    facts.clone(),
                    black_box(&bodies[at]),
                    Now::read(),
                )
            });
        });
        check(&gateway, *labels, name);
    }
    group.finish();
}

criterion_group!(benches, pushes);
criterion_main!(benches);

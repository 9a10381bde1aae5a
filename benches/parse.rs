//! What reading a push costs: a body as clients send it, one of histograms, and the numbers in them.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use floodway::format::float::{parse_float, write_float};
use floodway::model::{Families, NameRules};
use floodway::parse::{push_path, text};

/// Ten families of ten series, three or four labels and about a hundred bytes a line.
fn plain_body() -> String {
    let mut body = String::new();
    for family in 0..10 {
        let name = format!("worker_job_items_processed_{family}");
        let _ = write!(body, "# HELP {name} Items that the job has processed.\n# TYPE {name} counter\n");
        for series in 0..10 {
            let extra = if series % 2 == 0 { ",shard=\"7\"" } else { "" };
            let value = (family * 1000 + series) as f64 * 1.25;
            let _ = writeln!(
                body,
                "{name}{{region=\"eu-west-{series}\",queue=\"orders\",status=\"succeeded\"{extra}}} {value}"
            );
        }
    }
    body
}

fn histogram_body() -> String {
    let mut body = String::new();
    for family in 0..4 {
        let name = format!("request_duration_seconds_{family}");
        let _ = writeln!(body, "# TYPE {name} histogram");
        for series in 0..4 {
            for (count, bound) in ["0.005", "0.01", "0.1", "0.5", "1", "5", "+Inf"].iter().enumerate() {
                let _ = writeln!(
                    body,
                    "{name}_bucket{{method=\"GET\",path=\"/api/{series}\",le=\"{bound}\"}} {count}"
                );
            }
            let _ = writeln!(body, "{name}_sum{{method=\"GET\",path=\"/api/{series}\"}} 17.25");
            let _ = writeln!(body, "{name}_count{{method=\"GET\",path=\"/api/{series}\"}} 6");
        }
    }
    body
}

fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    for (name, body, samples) in [("plain", plain_body(), 100), ("histograms", histogram_body(), 144)] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        let mut warm = Some(Families::default());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let families = text::parse(
                    black_box(body.as_bytes()),
                    NameRules::Legacy,
                    warm.take().unwrap_or_default(),
                );
                let families = families.expect("the body is well-formed");
                assert_eq!(families.samples.len(), samples);
                warm = Some(families.recycle());
            })
        });
    }
    group.finish();
}

fn numbers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("float");
    for text in ["7", "1234.5", "1795248141.3789973", "1.5e-07"] {
        group.bench_function(format!("parse {text}"), |bencher| {
            bencher.iter(|| assert!(parse_float(black_box(text.as_bytes())).is_some()))
        });
        let value = parse_float(text.as_bytes()).expect("a number");
        group.bench_function(format!("write {text}"), |bencher| {
            bencher.iter_batched_ref(
                || Vec::with_capacity(64),
                |out| {
                    write_float(out, black_box(value));
                    assert!(!out.is_empty());
                },
                BatchSize::SmallInput,
            )
        });
    }
    group.finish();
}

fn paths(criterion: &mut Criterion) {
    criterion.bench_function("push path", |bencher| {
        bencher.iter(|| {
            let rest = black_box(b"/instance/host-1:9100/dc/eu-west".as_slice());
            let key = push_path::grouping_key(b"nightly_backup", false, rest, NameRules::Legacy);
            assert_eq!(key.expect("the path is well-formed").len(), 3);
        })
    });
}

criterion_group!(benches, bodies, numbers, paths);
criterion_main!(benches);

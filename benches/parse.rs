//! What reading a push costs: a body as clients send it, one of histograms, hard ones, and the numbers in them.
//!
//! BODY names a file of text that is measured besides, such as the one that Prometheus' own parsers are measured with.
//!
//! `cargo bench --bench parse -- --slowest [FOLDER...]` looks for the slowest bodies instead, among made ones
//! and those in the folders, such as fuzz/corpus/parse_text.

#[path = "parse/slowest.rs"]
mod slowest;

use std::fmt::Write;
use std::hint::black_box;
use std::process::ExitCode;

use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use floodway::format::float::{parse_float, write_float};
use floodway::model::template::Template;
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

/// Lines of `bytes` bytes each, their line feeds left out, every one a family of its own.
fn short_lines(bytes: usize) -> String {
    (0..1000).map(|line| format!("m{line:0>0$} 1\n", bytes - 3)).collect()
}

/// Label values of which every other character is escaped.
fn escapes() -> String {
    (0..100)
        .map(|line| format!("m{{path=\"{}\",line=\"{line}\"}} 1\n", "c:\\\\a\\\"b\\n".repeat(8)))
        .collect()
}

/// As large and as mixed as the file that Prometheus' own parsers are measured with: 237 families, about
/// 190 KB, most of them counters and gauges of few series, some histograms and summaries with many.
fn corpus() -> (String, usize) {
    let (mut body, mut samples) = (String::new(), 0);
    for family in 0..237 {
        let name = format!("process_subsystem_{family}_operations");
        let _ =
            writeln!(body, "# HELP {name} Number of operations of subsystem {family} so far, by outcome.");
        match family % 10 {
            0 => {
                let _ = writeln!(body, "# TYPE {name} histogram");
                for series in 0..3 {
                    let labels = format!("handler=\"/api/v1/{series}\",method=\"get\"");
                    for (count, bound) in
                        ["0.1", "0.2", "0.4", "1", "3", "8", "20", "60", "+Inf"].iter().enumerate()
                    {
                        let _ = writeln!(body, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
                    }
                    let _ = writeln!(body, "{name}_sum{{{labels}}} 0.012345\n{name}_count{{{labels}}} 8");
                    samples += 11;
                }
            }
            1 => {
                let _ = writeln!(body, "# TYPE {name} summary");
                for series in 0..4 {
                    for quantile in ["0.5", "0.9", "0.99"] {
                        let _ = writeln!(
                            body,
                            "{name}{{slice=\"part-{series}\",quantile=\"{quantile}\"}} 3.2e-05"
                        );
                    }
                    let _ = writeln!(body, "{name}_sum{{slice=\"part-{series}\"}} 17.25");
                    let _ = writeln!(body, "{name}_count{{slice=\"part-{series}\"}} 1.795248e+06");
                    samples += 5;
                }
            }
            kind => {
                let _ = writeln!(body, "# TYPE {name} {}", if kind < 6 { "counter" } else { "gauge" });
                for series in 0..4 {
                    let _ = writeln!(
                        body,
                        "{name}{{instance=\"host-{series}:9100\",outcome=\"succeeded\"}} {}",
                        f64::from(family * 1009 + series) * 1.5
                    );
                }
                samples += 4;
            }
        }
    }
    (body, samples)
}

/// A body of a shape that is known: compared with the last one's template, its values read.
fn known(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    let (first, second) = (plain_body(), plain_body().replace(".5\n", ".25\n"));
    let families = text::parse(first.as_bytes(), NameRules::Legacy, Families::default());
    let families = families.expect("the body is well-formed");
    let template = Template::cut(first.as_bytes(), &families, 100, Some).expect("plain values have one");
    group.throughput(Throughput::Bytes(second.len() as u64));
    group.bench_function("plain, known shape", |bencher| {
        bencher.iter(|| {
            let known = template.read(black_box(second.as_bytes())).expect("only values differ");
            assert_eq!(known.values.len(), 100);
            known
        })
    });
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    let (corpus, corpus_samples) = corpus();
    assert!((180_000..200_000).contains(&corpus.len()), "{}", corpus.len());
    let made = [
        ("plain", plain_body(), 100),
        ("histograms", histogram_body(), 144),
        ("corpus", corpus, corpus_samples),
        ("lines of 12 bytes", short_lines(12), 1000),
        ("lines of 6 bytes", short_lines(6), 1000),
        ("escapes", escapes(), 100),
    ];
    let given = std::env::var_os("BODY").map(|path| {
        let body = std::fs::read_to_string(path).expect("BODY names a file of text");
        let samples = body.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        ("BODY", body, samples)
    });
    for (name, body, samples) in made.into_iter().chain(given) {
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

criterion_group!(benches, bodies, known, numbers, paths);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some((option, folders)) = arguments.split_first()
        && option == "--slowest"
    {
        return if slowest::run(folders) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
    ExitCode::SUCCESS
}

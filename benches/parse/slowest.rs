//! The slowest bodies: made ones that ask much of the parsers for their size, and those of a fuzzer's corpus.
//!
//! Made ones are of 4 KiB, 64 KiB and 256 KiB, each also with a last line for which it is refused. One of a corpus
//! is repeated until it has 4 KiB. A body that is refused counts in full, since a client has to send all of it.

use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use floodway::model::{Families, NameRules};
use floodway::parse::{openmetrics, text};

/// Bodies shorter than this are not worth an attack.
const BYTES_MIN: usize = 4096;

/// No body may be read more slowly.
const GIGABYTES_MIN: f64 = 0.1;

/// Writes the line of a body that is the number-th.
type Line<'l> = &'l dyn Fn(usize) -> String;

type Body = (String, Vec<u8>);

/// Prints the slowest bodies, made and from the `folders`, as each format, and a verdict; false if one is too slow.
pub fn run(folders: &[String]) -> bool {
    let mut bodies = hard();
    for folder in folders {
        bodies.extend(files(Path::new(folder)));
    }
    let as_text: fn(&[u8]) = |body| {
        for names in [NameRules::Legacy, NameRules::Utf8] {
            SPARE.set(text::parse(body, names, SPARE.take()).map(Families::recycle).unwrap_or_default());
        }
    };
    // As a push is read: what is no OpenMetrics may be text.
    let as_openmetrics: fn(&[u8]) = |body| {
        for names in [NameRules::Legacy, NameRules::Utf8] {
            let mut is_refused = match openmetrics::read(body, names) {
                Ok(read) => match read.families(names, SPARE.take()) {
                    Ok(families) => {
                        SPARE.set(families.recycle());
                        continue;
                    }
                    Err(_) => read.is_text(),
                },
                Err(fault) => fault.is_final(),
            };
            if !is_refused {
                let read = text::parse(body, names, SPARE.take()).map(Families::recycle);
                is_refused = read.is_err();
                SPARE.set(read.unwrap_or_default());
            }
            black_box(is_refused);
        }
    };
    let mut slow = 0;
    for (format, read) in [("text", as_text), ("OpenMetrics", as_openmetrics)] {
        let mut rates: Vec<(f64, &String)> =
            bodies.iter().map(|(name, body)| (rate(read, body), name)).collect();
        rates.sort_by(|one, other| one.0.total_cmp(&other.0));
        println!("{format}: the slowest of {} bodies, GB/s", rates.len());
        for (rate, name) in rates.iter().take(12) {
            println!("{rate:8.3}  {name}");
        }
        slow += rates.iter().filter(|(rate, _)| *rate < GIGABYTES_MIN).count();
    }
    match slow {
        0 => println!("met: every body is read with {GIGABYTES_MIN} GB/s or more"),
        slow => println!("missed: {slow} bodies are read with less than {GIGABYTES_MIN} GB/s"),
    }
    slow == 0
}

/// GB/s. A rate that is too low is measured again, in case that something else ran meanwhile.
fn rate(read: fn(&[u8]), body: &[u8]) -> f64 {
    let mut best = 0.0;
    for _ in 0..4 {
        best = f64::max(best, 2.0 * body.len() as f64 / seconds(read, body) / 1e9);
        if best >= GIGABYTES_MIN {
            break;
        }
    }
    best
}

thread_local! {
    static SPARE: std::cell::Cell<Families<'static>> = std::cell::Cell::default();
}

/// The least time that one of several rounds took: what else runs on the machine can only add to it.
fn seconds(read: fn(&[u8]), body: &[u8]) -> f64 {
    let round = |least: Duration| {
        let (start, mut times) = (Instant::now(), 0u32);
        while start.elapsed() < least {
            read(black_box(body));
            times += 1;
        }
        start.elapsed().as_secs_f64() / f64::from(times)
    };
    (0..8).map(|_| round(Duration::from_millis(1))).fold(f64::INFINITY, f64::min)
}

fn files(folder: &Path) -> Vec<Body> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let bodies = entries.filter_map(|entry| {
        let path = entry.expect("the folder can be read").path();
        let body = path.is_file().then(|| fs::read(&path).expect("the file can be read"))?;
        (!body.is_empty()).then(|| (path.display().to_string(), long(body)))
    });
    bodies.collect()
}

/// The body as often as it takes to be long.
fn long(body: Vec<u8>) -> Vec<u8> {
    body.repeat(BYTES_MIN.div_ceil(body.len()))
}

/// The name of this number, as short as any.
fn short(mut number: usize) -> String {
    let mut name = String::new();
    loop {
        name.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
        if number == 0 {
            return name;
        }
    }
}

fn labels(count: usize, first: usize, label: impl Fn(String) -> String) -> String {
    let labels: Vec<String> = (first..first + count).map(|at| label(short(at % 500))).collect();
    labels.join(",")
}

/// Bodies of lines that cost much for their length, each repeated with other numbers.
fn hard() -> Vec<Body> {
    // Halfway between two doubles: to the last digit it is open which is nearer.
    let smallest_half = "2.4703282292062327208e-324";
    let lines: &[(&str, Line)] = &[
        ("line feeds", &|_| "\n".into()),
        ("blanks", &|_| " \n".into()),
        ("comments", &|_| "#\n".into()),
        ("one series", &|_| "a 1\n".into()),
        ("families", &|at| format!("{} 1\n", short(at))),
        ("families in no order", &|at| format!("{} 1\n", short(at * at * 7919 % 1_000_003))),
        ("families of long names", &|at| format!("{}{} 1\n", "a".repeat(200), short(at))),
        ("families in turns", &|at| format!("{} 1\n", short(at % 26))),
        ("families named sums", &|at| format!("{}_sum 1\n", short(at))),
        ("families named in braces", &|at| format!("{{{}}} 1\n", short(at))),
        ("families named in quotes", &|at| format!("{{\"{}\"}} 1\n", short(at))),
        ("families named with escapes", &|at| format!("{{\"\\\\{}\"}} 1\n", short(at))),
        ("families half in quotes", &|at| format!("a\"{}\" 1\n", short(at))),
        ("types", &|at| format!("# TYPE {} gauge\n", short(at))),
        ("helps", &|at| format!("# HELP {} h\n", short(at))),
        ("helps of escapes", &|at| format!("# HELP {} {}\n", short(at), "\\n".repeat(8))),
        ("16 labels", &|at| format!("a{{{}}} 1\n", labels(16, at * 17, |name| format!("{name}=\"\"")))),
        ("60 labels", &|at| format!("a{{{}}} 1\n", labels(60, at * 17, |name| format!("{name}=\"\"")))),
        ("60 quoted labels", &|at| format!("a{{{}}} 1\n", labels(60, at, |name| format!("\"{name}\"=\"\"")))),
        ("labels among blanks", &|_| "a { a = \"\" , b = \"\" } 1\n".into()),
        ("short escapes", &|_| "a{a=\"\\n\"} 1\n".into()),
        ("long escapes", &|_| format!("a{{a=\"{}\"}} 1\n", "\\n".repeat(500))),
        ("not a number", &|_| "a NaN\n".into()),
        ("exponents", &|_| "a 1e5\n".into()),
        ("half the smallest number", &|_| format!("a {smallest_half}\n")),
        ("half a step", &|_| "a 9007199254740993.00000001\n".into()),
        ("many digits", &|at| format!("a 1.{at}{}e-300\n", "9876543210".repeat(80))),
        ("timestamps", &|_| "a 1 1\n".into()),
        ("exemplars", &|_| "a_total 1 # {a=\"b\"} 1 1\n".into()),
        ("times with fractions", &|_| "a 1 1.5\n".into()),
        ("created times", &|at| format!("{}_created 1\n", short(at))),
        ("counters", &|at| format!("# TYPE {0} counter\n{0}_total 1\n", short(at))),
        ("units", &|at| format!("# UNIT {}_s s\n", short(at))),
    ];
    let typed: &[(&str, &str, Line)] = &[
        ("families beside a counter", "counter", &|at| format!("{} 1\n", short(at + 1))),
        ("sums beside a counter", "counter", &|at| format!("{}_sum 1\n", short(at))),
        ("exemplars of a counter", "counter", &|_| "a_total 1 # {a=\"b\"} 1 1\n".into()),
        ("exemplars of two labels", "counter", &|_| "a_total 1 # {a=\"\",b=\"\"} 1\n".into()),
        ("exemplars of buckets", "histogram", &|at| format!("a_bucket{{le=\"{at}\"}} 1 # {{}} 1\n")),
        ("created times of a counter", "counter", &|at| {
            format!("a_{}{{a=\"{}\"}} 1\n", if at % 2 == 0 { "total" } else { "created" }, short(at / 2))
        }),
        ("created times of a summary", "summary", &|at| format!("a_created{{a=\"{}\"}} 1\n", short(at))),
        ("states", "stateset", &|at| format!("a{{a=\"{}\"}} 1\n", short(at))),
        ("informations", "info", &|at| format!("a_info{{a=\"{}\"}} 1\n", short(at))),
        ("counts of a gauge histogram", "gaugehistogram", &|_| "a_gcount 1\n".into()),
        ("summaries", "summary", &|at| format!("a{{a=\"{}\"}} 1\n", short(at))),
        ("summaries of two orders", "summary", &|at| {
            format!("a{{{}}} 1\n", if at % 2 == 0 { "a=\"\",b=\"\"" } else { "b=\"\",a=\"\"" })
        }),
        ("summaries of many orders", "summary", &|at| {
            let (front, back) = (at % 16, 16 - at % 16);
            let front = labels(front, back, |name| format!("{name}=\"\","));
            format!("a{{{}{}}} 1\n", front.replace(",,", ","), labels(back, 0, |name| format!("{name}=\"\"")))
        }),
        ("histograms in turns", "histogram", &|at| {
            format!("a_bucket{{a=\"{}\",le=\"1\"}} 1\n", short(at % 26))
        }),
        ("buckets", "histogram", &|at| format!("a_bucket{{le=\"{at}\"}} 1\n")),
    ];
    let lines = lines.iter().map(|(name, line)| (*name, String::new(), *line));
    let typed = typed.iter().map(|(name, kind, line)| (*name, format!("# TYPE a {kind}\n"), *line));
    let mut bodies = Vec::new();
    for (name, head, line) in lines.chain(typed) {
        for bytes in [BYTES_MIN, 16 * BYTES_MIN, 64 * BYTES_MIN] {
            let mut body = head.clone();
            for at in 0.. {
                let _ = write!(body, "{}", line(at));
                if body.len() >= bytes {
                    break;
                }
            }
            let name = format!("{name}, {} KB", body.len() / 1000);
            bodies.push((format!("{name}, refused"), [body.as_bytes(), b"}\n"].concat()));
            // Text is then no longer known to be UTF-8 as a whole.
            bodies.push((
                format!("{name}, behind a byte that is no UTF-8"),
                [b"# \xff\n", body.as_bytes()].concat(),
            ));
            bodies.push((name, body.into_bytes()));
        }
    }
    bodies
}

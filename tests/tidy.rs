//! Rules about the source that stop a merge: who may name whom, where outside crates are named, where
//! `unsafe` stands, how long a file is and how it opens.
//!
//! Each failure names the file and line and says what to do. Tests are free to name what they need:
//! `#[cfg(test)]` modules and files called `tests.rs` are left out of the first three rules.

use std::fs;
use std::path::{Path, PathBuf};

/// Which modules each top-level module may name besides itself. Lower layers never name higher ones.
/// `lib.rs` and `main.rs` wire everything and are free.
const LAYERS: &[(&str, &[&str])] = &[
    ("build_info", &[]),
    ("clock", &[]),
    ("limits", &[]),
    ("healthcheck", &[]),
    ("packing", &[]),
    // These two lean on each other: names are quoted as text, templates read numbers.
    ("format", &["limits", "model"]),
    ("matching", &["model"]),
    ("wire", &[]),
    ("model", &["limits", "format", "wire"]),
    ("parse", &["limits", "format", "model", "wire"]),
    ("telemetry", &["build_info", "clock", "limits", "format", "model"]),
    ("store", &["clock", "limits", "format", "model", "telemetry"]),
    ("render", &["limits", "format", "model", "wire", "store", "telemetry"]),
    ("plugin", &["clock", "limits", "format", "matching", "model", "telemetry"]),
    ("reloading", &[]),
    ("lifetimes", &["limits", "matching", "model", "reloading"]),
    ("merging", &["matching", "model", "reloading"]),
    ("housekeeper", &["clock", "limits", "model", "plugin", "store", "telemetry"]),
    ("sink", &["clock", "limits", "model", "store", "telemetry"]),
    (
        "gateway",
        &[
            "clock",
            "limits",
            "format",
            "model",
            "housekeeper",
            "lifetimes",
            "matching",
            "merging",
            "parse",
            "plugin",
            "store",
            "render",
            "sink",
            "telemetry",
        ],
    ),
    (
        "transfer",
        &[
            "clock",
            "limits",
            "format",
            "model",
            "parse",
            "wire",
            "store",
            "render",
            "sink",
            "gateway",
            "telemetry",
        ],
    ),
    ("trial", &["clock", "format", "model", "gateway", "plugin", "http", "telemetry"]),
    ("config", &["build_info", "clock", "limits", "format", "model"]),
    ("http", &["build_info", "clock", "limits", "format", "model", "gateway", "config", "telemetry"]),
    ("server", &["clock", "limits", "model", "gateway", "config", "http", "telemetry"]),
];

/// Crates that are named in few places, so that each can be replaced there: files or folders of `src`.
const FENCES: &[(&str, &[&str])] = &[
    ("askama", &["http"]),
    ("crossbeam_epoch", &["store"]),
    ("crc32fast", &["sink", "render"]),
    ("crossbeam_queue", &["store", "sink"]),
    ("flate2", &["http/encoding", "render"]),
    ("futures_channel", &["render", "http", "server", "sink"]),
    ("form_urlencoded", &["http/form.rs"]),
    ("httparse", &["http"]),
    ("io_uring", &["http/worker.rs"]),
    ("jiff", &["telemetry", "http"]),
    ("csv", &["plugin/lookup.rs"]),
    ("bcrypt", &["http/auth.rs"]),
    ("lexical_parse_float", &["format"]),
    ("listenfd", &["server"]),
    ("memchr", &["parse", "format", "http", "plugin"]),
    ("mlua", &["plugin"]),
    ("monoio", &["http", "server"]),
    ("papaya", &["plugin/shared", "store"]),
    ("ring", &["http/auth.rs", "http/options.rs", "http/tls.rs", "http/handler/status/token.rs"]),
    ("rustls", &["http/tls", "http/tls.rs"]),
    ("sd_notify", &["server"]),
    ("serde", &["config", "lifetimes", "merging", "plugin", "reloading.rs"]),
    ("serde_json", &["plugin/lookup.rs"]),
    ("serde_saphyr", &["config", "plugin", "reloading.rs"]),
    ("snap", &["http/encoding"]),
    ("wide", &["parse/scan.rs"]),
    ("signal_hook", &["server"]),
    ("socket2", &["http", "server"]),
    ("tikv_jemalloc_ctl", &["telemetry/process.rs"]),
    ("tikv_jemallocator", &["main.rs"]),
    ("tracing_subscriber", &["telemetry"]),
    ("xxhash_rust", &["plugin/vm/gate.rs"]),
    ("zmij", &["format"]),
    ("zstd", &["http/encoding", "http/encoding.rs", "render"]),
];

/// Files that may hold `unsafe`, with the reason.
const UNSAFE: &[(&str, &str)] = &[
    ("main.rs", "names the symbol from which the allocator reads its settings"),
    ("packing.rs", "is an allocator"),
    ("store/published.rs", "reclaims replaced group states by epochs"),
    ("http/hasher.rs", "asks the kernel to run a thread only when no other wants to"),
    ("http/outbox.rs", "hands shared slices to the kernel as one vectored write"),
    ("http/tls/stream.rs", "reads plaintext out of the buffers that the runtime's traits lend"),
    ("http/watch.rs", "shuts down a socket that another task of the thread owns"),
    ("plugin/vm/fast.rs", "answers the commonest calls on samples past mlua's layer"),
    ("plugin/interrupt.rs", "sets the interrupt of Luau directly, and reads the thread's CPU clock"),
];

const FILE_LINES_MAX: usize = 800;

struct Source {
    /// Relative to `src`.
    path: String,
    text: String,
}

impl Source {
    /// The top-level module it belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The text without comments and inline test modules, each line where it was.
    fn code(&self) -> String {
        let mut code = String::new();
        let lines: Vec<&str> = self.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let opens_tests = *line == "#[cfg(test)]"
                && lines.get(at + 1).is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
            if opens_tests {
                break;
            }
            code.push_str(line.split("//").next().unwrap());
            code.push('\n');
        }
        code
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    rust_files(&root)
        .into_iter()
        .map(|path| Source {
            path: path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/"),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn line_of(code: &str, offset: usize) -> usize {
    code[..offset].matches('\n').count() + 1
}

fn leading_word(text: &str) -> &str {
    let text = text.trim_start();
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
}

/// The modules named after each `crate::` of `code`, those in braces included, with their lines.
fn modules_named(code: &str) -> Vec<(usize, &str)> {
    let mut named = Vec::new();
    for (offset, prefix) in code.match_indices("crate::") {
        let rest = &code[offset + prefix.len()..];
        let line = line_of(code, offset);
        let Some(list) = rest.strip_prefix('{') else {
            named.push((line, leading_word(rest)));
            continue;
        };
        let mut depth = 0;
        let mut starts_item = true;
        for (at, c) in list.char_indices() {
            if starts_item && depth == 0 && c.is_alphabetic() {
                named.push((line, leading_word(&list[at..])));
                starts_item = false;
            }
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' => starts_item = true,
                _ => {}
            }
        }
    }
    named
}

/// The lines that name the crate `name` in a path.
fn lines_naming(code: &str, name: &str) -> Vec<usize> {
    let path = format!("{name}::");
    let is_whole = |offset: usize| {
        let before = code[..offset].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    };
    code.match_indices(&path)
        .filter(|(offset, _)| is_whole(*offset))
        .map(|(at, _)| line_of(code, at))
        .collect()
}

#[test]
fn modules_name_only_the_layers_below_them() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let module = source.module();
        if matches!(module, "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            faults.push(format!("src/{}: give `{module}` a place in LAYERS", source.path));
            continue;
        };
        for (line, named) in modules_named(&source.code()) {
            if named != module && !allowed.contains(&named) {
                faults.push(format!("src/{}:{line}: `{module}` may not name `{named}`", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn outside_crates_stay_behind_their_fences() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let code = source.code();
        for (name, places) in FENCES {
            let is_inside = |place: &str| {
                source.path == *place
                    || source.path.starts_with(&format!("{place}/"))
                    || source.module() == place
            };
            if places.iter().any(|place| is_inside(place)) {
                continue;
            }
            for line in lines_naming(&code, name) {
                faults.push(format!("src/{}:{line}: name `{name}` only in {places:?}", source.path));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn unsafe_stands_only_in_listed_files() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        if UNSAFE.iter().any(|(path, _)| *path == source.path) {
            continue;
        }
        for (at, line) in source.code().lines().enumerate() {
            if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                faults.push(format!(
                    "src/{}:{}: find a safe way, or list the file in UNSAFE with its reason",
                    source.path,
                    at + 1
                ));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn files_say_what_they_hold_and_stay_readable() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    let mut lengths = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz/fuzz_targets"] {
        for path in rust_files(&root.join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            let shown = path.strip_prefix(root).unwrap().display().to_string();
            let lines = text.lines().count();
            if !text.starts_with("//!") {
                faults.push(format!("{shown}:1: open with a `//!` comment that says what the file holds"));
            }
            if lines > FILE_LINES_MAX {
                faults.push(format!("{shown}: {lines} lines; find the seam and split it"));
            }
            lengths.push((lines, shown));
        }
    }
    lengths.sort_unstable();
    println!("{} files, median {} lines; the longest:", lengths.len(), lengths[lengths.len() / 2].0);
    for (lines, path) in lengths.iter().rev().take(10) {
        println!("{lines:5} {path}");
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The rules read source as text; this is what they must see in it.
#[test]
fn the_rules_see_what_they_look_for() {
    let code = "use crate::store::view;\nuse crate::{\n    http::{self, status},\n    model,\n};\n";
    assert_eq!(modules_named(code), [(1, "store"), (2, "http"), (2, "model")]);
    assert_eq!(lines_naming("use papaya::Map;\nmy_papaya::x; a::papaya::y;\n(papaya::z)", "papaya"), [1, 3]);
    let text = "//! x\nuse a; // crate::b\n#[cfg(test)]\nmod tests {\n    use crate::c;\n}\n";
    let source = Source { path: "store/x.rs".to_owned(), text: text.to_owned() };
    assert_eq!((source.module(), source.code().as_str()), ("store", "\nuse a; \n"));
}

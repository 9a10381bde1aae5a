//! `floodway plugin bench`: how long a push takes with plugins and without, in this process.
//!
//! Every push runs its plugins: what a server remembers of pushes it has seen is left out, results of
//! `on_series` aside. Figures are medians of batches on whatever machine this is.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Bench, command, listed, options};
use crate::clock::Now;
use crate::gateway::Mode;
use crate::model::{GroupingKey, NameRules, RequestFacts};
use crate::plugin::Options;
use crate::plugin::command::{Failure, usage};
use crate::plugin::generation::read_config;
use crate::plugin::settings::{Entry, File};

/// Batches whose median counts, and how long each lasts.
const BATCHES: usize = 9;
const BATCH: Duration = Duration::from_millis(50);

/// `plugin bench [NAME] [--config FILE | --dir DIR] [< BODY]`.
///
/// # Errors
///
/// The arguments or the plugins are wrong, or a plugin refuses the body.
pub fn run(args: &[String]) -> Result<String, Failure> {
    let (mut name, mut config, mut dir) = (None, None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value =
            || args.next().map(PathBuf::from).ok_or_else(|| usage(format!("{arg} needs a value")));
        match arg.as_str() {
            "--config" => config = Some(value()?),
            "--dir" => dir = Some(value()?),
            _ if arg.starts_with('-') || name.is_some() => {
                return Err(usage(format!("unknown option {arg}")));
            }
            _ => name = Some(arg.clone()),
        }
    }
    let problem = |text: String| Failure::Problems(format!("{text}\n"));
    let dir = dir.or_else(|| command::dir_of(config.as_deref()?));
    let from = Options { config, ..options(dir, NameRules::Legacy) };
    let file = match name {
        Some(name) if from.config.is_none() && from.dir.is_none() => {
            let bundled = Some(format!("bundled:{name}"));
            File { plugins: vec![Entry { name, bundled, ..Entry::default() }], ..File::default() }
        }
        None if from.config.is_none() && from.dir.is_none() => {
            return Err(usage("plugin bench needs the name of a bundled plugin, --config or --dir"));
        }
        name => {
            let mut file = read_config(&from).map_err(|fault| problem(fault.to_string()))?;
            file.plugins.retain(|entry| name.as_ref().is_none_or(|name| entry.name == *name));
            file
        }
    };
    let mut body = Vec::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin().read_to_end(&mut body).map_err(|error| problem(error.to_string()))?;
    }
    let body = Bytes::from(if body.is_empty() { ten_samples() } else { body });
    let samples =
        body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count();

    let mut rows = vec![("without".to_owned(), File::default())];
    for entry in file.plugins.iter().filter(|entry| entry.enabled != Some(false)) {
        let alone = File { plugins: vec![entry.clone()], ..file.clone() };
        rows.push((entry.name.clone(), alone));
    }
    if rows.len() > 2 {
        rows.push(("all".to_owned(), file));
    }
    let mut out =
        format!("{:<24} {:<5} {:>10} {:>10} {:>10}\n", "plugin", "tier", "ns/push", "ns/sample", "on top");
    let mut plain = None;
    for (name, file) in rows {
        let bench = Bench::open(from.clone(), file).map_err(|problems| problem(listed(&problems)))?;
        let nanos = time(&bench, &body).map_err(|text| problem(format!("{name}: {text}")))?;
        let base = *plain.get_or_insert(nanos);
        out.push_str(&format!(
            "{name:<24} {:<5} {nanos:>10.0} {:>10.1} {:>10.1}\n",
            tier(&bench),
            nanos / samples.max(1) as f64,
            (nanos - base) / samples.max(1) as f64
        ));
    }
    out.push_str(&format!("{samples} lines of samples a push; `on top` is per sample\n"));
    Ok(out)
}

/// The dearest tier of any of its hooks.
fn tier(bench: &Bench) -> &'static str {
    let generation = bench.plugins.generation();
    let hooks = generation.plugins.iter().flat_map(|planned| &planned.about.hooks);
    hooks.fold("", |dearest, hook| {
        let own = match *hook {
            "on_family" | "on_sample" => "T3",
            "on_series" => "T1",
            "relabel" | "group_relabel" => "T0",
            _ => "T2",
        };
        dearest.max(own)
    })
}

/// Nanoseconds of one push.
fn time(bench: &Bench, body: &Bytes) -> Result<f64, String> {
    let key = GroupingKey::new("bench", [("instance", "a")]);
    let push = || {
        let facts = RequestFacts { method: "PUT", user: Some("bench".to_owned()), ..RequestFacts::default() };
        let pushed = bench.gateway.push_with(Mode::ReplaceGroup, &key, facts, body, Now::read());
        bench.plugins.tell_results();
        pushed.map(drop).map_err(|refusal| refusal.text)
    };
    // The first loads the plugins.
    for _ in 0..100 {
        push()?;
    }
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        let (begun, mut count) = (Instant::now(), 0u32);
        while begun.elapsed() < BATCH {
            for _ in 0..16 {
                push()?;
            }
            count += 16;
        }
        batches.push(begun.elapsed().as_nanos() as f64 / f64::from(count));
        bench.plugins.take_log();
    }
    batches.sort_by(f64::total_cmp);
    Ok(batches[BATCHES / 2])
}

fn ten_samples() -> Vec<u8> {
    let line = |at: usize| {
        format!(
            "shop_requests_total{{env=\"prod\",zone=\"eu-1\",host=\"h{at}\",path=\"/cart\",code=\"200\"}} {at}.5\n"
        )
    };
    (0..10).map(line).collect::<String>().into_bytes()
}

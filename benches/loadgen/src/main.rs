//! Load for push gateways: see `loadgen --help` and `benches/README.md`.

mod answer;
mod body;
mod connection;
mod cpu;
mod engine;
mod options;
mod plan;
mod report;
mod scrape;
mod tally;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use options::Options;
use report::Record;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("loadgen: {fault}");
            ExitCode::from(2)
        }
    }
}

/// Whether every answer, and what was stored, was right.
fn run(options: &Options) -> Result<bool, String> {
    let address = options.check()?;
    let bar = if options.quiet { ProgressBar::hidden() } else { progress(options)? };
    let outcome = engine::run(options, address, &bar)?;
    bar.finish_and_clear();
    let (mut tally, plan) = (outcome.tally, outcome.plan);
    let mut checked = None;
    if !options.no_check && tally.failed == 0 {
        match verify::verify(options, address, &plan.held()) {
            Ok(series) => checked = Some(series),
            Err(fault) => tally.fail(1, fault),
        }
    }
    let record = Record::new(options, &tally, plan.body_bytes(), checked);
    if !options.quiet {
        print!("{}", record.table());
    }
    if let Some(path) = &options.record {
        let json = serde_json::to_string(&record).map_err(|error| format!("the record: {error}"))?;
        if path == Path::new("-") {
            println!("{json}");
        } else {
            std::fs::write(path, json + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    if tally.failed > 0 && options.quiet {
        eprintln!("loadgen: {}", tally.first_fault.as_deref().unwrap_or("failed"));
    }
    Ok(tally.failed == 0)
}

fn progress(options: &Options) -> Result<ProgressBar, String> {
    let milliseconds = (options.warm_up + options.seconds) * 1e3;
    let style = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {percent:>3} % {msg}");
    Ok(ProgressBar::new(milliseconds as u64).with_style(style.map_err(|error| error.to_string())?))
}

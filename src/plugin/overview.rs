//! Puts together what the page and the API show of the plugins in force.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::engine::Plugins;
use super::generation::Planned;
use super::insight::{Overview, PluginView};
use super::schema::Setting;
use super::stats::{Effect, Run};

impl Plugins {
    /// What is in force, and how it fares.
    pub fn overview(&self) -> Overview {
        let generation = self.generation();
        let (reload_successful, reload_seconds) = self.last_reload();
        Overview {
            generation: generation.number,
            reload_successful,
            reload_seconds,
            broken: generation.broken.iter().map(ToString::to_string).collect(),
            plugins: generation.plugins.iter().map(|planned| view(planned, self.options().workers)).collect(),
        }
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn view(planned: &Planned, workers: usize) -> PluginView {
    let (spec, about) = (&planned.spec, &planned.about);
    let counts = &spec.shared.counts;
    let calls = |hook: &&'static str| {
        let at = Run::NAMES.iter().position(|name| name == hook);
        (*hook, at.map_or(0, |at| read(&counts.calls[at])))
    };
    let (last_errors, last_shadowed) = spec.shared.recent.all();
    let settings = spec.checked_settings().into_iter().flatten();
    PluginView {
        name: spec.name.clone(),
        file: spec.origin.clone(),
        version: about.version.clone(),
        description: about.description.clone(),
        mode: spec.mode.name(),
        on_error: about.on_error.name(),
        hooks: about.hooks.iter().map(calls).collect(),
        selector: about.selector.as_ref().map(|selector| selector.text().to_owned()),
        budget: budget(&spec.budget),
        config: settings.map(|(key, value)| (key.clone(), shown(value))).collect(),
        workers,
        breaker_open: counts.open(Instant::now()),
        memory_bytes: counts.memory.load(Ordering::Relaxed).max(0) as u64,
        seconds: read(&counts.nanos) as f64 / 1e9,
        pushes: counts.durations.iter().map(read).sum(),
        errors: {
            let errors = counts.errors().filter(|(_, count)| *count > 0);
            errors.map(|(code, count)| (code.name().to_owned(), count)).collect()
        },
        rejects: counts.rejects().into_iter().collect(),
        discards: read(&counts.discards),
        series_dropped: read(&counts.series_dropped),
        shadow: {
            let effects = Effect::NAMES.into_iter().zip(&counts.shadow);
            effects.map(|(effect, count)| (effect, read(count))).filter(|(_, count)| *count > 0).collect()
        },
        last_errors,
        last_shadowed,
    }
}

fn budget(budget: &Budget) -> Vec<(&'static str, String)> {
    let time = |time: Duration| format!("{time:?}");
    vec![
        ("time", time(budget.time)),
        ("time_per_sample", time(budget.time_per_sample)),
        ("steps", budget.steps.to_string()),
        ("steps_per_sample", budget.steps_per_sample.to_string()),
        ("memory", budget.memory_bytes.to_string()),
    ]
}

/// A setting for people. A schema nests lists and maps once.
fn shown(setting: &Setting) -> String {
    match setting {
        Setting::Text(text) => text.clone(),
        Setting::Bool(is) => is.to_string(),
        Setting::Number(number) => number.to_string(),
        Setting::Secret(_) => "<secret>".to_owned(),
        Setting::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Setting::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{key}: {}", shown(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Setting::Selector(selector) => selector.text().to_owned(),
        Setting::Regex(_) => "<regex>".to_owned(),
        Setting::Rules(_) => "<rules>".to_owned(),
    }
}

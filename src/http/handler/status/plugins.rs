//! The plugins in force on the page: state, figures, and what they refused or failed at lately.

use jiff::tz::TimeZone;

use super::frame::{ago, time_of};
use crate::clock::UnixNanos;
use crate::gateway::{Gateway, Incident, PluginView};

/// Events shown of each plugin and code.
const EVENTS_SHOWN: usize = 3;

pub struct Shown {
    pub generation: u64,
    pub reload_successful: bool,
    pub broken: Vec<String>,
    pub plugins: Vec<Row>,
    /// The latest first.
    pub events: Vec<Event>,
}

pub struct Row {
    pub name: String,
    pub version: String,
    pub file: String,
    pub state: String,
    /// Whether the state is to stand out.
    pub is_bad: bool,
    /// What it would have done in shadow.
    pub effects: String,
    pub hooks: Vec<(&'static str, u64)>,
    pub pushes: u64,
    pub time: String,
    pub rejects: u64,
    pub errors: u64,
}

pub struct Event {
    time: UnixNanos,
    pub at: String,
    pub ago: String,
    pub plugin: String,
    pub job: String,
    pub what: String,
    pub text: String,
}

/// All of it; `None` without plugins.
pub fn shown(gateway: &Gateway, zone: &TimeZone, now: UnixNanos) -> Option<Shown> {
    let overview = gateway.plugins_overview()?;
    let event = |time: UnixNanos, plugin: &str, job: &str, what: String, text: &str| Event {
        time,
        at: time_of(time, zone),
        ago: ago(time, now),
        plugin: plugin.to_owned(),
        job: job.to_owned(),
        what,
        text: text.to_owned(),
    };
    let mut events = Vec::new();
    for plugin in &overview.plugins {
        let mut add = |incidents: &[Incident], kind: &str| {
            for (at, incident) in incidents.iter().enumerate() {
                let later = incidents[..at].iter().filter(|other| other.code == incident.code).count();
                if later >= EVENTS_SHOWN {
                    continue;
                }
                let what = format!("{kind} {}", incident.code);
                events.push(event(incident.at, &plugin.name, &incident.job, what, &incident.text));
            }
        };
        add(&plugin.last_errors, "error");
        add(&plugin.last_shadowed, "in shadow:");
        for refused in gateway.telemetry().journal().last_of_plugin(&plugin.name, EVENTS_SHOWN) {
            let what = format!("refused, {}", refused.status);
            events.push(event(refused.at, &plugin.name, &refused.job, what, &refused.text));
        }
    }
    events.sort_by_key(|event| std::cmp::Reverse(event.time));
    Some(Shown {
        generation: overview.generation,
        reload_successful: overview.reload_successful,
        broken: overview.broken,
        plugins: overview.plugins.into_iter().map(row).collect(),
        events,
    })
}

fn row(plugin: PluginView) -> Row {
    let total = |counts: &[(String, u64)]| counts.iter().map(|count| count.1).sum();
    let state = match (plugin.breaker_open, plugin.mode) {
        (0, "shadow") => "in shadow".to_owned(),
        (0, _) => format!("enforced, {} on error", plugin.on_error),
        (workers, _) => format!("resting on {workers} of {} workers", plugin.workers),
    };
    let each = plugin.seconds / plugin.pushes.max(1) as f64;
    let effects = plugin.shadow.iter().map(|(effect, count)| format!("{effect} {count}"));
    Row {
        state,
        is_bad: plugin.breaker_open > 0,
        effects: effects.collect::<Vec<_>>().join(", "),
        time: if plugin.pushes == 0 { String::new() } else { format!("{:.1} µs", each * 1e6) },
        rejects: total(&plugin.rejects),
        errors: total(&plugin.errors),
        name: plugin.name,
        version: plugin.version,
        file: plugin.file,
        hooks: plugin.hooks,
        pushes: plugin.pushes,
    }
}

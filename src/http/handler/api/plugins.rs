//! `GET /api/v1/plugins`: what is in force, how it fares, and what it refused or failed at lately.

use jiff::tz::TimeZone;

use super::groups::whole;
use super::json::Writer;
use super::{answer, time};
use crate::clock::UnixNanos;
use crate::gateway::{Incident, PluginView};
use crate::http::Answer;
use crate::http::handler::Site;

/// Rejections told of each plugin.
const REJECTIONS_MAX: usize = 10;

/// See the module.
pub fn list(site: &Site) -> Answer {
    let zone = TimeZone::system();
    let overview = site.gateway.plugins_overview().unwrap_or_default();
    let mut out = Writer::new();
    out.raw(br#"{"status":"success","data":{"generation":"#);
    whole(&mut out, overview.generation);
    out.raw(br#","reload_successful":"#);
    truth(&mut out, overview.reload_successful);
    out.raw(br#","reloaded":"#);
    moment(&mut out, UnixNanos(overview.reload_seconds.saturating_mul(1_000_000_000)), &zone);
    out.raw(br#","broken":["#);
    separated(&mut out, &overview.broken, |out, text| out.string(text));
    out.raw(br#"],"plugins":["#);
    separated(&mut out, &overview.plugins, |out, plugin| push_plugin(out, site, plugin, &zone));
    out.raw(b"]}}");
    answer(out)
}

fn push_plugin(out: &mut Writer, site: &Site, plugin: &PluginView, zone: &TimeZone) {
    out.raw(b"{");
    for (key, text) in [
        ("name", &*plugin.name),
        ("file", &plugin.file),
        ("version", &plugin.version),
        ("description", &plugin.description),
        ("mode", plugin.mode),
        ("on_error", plugin.on_error),
    ] {
        member(out, key);
        out.string(text);
        out.raw(b",");
    }
    member(out, "match");
    match &plugin.selector {
        Some(text) => out.string(text),
        None => out.raw(b"null"),
    }
    out.raw(b",");
    counts(out, "hooks", &plugin.hooks);
    texts(out, "budget", &plugin.budget);
    if site.wipes {
        texts(out, "config", &plugin.config);
    }
    for (key, number) in [
        ("workers", plugin.workers as u64),
        ("breaker_open", plugin.breaker_open as u64),
        ("memory_bytes", plugin.memory_bytes),
        ("pushes", plugin.pushes),
        ("discards", plugin.discards),
        ("series_dropped", plugin.series_dropped),
    ] {
        member(out, key);
        whole(out, number);
        out.raw(b",");
    }
    member(out, "seconds");
    out.raw(format!("{:.6}", plugin.seconds).as_bytes());
    out.raw(b",");
    counts(out, "errors", &plugin.errors);
    counts(out, "rejects", &plugin.rejects);
    counts(out, "shadow", &plugin.shadow);
    incidents(out, "last_errors", &plugin.last_errors, zone);
    out.raw(b",");
    incidents(out, "last_shadowed", &plugin.last_shadowed, zone);
    out.raw(br#","last_rejections":["#);
    let refused = site.gateway.telemetry().journal().last_of_plugin(&plugin.name, REJECTIONS_MAX);
    separated(out, &refused, |out, entry| {
        out.raw(br#"{"time":"#);
        moment(out, entry.at, zone);
        for (key, text) in
            [("client", &*entry.client.to_string()), ("job", &entry.job), ("text", &entry.text)]
        {
            out.raw(b",");
            member(out, key);
            out.string(text);
        }
        out.raw(br#","status":"#);
        whole(out, entry.status.into());
        out.raw(b"}");
    });
    out.raw(b"]}");
}

fn incidents(out: &mut Writer, key: &str, incidents: &[Incident], zone: &TimeZone) {
    member(out, key);
    out.raw(b"[");
    separated(out, incidents, |out, incident| {
        out.raw(br#"{"time":"#);
        moment(out, incident.at, zone);
        for (key, text) in
            [("id", &incident.id), ("job", &incident.job), ("code", &incident.code), ("text", &incident.text)]
        {
            out.raw(b",");
            member(out, key);
            out.string(text);
        }
        out.raw(b"}");
    });
    out.raw(b"]");
}

fn member(out: &mut Writer, key: &str) {
    out.string(key);
    out.raw(b":");
}

/// An object of whole numbers, with a comma behind it.
fn counts(out: &mut Writer, key: &str, pairs: &[(impl AsRef<str>, u64)]) {
    member(out, key);
    out.raw(b"{");
    separated(out, pairs, |out, (name, count)| {
        member(out, name.as_ref());
        whole(out, *count);
    });
    out.raw(b"},");
}

/// An object of strings, with a comma behind it.
fn texts(out: &mut Writer, key: &str, pairs: &[(impl AsRef<str>, String)]) {
    member(out, key);
    out.raw(b"{");
    separated(out, pairs, |out, (name, text)| {
        member(out, name.as_ref());
        out.string(text);
    });
    out.raw(b"},");
}

/// All items, with commas between.
pub fn separated<T>(out: &mut Writer, items: &[T], mut write: impl FnMut(&mut Writer, &T)) {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.raw(b",");
        }
        write(out, item);
    }
}

pub fn truth(out: &mut Writer, is: bool) {
    out.raw(if is { b"true" } else { b"false" });
}

fn moment(out: &mut Writer, at: UnixNanos, zone: &TimeZone) {
    match at {
        UnixNanos::NEVER => out.raw(b"null"),
        at => out.string(&time::rfc3339(at, zone)),
    }
}

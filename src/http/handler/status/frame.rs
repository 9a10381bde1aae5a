//! What all pages have in common: the frame around them, their headers, and how they show times and labels.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use askama::Template;
use jiff::tz::TimeZone;

use crate::build_info;
use crate::clock::UnixNanos;
use crate::config::Info;
use crate::format::quote::quoted;
use crate::gateway::{Gateway, GroupView};
use crate::http::Answer;
use crate::http::handler::api::time::rfc3339;
use crate::model::names::is_legacy_label_name;

/// What the base template shows.
pub struct Frame {
    /// Allows the style of this page, and nothing else, once.
    pub nonce: String,
    /// In front of every link: the link prefix, or where that is empty, the way up from this page.
    pub base: String,
    pub metrics_link: String,
    pub version: String,
    /// How the gateway is reached from where it runs, for an example.
    pub example: String,
}

impl Frame {
    /// For a page that lies `depth` folders below the root of the gateway's own paths.
    pub fn new(info: &Info, depth: usize) -> Frame {
        let up = if depth == 0 { ".".to_owned() } else { vec![".."; depth].join("/") };
        let port = info.flags.iter().find(|(name, _)| *name == "web.listen-address");
        let port = port.and_then(|(_, value)| value.rsplit(':').next()).unwrap_or("9091");
        Frame {
            nonce: nonce(),
            base: if info.paths.link_prefix.is_empty() { up } else { info.paths.link_prefix.clone() },
            metrics_link: info.paths.metrics_link.clone(),
            version: format!("Floodway {}", build_info::VERSION),
            example: format!("http://localhost:{port}{}", info.paths.link_prefix),
        }
    }

    /// The answer with a page that was made for this frame.
    pub fn answer(nonce: &str, page: &impl Template) -> Answer {
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        );
        match page.render() {
            Ok(html) => Answer::with_body(200, "text/html; charset=utf-8", html)
                .header("Content-Security-Policy", policy)
                .header("X-Content-Type-Options", "nosniff")
                .header("Referrer-Policy", "same-origin")
                .header("Cache-Control", "no-store"),
            Err(err) => Answer::error(500, &err.to_string()),
        }
    }
}

/// The grouping labels, `job` first.
pub fn labels(group: &GroupView) -> Vec<String> {
    let rest = group.key.labels().filter(|(name, _)| *name != "job");
    std::iter::once(("job", group.key.job())).chain(rest).map(label).collect()
}

/// A label as the text format has it, its name in quotes where only UTF-8 names allow it.
pub fn label((name, value): (&str, &str)) -> String {
    if is_legacy_label_name(name) {
        format!("{name}={}", quoted(value.as_bytes()))
    } else {
        format!("{}={}", quoted(name.as_bytes()), quoted(value.as_bytes()))
    }
}

/// When the group ends, if it does.
pub fn ends(gateway: &Gateway, group: &GroupView, now: crate::clock::Now) -> String {
    match gateway.ending(group, now) {
        None => String::new(),
        Some(ending) => {
            let when = match ending.overdue {
                true => format!("Overdue! Ended {}", ago(ending.at, now.wall)),
                false => format!("in {}", span(ending.at.0.saturating_sub(now.wall.0))),
            };
            format!("{when} (lifetime {})", ending.lifetime)
        }
    }
}

/// In whole seconds, which is what people read.
pub fn time_of(time: UnixNanos, zone: &TimeZone) -> String {
    if time == UnixNanos::NEVER {
        return "never".to_owned();
    }
    rfc3339(UnixNanos(time.0 / 1_000_000_000 * 1_000_000_000), zone)
}

/// How long ago `time` was.
pub fn ago(time: UnixNanos, now: UnixNanos) -> String {
    match time {
        UnixNanos::NEVER => "never".to_owned(),
        time => format!("{} ago", span(now.0.saturating_sub(time.0))),
    }
}

fn span(nanos: u64) -> String {
    duration(Duration::from_nanos(nanos))
}

/// The two largest units: `3d 4h`, `12m 5s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// A word that a pusher cannot guess: hashers are keyed with random numbers of this process.
fn nonce() -> String {
    format!("{:016x}{:016x}", RandomState::new().build_hasher().finish(), {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u8(1);
        hasher.finish()
    })
}

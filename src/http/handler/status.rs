//! The web page: every group with its families, then flags, build and state of the process.
//!
//! One template without scripts, escaped by its type. The style is in the page and allowed by a number
//! used once, so that the content security policy can forbid everything else.

mod rows;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use askama::Template;
use jiff::tz::TimeZone;

use rows::Series;

use super::api::time::rfc3339;
use crate::build_info;
use crate::clock::{Now, UnixNanos};
use crate::config::Info;
use crate::format::quote::quoted;
use crate::gateway::{Ending, Gateway, GroupView};
use crate::http::Answer;
use crate::model::names::is_legacy_label_name;

/// Series shown of one family, and on the whole page.
const FAMILY_SERIES_SHOWN_MAX: usize = 100;
const SERIES_SHOWN_MAX: usize = 10_000;

/// Groups shown on one page; a browser does not take many more, and the API has them all.
const GROUPS_SHOWN_MAX: usize = 1000;

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'p> {
    nonce: String,
    /// In front of every link: the link prefix, or `.` for links relative to the page.
    base: &'p str,
    metrics_link: &'p str,
    groups_count: usize,
    groups: Vec<Group<'p>>,
    started: String,
    uptime: String,
    driver: &'static str,
    workers: usize,
    connections: u64,
    build: [(&'static str, &'static str); 5],
    flags: &'p [(&'static str, String)],
}

struct Group<'p> {
    /// `job` first, then by name, each as `name="value"`.
    labels: Vec<String>,
    is_failed: bool,
    is_overdue: bool,
    last_push: String,
    /// When it ends and what lifetime that comes from; empty if it does not end.
    ends: String,
    families: Vec<Family<'p>>,
}

struct Family<'p> {
    name: &'p str,
    kind: &'static str,
    help: &'p str,
    series_count: usize,
    /// The first of its series.
    series: Vec<Series>,
    pushed: String,
}

/// `GET /` and `GET /status`
pub fn page(gateway: &Gateway, info: &Info) -> Answer {
    let telemetry = gateway.telemetry();
    let (zone, now) = (TimeZone::system(), Now::read());
    let groups = gateway.groups();
    let mut series_left = SERIES_SHOWN_MAX;
    let nonce = nonce();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = Page {
        nonce,
        base: if info.paths.link_prefix.is_empty() { "." } else { &info.paths.link_prefix },
        metrics_link: &info.paths.metrics_link,
        groups_count: groups.len(),
        groups: groups
            .iter()
            .take(GROUPS_SHOWN_MAX)
            .map(|group| shown(group, gateway.ending(group, now), &zone, &mut series_left))
            .collect(),
        started: time_of(info.started, &zone),
        uptime: uptime(telemetry.uptime()),
        driver: telemetry.driver().unwrap_or("unknown"),
        workers: telemetry.workers(),
        connections: telemetry.connections_open(),
        build: [
            ("version", build_info::VERSION),
            ("revision", build_info::REVISION),
            ("branch", build_info::BRANCH),
            ("build date", build_info::BUILD_DATE),
            ("rust version", build_info::RUST_VERSION),
        ],
        flags: &info.flags,
    };
    match page.render() {
        Ok(html) => Answer::with_body(200, "text/html; charset=utf-8", html)
            .header("Content-Security-Policy", policy)
            .header("X-Content-Type-Options", "nosniff")
            .header("Referrer-Policy", "no-referrer"),
        Err(err) => Answer::error(500, &err.to_string()),
    }
}

fn shown<'p>(
    group: &'p GroupView,
    ending: Option<Ending>,
    zone: &TimeZone,
    series_left: &mut usize,
) -> Group<'p> {
    let rest = group.key.labels().filter(|(name, _)| *name != "job");
    let labels = std::iter::once(("job", group.key.job())).chain(rest).map(label).collect();
    let families = group.families();
    let family = |family: &crate::gateway::FamilyView<'p>| {
        let series_count = family.series().len();
        let shown = series_count.min(FAMILY_SERIES_SHOWN_MAX).min(*series_left);
        *series_left -= shown;
        Family {
            name: family.name,
            kind: family.kind.upper(),
            help: family.help.unwrap_or_default(),
            series_count,
            series: family.series().take(shown).map(|series| Series::of(&series)).collect(),
            pushed: time_of(family.pushed_at, zone),
        }
    };
    Group {
        labels,
        is_failed: !group.last_push_successful(),
        is_overdue: ending.is_some_and(|ending| ending.overdue),
        last_push: time_of(group.push_time(), zone),
        ends: ending.map_or_else(String::new, |Ending { lifetime, at, overdue }| {
            let word = if overdue { "ended" } else { "ends" };
            format!("{word}: {} (lifetime {lifetime})", time_of(at, zone))
        }),
        families: families.iter().map(family).collect(),
    }
}

/// A label as the text format has it, its name in quotes where only UTF-8 names allow it.
fn label((name, value): (&str, &str)) -> String {
    if is_legacy_label_name(name) {
        format!("{name}={}", quoted(value.as_bytes()))
    } else {
        format!("{}={}", quoted(name.as_bytes()), quoted(value.as_bytes()))
    }
}

/// In whole seconds, which is what people read.
fn time_of(time: UnixNanos, zone: &TimeZone) -> String {
    if time == UnixNanos::NEVER {
        return "never".to_owned();
    }
    rfc3339(UnixNanos(time.0 / 1_000_000_000 * 1_000_000_000), zone)
}

/// The two largest units: `3d 4h`, `12m 5s`.
fn uptime(uptime: Duration) -> String {
    let seconds = uptime.as_secs();
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::clock::Now;
    use crate::config::Paths;
    use crate::gateway::{Mode, Settings};
    use crate::http::Body;
    use crate::model::{GroupingKey, NameRules};
    use crate::telemetry::Telemetry;

    fn page_of(pushes: &[(GroupingKey, &str)], paths: Paths) -> (Answer, String) {
        let settings = Settings { names: NameRules::Utf8, ..Settings::default() };
        let gateway = Gateway::new(settings, Arc::new(Telemetry::new(1))).unwrap();
        for (key, body) in pushes {
            let body = Bytes::from((*body).to_owned());
            // Refused pushes are shown too.
            let _ = gateway.push(Mode::ReplaceFamilies, key, None, &body, Now::read());
        }
        let flags = vec![("web.external-url", "http://a/?<b>".to_owned())];
        let answer = page(&gateway, &Info { flags, started: UnixNanos(1), paths });
        let Body::Whole(html) = &answer.body else { panic!("a page is one piece") };
        let html = String::from_utf8(html.to_vec()).unwrap();
        (answer, html)
    }

    #[test]
    fn what_pushers_send_is_escaped() {
        let key = GroupingKey::new("<script>alert(1)</script>", [("a-b", "\"'&"), ("z", "1")]);
        let body = "# HELP m <script>alert(2)</script>\nm{b=\"<script>alert(3)</script>\"} 1\n";
        let (answer, html) = page_of(&[(key, body)], Paths::default());
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("job=&#34;&#60;script&#62;alert(1)&#60;/script&#62;&#34;"), "{html}");
        assert!(html.contains("&#34;a-b&#34;=&#34;\\&#34;&#39;&#38;&#34;"), "{html}");
        assert!(html.contains("b=&#34;&#60;script&#62;alert(3)"), "{html}");
        assert!(html.contains("<html") && html.contains("UNTYPED"));
        assert!(html.contains("http://a/?&#60;b&#62;"));
        assert_eq!(answer.headers[0].1, "text/html; charset=utf-8");
    }

    #[test]
    fn the_policy_allows_only_the_style_of_this_page() {
        let (answer, html) = page_of(&[], Paths::default());
        let policy = &answer.headers.iter().find(|header| header.0 == "Content-Security-Policy").unwrap().1;
        let (_, nonce) = policy.split_once("'nonce-").unwrap();
        let nonce = nonce.split('\'').next().unwrap();
        assert_eq!(nonce.len(), 32);
        assert!(html.contains(&format!("<style nonce=\"{nonce}\">")));
        assert!(policy.starts_with("default-src 'none'; "));
        assert!(!page_of(&[], Paths::default()).1.contains(nonce));
    }

    #[test]
    fn links_follow_the_link_prefix() {
        let paths = Paths::new("", "/ext", "/tele/metry").unwrap();
        assert!(page_of(&[], paths).1.contains("href=\"/ext/tele/metry\""));
        let paths = Paths::new("/pre", "", "/metrics").unwrap();
        assert!(page_of(&[], paths).1.contains("href=\"./metrics\""));
    }

    #[test]
    fn failed_groups_and_counts() {
        let good = (GroupingKey::new("good", []), "a 1\nb{x=\"1\"} 1\nb{x=\"2\"} 2\n");
        let bad = (GroupingKey::new("bad", []), "a 1 7\n");
        let (_, html) = page_of(&[good, bad], Paths::default());
        assert_eq!(html.matches("Last push failed!").count(), 1);
        assert!(html.contains("2 groups"), "{html}");
        assert!(html.contains("2 families") && html.contains("never"), "{html}");
    }

    #[test]
    fn values_are_shown_and_bounded() {
        let lines: String = (0..150).map(|i| format!("m{{i=\"{i}\"}} {i}.25\n")).collect();
        let (_, html) = page_of(&[(GroupingKey::new("j", []), &lines)], Paths::default());
        assert!(html.contains("<td>99.25</td>") && !html.contains("<td>100.25</td>"), "{html}");
        assert!(html.contains("The first 100 of 150 series are shown"), "{html}");
    }

    #[test]
    fn uptimes() {
        for (seconds, expect) in [(5, "5s"), (125, "2m 5s"), (7_260, "2h 1m"), (90_000, "1d 1h")] {
            assert_eq!(uptime(Duration::from_secs(seconds)), expect);
        }
    }
}

//! The web pages: groups found, sorted and paged on the server, one page for each group, what was refused
//! lately, limits, flags, build and state of the process.
//!
//! Readable without scripts, since there are none. Templates escape by type; the style is in the page and
//! allowed by a number used once, so that the content security policy can forbid everything else. Forms
//! carry a token (see [`token`]). Looking through groups takes milliseconds where there are many, so pages
//! are made beside the workers.

mod bars;
mod frame;
mod group;
mod limits;
mod plugins;
mod rows;
pub mod token;

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use askama::Template;
use jiff::tz::TimeZone;

use frame::{Frame, ago, duration, ends, labels, time_of};
pub use group::{change, group};

use super::Site;
use crate::build_info;
use crate::clock::Now;
use crate::gateway::{GroupView, Query, Search, Sort, push_path};
use crate::http::{Answer, form};
use crate::model::Identity;

/// Groups shown on a page.
const PAGE_GROUPS: usize = 50;

/// Families named in the line of a group.
const NAMES_SHOWN: usize = 8;

/// Refused requests shown.
const REJECTIONS_SHOWN: usize = 20;

/// What the form that deletes all groups does, for its token.
const WIPE: &str = "wipe";

/// Orders of groups: as a query has them, and for people.
const SORTS: [(&str, &str); 5] = [
    ("", "by name"),
    ("failed", "failed first"),
    ("oldest", "longest not pushed first"),
    ("newest", "latest push first"),
    ("largest", "most series first"),
];

#[derive(Template)]
#[template(path = "groups.html")]
struct Page<'p> {
    frame: Frame,
    total: usize,
    matched: usize,
    series: u64,
    push_rate: String,
    search: &'p str,
    sort: &'p str,
    sorts: [(&'static str, &'static str); 5],
    groups: Vec<Row>,
    /// Whether any of them ends by itself.
    any_ends: bool,
    first: usize,
    last: usize,
    /// Queries of the pages before and after this one.
    previous: Option<String>,
    next: Option<String>,
    wipe_token: Option<String>,
    rejections: Vec<Rejected>,
    limits: Vec<limits::Row>,
    plugins: Option<plugins::Shown>,
    started: String,
    uptime: String,
    driver: &'static str,
    workers: usize,
    connections: u64,
    build: [(&'static str, &'static str); 5],
    flags: &'p [(&'static str, String)],
}

struct Row {
    path: String,
    labels: Vec<String>,
    /// When the last push failed, if the last one did.
    failed: Option<String>,
    pushed: String,
    pushed_at: String,
    ends: String,
    /// The names of its first families, and how many there are.
    names: Vec<String>,
    families: usize,
    series: usize,
}

struct Rejected {
    at: String,
    ago: String,
    job: String,
    client: String,
    method: &'static str,
    status: u16,
    text: String,
}

/// How many pushes there were when a page was last made, for the rate shown on the next.
#[derive(Default)]
pub struct Seen(Mutex<Option<(Instant, u64)>>);

/// What a query of a list of groups asks for: `search`, `sort`, and a position.
pub fn query_of(query: &[u8], offset: usize, limit: usize) -> Query {
    let sort = match form::value(query, "sort").as_deref() {
        Some("failed") => Sort::Failed,
        Some("oldest") => Sort::Oldest,
        Some("newest") => Sort::Newest,
        Some("largest") => Sort::Largest,
        _ => Sort::Key,
    };
    let search = Search::new(&form::value(query, "search").unwrap_or_default());
    Query { search, sort, offset, limit }
}

/// `GET /` and `GET /status`, with `search`, `sort` and `page` (from 1) in the query.
pub fn page(site: &Site, query: &[u8], identity: &Identity) -> Answer {
    let (gateway, info) = (&*site.gateway, &*site.info);
    let telemetry = gateway.telemetry();
    let (zone, now) = (TimeZone::system(), Now::read());
    let search = form::value(query, "search").unwrap_or_default();
    let sort = form::value(query, "sort").unwrap_or_default();
    let page: usize = form::value(query, "page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1);
    let offset = (page - 1).saturating_mul(PAGE_GROUPS);
    let listing = gateway.list(&query_of(query, offset, PAGE_GROUPS));
    let link = |page: usize| {
        let page = if page == 1 { String::new() } else { page.to_string() };
        form::query([("search", &*search), ("sort", &*sort), ("page", &*page)])
    };
    let frame = Frame::new(info, 0);
    let nonce = frame.nonce.clone();
    let row = |group: &GroupView| {
        let families = group.families();
        Row {
            names: families.iter().take(NAMES_SHOWN).map(|family| family.name.to_owned()).collect(),
            path: push_path::path_of(&group.key),
            labels: labels(group),
            failed: (!group.last_push_successful()).then(|| ago(group.failure_time(), now.wall)),
            pushed: ago(group.push_time(), now.wall),
            pushed_at: time_of(group.push_time(), &zone),
            ends: ends(gateway, group, now),
            families: families.len(),
            series: group.series_count(),
        }
    };
    let rejection = |entry: crate::telemetry::journal::Rejection| Rejected {
        at: time_of(entry.at, &zone),
        ago: ago(entry.at, now.wall),
        job: entry.job,
        client: format!("{} {}", entry.client, entry.identity),
        method: entry.method,
        status: entry.status,
        text: entry.text,
    };
    let groups: Vec<Row> = listing.groups.iter().map(row).collect();
    let shown = Page {
        frame,
        total: listing.total,
        matched: listing.matched,
        series: gateway.series_count(),
        push_rate: site.seen.rate(telemetry.pushes(), telemetry.uptime().as_secs_f64()),
        search: &search,
        sort: &sort,
        sorts: SORTS,
        first: offset + 1,
        last: offset + listing.groups.len(),
        previous: (page > 1).then(|| link(page - 1)),
        next: (offset + listing.groups.len() < listing.matched).then(|| link(page + 1)),
        any_ends: groups.iter().any(|group| !group.ends.is_empty()),
        groups,
        wipe_token: (site.wipes && listing.total > 0).then(|| site.tokens.make(WIPE, identity)),
        rejections: telemetry.journal().last(None, REJECTIONS_SHOWN).into_iter().map(rejection).collect(),
        limits: limits::rows(gateway),
        plugins: plugins::shown(gateway, &zone, now.wall),
        started: time_of(info.started, &zone),
        uptime: duration(telemetry.uptime()),
        driver: telemetry.driver().unwrap_or("unknown"),
        workers: telemetry.workers(),
        connections: telemetry.connections_open(),
        build: [
            ("Version", build_info::VERSION),
            ("Revision", build_info::REVISION),
            ("Branch", build_info::BRANCH),
            ("Build date", build_info::BUILD_DATE),
            ("Rust version", build_info::RUST_VERSION),
        ],
        flags: &info.flags,
    };
    Frame::answer(&nonce, &shown)
}

impl Seen {
    /// Pushes a second since this was last asked, if that is long enough ago to tell.
    fn rate(&self, pushes: u64, uptime_seconds: f64) -> String {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (seconds, more) = match *seen {
            Some((at, before)) => ((now - at).as_secs_f64(), pushes.saturating_sub(before)),
            None => (uptime_seconds, pushes),
        };
        if seconds >= 1.0 || seen.is_none() {
            *seen = Some((now, pushes));
        }
        let rate = more as f64 / seconds.max(0.1);
        if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
    }
}

#[cfg(test)]
mod tests;

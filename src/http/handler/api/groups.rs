//! What the reference's API does not have: groups found and paged, one group, refused requests, limits.

use jiff::tz::TimeZone;

use super::json::Writer;
use super::{answer, push_group, push_object, time};
use crate::clock::Now;
use crate::gateway::GroupView;
use crate::http::handler::Site;
use crate::http::handler::status::query_of;
use crate::http::{Answer, form};
use crate::model::{GroupingKey, Limit};

/// Groups in an answer, unless fewer are asked for.
const GROUPS_MAX: usize = 1000;

/// `GET /api/v1/groups?search=&sort=&offset=&limit=`: groups without their series.
pub fn list(site: &Site, query: &[u8]) -> Answer {
    let number = |name: &str| form::value(query, name).and_then(|value| value.parse::<usize>().ok());
    let offset = number("offset").unwrap_or(0);
    let limit = number("limit").unwrap_or(GROUPS_MAX).min(GROUPS_MAX);
    let listing = site.gateway.list(&query_of(query, offset, limit));
    let (zone, now) = (TimeZone::system(), Now::read());
    let mut out = Writer::new();
    out.raw(br#"{"status":"success","data":{"total":"#);
    whole(&mut out, listing.total as u64);
    out.raw(br#","matched":"#);
    whole(&mut out, listing.matched as u64);
    out.raw(br#","groups":["#);
    for (position, group) in listing.groups.iter().enumerate() {
        if position > 0 {
            out.raw(b",");
        }
        push_summary(&mut out, site, group, &zone, now);
    }
    out.raw(b"]}}");
    answer(out)
}

fn push_summary(out: &mut Writer, site: &Site, group: &GroupView, zone: &TimeZone, now: Now) {
    out.raw(br#"{"labels":"#);
    push_object(out, group.key.labels());
    out.raw(br#","last_push_successful":"#);
    out.raw(if group.last_push_successful() { b"true" } else { b"false" });
    for (name, at) in [("last_push", group.push_time()), ("last_failure", group.failure_time())] {
        out.raw(b",");
        out.string(name);
        out.raw(b":");
        if at == crate::clock::UnixNanos::NEVER {
            out.raw(b"null")
        } else {
            out.string(&time::rfc3339(at, zone))
        }
    }
    out.raw(br#","families":"#);
    whole(out, group.families().len() as u64);
    out.raw(br#","series":"#);
    whole(out, group.series_count() as u64);
    if let Some(ending) = site.gateway.ending(group, now) {
        out.raw(br#","lifetime":"#);
        out.string(&ending.lifetime.to_string());
        out.raw(br#","ends":"#);
        out.string(&time::rfc3339(ending.at, zone));
        out.raw(br#","overdue":"#);
        out.raw(if ending.overdue { b"true" } else { b"false" });
    }
    out.raw(b"}");
}

/// `GET /api/v1/group/job/JOB/LABEL/VALUE...`: one group as `/api/v1/metrics` shows it.
pub fn one(site: &Site, key: &GroupingKey) -> Answer {
    let Some(group) = site.gateway.group(key) else {
        return Answer::error(404, &format!("there is no group {key}"));
    };
    let mut out = Writer::new();
    out.raw(br#"{"status":"success","data":"#);
    let ending = site.gateway.ending(&group, Now::read());
    push_group(&mut out, &group, ending, &TimeZone::system());
    out.raw(b"}");
    answer(out)
}

/// `GET /api/v1/rejections?job=`: requests that were refused, the latest first.
pub fn rejections(site: &Site, query: &[u8]) -> Answer {
    let zone = TimeZone::system();
    let job = form::value(query, "job");
    let mut out = Writer::new();
    out.raw(br#"{"status":"success","data":["#);
    for (position, entry) in
        site.gateway.telemetry().journal().last(job.as_deref(), usize::MAX).iter().enumerate()
    {
        out.raw(if position > 0 { b",{" } else { b"{" });
        let at = time::rfc3339(entry.at, &zone);
        let client = entry.client.to_string();
        let texts = [
            ("time", &*at),
            ("client", &*client),
            ("identity", &*entry.identity),
            ("method", entry.method),
            ("job", &*entry.job),
            ("labels", &*entry.labels),
            ("reason", entry.reason),
            ("plugin", &*entry.plugin),
            ("text", &*entry.text),
        ];
        for (name, text) in texts {
            out.string(name);
            out.raw(b":");
            out.string(text);
            out.raw(b",");
        }
        out.raw(br#""status":"#);
        whole(&mut out, entry.status.into());
        out.raw(b"}");
    }
    out.raw(b"]}");
    answer(out)
}

/// `GET /api/v1/limits`: each limit with how much of it is used, and how often it was reached.
pub fn limits(site: &Site) -> Answer {
    site.gateway.note_uses();
    let telemetry = site.gateway.telemetry();
    let mut out = Writer::new();
    out.raw(br#"{"status":"success","data":{"#);
    for (position, limit) in Limit::ALL.iter().enumerate() {
        if position > 0 {
            out.raw(b",");
        }
        out.string(limit.name());
        out.raw(br#":{"max":"#);
        match telemetry.limit_max(*limit) {
            // In seconds where it is a time.
            Some(max) => out.raw(format!("{max}").as_bytes()),
            None => out.raw(b"null"),
        }
        out.raw(br#","used":"#);
        match telemetry.limit_use(*limit) {
            Some(used) => whole(&mut out, used),
            None => out.raw(b"null"),
        }
        out.raw(br#","hits":"#);
        whole(&mut out, telemetry.limit_hits(*limit));
        out.raw(b"}");
    }
    out.raw(b"}}");
    answer(out)
}

/// A whole number as a number, which the reference's own answers never have.
pub fn whole(out: &mut Writer, number: u64) {
    out.raw(itoa::Buffer::new().format(number).as_bytes());
}

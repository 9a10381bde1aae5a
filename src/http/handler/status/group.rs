//! The page of one group, and the forms that delete it or all groups.

use askama::Template;
use bytes::Bytes;
use jiff::tz::TimeZone;

use super::bars::{self, Bars};
use super::frame::{Frame, ago, ends, labels, time_of};
use super::rows::Row;
use super::{WIPE, rows};
use crate::clock::Now;
use crate::gateway::{FamilyView, SeriesView, push_path};
use crate::http::handler::{Site, admin};
use crate::http::{Answer, form, status};
use crate::model::{GroupingKey, Identity, Reason, Refusal};

/// Series shown of one family, and on the whole page.
const FAMILY_SERIES_SHOWN_MAX: usize = 100;
const SERIES_SHOWN_MAX: usize = 2_000;

#[derive(Template)]
#[template(path = "group.html")]
struct Page<'p> {
    frame: Frame,
    title: String,
    labels: Vec<String>,
    path: String,
    pushed: String,
    pushed_at: String,
    /// When a push failed last: ago, and the time.
    failed: Option<(String, String)>,
    is_failed: bool,
    ends: String,
    series_count: usize,
    token: String,
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

struct Series {
    labels: Vec<String>,
    rows: Vec<Row>,
    bars: Option<Bars>,
}

/// `GET /group/job/JOB/LABEL/VALUE...`
pub fn group(site: &Site, key: &GroupingKey, identity: &Identity) -> Answer {
    let Some(group) = site.gateway.group(key) else {
        return Answer::error(404, &format!("there is no group {key}"));
    };
    let (zone, now) = (TimeZone::system(), Now::read());
    let path = push_path::path_of(key);
    let frame = Frame::new(&site.info, path.matches('/').count() + 1);
    let nonce = frame.nonce.clone();
    let mut left = SERIES_SHOWN_MAX;
    let families = group.families();
    let family = |family: &FamilyView<'_>| {
        let series_count = family.series().len();
        let shown = series_count.min(FAMILY_SERIES_SHOWN_MAX).min(left);
        left -= shown;
        (series_count, family.series().take(shown).map(|series| shown_series(&series)).collect::<Vec<_>>())
    };
    let shown: Vec<_> = families.iter().map(family).collect();
    let families = families.iter().zip(shown).map(|(family, (series_count, series))| Family {
        name: family.name,
        kind: family.kind.upper(),
        help: family.help.unwrap_or_default(),
        series_count,
        series,
        pushed: ago(family.pushed_at, now.wall),
    });
    let failure = group.failure_time();
    let page = Page {
        title: key.job().to_owned(),
        labels: labels(&group),
        token: site.tokens.make(&deletes(key), identity),
        pushed: ago(group.push_time(), now.wall),
        pushed_at: time_of(group.push_time(), &zone),
        failed: (failure != crate::clock::UnixNanos::NEVER)
            .then(|| (ago(failure, now.wall), time_of(failure, &zone))),
        is_failed: !group.last_push_successful(),
        ends: ends(&site.gateway, &group, now),
        series_count: group.series_count(),
        families: families.collect(),
        frame,
        path,
    };
    Frame::answer(&nonce, &page)
}

fn shown_series(series: &SeriesView<'_>) -> Series {
    Series {
        labels: series.labels.iter().map(|(name, value)| super::frame::label((name, value))).collect(),
        rows: rows::rows(&series.value),
        bars: bars::of(&series.value),
    }
}

/// What the form on the page of a group does, for its token.
fn deletes(key: &GroupingKey) -> String {
    format!("delete {}", push_path::path_of(key))
}

/// `POST` of a form: deletes the group of its page, or all groups if it stands on no group's page. Leads
/// back to the list.
pub async fn change(site: &Site, key: Option<&GroupingKey>, identity: &Identity, body: &Bytes) -> Answer {
    let what = key.map_or_else(|| WIPE.to_owned(), deletes);
    let token = form::value(body, "token").unwrap_or_default();
    if !site.tokens.check(&token, &what, identity) {
        let text = "this form is not from a page of this gateway, or from before its last start: load the page again";
        return status::refused(&Refusal::new(Reason::Forbidden, text));
    }
    let done = match key {
        None => admin::wipe(&site.gateway).await,
        Some(key) => match site.gateway.delete(key) {
            Err(refusal) => status::refused(&refusal),
            Ok(_) => match site.gateway.made_durable().await {
                Err(refusal) => status::refused(&refusal),
                Ok(()) => Answer::empty(202),
            },
        },
    };
    if done.status != 202 {
        return done;
    }
    // From `/groups` or from below `/group/`.
    let depth = key.map_or(0, |key| push_path::path_of(key).matches('/').count() + 1);
    Answer::empty(303).header("Location", format!("{}/", Frame::new(&site.info, depth).base))
}

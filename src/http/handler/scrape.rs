//! GET of the exposition.

use std::borrow::Cow;

use crate::gateway::{Encoding, Form, Gateway, Rendered, Wanted};
use crate::http::Answer;
use crate::http::head::Head;

/// What a scraper asked for.
#[derive(Clone, Debug)]
pub struct Scrape {
    wanted: Wanted,
    if_none_match: Option<String>,
}

impl Scrape {
    pub fn of(head: &Head<'_>, gateway: &Gateway) -> Scrape {
        let tags = joined(head, "if-none-match");
        Scrape {
            wanted: Wanted {
                form: Form::negotiate(&joined(head, "accept"), gateway.settings().offers_openmetrics),
                encoding: Encoding::negotiate(&joined(head, "accept-encoding")),
            },
            if_none_match: (!tags.is_empty()).then(|| tags.into_owned()),
        }
    }
}

/// The exposition of everything answered before this request.
pub async fn finish(gateway: &Gateway, scrape: Scrape) -> Answer {
    let Scrape { wanted, if_none_match } = scrape;
    let Some(Rendered { etag, slices }) = gateway.scrape(wanted, if_none_match).await else {
        return Answer::error(500, "error gathering metrics: the renderer has ended");
    };
    let etag = etag.to_string();
    let Some((slices, lease)) = slices else {
        return Answer::empty(304).header("Etag", etag);
    };
    let answer = Answer::with_slices(200, wanted.form.content_type(), slices).leased(lease);
    let answer = answer.header("Etag", etag);
    match wanted.encoding.name() {
        Some(name) => answer.header("Content-Encoding", name),
        None => answer,
    }
}

/// All values of a header, joined as RFC 9110 section 5.3 joins them. One value, the usual case, is not
/// copied.
fn joined<'h>(head: &Head<'h>, name: &'static str) -> Cow<'h, str> {
    let mut values = head.values(name).map(String::from_utf8_lossy);
    let mut all = values.next().unwrap_or_default();
    for value in values {
        let all = all.to_mut();
        all.push_str(", ");
        all.push_str(&value);
    }
    all
}

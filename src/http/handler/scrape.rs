//! GET of the exposition.

use std::borrow::Cow;

use crate::gateway::{Encoding, Exposition, Form, Gateway};
use crate::http::Answer;
use crate::http::head::Head;

/// What a scraper asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    form: Form,
    encoding: Encoding,
}

impl Wanted {
    pub fn of(head: &Head<'_>) -> Wanted {
        Wanted {
            form: Form::negotiate(&joined(head, "accept")),
            encoding: Encoding::negotiate(&joined(head, "accept-encoding")),
        }
    }
}

/// The exposition of everything answered before this request.
pub async fn finish(gateway: &Gateway, wanted: Wanted) -> Answer {
    let Some(exposition) = gateway.scrape(wanted.form, wanted.encoding).await else {
        return Answer::error(500, "error gathering metrics: the renderer has ended");
    };
    let Exposition { content_type, encoding, slices, len } = exposition;
    let answer = Answer::with_slices(200, content_type, slices.to_vec(), len);
    match encoding {
        Encoding::Identity => answer,
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

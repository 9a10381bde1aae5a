//! Redirects, with the `Location` that Go would write.

use super::response::Answer;
use super::target::{Target, escape_path};

/// 301 to `path` with the query kept, for every method: the path was not clean. Origin and an empty
/// query are dropped.
pub fn to_clean(method: &[u8], path: &[u8], target: &Target<'_>) -> Answer {
    let mut url = String::with_capacity(path.len() + 16);
    escape_path(path, &mut url);
    append_query(target.query.filter(|query| !query.is_empty()), &mut url);
    redirect(method, 301, url)
}

/// 301 for GET and 307 for everything else to the spelling of the path that has a route. Origin and
/// query are kept.
pub fn to_route(method: &[u8], path: &[u8], target: &Target<'_>) -> Answer {
    let mut url = String::with_capacity(path.len() + 16);
    if let Some((scheme, authority)) = target.origin {
        url.push_str(&String::from_utf8_lossy(scheme).to_ascii_lowercase());
        url.push_str("://");
        url.push_str(&String::from_utf8_lossy(authority));
    }
    escape_path(path, &mut url);
    append_query(target.query, &mut url);
    redirect(method, if method == b"GET" { 301 } else { 307 }, url)
}

/// A query goes out as it came in, except that a header line holds ASCII only.
fn append_query(query: Option<&[u8]>, url: &mut String) {
    let Some(query) = query else { return };
    url.push('?');
    for &byte in query {
        if byte.is_ascii() {
            url.push(byte as char);
        } else {
            url.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
}

fn redirect(method: &[u8], status: u16, url: String) -> Answer {
    let answer = match method {
        b"GET" => {
            let mut page = String::with_capacity(url.len() + 48);
            page.push_str("<a href=\"");
            for character in url.chars() {
                match character {
                    '&' => page.push_str("&amp;"),
                    '<' => page.push_str("&lt;"),
                    '>' => page.push_str("&gt;"),
                    '"' => page.push_str("&#34;"),
                    '\'' => page.push_str("&#39;"),
                    other => page.push(other),
                }
            }
            page.push_str("\">");
            page.push_str(super::status::phrase(status));
            page.push_str("</a>.\n\n");
            Answer::with_body(status, "text/html; charset=utf-8", page)
        }
        b"HEAD" => Answer::with_body(status, "text/html; charset=utf-8", ""),
        _ => Answer::empty(status),
    };
    answer.header("Location", url)
}

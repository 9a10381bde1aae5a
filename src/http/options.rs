//! What a push asks for in its head: the only place where headers and query parameters of pushes are read.
//!
//! Each option has a header and a query parameter. Both may be given, also more than once, as long as they
//! agree; a value that makes no sense, or that another contradicts, refuses the push before its body is
//! looked at. Parameters that are not known are ignored, as all are in the reference.

use percent_encoding::percent_decode;

use super::head::Head;
use crate::model::{Lifetime, PushOptions, Reason, Refusal};

/// What the push asks for.
///
/// # Errors
///
/// A value is malformed, or two disagree.
pub fn of(head: &Head<'_>) -> Result<PushOptions, Refusal> {
    let mut options = PushOptions::default();
    if head.target.query.is_none() && !head.has_push_options {
        return Ok(options);
    }
    for value in head.values("push-lifetime") {
        agree(&mut options.lifetime, lifetime("header Push-Lifetime", value)?)?;
    }
    for (name, value) in parameters(head.target.query.unwrap_or_default()) {
        if name == b"lifetime" {
            agree(&mut options.lifetime, lifetime("query parameter lifetime", &value)?)?;
        }
    }
    Ok(options)
}

fn lifetime(place: &str, value: &[u8]) -> Result<Lifetime, Refusal> {
    let fault = |fault: String| Refusal::new(Reason::Malformed, format!("bad {place}: {fault}"));
    let text = std::str::from_utf8(value).map_err(|_| fault("it is no text".to_owned()))?;
    Lifetime::parse(text.trim()).map_err(fault)
}

fn agree(option: &mut Option<Lifetime>, value: Lifetime) -> Result<(), Refusal> {
    if option.replace(value).is_some_and(|other| other != value) {
        let text = "the push asks for different lifetimes in header and query";
        return Err(Refusal::new(Reason::Malformed, text));
    }
    Ok(())
}

/// Names and values of a query, decoded as forms are.
fn parameters(query: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let decode = |text: &[u8]| {
        let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        percent_decode(&spaced).collect()
    };
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let mut half = || decode(halves.next().unwrap_or_default());
        (half(), half())
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn check(target: &str, headers: &[&str], expect: &str) {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = Bytes::from(format!("PUT {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n"));
        let told = Head::parse(&head, |head| match of(head) {
            Ok(options) => options.lifetime.map_or("-".to_owned(), |lifetime| lifetime.to_string()),
            Err(refusal) => refusal.text,
        });
        assert_eq!(told.unwrap(), expect, "{target} {headers:?}");
    }

    #[test]
    fn lifetimes_are_asked_for_in_header_and_query() {
        let disagree = "the push asks for different lifetimes in header and query";
        check("/m", &[], "-");
        check("/m?", &[], "-");
        check("/m?life=1m&lifetimes=1m", &[], "-");
        check("/m?lifetime=90m", &[], "1h30m0s");
        check("/m?x=1&lifetime=%319%30s&", &[], "3m10s");
        check("/m?lifetime=+1d+", &[], "24h0m0s");
        check("/m", &["push-lifetime: 7d"], "168h0m0s");
        check("/m", &["PUSH-LIFETIME:0"], "0s");
        check("/m?lifetime=60m", &["Push-Lifetime: 1h"], "1h0m0s");
        check("/m?lifetime=1m&lifetime=60s", &["Push-Lifetime: 1m", "Push-Lifetime: 1m"], "1m0s");
        check("/m?lifetime=60m", &["Push-Lifetime: 2h"], disagree);
        check("/m?lifetime=1m&lifetime=2m", &[], disagree);
        check("/m", &["Push-Lifetime: 1m", "Push-Lifetime: 2m"], disagree);
        check("/m?lifetime", &[], "bad query parameter lifetime: time: invalid duration \"\"");
        check("/m", &["Push-Lifetime: soon"], "bad header Push-Lifetime: time: invalid duration \"soon\"");
        check(
            "/m",
            &["Push-Lifetime: -1m"],
            "bad header Push-Lifetime: a lifetime of -1m is less than nothing",
        );
        check(
            "/m",
            &["Push-Lifetime: \u{ff}1m"],
            "bad header Push-Lifetime: time: invalid duration \"\\xc3\\xbf1m\"",
        );
    }
}

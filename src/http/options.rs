//! What a push asks for in its head: the only place where headers and query parameters of pushes are read.
//!
//! Each option has a header and a query parameter. Both may be given, also more than once, as long as they
//! agree; a value that makes no sense, or that another contradicts, refuses the push before its body is
//! looked at. Parameters that are not known are ignored, as all are in the reference.
//!
//! A key (`Idempotency-Key`, `Push-Id`) is only read here: other servers' clients send it as well, so that
//! it is held to nothing before it counts.

use super::form;
use super::head::Head;
use crate::model::{Fingerprint, Lifetime, MergeRule, PushKey, PushOptions, Reason, Refusal};

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
        agree(&mut options.lifetime, lifetime("header Push-Lifetime", value)?, "lifetimes")?;
    }
    for value in head.values("push-merge") {
        agree(&mut options.merge, merge("header Push-Merge", value)?, MERGE)?;
    }
    for (name, value) in form::pairs(head.target.query.unwrap_or_default()) {
        let value = value.as_bytes();
        match &name[..] {
            "lifetime" => {
                let asked = lifetime("query parameter lifetime", value)?;
                agree(&mut options.lifetime, asked, "lifetimes")?;
            }
            "merge" => agree(&mut options.merge, merge("query parameter merge", value)?, MERGE)?,
            _ => {}
        }
    }
    options.key = key(head);
    Ok(options)
}

/// What two merge rules that contradict each other are called.
const MERGE: &str = "ways to merge";

fn lifetime(place: &str, value: &[u8]) -> Result<Lifetime, Refusal> {
    read(place, value, Lifetime::parse)
}

fn merge(place: &str, value: &[u8]) -> Result<MergeRule, Refusal> {
    read(place, value, MergeRule::parse)
}

fn read<T>(place: &str, value: &[u8], parse: fn(&str) -> Result<T, String>) -> Result<T, Refusal> {
    let fault = |fault: String| Refusal::new(Reason::Malformed, format!("bad {place}: {fault}"));
    let text = std::str::from_utf8(value).map_err(|_| fault("it is no text".to_owned()))?;
    parse(text.trim()).map_err(fault)
}

fn agree<T: Copy + PartialEq>(option: &mut Option<T>, value: T, what: &str) -> Result<(), Refusal> {
    if option.replace(value).is_some_and(|other| other != value) {
        let text = format!("the push asks for different {what} in header and query");
        return Err(Refusal::new(Reason::Malformed, text));
    }
    Ok(())
}

/// The key under which the push is to be remembered, its body not seen yet. An empty one is none.
fn key(head: &Head<'_>) -> Option<PushKey> {
    let all = head.values("idempotency-key").chain(head.values("push-id")).map(<[u8]>::trim_ascii);
    let mut names = all.filter(|value| !value.is_empty());
    let first = names.next()?;
    let name = names.all(|other| other == first).then(|| fingerprint(first));
    Some(PushKey { name, body: Fingerprint::default() })
}

/// The fingerprint of a text.
pub fn fingerprint(text: &[u8]) -> Fingerprint {
    let digest = ring::digest::digest(&ring::digest::SHA256, text);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn told(target: &str, headers: &[&str], tell: impl FnOnce(PushOptions) -> String) -> String {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = Bytes::from(format!("PUT {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n"));
        let told = Head::parse(&head, |head| match of(head) {
            Ok(options) => tell(options),
            Err(refusal) => refusal.text,
        });
        told.unwrap()
    }

    fn check(target: &str, headers: &[&str], expect: &str) {
        let told = told(target, headers, |options| {
            options.lifetime.map_or("-".to_owned(), |lifetime| lifetime.to_string())
        });
        assert_eq!(told, expect, "{target} {headers:?}");
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

    #[test]
    fn merge_rules_are_asked_for_in_header_and_query() {
        let check = |target: &str, headers: &[&str], expect: &str| {
            let told = told(target, headers, |options| {
                options.merge.map_or("-".to_owned(), |rule| rule.to_string())
            });
            assert_eq!(told, expect, "{target} {headers:?}");
        };
        check("/m?merge=sum", &[], "sum");
        check("/m", &["push-merge: max "], "max");
        check("/m?merge=last", &["Push-Merge: last"], "last");
        let disagree = "the push asks for different ways to merge in header and query";
        check("/m?merge=last", &["Push-Merge: first"], disagree);
        check("/m?merge=last&merge=sum", &[], disagree);
        let names = "must be replace, sum, min, max, last or first, not";
        check("/m?merge=add", &[], &format!("bad query parameter merge: {names} \"add\""));
        check("/m", &["Push-Merge:"], &format!("bad header Push-Merge: {names} \"\""));
    }

    #[test]
    fn keys_are_read_and_held_to_nothing() {
        let name = |headers: &[&str]| {
            let mut key = None;
            told("/m", headers, |options| {
                key = options.key;
                String::new()
            });
            key.map(|key| key.name)
        };
        assert_eq!(name(&[]), None);
        assert_eq!(name(&["Idempotency-Key:  "]), None);
        let one = name(&["Idempotency-Key: a"]);
        assert!(one.is_some_and(|one| one.is_some()));
        assert_eq!(name(&["push-id: a", "idempotency-key: a "]), one);
        assert_ne!(name(&["Push-Id: b"]), one);
        assert_eq!(name(&["Push-Id: b", "Push-Id: a"]), Some(None));
    }
}

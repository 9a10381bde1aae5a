//! Repairs to text bodies that strict reading refuses, for operators who allow them.
//!
//! Only three, each without any doubt about what is meant: lines that end in CR LF, a last line without
//! its end, and timestamps, which are dropped. Everything else stays as it is, to be refused.

use super::scan::{self, BLANK};
use crate::model::Leniency;

/// A body after repair, and what was repaired: each kind once.
pub struct Relaxed {
    pub body: Vec<u8>,
    pub leniencies: Vec<Leniency>,
}

/// Repairs `body`; `None` if there is nothing to repair.
pub fn relax(body: &[u8]) -> Option<Relaxed> {
    let (mut crlf, mut final_newline, mut timestamp) = (false, false, false);
    let mut out = Vec::with_capacity(body.len() + 1);
    let mut rest = body;
    while !rest.is_empty() {
        let (line, after) = match memchr::memchr(b'\n', rest) {
            Some(len) => (&rest[..len], &rest[len + 1..]),
            None => {
                final_newline = true;
                (rest, &rest[rest.len()..])
            }
        };
        rest = after;
        let line = match line.strip_suffix(b"\r") {
            Some(line) => {
                crlf = true;
                line
            }
            None => line,
        };
        let end = without_timestamp(line);
        timestamp |= end.is_some();
        out.extend_from_slice(&line[..end.unwrap_or(line.len())]);
        out.push(b'\n');
    }
    let leniencies: Vec<Leniency> =
        [(crlf, Leniency::Crlf), (final_newline, Leniency::FinalNewline), (timestamp, Leniency::Timestamp)]
            .into_iter()
            .filter_map(|(is_done, leniency)| is_done.then_some(leniency))
            .collect();
    (!leniencies.is_empty()).then_some(Relaxed { body: out, leniencies })
}

/// Where the value of a sample line ends, if a timestamp follows it.
fn without_timestamp(line: &[u8]) -> Option<usize> {
    let blanks = |at: usize| at + scan::run(&line[at..], BLANK);
    let mut at = blanks(0);
    if line.get(at) == Some(&b'#') {
        return None;
    }
    at = blanks(skip(line, at, |byte| byte == b'{' || scan::is(byte, BLANK))?);
    if line.get(at) == Some(&b'{') {
        at = blanks(skip(line, at, |byte| byte == b'}')? + 1);
    }
    let value_end = at + scan::run_without(&line[at..], BLANK);
    let timestamp = std::str::from_utf8(&line[blanks(value_end)..]).ok()?;
    timestamp.parse::<i64>().is_ok().then_some(value_end)
}

/// Where from `at` on the first byte outside quotes stands that `is_end` recognises.
fn skip(line: &[u8], mut at: usize, is_end: impl Fn(u8) -> bool) -> Option<usize> {
    let mut is_quoted = false;
    loop {
        match *line.get(at)? {
            b'\\' if is_quoted => at += 1,
            b'"' => is_quoted = !is_quoted,
            byte if !is_quoted && is_end(byte) => return Some(at),
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Leniency::{Crlf, FinalNewline, Timestamp};

    #[track_caller]
    fn check(body: &str, expected: Option<(&str, &[Leniency])>) {
        let relaxed = relax(body.as_bytes());
        let relaxed = relaxed.as_ref().map(|r| (std::str::from_utf8(&r.body).unwrap(), &r.leniencies[..]));
        assert_eq!(relaxed, expected, "{body:?}");
    }

    #[test]
    fn what_is_repaired() {
        check("# TYPE x counter\r\nx 1\r\n", Some(("# TYPE x counter\nx 1\n", &[Crlf])));
        check("x 1", Some(("x 1\n", &[FinalNewline])));
        check("x 1\r\nx 1\r", Some(("x 1\nx 1\n", &[Crlf, FinalNewline])));
        check("x 1 5\n", Some(("x 1\n", &[Timestamp])));
        check(
            " x{a=\"} 1 2\\\"\",b=\"{\"}1\t-7\ny 2\n",
            Some((" x{a=\"} 1 2\\\"\",b=\"{\"}1\ny 2\n", &[Timestamp])),
        );
        check("x {a=\"b\"} 1 5\n", Some(("x {a=\"b\"} 1\n", &[Timestamp])));
        check(
            "{\"x y\",a=\"b\"} 1 5\n\"x y\" 1 6\n",
            Some(("{\"x y\",a=\"b\"} 1\n\"x y\" 1\n", &[Timestamp])),
        );
        check("x 1 5\r\ny 2", Some(("x 1\ny 2\n", &[Crlf, FinalNewline, Timestamp])));
    }

    #[test]
    fn what_is_left_alone() {
        for body in [
            "",
            "x 1\n",
            "x 1 \n",
            "x 1 5 \n",
            "x 1 5.5\n",
            "x 1 1 1\n",
            "# HELP x 1 5\n",
            "x{a=\"b\" 1 5\n",
            "x\r 1\n",
            "x\n",
            " \n",
            "\\\n",
            "x{a=\"\\\n",
        ] {
            check(body, None);
        }
    }

    proptest! {
        #[test]
        fn repairing_ends(body in "[x1 {}\"\\\\#\r\n]{0,40}") {
            if let Some(relaxed) = relax(body.as_bytes()) {
                prop_assert!(relaxed.body.ends_with(b"\n"));
                prop_assert!(relaxed.body.len() <= body.len() + 1);
            }
        }
    }
}

//! Golden files: a request in `x.in`, its answer in `x.out`.

use std::cell::RefCell;
use std::fs;

use super::diff::difference;
use super::{Found, Pass, Plan, Reply, Report, Request, World, is_wanted, three_times};

/// Runs one.
pub fn run(plan: &Plan, found: &Found, report: &mut Report) {
    let name = found.shown();
    if !is_wanted(plan, &name) {
        return;
    }
    let world: RefCell<Option<Box<dyn World>>> = RefCell::default();
    let outcome = request(found).and_then(|request| {
        three_times(|pass| {
            let mut world = world.borrow_mut();
            if pass != Pass::CacheWarm {
                let mut file = found.configuration(plan)?;
                if pass == Pass::CacheOff {
                    file.series_cache = Some(0);
                }
                *world = Some((plan.open)(&found.dir, &file)?);
            }
            let world = world.as_mut().ok_or("no gateway")?;
            if pass == Pass::CacheWarm {
                world.again();
            }
            let reply = world.send(&request);
            compare(plan, found, pass, &reply)?;
            Ok(vec![reply])
        })
    });
    report.add(name, outcome);
}

fn request(found: &Found) -> Result<Request, String> {
    let bytes = fs::read(&found.path).map_err(|error| error.to_string())?;
    read(&bytes)
}

/// A request as golden files write it: request line, headers, blank line, body.
///
/// # Errors
///
/// It is not written so.
pub fn read(bytes: &[u8]) -> Result<Request, String> {
    let mut request = Request::default();
    let mut rest = bytes;
    let mut is_first = true;
    loop {
        let (line, after) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = after;
        let line = std::str::from_utf8(line).map_err(|_| "the head is not text")?.trim_end_matches('\r');
        if is_first {
            let mut words = line.split_ascii_whitespace();
            let (Some(method), Some(path)) = (words.next(), words.next()) else {
                return Err(format!("the first line is METHOD PATH, not {line:?}"));
            };
            (request.method, request.path) = (method.to_owned(), path.to_owned());
            is_first = false;
            continue;
        }
        if line.is_empty() {
            break;
        }
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("a header is NAME: VALUE, not {line:?}"))?;
        request.add_header(name.trim(), value.trim());
    }
    request.body = rest.to_vec();
    Ok(request)
}

impl Request {
    pub fn add_header(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = Some(value.to_owned());
        }
        self.headers.push((name.to_owned(), value.to_owned()));
    }
}

/// What `x.out` holds.
pub fn written(reply: &Reply, phrase: &str) -> String {
    let text = if reply.message.is_empty() { reply.text() } else { format!("{}\n", reply.message) };
    format!("HTTP/1.1 {} {phrase}\n\n{text}", reply.status)
}

fn compare(plan: &Plan, found: &Found, pass: Pass, reply: &Reply) -> Result<(), String> {
    let path = found.path.with_extension("out");
    let got = written(reply, (plan.phrase)(reply.status));
    if plan.update && pass == Pass::CacheOff {
        return fs::write(&path, got).map_err(|error| format!("cannot write {}: {error}", path.display()));
    }
    let expected = fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}; --update writes it", path.display()))?;
    let (expected, got): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    match difference(&expected, &got) {
        None => Ok(()),
        Some(difference) => Err(format!("the answer differs (- expected, + got)\n{difference}")),
    }
}

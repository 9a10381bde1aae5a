//! Reads back what is stored and compares it with what was accepted, series by series.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;

use crate::answer::Reader;
use crate::body::{Layout, PREFIX, Part};
use crate::options::{Options, ScrapeCoding};
use crate::plan::Held;

/// How long a scrape may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two scrapes of a server that may store after it has answered.
const PAUSE: Duration = Duration::from_millis(200);

/// Compares a scrape with what the groups must hold; returns how many series that are.
///
/// # Errors
///
/// There is no scrape, or a series is missing, doubled, of another value, or should not be there, and still is once
/// everything must be stored.
pub fn verify(options: &Options, address: SocketAddr, held: &[Held]) -> Result<u64, String> {
    let deadline = Instant::now() + options.stored_within();
    loop {
        match verify_now(options, address, held) {
            Err(_) if Instant::now() < deadline => thread::sleep(PAUSE),
            found => return found,
        }
    }
}

fn verify_now(options: &Options, address: SocketAddr, held: &[Held]) -> Result<u64, String> {
    let text = scrape(options, address)?;
    let expected = Expected { layout: Layout::new(options.series), job: &options.job, held };
    expected.compare(&text)
}

fn scrape(options: &Options, address: SocketAddr) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("reading back: {error}");
    let mut stream = TcpStream::connect(address).map_err(fault)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(fault)?;
    let gzip = options.scrape_coding == ScrapeCoding::Gzip;
    let coding = if gzip { "gzip" } else { "identity" };
    let question = format!(
        "GET /metrics HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: {coding}\r\nConnection: close\r\n\r\n",
        options.target
    );
    stream.write_all(question.as_bytes()).map_err(fault)?;
    let (mut reader, mut room) = (Reader::keeping(), vec![0; 256 * 1024]);
    let answer = loop {
        let read = stream.read(&mut room).map_err(fault)?;
        let answer = if read == 0 { reader.end() } else { reader.take(&room[..read])?.1 };
        match answer {
            Some(answer) => break answer,
            None if read == 0 => return Err("reading back: the answer was cut short".to_owned()),
            None => {}
        }
    };
    if answer.status != 200 {
        return Err(format!("reading back was answered {}", answer.status));
    }
    let mut body = answer.body;
    if gzip && body.starts_with(&[0x1f, 0x8b]) {
        let mut text = Vec::new();
        MultiGzDecoder::new(&body[..]).read_to_end(&mut text).map_err(fault)?;
        body = text;
    }
    String::from_utf8(body).map_err(|_| "reading back: no UTF-8".to_owned())
}

struct Expected<'e> {
    layout: Layout,
    job: &'e str,
    held: &'e [Held],
}

impl Expected<'_> {
    fn compare(&self, text: &str) -> Result<u64, String> {
        let families = self.layout.families(Part::Whole);
        let first_half = self.layout.families(Part::FirstHalf);
        // Where each family's series begin among a group's.
        let mut starts = vec![0_usize];
        for family in 0..families {
            starts.push(starts[family as usize] + self.layout.series_of(family) as usize);
        }
        let per_group = starts[families as usize];
        let halves = [starts[first_half as usize], per_group - starts[first_half as usize]];
        let mut seen = vec![false; per_group * self.held.len()];
        let mut count = 0_u64;
        for line in text.lines().filter(|line| line.starts_with(PREFIX)) {
            let series =
                Series::read(line).ok_or_else(|| format!("read back a line that makes no sense: {line}"))?;
            if series.job != self.job {
                continue;
            }
            let half = usize::from(series.family >= first_half);
            let place = starts.get(series.family as usize).map(|start| start + series.shard as usize);
            let place =
                place.filter(|place| series.family < families && *place < starts[series.family as usize + 1]);
            // Groups that this run has not changed may hold what an earlier one pushed.
            let Some(Some(held)) = self.held.get(series.group as usize) else { continue };
            let variant = held[half];
            let (Some(place), Some(variant)) = (place, variant) else {
                return Err(format!("read back what nobody pushed, or what was deleted: {line}"));
            };
            let value = Layout::value(series.family, series.shard, variant);
            if series.value.to_bits() != value.to_bits() {
                return Err(format!("read back {line}, where {value} was pushed last"));
            }
            if std::mem::replace(&mut seen[series.group as usize * per_group + place], true) {
                return Err(format!("read back twice: {line}"));
            }
            count += 1;
        }
        let held = |held: &Held| {
            held.iter()
                .flatten()
                .zip(halves)
                .map(|(half, size)| if half.is_some() { size } else { 0 })
                .sum::<usize>()
        };
        let stored: u64 = self.held.iter().map(|group| held(group) as u64).sum();
        if count == stored {
            Ok(count)
        } else {
            Err(format!("read back {count} series, where {stored} were pushed"))
        }
    }
}

/// A line of the exposition.
struct Series<'l> {
    family: u32,
    shard: u32,
    group: u32,
    job: &'l str,
    value: f64,
}

impl Series<'_> {
    /// Values of our own labels hold nothing that is escaped.
    fn read(line: &str) -> Option<Series<'_>> {
        let (name, rest) = line.split_once('{')?;
        let (labels, value) = rest.rsplit_once("} ")?;
        let family = name.strip_prefix(PREFIX)?.split('_').next()?.parse().ok()?;
        let (mut shard, mut group, mut job) = (None, None, None);
        for label in labels.trim_end_matches(',').split("\",") {
            let (name, value) = label.split_once("=\"")?;
            let value = value.trim_end_matches('"');
            match name {
                "shard" => shard = value.parse().ok(),
                "instance" => group = value.strip_prefix('i')?.parse().ok(),
                "job" => job = Some(value),
                _ => {}
            }
        }
        Some(Series { family, shard: shard?, group: group?, job: job?, value: value.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: [Held; 3] = [Some([Some(1), Some(2)]), Some([None, None]), None];

    fn lines() -> Vec<String> {
        let line = |family, kind, variant| {
            let value = Layout::value(family, 0, variant);
            format!(
                "load_stage_{family}_{kind}{{instance=\"i0\",job=\"j\",region=\"x\",shard=\"0\"}} {value}"
            )
        };
        vec![line(0, "records_total", 1), line(1, "seconds", 2)]
    }

    fn compare(lines: &[String]) -> Result<u64, String> {
        Expected { layout: Layout::new(2), job: "j", held: &HELD }.compare(&lines.join("\n"))
    }

    #[test]
    fn what_was_pushed_is_found() {
        assert_eq!(compare(&lines()), Ok(2));
        let mut more = lines();
        more.push("push_time_seconds{instance=\"i0\",job=\"j\"} 1.5".to_owned());
        more.push(more[0].replace("\"j\"", "\"other\""));
        more.push(more[0].replace("i0", "i2"));
        more.push(more[0].replace("i0", "i3"));
        assert_eq!(compare(&more), Ok(2));
    }

    #[test]
    fn every_difference_is_found() {
        let fault = |change: &dyn Fn(&mut Vec<String>)| {
            let mut changed = lines();
            change(&mut changed);
            compare(&changed).unwrap_err()
        };
        assert!(fault(&|lines| drop(lines.pop())).contains("1 series, where 2"));
        assert!(fault(&|lines| lines.push(lines[0].clone())).contains("twice"));
        assert!(fault(&|lines| lines[1].push('1')).contains("pushed last"));
        assert!(fault(&|lines| lines[0] = lines[0].replace("i0", "i1")).contains("nobody"));
        assert!(fault(&|lines| lines[0] = lines[0].replace("shard=\"0\"", "shard=\"1\"")).contains("nobody"));
        assert!(fault(&|lines| lines[0] = "load_stage_".to_owned()).contains("makes no sense"));
    }
}

//! The table and the record.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::options::Options;
use crate::tally::Tally;

/// What a run found, as JSON.
#[derive(Serialize)]
pub struct Record<'r> {
    options: &'r Options,
    /// Bytes of a PUT's body as sent.
    body_bytes: usize,
    /// Wall-clock time that counts.
    seconds: f64,
    answered: u64,
    rate: f64,
    puts: u64,
    posts: u64,
    deletes: u64,
    failed: u64,
    fault: Option<&'r str>,
    /// From the time a request was due, open loop; from its sending, closed loop.
    latency_us: Latency,
    during_scrapes_us: Option<Latency>,
    between_scrapes_us: Option<Latency>,
    /// How late the load itself was where a connection was free.
    lateness_us: Latency,
    server_cpu_us_per_request: Option<f64>,
    /// Part of a core that the load itself used.
    own_cpu: f64,
    scrapes: Option<Scrapes>,
    /// Series read back and found right.
    checked_series: Option<u64>,
}

#[derive(Serialize)]
struct Latency {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

#[derive(Serialize)]
struct Scrapes {
    count: usize,
    median_ms: f64,
    max_ms: f64,
    bytes: u64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Latency {
            count: histogram.len(),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

impl<'r> Record<'r> {
    pub fn new(
        options: &'r Options,
        tally: &'r Tally,
        body_bytes: usize,
        checked: Option<u64>,
    ) -> Record<'r> {
        let (seconds, clocks) =
            tally.spent.map_or((0.0, Default::default()), |(time, clocks)| (time.as_secs_f64(), clocks));
        let per = |value: f64| if seconds > 0.0 { value / seconds } else { 0.0 };
        let [puts, posts, deletes] = tally.methods;
        let mut times: Vec<f64> =
            tally.scrapes.iter().map(|scrape| scrape.took.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        Record {
            options,
            body_bytes,
            seconds,
            answered: tally.answered,
            rate: per(tally.answered as f64),
            puts,
            posts,
            deletes,
            failed: tally.failed,
            fault: tally.first_fault.as_deref(),
            latency_us: Latency::of(&tally.latencies),
            during_scrapes_us: tally.during_scrapes.as_ref().map(|[during, _]| Latency::of(during)),
            between_scrapes_us: tally.during_scrapes.as_ref().map(|[_, others]| Latency::of(others)),
            lateness_us: Latency::of(&tally.lateness),
            server_cpu_us_per_request: clocks
                .server
                .filter(|_| tally.answered > 0)
                .map(|server| server.as_secs_f64() * 1e6 / tally.answered as f64),
            own_cpu: per(clocks.own.as_secs_f64()),
            scrapes: tally.during_scrapes.as_ref().map(|_| Scrapes {
                count: times.len(),
                median_ms: times.get(times.len() / 2).copied().unwrap_or_default(),
                max_ms: times.last().copied().unwrap_or_default(),
                bytes: tally.scrapes.last().map(|scrape| scrape.bytes).unwrap_or_default(),
            }),
            checked_series: checked,
        }
    }

    /// The record as a table for people.
    pub fn table(&self) -> String {
        let mut rows = vec![
            (
                "answered".to_owned(),
                format!("{} in {:.2} s, {:.0}/s", self.answered, self.seconds, self.rate),
            ),
            ("PUT, POST, DELETE".to_owned(), format!("{}, {}, {}", self.puts, self.posts, self.deletes)),
            ("body".to_owned(), format!("{} bytes", self.body_bytes)),
        ];
        if let Some(cpu) = self.server_cpu_us_per_request {
            rows.push(("server CPU per request".to_owned(), format!("{cpu:.2} us")));
        }
        let loop_kind =
            if self.options.rate.is_some() { "latency from due time" } else { "latency, closed loop" };
        let latencies = [
            (loop_kind, Some(&self.latency_us)),
            ("  during scrapes", self.during_scrapes_us.as_ref()),
            ("  between scrapes", self.between_scrapes_us.as_ref()),
            ("the load's own lateness", Some(&self.lateness_us).filter(|_| self.options.rate.is_some())),
        ];
        for (name, latency) in latencies {
            if let Some(latency) = latency.filter(|latency| latency.count > 0) {
                rows.push((
                    name.to_owned(),
                    format!(
                        "p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0} us",
                        latency.p50, latency.p90, latency.p99, latency.p999, latency.max
                    ),
                ));
            }
        }
        if let Some(scrapes) = &self.scrapes {
            let text = format!(
                "{}, median {:.1} ms, max {:.1} ms, {} bytes",
                scrapes.count, scrapes.median_ms, scrapes.max_ms, scrapes.bytes
            );
            rows.push(("scrapes".to_owned(), text));
        }
        rows.push(("the load's own CPU".to_owned(), format!("{:.0} % of a core", self.own_cpu * 100.0)));
        if let Some(series) = self.checked_series {
            rows.push(("read back and right".to_owned(), format!("{series} series")));
        }
        if let Some(fault) = self.fault {
            rows.push(("FAILED".to_owned(), format!("{}, first: {fault}", self.failed)));
        }
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
    }
}

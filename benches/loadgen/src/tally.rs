//! What was measured: latencies, counts, CPU.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::connection::UnderWay;
use crate::cpu::Clocks;
use crate::plan::Method;
use crate::scrape::Scrape;

/// Latencies are kept in nanoseconds, three digits of them, up to this.
const LATENCY_MAX: Duration = Duration::from_secs(600);

pub struct Tally {
    /// Of requests that were due after the warm-up.
    pub latencies: Histogram<u64>,
    /// Of those among them that waited while a scrape was under way, and of the others.
    pub during_scrapes: Option<[Histogram<u64>; 2]>,
    /// How late requests left for which a connection was free.
    pub lateness: Histogram<u64>,
    /// Answers from the mark to the end.
    pub answered: u64,
    /// PUT, POST, DELETE among them.
    pub methods: [u64; 3],
    pub failed: u64,
    pub first_fault: Option<String>,
    pub scrapes: Vec<Scrape>,
    began: Option<(Instant, Clocks)>,
    /// Wall-clock and CPU time from the mark to the end.
    pub spent: Option<(Duration, Clocks)>,
}

fn histogram() -> Histogram<u64> {
    let max = LATENCY_MAX.as_nanos() as u64;
    Histogram::new_with_bounds(1, max, 3).expect("these bounds are allowed")
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(time.as_nanos() as u64);
}

impl Tally {
    pub fn new(scrapes: bool) -> Tally {
        Tally {
            latencies: histogram(),
            during_scrapes: scrapes.then(|| [histogram(), histogram()]),
            lateness: histogram(),
            answered: 0,
            methods: [0; 3],
            failed: 0,
            first_fault: None,
            scrapes: Vec::new(),
            began: None,
            spent: None,
        }
    }

    /// Starts counting.
    pub fn mark(&mut self, now: Instant, clocks: Clocks) {
        self.began = Some((now, clocks));
        self.answered = 0;
        self.methods = [0; 3];
    }

    /// Stops counting.
    pub fn end(&mut self, now: Instant, clocks: Clocks) {
        self.spent = self.began.map(|(then, before)| {
            let server = clocks.server.zip(before.server).map(|(now, then)| now.saturating_sub(then));
            (now - then, Clocks { own: clocks.own.saturating_sub(before.own), server })
        });
    }

    /// An answer came at `now`. `counts` is whether its latency does.
    pub fn answer(&mut self, under_way: UnderWay, now: Instant, counts: bool, overlaps: bool) {
        self.answered += 1;
        self.methods[match under_way.request.method {
            Method::Put => 0,
            Method::Post => 1,
            Method::Delete => 2,
        }] += 1;
        if counts {
            let latency = now.saturating_duration_since(under_way.due);
            record(&mut self.latencies, latency);
            if let Some([during, others]) = &mut self.during_scrapes {
                record(if overlaps { during } else { others }, latency);
            }
        }
    }

    pub fn sent_late(&mut self, by: Duration) {
        record(&mut self.lateness, by);
    }

    pub fn fail(&mut self, count: u64, fault: String) {
        self.failed += count;
        self.first_fault.get_or_insert(fault);
    }
}

//! Pushes the shared registry with the `prometheus` crate: floodway-rust-client URL STEP
//!
//! The crate has no delete.

use std::collections::HashMap;

use prometheus::{CounterVec, Gauge, Histogram, HistogramOpts, Opts, Registry};

fn main() -> Result<(), prometheus::Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, step] = &arguments[..] else { panic!("usage: floodway-rust-client URL STEP") };
    let key = HashMap::from([("instance".to_owned(), "i".to_owned())]);
    let registry = Registry::new();
    if step == "push" {
        let jobs = CounterVec::new(Opts::new("jobs_total", "Jobs done."), &["kind"])?;
        jobs.with_label_values(&["a b"]).inc_by(3.0);
        let load = Gauge::new("load", "How busy.")?;
        load.set(0.5);
        let options = HistogramOpts::new("latency_seconds", "How long.").buckets(vec![0.5, 1.0]);
        let latency = Histogram::with_opts(options)?;
        for seconds in [0.25, 0.75, 2.0] {
            latency.observe(seconds);
        }
        registry.register(Box::new(jobs))?;
        registry.register(Box::new(load))?;
        registry.register(Box::new(latency))?;
        prometheus::push_metrics("rust", key, url, registry.gather(), None)
    } else {
        let added = Gauge::new("added", "Added later.")?;
        added.set(7.0);
        registry.register(Box::new(added))?;
        prometheus::push_add_metrics("rust", key, url, registry.gather(), None)
    }
}

//! Bodies of pushes, the same series in each format, and of other kinds.

use std::fmt::Write;

use floodway::format::escape::Escaping;
use floodway::model::MetricType;
use floodway::render::protobuf;

const HELP: &str = "What the stage did.";

/// A family of a body, and how many of its series come.
fn families(series: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..series.div_ceil(10)).map(move |family| (family, 10.min(series - family * 10)))
}

fn number(value: usize, family: usize, shard: usize) -> usize {
    (value * 7919 + shard * 17 + family) % 1000
}

/// `series` samples of three labels, about ninety bytes a line.
pub fn text(series: usize, value: usize) -> String {
    lines(series, value, "_total")
}

/// The same as OpenMetrics, whose counters are families without the suffix of their samples.
pub fn openmetrics(series: usize, value: usize) -> String {
    lines(series, value, "") + "# EOF\n"
}

fn lines(series: usize, value: usize, suffix: &str) -> String {
    let mut body = String::new();
    for (family, shards) in families(series) {
        let name = format!("batch_job_stage_{family}_records");
        let _ = write!(body, "# HELP {name}{suffix} {HELP}\n# TYPE {name}{suffix} counter\n");
        for shard in 0..shards {
            let _ = writeln!(
                body,
                "{name}_total{{shard=\"{shard}\",region=\"eu-west-1\",status=\"succeeded\"}} {}",
                number(value, family, shard)
            );
        }
    }
    body
}

/// The same as delimited messages.
pub fn protobuf(series: usize, value: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for (family, shards) in families(series) {
        let mut writer = protobuf::Writer::default();
        for shard in 0..shards {
            writer.label("shard", &shard.to_string());
            writer.label("region", "eu-west-1");
            writer.label("status", "succeeded");
            writer.plain(MetricType::Counter, number(value, family, shard) as f64);
        }
        let (name, metrics) = (format!("batch_job_stage_{family}_records_total"), writer.finish());
        let (kind, escaping) = (MetricType::Counter, Escaping::AllowUtf8);
        body.extend(protobuf::head(&name, Some(HELP), kind, escaping, metrics.len()));
        body.extend(metrics);
    }
    body
}

/// Ten histograms of eight buckets.
pub fn histograms() -> String {
    let name = "request_duration_seconds";
    let mut body = format!("# TYPE {name} histogram\n");
    for path in 0..10 {
        for (count, bound) in ["0.005", "0.01", "0.1", "0.5", "1", "5", "10", "+Inf"].iter().enumerate() {
            let _ = writeln!(body, "{name}_bucket{{path=\"/api/{path}\",le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(body, "{name}_sum{{path=\"/api/{path}\"}} 17.25");
        let _ = writeln!(body, "{name}_count{{path=\"/api/{path}\"}} 7");
    }
    body
}

/// A hundred lines of twelve bytes, each a family of its own.
pub fn short_lines() -> String {
    (0..100).map(|line| format!("m{line:0>8} 1\n")).collect()
}

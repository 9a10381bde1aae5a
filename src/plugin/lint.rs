//! Naming problems of a family, as the Prometheus conventions and promtool see them.

use super::draft::Draft;
use crate::model::MetricType;

/// Units that are not base units, and the base unit to use.
const UNITS: [(&str, &str); 20] = [
    ("milliseconds", "seconds"),
    ("microseconds", "seconds"),
    ("nanoseconds", "seconds"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("kilobytes", "bytes"),
    ("megabytes", "bytes"),
    ("gigabytes", "bytes"),
    ("kibibytes", "bytes"),
    ("mebibytes", "bytes"),
    ("bits", "bytes"),
    ("kilobits", "bytes"),
    ("megabits", "bytes"),
    ("percent", "ratio"),
    ("fahrenheit", "celsius"),
    ("kilometers", "meters"),
    ("centimeters", "meters"),
    ("kilograms", "grams"),
    ("milliamperes", "amperes"),
];

const ABBREVIATIONS: [&str; 14] =
    ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];

/// The codes and texts of what is wrong with a family.
pub fn family(draft: &Draft, at: u32) -> Vec<(&'static str, String)> {
    let family = draft.family(at);
    let (name, kind) = (draft.text(family.name), family.kind);
    let mut found = Vec::new();
    if family.help.is_none_or(|help| draft.text(help).is_empty()) {
        found.push(("help", "no help text".to_owned()));
    }
    let total = name.ends_with("_total");
    if kind == MetricType::Counter && !total {
        found.push(("counter_total", "counter metrics should have \"_total\" suffix".to_owned()));
    }
    if kind != MetricType::Counter && kind != MetricType::Untyped && total {
        found.push(("total_suffix", "non-counter metrics should not have \"_total\" suffix".to_owned()));
    }
    let words: Vec<&str> = name.split('_').collect();
    for (unit, base) in UNITS {
        if words.contains(&unit) {
            found.push(("unit_base", format!("use base unit \"{base}\" instead of \"{unit}\"")));
        }
    }
    let stem = words.iter().rev().find(|word| **word != "total");
    if let Some(word) = stem.filter(|word| words.len() > 1 && ABBREVIATIONS.contains(word)) {
        found.push((
            "unit_abbreviation",
            format!("metric names should not contain the abbreviation \"{word}\""),
        ));
    }
    if kind != MetricType::Untyped && words[1..].contains(&kind.text()) {
        found.push(("type_in_name", "metric name should not include type".to_owned()));
    }
    if name.contains(':') {
        found.push(("colon", "metric names should not contain ':'".to_owned()));
    }
    if is_camel(name) {
        found.push((
            "camel_case",
            "metric names should be written in 'snake_case' not 'camelCase'".to_owned(),
        ));
    }
    for (suffix, code, for_histogram, for_summary) in [
        ("_bucket", "bucket_suffix", true, false),
        ("_count", "count_suffix", true, true),
        ("_sum", "sum_suffix", true, true),
    ] {
        let own = (kind.has_buckets() && for_histogram) || (kind == MetricType::Summary && for_summary);
        if !own && kind != MetricType::Untyped && name.ends_with(suffix) {
            found.push((code, format!("metrics of this type should not have \"{suffix}\" suffix")));
        }
    }
    labels(draft, at, kind, &mut found);
    found
}

fn labels(draft: &Draft, at: u32, kind: MetricType, found: &mut Vec<(&'static str, String)>) {
    let (mut le, mut quantile, mut camel) = (false, false, false);
    for (sample, _) in draft.samples().iter().enumerate().filter(|(_, s)| s.family == at && !s.dropped) {
        for (name, _) in draft.own_labels(sample as u32) {
            le |= name == "le";
            quantile |= name == "quantile";
            camel |= is_camel(name);
        }
    }
    if camel {
        found.push((
            "camel_label",
            "label names should be written in 'snake_case' not 'camelCase'".to_owned(),
        ));
    }
    if le && !kind.has_buckets() && kind != MetricType::Untyped {
        found.push(("le_label", "non-histogram metrics should not have \"le\" label".to_owned()));
    }
    if quantile && kind != MetricType::Summary && kind != MetricType::Untyped {
        found.push(("quantile_label", "non-summary metrics should not have \"quantile\" label".to_owned()));
    }
}

/// A lower case letter followed by an upper case one.
fn is_camel(name: &str) -> bool {
    name.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Families, GroupingKey, NameRules};
    use crate::parse::text;
    use crate::plugin::draft::Received;

    fn codes(body: &str) -> Vec<&'static str> {
        let mut draft = Draft::new(NameRules::Legacy);
        draft.clear(NameRules::Legacy, &GroupingKey::new("j", []));
        let families = text::parse(body.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        draft.load(&Received { families: &families, body: body.as_bytes(), loose: &[] });
        family(&draft, 0).into_iter().map(|found| found.0).collect()
    }

    #[test]
    fn each_problem_is_found() {
        let with_help = |rest: &str| codes(&format!("# HELP {} x\n{rest}", rest.split(' ').nth(2).unwrap()));
        assert_eq!(with_help("# TYPE jobs_done_total counter\njobs_done_total 1\n"), [""; 0]);
        assert_eq!(codes("a 1\n"), ["help"]);
        for (body, code) in [
            ("# TYPE a counter\na 1\n", "counter_total"),
            ("# TYPE a_total gauge\na_total 1\n", "total_suffix"),
            ("# TYPE a_milliseconds gauge\na_milliseconds 1\n", "unit_base"),
            ("# TYPE a_ms gauge\na_ms 1\n", "unit_abbreviation"),
            ("# TYPE a_gauge gauge\na_gauge 1\n", "type_in_name"),
            ("# TYPE a:b gauge\na:b 1\n", "colon"),
            ("# TYPE aB gauge\naB 1\n", "camel_case"),
            ("# TYPE a gauge\na{fooBar=\"1\"} 1\n", "camel_label"),
            ("# TYPE a_bucket gauge\na_bucket 1\n", "bucket_suffix"),
            ("# TYPE a_count gauge\na_count 1\n", "count_suffix"),
            ("# TYPE a_sum gauge\na_sum 1\n", "sum_suffix"),
            ("# TYPE a gauge\na{le=\"1\"} 1\n", "le_label"),
            ("# TYPE a gauge\na{quantile=\"1\"} 1\n", "quantile_label"),
        ] {
            assert_eq!(with_help(body), [code], "{body}");
        }
    }
}

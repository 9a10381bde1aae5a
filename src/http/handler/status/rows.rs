//! The values of a series as rows of the page's table, worded as the reference words them.

use crate::format::float::write_float;
use crate::gateway::ValueView;
use crate::model::histogram::NativeHistogram;

/// One value. Plain values need no word.
pub struct Row {
    pub what: String,
    pub value: String,
}

/// The values of a series.
pub fn rows(value: &ValueView<'_>) -> Vec<Row> {
    let row = |what: String, value: f64| Row { what, value: plain(value) };
    match value {
        ValueView::Plain(value) => vec![row(String::new(), *value)],
        ValueView::Summary { quantiles, sum, count } => {
            let quantile =
                |(bound, value): &(f64, f64)| row(format!("Quantile {}", shortest(*bound)), *value);
            let mut rows: Vec<Row> = quantiles.iter().map(quantile).collect();
            rows.push(Row { what: "Sample Count".into(), value: count.to_string() });
            rows.push(row("Sample Sum".into(), *sum));
            rows
        }
        ValueView::Histogram { buckets, sum, count, detail } => {
            let mut rows = Vec::new();
            if let Some(native) = detail.and_then(native) {
                rows.push(Row { what: "Native Histogram representation".into(), value: native });
            }
            rows.extend(
                buckets.iter().map(|(bound, value)| {
                    row(format!("Sample values ≤ {}", shortest(*bound)), value.as_f64())
                }),
            );
            rows.push(row("Total sample Count".into(), count.as_f64()));
            rows.push(row("Sample Sum".into(), *sum));
            rows
        }
    }
}

fn native(detail: &[u8]) -> Option<String> {
    NativeHistogram::read(detail).ok().filter(NativeHistogram::has_spans).map(|histogram| histogram.text())
}

/// A number without an exponent, as the reference's page shows values.
fn plain(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { shortest(value) }
}

/// A number as a scrape shows it.
fn shortest(value: f64) -> String {
    let mut out = Vec::new();
    write_float(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Number;

    fn shown(value: &ValueView<'_>) -> Vec<String> {
        rows(value).iter().map(|row| format!("{}={}", row.what, row.value)).collect()
    }

    #[test]
    fn values_are_worded_by_type() {
        assert_eq!(shown(&ValueView::Plain(1e21)), ["=1000000000000000000000"]);
        assert_eq!(shown(&ValueView::Plain(f64::INFINITY)), ["=+Inf"]);
        let summary = ValueView::Summary { quantiles: vec![(0.5, f64::NAN)], sum: 2.5, count: 3 };
        assert_eq!(shown(&summary), ["Quantile 0.5=NaN", "Sample Count=3", "Sample Sum=2.5"]);
        let buckets = vec![(1.0, Number::Int(2)), (f64::INFINITY, Number::Int(3))];
        let histogram = ValueView::Histogram { buckets, sum: 4.0, count: Number::Int(3), detail: None };
        assert_eq!(
            shown(&histogram),
            ["Sample values ≤ 1=2", "Sample values ≤ +Inf=3", "Total sample Count=3", "Sample Sum=4"]
        );
    }

    #[test]
    fn native_buckets_come_first() {
        // sample_count 3, sample_sum 4.5, schema 0, zero_threshold 0.001, zero_count 1,
        // one positive span of one bucket at offset 0, delta 2.
        let mut detail = vec![0x08, 3, 0x11];
        detail.extend(4.5f64.to_le_bytes());
        detail.extend([0x28, 0, 0x31]);
        detail.extend(0.001f64.to_le_bytes());
        detail.extend([0x38, 1, 0x62, 4, 0x08, 0, 0x10, 1, 0x6a, 1, 4]);
        let histogram =
            ValueView::Histogram { buckets: vec![], sum: 4.5, count: Number::Int(3), detail: Some(&detail) };
        assert_eq!(
            shown(&histogram)[0],
            "Native Histogram representation={count:3, sum:4.5, [-0.001,0.001]:1, (0.5,1]:2}"
        );
    }
}

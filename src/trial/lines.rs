//! A group as lines of text, in canonical form: sorted, with everything that an exposition would show of
//! it but the push times.

use crate::format::escape;
use crate::format::float;
use crate::gateway::{FamilyView, GroupView, SeriesView, ValueView};
use crate::model::names::is_legacy_metric_name;
use crate::plugin::testing::Line;

type Labels = Vec<(String, String)>;

/// Its lines and its comments, each sorted.
pub fn of(group: &GroupView) -> (Vec<Line>, Vec<String>) {
    let (mut lines, mut comments) = (Vec::new(), Vec::new());
    for family in group.families() {
        comments.push(format!("# TYPE {} {}", family.name, family.kind.text()));
        if let Some(help) = family.help {
            let mut comment = format!("# HELP {} ", family.name).into_bytes();
            escape::push_help(&mut comment, help);
            comments.push(String::from_utf8_lossy(&comment).into_owned());
        }
        family.series().for_each(|series| push_series(&mut lines, &family, &series));
    }
    lines.sort_by(|a, b| a.text.cmp(&b.text));
    comments.sort();
    (lines, comments)
}

fn push_series(lines: &mut Vec<Line>, family: &FamilyView<'_>, series: &SeriesView<'_>) {
    let labels: Labels =
        series.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let mut push = |suffix: &str, bound: Option<(&str, f64)>, value: f64| {
        let mut labels = labels.clone();
        if let Some((name, bound)) = bound {
            labels.push((name.to_owned(), number(bound)));
            labels.sort();
        }
        lines.push(line(format!("{}{suffix}", family.name), labels, value));
    };
    match &series.value {
        ValueView::Plain(value) => push("", None, *value),
        ValueView::Summary { quantiles, sum, count } => {
            quantiles.iter().for_each(|(q, value)| push("", Some(("quantile", *q)), *value));
            push("_sum", None, *sum);
            push("_count", None, *count as f64);
        }
        ValueView::Histogram { buckets, sum, count, .. } => {
            buckets.iter().for_each(|(le, count)| push("_bucket", Some(("le", *le)), count.as_f64()));
            // As an exposition adds it.
            if buckets.last().is_none_or(|bucket| bucket.0 != f64::INFINITY) {
                push("_bucket", Some(("le", f64::INFINITY)), count.as_f64());
            }
            push("_sum", None, *sum);
            push("_count", None, count.as_f64());
        }
    }
}

fn number(value: f64) -> String {
    let mut text = Vec::new();
    float::write_float(&mut text, value);
    String::from_utf8_lossy(&text).into_owned()
}

fn line(name: String, labels: Labels, value: f64) -> Line {
    let mut out = Vec::new();
    if is_legacy_metric_name(&name) {
        out.extend_from_slice(name.as_bytes());
        out.push(b'{');
    } else {
        out.extend_from_slice(b"{\"");
        escape::push_label_value(&mut out, &name);
        out.extend_from_slice(b"\",");
    }
    labels.iter().for_each(|(name, value)| escape::push_label(&mut out, name, value));
    // There is a job at least, and so a comma.
    out.pop();
    out.extend_from_slice(b"} ");
    float::write_float(&mut out, value);
    let text = String::from_utf8_lossy(&out).into_owned();
    Line { name, labels, value, text }
}

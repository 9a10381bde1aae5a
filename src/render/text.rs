//! The text format 0.0.4: headers of families, lines of series.
//!
//! A line is put together from three ready-made texts, the family's name, the labels of the series and
//! those of the group, and its value. Only families with names outside the old character set are
//! written label by label, since their names depend on the escaping that the scraper asks for.

use crate::format::escape::{self, Escaping};
use crate::format::float::write_float;
use crate::model::names::is_legacy_metric_name;
use crate::model::{GroupingKey, MetricType};
use crate::store::group::{Block, Group, KeyText};
use crate::store::shape::{FamilyShape, SeriesShape, Shape, run_labels};

/// Writes `# HELP` (if there is one) and `# TYPE`.
pub fn write_header(out: &mut Vec<u8>, name: &str, help: Option<&str>, kind: MetricType, escaping: Escaping) {
    if let Some(help) = help {
        out.extend_from_slice(b"# HELP ");
        write_bare_name(out, name, escaping);
        out.push(b' ');
        escape::push_help(out, help);
        out.push(b'\n');
    }
    out.extend_from_slice(b"# TYPE ");
    write_bare_name(out, name, escaping);
    out.push(b' ');
    out.extend_from_slice(kind.text().as_bytes());
    out.push(b'\n');
}

fn write_bare_name(out: &mut Vec<u8>, name: &str, escaping: Escaping) {
    if escaping == Escaping::AllowUtf8 && !is_legacy_metric_name(name) {
        out.push(b'"');
        escape::push_label_value(out, name);
        out.push(b'"');
    } else {
        out.extend_from_slice(escape::escape_name(name, escaping).as_bytes());
    }
}

/// Writes the lines of one family of one group. `shown` says for a position in the shape whether the
/// series there is shown.
pub fn write_fragment(
    out: &mut Vec<u8>,
    group: &Group,
    block: &Block,
    family: &FamilyShape,
    escaping: Escaping,
    shown: impl Fn(usize) -> bool,
) {
    let shape: &Shape = &block.shape;
    let name = shape.name(family);
    for (position, series, cuts) in shape.exposed(family) {
        if !shown(position) {
            continue;
        }
        let labels = LineLabels { group, shape, series, cuts, escaping: family.exotic.then_some(escaping) };
        write_series(out, name, family.kind, &labels, &block.values[series.first_value as usize..]);
    }
}

/// The labels of one series in whatever way they have to be written.
struct LineLabels<'l> {
    group: &'l Group,
    shape: &'l Shape,
    series: &'l SeriesShape,
    cuts: &'l [u32],
    /// Set if names may need escaping.
    escaping: Option<Escaping>,
}

impl LineLabels<'_> {
    /// Writes the name with `suffix`, the brace and the labels, each with its comma.
    fn write(&self, out: &mut Vec<u8>, name: &str, suffix: &str) {
        let Some(escaping) = self.escaping else {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
            out.push(b'{');
            write_merged(out, self.shape.run(self.series), self.cuts, &self.group.key_text);
            return;
        };
        if escaping == Escaping::AllowUtf8 && !is_legacy_metric_name(name) {
            out.extend_from_slice(b"{\"");
            escape::push_label_value(out, name);
            out.extend_from_slice(suffix.as_bytes());
            out.extend_from_slice(b"\",");
        } else {
            out.extend_from_slice(escape::escape_name(name, escaping).as_bytes());
            out.extend_from_slice(suffix.as_bytes());
            out.push(b'{');
        }
        if escaping == Escaping::AllowUtf8 {
            write_merged(out, self.shape.run(self.series), self.cuts, &self.group.key_text);
        } else {
            write_escaped(out, self.shape.run(self.series), &self.group.key, escaping);
        }
    }
}

/// Writes a run with the grouping labels put in at their cuts.
fn write_merged(out: &mut Vec<u8>, run: &str, cuts: &[u32], key: &KeyText) {
    let run = run.as_bytes();
    // The bare key has none.
    let first = cuts.first().map_or(0, |first| *first);
    // The grouping labels mostly stand together.
    if cuts.iter().all(|cut| *cut == first) {
        let (before, after) = run.split_at(first as usize);
        out.extend_from_slice(before);
        out.extend_from_slice(key.all().as_bytes());
        out.extend_from_slice(after);
        return;
    }
    let mut written = 0;
    for (at, cut) in cuts.iter().enumerate() {
        out.extend_from_slice(&run[written..*cut as usize]);
        out.extend_from_slice(key.slice(at, at + 1).as_bytes());
        written = *cut as usize;
    }
    out.extend_from_slice(&run[written..]);
}

/// Writes all labels, sorted by their unescaped names, with the names escaped.
fn write_escaped(out: &mut Vec<u8>, run: &str, key: &GroupingKey, escaping: Escaping) {
    let grouping = key.labels().map(|(name, value)| (name.into(), value.into()));
    let mut labels: Vec<(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)> =
        run_labels(run).chain(grouping).collect();
    labels.sort_unstable();
    for (name, value) in labels {
        out.extend_from_slice(escape::escape_name(&name, escaping).as_bytes());
        out.extend_from_slice(b"=\"");
        escape::push_label_value(out, &value);
        out.extend_from_slice(b"\",");
    }
}

fn write_series(out: &mut Vec<u8>, name: &str, kind: MetricType, labels: &LineLabels<'_>, values: &[u64]) {
    let bounds = labels.shape.bounds(labels.series);
    let count = |bits: u64| if labels.series.float_counts { f64::from_bits(bits) } else { bits as f64 };
    match kind {
        MetricType::Counter | MetricType::Gauge | MetricType::Untyped => {
            labels.write(out, name, "");
            end_line(out, f64::from_bits(values[0]));
        }
        MetricType::Summary => {
            for (quantile, value) in bounds.iter().zip(values) {
                labels.write(out, name, "");
                write_bound(out, "quantile", *quantile);
                end_line(out, f64::from_bits(*value));
            }
            labels.write(out, name, "_sum");
            end_line(out, f64::from_bits(values[bounds.len()]));
            labels.write(out, name, "_count");
            end_line(out, values[bounds.len() + 1] as f64);
        }
        MetricType::Histogram | MetricType::GaugeHistogram => {
            for (bound, value) in bounds.iter().zip(values) {
                labels.write(out, name, "_bucket");
                write_bound(out, "le", *bound);
                end_line(out, count(*value));
            }
            let all = count(values[bounds.len() + 1]);
            if !bounds.contains(&f64::INFINITY) {
                labels.write(out, name, "_bucket");
                write_bound(out, "le", f64::INFINITY);
                end_line(out, all);
            }
            labels.write(out, name, "_sum");
            end_line(out, f64::from_bits(values[bounds.len()]));
            labels.write(out, name, "_count");
            end_line(out, all);
        }
    }
}

fn write_bound(out: &mut Vec<u8>, name: &str, bound: f64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    write_float(out, bound);
    out.extend_from_slice(b"\",");
}

/// Closes the braces over the last label's comma and writes the value.
fn end_line(out: &mut Vec<u8>, value: f64) {
    debug_assert!(matches!(out.last(), Some(b',' | b'{')));
    // The comma behind the last label. The brace goes too where there is none.
    if out.pop() == Some(b',') {
        out.push(b'}');
    }
    out.push(b' ');
    write_float(out, value);
    out.push(b'\n');
}

/// Writes the line of a family that a field of the group's state makes.
pub fn write_field(out: &mut Vec<u8>, name: &str, group: &Group, value: f64, escaping: Escaping) {
    out.extend_from_slice(name.as_bytes());
    out.push(b'{');
    let key = &group.key;
    let run = if key.get("instance").is_some() { "" } else { "instance=\"\"," };
    if escaping != Escaping::AllowUtf8 && key.labels().any(|(name, _)| !is_legacy_metric_name(name)) {
        write_escaped(out, run, key, escaping);
    } else {
        let before = key.labels().take_while(|label| label.0 < "instance").count();
        let all = key.len();
        out.extend_from_slice(group.key_text.slice(0, before).as_bytes());
        out.extend_from_slice(run.as_bytes());
        out.extend_from_slice(group.key_text.slice(before, all).as_bytes());
    }
    end_line(out, value);
}

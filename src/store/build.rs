//! From the families of a push to its shape and values, with every check that needs no other group.
//!
//! Grouping labels take the place of body labels of the same name, and a series that ends up without
//! `instance` gets an empty one, as in the reference. Families named like those that the gateway
//! gives each group are dropped. What is refused here would make Prometheus refuse the whole scrape.

use std::borrow::Cow;
use std::fmt::Write as _;

use smallvec::SmallVec;

use super::hash;
use super::naming::{NOBODY, Naming, Written};
use super::shape::{FamilyShape, SeriesShape, Shape};
use super::times::{OVERDUE, PUSH_FAILURE_TIME, PUSH_TIME};
use super::usage::Tally;
use crate::format::escape::{self, Escaping};
use crate::format::quote::{labels_text, quoted, shortened};
use crate::model::names::is_legacy_metric_name;
use crate::model::{
    Families, Family, GroupingKey, Label, MetricType, Number, OverLimit, PushLimits, Series, Span,
};

/// A shape fresh from a push, not interned yet, and where its values come from.
pub struct Built {
    pub shape: Shape,
    /// For each series of the push the position of its first value; [`DROPPED`] if its family is one
    /// that the gateway gives each group.
    pub first_values: Vec<u32>,
}

/// In [`Built::first_values`]: the series is not stored.
pub const DROPPED: u32 = u32::MAX;

/// How a push contradicts itself; the text names the family and the series in the reference's words.
#[derive(Debug)]
pub enum Fault {
    /// The reference refuses it too, and stamps the group's failure time.
    Stamped(String),
    /// The reference would store it, and Prometheus refuse the whole scrape: nothing is stamped.
    Traceless(String),
    /// It is too large. Nothing is stamped.
    OverLimit(OverLimit),
}

impl Fault {
    /// What the pusher is told.
    pub fn text(self) -> String {
        match self {
            Fault::Stamped(text) | Fault::Traceless(text) => text,
            Fault::OverLimit(over) => over.to_string(),
        }
    }
}

/// Makes the shape of a push to `key`.
///
/// # Errors
///
/// The push contradicts itself, or is over one of `limits`.
pub fn shape_of(families: &Families<'_>, key: &GroupingKey, limits: &PushLimits) -> Result<Built, Fault> {
    check_key(key, limits).map_err(Fault::OverLimit)?;
    if families.families.len() > limits.families {
        return Err(Fault::OverLimit(limits.over_families()));
    }
    if families.series.len() > limits.series {
        return Err(Fault::OverLimit(limits.over_series()));
    }
    let mut builder = Builder::new(families, key, limits);
    for family in &families.families {
        if matches!(&*family.name, PUSH_TIME | PUSH_FAILURE_TIME | OVERDUE) {
            continue;
        }
        builder.family(family)?;
    }
    Ok(builder.finish())
}

/// Holds a grouping key to the limits that series have.
pub fn check_key(key: &GroupingKey, limits: &PushLimits) -> Result<(), OverLimit> {
    match key.labels().find(|(_, value)| value.len() > limits.value_bytes) {
        Some((name, _)) => Err(limits.over_value(&quoted(name.as_bytes()))),
        None => Ok(()),
    }
}

/// The values of a push in the order of its shape.
pub fn values_of(families: &Families<'_>, built: &Built) -> Box<[u64]> {
    let mut values = Vec::with_capacity(built.shape.value_count());
    for family in &families.families {
        for at in family.series.range() {
            if built.first_values[at] == DROPPED {
                continue;
            }
            let series = &families.series[at];
            values.extend(families.parts_of(series).iter().map(|part| part.value.to_bits()));
            values.push(series.value.to_bits());
            if has_count(family.kind) {
                values.push(series.count.to_bits());
            }
        }
    }
    debug_assert_eq!(values.len(), built.shape.value_count());
    values.into()
}

fn has_count(kind: MetricType) -> bool {
    matches!(kind, MetricType::Summary | MetricType::Histogram | MetricType::GaugeHistogram)
}

/// The label that a type keeps for itself on its parts.
fn part_label(kind: MetricType) -> Option<&'static str> {
    match kind {
        MetricType::Summary => Some("quantile"),
        MetricType::Histogram | MetricType::GaugeHistogram => Some("le"),
        _ => None,
    }
}

type LabelRef<'l> = (&'l str, &'l str);

struct Builder<'f, 'b> {
    families: &'f Families<'b>,
    key: &'f GroupingKey,
    limits: &'f PushLimits,
    key_has_instance: bool,
    key_is_exotic: bool,
    shapes: Vec<FamilyShape>,
    series: Vec<SeriesShape>,
    first_values: Vec<u32>,
    cuts: Vec<u32>,
    words: String,
    runs: Vec<u8>,
    bounds: Vec<f64>,
    /// How many labels the run of each series holds.
    label_counts: Vec<u32>,
    naming: Naming<'f>,
    value_count: u32,
}

impl<'f, 'b> Builder<'f, 'b> {
    fn new(families: &'f Families<'b>, key: &'f GroupingKey, limits: &'f PushLimits) -> Self {
        let label_bytes = |label: &Label<'_>| label.name.len() + label.value.len() + r#"="","#.len();
        Builder {
            families,
            key,
            limits,
            key_has_instance: key.get("instance").is_some(),
            key_is_exotic: key.labels().any(|(name, _)| !is_legacy_metric_name(name)),
            shapes: Vec::with_capacity(families.families.len()),
            series: Vec::with_capacity(families.series.len()),
            first_values: vec![DROPPED; families.series.len()],
            cuts: Vec::with_capacity(families.series.len() * key.len()),
            words: String::new(),
            runs: Vec::with_capacity(families.labels.iter().map(label_bytes).sum()),
            bounds: Vec::with_capacity(families.parts.len()),
            label_counts: Vec::with_capacity(families.series.len()),
            naming: Naming::default(),
            value_count: 0,
        }
    }

    fn family(&mut self, family: &Family<'b>) -> Result<(), Fault> {
        let mut exotic = self.key_is_exotic || !is_legacy_metric_name(&family.name);
        let start = self.series.len() as u32;
        let mut by_hash = Vec::with_capacity(family.series.len());
        // A type forbids names of labels.
        self.naming.clear();
        for at in family.series.range() {
            let families = self.families;
            let series = &families.series[at];
            let own = families.labels_of(series);
            let is_new = !self.naming.is_of(own);
            if is_new {
                self.name_labels(family, series)?;
            }
            let run = self.runs.len() as u32;
            let out = Written { runs: &mut self.runs, cuts: &mut self.cuts };
            let written = self.naming.write(own, out, self.key.len(), self.limits.value_bytes);
            let over = |name: &str| Fault::OverLimit(self.limits.over_value(&quoted(name.as_bytes())));
            by_hash.push((written.map_err(over)?, self.series.len() as u32 - start));
            if is_new {
                exotic |= self.naming.stored().any(|name| !is_legacy_metric_name(name));
                if exotic {
                    self.check_escaped_names(family)?;
                }
            }
            self.first_values[at] = self.value_count;
            self.note_series(family, series, run);
        }
        by_hash.sort_unstable();
        self.check_duplicates(family, start, &by_hash)?;
        let exposed = self.exposed_order(start);
        let span = Span { start, end: self.series.len() as u32 };
        let (name, help, unit) =
            (self.word(&family.name), self.optional(&family.help), self.optional(&family.unit));
        self.shapes.push(FamilyShape {
            name,
            help,
            unit,
            kind: family.kind,
            exotic,
            series: span,
            exposed,
            by_hash: by_hash.into(),
        });
        Ok(())
    }

    /// Sets the names of a series' labels: without the grouping labels, sorted, `instance` added if nobody
    /// brings one.
    fn name_labels(&mut self, family: &Family<'b>, series: &Series) -> Result<(), Fault> {
        let own = self.families.labels_of(series);
        let mut labels: SmallVec<[(u32, &'f str); 16]> = SmallVec::with_capacity(own.len() + 1);
        // A protobuf body may name a grouping label twice; only the first one is overridden.
        let mut overridden: SmallVec<[&str; 4]> = SmallVec::new();
        for (at, label) in (0..).zip(own) {
            if self.key.get(&label.name).is_none() {
                labels.push((at, &label.name));
            } else if overridden.contains(&&*label.name) {
                return Err(self.fault(family, series, &two_labels(&label.name)));
            } else {
                overridden.push(&label.name);
            }
        }
        // What was pushed to no group is shown as it was pushed, unless it might be a series of some group.
        let has = |name: &str| labels.iter().any(|label| label.1 == name);
        if !self.key_has_instance && !has("instance") && (!self.key.is_bare() || has("job")) {
            labels.push((NOBODY, "instance"));
        }
        labels.sort_unstable_by(|a, b| a.1.cmp(b.1));
        if let Some(pair) = labels.windows(2).find(|pair| pair[0].1 == pair[1].1) {
            return Err(self.fault(family, series, &two_labels(pair[0].1)));
        }
        if let Some((_, name)) = labels.iter().find(|(_, name)| name.is_empty() || name.starts_with("__")) {
            let name = shortened(name);
            return Err(self.fault(family, series, &format!("has a label with an invalid name: {name}")));
        }
        if let Some(reserved) = part_label(family.kind)
            && (self.key.get(reserved).is_some() || labels.iter().any(|label| label.1 == reserved))
        {
            let fault = format!("must not have an explicit {} label", quoted(reserved.as_bytes()));
            return Err(Fault::Traceless(self.fault_text(family, series, &fault)));
        }
        if labels.len() + self.key.len() > self.limits.labels {
            return Err(Fault::OverLimit(self.limits.over_labels(&quoted(family.name.as_bytes()))));
        }
        self.naming.set(own, &labels, self.key.labels().map(|label| label.0));
        Ok(())
    }

    /// Two label names that a scraper without UTF-8 would be shown as one.
    fn check_escaped_names(&self, family: &Family<'b>) -> Result<(), Fault> {
        for scheme in [Escaping::Underscores, Escaping::Dots, Escaping::Values] {
            let names = self.naming.stored().chain(self.key.labels().map(|label| label.0));
            let mut escaped: Vec<_> = names.map(|name| (escape::escape_name(name, scheme), name)).collect();
            escaped.sort_unstable();
            if let Some(pair) = escaped.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(Fault::Traceless(format!(
                    "collected metric {} has label names {} and {} that are both shown as {}",
                    quoted(family.name.as_bytes()),
                    quoted(pair[0].1.as_bytes()),
                    quoted(pair[1].1.as_bytes()),
                    quoted(pair[0].0.as_bytes()),
                )));
            }
        }
        Ok(())
    }

    /// Notes a series whose labels stand in the runs from `start` on.
    fn note_series(&mut self, family: &Family<'b>, series: &Series, start: u32) {
        self.label_counts.push(self.naming.stored().len() as u32);
        let parts = self.families.parts_of(series);
        let parts_start = self.bounds.len() as u32;
        self.bounds.extend(parts.iter().map(|part| part.bound));
        let float = |number: Number| matches!(number, Number::Float(_));
        self.series.push(SeriesShape {
            run: Span { start, end: self.runs.len() as u32 },
            parts: Span { start: parts_start, end: self.bounds.len() as u32 },
            first_value: self.value_count,
            float_counts: family.kind.has_buckets()
                && (float(series.count) || parts.iter().any(|part| float(part.value))),
        });
        self.value_count += parts.len() as u32 + 1 + u32::from(has_count(family.kind));
    }

    fn check_duplicates(&self, family: &Family<'b>, start: u32, by_hash: &[(u64, u32)]) -> Result<(), Fault> {
        let run = |entry: &(u64, u32)| {
            let span = self.series[(start + entry.1) as usize].run;
            &self.runs[span.range()]
        };
        // Runs of equal hash are equal but for chance, so neighbours suffice.
        match by_hash.windows(2).find(|pair| pair[0].0 == pair[1].0 && run(&pair[0]) == run(&pair[1])) {
            None => Ok(()),
            Some(pair) => {
                let series = &self.families.series_of(family)[pair[1].1 as usize];
                Err(self.fault(family, series, "was collected before with the same name and label values"))
            }
        }
    }

    /// The series from `start` on by number of labels, then by label text, which is what the reference
    /// sorts by.
    fn exposed_order(&self, start: u32) -> Box<[u32]> {
        let key = |at: &u32| {
            let at = (start + at) as usize;
            (self.label_counts[at], &self.runs[self.series[at].run.range()])
        };
        let mut order: Vec<u32> = (0..self.series.len() as u32 - start).collect();
        order.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        order.into()
    }

    fn word(&mut self, word: &str) -> Span {
        let start = self.words.len() as u32;
        self.words.push_str(word);
        Span { start, end: self.words.len() as u32 }
    }

    fn optional(&mut self, word: &Option<Cow<'b, str>>) -> Option<Span> {
        word.as_deref().map(|word| self.word(word))
    }

    fn fault(&self, family: &Family<'b>, series: &Series, fault: &str) -> Fault {
        Fault::Stamped(self.fault_text(family, series, fault))
    }

    fn fault_text(&self, family: &Family<'b>, series: &Series, fault: &str) -> String {
        let labels = self.families.labels_of(series).iter().map(|label| (&*label.name, &*label.value));
        let grouped = |name: &str| self.key.get(name).is_some();
        let own = labels.filter(|label| !grouped(label.0));
        let mut all: Vec<LabelRef<'_>> = own.chain(self.key.labels()).collect();
        if !all.iter().any(|label| label.0 == "instance") {
            all.push(("instance", ""));
        }
        all.sort_unstable();
        let series = series_text(family.kind, all.into_iter(), Some(series.value));
        format!("collected metric {} {{ {series}}} {fault}", quoted(family.name.as_bytes()))
    }

    fn finish(mut self) -> Built {
        let words = &self.words;
        self.shapes.sort_unstable_by(|a, b| words[a.name.range()].cmp(&words[b.name.range()]));
        let grouping_names: Box<[Box<str>]> = self.key.labels().map(|label| label.0.into()).collect();
        let mut shape = Shape {
            hash: 0,
            grouping_names,
            families: self.shapes.into(),
            series: self.series.into(),
            cuts: self.cuts.into(),
            words: self.words.into(),
            runs: String::from_utf8(self.runs).expect("labels are text").into(),
            bounds: self.bounds.into(),
            value_count: self.value_count,
            templates: Default::default(),
            tally: Tally::default(),
        };
        shape.hash = hash_of(&shape);
        shape.tally = Tally::new(shape.size_bytes());
        Built { shape, first_values: self.first_values }
    }
}

fn two_labels(name: &str) -> String {
    format!("has two or more labels with the same name: {}", shortened(name))
}

/// A series in the way the reference's error texts show it: Go's text form of its message. Only the
/// shape of it is a promise, not its bytes.
pub fn series_text<'l>(
    kind: MetricType,
    labels: impl Iterator<Item = LabelRef<'l>>,
    value: Option<f64>,
) -> String {
    let mut text = labels_text(labels);
    let mut number = Vec::new();
    if let Some(value) = value {
        crate::format::float::write_float(&mut number, value);
    }
    let number = String::from_utf8_lossy(&number);
    let kind_text = kind.text();
    let field = if part_label(kind).is_some() { "sample_sum" } else { "value" };
    write!(text, "{kind_text}:{{{field}:{number}}}").expect("a string takes any text");
    text
}

fn hash_of(shape: &Shape) -> u64 {
    let mut bytes = Vec::with_capacity(64 + shape.families.len() * 16 + shape.series.len() * 16);
    for name in &shape.grouping_names {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0xff);
    }
    for family in &shape.families {
        bytes.extend_from_slice(&family.name.start.to_ne_bytes());
        bytes.extend_from_slice(&family.series.end.to_ne_bytes());
        bytes.push(family.kind as u8);
    }
    for series in &shape.series {
        bytes.extend_from_slice(&series.run.end.to_ne_bytes());
        bytes.extend_from_slice(&series.first_value.to_ne_bytes());
    }
    for bound in &shape.bounds {
        bytes.extend_from_slice(&bound.to_bits().to_ne_bytes());
    }
    hash::of_bytes(&bytes)
        .wrapping_add(hash::of_bytes(shape.words.as_bytes()).rotate_left(1))
        .wrapping_add(hash::of_bytes(shape.runs.as_bytes()).rotate_left(2))
}

//! Samples to families: which family and series a sample belongs to, and what it adds there.
//!
//! Series and parts are appended as they arrive. Bodies as clients write them arrive in order; one
//! whose families or series interleave is put in order at the end, by two counting sorts.

mod finish;
mod target;

use std::borrow::Cow;

use self::target::Role;
pub(super) use self::target::Target;

use super::error::{ErrorKind, Fault};
use super::index::{Index, hash_of, hash_of_name};
use crate::format::quote::quoted;
use crate::model::{
    Families, Family, Field, Label, MetricType, Number, Part, PushLimits, SampleSpan, Series, Span,
};

// New elements are pushed as these and then filled in place, by `set`: put together elsewhere and copied in,
// they wait for what was just written piece by piece.
const NO_FAMILY: Family<'static> = Family {
    name: Cow::Borrowed(""),
    help: None,
    unit: None,
    kind: MetricType::Untyped,
    series: Span { start: 0, end: 0 },
};
const NO_LABEL: Label<'static> = Label { name: Cow::Borrowed(""), value: Cow::Borrowed("") };
const NO_SERIES: Series = Series {
    labels: Span { start: 0, end: 0 },
    parts: Span { start: 0, end: 0 },
    value: 0.0,
    count: Number::Int(0),
};

/// Overwrites an empty text, which owns nothing that would have to be looked for and dropped.
#[inline]
fn set<'b>(place: &mut Cow<'b, str>, text: Cow<'b, str>) {
    std::mem::forget(std::mem::replace(place, text));
}

/// What is known of a family beyond what the model keeps.
struct FamilyState {
    /// Set by TYPE or by the first sample, whichever comes first.
    has_type: bool,
    /// The series that the family's last sample went to.
    last_series: u32,
}

/// Working memory that outlives a body.
#[derive(Default)]
pub(super) struct Scratch {
    families: Vec<FamilyState>,
    family_index: Index,
    /// Series of summaries and histograms by family and labels.
    series_index: Index,
    /// The family of each series and the series of each part.
    series_family: Vec<u32>,
    part_series: Vec<u32>,
    /// The labels of one line with many of them, by name.
    line_index: Index,
    /// The allocations of a body that was refused.
    pub(super) spare: Families<'static>,
}

/// Entries of working memory that are kept from body to body.
const SCRATCH_MAX: usize = 1 << 17;

impl Scratch {
    fn clear(&mut self) {
        self.families.clear();
        self.family_index.clear();
        self.series_index.clear();
        self.series_family.clear();
        self.part_series.clear();
        self.line_index.clear();
    }

    /// Whether one large body has made it so large that it should not be kept.
    pub(super) fn is_oversized(&self) -> bool {
        [
            self.families.capacity(),
            self.family_index.capacity(),
            self.series_index.capacity(),
            self.series_family.capacity(),
            self.part_series.capacity(),
            self.spare.families.capacity(),
            self.spare.series.capacity(),
            self.spare.labels.capacity(),
            self.spare.parts.capacity(),
            self.spare.samples.capacity(),
        ]
        .into_iter()
        .any(|entries| entries > SCRATCH_MAX)
    }
}

/// Labels on a line that are compared pair by pair; with more of them an index takes over.
const PAIRWISE_MAX: usize = 16;

pub(super) struct Assembly<'b, 's> {
    into: Families<'b>,
    limits: PushLimits,
    scratch: &'s mut Scratch,
    /// Where the labels of the current line begin.
    line_labels: usize,
    /// The [places](place) of the first so many of them, as a set.
    line_places: u64,
    line_placed: usize,
    /// How many of them are in the line's index.
    line_indexed: usize,
    /// The labels of the series that the line before led to.
    last_labels: Span,
    last_series: u32,
    /// Whether the current line has begun with just their names, all of them bare.
    is_like_last_line: bool,
    is_guessing: bool,
    families_with_series: usize,
    series_interleave: bool,
    parts_interleave: bool,
    has_float_counts: bool,
    /// Whether any family's type gives meaning to suffixes of names.
    has_suffixes: bool,
}

impl<'b, 's> Assembly<'b, 's> {
    pub(super) fn new(into: Families<'b>, limits: PushLimits, scratch: &'s mut Scratch) -> Assembly<'b, 's> {
        scratch.clear();
        Assembly {
            into,
            limits,
            scratch,
            line_labels: 0,
            line_places: 0,
            line_placed: 0,
            line_indexed: 0,
            last_labels: Span::default(),
            last_series: 0,
            is_like_last_line: true,
            is_guessing: true,
            families_with_series: 0,
            series_interleave: false,
            parts_interleave: false,
            has_float_counts: false,
            has_suffixes: false,
        }
    }

    /// Keeps the allocations for the next body, since this one is refused.
    pub(super) fn give_up(self) {
        self.scratch.spare = self.into.recycle();
    }

    /// The family that `name` belongs to at this point of the body, made if there is none.
    #[inline(always)]
    pub(super) fn resolve(&mut self, name: Cow<'b, str>) -> Result<Target, Fault> {
        let hash = hash_of_name(&name);
        let families = &self.into.families;
        let found = self.scratch.family_index.probe(hash, |family| families[family as usize].name == name);
        let vacancy = match found {
            Ok(family) => return Ok(self.target(family, Role::Base)),
            Err(vacancy) => vacancy,
        };
        if self.has_suffixes
            && let Some(target) = self.resolve_suffixed(&name)
        {
            return Ok(target);
        }
        let family = self.into.families.len() as u32;
        if self.into.families.len() >= self.limits.families {
            return Err(Box::new(ErrorKind::OverLimit(self.limits.over_families())));
        }
        self.into.families.push(NO_FAMILY);
        if let Some(family) = self.into.families.last_mut() {
            set(&mut family.name, name);
        }
        self.scratch.families.push(FamilyState { has_type: false, last_series: 0 });
        self.scratch.family_index.insert(vacancy, hash, family);
        Ok(Target::new(family, NO_FAMILY.kind, Role::Base))
    }

    /// The family of buckets or quantiles that a name leads to without its suffix.
    #[inline]
    fn resolve_suffixed(&self, name: &str) -> Option<Target> {
        let suffixed = [("_count", Role::Count), ("_sum", Role::Sum), ("_bucket", Role::Base)];
        for (suffix, role) in suffixed {
            let Some(base) = name.strip_suffix(suffix).filter(|base| !base.is_empty()) else {
                continue;
            };
            let Some(family) = self.find(base) else { continue };
            let kind = self.into.families[family as usize].kind;
            if kind.has_buckets() || kind == MetricType::Summary && suffix != "_bucket" {
                return Some(self.target(family, role));
            }
        }
        None
    }

    #[inline(never)]
    fn find(&self, name: &str) -> Option<u32> {
        let families = &self.into.families;
        self.scratch.family_index.find(hash_of_name(name), |family| families[family as usize].name == name)
    }

    fn target(&self, family: u32, role: Role) -> Target {
        Target::new(family, self.into.families[family as usize].kind, role)
    }

    /// From here on, the family's type is what it is.
    pub(super) fn settle_type(&mut self, target: Target) {
        self.scratch.families[target.family()].has_type = true;
    }

    pub(super) fn set_type(&mut self, target: Target, kind: MetricType) {
        self.into.families[target.family()].kind = kind;
        self.has_suffixes |= kind.has_buckets() || kind == MetricType::Summary;
        self.settle_type(target);
    }

    pub(super) fn has_type(&self, target: Target) -> bool {
        self.scratch.families[target.family()].has_type
    }

    pub(super) fn has_help(&self, target: Target) -> bool {
        self.into.families[target.family()].help.is_some()
    }

    pub(super) fn set_help(&mut self, target: Target, help: Cow<'b, str>) {
        self.into.families[target.family()].help = Some(help);
    }

    /// The family's name as an error text shows it; `""` before a name was read.
    #[cold]
    pub(super) fn quoted_name(&self, target: Option<Target>) -> String {
        target
            .map_or_else(|| quoted(b""), |target| quoted(self.into.families[target.family()].name.as_bytes()))
    }

    pub(super) fn begin_line(&mut self) {
        self.line_labels = self.into.labels.len();
        self.line_places = 0;
        self.line_placed = 0;
        self.line_indexed = 0;
        self.is_like_last_line = self.is_guessing;
    }

    pub(super) fn line_labels(&self) -> &[Label<'b>] {
        &self.into.labels[self.line_labels..]
    }

    /// Whether the current line has a label of this name.
    #[inline]
    pub(super) fn line_has(&mut self, name: &str) -> bool {
        let labels = &self.into.labels[self.line_labels..];
        for label in &labels[self.line_placed..] {
            self.line_places |= 1 << place(&label.name);
        }
        self.line_placed = labels.len();
        self.line_places & 1 << place(name) != 0 && self.line_has_in_place(name)
    }

    #[cold]
    fn line_has_in_place(&mut self, name: &str) -> bool {
        let labels = &self.into.labels[self.line_labels..];
        if labels.len() <= PAIRWISE_MAX {
            return labels.iter().any(|label| label.name == name);
        }
        let index = &mut self.scratch.line_index;
        if self.line_indexed == 0 {
            index.clear();
        }
        for (position, label) in labels.iter().enumerate().skip(self.line_indexed) {
            let hash = hash_of_name(&label.name);
            if let Err(vacancy) = index.probe(hash, |other| labels[other as usize].name == label.name) {
                index.insert(vacancy, hash, position as u32);
            }
        }
        self.line_indexed = labels.len();
        index.find(hash_of_name(name), |position| labels[position as usize].name == name).is_some()
    }

    /// The name that comes next if this line has the labels of the line before, else nothing. It is a
    /// bare name.
    #[inline]
    pub(super) fn guessed_label(&self) -> &str {
        let next = self.last_labels.start as usize + self.into.labels.len() - self.line_labels;
        if self.is_like_last_line && next < self.last_labels.end as usize {
            &self.into.labels[next].name
        } else {
            ""
        }
    }

    /// From here on, a label's name may be one that only quotes can spell.
    pub(super) fn stop_guessing(&mut self) {
        self.is_guessing = false;
        self.is_like_last_line = false;
    }

    #[inline]
    pub(super) fn limits(&self) -> &PushLimits {
        &self.limits
    }

    /// Whether the current line has as many labels as a series may carry.
    #[inline]
    pub(super) fn line_is_full(&self) -> bool {
        self.into.labels.len() - self.line_labels >= self.limits.labels
    }

    /// Adds a label whose name stood bare and was [guessed](Self::guessed_label) or not.
    #[inline(always)]
    pub(super) fn push_plain_label(&mut self, name: &'b str, value: &'b str, is_guessed: bool) {
        self.is_like_last_line &= is_guessed;
        self.into.labels.push(NO_LABEL);
        if let Some(label) = self.into.labels.last_mut() {
            set(&mut label.name, Cow::Borrowed(name));
            set(&mut label.value, Cow::Borrowed(value));
        }
    }

    pub(super) fn push_label(&mut self, name: Cow<'b, str>, value: Cow<'b, str>) {
        self.is_like_last_line = false;
        self.into.labels.push(Label { name, value });
    }

    /// Takes the labels named `name` out of the line and gives their values back, in order.
    pub(super) fn take_from_line(&mut self, name: &str) -> Vec<Cow<'b, str>> {
        let mut taken = Vec::new();
        let mut kept = self.line_labels;
        for position in self.line_labels..self.into.labels.len() {
            if self.into.labels[position].name == name {
                taken.push(std::mem::take(&mut self.into.labels[position].value));
            } else {
                self.into.labels.swap(kept, position);
                kept += 1;
            }
        }
        self.into.labels.truncate(kept);
        self.line_placed = 0;
        self.line_indexed = 0;
        taken
    }

    #[inline]
    fn line_span(&self) -> Span {
        Span { start: self.line_labels as u32, end: self.into.labels.len() as u32 }
    }

    /// Adds the sample of the current line. `bound` is its `le` or `quantile`, NaN if it has none.
    #[inline]
    pub(super) fn add(&mut self, target: Target, bound: f64, value: f64, text: Span) -> Result<(), Fault> {
        let (series, field) = match target.kind() {
            MetricType::Counter | MetricType::Gauge | MetricType::Untyped => {
                self.last_labels = self.line_span();
                (self.new_series(target, value)?, Field::Value)
            }
            MetricType::Summary | MetricType::Histogram | MetricType::GaugeHistogram => {
                let series = self.series_of_line(target)?;
                self.last_labels = self.into.series[series as usize].labels;
                (series, self.add_to(series, target, bound, value)?)
            }
        };
        self.last_series = series;
        if !self.into.timestamped {
            self.into.samples.push(SampleSpan { start: text.start, end: text.end, series, field });
        }
        Ok(())
    }

    /// Notes a timestamp, in milliseconds, of the sample added last.
    pub(super) fn set_timestamped(&mut self, at: i64) {
        self.into.timestamps.push((self.last_series, at));
        self.into.timestamped = true;
        self.into.samples.clear();
    }

    #[inline]
    fn new_series(&mut self, target: Target, value: f64) -> Result<u32, Fault> {
        let series = self.into.series.len() as u32;
        if self.into.series.len() >= self.limits.series {
            return Err(Box::new(ErrorKind::OverLimit(self.limits.over_series())));
        }
        let span = &mut self.into.families[target.family()].series;
        if span.is_empty() {
            *span = Span { start: series, end: series };
            self.families_with_series += 1;
        }
        // While series interleave, the span only counts.
        self.series_interleave |= span.end != series;
        span.end += 1;
        let labels = self.line_span();
        self.into.series.push(NO_SERIES);
        if let Some(series) = self.into.series.last_mut() {
            series.labels = labels;
            series.value = value;
        }
        self.scratch.series_family.push(target.family() as u32);
        Ok(series)
    }

    /// The series of a summary or histogram that the current line's labels name.
    fn series_of_line(&mut self, target: Target) -> Result<u32, Fault> {
        let family = target.family();
        let last = self.scratch.families[family].last_series;
        let has_series = !self.into.families[family].series.is_empty();
        if has_series && self.labels_of(last) == self.line_labels() {
            self.into.labels.truncate(self.line_labels);
            return Ok(last);
        }
        let hash = self.line_labels().iter().fold(hash_of(target.family()), |sum, label| {
            // A sum does not depend on the order of the labels.
            sum.wrapping_add(hash_of((&*label.name, &*label.value)))
        });
        let (into, series_family) = (&self.into, &self.scratch.series_family);
        let line_labels = &into.labels[self.line_labels..];
        let known = self.scratch.series_index.probe(hash, |series| {
            series_family[series as usize] as usize == target.family()
                && same_labels(into.labels_of(&into.series[series as usize]), line_labels)
        });
        let series = match known {
            Ok(series) => {
                self.into.labels.truncate(self.line_labels);
                series
            }
            Err(vacancy) => {
                let series = self.new_series(target, 0.0)?;
                self.scratch.series_index.insert(vacancy, hash, series);
                series
            }
        };
        self.scratch.families[family].last_series = series;
        Ok(series)
    }

    fn labels_of(&self, series: u32) -> &[Label<'b>] {
        &self.into.labels[self.into.series[series as usize].labels.range()]
    }

    fn add_to(&mut self, series: u32, target: Target, bound: f64, value: f64) -> Result<Field, Fault> {
        let is_summary = target.kind() == MetricType::Summary;
        match target.role() {
            Role::Sum => {
                self.into.series[series as usize].value = value;
                Ok(Field::Value)
            }
            Role::Count => {
                let count = if is_summary { summary_count(value) } else { self.histogram_count(value) };
                let kind = if is_summary { "summary" } else { "histogram" };
                self.into.series[series as usize].count = count.ok_or_else(|| {
                    Box::new(ErrorKind::NegativeCount(kind, self.quoted_name(Some(target))))
                })?;
                Ok(Field::Count)
            }
            Role::Base if bound.is_nan() => Ok(Field::Ignored),
            Role::Base => {
                let value = if is_summary { Some(Number::Float(value)) } else { self.histogram_count(value) };
                let value = value
                    .ok_or_else(|| Box::new(ErrorKind::NegativeBucket(self.quoted_name(Some(target)))))?;
                Ok(Field::Part(self.add_part(series, Part { bound, value })))
            }
        }
    }

    fn histogram_count(&mut self, value: f64) -> Option<Number> {
        let number = histogram_count(value)?;
        self.has_float_counts |= matches!(number, Number::Float(_));
        Some(number)
    }

    /// Gives back the part's position among those of its series.
    fn add_part(&mut self, series: u32, part: Part) -> u32 {
        let position = self.into.parts.len() as u32;
        let span = &mut self.into.series[series as usize].parts;
        if span.is_empty() {
            *span = Span { start: position, end: position };
        }
        // While parts interleave, the span only counts.
        self.parts_interleave |= span.end != position;
        span.end += 1;
        let own_position = span.end - span.start - 1;
        self.into.parts.push(part);
        self.scratch.part_series.push(series);
        own_position
    }
}

/// One of 64 places. Names that have different ones are different.
#[inline]
fn place(name: &str) -> usize {
    let bytes = name.as_bytes();
    let byte = |at: usize| bytes.get(at).map_or(0, |byte| usize::from(*byte));
    (3 * byte(0) + 5 * byte(bytes.len() / 2) + byte(bytes.len().wrapping_sub(1)) + bytes.len()) % 64
}

/// Whether both say the same, in whatever order. Each has a name only once.
fn same_labels(left: &[Label<'_>], right: &[Label<'_>]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    if left == right {
        return true;
    }
    if left.len() <= PAIRWISE_MAX {
        let mut positions = [0; 64];
        for (position, label) in right.iter().enumerate() {
            positions[place(&label.name)] = position;
        }
        return left
            .iter()
            .all(|label| right[positions[place(&label.name)]] == *label || right.contains(label));
    }
    let sorted = |labels: &[Label<'_>]| {
        let mut positions: Vec<usize> = (0..labels.len()).collect();
        positions.sort_unstable_by(|&a, &b| labels[a].name.cmp(&labels[b].name));
        positions
    };
    sorted(left).into_iter().zip(sorted(right)).all(|(l, r)| left[l] == right[r])
}

/// Two to the power of 64, the first double past all whole counts.
const COUNTS_END: f64 = 18_446_744_073_709_551_616.0;

/// As Go converts on amd64: fractions are cut, and what does not fit becomes 2^63. `None` if negative,
/// which the reference would turn into a number near 2^64.
fn summary_count(value: f64) -> Option<Number> {
    if value < 0.0 {
        return None;
    }
    let fits = value < COUNTS_END;
    Some(Number::Int(if fits { value as u64 } else { 1 << 63 }))
}

/// Whole where the value is, a float where it is not; `None` if negative.
fn histogram_count(value: f64) -> Option<Number> {
    if value < 0.0 {
        return None;
    }
    let is_whole = value < COUNTS_END && value == value.trunc();
    Some(if is_whole { Number::Int(value as u64) } else { Number::Float(value) })
}

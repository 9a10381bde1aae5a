//! Sample lines: name, labels, value, timestamp.
//!
//! The name may stand in front of the braces or, quoted or not, inside them. Inside, labels may come
//! before it; then `le` and `quantile` are ordinary until the name tells the type.

use std::borrow::Cow;

use super::assemble::{Assembly, Target};
use super::cursor::{Cursor, Name, PlainLabel};
use super::error::{ErrorKind, Fault};
use super::{legal_metric_name, legal_text};
use crate::format::float::parse_float;
use crate::format::quote::quoted;
use crate::model::{MetricType, NameRules, Span};

/// A bare name that stood in front of a sample, and where it led. The default one stands nowhere.
struct RecentName<'b> {
    name: &'b str,
    /// The last eight bytes of the name and the byte that ended it, or fewer if there are no more: names of
    /// one body differ at their ends above all.
    end: u64,
    /// Which bits of eight bytes these are.
    mask: u64,
    /// Where in the name they begin.
    end_at: usize,
    target: Target,
}

impl Default for RecentName<'_> {
    fn default() -> Self {
        RecentName { name: "", end: 1, mask: 0, end_at: 0, target: Target::NONE }
    }
}

impl<'b> RecentName<'b> {
    /// Of a name behind which the cursor stands.
    #[inline]
    fn new(name: &'b str, cursor: &Cursor<'b>, target: Target) -> Option<RecentName<'b>> {
        // A name of seven bytes and its end are eight.
        let (end_at, missing) = (name.len().saturating_sub(7), 7usize.saturating_sub(name.len()));
        let mask = u64::MAX >> (8 * missing);
        let end = cursor.word_from(cursor.at - name.len() + end_at)? & mask;
        Some(RecentName { name, end, mask, end_at, target })
    }

    #[inline]
    fn may_stand_at(&self, cursor: &Cursor<'b>) -> bool {
        cursor.word_from(cursor.at + self.end_at).is_some_and(|word| word & self.mask == self.end)
    }
}

/// The bare names that last stood in front of a sample, and where they led. A name leads to the same
/// family for the rest of the body once a sample has it, since that family then has its type.
///
/// Four, because the lines of a histogram go round three names.
#[derive(Default)]
pub(super) struct RecentNames<'b> {
    names: [RecentName<'b>; 4],
    last: usize,
    /// Names in a row that were none of these.
    misses: u32,
}

/// After so many misses the names are no longer asked, until one would have been right.
const MISSES_MAX: u32 = 8;

impl<'b> RecentNames<'b> {
    /// Consumes a recent name if one stands here.
    #[inline]
    fn take(&mut self, cursor: &mut Cursor<'b>) -> Option<Target> {
        if self.misses >= MISSES_MAX {
            return None;
        }
        let mut position = self.last % 4;
        if !self.names[position].may_stand_at(cursor) {
            // Without a branch for each, since which of them it is cannot be foretold.
            let marks = self.names.iter().enumerate();
            let found = marks.fold(0, |found, (at, name)| found | u32::from(name.may_stand_at(cursor)) << at);
            if found == 0 {
                return None;
            }
            position = found.trailing_zeros() as usize % 4;
        }
        let recent = &self.names[position];
        if !cursor.goes_on_with(&recent.name.as_bytes()[..recent.end_at]) {
            return None;
        }
        self.last = position;
        self.misses = 0;
        cursor.at += recent.name.len();
        Some(recent.target)
    }

    /// Remembers a name that was not [taken](Self::take), and behind which the cursor stands.
    #[inline]
    fn remember(&mut self, name: &'b str, cursor: &Cursor<'b>, target: Target) {
        let was_known = self.names.iter().any(|recent| recent.target == target);
        self.misses = if was_known { 0 } else { self.misses + 1 };
        if let Some(recent) = RecentName::new(name, cursor, target) {
            self.last = (self.last + 3) % 4;
            self.names[self.last] = recent;
        }
    }
}

/// Reads the sample line that begins here with `first`, and its line feed.
#[inline]
pub(super) fn sample<'b>(
    first: u8,
    cursor: &mut Cursor<'b>,
    assembly: &mut Assembly<'b, '_>,
    names: NameRules,
    recent: &mut RecentNames<'b>,
) -> Result<(), Fault> {
    assembly.begin_line();
    let mut line = Line { cursor, assembly, names, target: None, bound: f64::NAN };
    if first == b'{' {
        line.cursor.at += 1;
        line.labels(true)?;
        line.cursor.skip_blanks();
    } else {
        line.name(recent)?;
        line.cursor.skip_blanks();
        if line.cursor.peek()? == b'{' {
            line.cursor.at += 1;
            line.labels(false)?;
            line.cursor.skip_blanks();
        }
    }
    line.value()
}

struct Line<'l, 'b, 's> {
    cursor: &'l mut Cursor<'b>,
    assembly: &'l mut Assembly<'b, 's>,
    names: NameRules,
    /// Known once the name was read.
    target: Option<Target>,
    /// The last `le` or `quantile`, for the types that know them.
    bound: f64,
}

/// The label that makes a sample a bucket or a quantile.
fn bound_label(kind: MetricType) -> Option<&'static str> {
    match kind {
        MetricType::Summary => Some("quantile"),
        MetricType::Histogram | MetricType::GaugeHistogram => Some("le"),
        MetricType::Counter | MetricType::Gauge | MetricType::Untyped => None,
    }
}

impl<'b> Line<'_, 'b, '_> {
    #[inline]
    fn name(&mut self, recent: &mut RecentNames<'b>) -> Result<(), Fault> {
        self.target = recent.take(self.cursor);
        if self.target.is_some() {
            return Ok(());
        }
        let Some(name) = self.cursor.bare_name::<true>() else { return self.other_name() };
        let target = self.assembly.resolve(Cow::Borrowed(name))?;
        self.assembly.settle_type(target);
        self.target = Some(target);
        recent.remember(name, self.cursor, target);
        Ok(())
    }

    /// A name with a quoted part, or none at all.
    #[inline(never)]
    fn other_name(&mut self) -> Result<(), Fault> {
        let name = self.cursor.other_name::<true>(ErrorKind::LineFeedInMetricName)?;
        if name.is_empty() {
            return Err(Box::new(ErrorKind::NoMetricName));
        }
        let target = self.assembly.resolve(legal_metric_name(name, self.names)?)?;
        self.assembly.settle_type(target);
        self.target = Some(target);
        Ok(())
    }

    /// Reads from behind the opening brace to behind the closing one.
    fn labels(&mut self, is_name_inside: bool) -> Result<(), Fault> {
        loop {
            if let Some(label) = self.cursor.plain_label(self.assembly.guessed_label()) {
                self.plain_label(label)?;
                if self.cursor.peek()? == b'}' {
                    break;
                }
                self.cursor.at += 1;
                continue;
            }
            self.cursor.skip_blanks();
            if self.cursor.peek()? == b'}' {
                break;
            }
            let name = self.cursor.name::<false>(ErrorKind::LineFeedInLabelName)?;
            if name.is_empty() {
                return Err(self.fault(ErrorKind::NoLabelName));
            }
            self.cursor.skip_blanks();
            let next = self.cursor.peek()?;
            if next == b'=' {
                self.cursor.at += 1;
                self.label(name)?;
            } else if is_name_inside {
                self.name_inside(name, next)?;
            } else {
                return Err(Box::new(ErrorKind::NoEqualsSign(next)));
            }
            if self.cursor.peek()? == b'}' {
                break;
            }
            // A comma: anything else was refused.
            self.cursor.at += 1;
        }
        if self.target.is_none() {
            return Err(Box::new(ErrorKind::NoMetricName));
        }
        self.cursor.at += 1;
        Ok(())
    }

    /// Reads from behind the equals sign up to the comma or brace.
    #[inline]
    fn label(&mut self, name: Name<'b>) -> Result<(), Fault> {
        if let Name::Quoted(_) = name {
            self.assembly.stop_guessing();
        }
        let name = self.legal_label_name(name)?;
        let is_bound = self.is_bound(&name);
        if !is_bound && self.assembly.line_has(&name) {
            return Err(self.fault(ErrorKind::DuplicateLabelName));
        }
        self.cursor.skip_blanks();
        match self.cursor.peek()? {
            b'"' => self.cursor.at += 1,
            other => return Err(Box::new(ErrorKind::NoQuote(other))),
        }
        let value =
            self.cursor.label_value()?.map_err(|bytes| Box::new(ErrorKind::LabelValue(quoted(&bytes))))?;
        self.check_size(&name, &value)?;
        let own_bound = match self.target {
            Some(target) if is_bound => Some(bound(target, &value)?),
            _ => None,
        };
        self.cursor.skip_blanks();
        if !matches!(self.cursor.peek()?, b',' | b'}') {
            return Err(Box::new(ErrorKind::EndOfLabelValue(quoted(value.as_bytes()))));
        }
        match own_bound {
            Some(bound) => self.bound = bound,
            None => self.assembly.push_label(name, value),
        }
        Ok(())
    }

    #[inline(always)]
    fn plain_label(&mut self, label: PlainLabel<'b>) -> Result<(), Fault> {
        if !label.is_guessed && label.name == "__name__" {
            return Err(Box::new(ErrorKind::ReservedLabelName));
        }
        let is_bound = self.is_bound(label.name);
        // The labels so far are those of the line before, whose names differ from each other.
        if !is_bound && !label.is_guessed && self.assembly.line_has(label.name) {
            return Err(self.fault(ErrorKind::DuplicateLabelName));
        }
        self.check_size(label.name, label.value)?;
        if let (true, Some(target)) = (is_bound, self.target) {
            self.bound = bound(target, label.value)?;
            return Ok(());
        }
        self.assembly.push_plain_label(label.name, label.value, label.is_guessed);
        Ok(())
    }

    /// Whether a label is a sample's bound, or may turn out to be.
    #[inline]
    fn is_bound(&self, name: &str) -> bool {
        match self.target {
            Some(target) => bound_label(target.kind()).is_some_and(|label| label == name),
            None => name == "le" || name == "quantile",
        }
    }

    #[inline]
    fn check_size(&self, name: &str, value: &str) -> Result<(), Fault> {
        if value.len() > self.assembly.limits().value_bytes || self.assembly.line_is_full() {
            return Err(self.over_size(name, value));
        }
        Ok(())
    }

    #[cold]
    fn over_size(&self, name: &str, value: &str) -> Fault {
        let limits = self.assembly.limits();
        Box::new(ErrorKind::OverLimit(if value.len() > limits.value_bytes {
            limits.over_value(&quoted(name.as_bytes()))
        } else {
            limits.over_labels(&self.assembly.quoted_name(self.target))
        }))
    }

    #[inline]
    fn legal_label_name(&self, name: Name<'b>) -> Result<Cow<'b, str>, Fault> {
        let reserved = match &name {
            Name::Bare(name) => *name == "__name__",
            Name::Quoted(name) => **name == *b"__name__",
        };
        if reserved {
            return Err(Box::new(ErrorKind::ReservedLabelName));
        }
        match name {
            // Read by the rule that makes it legal.
            Name::Bare(name) => Ok(Cow::Borrowed(name)),
            Name::Quoted(bytes) => {
                legal_text(bytes, ErrorKind::LabelName, |name| self.names.is_label_name(name))
            }
        }
    }

    /// Takes `name`, read inside the braces and followed by `next`, for the metric's.
    #[cold]
    fn name_inside(&mut self, name: Name<'b>, next: u8) -> Result<(), Fault> {
        if self.target.is_some() {
            return Err(self.fault(ErrorKind::SecondMetricName));
        }
        if next != b',' && next != b'}' {
            return Err(Box::new(ErrorKind::EndOfMetricName(next)));
        }
        let target = self.assembly.resolve(legal_metric_name(name, self.names)?)?;
        self.assembly.settle_type(target);
        self.target = Some(target);
        // Labels read before the name are now held against its type.
        if let Some(label) = bound_label(target.kind()) {
            for value in self.assembly.take_from_line(label) {
                self.bound = bound(target, &value)?;
            }
        }
        for label in ["le", "quantile"] {
            if self.assembly.line_labels().iter().filter(|other| other.name == label).count() > 1 {
                return Err(self.fault(ErrorKind::DuplicateLabelName));
            }
        }
        Ok(())
    }

    #[inline]
    fn value(&mut self) -> Result<(), Fault> {
        let start = self.cursor.at;
        let value = self.cursor.float()?;
        let text = Span { start: start as u32, end: self.cursor.at as u32 };
        let target = self.target.ok_or_else(|| Box::new(ErrorKind::NoMetricName))?;
        self.assembly.add(target, self.bound, value, text)?;
        if self.cursor.peek()? == b'\n' {
            self.cursor.at += 1;
            return Ok(());
        }
        self.timestamp()
    }

    #[cold]
    fn timestamp(&mut self) -> Result<(), Fault> {
        self.cursor.skip_blanks();
        let word = self.cursor.word()?;
        let parsed = std::str::from_utf8(word).ok().and_then(|text| text.parse::<i64>().ok());
        let Some(at) = parsed else {
            return Err(Box::new(ErrorKind::Timestamp(quoted(word))));
        };
        if self.cursor.peek()? == b'\n' {
            self.cursor.at += 1;
        } else {
            let rest = self.cursor.rest_of_line()?;
            if !rest.is_empty() {
                return Err(Box::new(ErrorKind::AfterTimestamp(quoted(&rest))));
            }
        }
        self.assembly.set_timestamped(at);
        Ok(())
    }

    #[cold]
    fn fault(&self, kind: fn(String) -> ErrorKind) -> Fault {
        Box::new(kind(self.assembly.quoted_name(self.target)))
    }
}

fn bound(target: Target, value: &str) -> Result<f64, Fault> {
    parse_float(value.as_bytes()).ok_or_else(|| {
        let label = bound_label(target.kind()).unwrap_or_default();
        Box::new(ErrorKind::Bound(label, quoted(value.as_bytes())))
    })
}

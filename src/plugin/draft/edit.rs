//! Changing a draft: its families, and what its samples hold but labels.

use super::{Draft, DraftFamily, DraftSample, Text};
use crate::model::{LooseLine, MetricType, Number, Part, Span, detail};
use crate::plugin::fault::{Code, Fault};

/// The outcome of an edit: what it did, or why it is not allowed.
pub type Edit<T> = Result<T, Fault>;

/// A sample that a plugin adds.
pub struct NewSample<'n> {
    pub name: &'n str,
    pub kind: MetricType,
    pub help: Option<&'n str>,
    pub labels: &'n [(String, String)],
    pub value: f64,
}

pub(super) fn fault<T>(code: Code, text: impl Into<String>) -> Edit<T> {
    Err(Fault::new(code, text))
}

/// Whether samples of this type are one number.
fn is_plain(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter | MetricType::Gauge | MetricType::Untyped)
}

impl Draft {
    /// Begins the accounts of the next plugin.
    pub fn begin_plugin(&mut self) {
        (self.written, self.added) = (0, 0);
    }

    /// Writes text on behalf of a plugin, within its allowance.
    pub(super) fn write_for_plugin(&mut self, text: &str) -> Edit<Text> {
        self.check_room_for_text(text.len())?;
        Ok(self.write(text))
    }

    /// Takes text that is to be written off a plugin's allowance.
    fn check_room_for_text(&mut self, bytes: usize) -> Edit<()> {
        self.account(bytes)?;
        // Positions are 32 bits; the body is far below, and plugins append bounded amounts.
        if self.arena.len() + bytes > u32::MAX as usize {
            return fault(Code::Limit, "the push holds too much text");
        }
        Ok(())
    }

    /// Takes bytes off a plugin's allowance.
    fn account(&mut self, bytes: usize) -> Edit<()> {
        self.written = self.written.saturating_add(bytes);
        if self.written > 1024 * 1024 + 4 * self.body_bytes {
            return fault(Code::Limit, "too many bytes written into names, labels, help and messages");
        }
        Ok(())
    }

    /// Puts a value message in the place of a sample's own.
    fn put_detail(&mut self, sample: u32, message: Option<Vec<u8>>) -> Edit<()> {
        let detail = match message {
            Some(message) => {
                self.account(message.len())?;
                // Appended, so that a snapshot need not hold the old ones.
                let start = self.blobs.len() as u32;
                self.blobs.extend_from_slice(&message);
                Some(Span { start, end: self.blobs.len() as u32 })
            }
            None => None,
        };
        self.samples[sample as usize].detail = detail;
        Ok(())
    }

    pub fn drop_sample(&mut self, sample: u32) {
        let sample = &mut self.samples[sample as usize];
        if !sample.dropped {
            sample.dropped = true;
            self.families[sample.family as usize].n_samples -= 1;
            self.dropped += 1;
        }
    }

    /// Drops every sample of a family.
    pub fn drop_family(&mut self, family: u32) {
        for at in 0..self.samples.len() as u32 {
            if self.samples[at as usize].family == family {
                self.drop_sample(at);
            }
        }
    }

    /// The family of this name that takes samples.
    pub fn find_family(&self, name: &str) -> Option<u32> {
        let at = self.families.iter().position(|family| {
            family.merged_into.is_none() && family.n_samples > 0 && self.text(family.name) == name
        });
        at.map(|at| at as u32)
    }

    fn check_name(&self, name: &str) -> Edit<()> {
        if !self.names.is_metric_name(name) {
            return fault(Code::Name, format!("{name:?} is not a valid metric name"));
        }
        Ok(())
    }

    fn check_mergeable(&self, from: u32, to: u32) -> Edit<()> {
        let (from, to) = (self.family(from).kind, self.family(to).kind);
        let untyped = MetricType::Untyped;
        if from == to || (is_plain(from) && is_plain(to) && (from == untyped || to == untyped)) {
            return Ok(());
        }
        fault(Code::Type, format!("a {} family cannot take samples of type {}", to.text(), from.text()))
    }

    /// Renames a family; if one of that name exists, its samples go there. Returns where they are.
    ///
    /// # Errors
    ///
    /// The name is not valid, or the types do not agree.
    pub fn rename_family(&mut self, family: u32, name: &str) -> Edit<u32> {
        self.check_name(name)?;
        if self.family_name(family) == name {
            return Ok(family);
        }
        match self.find_family(name) {
            None => {
                self.families[family as usize].name = self.write_for_plugin(name)?;
                Ok(family)
            }
            Some(other) => {
                self.check_mergeable(family, other)?;
                for sample in &mut self.samples {
                    if sample.family == family {
                        sample.family = other;
                    }
                }
                let moved = std::mem::take(&mut self.families[family as usize].n_samples);
                self.families[other as usize].n_samples += moved;
                self.families[family as usize].merged_into = Some(other);
                Ok(other)
            }
        }
    }

    /// Moves a sample to the family `name`, made like its own if there is none.
    ///
    /// # Errors
    ///
    /// As [`rename_family`](Draft::rename_family).
    pub fn move_sample(&mut self, sample: u32, name: &str) -> Edit<()> {
        self.check_name(name)?;
        let from = self.samples[sample as usize].family;
        if self.family_name(from) == name {
            return Ok(());
        }
        let to = match self.find_family(name) {
            Some(to) => {
                self.check_mergeable(from, to)?;
                to
            }
            None => {
                let name = self.write_for_plugin(name)?;
                self.families.push(DraftFamily {
                    name,
                    n_samples: 0,
                    merged_into: None,
                    ..self.families[from as usize]
                });
                self.families.len() as u32 - 1
            }
        };
        self.assign(sample, to);
        Ok(())
    }

    fn assign(&mut self, sample: u32, to: u32) {
        let sample = &mut self.samples[sample as usize];
        if !sample.dropped {
            self.families[sample.family as usize].n_samples -= 1;
            self.families[to as usize].n_samples += 1;
        }
        sample.family = to;
    }

    fn check_room(&mut self, more: usize) -> Edit<()> {
        self.added += more;
        let most = (4 * self.received).max(1000);
        if self.added > most {
            return fault(Code::Limit, format!("a plugin may add {most} samples to this push"));
        }
        Ok(())
    }

    /// Adds a sample of one number.
    ///
    /// # Errors
    ///
    /// The type has parts, a name is not valid, the family has another type, or a limit is reached.
    pub fn add(&mut self, new: &NewSample<'_>) -> Edit<u32> {
        if !is_plain(new.kind) {
            return fault(Code::Type, "only counters, gauges and untyped samples can be added");
        }
        self.check_name(new.name)?;
        self.check_room(1)?;
        let family = match self.find_family(new.name) {
            Some(family) if self.family(family).kind == new.kind => family,
            Some(_) => return fault(Code::Type, format!("the family {} has another type", new.name)),
            None => {
                let name = self.write_for_plugin(new.name)?;
                let help = match new.help {
                    Some(help) => Some(self.write_for_plugin(help)?),
                    None => None,
                };
                self.families.push(DraftFamily {
                    name,
                    help,
                    unit: None,
                    kind: new.kind,
                    n_samples: 0,
                    merged_into: None,
                });
                self.families.len() as u32 - 1
            }
        };
        let sample = self.push_plain(family, new.value);
        for (name, value) in new.labels {
            self.set_label(sample, name, value)?;
        }
        Ok(sample)
    }

    pub(super) fn push_plain(&mut self, family: u32, value: f64) -> u32 {
        self.samples.push(DraftSample {
            family,
            labels: Span::default(),
            parts: Span::default(),
            value,
            count: Number::Int(0),
            detail: None,
            dropped: false,
            loose: LooseLine::default(),
        });
        self.families[family as usize].n_samples += 1;
        self.samples.len() as u32 - 1
    }

    /// Copies a family with its samples under a new name.
    ///
    /// # Errors
    ///
    /// There is a family of that name, or the name is not valid.
    pub fn copy_family(&mut self, family: u32, name: &str) -> Edit<u32> {
        self.check_name(name)?;
        if self.find_family(name).is_some() {
            return fault(Code::Name, format!("there is a family {name} already"));
        }
        self.check_room(self.family(family).n_samples as usize)?;
        let name = self.write_for_plugin(name)?;
        let to = self.families.len() as u32;
        self.families.push(DraftFamily { name, n_samples: 0, ..self.families[family as usize] });
        for at in 0..self.samples.len() {
            let sample = self.samples[at];
            if sample.family != family || sample.dropped {
                continue;
            }
            let start = self.labels.len() as u32;
            self.labels.extend_from_within(sample.labels.range());
            let labels = Span { start, end: self.labels.len() as u32 };
            self.samples.push(DraftSample { family: to, labels, ..sample });
            self.families[to as usize].n_samples += 1;
        }
        Ok(to)
    }

    /// Sets the value of a counter, gauge or untyped sample.
    ///
    /// # Errors
    ///
    /// The sample is a histogram or summary.
    pub fn set_value(&mut self, sample: u32, value: f64) -> Edit<()> {
        if !is_plain(self.family(self.samples[sample as usize].family).kind) {
            return fault(Code::Type, "histograms and summaries have no single value");
        }
        let data = &mut self.samples[sample as usize];
        data.value = value;
        data.loose.null = false;
        match data.detail {
            Some(span) => {
                let message = detail::with_value(&self.blobs[span.range()], value);
                self.put_detail(sample, message)
            }
            None => Ok(()),
        }
    }

    /// Multiplies value, sum, bounds, quantile values and exemplar values by `factor`; counts stay.
    ///
    /// # Errors
    ///
    /// The factor is not finite and positive (for gauges and untyped: not zero), or the sample is a native
    /// histogram, or a limit is reached.
    pub fn scale(&mut self, sample: u32, factor: f64) -> Edit<()> {
        let DraftSample { family, parts, detail, .. } = self.samples[sample as usize];
        let kind = self.family(family).kind;
        let signed = matches!(kind, MetricType::Gauge | MetricType::Untyped);
        if !factor.is_finite() || factor == 0.0 || (factor < 0.0 && !signed) {
            return fault(Code::Value, format!("cannot scale a {} by {factor}", kind.text()));
        }
        let message = detail.map(|span| &self.blobs[span.range()]);
        if kind.has_buckets() && message.is_some_and(detail::is_native) {
            return fault(Code::Type, "native histograms cannot be scaled");
        }
        let scaled = message.and_then(|message| detail::scaled(kind, message, factor));
        self.account(parts.len() * size_of::<Part>())?;
        self.put_detail(sample, scaled)?;
        // Appended, so that a snapshot need not hold the old ones.
        let start = self.parts.len() as u32;
        for at in parts.range() {
            let Part { bound, value } = self.parts[at];
            self.parts.push(if kind.has_buckets() {
                Part { bound: bound * factor, value }
            } else {
                Part { bound, value: Number::Float(value.as_f64() * factor) }
            });
        }
        let sample = &mut self.samples[sample as usize];
        sample.parts = Span { start, end: start + parts.len() as u32 };
        sample.value *= factor;
        Ok(())
    }

    /// Sets type, help or unit of a family.
    ///
    /// # Errors
    ///
    /// The type is, or would be, one with parts; or a limit is reached.
    pub fn set_family_kind(&mut self, family: u32, kind: MetricType) -> Edit<()> {
        if !is_plain(kind) || !is_plain(self.family(family).kind) {
            return fault(Code::Type, "the type can change among counter, gauge and untyped only");
        }
        self.families[family as usize].kind = kind;
        Ok(())
    }

    pub fn set_help(&mut self, family: u32, help: Option<&str>) -> Edit<()> {
        let help = match help {
            Some(help) => Some(self.write_for_plugin(help)?),
            None => None,
        };
        self.families[family as usize].help = help;
        Ok(())
    }

    pub fn set_unit(&mut self, family: u32, unit: Option<&str>) -> Edit<()> {
        let unit = match unit {
            Some(unit) => Some(self.write_for_plugin(unit)?),
            None => None,
        };
        self.families[family as usize].unit = unit;
        Ok(())
    }
}

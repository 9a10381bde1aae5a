//! Running rules over the samples of a draft.
//!
//! Rules see what a scrape would see: one label set per exposed line. A histogram or summary is split
//! into its lines only where the rules can tell them apart; if what comes back still fits together it
//! stays one, else its lines go on as untyped samples.

use bumpalo::Bump;

use super::labels::Fresh;
use super::plan::Plans;
use super::{Draft, DraftFamily, Edit, Label, Text};
use crate::format::float;
use crate::model::{GroupingKey, MetricType, Part, Span};
use crate::plugin::fault::{Code, Fault};
use crate::plugin::relabel::labels::METRIC_NAME;
use crate::plugin::relabel::{LabelSet, Ruleset};
use crate::plugin::selector::Selector;

/// What a run of rules did besides changing labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelabelCounts {
    pub dropped: usize,
    /// Histograms and summaries taken apart.
    pub splits: usize,
    /// Grouping labels that a rule changed, in vain.
    pub resets: usize,
}

/// A label set after the rules, without `__name__` and grouping labels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Relabelled {
    name: String,
    labels: Vec<(String, String)>,
    resets: usize,
}

enum Outcome {
    Dropped,
    Same,
    /// The grouping labels that the rules changed, in vain.
    Changed {
        resets: usize,
    },
}

/// Which line of a histogram or summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// A bucket or quantile by its position; the `+Inf` bucket that the count implies has none.
    Part(Option<u32>),
    Sum,
    Count,
}

impl Draft {
    /// Runs `rules` over every sample that `only` matches.
    ///
    /// # Errors
    ///
    /// A series is left without a name or with one that is not valid, moves to a family of another
    /// type, or a limit is reached.
    pub fn relabel(&mut self, rules: &Ruleset, only: Option<&Selector>) -> Edit<RelabelCounts> {
        let mut counts = RelabelCounts::default();
        let mut fresh = std::mem::take(&mut self.fresh);
        let mut plans = self.plans_of(rules);
        for sample in 0..self.samples.len() as u32 {
            if self.samples[sample as usize].dropped
                || only.is_some_and(|only| !only.matches(&self.view(sample)))
            {
                continue;
            }
            let kind = self.family(self.samples[sample as usize].family).kind;
            let one_line = match kind {
                MetricType::Counter | MetricType::Gauge | MetricType::Untyped => true,
                MetricType::Summary => false,
                MetricType::Histogram | MetricType::GaugeHistogram => {
                    self.samples[sample as usize].detail.is_some() && self.parts_of(sample).is_empty()
                }
            };
            if one_line || rules.is_blind_to_parts() {
                match self.plan_for(sample, rules, &mut plans) {
                    Some(plan) => self.follow(sample, plan, &mut counts)?,
                    None => self.relabel_whole(sample, rules, &mut counts, &mut fresh, &mut plans)?,
                }
            } else {
                self.relabel_lines(sample, kind, rules, &mut counts)?;
            }
        }
        self.fresh = fresh;
        self.keep_plans(plans);
        Ok(counts)
    }

    /// Runs `rules` over the grouping labels; false if they drop the push.
    ///
    /// # Errors
    ///
    /// A rule takes the job away, or makes a label that cannot be in a grouping key.
    pub fn relabel_group(&mut self, rules: &Ruleset) -> Edit<bool> {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let after: Vec<(String, String)> = {
            let made = Bump::new();
            let mut set = LabelSet::default();
            self.group().for_each(|(name, value)| set.push(0, name, value));
            if !rules.run(&mut set, &made) {
                return Ok(false);
            }
            if !set.is_changed() {
                return Ok(true);
            }
            set.iter().map(owned).collect()
        };
        let before: Vec<(String, String)> = self.group().map(owned).collect();
        for (name, value) in &before {
            // An empty value is part of a key, but rules do not see it.
            if !value.is_empty() && !after.iter().any(|label| label.0 == *name) {
                self.set_group_label(name, None)?;
            }
        }
        for (name, value) in &after {
            if !before.iter().any(|label| label.0 == *name && label.1 == *value) {
                self.set_group_label(name, Some(value))?;
            }
        }
        Ok(true)
    }

    /// Takes the changes back that one plugin made to the grouping labels: from `before` to `after`.
    /// What others have changed since stays.
    pub fn undo_group(&mut self, before: &GroupingKey, after: &GroupingKey) {
        for (name, value) in after.labels() {
            if before.get(name) != Some(value) && self.group_label(name) == Some(value) {
                // Both values were legal before.
                let _ = self.set_group_label(name, before.get(name));
            }
        }
        for (name, value) in before.labels() {
            if after.get(name).is_none() && self.group_label(name).is_none() {
                let _ = self.set_group_label(name, Some(value));
            }
        }
    }

    pub(super) fn relabel_whole(
        &mut self,
        sample: u32,
        rules: &Ruleset,
        counts: &mut RelabelCounts,
        fresh: &mut Fresh,
        plans: &mut Plans,
    ) -> Edit<()> {
        let family = self.samples[sample as usize].family;
        fresh.clear();
        let mut name = self.family(family).name;
        let mut sketch = self.sketch(sample, plans);
        let outcome = {
            let made = Bump::new();
            let mut set = LabelSet::default();
            let mut watch = |rule: usize, set: &LabelSet<'_>| sketch.watch(self, rules, rule, set);
            let outcome =
                self.run_rules(sample, self.text(name), None, rules, &mut set, &made, &mut watch)?;
            sketch.end(&set, matches!(outcome, Outcome::Same));
            if let Outcome::Changed { .. } = outcome {
                let own = self.own(sample);
                for entry in set.entries() {
                    match entry.origin {
                        Some(number) if number >= self.first_own() => {
                            fresh.labels.push(own[(number - self.first_own()) as usize]);
                            sketch.note(entry);
                            continue;
                        }
                        Some(_) => {}
                        None if entry.name == METRIC_NAME => name = self.place(fresh, entry.value),
                        None if self.is_grouped(entry.name) => {}
                        None => {
                            let name = self.place(fresh, entry.name);
                            let label = Label { name, value: self.place(fresh, entry.value) };
                            fresh.labels.push(label);
                            sketch.note(entry);
                            continue;
                        }
                    }
                    sketch.note_other(entry);
                }
            }
            outcome
        };
        match outcome {
            Outcome::Same => {
                self.plan_end(rules, sketch, plans, false);
                Ok(())
            }
            Outcome::Dropped => {
                counts.dropped += 1;
                self.drop_sample(sample);
                self.plan_end(rules, sketch, plans, true);
                Ok(())
            }
            Outcome::Changed { resets } => {
                counts.resets += resets;
                self.put_labels(sample, fresh)?;
                let name = (name != self.family(family).name).then_some(name);
                self.plan_change(rules, sketch, plans, fresh, name);
                name.map_or(Ok(()), |name| self.move_sample_to(sample, name))
            }
        }
    }

    pub(super) fn move_sample_to(&mut self, sample: u32, name: Text) -> Edit<()> {
        let name = self.text(name).to_owned();
        self.move_sample(sample, &name)
    }

    /// The number of the first own label in a [`LabelSet`]: before them come the name and the grouping labels.
    pub(super) fn first_own(&self) -> u32 {
        self.group.len() as u32 + 1
    }

    /// Fills `set` with the labels of a line and runs the rules over it. `watch` is told of each rule before it
    /// runs.
    #[expect(clippy::too_many_arguments, reason = "what is borrowed for as long as the set lives")]
    fn run_rules<'t>(
        &'t self,
        sample: u32,
        name: &'t str,
        extra: Option<(&'t str, &'t str)>,
        rules: &'t Ruleset,
        set: &mut LabelSet<'t>,
        made: &'t Bump,
        watch: &mut dyn FnMut(usize, &LabelSet<'_>),
    ) -> Edit<Outcome> {
        set.push(0, METRIC_NAME, name);
        let mut groups = 0;
        for (number, (name, value)) in (1..).zip(self.group()) {
            groups += usize::from(!value.is_empty());
            set.push(number, name, value);
        }
        // An empty grouping label is none to rules, yet it hides an own label.
        let hides = groups < self.group.len();
        for (number, label) in (self.first_own()..).zip(self.own(sample)) {
            let name = self.text(label.name);
            if !hides || !self.is_grouped(name) {
                set.push(number, name, self.text(label.value));
            }
        }
        if let Some((name, value)) = extra {
            set.push(u32::MAX, name, value);
        }
        if !rules.run_watched(set, made, |rule, set| watch(rule, set)) {
            return Ok(Outcome::Dropped);
        }
        if !set.is_changed() {
            return Ok(Outcome::Same);
        }
        if set.get(METRIC_NAME).is_empty() {
            return Err(Fault::new(Code::Name, "a rule took the metric name away"));
        }
        let is_group =
            |origin: Option<u32>| origin.is_some_and(|number| number > 0 && number < self.first_own());
        let kept = set.entries().iter().filter(|entry| is_group(entry.origin)).count();
        let resets = if !hides && kept == groups {
            0
        } else {
            self.group().filter(|(name, value)| set.get(name) != *value).count()
        };
        Ok(Outcome::Changed { resets })
    }

    /// What the rules left of a line, without grouping labels.
    fn relabelled(&self, set: &LabelSet<'_>, resets: usize) -> Relabelled {
        let own = |(name, _): &(&str, &str)| *name != METRIC_NAME && !self.is_grouped(name);
        let labels = set.iter().filter(own).map(|(name, value)| (name.to_owned(), value.to_owned()));
        Relabelled { name: set.get(METRIC_NAME).to_owned(), labels: labels.collect(), resets }
    }

    fn relabel_lines(
        &mut self,
        sample: u32,
        kind: MetricType,
        rules: &Ruleset,
        counts: &mut RelabelCounts,
    ) -> Edit<()> {
        let told_by = if kind == MetricType::Summary { "quantile" } else { "le" };
        let mut lines = Vec::new();
        let (mut changed, mut gone) = (false, 0);
        for (line, name, bound) in self.lines(sample, kind) {
            let after = {
                let extra = bound.as_deref().map(|bound| (told_by, bound));
                let made = Bump::new();
                let mut set = LabelSet::default();
                match self.run_rules(sample, &name, extra, rules, &mut set, &made, &mut |_, _| {})? {
                    Outcome::Dropped => {
                        gone += 1;
                        continue;
                    }
                    Outcome::Same => {
                        let own = self.own_labels(sample).chain(extra);
                        let labels = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
                        Relabelled { name: name.clone(), labels: labels.collect(), resets: 0 }
                    }
                    Outcome::Changed { resets } => {
                        changed = true;
                        self.relabelled(&set, resets)
                    }
                }
            };
            counts.resets += after.resets;
            lines.push((line, bound, after));
        }
        if lines.is_empty() {
            self.drop_sample(sample);
            counts.dropped += 1;
            return Ok(());
        }
        if !changed && gone == 0 {
            return Ok(());
        }
        match together(&lines, kind, told_by) {
            Some((name, labels)) => {
                let kept: Vec<Part> = lines
                    .iter()
                    .filter_map(|(line, ..)| match line {
                        Line::Part(Some(at)) => Some(self.parts_of(sample)[*at as usize]),
                        _ => None,
                    })
                    .collect();
                let start = self.parts.len() as u32;
                self.parts.extend_from_slice(&kept);
                self.samples[sample as usize].parts = Span { start, end: self.parts.len() as u32 };
                if gone > 0 {
                    // The message would still hold the buckets that went.
                    self.samples[sample as usize].detail = None;
                }
                self.replace_labels(sample, pairs(&labels))?;
                self.move_sample(sample, &name)
            }
            None => {
                counts.splits += 1;
                self.split(sample, &lines)
            }
        }
    }

    /// The exposed lines of a histogram or summary: which, under what name, with what bound.
    fn lines(&self, sample: u32, kind: MetricType) -> Vec<(Line, String, Option<String>)> {
        let name = self.family_name(self.samples[sample as usize].family);
        let parts = self.parts_of(sample);
        let summary = kind == MetricType::Summary;
        let part_name = if summary { name.to_owned() } else { format!("{name}_bucket") };
        let mut lines: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(at, part)| (Line::Part(Some(at as u32)), part_name.clone(), Some(number(part.bound))))
            .collect();
        if !summary && !parts.iter().any(|part| part.bound == f64::INFINITY) {
            lines.push((Line::Part(None), part_name, Some(number(f64::INFINITY))));
        }
        lines.push((Line::Sum, format!("{name}_sum"), None));
        lines.push((Line::Count, format!("{name}_count"), None));
        lines
    }

    /// Makes untyped samples of the lines and drops the sample they came from.
    fn split(&mut self, sample: u32, lines: &[(Line, Option<String>, Relabelled)]) -> Edit<()> {
        for (line, _, new) in lines {
            let whole = &self.samples[sample as usize];
            let value = match line {
                Line::Sum => whole.value,
                Line::Count | Line::Part(None) => whole.count.as_f64(),
                Line::Part(Some(at)) => self.parts_of(sample)[*at as usize].value.as_f64(),
            };
            if !self.names.is_metric_name(&new.name) {
                return Err(Fault::new(Code::Name, format!("{:?} is not a valid metric name", new.name)));
            }
            let family = match self.find_family(&new.name) {
                Some(family) if self.family(family).kind == MetricType::Untyped => family,
                Some(family) if family == self.samples[sample as usize].family => {
                    // A quantile line keeps the name of its summary, whose other samples may stay one.
                    self.untyped_beside(&new.name)
                }
                Some(_) => {
                    return Err(Fault::new(Code::Type, format!("the family {} has another type", new.name)));
                }
                None => self.untyped_beside(&new.name),
            };
            let loose = self.samples[sample as usize].loose;
            let added = self.push_plain(family, value);
            self.samples[added as usize].loose = loose;
            self.replace_labels(added, pairs(&new.labels))?;
        }
        self.drop_sample(sample);
        // Its lines live on.
        self.dropped -= 1;
        Ok(())
    }

    fn untyped_beside(&mut self, name: &str) -> u32 {
        let family = DraftFamily {
            name: self.write(name),
            help: None,
            unit: None,
            kind: MetricType::Untyped,
            n_samples: 0,
            merged_into: None,
        };
        self.families.push(family);
        self.families.len() as u32 - 1
    }
}

/// Name and labels of the whole, if the lines still make one.
fn together(
    lines: &[(Line, Option<String>, Relabelled)],
    kind: MetricType,
    told_by: &str,
) -> Option<(String, Vec<(String, String)>)> {
    let find = |wanted: Line| lines.iter().find(|(line, ..)| *line == wanted).map(|found| &found.2);
    let (sum, count) = (find(Line::Sum)?, find(Line::Count)?);
    let name = count.name.strip_suffix("_count")?;
    if name.is_empty() || sum.name.strip_suffix("_sum") != Some(name) {
        return None;
    }
    let summary = kind == MetricType::Summary;
    let infinite = |bound: &Option<String>| bound.as_deref() == Some("+Inf");
    if !summary && !lines.iter().any(|(line, bound, _)| matches!(line, Line::Part(_)) && infinite(bound)) {
        return None;
    }
    let sorted = |new: &Relabelled| {
        let mut labels = new.labels.clone();
        labels.retain(|label| label.0 != told_by);
        labels.sort();
        labels
    };
    let labels = sorted(count);
    if count.labels.len() != labels.len() || sorted(sum) != labels || sum.labels.len() != labels.len() {
        return None;
    }
    for (line, bound, new) in lines {
        let Line::Part(_) = line else { continue };
        let named = if summary { new.name == name } else { new.name.strip_suffix("_bucket") == Some(name) };
        let told = new.labels.iter().find(|label| label.0 == told_by).map(|label| &label.1);
        if !named || told != bound.as_ref() || sorted(new) != labels {
            return None;
        }
    }
    // The count has no bound, so its labels are the labels of the whole, in their own order.
    Some((name.to_owned(), count.labels.clone()))
}

fn pairs(labels: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// A bound as the text format prints it.
fn number(value: f64) -> String {
    let mut text = Vec::new();
    float::write_float(&mut text, value);
    String::from_utf8_lossy(&text).into_owned()
}

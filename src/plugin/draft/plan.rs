//! What rules make of a series, kept for the series that follow with labels of the same names.
//!
//! Where the values of labels decide on nothing but which patterns match, and are copied whole or not at all,
//! what becomes of a series follows from the names of its labels and from which patterns match. That is a
//! plan: the first such series goes through the rules, and those behind it through comparisons and copies of
//! positions. What does not follow from so little goes through the rules each time. Plans are kept from push to
//! push.
//!
//! # Invariants
//!
//! 1. A plan fits a series only if the rules would make the same of it; the order of labels may be another.
//! 2. A plan is held to the grouping labels of a push before it fits one of its series: their names, and where
//!    anything follows from their values, these too.
//! 3. What a plan says lies in texts of its own, never in a draft's.

use smallvec::SmallVec;

use super::labels::Fresh;
use super::{Draft, Edit, Label, RelabelCounts, Text};
use crate::limits::LABEL_VALUE_BYTES_MAX;
use crate::model::Span;
use crate::plugin::relabel::labels::{Entry, METRIC_NAME, Origin};
use crate::plugin::relabel::{Decider, LabelSet, Ruleset};

/// Plans kept of one list of rules.
const PLANS_MAX: usize = 4;

/// Lists of rules whose plans are kept.
const LISTS_MAX: usize = 32;

/// A plan that says more than this is not kept: names can be as long as a body.
const KEPT_BYTES_MAX: usize = 4096;

/// What is spent on looking for plans; each series that one fits earns one back.
const TRIES: u32 = 8;

/// What a series costs that no plan can be made of.
const VAIN_TRY: u32 = 4;

/// The plans of one list of rules.
#[derive(Debug)]
pub(super) struct Plans {
    rules: u64,
    plans: Vec<Plan>,
    /// The one that fitted last.
    last: usize,
    tries: u32,
}

/// What becomes of series with labels of these names whose values are not empty.
#[derive(Debug)]
pub(super) struct Plan {
    /// The texts that it is compared by; names and guards lie there.
    seen: String,
    /// The texts that it gives to series; its end lies there.
    given: String,
    names: SmallVec<[Text; 8]>,
    /// The family, if what becomes of its series has to do with its name.
    family: Option<Text>,
    group: SmallVec<[Label; 4]>,
    /// Whether anything follows from the grouping labels' values.
    reads_group: bool,
    guards: SmallVec<[Guard; 2]>,
    end: End,
    now: Now,
}

/// What a plan is to the push at hand.
#[derive(Clone, Copy, Debug)]
enum Now {
    /// Its group is another.
    Apart,
    Fits,
    /// And what it gives was written into the draft, from here on.
    Written(u32),
}

/// A pattern that matches, or does not.
#[derive(Debug)]
struct Guard {
    rule: usize,
    values: SmallVec<[Value; 1]>,
    matches: bool,
}

/// A value of a label.
#[derive(Clone, Copy, Debug)]
enum Value {
    /// That of the series' own label at this position.
    Own(u32),
    Text(Text),
}

#[derive(Debug)]
enum End {
    Dropped,
    Same,
    Changed {
        /// How many of its first labels stay.
        kept: u32,
        /// Those that follow.
        labels: SmallVec<[(Text, Value); 8]>,
        /// Of the family that it moves to.
        name: Option<Text>,
    },
}

impl Plans {
    /// None yet.
    pub fn new(rules: &Ruleset) -> Plans {
        Plans { rules: rules.id(), plans: Vec::new(), last: 0, tries: TRIES }
    }

    /// Whether a plan can be made of what was found out, which costs more where it cannot.
    fn pay_for(&mut self, sketch: &Sketch) -> bool {
        self.tries = self.tries.saturating_sub(if sketch.is_void { VAIN_TRY } else { 1 });
        !sketch.is_void
    }

    /// Keeps a plan in the place of an older one.
    fn put(&mut self, plan: Plan) {
        self.last = (self.last + 1) % PLANS_MAX;
        match self.plans.get_mut(self.last) {
            Some(place) => *place = plan,
            None => {
                self.last = self.plans.len();
                self.plans.push(plan);
            }
        }
    }
}

/// Appends a text, and says where it lies.
fn put(into: &mut String, text: &str) -> Text {
    let start = into.len() as u32;
    into.push_str(text);
    Text { start, end: into.len() as u32 }
}

fn of(text: &str, at: Text) -> &str {
    &text[at.start as usize..at.end as usize]
}

/// The same, where only bytes are compared.
fn bytes_of(text: &str, at: Text) -> &[u8] {
    &text.as_bytes()[at.start as usize..at.end as usize]
}

/// What was found out about a series while rules ran over it.
pub(super) struct Sketch {
    family: u32,
    /// Its labels as they were.
    own: Span,
    guards: SmallVec<[Guard; 2]>,
    /// Where the values of the labels come from that are left.
    values: SmallVec<[Option<u32>; 16]>,
    first_own: u32,
    /// Grouping labels with values, less those that are left as they were.
    groups: usize,
    reads_name: bool,
    reads_group: bool,
    /// Whether nothing follows from it for other series.
    is_void: bool,
}

impl Sketch {
    /// To be told of each rule before it runs.
    pub fn watch(&mut self, draft: &Draft, rules: &Ruleset, rule: usize, set: &LabelSet<'_>) {
        if self.is_void {
            return;
        }
        let sources = match rules.decider(rule) {
            Decider::Names => return,
            Decider::Match(sources) => sources,
            Decider::Values => {
                self.is_void = true;
                return;
            }
        };
        let origins = sources.iter().map(|name| set.origin(name));
        self.reads_name |= origins.clone().any(|origin| origin == Some(Origin::Came(0)));
        self.reads_group |= origins.clone().any(|origin| self.is_of_group(origin));
        if !origins.clone().any(|origin| self.own_of(origin).is_some()) {
            // Always the same.
            return;
        }
        let value = |origin: Option<Origin>| match origin {
            None => Some(Value::Text(Text::default())),
            Some(Origin::Came(0)) => None,
            Some(Origin::Came(number)) => Some(match self.own_of(origin) {
                Some(own) => Value::Own(own),
                None => Value::Text(draft.group[number as usize - 1].value),
            }),
            Some(Origin::Rule | Origin::Made) => None,
        };
        match origins.map(value).collect() {
            Some(values) => self.guards.push(Guard { rule, values, matches: false }),
            None => self.is_void = true,
        }
    }

    /// To be told of each label that is left, in order, of those of the series itself; see
    /// [`note_other`](Sketch::note_other).
    pub fn note(&mut self, entry: &Entry<'_>) {
        self.reads_name |= entry.of == Origin::Came(0);
        self.reads_group |= self.is_of_group(Some(entry.of));
        self.values.push(self.own_of(Some(entry.of)));
    }

    /// The same of grouping labels and the name.
    pub fn note_other(&mut self, entry: &Entry<'_>) {
        match entry.origin {
            Some(0) => {}
            Some(_) => self.groups -= 1,
            // The family that it moves to is to be the same for all.
            None => self.is_void |= entry.name != METRIC_NAME || self.own_of(Some(entry.of)).is_some(),
        }
    }

    /// To be told of what the rules left, and whether that is what was there before.
    pub fn end(&mut self, set: &LabelSet<'_>, is_same: bool) {
        // What was set to the value that it had is changed where it had another.
        let is_touched = || set.entries().iter().any(|entry| entry.origin.is_none());
        self.is_void |= set.is_made() || is_same && is_touched();
    }

    fn is_of_group(&self, origin: Option<Origin>) -> bool {
        matches!(origin, Some(Origin::Came(number)) if number > 0 && number < self.first_own)
    }

    fn own_of(&self, origin: Option<Origin>) -> Option<u32> {
        match origin {
            Some(Origin::Came(number)) => number.checked_sub(self.first_own),
            _ => None,
        }
    }
}

impl Draft {
    /// The plans of these rules, held to the push at hand; to be [kept](Draft::keep_plans) afterwards.
    pub(super) fn plans_of(&mut self, rules: &Ruleset) -> Plans {
        let Some(at) = self.plans.iter().position(|plans| plans.rules == rules.id()) else {
            return Plans::new(rules);
        };
        let mut plans = self.plans.swap_remove(at);
        plans.tries = TRIES;
        for plan in &mut plans.plans {
            plan.now = if self.has_group_of(plan) { Now::Fits } else { Now::Apart };
        }
        plans
    }

    /// Keeps plans for the next push.
    pub(super) fn keep_plans(&mut self, mut plans: Plans) {
        plans.plans.retain(|plan| plan.seen.len() + plan.given.len() <= KEPT_BYTES_MAX);
        if plans.plans.is_empty() {
            return;
        }
        if self.plans.len() >= LISTS_MAX {
            self.plans.remove(0);
        }
        self.plans.push(plans);
    }

    /// Whether the push at hand has the grouping labels that a plan depends on.
    fn has_group_of(&self, plan: &Plan) -> bool {
        let is_same = |(now, then): (&Label, &Label)| {
            let value = bytes_of(&plan.seen, then.value);
            self.is(now.name, bytes_of(&plan.seen, then.name))
                && if plan.reads_group { self.is(now.value, value) } else { now.value.len() > 0 }
        };
        self.group.len() == plan.group.len() && self.group.iter().zip(&plan.group).all(is_same)
    }

    /// The plan that fits a series.
    pub(super) fn plan_for<'p>(
        &self,
        sample: u32,
        rules: &Ruleset,
        plans: &'p mut Plans,
    ) -> Option<&'p mut Plan> {
        let fits = |plan: &Plan| self.fits(sample, rules, plan);
        if !plans.plans.get(plans.last).is_some_and(fits) {
            plans.last = plans.plans.iter().position(fits)?;
        }
        plans.tries = (plans.tries + 1).min(TRIES);
        plans.plans.get_mut(plans.last)
    }

    fn fits(&self, sample: u32, rules: &Ruleset, plan: &Plan) -> bool {
        if matches!(plan.now, Now::Apart) {
            return false;
        }
        let own = self.own(sample);
        let has_name = |(label, name): (&Label, &Text)| {
            (1..=LABEL_VALUE_BYTES_MAX).contains(&label.value.len())
                && self.is(label.name, bytes_of(&plan.seen, *name))
        };
        let is_family = |name| {
            let family = self.family(self.samples[sample as usize].family);
            self.is(family.name, bytes_of(&plan.seen, name))
        };
        plan.family.is_none_or(is_family)
            && own.len() == plan.names.len()
            && own.iter().zip(&plan.names).all(has_name)
            && plan.guards.iter().all(|guard| self.matches(own, rules, &plan.seen, guard) == guard.matches)
    }

    fn matches(&self, own: &[Label], rules: &Ruleset, seen: &str, guard: &Guard) -> bool {
        let text = |value: &Value| match value {
            Value::Own(at) => self.text(own[*at as usize].value),
            Value::Text(text) => of(seen, *text),
        };
        rules.is_match(guard.rule, guard.values.iter().map(text))
    }

    /// Makes of a series what a plan that fits it says.
    ///
    /// # Errors
    ///
    /// As [`relabel`](Draft::relabel).
    pub(super) fn follow(&mut self, sample: u32, plan: &mut Plan, counts: &mut RelabelCounts) -> Edit<()> {
        match &plan.end {
            End::Same => Ok(()),
            End::Dropped => {
                counts.dropped += 1;
                self.drop_sample(sample);
                Ok(())
            }
            End::Changed { kept, labels, name } => {
                let base = match plan.now {
                    Now::Written(base) => base,
                    _ => self.write_for_plugin(&plan.given)?.start,
                };
                plan.now = Now::Written(base);
                let given = |text: &Text| Text { start: base + text.start, end: base + text.end };
                let own = self.samples[sample as usize].labels;
                let start = self.labels.len() as u32;
                self.labels.extend_from_within(own.start as usize..(own.start + kept) as usize);
                for (name, value) in labels {
                    let value = match value {
                        Value::Own(at) => self.labels[(own.start + at) as usize].value,
                        Value::Text(text) => given(text),
                    };
                    self.labels.push(Label { name: given(name), value });
                }
                self.samples[sample as usize].labels = Span { start, end: self.labels.len() as u32 };
                match name {
                    Some(name) => self.move_sample_to(sample, given(name)),
                    None => Ok(()),
                }
            }
        }
    }

    /// Begins to find out about a series that rules are to run over.
    pub(super) fn sketch(&self, sample: u32, plans: &Plans) -> Sketch {
        let is_empty = |label: &Label| label.value.len() == 0;
        Sketch {
            family: self.samples[sample as usize].family,
            own: self.samples[sample as usize].labels,
            guards: SmallVec::new(),
            values: SmallVec::new(),
            first_own: self.first_own(),
            groups: self.group.iter().filter(|label| !is_empty(label)).count(),
            reads_name: false,
            reads_group: self.group.iter().any(is_empty),
            is_void: plans.tries == 0 || self.own(sample).iter().any(is_empty),
        }
    }

    /// Makes a plan for series that rules drop, or leave as they are.
    pub(super) fn plan_end(&self, rules: &Ruleset, sketch: Sketch, plans: &mut Plans, is_dropped: bool) {
        if plans.pay_for(&sketch) {
            let end = if is_dropped { End::Dropped } else { End::Same };
            plans.put(self.plan(rules, sketch, String::new(), end));
        }
    }

    /// Makes a plan for series that rules change: what they made of this one's labels is in `fresh`, and it
    /// moved to the family `name` if to any. It is written down already.
    pub(super) fn plan_change(
        &self,
        rules: &Ruleset,
        mut sketch: Sketch,
        plans: &mut Plans,
        fresh: &Fresh,
        name: Option<Text>,
    ) {
        sketch.is_void |= sketch.groups > 0;
        if !plans.pay_for(&sketch) {
            return;
        }
        let own = &self.labels[sketch.own.range()];
        // Two values that are one piece of text need not be one in other series, so this is not enough.
        let is_kept =
            |(was, (now, own)): &(&Label, (&Label, &Option<u32>)), at| was == now && **own == Some(at);
        let left = own.iter().zip(fresh.labels.iter().zip(&sketch.values));
        let kept = left.zip(0..).take_while(|(label, at)| is_kept(label, *at)).count();
        let mut given = String::new();
        let value = |(label, own): (&Label, &Option<u32>)| {
            let name = put(&mut given, self.text(label.name));
            (name, own.map_or_else(|| Value::Text(put(&mut given, self.text(label.value))), Value::Own))
        };
        let labels = fresh.labels.iter().zip(&sketch.values).skip(kept).map(value).collect();
        let name = name.map(|name| put(&mut given, self.text(name)));
        plans.put(self.plan(rules, sketch, given, End::Changed { kept: kept as u32, labels, name }));
    }

    fn plan(&self, rules: &Ruleset, sketch: Sketch, given: String, end: End) -> Plan {
        let own = &self.labels[sketch.own.range()];
        let mut seen = String::new();
        let mut see = |text: Text| put(&mut seen, self.text(text));
        let names = own.iter().map(|label| see(label.name)).collect();
        let family = sketch.reads_name.then(|| see(self.family(sketch.family).name));
        let group = self.group.iter().map(|label| Label { name: see(label.name), value: see(label.value) });
        let group = group.collect();
        let mut guards = sketch.guards;
        for value in guards.iter_mut().flat_map(|guard| &mut guard.values) {
            if let Value::Text(text) = value {
                *text = see(*text);
            }
        }
        for guard in &mut guards {
            guard.matches = self.matches(own, rules, &seen, guard);
        }
        Plan {
            seen,
            given,
            names,
            family,
            group,
            reads_group: sketch.reads_group,
            guards,
            end,
            now: Now::Fits,
        }
    }
}

#[cfg(test)]
mod tests;

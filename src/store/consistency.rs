//! What makes a push inconsistent with what other groups hold: the checks of a change of shape.
//!
//! Two things are looked at, both local to the push. *Names*: a family name has one type across all
//! groups, and neither name of a summary or histogram and its `_sum`, `_count`, `_bucket` lines may be
//! another family. *Series*: since a series always contains its group's key, it can belong to another
//! group only if that group's key is the series restricted to a set of grouping label names in use.
//!
//! A [`Plan`] says what must be looked at and is made without claims; its check runs under them.

use super::claims::{Claimed, NAME_BYTES, Wanted};
use super::group::{Group, GroupState};
use super::hash;
use super::name_sets::Snapshot;
use super::shape::{FamilyShape, Shape, run_labels};
use super::{build, times};
use crate::format::quote::quoted;
use crate::model::{GroupingKey, MetricType};

/// Which series of the push a candidate could own too.
enum Which {
    All,
    /// Positions in the shape.
    These(Vec<u32>),
}

/// Another key that may own series of the push.
struct Candidate {
    key: GroupingKey,
    which: Which,
}

/// What a change of shape from `old` to `new` of the group `key` has to look at.
pub struct Plan<'p> {
    key: &'p GroupingKey,
    pub key_hash: u64,
    shape: &'p Shape,
    old: &'p GroupState,
    new: &'p GroupState,
    candidates: Vec<Candidate>,
    /// The key that shows the same two push times, if the group is new; see [`twin`].
    twin: Option<GroupingKey>,
}

/// Why a change is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The pushed families; the reference stamps the group's failure time for this.
    Families(String),
    /// What the reference would store to everybody's harm, the group's own push times among it: not even
    /// a failure is stamped.
    Traceless(String),
}

pub fn key_hash(key: &GroupingKey) -> u64 {
    key.labels().fold(0, |sum, (name, value)| sum.wrapping_add(hash::of_label(name, value)))
}

/// The one other key whose push times would be the same series: the same labels but for an empty
/// `instance`, which every series without an instance is given.
pub fn twin(key: &GroupingKey) -> Option<GroupingKey> {
    if key.is_bare() {
        // It shows no push times.
        return None;
    }
    let others = key.labels().filter(|label| label.0 != "job" && label.0 != "instance");
    match key.get("instance") {
        None => Some(GroupingKey::new(key.job(), others.chain([("instance", "")]))),
        Some("") => Some(GroupingKey::new(key.job(), others)),
        Some(_) => None,
    }
}

impl<'p> Plan<'p> {
    pub fn new(
        key: &'p GroupingKey,
        shape: &'p Shape,
        old: &'p GroupState,
        new: &'p GroupState,
        creates: bool,
        sets: &Snapshot,
    ) -> Plan<'p> {
        Plan {
            key,
            key_hash: key_hash(key),
            shape,
            old,
            new,
            candidates: candidates(key, shape, sets),
            twin: if creates { twin(key) } else { None },
        }
    }

    /// Everything the check will look at. The candidates' keys need no claim: a series lies in a family,
    /// and no group can gain or lose that family's series without claiming its name.
    pub fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        wanted.key(self.key_hash);
        self.twin.iter().for_each(|twin| wanted.key(key_hash(twin)));
        for family in self.shape.families() {
            let name = self.shape.name(family);
            wanted.name(name);
            suffixes(family.kind).iter().for_each(|suffix| wanted.name(&format!("{name}{suffix}")));
            stems(name).for_each(|stem| wanted.name(stem));
        }
        for name in self.dropped().map(|(name, _)| name) {
            wanted.name(name);
        }
        wanted
    }

    /// Families of the old state that the new one does not have.
    fn dropped(&self) -> impl Iterator<Item = (&'p str, MetricType)> {
        let all = self.old.families().map(|(held, _, family)| (held.block.shape.name(family), family.kind));
        all.filter(|(name, _)| self.new.find(name).is_none())
    }

    /// Pushed families that the old state does not hold with the same type, and the type it holds.
    fn added(&self) -> impl Iterator<Item = (&'p FamilyShape, Option<MetricType>)> {
        let shape = self.shape;
        let with_old = shape.families().iter().map(move |family| (family, self.old_kind(shape.name(family))));
        with_old.filter(|(family, old)| *old != Some(family.kind))
    }

    fn old_kind(&self, name: &str) -> Option<MetricType> {
        self.old.find(name).map(|(_, family)| family.kind)
    }

    /// Decides under `claimed`, which holds everything [`wanted`](Plan::wanted) named. `find` looks a
    /// group up.
    pub fn check(
        &self,
        claimed: &Claimed<'_>,
        find: impl Fn(&GroupingKey) -> Option<std::sync::Arc<Group>>,
    ) -> Result<(), Conflict> {
        self.check_times(&find)?;
        self.check_own(claimed)?;
        for (family, old) in self.added() {
            self.check_name(claimed, family, old)?;
        }
        self.check_series(find)
    }

    /// The one check that holds even where consistency is not asked for: of two groups with the same
    /// push times, one would break every scrape.
    pub fn check_times(
        &self,
        find: impl Fn(&GroupingKey) -> Option<std::sync::Arc<Group>>,
    ) -> Result<(), Conflict> {
        let Some(twin) = &self.twin else { return Ok(()) };
        if find(twin).is_none() {
            return Ok(());
        }
        let mut labels: Vec<_> = self.key.labels().collect();
        if self.key.get("instance").is_none() {
            labels.push(("instance", ""));
        }
        labels.sort_unstable();
        let series = build::series_text(MetricType::Gauge, labels.into_iter(), None);
        Err(Conflict::Traceless(format!(
            "collected metric {} {{ {series} in group {twin}}} was collected before with the same name and \
             label values",
            quoted(times::PUSH_TIME.as_bytes()),
        )))
    }

    fn check_own(&self, claimed: &Claimed<'_>) -> Result<(), Conflict> {
        for family in self.shape.families() {
            let name = self.shape.name(family);
            let Some(own) = claimed.own(name) else { continue };
            if own.kind != family.kind {
                let (is, should) = (family.kind.upper(), own.kind.upper());
                let text = format!("gathered metric family {name} has type {is} but should have {should}");
                return Err(Conflict::Families(text));
            }
            let help = self.shape.help(family).unwrap_or("");
            if let Some(own_help) = own.help.filter(|own_help| *own_help != help) {
                let (is, should) = (quoted(help.as_bytes()), quoted(own_help.as_bytes()));
                let text = format!("gathered metric family {name} has help {is} but should have {should}");
                return Err(Conflict::Families(text));
            }
        }
        Ok(())
    }

    fn check_name(
        &self,
        claimed: &Claimed<'_>,
        family: &FamilyShape,
        old: Option<MetricType>,
    ) -> Result<(), Conflict> {
        let (name, kind) = (self.shape.name(family), family.kind);
        let refuse = |text: String| Err(Conflict::Families(text));
        if let Some(other) = claimed.kinds(name, old).find(|other| *other != kind) {
            let text = format!("{} is not a {}", self.series_braces(family, 0, None), other.upper());
            return refuse(text);
        }
        for suffix in suffixes(kind) {
            let other = format!("{name}{suffix}");
            if self.kinds_after(claimed, &other).next().is_some() {
                let both = if *suffix == "_bucket" { "histogram" } else { "histogram or summary" };
                let (name, other) = (quoted(name.as_bytes()), quoted(other.as_bytes()));
                return refuse(format!(
                    "collected {both} named {name} collides with previously collected metric named {other}"
                ));
            }
        }
        for stem in stems(name) {
            let takes_it = |kind: &MetricType| {
                suffixes(*kind).iter().any(|suffix| name.strip_suffix(suffix) == Some(stem))
            };
            if let Some(kind) = self.kinds_after(claimed, stem).find(takes_it) {
                let (name, stem, kind) = (quoted(name.as_bytes()), quoted(stem.as_bytes()), kind.text());
                return refuse(format!(
                    "collected metric named {name} collides with previously collected {kind} named {stem}"
                ));
            }
        }
        let dropped = |other: &str| self.old_kind(other).is_some() && self.new.find(other).is_none();
        let alike = claimed.shown_alike(name, dropped);
        if let Some((other, form)) = alike.or_else(|| self.pushed_alike(name)) {
            let (name, other, form) =
                (quoted(name.as_bytes()), quoted(other.as_bytes()), quoted(form.as_bytes()));
            let text = format!("metric names {name} and {other} are both shown as {form}");
            return Err(Conflict::Traceless(text));
        }
        Ok(())
    }

    /// Another family of the same push that some scraper would be shown under the same name.
    fn pushed_alike(&self, name: &str) -> Option<(String, String)> {
        let forms = super::claims::forms(name);
        if forms.len() == 1 && !self.shape.families().iter().any(|family| family.exotic) {
            return None;
        }
        self.shape.families().iter().map(|family| self.shape.name(family)).find_map(|other| {
            let other_forms = super::claims::forms(other);
            let form = forms.iter().find(|form| other_forms.contains(form))?;
            (other != name).then(|| (other.to_string(), form.to_string()))
        })
    }

    /// The types under which `name` is in use once the change is made.
    fn kinds_after(&self, claimed: &Claimed<'_>, name: &str) -> impl Iterator<Item = MetricType> {
        let own = self.new.find(name).map(|(_, family)| family.kind);
        claimed.kinds(name, self.old_kind(name)).chain(own)
    }

    fn check_series(
        &self,
        find: impl Fn(&GroupingKey) -> Option<std::sync::Arc<Group>>,
    ) -> Result<(), Conflict> {
        for candidate in &self.candidates {
            let Some(group) = find(&candidate.key) else { continue };
            let Some(state) = group.load() else { continue };
            for family in self.shape.families() {
                let Some((held, other_family)) = state.find(self.shape.name(family)) else { continue };
                let other = &held.block.shape;
                for (run_hash, at) in &family.by_hash {
                    let position = family.series.start + at;
                    if !candidate.which.includes(position) {
                        continue;
                    }
                    // A label set's hash is the sum of its labels', so that the other group's share of
                    // this very series follows by subtraction.
                    let hash = run_hash.wrapping_add(self.key_hash).wrapping_sub(group.key_hash);
                    let own_labels = || all_labels(self.shape, position as usize, self.key);
                    let owned = other
                        .with_hash(other_family, hash)
                        .any(|at| all_labels(other, at, &group.key) == own_labels());
                    if owned {
                        let braces = self.series_braces(family, *at, Some(&group.key));
                        return Err(Conflict::Families(format!(
                            "{braces} was collected before with the same name and label values"
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    /// `collected metric "NAME" { SERIES}`, and inside the braces the group that has it, if another.
    fn series_braces(&self, family: &FamilyShape, at: u32, other: Option<&GroupingKey>) -> String {
        let name = quoted(self.shape.name(family).as_bytes());
        let position = (family.series.start + at) as usize;
        let labels =
            if family.series.is_empty() { Vec::new() } else { all_labels(self.shape, position, self.key) };
        let labels = labels.iter().map(|(name, value)| (&**name, &**value));
        let series = build::series_text(family.kind, labels, None);
        let group = other.map(|key| format!(" in group {key}")).unwrap_or_default();
        format!("collected metric {name} {{ {series}{group}}}")
    }

    /// Memory of the names that nobody held before the change.
    pub fn name_bytes(&self, claimed: &Claimed<'_>) -> i64 {
        let is_new = |family: &FamilyShape| !claimed.is_held(self.shape.name(family));
        self.added().filter(|(family, _)| is_new(family)).map(|_| NAME_BYTES).sum()
    }

    /// Enters the change into the name table; by how much that grows.
    pub fn book(&self, claimed: &mut Claimed<'_>) -> i64 {
        let mut bytes = 0;
        for (family, old) in self.added() {
            let name = self.shape.name(family);
            bytes -= old.map_or(0, |old| claimed.release(name, old));
            bytes += claimed.hold(name, family.kind);
        }
        for (name, kind) in self.dropped() {
            bytes -= claimed.release(name, kind);
        }
        bytes
    }
}

impl Which {
    fn includes(&self, position: u32) -> bool {
        match self {
            Which::All => true,
            Which::These(positions) => positions.binary_search(&position).is_ok(),
        }
    }
}

/// Names of lines that a family of this type shows beside those of its own name.
fn suffixes(kind: MetricType) -> &'static [&'static str] {
    match kind {
        MetricType::Summary => &["_sum", "_count"],
        MetricType::Histogram | MetricType::GaugeHistogram => &["_sum", "_count", "_bucket"],
        _ => &[],
    }
}

/// The names of summaries or histograms that would show lines called `name`.
fn stems(name: &str) -> impl Iterator<Item = &str> {
    ["_sum", "_count", "_bucket"].into_iter().filter_map(move |suffix| name.strip_suffix(suffix))
}

type OwnedLabel<'s> = (std::borrow::Cow<'s, str>, std::borrow::Cow<'s, str>);

/// The whole label set of a series, sorted by name.
pub fn all_labels<'s>(shape: &'s Shape, position: usize, key: &'s GroupingKey) -> Vec<OwnedLabel<'s>> {
    let (series, _) = shape.series_at(position);
    let grouping = key.labels().map(|(name, value)| (name.into(), value.into()));
    let mut labels: Vec<OwnedLabel<'s>> = run_labels(shape.run(series)).chain(grouping).collect();
    labels.sort_unstable();
    labels
}

/// Every other key in reach of the push: for each set of grouping label names in use, the series
/// restricted to it.
fn candidates(key: &GroupingKey, shape: &Shape, sets: &Snapshot) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    // Sets that reach outside the key's own names, with the names in question.
    let mut outer: Vec<(&super::name_sets::Names, Vec<&str>)> = Vec::new();
    for names in sets.sets() {
        let outside: Vec<&str> = names.iter().map(|n| &**n).filter(|name| key.get(name).is_none()).collect();
        if !outside.is_empty() {
            outer.push((names, outside));
        } else if names.len() < key.len() {
            found.push(Candidate { key: restrict(key, names, &[]), which: Which::All });
        }
    }
    if outer.is_empty() {
        return found;
    }
    let mut positions: std::collections::HashMap<GroupingKey, Vec<u32>, hash::Hashing> = Default::default();
    for position in 0..shape.series.len() {
        let labels: Vec<OwnedLabel<'_>> = run_labels(shape.run(&shape.series[position]))
            .filter(|label| outer.iter().any(|(_, outside)| outside.contains(&&*label.0)))
            .collect();
        for (names, outside) in &outer {
            let values: Vec<(&str, &str)> = labels
                .iter()
                .filter(|label| outside.contains(&&*label.0))
                .map(|label| (&*label.0, &*label.1))
                .collect();
            if values.len() == outside.len() {
                positions.entry(restrict(key, names, &values)).or_default().push(position as u32);
            }
        }
    }
    found.extend(positions.into_iter().map(|(key, which)| Candidate { key, which: Which::These(which) }));
    found
}

/// The key made of `names` with the values of `key` and `values`.
fn restrict(key: &GroupingKey, names: &[Box<str>], values: &[(&str, &str)]) -> GroupingKey {
    let inside = key.labels().filter(|label| names.iter().any(|name| **name == *label.0));
    // The job may be one of the values, if the key itself has none.
    let job = values.iter().find(|value| value.0 == "job").map_or(key.job(), |value| value.1);
    let job = if names.iter().any(|name| **name == *"job") { job } else { "" };
    GroupingKey::new(job, inside.chain(values.iter().copied()))
}

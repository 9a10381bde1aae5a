//! Striped claims on family names and grouping keys, and the name table that lies inside the stripes.
//!
//! A change of shape claims everything it looks at before it decides: names by their hash, keys by
//! theirs, both into one fixed array of stripes, always taken in index order, so nothing deadlocks. An
//! absent name or group is claimed like a present one, which is what keeps two pushes from slipping
//! past each other. Under a claim nothing waits for IO, calls a plugin or allocates without bound.
//!
//! Pushes of known shapes and scrapes never come here.

use std::sync::{Mutex, MutexGuard};

use smallvec::SmallVec;

use super::hash::{self, Map};
use crate::format::escape::{self, Escaping};
use crate::model::MetricType;
use crate::model::names::is_legacy_metric_name;

/// Enough that two of a handful of workers seldom meet; few enough to take all of them at once.
const STRIPES: usize = 256;

/// Memory of a name that some group holds, about: its entry here, and in the exposition's index its family
/// with a first segment.
pub const NAME_BYTES: i64 = 1024;

/// Number of metric types; [`MetricType`] is their index.
const TYPES: usize = 6;

/// One family name in use.
#[derive(Clone, Debug)]
struct Holders {
    name: Box<str>,
    /// How many groups hold it, by type.
    groups: [u32; TYPES],
    /// The type of our own family of this name, which no push can change.
    own: Option<Own>,
}

/// One of our own families, as far as pushes can collide with it.
#[derive(Clone, Debug)]
pub struct Own {
    pub kind: MetricType,
    /// Where a push of this name must bring our help to the letter.
    pub help: Option<&'static str>,
}

/// Every name is entered under each form in which some scraper is shown it; names of the old character
/// set have only one. So two names that would be shown alike meet under that form.
#[derive(Default)]
struct Stripe {
    names: Map<Box<str>, SmallVec<[Holders; 1]>>,
}

pub struct Claims {
    stripes: Box<[Mutex<Stripe>]>,
}

/// The stripes a change of shape needs.
#[derive(Default)]
pub struct Wanted(Vec<u16>);

impl Wanted {
    pub fn name(&mut self, name: &str) {
        for form in forms(name) {
            self.0.push(stripe_of(form.as_bytes()));
        }
    }

    /// Claims the key with this hash, whether or not such a group exists.
    pub fn key(&mut self, key_hash: u64) {
        self.0.push((key_hash % STRIPES as u64) as u16);
    }
}

/// The forms under which scrapers may be shown `name`, itself first.
pub fn forms(name: &str) -> SmallVec<[std::borrow::Cow<'_, str>; 4]> {
    let mut forms = SmallVec::new();
    forms.push(name.into());
    if !is_legacy_metric_name(name) {
        let schemes = [Escaping::Underscores, Escaping::Dots, Escaping::Values];
        forms.extend(schemes.map(|scheme| escape::escape_name(name, scheme)));
    }
    forms
}

fn stripe_of(form: &[u8]) -> u16 {
    (hash::of_bytes(form) % STRIPES as u64) as u16
}

impl Default for Claims {
    fn default() -> Claims {
        Claims { stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }
}

impl Claims {
    /// Takes the stripes, in index order.
    pub fn take(&self, wanted: &Wanted) -> Claimed<'_> {
        let mut positions = wanted.0.clone();
        positions.sort_unstable();
        positions.dedup();
        Claimed { held: positions.into_iter().map(|at| (at, self.lock(at))).collect() }
    }

    /// Takes every stripe, so that no shape changes until the result is dropped.
    pub fn take_all(&self) -> Claimed<'_> {
        Claimed { held: (0..STRIPES as u16).map(|at| (at, self.lock(at))).collect() }
    }

    fn lock(&self, at: u16) -> MutexGuard<'_, Stripe> {
        // A panic under a claim would be a bug; the counts are whole at every point where it could
        // strike, so the next push may go on.
        self.stripes[at as usize].lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Enters one of our own families.
    pub fn enter_own(&self, name: &'static str, own: Own) {
        let mut wanted = Wanted::default();
        wanted.name(name);
        self.take(&wanted).holders(name, |holders| holders.own = Some(own.clone()));
    }
}

/// Stripes held; they are given back when it is dropped.
pub struct Claimed<'c> {
    held: Vec<(u16, MutexGuard<'c, Stripe>)>,
}

impl Claimed<'_> {
    fn stripe(&self, form: &str) -> &Stripe {
        let at = stripe_of(form.as_bytes());
        let position = self.held.binary_search_by_key(&at, |held| held.0).expect("a name is claimed first");
        &self.held[position].1
    }

    fn stripe_mut(&mut self, form: &str) -> &mut Stripe {
        let at = stripe_of(form.as_bytes());
        let position = self.held.binary_search_by_key(&at, |held| held.0).expect("a name is claimed first");
        &mut self.held[position].1
    }

    fn get(&self, name: &str) -> Option<&Holders> {
        self.stripe(name).names.get(name)?.iter().find(|holders| *holders.name == *name)
    }

    /// Our own family of this name.
    pub fn own(&self, name: &str) -> Option<&Own> {
        self.get(name)?.own.as_ref()
    }

    /// The types under which `name` is held, `except` one hold of the given type. Ours count.
    pub fn kinds(&self, name: &str, except: Option<MetricType>) -> impl Iterator<Item = MetricType> {
        const ALL: [MetricType; TYPES] = [
            MetricType::Counter,
            MetricType::Gauge,
            MetricType::Summary,
            MetricType::Untyped,
            MetricType::Histogram,
            MetricType::GaugeHistogram,
        ];
        let holders = self.get(name).cloned();
        ALL.into_iter().filter(move |kind| {
            holders.as_ref().is_some_and(|holders| {
                let own = holders.own.as_ref().is_some_and(|own| own.kind == *kind);
                own || holders.groups[*kind as usize] > u32::from(except == Some(*kind))
            })
        })
    }

    /// Another name in use that some scraper would be shown as it is shown `name`, and the form.
    pub fn shown_alike(&self, name: &str, dropped: impl Fn(&str) -> bool) -> Option<(String, String)> {
        forms(name).iter().find_map(|form| {
            let others = self.stripe(form).names.get(&**form)?;
            let other = others.iter().find(|other| {
                let groups: u32 = other.groups.iter().sum();
                let left = groups.saturating_sub(u32::from(dropped(&other.name)));
                *other.name != *name && (left > 0 || other.own.is_some())
            })?;
            Some((other.name.to_string(), form.to_string()))
        })
    }

    /// Whether some group holds `name`.
    pub fn is_held(&self, name: &str) -> bool {
        self.get(name).is_some_and(|holders| holders.groups.iter().any(|groups| *groups > 0))
    }

    /// Counts one more group that holds `name` as `kind`; the memory that this takes.
    pub fn hold(&mut self, name: &str, kind: MetricType) -> i64 {
        let bytes = if self.is_held(name) { 0 } else { NAME_BYTES };
        self.holders(name, |holders| holders.groups[kind as usize] += 1);
        bytes
    }

    /// Counts one group less that holds `name` as `kind`; the memory that this gives back.
    pub fn release(&mut self, name: &str, kind: MetricType) -> i64 {
        self.holders(name, |holders| {
            debug_assert!(holders.groups[kind as usize] > 0, "{name} was not held");
            holders.groups[kind as usize] -= 1;
        });
        if self.is_held(name) { 0 } else { NAME_BYTES }
    }

    fn holders(&mut self, name: &str, change: impl Fn(&mut Holders)) {
        for form in forms(name) {
            let names = &mut self.stripe_mut(&form).names;
            if !names.contains_key(&*form) {
                names.insert(form.as_ref().into(), SmallVec::new());
            }
            let others = names.get_mut(&*form).expect("entered above");
            let at = others.iter().position(|holders| *holders.name == *name).unwrap_or_else(|| {
                others.push(Holders { name: name.into(), groups: [0; TYPES], own: None });
                others.len() - 1
            });
            change(&mut others[at]);
            if others[at].own.is_none() && others[at].groups.iter().all(|groups| *groups == 0) {
                others.swap_remove(at);
            }
            if others.is_empty() {
                names.remove(&*form);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed<'c>(claims: &'c Claims, names: &[&str]) -> Claimed<'c> {
        let mut wanted = Wanted::default();
        names.iter().for_each(|name| wanted.name(name));
        claims.take(&wanted)
    }

    #[test]
    fn a_name_is_held_until_its_last_group_goes() {
        let claims = Claims::default();
        let mut held = claimed(&claims, &["x"]);
        held.hold("x", MetricType::Counter);
        held.hold("x", MetricType::Counter);
        let kinds = |held: &Claimed<'_>, except| held.kinds("x", except).collect::<Vec<_>>();
        assert_eq!(kinds(&held, Some(MetricType::Counter)), [MetricType::Counter]);
        held.release("x", MetricType::Counter);
        assert_eq!(kinds(&held, None), [MetricType::Counter]);
        assert_eq!(kinds(&held, Some(MetricType::Counter)), []);
        held.release("x", MetricType::Counter);
        assert_eq!(kinds(&held, None), []);
        assert!(held.stripe("x").names.is_empty());
    }

    #[test]
    fn names_that_are_shown_alike_meet() {
        let claims = Claims::default();
        let mut held = claimed(&claims, &["a.b", "a_b", "a-b", "c"]);
        held.hold("a.b", MetricType::Gauge);
        let alike = |name: &str| held.shown_alike(name, |_| false).map(|pair| pair.0);
        assert_eq!(alike("a_b").as_deref(), Some("a.b"));
        assert_eq!(alike("a-b").as_deref(), Some("a.b"));
        assert_eq!(alike("a.b"), None);
        assert_eq!(alike("c"), None);
        assert!(held.shown_alike("a_b", |dropped| dropped == "a.b").is_none());
    }

    #[test]
    fn our_own_names_stay_ours() {
        let claims = Claims::default();
        claims.enter_own("up", Own { kind: MetricType::Gauge, help: None });
        let held = claimed(&claims, &["up"]);
        assert_eq!(held.kinds("up", None).collect::<Vec<_>>(), [MetricType::Gauge]);
        assert!(held.own("up").is_some());
    }
}

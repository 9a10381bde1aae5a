//! The ordered index of what is exposed: families by name, their segments, and for each group where its
//! fragments are.
//!
//! # Invariants
//!
//! 1. A group has exactly one fragment for each visible family of its recorded state, one for each of the
//!    two push time families, and one for the overdue family if its state is flagged at its end.
//! 2. A segment's kept bytes show the recorded states.
//! 3. Of the families of one name but different types (only where pushes are not checked) the one that
//!    came first is shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::heat::Heat;
use super::negotiate::Wanted;
use super::owners::Owners;
use super::segment::{Fragment, Segment};
use crate::model::MetricType;
use crate::store::group::{Group, GroupState};
use crate::store::series_id;
use crate::store::times;

/// [`Fragment::block`] of a line that a field of the state makes, not a stored family.
pub(super) const TIME: u32 = u32::MAX;

/// Numbers of the families that fields of states make, which are entered first and never removed.
pub(super) const PUSH_TIME: u32 = 0;
pub(super) const FAILURE_TIME: u32 = 1;
pub(super) const OVERDUE: u32 = 2;

/// A family's place in the order, and its number.
type Order = BTreeMap<(Box<str>, MetricType), u32>;

#[derive(Debug)]
pub(super) struct FamilyIndex {
    pub(super) name: Box<str>,
    pub(super) kind: MetricType,
    pub(super) exotic: bool,
    /// Raised with each new family: the smaller, the older.
    pub(super) since: u64,
    pub(super) segments: Vec<Segment>,
    /// Segments that may have room: those of quiet groups, and those of groups that change often.
    open: [Vec<u32>; 2],
    pub(super) fragments: usize,
    /// The segment that begins with the header, and the help it shows if that is our own.
    pub(super) lead: Option<u32>,
}

/// Where a fragment is.
#[derive(Clone, Copy, Debug)]
struct Place {
    family: u32,
    segment: u32,
}

pub(super) struct Record {
    pub(super) group: Arc<Group>,
    pub(super) state: GroupState,
    /// The push time families, then the visible families in the order of [`GroupState::families`].
    places: Vec<Place>,
    heat: Heat,
}

/// See the module.
pub struct Index {
    groups: Vec<Option<Record>>,
    free_groups: Vec<u32>,
    /// From a group's address to its number. The record keeps the group alive, so that the address
    /// stays its own.
    numbers: HashMap<usize, u32>,
    pub(super) families: Vec<Option<FamilyIndex>>,
    free_families: Vec<u32>,
    pub(super) order: Order,
    next_since: u64,
    /// Set where pushes are not checked against other groups.
    pub(super) owners: Option<Owners>,
    /// Raised whenever something that is shown changes.
    version: u64,
    /// Raised with each scrape: the clock by which groups are found to change often.
    round: u32,
    /// Groups that changed since the last scrape, as often as they did.
    changed: Vec<u32>,
    /// Groups whose fragments stand among those that change often.
    hot: Vec<u32>,
    /// Where groups that are flagged at their end say whether that has come.
    overdue: HashMap<u32, Place>,
}

/// What an update changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Values,
    Shape,
}

impl Index {
    /// An empty index; `checked` says whether the store keeps groups from contradicting each other.
    pub fn new(checked: bool) -> Index {
        let mut index = Index {
            groups: Vec::new(),
            free_groups: Vec::new(),
            numbers: HashMap::new(),
            families: Vec::new(),
            free_families: Vec::new(),
            order: BTreeMap::new(),
            next_since: 0,
            owners: (!checked).then(Owners::default),
            version: 0,
            round: 0,
            changed: Vec::new(),
            hot: Vec::new(),
            overdue: HashMap::new(),
        };
        assert_eq!(index.family(times::PUSH_TIME, MetricType::Gauge), PUSH_TIME);
        assert_eq!(index.family(times::PUSH_FAILURE_TIME, MetricType::Gauge), FAILURE_TIME);
        assert_eq!(index.family(times::OVERDUE, MetricType::Gauge), OVERDUE);
        index
    }

    /// Series that are not shown because another group shows the same.
    pub fn hidden_series(&self) -> usize {
        self.owners.as_ref().map_or(0, Owners::hidden)
    }

    /// Brings the index up to the group's present state.
    pub fn update(&mut self, group: &Arc<Group>) -> Change {
        let known = self.numbers.get(&(Arc::as_ptr(group) as usize)).copied();
        self.version += 1;
        match (group.load(), known) {
            (None, None) => Change::Values,
            (None, Some(number)) => {
                self.remove(number);
                Change::Shape
            }
            (Some(state), None) => {
                self.insert(group, state);
                Change::Shape
            }
            (Some(state), Some(number)) => {
                if self.record(number).state.same_shape(&state) {
                    self.change_values(number, state);
                    Change::Values
                } else {
                    self.reshape(number, state);
                    Change::Shape
                }
            }
        }
    }

    pub(super) fn record(&self, number: u32) -> &Record {
        self.groups[number as usize].as_ref().expect("numbers lead to records")
    }

    fn insert(&mut self, group: &Arc<Group>, state: GroupState) {
        let record = Record {
            group: group.clone(),
            state: GroupState::default(),
            places: Vec::new(),
            heat: Heat::default(),
        };
        let number = match self.free_groups.pop() {
            Some(number) => {
                self.groups[number as usize] = Some(record);
                number
            }
            None => {
                self.groups.push(Some(record));
                self.groups.len() as u32 - 1
            }
        };
        self.numbers.insert(Arc::as_ptr(group) as usize, number);
        let fragment = field_fragment(number, group);
        let places = vec![self.add(PUSH_TIME, fragment, false), self.add(FAILURE_TIME, fragment, false)];
        self.groups[number as usize].as_mut().expect("just entered").places = places;
        self.reshape(number, state);
    }

    fn remove(&mut self, number: u32) {
        self.reshape(number, GroupState::default());
        let record = self.groups[number as usize].take().expect("numbers lead to records");
        for place in record.places {
            self.take_out(place, number);
        }
        self.numbers.remove(&(Arc::as_ptr(&record.group) as usize));
        self.free_groups.push(number);
    }

    /// Makes dirty what the new values change.
    fn change_values(&mut self, number: u32, state: GroupState) {
        let record = self.groups[number as usize].as_mut().expect("numbers lead to records");
        let old = std::mem::replace(&mut record.state, state);
        let new = &record.state;
        let mut touched: smallvec::SmallVec<[Place; 16]> = smallvec::SmallVec::new();
        if old.push_time != new.push_time {
            touched.push(record.places[PUSH_TIME as usize]);
        }
        if old.failure_time != new.failure_time {
            touched.push(record.places[FAILURE_TIME as usize]);
        }
        let families = new.families().zip(old.families());
        for (((held, _, family), (old_held, _, _)), place) in families.zip(&record.places[2..]) {
            let (block, old_block) = (&held.block, &old_held.block);
            if Arc::ptr_eq(block, old_block) {
                continue;
            }
            let values = block.shape.values_of(family);
            let details = !block.details.is_empty() || !old_block.details.is_empty();
            if details || block.values[values.clone()] != old_block.values[values] {
                touched.push(*place);
            }
        }
        let was_overdue = old.life.is_overdue();
        if record.heat.change(self.round) {
            self.changed.push(number);
        }
        for place in touched {
            self.segment(place).touch();
        }
        self.show_overdue(number, was_overdue);
    }

    /// Brings the overdue family up to what the group's recorded state says, which it did before.
    fn show_overdue(&mut self, number: u32, was_overdue: bool) {
        let life = self.record(number).state.life;
        let place = self.overdue.get(&number).copied();
        match (place, life.is_flagged()) {
            (None, false) => {}
            (Some(_), true) if life.is_overdue() == was_overdue => {}
            (Some(place), true) => self.segment(place).touch(),
            (None, true) => {
                let fragment = field_fragment(number, &self.record(number).group);
                let place = self.add(OVERDUE, fragment, false);
                self.overdue.insert(number, place);
            }
            (Some(place), false) => {
                self.take_out(place, number);
                self.overdue.remove(&number);
            }
        }
    }

    /// Ends a round: groups that changed in one scrape interval after the other are gathered in
    /// segments of their own, so that a few busy groups make few segments dirty. Where most groups are
    /// busy, gathering them would gain nothing.
    pub fn end_round(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        if changed.len() * 4 <= self.numbers.len() {
            for number in changed {
                // It may have gone since, and its number may have become another's.
                let heat = self.groups[number as usize].as_ref().map(|record| record.heat);
                if heat.is_some_and(|heat| heat.wants_to_move(self.round)) {
                    self.move_to(number, true);
                    self.hot.push(number);
                }
            }
        }
        self.round += 1;
        if self.round.is_multiple_of(Heat::COOLING_ROUNDS) {
            for number in std::mem::take(&mut self.hot) {
                match self.groups[number as usize].as_ref().map(|record| record.heat) {
                    Some(heat) if heat.is_hot() && heat.has_cooled(self.round) => self.move_to(number, false),
                    Some(heat) if heat.is_hot() => self.hot.push(number),
                    _ => {}
                }
            }
        }
    }

    /// Moves all fragments of a group among those that change often, or back.
    fn move_to(&mut self, number: u32, hot: bool) {
        let mut record = self.groups[number as usize].take().expect("numbers lead to records");
        for place in &mut record.places {
            // A family of one fragment would go and come back with another number.
            let index = self.families[place.family as usize].as_mut().expect("numbers lead to families");
            index.fragments += 1;
            let fragment = self.take_out(*place, number);
            *place = self.add(place.family, fragment, hot);
            self.families[place.family as usize].as_mut().expect("still there").fragments -= 1;
        }
        record.heat.moved(hot);
        self.groups[number as usize] = Some(record);
    }

    /// Moves the group's fragments from its recorded state's families to those of `state`.
    fn reshape(&mut self, number: u32, state: GroupState) {
        let mut record = self.groups[number as usize].take().expect("numbers lead to records");
        self.disown(number, &record);
        let old_places = record.places.split_off(2);
        let mut old: HashMap<u32, Place> =
            old_places.into_iter().map(|place| (place.family, place)).collect();
        for place in &record.places {
            self.segment(*place).touch();
        }
        for (at, held) in state.blocks.iter().enumerate() {
            let shape = &held.block.shape;
            for (family_at, family) in held.families() {
                let id = self.family(shape.name(family), family.kind);
                let lines = shape.values_of(family).len();
                let line = shape.name(family).len() + record.group.key_text.all().len() + 16;
                let fragment = Fragment {
                    group: number,
                    block: at as u32,
                    family: family_at as u32,
                    bytes: (shape.run_bytes(family) + lines * line) as u32,
                    exotic: family.exotic,
                };
                let place = match old.remove(&id) {
                    Some(place) => {
                        self.segment(place).replace(fragment);
                        place
                    }
                    None => self.add(id, fragment, record.heat.is_hot()),
                };
                record.places.push(place);
            }
        }
        let was_overdue = record.state.life.is_overdue();
        record.state = state;
        self.own(number, &record);
        self.groups[number as usize] = Some(record);
        for place in old.into_values() {
            self.take_out(place, number);
        }
        self.show_overdue(number, was_overdue);
    }

    /// Gives up the group's series, so that hidden rivals come to the fore.
    fn disown(&mut self, number: u32, record: &Record) {
        let Some(owners) = &mut self.owners else { return };
        let mut risen = Vec::new();
        for (series, name) in series_of(record) {
            risen.extend(owners.remove(series, number).map(|rival| (rival, name)));
        }
        for (rival, name) in risen {
            let Some(record) = self.groups[rival as usize].as_ref() else { continue };
            let families = record.state.families().zip(&record.places[2..]);
            let place =
                families.into_iter().find(|((held, _, family), _)| held.block.shape.name(family) == name);
            if let Some((_, place)) = place {
                let place = *place;
                self.segment(place).touch();
            }
        }
    }

    fn own(&mut self, number: u32, record: &Record) {
        let Some(owners) = &mut self.owners else { return };
        for (series, _) in series_of(record) {
            owners.add(series, number);
        }
    }

    /// The number of a family, entered if it is new.
    fn family(&mut self, name: &str, kind: MetricType) -> u32 {
        // A range look-up would spare the allocation; families are entered when shapes change only.
        let key = (Box::from(name), kind);
        if let Some(number) = self.order.get(&key) {
            return *number;
        }
        let family = FamilyIndex {
            name: key.0.clone(),
            kind,
            exotic: !crate::model::names::is_legacy_metric_name(name),
            since: self.next_since,
            segments: Vec::new(),
            open: Default::default(),
            fragments: 0,
            lead: None,
        };
        self.next_since += 1;
        let number = match self.free_families.pop() {
            Some(number) => {
                self.families[number as usize] = Some(family);
                number
            }
            None => {
                self.families.push(Some(family));
                self.families.len() as u32 - 1
            }
        };
        self.order.insert(key, number);
        number
    }

    fn add(&mut self, family: u32, fragment: Fragment, hot: bool) -> Place {
        let index = self.families[family as usize].as_mut().expect("numbers lead to families");
        let open = &mut index.open[usize::from(hot)];
        while open.last().is_some_and(|open| !index.segments[*open as usize].has_room()) {
            open.pop();
        }
        let segment = match open.last() {
            Some(open) => *open,
            None => {
                index.segments.push(Segment::new(hot));
                open.push(index.segments.len() as u32 - 1);
                index.segments.len() as u32 - 1
            }
        };
        index.segments[segment as usize].add(fragment);
        index.fragments += 1;
        Place { family, segment }
    }

    fn take_out(&mut self, place: Place, group: u32) -> Fragment {
        let index = self.families[place.family as usize].as_mut().expect("numbers lead to families");
        let segment = &mut index.segments[place.segment as usize];
        let was_full = !segment.has_room();
        let fragment = segment.remove(group);
        if was_full && segment.has_room() {
            index.open[usize::from(segment.hot)].push(place.segment);
        }
        index.fragments -= 1;
        if index.fragments == 0 && place.family > OVERDUE {
            let gone = self.families[place.family as usize].take().expect("looked at above");
            self.order.remove(&(gone.name, gone.kind));
            self.free_families.push(place.family);
        }
        fragment
    }

    fn segment(&mut self, place: Place) -> &mut Segment {
        let index = self.families[place.family as usize].as_mut().expect("numbers lead to families");
        &mut index.segments[place.segment as usize]
    }

    /// A number that changes whenever something pushed, and so shown, changes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Forgets the bytes kept for answers that `stays` does not name.
    pub fn forget(&mut self, stays: impl Fn(Wanted) -> bool) {
        for segment in self.families.iter_mut().flatten().flat_map(|family| &mut family.segments) {
            segment.forget(&stays);
        }
    }

    /// How many bytes of segments are kept.
    pub fn kept_bytes(&self) -> usize {
        let families = self.families.iter().flatten();
        families.flat_map(|family| &family.segments).map(Segment::kept_bytes).sum()
    }
}

/// The fragment of a line that a field of the group's state makes.
fn field_fragment(number: u32, group: &Group) -> Fragment {
    let bytes = (64 + group.key_text.all().len()) as u32;
    let exotic = !group.key.labels().all(|(name, _)| crate::model::names::is_legacy_metric_name(name));
    Fragment { group: number, block: TIME, family: 0, bytes, exotic }
}

/// The identity of each series that a record holds, with its family's name.
fn series_of(record: &Record) -> impl Iterator<Item = (u64, &str)> {
    record.state.families().flat_map(move |(held, _, family)| {
        let (shape, name) = (&*held.block.shape, held.block.shape.name(family));
        family.series.range().map(move |at| (series_id(name, shape, at, &record.group), name))
    })
}

//! The ordered index of what is exposed: families by name, their segments, and for each group where its
//! fragments are.
//!
//! # Invariants
//!
//! 1. A group has exactly one fragment for each visible family of its recorded state, and one for each
//!    of the two push time families.
//! 2. A segment's kept bytes show the recorded states.
//! 3. Of the families of one name but different types (only where pushes are not checked) the one that
//!    came first is shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::negotiate::{Form, Format};
use super::own;
use super::owners::Owners;
use super::protobuf;
use super::prototext;
use super::segment::{Fragment, Segment};
use super::text;
use crate::model::MetricType;
use crate::store::group::{Block, Group, GroupState};
use crate::store::series_id;
use crate::store::shape::FamilyShape;
use crate::store::times;
use crate::telemetry::OwnFamily;

/// [`Fragment::block`] of a line of one of the two push time families.
const TIME: u32 = u32::MAX;

/// Numbers of the push time families, which are entered first and never removed.
const PUSH_TIME: u32 = 0;
const FAILURE_TIME: u32 = 1;

/// A family's place in the order, and its number.
type Order = BTreeMap<(Box<str>, MetricType), u32>;

#[derive(Debug)]
struct FamilyIndex {
    name: Box<str>,
    kind: MetricType,
    exotic: bool,
    /// Raised with each new family: the smaller, the older.
    since: u64,
    segments: Vec<Segment>,
    /// Segments that may have room.
    open: Vec<u32>,
    fragments: usize,
    /// The segment that begins with the header, and the help it shows if that is our own.
    lead: Option<u32>,
}

/// Where a fragment is.
#[derive(Clone, Copy, Debug)]
struct Place {
    family: u32,
    segment: u32,
}

struct Record {
    group: Arc<Group>,
    state: GroupState,
    /// The push time families, then the visible families in the order of [`GroupState::families`].
    places: Vec<Place>,
}

/// See the module.
pub struct Index {
    groups: Vec<Option<Record>>,
    free_groups: Vec<u32>,
    /// From a group's address to its number. The record keeps the group alive, so that the address
    /// stays its own.
    numbers: HashMap<usize, u32>,
    families: Vec<Option<FamilyIndex>>,
    free_families: Vec<u32>,
    order: Order,
    next_since: u64,
    /// Set where pushes are not checked against other groups.
    owners: Option<Owners>,
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
        };
        assert_eq!(index.family(times::PUSH_TIME, MetricType::Gauge), PUSH_TIME);
        assert_eq!(index.family(times::PUSH_FAILURE_TIME, MetricType::Gauge), FAILURE_TIME);
        index
    }

    /// Series that are not shown because another group shows the same.
    pub fn hidden_series(&self) -> usize {
        self.owners.as_ref().map_or(0, Owners::hidden)
    }

    /// Brings the index up to the group's present state.
    pub fn update(&mut self, group: &Arc<Group>) -> Change {
        let known = self.numbers.get(&(Arc::as_ptr(group) as usize)).copied();
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

    fn record(&self, number: u32) -> &Record {
        self.groups[number as usize].as_ref().expect("numbers lead to records")
    }

    fn insert(&mut self, group: &Arc<Group>, state: GroupState) {
        let record = Record { group: group.clone(), state: GroupState::default(), places: Vec::new() };
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
        let bytes = (64 + group.key_text.all().len()) as u32;
        let exotic = !group.key.labels().all(|(name, _)| crate::model::names::is_legacy_metric_name(name));
        let fragment = Fragment { group: number, block: TIME, family: 0, bytes, exotic };
        let places = vec![self.add(PUSH_TIME, fragment), self.add(FAILURE_TIME, fragment)];
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
        for place in touched {
            self.segment(place).touch();
        }
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
                    None => self.add(id, fragment),
                };
                record.places.push(place);
            }
        }
        record.state = state;
        self.own(number, &record);
        self.groups[number as usize] = Some(record);
        for place in old.into_values() {
            self.take_out(place, number);
        }
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
            open: Vec::new(),
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

    fn add(&mut self, family: u32, fragment: Fragment) -> Place {
        let index = self.families[family as usize].as_mut().expect("numbers lead to families");
        while index.open.last().is_some_and(|open| !index.segments[*open as usize].has_room()) {
            index.open.pop();
        }
        let segment = match index.open.last() {
            Some(open) => *open,
            None => {
                index.segments.push(Segment::default());
                index.open.push(index.segments.len() as u32 - 1);
                index.segments.len() as u32 - 1
            }
        };
        index.segments[segment as usize].add(fragment);
        index.fragments += 1;
        Place { family, segment }
    }

    fn take_out(&mut self, place: Place, group: u32) {
        let index = self.families[place.family as usize].as_mut().expect("numbers lead to families");
        let segment = &mut index.segments[place.segment as usize];
        let was_full = !segment.has_room();
        segment.remove(group);
        if was_full && segment.has_room() {
            index.open.push(place.segment);
        }
        index.fragments -= 1;
        if index.fragments == 0 && place.family > FAILURE_TIME {
            let gone = self.families[place.family as usize].take().expect("looked at above");
            self.order.remove(&(gone.name, gone.kind));
            self.free_families.push(place.family);
        }
    }

    fn segment(&mut self, place: Place) -> &mut Segment {
        let index = self.families[place.family as usize].as_mut().expect("numbers lead to families");
        &mut index.segments[place.segment as usize]
    }

    /// The whole exposition in `form`, our own families among the pushed ones.
    pub fn expose(&mut self, form: Form, own: &[OwnFamily]) -> Vec<Bytes> {
        if matches!(form.format, Format::ProtoText | Format::ProtoCompact) {
            // Asked for by people, not by scrapers: made anew each time.
            let delimited = self.expose(Form { format: Format::ProtoDelimited, ..form }, own);
            return vec![prototext::of_delimited(&delimited.concat(), form.format).into()];
        }
        let shown = self.shown(own);
        let mut slices = Vec::with_capacity(shown.len() * 2 + own.len());
        let mut own = own.iter().peekable();
        for number in shown {
            let mut family = self.families[number as usize].take().expect("numbers lead to families");
            while let Some(before) = own.next_if(|own| *own.name < *family.name) {
                expose_own(form, before, &mut slices);
            }
            let same = own.next_if(|own| *own.name == *family.name);
            match form.format {
                Format::Text => self.expose_text(form, &mut family, same, &mut slices),
                _ => self.expose_delimited(form, &mut family, same, &mut slices),
            }
            self.families[number as usize] = Some(family);
        }
        own.for_each(|own| expose_own(form, own, &mut slices));
        slices.retain(|slice| !slice.is_empty());
        slices
    }

    /// The lines of a family. The header is part of its first segment.
    fn expose_text(
        &self,
        form: Form,
        family: &mut FamilyIndex,
        own: Option<&OwnFamily>,
        slices: &mut Vec<Bytes>,
    ) {
        let lead = family.segments.iter().position(|segment| !segment.is_empty()).map(|at| at as u32);
        if lead != family.lead {
            for lead in [family.lead, lead].into_iter().flatten() {
                family.segments[lead as usize].touch();
            }
            family.lead = lead;
        }
        for (at, segment) in family.segments.iter_mut().enumerate() {
            if segment.is_empty() {
                continue;
            }
            let leads = lead == Some(at as u32);
            let capacity = segment.bytes + segment.bytes / 8;
            slices.push(segment.rendered(form, family.exotic, |fragments| {
                let mut out = Vec::with_capacity(capacity);
                if leads {
                    let help =
                        own.map(|own| own.help).or_else(|| self.help(family.kind, &family.name, fragments));
                    text::write_header(&mut out, &family.name, help, family.kind, form.escaping);
                }
                for fragment in fragments {
                    self.write_fragment(&mut out, form, &family.name, fragment);
                }
                out.shrink_to_fit();
                out.into()
            }));
        }
        if let Some(own) = own {
            slices.push(own::text(form, own, lead.is_none()));
        }
    }

    /// A family as one message behind its length. Its head is a slice of its own, since the length is
    /// known only when all series are there.
    fn expose_delimited(
        &self,
        form: Form,
        family: &mut FamilyIndex,
        own: Option<&OwnFamily>,
        slices: &mut Vec<Bytes>,
    ) {
        let mut help = own.map(|own| own.help);
        let head = slices.len();
        slices.push(Bytes::new());
        for segment in family.segments.iter_mut().filter(|segment| !segment.is_empty()) {
            help = help.or_else(|| self.help(family.kind, &family.name, &segment.fragments));
            slices.push(segment.rendered(form, false, |fragments| {
                let mut writer = protobuf::Writer::default();
                for fragment in fragments {
                    self.write_metrics(&mut writer, form, &family.name, fragment);
                }
                writer.finish().into()
            }));
        }
        slices.extend(own.map(own::metrics));
        let len = slices[head..].iter().map(Bytes::len).sum();
        if len > 0 {
            slices[head] = protobuf::head(&family.name, help, family.kind, form.escaping, len).into();
        }
    }

    /// The families to show, in order: all of them, except where unchecked pushes contradict.
    fn shown(&self, own: &[OwnFamily]) -> Vec<u32> {
        let index =
            |number: &u32| self.families[*number as usize].as_ref().expect("numbers lead to families");
        let filled = self.order.values().copied().filter(|number| index(number).fragments > 0);
        if self.owners.is_none() {
            return filled.collect();
        }
        let mut shown: Vec<u32> = Vec::new();
        for number in filled {
            let family = index(&number);
            let own_kind = own.binary_search_by(|own| own.name.cmp(&family.name)).map(|at| own[at].kind);
            if own_kind.is_ok_and(|kind| kind != family.kind) {
                continue;
            }
            match shown.last_mut() {
                Some(last) if index(last).name == family.name => {
                    if family.since < index(last).since {
                        *last = number;
                    }
                }
                _ => shown.push(number),
            }
        }
        // A name that is also a line of a summary or histogram gives way to it.
        let collides = |family: &FamilyIndex| {
            ["_sum", "_count", "_bucket"].iter().any(|suffix| {
                let Some(stem) = family.name.strip_suffix(suffix) else { return false };
                shown.iter().any(|other| {
                    let other = index(other);
                    let lines = match other.kind {
                        MetricType::Summary => *suffix != "_bucket",
                        kind => kind.has_buckets(),
                    };
                    *other.name == *stem && lines
                })
            })
        };
        shown.iter().copied().filter(|number| !collides(index(number))).collect()
    }

    /// The help in force: that of the first group that brings one.
    fn help<'i>(&'i self, kind: MetricType, name: &str, fragments: &[Fragment]) -> Option<&'i str> {
        if kind == MetricType::Gauge && name == times::PUSH_TIME {
            return Some(times::PUSH_TIME_HELP);
        }
        if kind == MetricType::Gauge && name == times::PUSH_FAILURE_TIME {
            return Some(times::PUSH_FAILURE_TIME_HELP);
        }
        fragments.iter().find_map(|fragment| {
            let (_, block, family) = self.family_of(fragment);
            block.shape.help(family)
        })
    }

    fn family_of(&self, fragment: &Fragment) -> (&Record, &Block, &FamilyShape) {
        let record = self.record(fragment.group);
        let block = &record.state.blocks[fragment.block as usize].block;
        (record, block, &block.shape.families()[fragment.family as usize])
    }

    /// Writes the lines of a fragment.
    fn write_fragment(&self, out: &mut Vec<u8>, form: Form, name: &str, fragment: &Fragment) {
        if fragment.block == TIME {
            let (group, seconds) = self.time_of(name, fragment);
            text::write_time(out, name, group, seconds, form.escaping);
            return;
        }
        let (record, block, family) = self.family_of(fragment);
        let shown = |position| self.shows(name, fragment, position);
        text::write_fragment(out, &record.group, block, family, form.escaping, shown);
    }

    /// Writes a fragment as `metric` fields of its family's message.
    fn write_metrics(&self, writer: &mut protobuf::Writer, form: Form, name: &str, fragment: &Fragment) {
        if fragment.block == TIME {
            let (group, seconds) = self.time_of(name, fragment);
            protobuf::write_time(writer, group, seconds, form.escaping);
            return;
        }
        let (record, block, family) = self.family_of(fragment);
        let shown = |position| self.shows(name, fragment, position);
        protobuf::write_fragment(writer, &record.group, block, family, form.escaping, shown);
    }

    /// The group of a fragment of the push time family `name`, and its time.
    fn time_of(&self, name: &str, fragment: &Fragment) -> (&Group, f64) {
        let Record { group, state, .. } = self.record(fragment.group);
        let time = if name == times::PUSH_TIME { state.push_time } else { state.failure_time };
        (group, time.seconds())
    }

    /// Whether the series at `position` of a fragment's shape is shown.
    fn shows(&self, name: &str, fragment: &Fragment, position: usize) -> bool {
        let (record, block, _) = self.family_of(fragment);
        self.owners.as_ref().is_none_or(|owners| {
            owners.shows(series_id(name, &block.shape, position, &record.group), fragment.group)
        })
    }
}

/// One of our own families that nobody pushes.
fn expose_own(form: Form, own: &OwnFamily, slices: &mut Vec<Bytes>) {
    if form.format == Format::Text {
        slices.push(own::text(form, own, true));
        return;
    }
    let metrics = own::metrics(own);
    if !metrics.is_empty() {
        let help = Some(own.help);
        slices.push(protobuf::head(own.name, help, own.kind, form.escaping, metrics.len()).into());
        slices.push(metrics);
    }
}

/// The identity of each series that a record holds, with its family's name.
fn series_of(record: &Record) -> impl Iterator<Item = (u64, &str)> {
    record.state.families().flat_map(move |(held, _, family)| {
        let (shape, name) = (&*held.block.shape, held.block.shape.name(family));
        family.series.range().map(move |at| (series_id(name, shape, at, &record.group), name))
    })
}

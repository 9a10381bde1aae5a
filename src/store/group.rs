//! One group: a stable cell in the map, and the immutable state it points to.
//!
//! A state is a short list of shared blocks; a block is what one push stored. A POST adds its block and
//! hides the families it replaces in the others, without touching them. Publishing a state is one
//! pointer swap, so a push is seen whole or not at all.
//!
//! # Invariants
//!
//! 1. No two visible families of a state have the same name.
//! 2. Every held block has at least one visible family.
//! 3. Every block's shape was made for the grouping names of the group's key.
//! 4. A sealed cell is out of the map or about to be, and its state never changes again.

use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

use super::alarms;
use super::feed::Mark;
use super::hash;
use super::keys::Keys;
use super::life::Life;
use super::published::Published;
use super::shape::{FamilyShape, KnownTemplate, Shape};
use crate::clock::UnixNanos;
use crate::format::escape;
use crate::model::memory::held_by;
use crate::model::{Detail, GroupingKey};

/// How many readers can follow the changes of groups.
pub const READERS: usize = 2;

/// The renderer's place among the readers. It always follows.
pub const RENDERER: usize = 0;

/// The place of whoever keeps groups across restarts; it follows if the store was told so.
pub const KEEPER: usize = 1;

/// The map's value: found by its key, inserted once, sealed on delete.
pub struct Group {
    pub key: Arc<GroupingKey>,
    /// Hash of the key as a label set; see [`hash::of_label`].
    pub key_hash: u64,
    /// The grouping labels as a sample line shows them: `name="value",` one after the other.
    pub key_text: KeyText,
    pub(super) state: Published<GroupState>,
    pub(super) marks: [Mark; READERS],
    pub(super) alarm: alarms::Mark,
}

impl Group {
    pub(super) fn new(key: GroupingKey, state: GroupState) -> Group {
        Group {
            key_hash: key.labels().fold(0, |sum, (n, v)| sum.wrapping_add(hash::of_label(n, v))),
            key_text: KeyText::new(&key),
            key: Arc::new(key),
            state: Published::new(state),
            marks: Default::default(),
            alarm: alarms::Mark::default(),
        }
    }

    /// What stands in the map for a group that has ended: sealed, and light.
    pub(super) fn marker(ended: &Group) -> Group {
        let state = Published::new(GroupState::default());
        let sealed = state.seal(|_| Some(()));
        debug_assert_eq!(sealed, Ok(Some(())), "nobody else knows it");
        Group {
            key_hash: ended.key_hash,
            key_text: KeyText { text: Box::default(), ends: Box::default() },
            key: ended.key.clone(),
            state,
            marks: Default::default(),
            alarm: alarms::Mark::default(),
        }
    }

    /// Whether it has not ended.
    pub(super) fn is_there(&self) -> bool {
        self.state.read(|_, sealed| !sealed)
    }

    /// The group as it is now; `None` once it is deleted.
    pub fn load(&self) -> Option<GroupState> {
        self.state.read(|state, sealed| (!sealed).then(|| state.clone()))
    }
}

/// Grouping labels rendered once per group.
pub struct KeyText {
    text: Box<str>,
    ends: Box<[u32]>,
}

impl KeyText {
    fn new(key: &GroupingKey) -> KeyText {
        let mut text = Vec::new();
        let mut ends = Vec::with_capacity(key.len());
        for (name, value) in key.labels() {
            escape::push_label(&mut text, name, value);
            ends.push(text.len() as u32);
        }
        KeyText { text: String::from_utf8(text).expect("labels are text").into(), ends: ends.into() }
    }

    /// All grouping labels in one piece.
    pub fn all(&self) -> &str {
        &self.text
    }

    /// The grouping labels at the positions from `start` up to `end`.
    pub fn slice(&self, start: usize, end: usize) -> &str {
        let at = |position: usize| if position == 0 { 0 } else { self.ends[position - 1] as usize };
        &self.text[at(start)..at(end)]
    }
}

/// What a block has from the one whose place it took, as long as pushes change values alone. All groups of
/// a fleet share shape and template, and counting references to those in each push would make workers wait
/// for each other; the mould is the group's own.
#[derive(Debug)]
pub struct Mould {
    pub shape: Arc<Shape>,
    /// Recognises the next body of this shape without parsing it.
    pub template: Option<Arc<KnownTemplate>>,
}

impl Mould {
    pub fn new(shape: Arc<Shape>, template: Option<Arc<KnownTemplate>>) -> Arc<Mould> {
        Arc::new(Mould { shape, template })
    }
}

/// What one push stored.
#[derive(Debug)]
pub struct Block {
    pub mould: Arc<Mould>,
    /// In the order of the shape; whole counts as they are, everything else as float64 bits.
    pub values: Box<[u64]>,
    pub details: Details,
    pub pushed_at: UnixNanos,
}

impl Deref for Block {
    type Target = Mould;

    fn deref(&self) -> &Mould {
        &self.mould
    }
}

impl Block {
    /// Whether it takes as much memory as `other`, which has the same shape.
    pub(super) fn weighs_like(&self, other: &Block) -> bool {
        let template = |block: &Block| block.template.as_ref().map(Arc::as_ptr);
        template(self) == template(other) && self.details.bytes() == other.details.bytes()
    }
}

/// Protobuf value messages of the series that have more to say than text can.
#[derive(Debug, Default)]
pub struct Details {
    /// First value of the series, by which it is found, and where its message ends in `bytes`.
    entries: Box<[(u32, u32)]>,
    bytes: Box<[u8]>,
}

impl Details {
    /// `first_values` says for each series of the push where its values begin.
    pub fn new(details: &[Detail<'_>], first_values: &[u32]) -> Details {
        if details.is_empty() {
            return Details::default();
        }
        let mut sorted: Vec<(u32, &[u8])> = details
            .iter()
            .map(|detail| (first_values[detail.series as usize], &*detail.message))
            .filter(|entry| entry.0 != super::build::DROPPED)
            .collect();
        sorted.sort_unstable_by_key(|entry| entry.0);
        let mut bytes = Vec::with_capacity(sorted.iter().map(|entry| entry.1.len()).sum());
        let entries = sorted
            .iter()
            .map(|(first_value, message)| {
                bytes.extend_from_slice(message);
                (*first_value, bytes.len() as u32)
            })
            .collect();
        Details { entries, bytes: bytes.into() }
    }

    /// The message of the series whose values begin at `first_value`.
    pub fn get(&self, first_value: u32) -> Option<&[u8]> {
        let at = self.entries.binary_search_by_key(&first_value, |entry| entry.0).ok()?;
        let start = if at == 0 { 0 } else { self.entries[at - 1].1 as usize };
        Some(&self.bytes[start..self.entries[at].1 as usize])
    }

    /// Details of messages in the order of the first values they belong to, which come first in each
    /// pair. `None` if that is not their order.
    pub fn from_sorted(details: &[(u32, &[u8])]) -> Option<Details> {
        let mut bytes = Vec::with_capacity(details.iter().map(|detail| detail.1.len()).sum());
        let mut entries = Vec::with_capacity(details.len());
        for (first_value, message) in details {
            bytes.extend_from_slice(message);
            entries.push((*first_value, u32::try_from(bytes.len()).ok()?));
        }
        let sorted = entries.is_sorted_by(|a, b| a.0 < b.0);
        sorted.then(|| Details { entries: entries.into(), bytes: bytes.into() })
    }

    /// All messages, each with the first value of its series, in the order of values.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..self.entries.len()).map(|at| {
            let start = if at == 0 { 0 } else { self.entries[at - 1].1 as usize };
            (self.entries[at].0, &self.bytes[start..self.entries[at].1 as usize])
        })
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory that they take.
    pub fn bytes(&self) -> usize {
        held_by(&self.bytes) + held_by(&self.entries)
    }
}

/// A block as one state holds it.
#[derive(Clone, Debug)]
pub struct Held {
    pub block: Arc<Block>,
    /// Which of the shape's families a later push replaced; `None` if it replaced none.
    hidden: Option<Arc<[bool]>>,
}

impl Held {
    fn whole(block: Arc<Block>) -> Held {
        Held { block, hidden: None }
    }

    pub fn is_whole(&self) -> bool {
        self.hidden.is_none()
    }

    /// The visible families with their positions in the shape.
    pub fn families(&self) -> impl Iterator<Item = (usize, &FamilyShape)> {
        let visible = |at: usize| self.hidden.as_ref().is_none_or(|hidden| !hidden[at]);
        self.block.shape.families().iter().enumerate().filter(move |(at, _)| visible(*at))
    }

    /// Whether `other` shows the same families of the same shape.
    pub fn same_shape(&self, other: &Held) -> bool {
        Arc::ptr_eq(&self.block.shape, &other.block.shape) && self.hidden == other.hidden
    }

    /// This block with the families named in `shape` hidden; `None` if nothing of it stays visible.
    fn without(&self, shape: &Shape) -> Option<Held> {
        let own = &self.block.shape;
        if !self.families().any(|(_, family)| shape.find(own.name(family)).is_some()) {
            return Some(self.clone());
        }
        let mut hidden = vec![true; own.families().len()];
        for (at, family) in self.families() {
            hidden[at] = shape.find(own.name(family)).is_some();
        }
        (!hidden.iter().all(|hidden| *hidden))
            .then(|| Held { block: self.block.clone(), hidden: Some(hidden.into()) })
    }
}

/// The shape of a whole state, without its values: for whoever must know later whether it changed.
#[derive(Clone, Debug, Default)]
pub struct Layout(SmallVec<[HeldShape; 1]>);

/// A block's shape and which of its families are hidden.
type HeldShape = (Arc<Shape>, Option<Arc<[bool]>>);

impl Layout {
    pub fn of(state: &GroupState) -> Layout {
        Layout(state.blocks.iter().map(|held| (held.block.shape.clone(), held.hidden.clone())).collect())
    }

    /// Whether `state` has this shape.
    pub fn is_of(&self, state: &GroupState) -> bool {
        self.0.len() == state.blocks.len()
            && self.0.iter().zip(&state.blocks).all(|((shape, hidden), held)| {
                Arc::ptr_eq(shape, &held.block.shape) && *hidden == held.hidden
            })
    }
}

/// Everything a group shows at one instant.
#[derive(Clone, Debug, Default)]
pub struct GroupState {
    pub blocks: SmallVec<[Held; 1]>,
    /// Last accepted push.
    pub push_time: UnixNanos,
    /// Last push refused by the store.
    pub failure_time: UnixNanos,
    /// When it ends.
    pub life: Life,
    /// Of the pushes that were merged last.
    pub keys: Keys,
}

impl GroupState {
    /// The visible family called `name`.
    pub fn find(&self, name: &str) -> Option<(&Held, &FamilyShape)> {
        self.blocks.iter().find_map(|held| {
            let at = held.block.shape.find(name)?;
            let visible = held.hidden.as_ref().is_none_or(|hidden| !hidden[at]);
            visible.then(|| (held, &held.block.shape.families()[at]))
        })
    }

    /// All visible families with the shape they belong to, block by block.
    pub fn families(&self) -> impl Iterator<Item = (&Held, usize, &FamilyShape)> {
        self.blocks.iter().flat_map(|held| held.families().map(move |(at, family)| (held, at, family)))
    }

    /// How many series are visible, the two push time families not counted.
    pub fn series_count(&self) -> usize {
        self.families().map(|(_, _, family)| family.series.len()).sum()
    }

    /// How many lines it shows, its two push times not counted: a histogram or summary has one for each
    /// of its parts, one for its sum and one for its count.
    pub fn line_count(&self) -> usize {
        self.families().map(|(held, _, family)| held.block.shape.values_of(family).len()).sum()
    }

    /// Whether no push was accepted between this state and `other`.
    pub(super) fn is_of_same_push(&self, other: &GroupState) -> bool {
        let is_same =
            |(one, two): (&Held, &Held)| Arc::ptr_eq(&one.block, &two.block) && one.hidden == two.hidden;
        self.push_time == other.push_time
            && self.life == other.life
            && self.blocks.len() == other.blocks.len()
            && self.blocks.iter().zip(&other.blocks).all(is_same)
    }

    /// Whether replacing this state by `other` changes nothing but values and times.
    pub fn same_shape(&self, other: &GroupState) -> bool {
        self.blocks.len() == other.blocks.len()
            && self.blocks.iter().zip(&other.blocks).all(|(one, two)| one.same_shape(two))
    }

    /// The block whose place `block`, of the same shape, would take.
    pub(super) fn of_shape(&self, block: &Block) -> Option<&Arc<Block>> {
        let same = |held: &&Held| held.is_whole() && Arc::ptr_eq(&held.block.shape, &block.shape);
        self.blocks.iter().find(same).map(|held| &held.block)
    }

    /// The state after a PUT of `block`.
    pub(super) fn replaced_by(&self, block: &Arc<Block>) -> GroupState {
        let mut blocks = SmallVec::new();
        if !block.shape.families().is_empty() {
            blocks.push(Held::whole(block.clone()));
        }
        GroupState { blocks, push_time: block.pushed_at, ..self.but_blocks() }
    }

    /// This state without blocks.
    fn but_blocks(&self) -> GroupState {
        GroupState {
            blocks: SmallVec::new(),
            push_time: self.push_time,
            failure_time: self.failure_time,
            life: self.life,
            keys: self.keys.clone(),
        }
    }

    /// The state with `block` in the place of the whole block at `at`, which has the same shape.
    pub(super) fn with_block(&self, at: usize, block: Arc<Block>) -> GroupState {
        let mut state = GroupState { push_time: block.pushed_at, ..self.clone() };
        state.blocks[at] = Held::whole(block);
        state
    }

    /// The state after a POST of `block`. A block of the same shape is replaced where it stands, so
    /// that pushing the same families again changes no shape.
    pub(super) fn updated_by(&self, block: &Arc<Block>) -> GroupState {
        let mut state = GroupState { push_time: block.pushed_at, ..self.clone() };
        if block.shape.families().is_empty() {
            return state;
        }
        let same = |held: &Held| held.is_whole() && Arc::ptr_eq(&held.block.shape, &block.shape);
        if let Some(held) = state.blocks.iter_mut().find(|held| same(held)) {
            held.block = block.clone();
            return state;
        }
        state.blocks = self.blocks.iter().filter_map(|held| held.without(&block.shape)).collect();
        state.blocks.push(Held::whole(block.clone()));
        state
    }
}

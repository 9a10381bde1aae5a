//! The labels of series that follow each other with the same names: their order, and their text as the
//! series before had it.
//!
//! A family's series nearly always have the same names in the same order, and mostly a value or two that
//! differ from those of the series before. So what names decide is decided once, and a value that stays is
//! neither escaped nor hashed again.

use smallvec::SmallVec;

use super::hash;
use crate::format::escape;
use crate::model::{Label, Span};

/// In [`Naming::set`]: a label that no label of the push brings.
pub const NOBODY: u32 = u32::MAX;

/// See the module.
#[derive(Default)]
pub struct Naming<'l> {
    /// As the series have them.
    names: SmallVec<[&'l str; 16]>,
    /// The labels that are stored, sorted by name.
    slots: Vec<Slot<'l>>,
    is_set: bool,
}

struct Slot<'l> {
    /// Position among the series' labels, or [`NOBODY`].
    at: u32,
    name: &'l str,
    /// How many grouping labels belong before it.
    cuts: u32,
    /// The value last written, and its text with what stands before it, in the builder's runs.
    value: &'l str,
    head: Span,
    text: Span,
    hash: u64,
}

/// Where the text of series goes.
pub struct Written<'w> {
    pub runs: &'w mut Vec<u8>,
    pub cuts: &'w mut Vec<u32>,
}

impl<'l> Naming<'l> {
    /// Forgets the names.
    pub fn clear(&mut self) {
        self.is_set = false;
    }

    /// Whether `own` have the names that were set.
    pub fn is_of(&self, own: &[Label<'_>]) -> bool {
        self.is_set
            && own.len() == self.names.len()
            && own.iter().zip(&self.names).all(|(label, name)| label.name == *name)
    }

    /// Sets names: those of `own`, and which are stored in which order, as positions in `own` with the names.
    /// `grouping` are the names of the grouping labels, sorted.
    pub fn set(
        &mut self,
        own: &'l [Label<'_>],
        stored: &[(u32, &'l str)],
        grouping: impl Iterator<Item = &'l str>,
    ) {
        self.names.clear();
        self.names.extend(own.iter().map(|label| &*label.name));
        self.slots.clear();
        let mut grouping = grouping.peekable();
        for (at, name) in stored {
            let mut cuts = 0;
            while grouping.next_if(|grouping_name| grouping_name < name).is_some() {
                cuts += 1;
            }
            let (head, text) = (Span::default(), Span::default());
            self.slots.push(Slot { at: *at, name, cuts, value: "", head, text, hash: 0 });
        }
        self.is_set = true;
    }

    /// The names that are stored, sorted.
    pub fn stored(&self) -> impl ExactSizeIterator<Item = &'l str> + Clone {
        self.slots.iter().map(|slot| slot.name)
    }

    /// Writes the labels of a series with these names, and gives the sum of their hashes.
    ///
    /// # Errors
    ///
    /// The name of a label whose value has more than `value_bytes_max` bytes.
    pub fn write(
        &mut self,
        own: &'l [Label<'_>],
        out: Written<'_>,
        grouping_count: usize,
        value_bytes_max: usize,
    ) -> Result<u64, &'l str> {
        let start = out.runs.len();
        let (mut hash, mut cuts) = (0u64, 0);
        for slot in &mut self.slots {
            for _ in 0..slot.cuts {
                out.cuts.push((out.runs.len() - start) as u32);
            }
            cuts += slot.cuts as usize;
            let value = own.get(slot.at as usize).map_or("", |label| &*label.value);
            if slot.value == value && !slot.text.is_empty() {
                out.runs.extend_from_within(slot.text.range());
            } else if value.len() > value_bytes_max {
                return Err(slot.name);
            } else {
                slot.write(value, out.runs);
            }
            hash = hash.wrapping_add(slot.hash);
        }
        for _ in cuts..grouping_count {
            out.cuts.push((out.runs.len() - start) as u32);
        }
        Ok(hash)
    }
}

impl<'l> Slot<'l> {
    fn write(&mut self, value: &'l str, runs: &mut Vec<u8>) {
        let start = runs.len() as u32;
        if self.head.is_empty() {
            escape::push_label_head(runs, self.name);
        } else {
            runs.extend_from_within(self.head.range());
        }
        self.head = Span { start, end: runs.len() as u32 };
        escape::push_label_value(runs, value);
        runs.extend_from_slice(b"\",");
        self.text = Span { start, end: runs.len() as u32 };
        (self.value, self.hash) = (value, hash::of_label(self.name, value));
    }
}

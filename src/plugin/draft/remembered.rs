//! What became of a series, so that it can be done again to another that looks the same.
//!
//! # Invariants
//!
//! 1. Series look the same if the texts that [`write_look`](Draft::write_look) writes of them are equal; then
//!    their own labels stand in the same order, and what is remembered of one means the same for the other.

use super::edit::Fresh;
use super::{Draft, Edit, Label, Text};
use crate::model::MetricType;

/// What became of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    Same,
    Dropped,
    /// The family's name, if another, and all own labels.
    Changed {
        name: Option<Box<str>>,
        labels: Box<[(Piece, Piece)]>,
    },
}

/// A text of a label as it became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The name of the own label that stood here.
    Name(u32),
    /// Its value.
    Value(u32),
    New(Box<str>),
}

/// A series as it was.
pub struct Seen {
    name: Text,
    labels: Box<[Label]>,
}

/// Writes [looks](Draft::write_look) one after the other.
#[derive(Debug, Default)]
pub struct LookWriter {
    look: Vec<u8>,
    /// How much of it tells the group and the family, and of which family.
    head: usize,
    family: Option<(Text, Option<Text>, MetricType)>,
    fresh: Fresh,
}

impl LookWriter {
    /// The look that was written last.
    pub fn look(&self) -> &[u8] {
        &self.look
    }
}

/// Appends a text and a byte that UTF-8 does not have.
fn piece(look: &mut Vec<u8>, text: &[u8]) {
    look.extend_from_slice(text);
    look.push(0xff);
}

impl Draft {
    /// Writes everything about a sample but its value: grouping labels, family, labels, and whether it is a
    /// native histogram. One writer serves as long as the grouping labels stay.
    pub fn write_look(&self, writer: &mut LookWriter, sample: u32) {
        let data = self.sample(sample);
        let family = self.family(data.family);
        let about = (family.name, family.help, family.kind);
        let look = &mut writer.look;
        if writer.family == Some(about) {
            look.truncate(writer.head);
        } else {
            look.clear();
            for (name, value) in self.group() {
                piece(look, name.as_bytes());
                piece(look, value.as_bytes());
            }
            piece(look, b"");
            piece(look, self.bytes(family.name));
            piece(look, family.help.map_or(b"", |help| self.bytes(help)));
            look.extend_from_slice(&[family.kind as u8, u8::from(family.help.is_some())]);
            (writer.head, writer.family) = (look.len(), Some(about));
        }
        for label in self.own(sample) {
            piece(look, self.bytes(label.name));
            piece(look, self.bytes(label.value));
        }
        look.push(u8::from(family.kind.has_buckets() && data.has_detail() && data.parts.is_empty()));
    }

    /// Remembers a series before something is done to it.
    pub fn see(&self, sample: u32) -> Seen {
        Seen { name: self.family(self.sample(sample).family).name, labels: self.own(sample).into() }
    }

    /// What became of it.
    pub fn became(&self, seen: &Seen, sample: u32) -> Remembered {
        if self.sample(sample).dropped {
            return Remembered::Dropped;
        }
        let name = self.family_name(self.sample(sample).family);
        let is_same = |was: Text, now: Text| was == now || self.text(was) == self.text(now);
        let is_same_label =
            |(was, now): (&Label, &Label)| is_same(was.name, now.name) && is_same(was.value, now.value);
        let own = self.own(sample);
        let is_renamed = name != self.text(seen.name);
        if !is_renamed && own.len() == seen.labels.len() && seen.labels.iter().zip(own).all(is_same_label) {
            return Remembered::Same;
        }
        let piece = |text: Text| {
            let name = seen.labels.iter().position(|was| is_same(was.name, text));
            let value = || seen.labels.iter().position(|was| is_same(was.value, text));
            match (name, value) {
                (Some(at), _) => Piece::Name(at as u32),
                (None, value) => {
                    value().map_or_else(|| Piece::New(self.text(text).into()), |at| Piece::Value(at as u32))
                }
            }
        };
        Remembered::Changed {
            name: is_renamed.then(|| name.into()),
            labels: own.iter().map(|label| (piece(label.name), piece(label.value))).collect(),
        }
    }

    /// Does to a series what was done to one that looked the same.
    ///
    /// # Errors
    ///
    /// A limit is reached, or the family that it is to move to has another type.
    pub fn become_again(&mut self, writer: &mut LookWriter, sample: u32, known: &Remembered) -> Edit<()> {
        match known {
            Remembered::Same => Ok(()),
            Remembered::Dropped => {
                self.drop_sample(sample);
                Ok(())
            }
            Remembered::Changed { name, labels } => {
                let fresh = &mut writer.fresh;
                fresh.clear();
                let own = self.own(sample);
                for (name, value) in labels {
                    let mut place = |piece: &Piece| match piece {
                        Piece::Name(at) => own[*at as usize].name,
                        Piece::Value(at) => own[*at as usize].value,
                        Piece::New(text) => self.place(fresh, text),
                    };
                    let label = Label { name: place(name), value: place(value) };
                    fresh.labels.push(label);
                }
                self.put_labels(sample, fresh)?;
                match name {
                    Some(name) => self.move_sample(sample, name),
                    None => Ok(()),
                }
            }
        }
    }
}

//! What became of a series, so that it can be done again to another that looks the same.
//!
//! # Invariants
//!
//! 1. Series look the same if what [`write_look`](Draft::write_look) writes of them is equal; then their own
//!    labels stand in the same order, and what is remembered of one means the same for the other. Series that
//!    are the same may look otherwise, where their text lies otherwise: that costs a call of the hook.

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
}

impl LookWriter {
    pub fn new() -> LookWriter {
        // Long enough for most, so that it does not grow by and by at each push.
        LookWriter { look: Vec::with_capacity(512), ..LookWriter::default() }
    }

    /// The look that was written last.
    pub fn look(&self) -> &[u8] {
        &self.look
    }
}

/// The stretch of text that labels lie in, with no more between them than quotes, commas and a blank, and
/// short enough for positions in 16 bits.
fn stretch(labels: &[Label]) -> Option<Text> {
    const BETWEEN_BYTES_MAX: usize = 8;
    let (first, last) = (labels.first()?, labels.last()?);
    let whole = Text { start: first.name.start, end: last.value.end };
    if whole.start > whole.end || whole.len() > usize::from(u16::MAX) {
        return None;
    }
    let is_inside = |text: Text| whole.start <= text.start && text.end <= whole.end;
    let mut most = 0;
    for Label { name, value } in labels {
        if !is_inside(*name) || !is_inside(*value) {
            return None;
        }
        most += name.len() + value.len() + BETWEEN_BYTES_MAX;
    }
    (whole.len() <= most).then_some(whole)
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
        let own = self.own(sample);
        let native = u8::from(family.kind.has_buckets() && data.has_detail() && data.parts.is_empty());
        match stretch(own) {
            // As they came, mostly: one piece of the body, and where in it the texts are.
            Some(whole) => {
                look.extend_from_slice(self.bytes(whole));
                for Label { name, value } in own {
                    let at = [
                        name.start - whole.start,
                        name.len() as u32,
                        value.start - whole.start,
                        value.len() as u32,
                    ];
                    let at = at.map(|number| (number as u16).to_le_bytes());
                    look.extend_from_slice(at.as_flattened());
                }
                look.extend_from_slice(&(own.len() as u32).to_le_bytes());
                look.push(2 | native);
            }
            None => {
                for label in own {
                    piece(look, self.bytes(label.name));
                    piece(look, self.bytes(label.value));
                }
                look.push(native);
            }
        }
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
    pub fn become_again(&mut self, sample: u32, known: &Remembered) -> Edit<()> {
        match known {
            Remembered::Same => Ok(()),
            Remembered::Dropped => {
                self.drop_sample(sample);
                Ok(())
            }
            Remembered::Changed { name, labels } => {
                let mut fresh = std::mem::take(&mut self.fresh);
                fresh.clear();
                let own = self.own(sample);
                for (name, value) in labels {
                    let mut place = |piece: &Piece| match piece {
                        Piece::Name(at) => own[*at as usize].name,
                        Piece::Value(at) => own[*at as usize].value,
                        Piece::New(text) => self.place(&mut fresh, text),
                    };
                    let label = Label { name: place(name), value: place(value) };
                    fresh.labels.push(label);
                }
                let put = self.put_labels(sample, &fresh);
                self.fresh = fresh;
                put?;
                match name {
                    Some(name) => self.move_sample(sample, name),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Families, GroupingKey, NameRules};
    use crate::parse::text;
    use crate::plugin::draft::Received;

    /// Looks of all samples of a body, with what they were written of.
    fn looks(body: &str, edit: impl Fn(&mut Draft, u32)) -> Vec<(Vec<u8>, String)> {
        let mut draft = Draft::new(NameRules::Utf8);
        draft.clear(NameRules::Utf8, &GroupingKey::new("j", [("g", "1")]));
        let families = text::parse(body.as_bytes(), NameRules::Utf8, Families::default()).unwrap();
        draft.load(&Received { families: &families, body: body.as_bytes(), loose: &[] });
        let mut writer = LookWriter::new();
        let all = 0..draft.samples().len() as u32;
        all.clone().for_each(|sample| edit(&mut draft, sample));
        all.map(|sample| {
            draft.write_look(&mut writer, sample);
            let family = draft.family(draft.sample(sample).family);
            let help = family.help.map(|help| draft.text(help));
            let own: Vec<_> = draft.own_labels(sample).collect();
            let said = format!("{} {help:?} {:?} {own:?}", draft.text(family.name), family.kind);
            (writer.look().to_vec(), said)
        })
        .collect()
    }

    #[test]
    fn what_looks_the_same_is_the_same() {
        const BODY: &str = "a 1\na{x=\"1\"} 1\na{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1\na{x=\"1\", y=\"2\"} 1\n\
            a{x=\"1,y=2\"} 1\na{x=\"1\\n\"} 1\na{x=\"12\"} 1\na{x=\"\\\"\",y=\"2\"} 1\n# HELP b h\nb{x=\"1\"} 1\n\
            # TYPE c gauge\nc{x=\"1\"} 1\nd{xx=\"\",y=\"é\"} 1\nab{x=\"1\"} 1\n";
        let set = |name: &'static str, value: &'static str| {
            move |draft: &mut Draft, sample: u32| {
                draft.set_label(sample, name, value).unwrap();
            }
        };
        let mut all = looks(BODY, |_, _| {});
        let again = looks(&format!("{BODY}# moved\n"), |_, _| {});
        assert_eq!(all, again);
        all.extend(looks(&format!("z{{q=\"r\"}} 1\n{BODY}"), |_, _| {}));
        all.extend(looks(BODY, set("x", "1")));
        all.extend(looks(BODY, set("x", "")));
        all.extend(looks(BODY, set("z", "3")));
        all.extend(looks(BODY, |draft, sample| {
            draft.rename_label(sample, "x", "y").unwrap();
        }));
        let mut same = 0;
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert!(one.0 != other.0 || one.1 == other.1, "{} and {}", one.1, other.1);
                same += usize::from(one.0 == other.0);
            }
        }
        // Looks that are never equal prove nothing.
        assert!(same > 10, "{same}");
    }
}

//! The labels of series that follow each other with the same names: their order, and their text as the
//! series before had it.
//!
//! A family's series nearly always have the same names in the same order, and mostly a value or two that
//! differ from those of the series before. So what names decide is decided once, and a value that stays is
//! neither escaped nor hashed again.

use smallvec::SmallVec;

use super::hash;
use crate::format::escape;
use crate::format::same::is_same;
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
            && own
                .iter()
                .zip(&self.names)
                .all(|(label, name)| is_same(label.name.as_bytes(), name.as_bytes()))
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
            if !slot.text.is_empty() && is_same(slot.value.as_bytes(), value.as_bytes()) {
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

#[cfg(test)]
mod tests {
    use crate::model::{Families, GroupingKey, NameRules, PushLimits};
    use crate::parse::text;
    use crate::store::build::shape_of;
    use crate::store::shape::Shape;

    fn shape(body: &str, key: &GroupingKey) -> Shape {
        let families = text::parse(body.as_bytes(), NameRules::Utf8, Families::default()).unwrap();
        shape_of(&families, key, &PushLimits::default()).map_err(|fault| fault.text()).unwrap().shape
    }

    /// Text and cuts of each series of the only family.
    fn runs(shape: &Shape) -> Vec<(String, Vec<u32>)> {
        let series = (0..shape.series_count()).map(|at| shape.series_at(at));
        series.map(|(series, cuts)| (shape.run(series).to_owned(), cuts.to_vec())).collect()
    }

    #[test]
    fn a_series_is_written_in_company_as_it_is_alone() {
        let mut seed = 7u64;
        let mut roll = |sides: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % sides
        };
        for _ in 0..300 {
            let names: &[&str] =
                &["b", "instance", "zone", "a", "\"not.old\"", "job"][..1 + roll(6) as usize];
            let others: &[&str] = &["zone", "b", "c"];
            let body: String = (0..12)
                .map(|at| {
                    let names = if roll(4) == 0 { others } else { names };
                    let value = |name: &&str| match roll(4) {
                        0 => format!("{name}=\"\""),
                        1 => format!("{name}=\"x\\\"y\""),
                        _ => format!("{name}=\"{}\"", roll(2)),
                    };
                    let labels: Vec<String> = names.iter().map(value).collect();
                    format!("m{{{},n=\"{at}\"}} 1\n", labels.join(","))
                })
                .collect();
            let grouping = [("b", "1"), ("instance", "i"), ("c", "")].into_iter().filter(|_| roll(2) == 0);
            let key = GroupingKey::new("j", grouping);
            let together = shape(&body, &key);
            let alone: Vec<_> =
                body.lines().flat_map(|line| runs(&shape(&format!("{line}\n"), &key))).collect();
            assert_eq!(runs(&together), alone, "{body} in {key}");
            let family = &together.families()[0];
            for at in 0..together.series_count() {
                let found = together.with_hash(family, together.run_hash(at)).any(|found| found == at);
                assert!(found, "series {at} of {body} in {key} is not found by its hash");
            }
        }
    }
}

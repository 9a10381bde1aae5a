//! What came of an earlier push: how its body was read, and how plugins left it.
//!
//! A body that differs in values alone need not be read again: its draft is copied from the image, with its
//! own values. Plugins that see values run all the same. Where they left the draft as they left that one, it
//! ends up in the shape that the store made then, with its values in the same places.
//!
//! # Invariants
//!
//! 1. An image holds no value and no grouping label that anything of a later push is taken from.
//! 2. "As they left that one" is decided by content, never by a hash or a generation.

use std::any::Any;
use std::sync::Arc;

use super::{Draft, DraftFamily, DraftSample, Label, Text};
use crate::model::template::{Kept, Template};
use crate::model::{MetricType, Number, Part};

/// Longer bodies are read anew each time: an image takes several times the memory of its body.
const IMAGE_BODY_BYTES_MAX: usize = 256 * 1024;

/// The vectors of a draft.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    families: Vec<DraftFamily>,
    samples: Vec<DraftSample>,
    labels: Vec<Label>,
    parts: Vec<Part>,
}

impl Scene {
    fn size_bytes(&self) -> usize {
        size_of_val(&*self.families)
            + size_of_val(&*self.samples)
            + size_of_val(&*self.labels)
            + size_of_val(&*self.parts)
    }
}

/// A body as it was read.
#[derive(Debug)]
struct Received {
    text: Box<str>,
    scene: Scene,
}

/// See the module.
#[derive(Debug)]
pub struct Image {
    received: Arc<Received>,
    /// What was written behind the text of the body.
    written: Box<str>,
    left: Scene,
    /// Where the values of each sample are among those stored; [`NOWHERE`] if they are not.
    places: Box<[u32]>,
    value_count: usize,
}

const NOWHERE: u32 = u32::MAX;

impl Kept for Image {
    fn size_bytes(&self) -> usize {
        size_of::<Image>()
            + size_of::<Received>()
            + self.received.text.len()
            + self.received.scene.size_bytes()
            + self.written.len()
            + self.left.size_bytes()
            + size_of_val(&*self.places)
    }
}

impl Image {
    fn bytes(&self, text: Text) -> &[u8] {
        let (start, end, base) = (text.start as usize, text.end as usize, self.received.text.len());
        if start < base {
            &self.received.text.as_bytes()[start..end]
        } else {
            &self.written.as_bytes()[start - base..end - base]
        }
    }

    /// Whether `now`, in the draft, says the same as `then`, in the image.
    fn says(&self, then: Text, draft: &Draft, now: Text) -> bool {
        // Drafts copied from the image begin with its text.
        (then == now && (now.end as usize) <= self.received.text.len()) || draft.is(now, self.bytes(then))
    }
}

impl Draft {
    /// Remembers how the body was read, for [`keep`](Draft::keep). To be called after
    /// [`outline`](Draft::outline).
    pub fn note_received(&mut self) {
        if self.body_bytes <= IMAGE_BODY_BYTES_MAX {
            self.received_bytes = self.arena.len();
            self.received_scene.families.clone_from(&self.families);
            self.received_scene.samples.clone_from(&self.samples);
            self.received_scene.labels.clone_from(&self.labels);
            self.received_scene.parts.clone_from(&self.parts);
        }
    }

    /// Reads a body that `template` recognised, from what was kept with it; `values` are as the template
    /// gives them. The grouping labels stay.
    pub fn load_known(&mut self, template: &Template, values: &[u64], body_bytes: usize) {
        let kept: Option<Arc<dyn Any + Send + Sync>> = template.kept().map(|kept| kept.clone() as _);
        let Some(image) = kept.and_then(|kept| kept.downcast::<Image>().ok()) else { return };
        let received = &*image.received;
        self.put_before_group(&received.text);
        self.body_bytes = body_bytes;
        self.families.extend_from_slice(&received.scene.families);
        self.samples.extend_from_slice(&received.scene.samples);
        self.labels.extend_from_slice(&received.scene.labels);
        self.parts.extend_from_slice(&received.scene.parts);
        let mut values = values.iter().copied();
        for sample in &mut self.samples {
            for part in &mut self.parts[sample.parts.range()] {
                part.value = with_bits(part.value, values.next().unwrap_or_default());
            }
            sample.value = f64::from_bits(values.next().unwrap_or_default());
            sample.count = with_bits(sample.count, values.next().unwrap_or_default());
        }
        self.received = self.samples.len();
        self.received_bytes = received.text.len();
        self.known = Some((template.clone(), image));
    }

    /// The template of a body with an image of the push beside it. `first_value` says for a series of
    /// [`families_into`](Draft::families_into) where its values begin. `None` for what has no template, is too
    /// long, or means more than its values tell.
    pub fn keep(
        &self,
        body: &[u8],
        value_count: usize,
        first_value: &dyn Fn(u32) -> Option<u32>,
    ) -> Option<Template> {
        let (template, received) = match &self.known {
            Some((template, image)) => (template.clone(), image.received.clone()),
            None => (self.cut_received(body)?, self.received_anew()),
        };
        let mut places = vec![NOWHERE; self.samples.len()].into_boxed_slice();
        for (at, sample) in self.samples_by_family().into_iter().enumerate() {
            places[sample as usize] = first_value(at as u32).unwrap_or(NOWHERE);
        }
        let left = Scene {
            families: self.families.clone(),
            samples: self.samples.clone(),
            labels: self.labels.clone(),
            parts: self.parts.clone(),
        };
        let written = self.arena[self.received_bytes..].into();
        Some(template.keeping(Arc::new(Image { received, written, left, places, value_count })))
    }

    fn received_anew(&self) -> Arc<Received> {
        let text = self.arena[..self.received_bytes].into();
        Arc::new(Received { text, scene: self.received_scene.clone() })
    }

    /// The template of the body for the values of the samples received: the parts of each, value or sum,
    /// count.
    fn cut_received(&self, body: &[u8]) -> Option<Template> {
        let samples = &self.received_scene.samples;
        if self.received_bytes == 0 || samples.len() != self.sample_of.len() {
            return None;
        }
        let mut firsts = Vec::with_capacity(samples.len());
        let mut end = 0;
        for sample in samples {
            firsts.push(end);
            end += sample.parts.len() as u32 + 2;
            let buckets = self.received_scene.families[sample.family as usize].kind.has_buckets();
            let parts = &self.received_scene.parts[sample.parts.range()];
            let is_read_so = |part: &Part| matches!(part.value, Number::Int(_)) == buckets;
            if !parts.iter().all(is_read_so) || matches!(sample.count, Number::Float(_)) {
                return None;
            }
        }
        let first = |series: u32| Some(firsts[self.sample_of[series as usize] as usize]);
        self.outline.cut(body, end as usize, 0, first)
    }

    /// The values to be stored, if the body was known and plugins left it as they left that of its image.
    pub fn values_as_before(&self) -> Option<Box<[u64]>> {
        let (_, image) = self.known.as_ref()?;
        if !self.is_left_as(image) {
            return None;
        }
        let mut values = vec![0; image.value_count].into_boxed_slice();
        for (sample, place) in self.samples.iter().zip(&image.places) {
            if *place == NOWHERE {
                continue;
            }
            let parts = &self.parts[sample.parts.range()];
            let has_count = has_count(self.families[sample.family as usize].kind);
            let end = *place as usize + parts.len() + 1 + usize::from(has_count);
            let mut places = values.get_mut(*place as usize..end)?.iter_mut();
            parts.iter().zip(&mut places).for_each(|(part, place)| *place = part.value.to_bits());
            places.next().into_iter().for_each(|place| *place = sample.value.to_bits());
            places.next().into_iter().for_each(|place| *place = sample.count.to_bits());
        }
        Some(values)
    }

    fn is_left_as(&self, image: &Image) -> bool {
        let left = &image.left;
        self.families.len() == left.families.len()
            && self.samples.len() == left.samples.len()
            && self.families.iter().zip(&left.families).all(|(now, then)| {
                let same = |now: Option<Text>, then: Option<Text>| match (now, then) {
                    (Some(now), Some(then)) => image.says(then, self, now),
                    (None, None) => true,
                    _ => false,
                };
                now.kind == then.kind
                    && image.says(then.name, self, now.name)
                    && same(now.help, then.help)
                    && same(now.unit, then.unit)
            })
            && self.samples.iter().zip(&left.samples).all(|(now, then)| self.is_sample(now, image, then))
    }

    /// Whether a sample differs from `then`, of the image, in values alone.
    fn is_sample(&self, now: &DraftSample, image: &Image, then: &DraftSample) -> bool {
        let labels = (&self.labels[now.labels.range()], &image.left.labels[then.labels.range()]);
        let parts = (&self.parts[now.parts.range()], &image.left.parts[then.parts.range()]);
        let alike = |now: Number, then: Number| std::mem::discriminant(&now) == std::mem::discriminant(&then);
        now.dropped == then.dropped
            && (now.dropped
                || now.family == then.family
                    && labels.0.len() == labels.1.len()
                    && parts.0.len() == parts.1.len()
                    && alike(now.count, then.count)
                    && labels.0.iter().zip(labels.1).all(|(now, then)| {
                        image.says(then.name, self, now.name) && image.says(then.value, self, now.value)
                    })
                    && parts.0.iter().zip(parts.1).all(|(now, then)| {
                        now.bound.to_bits() == then.bound.to_bits() && alike(now.value, then.value)
                    }))
    }
}

/// A number of the same kind.
fn with_bits(number: Number, bits: u64) -> Number {
    match number {
        Number::Int(_) => Number::Int(bits),
        Number::Float(_) => Number::Float(f64::from_bits(bits)),
    }
}

fn has_count(kind: MetricType) -> bool {
    kind.has_buckets() || kind == MetricType::Summary
}

//! From the index to an exposition: families in order, each from its segments, our own among them.
//!
//! Segments that did not change are taken as the bytes they are; the others are rendered and coded here,
//! and kept.

use std::hint::black_box;

use smallvec::SmallVec;

use super::coding::{Coder, Piece, Stitcher};
use super::index::{FamilyIndex, Index, Record, TIME};
use super::negotiate::{Encoding, Form, Format, Wanted};
use super::segment::{Fragment, Segment};
use super::slices::Slices;
use super::{openmetrics, own, protobuf, prototext, text};
use crate::model::MetricType;
use crate::store::group::{Block, Group};
use crate::store::series_id;
use crate::store::shape::FamilyShape;
use crate::store::times;
use crate::telemetry::OwnFamily;

/// An exposition in the making.
struct Making<'c> {
    wanted: Wanted,
    coder: &'c mut Coder,
    /// Called between two segments.
    pause: &'c mut dyn FnMut(),
    /// Bytes of no segment since the last piece: our own families, heads of protobuf families.
    loose: Vec<u8>,
    /// Where a segment is written before it is coded or kept.
    scratch: Vec<u8>,
    body: Stitcher,
}

impl Making<'_> {
    fn push(&mut self, piece: &Piece) {
        // Where pushes are not checked, everything in a segment may be hidden.
        if piece.plain_len() > 0 {
            self.end_loose();
            self.body.push(piece);
        }
    }

    /// Makes one piece of the loose bytes that stand together.
    fn end_loose(&mut self) {
        if !self.loose.is_empty() {
            self.body.push(&self.coder.piece(&self.loose, self.wanted.encoding, None));
            self.loose.clear();
        }
    }
    /// The piece of a segment: kept, or made by `write` and kept. Only what is asked for is kept: where
    /// scrapers take gzip, no plain text stays.
    fn piece(
        &mut self,
        segment: &mut Segment,
        exotic_name: bool,
        write: impl FnOnce(&[Fragment], &mut Vec<u8>),
    ) -> Piece {
        (self.pause)();
        let wanted = segment.kept_as(self.wanted, exotic_name);
        if let Some(piece) = segment.kept(wanted) {
            return piece.clone();
        }
        let plain = Wanted { encoding: Encoding::Identity, ..wanted };
        let piece = match segment.kept(plain) {
            Some(plain) => self.coder.piece(&plain.bytes, wanted.encoding, None),
            None => {
                let old = segment.take_stale(wanted);
                self.scratch.clear();
                write(&segment.fragments, &mut self.scratch);
                self.coder.piece(&self.scratch, wanted.encoding, old)
            }
        };
        segment.keep(wanted, piece.clone());
        piece
    }
}

/// What a fragment is written from.
enum Source<'i> {
    Time(&'i Group, f64),
    Family(&'i Record, &'i Block, &'i FamilyShape),
}

impl Index {
    /// The whole exposition as `wanted`, our own families among the pushed ones. `pause` is called every
    /// now and then, after some tens of microseconds of work.
    pub fn expose(
        &mut self,
        wanted: Wanted,
        own: &[OwnFamily],
        coder: &mut Coder,
        pause: &mut dyn FnMut(),
    ) -> Slices {
        let Wanted { form, encoding } = wanted;
        if !matches!(form.format, Format::Text | Format::ProtoDelimited) {
            // Asked for by people, or only where an operator offers it: made anew each time.
            let form = Form { format: Format::ProtoDelimited, ..form };
            let plain = Wanted { form, encoding: Encoding::Identity };
            let delimited = self.expose(plain, own, coder, pause).list().concat();
            let text = match wanted.form.format {
                Format::OpenMetrics0 | Format::OpenMetrics1 => openmetrics::of_delimited(&delimited),
                format => prototext::of_delimited(&delimited, format),
            };
            let mut body = Stitcher::new(encoding);
            body.push(&coder.piece(&text, encoding, None));
            return body.finish();
        }
        let own: Vec<&OwnFamily> = own.iter().filter(|own| !own.yields || !self.is_pushed(own)).collect();
        let own = &own[..];
        let shown = self.shown(own);
        let (loose, scratch, body) = (Vec::new(), Vec::new(), Stitcher::new(encoding));
        let mut out = Making { wanted, coder, pause, loose, scratch, body };
        let mut own = own.iter().copied().peekable();
        for number in shown {
            let mut family = self.families[number as usize].take().expect("numbers lead to families");
            while let Some(before) = own.next_if(|own| *own.name < *family.name) {
                own::write_family(&mut out.loose, form, before);
            }
            let same = own.next_if(|own| *own.name == *family.name);
            self.expose_family(&mut family, same, &mut out);
            self.families[number as usize] = Some(family);
        }
        own.for_each(|own| own::write_family(&mut out.loose, form, own));
        out.end_loose();
        out.body.finish()
    }

    /// A family: in text its lines, of which the first segment's begin with the header; in protobuf one
    /// message behind its length, which is known only when all series are there.
    fn expose_family(&self, family: &mut FamilyIndex, own: Option<&OwnFamily>, out: &mut Making<'_>) {
        let form = out.wanted.form;
        let is_text = form.format == Format::Text;
        if is_text {
            move_lead(family);
        }
        let FamilyIndex { name, kind, exotic, lead, segments, .. } = family;
        let (name, kind, exotic) = (&**name, *kind, *exotic && is_text);
        let mut help = own.map(|own| &*own.help);
        let mut pieces = Vec::with_capacity(segments.len());
        for (at, segment) in segments.iter_mut().enumerate().filter(|(_, segment)| !segment.is_empty()) {
            if !is_text || *lead == Some(at as u32) {
                help = help.or_else(|| self.help(kind, name, &segment.fragments));
            }
            pieces.push(out.piece(segment, exotic, |fragments, bytes| {
                if is_text && *lead == Some(at as u32) {
                    text::write_header(bytes, name, help, kind, form.escaping);
                }
                self.write(bytes, form, name, fragments);
            }));
        }
        let mut lines = Vec::new();
        match own {
            Some(own) if !is_text => lines.extend_from_slice(&own::metrics(own)),
            Some(own) if pieces.is_empty() => own::write_family(&mut lines, form, own),
            Some(own) => own::write_lines(&mut lines, own),
            None => {}
        }
        let len = lines.len() + pieces.iter().map(Piece::plain_len).sum::<usize>();
        if !is_text && len > 0 {
            out.loose.extend_from_slice(&protobuf::head(name, help, kind, form.escaping, len));
        }
        pieces.iter().for_each(|piece| out.push(piece));
        out.loose.extend_from_slice(&lines);
    }

    /// Writes the series of some fragments of the family `name`.
    fn write(&self, out: &mut Vec<u8>, form: Form, name: &str, fragments: &[Fragment]) {
        let sources = self.sources(name, fragments);
        let all = fragments.iter().zip(&sources);
        // What was pushed to no group has no times of its own.
        let all = all.filter(|(_, source)| !matches!(source, Source::Time(group, _) if group.key.is_bare()));
        if form.format == Format::Text {
            for (fragment, source) in all {
                match *source {
                    Source::Time(group, seconds) => {
                        text::write_field(out, name, group, seconds, form.escaping);
                    }
                    Source::Family(record, block, family) => {
                        let shown = |position| self.shows(name, fragment, position);
                        text::write_fragment(out, &record.group, block, family, form.escaping, shown);
                    }
                }
            }
            return;
        }
        let mut writer = protobuf::Writer::new(std::mem::take(out));
        for (fragment, source) in all {
            match *source {
                Source::Time(group, seconds) => {
                    protobuf::write_field(&mut writer, group, seconds, form.escaping);
                }
                Source::Family(record, block, family) => {
                    let shown = |position| self.shows(name, fragment, position);
                    protobuf::write_fragment(&mut writer, &record.group, block, family, form.escaping, shown);
                }
            }
        }
        *out = writer.finish();
    }

    /// Whether pushes hold lines of a name that a family of our own would have.
    fn is_pushed(&self, own: &OwnFamily) -> bool {
        const SUFFIXES: [&str; 3] = ["_sum", "_count", "_bucket"];
        let is_filled = |number: &u32| {
            self.families[*number as usize].as_ref().is_some_and(|family| family.fragments > 0)
        };
        let held = |name: &str, with_lines: bool| {
            let of_name = self.order.range((name.into(), MetricType::Counter)..);
            of_name
                .take_while(|((held, _), _)| **held == *name)
                .any(|((_, kind), number)| is_filled(number) && (!with_lines || !is_plain(*kind)))
        };
        held(&own.name, false)
            || SUFFIXES.iter().any(|suffix| {
                let stem = own.name.strip_suffix(suffix);
                (!is_plain(own.kind) && held(&format!("{}{suffix}", own.name), false))
                    || stem.is_some_and(|stem| held(stem, true))
            })
    }

    /// The families to show, in order: all of them, except where unchecked pushes contradict.
    fn shown(&self, own: &[&OwnFamily]) -> Vec<u32> {
        let index =
            |number: &u32| self.families[*number as usize].as_ref().expect("numbers lead to families");
        let filled = self.order.values().copied().filter(|number| index(number).fragments > 0);
        if self.owners.is_none() {
            return filled.collect();
        }
        let mut shown: Vec<u32> = Vec::new();
        for number in filled {
            let family = index(&number);
            let own_kind = own.binary_search_by(|own| (*own.name).cmp(&*family.name)).map(|at| own[at].kind);
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
        if kind == MetricType::Gauge && name == times::OVERDUE {
            return Some(times::OVERDUE_HELP);
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

    /// Where the texts and values of fragments of the family `name` are.
    ///
    /// They lie scattered over memory. All are looked at before the first is written, so that the
    /// processor waits for many of them at once.
    fn sources(&self, name: &str, fragments: &[Fragment]) -> SmallVec<[Source<'_>; 32]> {
        let source = |fragment: &Fragment| {
            if fragment.block == TIME {
                let Record { group, state, .. } = self.record(fragment.group);
                let value = match name {
                    times::PUSH_TIME => state.push_time.seconds(),
                    times::OVERDUE => f64::from(u8::from(state.life.is_overdue())),
                    _ => state.failure_time.seconds(),
                };
                black_box(group.key_text.all().as_bytes().first().copied());
                return Source::Time(group, value);
            }
            let (record, block, family) = self.family_of(fragment);
            black_box(block.values.get(block.shape.values_of(family).start).copied());
            black_box(record.group.key_text.all().as_bytes().first().copied());
            Source::Family(record, block, family)
        };
        fragments.iter().map(source).collect()
    }

    /// Whether the series at `position` of a fragment's shape is shown.
    fn shows(&self, name: &str, fragment: &Fragment, position: usize) -> bool {
        let Some(owners) = &self.owners else { return true };
        let (record, block, _) = self.family_of(fragment);
        owners.shows(series_id(name, &block.shape, position, &record.group), fragment.group)
    }
}

/// Finds the segment that begins with the header. If that is another one than before, both change.
fn move_lead(family: &mut FamilyIndex) {
    let lead = family.segments.iter().position(|segment| !segment.is_empty()).map(|at| at as u32);
    if lead != family.lead {
        for lead in [family.lead, lead].into_iter().flatten() {
            family.segments[lead as usize].touch();
        }
        family.lead = lead;
    }
}

/// Whether a series of this type is one line.
fn is_plain(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter | MetricType::Gauge | MetricType::Untyped)
}

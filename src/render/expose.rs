//! From the index to an exposition: families in order, each from its segments, our own among them.
//!
//! Segments that did not change are taken as the bytes they are; the others are rendered and coded here,
//! and kept.

use bytes::Bytes;

use super::coding::{Coder, Piece};
use super::index::{FamilyIndex, Index, Record, TIME};
use super::negotiate::{Encoding, Form, Format, Wanted};
use super::segment::{Fragment, Segment};
use super::{openmetrics, own, protobuf, prototext, text};
use crate::model::MetricType;
use crate::store::group::{Block, Group};
use crate::store::series_id;
use crate::store::shape::FamilyShape;
use crate::store::times;
use crate::telemetry::OwnFamily;

/// An exposition in the making.
struct Pieces<'c> {
    wanted: Wanted,
    coder: &'c mut Coder,
    /// Bytes of no segment since the last piece: our own families, heads of protobuf families.
    loose: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Pieces<'_> {
    fn push(&mut self, piece: Piece) {
        // Where pushes are not checked, everything in a segment may be hidden.
        if piece.plain_len() > 0 {
            self.end_loose();
            self.pieces.push(piece);
        }
    }

    /// Makes one piece of the loose bytes that stand together.
    fn end_loose(&mut self) {
        if !self.loose.is_empty() {
            let loose = std::mem::take(&mut self.loose).into();
            self.pieces.push(self.coder.piece(loose, self.wanted.encoding));
        }
    }
}

impl Index {
    /// The whole exposition as `wanted`, our own families among the pushed ones.
    pub fn expose(&mut self, wanted: Wanted, own: &[OwnFamily], coder: &mut Coder) -> Vec<Piece> {
        let Wanted { form, encoding } = wanted;
        if !matches!(form.format, Format::Text | Format::ProtoDelimited) {
            // Asked for by people, or only where an operator offers it: made anew each time.
            let form = Form { format: Format::ProtoDelimited, ..form };
            let plain = Wanted { form, encoding: Encoding::Identity };
            let delimited: Vec<Bytes> =
                self.expose(plain, own, coder).into_iter().map(|piece| piece.bytes).collect();
            let delimited = delimited.concat();
            let text = match wanted.form.format {
                Format::OpenMetrics0 | Format::OpenMetrics1 => openmetrics::of_delimited(&delimited),
                format => prototext::of_delimited(&delimited, format),
            };
            return vec![coder.piece(text.into(), encoding)];
        }
        let own: Vec<&OwnFamily> = own.iter().filter(|own| !own.yields || !self.is_pushed(own)).collect();
        let own = &own[..];
        let shown = self.shown(own);
        let mut out = Pieces { wanted, coder, loose: Vec::new(), pieces: Vec::new() };
        let mut own = own.iter().copied().peekable();
        for number in shown {
            let mut family = self.families[number as usize].take().expect("numbers lead to families");
            while let Some(before) = own.next_if(|own| *own.name < *family.name) {
                own::write_family(&mut out.loose, form, before);
            }
            let same = own.next_if(|own| *own.name == *family.name);
            if form.format == Format::Text {
                self.expose_text(&mut family, same, &mut out);
            } else {
                self.expose_delimited(&mut family, same, &mut out);
            }
            self.families[number as usize] = Some(family);
        }
        own.for_each(|own| own::write_family(&mut out.loose, form, own));
        out.end_loose();
        out.pieces
    }

    /// The lines of a family. The header is part of its first segment.
    fn expose_text(&self, family: &mut FamilyIndex, own: Option<&OwnFamily>, out: &mut Pieces<'_>) {
        let lead = family.segments.iter().position(|segment| !segment.is_empty()).map(|at| at as u32);
        if lead != family.lead {
            for lead in [family.lead, lead].into_iter().flatten() {
                family.segments[lead as usize].touch();
            }
            family.lead = lead;
        }
        let form = out.wanted.form;
        for (at, segment) in family.segments.iter_mut().enumerate().filter(|(_, s)| !s.is_empty()) {
            let piece = piece(segment, out, family.exotic, |fragments, text| {
                if lead == Some(at as u32) {
                    let help = own.map(|own| &*own.help);
                    let help = help.or_else(|| self.help(family.kind, &family.name, fragments));
                    text::write_header(text, &family.name, help, family.kind, form.escaping);
                }
                for fragment in fragments {
                    self.write_fragment(text, form, &family.name, fragment);
                }
            });
            out.push(piece);
        }
        match own {
            Some(own) if lead.is_some() => own::write_lines(&mut out.loose, own),
            Some(own) => own::write_family(&mut out.loose, form, own),
            None => {}
        }
    }

    /// A family as one message behind its length, which is known only when all series are there.
    fn expose_delimited(&self, family: &mut FamilyIndex, own: Option<&OwnFamily>, out: &mut Pieces<'_>) {
        let form = out.wanted.form;
        let mut help = own.map(|own| &*own.help);
        let mut pieces = Vec::with_capacity(family.segments.len());
        for segment in family.segments.iter_mut().filter(|segment| !segment.is_empty()) {
            help = help.or_else(|| self.help(family.kind, &family.name, &segment.fragments));
            pieces.push(piece(segment, out, false, |fragments, bytes| {
                let mut writer = protobuf::Writer::default();
                for fragment in fragments {
                    self.write_metrics(&mut writer, form, &family.name, fragment);
                }
                bytes.extend_from_slice(&writer.finish());
            }));
        }
        let own = own.map(own::metrics).unwrap_or_default();
        let len = own.len() + pieces.iter().map(Piece::plain_len).sum::<usize>();
        if len > 0 {
            let head = protobuf::head(&family.name, help, family.kind, form.escaping, len);
            out.loose.extend_from_slice(&head);
            pieces.into_iter().for_each(|piece| out.push(piece));
            out.loose.extend_from_slice(&own);
        }
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
        let Some(owners) = &self.owners else { return true };
        let (record, block, _) = self.family_of(fragment);
        owners.shows(series_id(name, &block.shape, position, &record.group), fragment.group)
    }
}

/// Whether a series of this type is one line.
fn is_plain(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter | MetricType::Gauge | MetricType::Untyped)
}

/// The piece of a segment: kept, or made by `write` and kept. Only what is asked for is kept: where
/// scrapers take gzip, no plain text stays.
fn piece(
    segment: &mut Segment,
    out: &mut Pieces<'_>,
    exotic_name: bool,
    write: impl FnOnce(&[Fragment], &mut Vec<u8>),
) -> Piece {
    let wanted = segment.kept_as(out.wanted, exotic_name);
    if let Some(piece) = segment.kept(wanted) {
        return piece.clone();
    }
    let plain = Wanted { encoding: Encoding::Identity, ..wanted };
    let plain = segment.kept(plain).map(|piece| piece.bytes.clone()).unwrap_or_else(|| {
        let mut bytes = Vec::with_capacity(segment.bytes + segment.bytes / 8 + 256);
        write(&segment.fragments, &mut bytes);
        bytes.shrink_to_fit();
        bytes.into()
    });
    let piece = out.coder.piece(plain, wanted.encoding);
    segment.keep(wanted, piece.clone());
    piece
}

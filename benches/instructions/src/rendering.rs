//! State to bytes: lines of a segment, a segment compressed, segments stitched to one gzip member.

use std::sync::Arc;

use bytes::Bytes;
use floodway::format::escape::Escaping;
use floodway::render::coding::{Coder, Piece, Stitcher};
use floodway::render::negotiate::Encoding;
use floodway::render::text;
use floodway::store::group::{Group, GroupState};

use crate::storing;

/// A group of 100 series as it is, and room for its lines.
pub type Lines = (Arc<Group>, GroupState, Vec<u8>);

pub fn group() -> Lines {
    let (store, ..) = storing::filled(1);
    let group = store.groups().remove(0);
    let state = group.load().expect("nobody has deleted it");
    (group, state, Vec::with_capacity(16 << 10))
}

pub fn render((group, state, mut out): Lines) -> Lines {
    for (held, _, family) in state.families() {
        text::write_fragment(&mut out, &group, &held.block, family, Escaping::AllowUtf8, |_| true);
    }
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 100);
    (group, state, out)
}

/// A compressor that has worked before, and a segment of about 10 KB.
pub fn segment() -> (Coder, Vec<u8>) {
    compress((Coder::default(), render(group()).2))
}

pub fn compress((mut coder, text): (Coder, Vec<u8>)) -> (Coder, Vec<u8>) {
    let piece = coder.piece(&text, Encoding::Gzip, None);
    assert_eq!(piece.plain_len(), text.len());
    assert!(piece.bytes.len() < text.len() / 5);
    (coder, text)
}

/// A thousand segments, compressed.
pub fn pieces() -> Vec<Piece> {
    let (mut coder, text) = segment();
    (0..1000).map(|_| coder.piece(&text, Encoding::Gzip, None)).collect()
}

pub fn stitch(pieces: Vec<Piece>) -> (Vec<Piece>, Vec<Bytes>) {
    let mut stitcher = Stitcher::new(Encoding::Gzip);
    pieces.iter().for_each(|piece| stitcher.push(piece));
    let slices = stitcher.finish().list().to_vec();
    // RFC 1952 section 2.3.1: the length of what was compressed comes last.
    let plain: usize = pieces.iter().map(Piece::plain_len).sum();
    let trailer = slices.last().expect("a member ends with its trailer");
    assert_eq!(trailer[trailer.len() - 4..], (plain as u32).to_le_bytes());
    (pieces, slices)
}

//! Any bytes cut into segments and stitched: one gzip member that a strict reader turns back into them, and
//! the same by zstd frames. The first byte says how long the first segment is, and so on.

#![no_main]

use std::cell::RefCell;
use std::io::Read;

use bytes::Bytes;
use floodway::gateway::Encoding;
use floodway::http::encoding::Coding;
use floodway::render::coding::{Coder, Piece, Stitcher};
use libfuzzer_sys::fuzz_target;

thread_local! {
    /// With the segments of the last input, which are written over.
    static CODER: RefCell<(Coder, Vec<Bytes>)> = RefCell::default();
}

fuzz_target!(|input: &[u8]| {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut rest = input;
    while let Some((&length, after)) = rest.split_first() {
        let (segment, after) = after.split_at((usize::from(length) * 4).min(after.len()));
        segments.push(segment);
        rest = after;
    }
    let whole = segments.concat();
    CODER.with_borrow_mut(|(coder, old)| {
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
            let pieces: Vec<Piece> =
                segments.iter().map(|segment| coder.piece(segment, encoding, old.pop())).collect();
            let mut stitcher = Stitcher::new(encoding);
            pieces.iter().for_each(|piece| stitcher.push(piece));
            let body = stitcher.finish().list().concat();
            old.extend(pieces.into_iter().map(|piece| piece.bytes));
            match encoding {
                Encoding::Identity => assert_eq!(body, whole),
                Encoding::Gzip => {
                    let mut plain = Vec::new();
                    let mut member = flate2::bufread::GzDecoder::new(&body[..]);
                    member.read_to_end(&mut plain).expect("a member");
                    assert!(member.into_inner().is_empty());
                    assert_eq!(plain, whole);
                }
                Encoding::Zstd => {
                    let plain = Coding::Zstd.decode(body.into(), 1 << 20).expect("frames");
                    assert_eq!(plain, whole);
                }
            }
        }
    });
});

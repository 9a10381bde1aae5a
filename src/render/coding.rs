//! Content codings made of pieces: one gzip member stitched from segments that were deflated alone, one
//! zstd frame for each segment.
//!
//! A deflated segment is a run of deflate blocks ended by a sync flush, so it ends on a byte and refers
//! to nothing before itself. Such runs one after the other, between a gzip header and an empty last
//! block with the joined CRC and the length, are a single valid member (RFC 1951, RFC 1952); readers
//! that stop after the first member of several lose nothing. Zstd frames simply follow each other
//! (RFC 8878 section 3.1).

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

use super::crc::Crc;
use super::negotiate::Encoding;

/// A fast level: on exposition text higher ones cost several times the CPU for a fifth of the size.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

/// Magic, deflate, no flags, no time, no extra flags, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A last block with nothing in it.
const DEFLATE_END: [u8; 2] = [3, 0];

/// A zstd frame of nothing: its magic, a descriptor with a one-byte size, size zero, an empty last block.
const ZSTD_EMPTY: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];

/// A part of an exposition in one coding.
#[derive(Clone, Debug)]
pub struct Piece {
    pub bytes: Bytes,
    /// CRC of the plain bytes; only kept for gzip.
    crc: Crc,
    plain_len: usize,
}

impl Piece {
    /// How many bytes it stands for.
    pub fn plain_len(&self) -> usize {
        self.plain_len
    }
}

/// Makes pieces; keeps its compressors, which are large, from one to the next.
pub struct Coder {
    deflate: Compress,
    zstd: zstd::bulk::Compressor<'static>,
    out: Vec<u8>,
}

impl Default for Coder {
    fn default() -> Coder {
        Coder {
            deflate: Compress::new(Compression::new(GZIP_LEVEL), false),
            zstd: zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("the level is one that zstd has"),
            out: Vec::new(),
        }
    }
}

impl Coder {
    /// `plain` in `encoding`.
    pub fn piece(&mut self, plain: Bytes, encoding: Encoding) -> Piece {
        let plain_len = plain.len();
        match encoding {
            Encoding::Identity => Piece { bytes: plain, crc: Crc::EMPTY, plain_len },
            Encoding::Gzip => Piece { crc: Crc::of(&plain), bytes: self.deflated(&plain), plain_len },
            Encoding::Zstd => Piece { bytes: self.zstd_frame(&plain), crc: Crc::EMPTY, plain_len },
        }
    }

    fn deflated(&mut self, plain: &[u8]) -> Bytes {
        // A window carried over from another segment would refer to bytes that are not there.
        self.deflate.reset();
        self.out.clear();
        // Enough for text that compresses; the loop finds room for what does not.
        self.out.reserve(plain.len() / 3 + 64);
        let mut read = 0;
        loop {
            let before = self.deflate.total_in();
            let status = self.deflate.compress_vec(&plain[read..], &mut self.out, FlushCompress::Sync);
            status.expect("a compressor in its stream takes any input");
            read += (self.deflate.total_in() - before) as usize;
            // A flush is whole once it leaves room in the output.
            if read == plain.len() && self.out.len() < self.out.capacity() {
                return Bytes::copy_from_slice(&self.out);
            }
            self.out.reserve(plain.len() / 2 + 64);
        }
    }

    fn zstd_frame(&mut self, plain: &[u8]) -> Bytes {
        self.zstd.compress(plain).expect("memory is all that zstd can lack").into()
    }
}

/// The body made of `pieces`, all of them in `encoding`.
pub fn stitch(pieces: &[Piece], encoding: Encoding) -> Vec<Bytes> {
    let mut slices = Vec::with_capacity(pieces.len() + 2);
    match encoding {
        Encoding::Zstd if pieces.is_empty() => slices.push(Bytes::from_static(&ZSTD_EMPTY)),
        Encoding::Identity | Encoding::Zstd => slices.extend(pieces.iter().map(|piece| piece.bytes.clone())),
        Encoding::Gzip => {
            let crc = pieces.iter().fold(Crc::EMPTY, |crc, piece| crc.join(piece.crc));
            // RFC 1952 counts the length modulo 2^32.
            let plain_len = pieces.iter().fold(0u32, |sum, piece| sum.wrapping_add(piece.plain_len as u32));
            slices.push(Bytes::from_static(&GZIP_HEADER));
            slices.extend(pieces.iter().map(|piece| piece.bytes.clone()));
            let mut end = DEFLATE_END.to_vec();
            end.extend_from_slice(&crc.value().to_le_bytes());
            end.extend_from_slice(&plain_len.to_le_bytes());
            slices.push(end.into());
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn coded(pieces: &[Vec<u8>], encoding: Encoding) -> Vec<u8> {
        let mut coder = Coder::default();
        let pieces: Vec<Piece> =
            pieces.iter().map(|plain| coder.piece(plain.clone().into(), encoding)).collect();
        stitch(&pieces, encoding).concat()
    }

    /// Text that repeats itself, or bytes that do not.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let text = (0..50usize, 0..400usize).prop_map(|(seed, lines)| {
            (0..lines)
                .map(|i| format!("m{{i=\"{}\"}} {}\n", i % 7, i * seed))
                .collect::<String>()
                .into_bytes()
        });
        prop_oneof![text, prop::collection::vec(any::<u8>(), 0..3000)]
    }

    proptest! {
        #[test]
        fn a_gzip_answer_is_one_member_and_gives_the_text_back(pieces in prop::collection::vec(piece(), 0..6)) {
            let gzip = coded(&pieces, Encoding::Gzip);
            let mut plain = Vec::new();
            // A reader of a single member, which must use up all there is.
            let mut reader = flate2::bufread::GzDecoder::new(&gzip[..]);
            reader.read_to_end(&mut plain).unwrap();
            prop_assert_eq!(plain, pieces.concat());
            prop_assert!(reader.into_inner().is_empty());
        }

        #[test]
        fn zstd_frames_give_the_text_back(pieces in prop::collection::vec(piece(), 0..6)) {
            let coded = coded(&pieces, Encoding::Zstd);
            prop_assert_eq!(zstd::stream::decode_all(&coded[..]).unwrap(), pieces.concat());
        }
    }
}

//! Content codings made of pieces: one gzip member stitched from segments that were deflated alone, one
//! zstd frame for each segment.
//!
//! A deflated segment is a run of deflate blocks ended by a sync flush, so it ends on a byte and refers
//! to nothing before itself. Such runs one after the other, between a gzip header and an empty last
//! block with the joined CRC and the length, are a single valid member (RFC 1951, RFC 1952); readers
//! that stop after the first member of several lose nothing. Zstd frames simply follow each other
//! (RFC 8878 section 3.1).

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress};

use super::crc::Crc;
use super::negotiate::Encoding;
use super::slices::Slices;

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
    /// `plain` in `encoding`. What stays plain is written over `old` if that has about the size and
    /// nobody else holds it.
    pub fn piece(&mut self, plain: &[u8], encoding: Encoding, old: Option<Bytes>) -> Piece {
        let plain_len = plain.len();
        match encoding {
            Encoding::Identity => Piece { bytes: stored(plain, old), crc: Crc::EMPTY, plain_len },
            Encoding::Gzip => Piece { crc: Crc::of(plain), bytes: self.deflated(plain), plain_len },
            Encoding::Zstd => Piece { bytes: self.zstd_frame(plain), crc: Crc::EMPTY, plain_len },
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

/// `text` in memory of its own. Going round the allocator spares a rendering of everything most of its
/// page faults.
fn stored(text: &[u8], old: Option<Bytes>) -> Bytes {
    // A little more than now, since values that grow should fit the next time.
    let room = text.len() + text.len() / 32;
    let fits = |old: &BytesMut| (text.len()..=room + room / 4).contains(&old.capacity());
    let old = old.and_then(|old| old.try_into_mut().ok()).filter(fits);
    let mut buffer = old.unwrap_or_else(|| BytesMut::with_capacity(room));
    buffer.clear();
    buffer.extend_from_slice(text);
    buffer.freeze()
}

/// A body being put together from pieces of one coding.
pub struct Stitcher {
    encoding: Encoding,
    slices: Vec<Bytes>,
    crc: Crc,
    /// RFC 1952 counts the length modulo 2^32.
    plain_len: u32,
}

impl Stitcher {
    pub fn new(encoding: Encoding) -> Stitcher {
        let slices = match encoding {
            Encoding::Gzip => vec![Bytes::from_static(&GZIP_HEADER)],
            Encoding::Identity | Encoding::Zstd => Vec::new(),
        };
        Stitcher { encoding, slices, crc: Crc::EMPTY, plain_len: 0 }
    }

    pub fn push(&mut self, piece: &Piece) {
        self.crc = self.crc.join(piece.crc);
        self.plain_len = self.plain_len.wrapping_add(piece.plain_len as u32);
        self.slices.push(piece.bytes.clone());
    }

    /// The whole body.
    pub fn finish(mut self) -> Slices {
        match self.encoding {
            Encoding::Identity => {}
            Encoding::Zstd if self.slices.is_empty() => self.slices.push(Bytes::from_static(&ZSTD_EMPTY)),
            Encoding::Zstd => {}
            Encoding::Gzip => {
                let mut end = DEFLATE_END.to_vec();
                end.extend_from_slice(&self.crc.value().to_le_bytes());
                end.extend_from_slice(&self.plain_len.to_le_bytes());
                self.slices.push(end.into());
            }
        }
        self.slices.into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn coded(pieces: &[Vec<u8>], encoding: Encoding) -> Vec<u8> {
        let mut coder = Coder::default();
        let mut body = Stitcher::new(encoding);
        pieces.iter().for_each(|plain| body.push(&coder.piece(plain, encoding, None)));
        body.finish().list().concat()
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

    #[test]
    fn text_is_written_over_what_nobody_holds() {
        let text = |byte, len| vec![byte; len];
        let place = |bytes: &Bytes| bytes.as_ptr() as usize;
        let first = stored(&text(b'a', 1000), None);
        let at = place(&first);
        let second = stored(&text(b'b', 1030), Some(first));
        assert_eq!((place(&second), &*second), (at, &*text(b'b', 1030)));
        let held = second.clone();
        let third = stored(&text(b'c', 1000), Some(second));
        assert_ne!(place(&third), at);
        assert_eq!((&*held, &*third), (&*text(b'b', 1030), &*text(b'c', 1000)));
        for (len, room) in [(1032, 1040), (700, 800)] {
            let other = stored(&text(b'd', len), Some(stored(&text(b'c', 1000), None)));
            assert_eq!(&*other, &*text(b'd', len));
            assert!(other.try_into_mut().unwrap().capacity() <= room.max(1064), "{len}");
        }
    }
}

//! Every coding: round trips, the reference's texts for what is broken, bombs, and damage of every kind.

use std::io::Write;

use ::zstd::zstd_safe;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;
use crate::model::Limit;

const MAX: usize = 1 << 20;
const TEXT: &[u8] = b"# TYPE x counter\nx{a=\"1\"} 1\nx{a=\"2\"} 2\nx{a=\"3\"} 3\n";
const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Snappy];

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn bare_deflate(text: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// With a checksum, so that damage shows.
fn zstd_with(text: &[u8], window_log: Option<u32>) -> Vec<u8> {
    let mut encoder = zstd_safe::CCtx::create();
    encoder.set_parameter(zstd_safe::CParameter::ChecksumFlag(true)).unwrap();
    encoder.set_parameter(zstd_safe::CParameter::ContentSizeFlag(window_log.is_none())).unwrap();
    if let Some(window_log) = window_log {
        encoder.set_parameter(zstd_safe::CParameter::WindowLog(window_log)).unwrap();
    }
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
    encoder.compress2(&mut out, text).unwrap();
    out
}

fn snappy_frames(text: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(text).unwrap();
    encoder.into_inner().unwrap()
}

fn snappy_block(text: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(text).unwrap()
}

/// The forms that each coding's bodies come in.
fn forms(coding: Coding, text: &[u8]) -> Vec<Vec<u8>> {
    match coding {
        Coding::Identity => vec![text.to_vec()],
        Coding::Gzip => vec![gzip(text)],
        Coding::Deflate => (0..=9).map(|level| bare_deflate(text, level)).chain([zlib(text)]).collect(),
        Coding::Zstd => vec![zstd_with(text, None), zstd_with(text, Some(12))],
        Coding::Snappy => vec![snappy_frames(text), snappy_block(text)],
    }
}

fn decode(coding: Coding, body: &[u8]) -> Result<Bytes, Refusal> {
    coding.decode(Bytes::copy_from_slice(body), MAX)
}

#[track_caller]
fn check_fault(coding: Coding, body: &[u8], text: &str) {
    let refusal = decode(coding, body).expect_err(text);
    assert_eq!((refusal.reason, &*refusal.text), (Reason::Malformed, text));
}

#[test]
fn what_content_encoding_names() {
    for (name, coding) in [
        ("", Coding::Identity),
        ("IDENTITY", Coding::Identity),
        ("gzip", Coding::Gzip),
        ("X-GZIP", Coding::Gzip),
        ("Deflate", Coding::Deflate),
        ("zstd", Coding::Zstd),
        ("Snappy", Coding::Snappy),
    ] {
        assert_eq!(Coding::of(Some(name.as_bytes())), Ok(coding), "{name}");
    }
    assert_eq!(Coding::of(None), Ok(Coding::Identity));
    for other in ["br", "gzip, gzip", "gzip,", "identity, identity", "x-snappy-framed"] {
        let refusal = Coding::of(Some(other.as_bytes())).unwrap_err();
        assert_eq!(refusal.reason, Reason::UnsupportedEncoding, "{other}");
        assert_eq!(
            refusal.text,
            "unsupported Content-Encoding, supported are gzip, deflate, zstd, snappy, identity"
        );
    }
}

#[test]
fn broken_gzip_in_the_words_of_the_reference() {
    let whole = gzip(TEXT);
    let damaged = |at: usize| {
        let mut body = whole.clone();
        body[at] ^= 0x55;
        body
    };
    let check = |body: &[u8], text: &str| check_fault(Coding::Gzip, body, text);
    check(b"", "EOF");
    check(b"x 1\n", "unexpected EOF");
    check(b"c214_m 1\nc214_n 2\n", "gzip: invalid header");
    check(&whole[..5], "unexpected EOF");
    check(&whole[..whole.len() - 1], "unexpected EOF");
    check(&whole[..whole.len() - 9], "unexpected EOF");
    check(&[&whole[..], b"junk"].concat(), "unexpected EOF");
    check(&[&whole[..], b"more than ten bytes"].concat(), "gzip: invalid header");
    check(&damaged(whole.len() - 1), "gzip: invalid checksum");
    check(&damaged(whole.len() - 8), "gzip: invalid checksum");
    // A compression method that nobody has defined.
    check(&damaged(2), "gzip: invalid header");
    // A block of the reserved type.
    let reserved = [&whole[..10], &[0x07], &whole[11..]].concat();
    let refusal = decode(Coding::Gzip, &reserved).unwrap_err();
    assert!(refusal.text.starts_with("flate: corrupt input before offset "), "{refusal}");

    assert!(Coding::Gzip.check_start(&whole[..10]).is_ok());
    assert_eq!(Coding::Gzip.check_start(b"").unwrap_err().text, "EOF");
    assert_eq!(Coding::Gzip.check_start(&whole[..9]).unwrap_err().text, "unexpected EOF");
}

#[test]
fn gzip_members_and_their_optional_parts() {
    let two = [gzip(b"x 1\n"), gzip(b""), gzip(b"y 2\n")].concat();
    assert_eq!(decode(Coding::Gzip, &two).unwrap(), "x 1\ny 2\n");
    assert_eq!(decode(Coding::Gzip, &gzip(b"")).unwrap(), "");

    let plain = gzip(TEXT);
    let header = |flags: u8, parts: &[u8]| {
        let mut body = plain[..10].to_vec();
        body[3] = flags;
        body.extend_from_slice(parts);
        body
    };
    let with_all = header(4 + 8 + 16, b"\x03\x00abcname\0comment\0");
    assert_eq!(decode(Coding::Gzip, &[&with_all, &plain[10..]].concat()).unwrap(), TEXT);
    let mut crc = flate2::Crc::new();
    let named = header(2 + 8, b"n\0");
    crc.update(&named);
    let sum = (crc.sum() as u16).to_le_bytes();
    assert_eq!(decode(Coding::Gzip, &[&named, &sum[..], &plain[10..]].concat()).unwrap(), TEXT);
    check_fault(
        Coding::Gzip,
        &[&named, &[sum[0] ^ 1, sum[1]][..], &plain[10..]].concat(),
        "gzip: invalid header",
    );
    check_fault(Coding::Gzip, &header(4, b"\x03\x00ab"), "unexpected EOF");
    check_fault(Coding::Gzip, &header(8, b"endless"), "unexpected EOF");
    check_fault(Coding::Gzip, &header(8, &[b'n'; 600]), "gzip: invalid header");
}

#[test]
fn broken_bodies_of_the_other_codings() {
    let zlib = zlib(TEXT);
    check_fault(Coding::Deflate, b"", "EOF");
    check_fault(Coding::Deflate, &zlib[..zlib.len() - 1], "unexpected EOF");
    check_fault(Coding::Deflate, &[&zlib[..], b"x"].concat(), "deflate: data after the end of the stream");
    check_fault(Coding::Deflate, b"\x07x", "deflate: corrupt input");
    // Wants a dictionary.
    check_fault(Coding::Deflate, b"\x78\xbb\0\0\0\0\x03\0\0\0\0\x01", "deflate: corrupt input");

    let frame = zstd_with(TEXT, None);
    check_fault(Coding::Zstd, b"", "EOF");
    check_fault(Coding::Zstd, &frame[..frame.len() - 1], "unexpected EOF");
    check_fault(Coding::Zstd, b"x 1\ny 2\n", "zstd: Unknown frame descriptor");
    check_fault(Coding::Zstd, &[&frame[..], b"x"].concat(), "zstd: Unknown frame descriptor");
    let frames = [&frame[..], b"\x50\x2a\x4d\x18\x02\0\0\0ab", &frame].concat();
    assert_eq!(decode(Coding::Zstd, &frames).unwrap(), [TEXT, TEXT].concat());

    let framed = snappy_frames(TEXT);
    for body in [&b"x 1\n"[..], &framed[..framed.len() - 1], &framed[..12], &[&framed[..], b"x"].concat()] {
        check_fault(Coding::Snappy, body, "snappy: corrupt input");
    }
    assert_eq!(decode(Coding::Snappy, b"").unwrap(), "");
    assert_eq!(decode(Coding::Snappy, &framed[..10]).unwrap(), "");
    assert_eq!(decode(Coding::Snappy, &[&framed[..], &framed].concat()).unwrap(), [TEXT, TEXT].concat());
    // Uncompressed, padding and skippable chunks.
    let chunks = [
        &framed[..10],
        b"\x01\x0b\x00\x00\xee\xdf\xd30sn_m 1\n\xfe\x03\x00\x00\x00\x00\x00\x80\x02\x00\x00xy",
    ]
    .concat();
    assert_eq!(decode(Coding::Snappy, &chunks).unwrap(), "sn_m 1\n");
}

#[test]
fn no_claim_allocates() {
    // A block of snappy that claims four gigabytes, and a zstd window of 128 MiB.
    check_fault(Coding::Snappy, b"\xff\xff\xff\xff\x0f\x00x", "snappy: corrupt input");
    let with_window = |log: u8| [&b"\x28\xb5\x2f\xfd\x00"[..], &[(log - 10) << 3], b"\x21\0\0x 1\n"].concat();
    let text = "zstd: Frame requires too much memory for decoding";
    check_fault(Coding::Zstd, &with_window(27), text);
    check_fault(Coding::Zstd, &with_window(24), text);
    // What RFC 9659 asks every recipient to take.
    assert_eq!(decode(Coding::Zstd, &with_window(23)).unwrap(), "x 1\n");
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; MAX + 1];
    for coding in CODINGS {
        for body in forms(coding, &zeros[..MAX]) {
            assert_eq!(decode(coding, &body).unwrap().len(), MAX, "{coding:?}");
        }
        for body in forms(coding, &zeros) {
            let refusal = decode(coding, &body).unwrap_err();
            assert_eq!(refusal.reason, Reason::TooLarge(Limit::DecodedBytes), "{coding:?}");
            assert_eq!(
                refusal.text,
                "request body unpacks to more than the limit of 1048576 bytes (--limit.decoded-bytes)"
            );
        }
    }
    let members = gzip(&zeros[..MAX / 2]).repeat(3);
    assert_eq!(decode(Coding::Gzip, &members).unwrap_err().reason, Reason::TooLarge(Limit::DecodedBytes));
}

#[test]
fn every_cut_is_refused() {
    for coding in CODINGS {
        for body in forms(coding, TEXT) {
            for end in 1..body.len() {
                match decode(coding, &body[..end]) {
                    // Only the stream identifier of snappy, alone, is whole: an empty stream.
                    Ok(text) => {
                        assert!(coding == Coding::Snappy && end == 10 && text.is_empty(), "{coding:?} {end}")
                    }
                    Err(refusal) => assert_eq!(refusal.reason, Reason::Malformed),
                }
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_or_harmless() {
    for coding in CODINGS {
        for (form, body) in forms(coding, TEXT).into_iter().enumerate() {
            // Bare deflate and raw snappy carry no checksum.
            let is_checked = match coding {
                Coding::Deflate => form == 10,
                Coding::Snappy => form == 0,
                _ => true,
            };
            for bit in 0..body.len() * 8 {
                let mut damaged = body.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                if let Ok(text) = decode(coding, &damaged) {
                    // A chunk of snappy whose type is turned into one to be skipped is none.
                    let is_skipped = coding == Coding::Snappy && text.is_empty();
                    assert!(!is_checked || is_skipped || text == TEXT, "{coding:?} {bit}: {text:?}");
                }
            }
        }
    }
}

#[test]
fn large_bodies_are_unpacked_by_helpers() {
    let decoders = Decoders::start(8 * MAX).unwrap();
    let text = b"some_metric 1\n".repeat(400_000);
    for coding in CODINGS {
        for body in forms(coding, &text) {
            let decoded = block_on(decoders.decode(coding, body.into()));
            assert!(decoded.unwrap() == text, "{coding:?}");
        }
        let body = forms(coding, &vec![b'\n'; 8 * MAX + 1]).remove(0);
        let refusal = block_on(decoders.decode(coding, body.into())).unwrap_err();
        assert_eq!(
            refusal.text,
            "request body unpacks to more than the limit of 8388608 bytes (--limit.decoded-bytes)"
        );
        let small = forms(coding, TEXT).remove(0);
        assert_eq!(block_on(decoders.decode(coding, small.into())).unwrap(), TEXT);
    }
}

/// Runs a future that another thread completes.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

proptest! {
    #[test]
    fn what_was_packed_comes_back(text in prop::collection::vec(0u8..6, 0..3000), noise: Vec<u8>) {
        let text = [text, noise].concat();
        for coding in CODINGS {
            for body in forms(coding, &text) {
                prop_assert_eq!(decode(coding, &body), Ok(Bytes::from(text.clone())), "{:?}", coding);
            }
        }
    }

    #[test]
    fn no_bytes_are_too_strange(bytes: Vec<u8>, cut in 0usize..40) {
        for coding in CODINGS {
            let _ = decode(coding, &bytes);
            for mut body in forms(coding, TEXT) {
                let at = cut.min(body.len());
                body.splice(at.., bytes.iter().copied());
                let _ = decode(coding, &body);
            }
        }
    }
}

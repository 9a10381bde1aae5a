//! Content codings that lie, and bodies over their limits.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::common::hostile::{Closed, Kept, Siege, push, push_with};
use crate::common::{Server, request_bytes};

const PATH: &str = "/metrics/job/hostile";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    request_bytes("PUT", PATH, &[("Content-Encoding", coding)], body)
}

/// The most memory that the server ever had resident, in bytes.
fn peak_memory(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn damaged_gzip_is_refused_as_a_whole() {
    let mut siege = Siege::begin(&[]);
    let whole = gzip(b"m 1\n");
    let end = whole.len();
    let with = |at: usize, byte: u8| {
        let mut damaged = whole.clone();
        damaged[at] ^= byte;
        damaged
    };
    for (body, says) in [
        (b"".to_vec(), "EOF"),
        (b"m 1\n".to_vec(), "unexpected EOF"),
        (b"m{a=\"no gzip at all\"} 1\n".to_vec(), "gzip: invalid header"),
        (with(0, 1), "gzip: invalid header"),
        (with(2, 1), "gzip: invalid header"),
        (with(end - 8, 1), "gzip: invalid checksum"),
        (with(end - 4, 1), "gzip: invalid checksum"),
        ([&whole[..], b"junk behind it"].concat(), "gzip: invalid header"),
        ([&whole[..], b"j"].concat(), "unexpected EOF"),
        ([&whole[..], &whole[..end - 1]].concat(), "unexpected EOF"),
        ([&whole[..10], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"].concat(), "corrupt input"),
    ] {
        siege.refused(&coded("gzip", &body), 400, says, Kept);
    }
    for cut in 0..end {
        siege.refused(&coded("gzip", &whole[..cut]), 400, "EOF", Kept);
    }
}

#[test]
fn gzip_members_are_one_body() {
    let mut siege = Siege::begin(&[]);
    let members = [gzip(b"m 1"), gzip(b""), gzip(b"\nn 2\n")].concat();
    siege.answered(&coded("gzip", &members), 200);
    let scrape = siege.server.scrape();
    assert_eq!(scrape.samples("m"), [r#"m{instance="",job="hostile"} 1"#]);
    assert_eq!(scrape.samples("n"), [r#"n{instance="",job="hostile"} 2"#]);
}

/// 200 KB that unpack to 200 MB, in each coding that can do it: refused at the limit, with no more memory
/// than the limit asks for.
#[test]
fn bombs_are_refused_at_the_limit_and_cost_no_more_than_that() {
    const LIMIT: usize = 4 << 20;
    let mut siege = Siege::begin(&["--limit.decoded-bytes=4194304", "--limit.body-bytes=4194304"]);
    let blanks = vec![b' '; 200 << 20];
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(&blanks).unwrap();
    let mut frames = snap::write::FrameEncoder::new(Vec::new());
    frames.write_all(&blanks[..30 << 20]).unwrap();
    let once = gzip(&blanks);
    let bombs = [
        ("gzip", once.clone()),
        ("gzip", [gzip(b"m 1\n"), once.clone()].concat()),
        ("deflate", zlib.finish().unwrap()),
        ("zstd", zstd::bulk::compress(&blanks, 3).unwrap()),
        ("snappy", frames.into_inner().unwrap()),
    ];
    let before = peak_memory(&siege.server);
    for (coding, bomb) in &bombs {
        siege.refused(&coded(coding, bomb), 413, "unpacks to more than the limit of 4194304 bytes", Kept);
    }
    // A bomb in a bomb is bytes that are no metrics.
    siege.refused(&coded("gzip", &gzip(&once)), 400, "text format parsing error", Kept);
    let more = peak_memory(&siege.server).saturating_sub(before);
    assert!(more < 8 * LIMIT, "{more} bytes");
}

#[test]
fn damaged_snappy_is_refused() {
    let mut siege = Siege::begin(&[]);
    let mut frames = snap::write::FrameEncoder::new(Vec::new());
    frames.write_all(b"m 1\n").unwrap();
    let whole = frames.into_inner().unwrap();
    let with = |at: usize| {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        damaged
    };
    let frames_in_a_block = snap::raw::Encoder::new().compress_vec(&whole).unwrap();
    for body in [
        with(0),
        with(5),
        // Length, checksum and data of the chunk.
        with(11),
        with(15),
        with(19),
        whole[..whole.len() - 1].to_vec(),
        whole[..5].to_vec(),
        // A raw block that claims four gigabytes, and one that copies from before its beginning.
        b"\xff\xff\xff\xff\x0f\0m".to_vec(),
        b"\x04\x0d\x08".to_vec(),
        b"m 1\n".to_vec(),
    ] {
        siege.refused(&coded("snappy", &body), 400, "snappy: corrupt input", Kept);
    }
    siege.refused(&coded("snappy", &frames_in_a_block), 400, "text format parsing error", Kept);
    siege.answered(&coded("snappy", &snap::raw::Encoder::new().compress_vec(b"m 1\n").unwrap()), 200);
}

#[test]
fn unknown_and_stacked_codings_are_named_unsupported() {
    let mut siege = Siege::begin(&[]);
    for coding in [
        "br",
        "compress",
        "gzip, gzip",
        "gzip,identity",
        "identity, gzip",
        "x",
        "gzip;q=1",
        "\u{e9}",
        "aes128gcm",
        "chunked",
    ] {
        let answer =
            siege.refused(&coded(coding, b"m 1\n"), 415, "supported are gzip, deflate, zstd, snappy", Kept);
        assert_eq!(answer.header("Accept-Encoding"), Some("gzip, deflate, zstd, snappy"));
    }
    for coding in ["identity", "", "Identity"] {
        siege.answered(&coded(coding, b"m 1\n"), 200);
    }
}

/// Declared or in chunks, what is too large is refused before it was sent whole.
#[test]
fn bodies_over_the_limit_are_refused_early() {
    let mut siege = Siege::begin(&[]);
    for length in ["67108865", "9999999999", "18446744073709551"] {
        let headers = format!("Content-Length: {length}\r\n");
        siege.refused(&push_with(&headers, b""), 413, "longer than the limit of 67108864 bytes", Closed);
    }
    let mut siege = Siege::begin(&["--limit.body-bytes=100000"]);
    let says = "longer than the limit of 100000 bytes";
    siege.refused(&push_with("Content-Length: 100001\r\n", &[b'\n'; 1000]), 413, says, Closed);
    // The chunk is announced with a gigabyte and comes with a little more than the limit.
    let chunk = [b"40000000\r\n".to_vec(), vec![b'\n'; 100_001]].concat();
    siege.refused(&push_with("Transfer-Encoding: chunked\r\n", &chunk), 413, says, Closed);
    let chunks = b"1\r\n\n\r\n".repeat(300_000);
    siege.refused(&push_with("Transfer-Encoding: chunked\r\n", &chunks), 413, says, Closed);
    siege.answered(&push(&[b'\n'; 100_000]), 200);
}

#[test]
fn bodies_without_samples_are_empty_pushes() {
    let siege = Siege::begin(&[]);
    for body in ["", "\n", "# a comment\n", "# TYPE m gauge\n", "# HELP m text\n# TYPE m gauge\n", " \t"] {
        siege.server.must_put(PATH, "m 1\n");
        siege.server.must_post(PATH, body);
        assert_eq!(siege.server.scrape().samples("m").len(), 1, "{body:?}");
        siege.server.must_put(PATH, body);
        assert_eq!(siege.server.scrape().samples("m").len(), 0, "{body:?}");
        assert!(siege.server.scrape().has_group(r#"instance="",job="hostile""#));
    }
}

//! Any body under any content coding: no panic, and nothing longer than the limit. The first byte picks
//! the coding.

#![no_main]

use bytes::Bytes;
use floodway::http::encoding::Coding;
use libfuzzer_sys::fuzz_target;

const MAX: usize = 1 << 20;
const CODINGS: [Coding; 5] =
    [Coding::Identity, Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Snappy];

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let coding = CODINGS[usize::from(*first) % CODINGS.len()];
    let start = coding.check_start(body);
    match coding.decode(Bytes::copy_from_slice(body), MAX) {
        Ok(decoded) => {
            assert!(start.is_ok());
            assert!(coding == Coding::Identity || decoded.len() <= MAX);
        }
        Err(refusal) => assert!(refusal.text.len() < 200),
    }
});

//! Snappy: the framing format or one raw block. The stream identifier that every framed stream begins
//! with tells them apart.

use std::io::Read;

use snap::raw;
use snap::read::FrameDecoder;

use super::output::{Fault, Output};

const STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// What a raw block can at most unpack to, as a multiple of its length: its densest element makes 64
/// bytes of three.
const RAW_RATIO_MAX: usize = 22;

pub(super) fn decode(body: &[u8], output: &mut Output) -> Result<(), Fault> {
    if body.is_empty() {
        Ok(())
    } else if body.starts_with(STREAM_IDENTIFIER) {
        decode_frames(body, output)
    } else {
        decode_block(body, output)
    }
}

fn corrupt() -> Fault {
    Fault::corrupt("snappy: corrupt input")
}

fn decode_frames(body: &[u8], output: &mut Output) -> Result<(), Fault> {
    let mut frames = FrameDecoder::new(body);
    let mut piece = [0; 16 * 1024];
    loop {
        match frames.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => output.push(&piece[..read])?,
            Err(_) => return Err(corrupt()),
        }
    }
}

fn decode_block(body: &[u8], output: &mut Output) -> Result<(), Fault> {
    let claimed = raw::decompress_len(body).map_err(|_| corrupt())?;
    if claimed > body.len().saturating_mul(RAW_RATIO_MAX) {
        return Err(corrupt());
    }
    output.check(claimed)?;
    let bytes = raw::Decoder::new().decompress_vec(body).map_err(|_| corrupt())?;
    output.push(&bytes)
}

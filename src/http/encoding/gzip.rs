//! gzip (RFC 1952), with every fault in the words of Go's library.

use flate2::Crc;

use super::inflate::{Broken, Inflater};
use super::output::{Fault, Output};

/// Bits of a member's flags: what optional parts its header has.
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

const FIXED_HEADER_BYTES: usize = 10;

/// Longest name or comment, its closing zero included. Go's bound.
const STRING_BYTES_MAX: usize = 512;

/// Unpacks all members.
pub(super) fn decode(body: &[u8], output: &mut Output) -> Result<(), Fault> {
    if body.is_empty() {
        return Err(Fault::corrupt("EOF"));
    }
    let mut inflater = Inflater::new();
    let mut rest = body;
    while !rest.is_empty() {
        rest = member(rest, &mut inflater, output)?;
    }
    inflater.keep();
    Ok(())
}

/// Looks at the first member's header.
pub(super) fn check_start(body: &[u8]) -> Result<(), Fault> {
    if body.is_empty() { Err(Fault::corrupt("EOF")) } else { header(body).map(drop) }
}

/// Unpacks the member that `input` begins with, and gives back what stands behind it.
fn member<'b>(input: &'b [u8], inflater: &mut Inflater, output: &mut Output) -> Result<&'b [u8], Fault> {
    let stream = header(input)?;
    let start = output.bytes().len();
    let rest = inflater.inflate(stream, false, output).map_err(|broken| match broken {
        Broken::Cut => Fault::cut(),
        Broken::Corrupt(offset) => Fault::corrupt(format!("flate: corrupt input before offset {offset}")),
        Broken::TooLarge => Fault::TooLarge,
    })?;
    let (trailer, rest) = rest.split_first_chunk::<8>().ok_or_else(Fault::cut)?;
    let mut crc = Crc::new();
    crc.update(&output.bytes()[start..]);
    // The length counts modulo 2^32, and so does ours.
    let expected = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
    if trailer[..] != expected[..] {
        return Err(Fault::corrupt("gzip: invalid checksum"));
    }
    Ok(rest)
}

/// Reads past a member's header.
fn header(input: &[u8]) -> Result<&[u8], Fault> {
    let invalid = || Fault::corrupt("gzip: invalid header");
    let (fixed, mut rest) = input.split_first_chunk::<FIXED_HEADER_BYTES>().ok_or_else(Fault::cut)?;
    let [0x1f, 0x8b, 8, flags, ..] = *fixed else { return Err(invalid()) };
    if flags & EXTRA != 0 {
        let (length, after) = rest.split_first_chunk().ok_or_else(Fault::cut)?;
        let length = usize::from(u16::from_le_bytes(*length));
        rest = after.get(length..).ok_or_else(Fault::cut)?;
    }
    for part in [NAME, COMMENT] {
        if flags & part != 0 {
            let end = rest.iter().take(STRING_BYTES_MAX).position(|byte| *byte == 0);
            let end =
                end.ok_or_else(|| if rest.len() < STRING_BYTES_MAX { Fault::cut() } else { invalid() })?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEADER_CRC != 0 {
        let header = &input[..input.len() - rest.len()];
        let (given, after) = rest.split_first_chunk().ok_or_else(Fault::cut)?;
        let mut crc = Crc::new();
        crc.update(header);
        // The low half of the checksum.
        if u16::from_le_bytes(*given) != crc.sum() as u16 {
            return Err(invalid());
        }
        rest = after;
    }
    Ok(rest)
}

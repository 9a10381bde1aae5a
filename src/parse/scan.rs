//! Finding where a token ends: byte classes for single bytes, sixteen bytes at a time for names and quotes.

use wide::u8x16;

/// May begin a bare label name; with [`COLON`] also a bare metric name.
pub(super) const LETTER: u8 = 1;
pub(super) const DIGIT: u8 = 2;
pub(super) const COLON: u8 = 4;
pub(super) const BLANK: u8 = 8;
pub(super) const LINE_FEED: u8 = 16;

/// What each byte may be part of.
static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => LETTER,
            b'0'..=b'9' => DIGIT,
            b':' => COLON,
            b' ' | b'\t' => BLANK,
            b'\n' => LINE_FEED,
            _ => 0,
        };
        byte += 1;
    }
    class
};

/// Whether `byte` is of one of the `classes`.
#[inline]
pub(super) fn is(byte: u8, classes: u8) -> bool {
    CLASS[usize::from(byte)] & classes != 0
}

/// How many bytes at the start of `bytes` are all of `classes`.
#[inline]
pub(super) fn run(bytes: &[u8], classes: u8) -> usize {
    bytes.iter().position(|&byte| !is(byte, classes)).unwrap_or(bytes.len())
}

/// How many bytes at the start of `bytes` are of none of the `classes`.
#[inline]
pub(super) fn run_without(bytes: &[u8], classes: u8) -> usize {
    bytes.iter().position(|&byte| is(byte, classes)).unwrap_or(bytes.len())
}

/// How many bytes at the start of `bytes` may stand in a bare name; a colon is one of them if `COLONS`.
#[inline]
pub(super) fn name_run<const COLONS: bool>(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let len = name_run_in::<COLONS>(chunk);
        at += len;
        if len < CHUNK {
            return at;
        }
    }
    at + run(&bytes[at..], LETTER | DIGIT | if COLONS { COLON } else { 0 })
}

/// Chunks looked at one by one before the search goes over to larger vectors, which take longer to start.
const SHORT_CHUNKS: usize = 32 / CHUNK;

/// Where the first `"`, `\` or line feed stands, or the length of `bytes` if there is none.
#[inline]
pub(super) fn quoted_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    for _ in 0..SHORT_CHUNKS {
        let Some(chunk) = bytes[at..].first_chunk() else {
            return at + quoted_run_bytewise(&bytes[at..]);
        };
        let len = quoted_run_in(chunk);
        at += len;
        if len < CHUNK {
            return at;
        }
    }
    at + memchr::memchr3(b'"', b'\\', b'\n', &bytes[at..]).unwrap_or(bytes.len() - at)
}

#[inline]
fn quoted_run_bytewise(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| matches!(byte, b'"' | b'\\' | b'\n')).unwrap_or(bytes.len())
}

/// Bytes looked at together.
pub(super) const CHUNK: usize = 16;

/// What [`name_run`] says of a chunk.
#[inline(always)]
fn name_run_in<const COLONS: bool>(chunk: &[u8; CHUNK]) -> usize {
    let bytes = u8x16::new(*chunk);
    // Lower case: no byte becomes a letter by this that is none.
    let letters = between(bytes | u8x16::splat(0x20), b'a', b'z');
    // The colon follows the nine.
    let digits = between(bytes, b'0', if COLONS { b':' } else { b'9' });
    first(!(letters | digits | bytes.simd_eq(u8x16::splat(b'_'))))
}

/// What [`quoted_run`] says of a chunk.
#[inline(always)]
pub(super) fn quoted_run_in(chunk: &[u8; CHUNK]) -> usize {
    let bytes = u8x16::new(*chunk);
    let is = |byte| bytes.simd_eq(u8x16::splat(byte));
    first(is(b'"') | is(b'\\') | is(b'\n'))
}

/// The length of the labels that `bytes` begin with, up to the brace that closes them; `None` if a line feed comes
/// before that, or if a backslash stands outside quotes.
#[inline]
pub(super) fn labels_run(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    // All bits, if the chunk begins within quotes; one bit, if it begins behind a backslash.
    let (mut inside, mut escaped) = (0, 0);
    while let Some(chunk) = bytes[at..].first_chunk::<CHUNK>() {
        let chunk = u8x16::new(*chunk);
        let is = |byte| chunk.simd_eq(u8x16::splat(byte)).to_bitmask();
        let mut backslashes = is(b'\\') & !escaped;
        let mut ordinary = !escaped;
        escaped = 0;
        let mut escapes = backslashes;
        while backslashes != 0 {
            let behind = 2 << backslashes.trailing_zeros();
            ordinary &= !behind;
            escapes &= !behind;
            backslashes &= !behind & (backslashes - 1);
            escaped = behind >> CHUNK;
        }
        let mut within = is(b'"') & ordinary;
        for shift in [1, 2, 4, 8] {
            within ^= within << shift;
        }
        within = (within ^ inside) & 0xffff;
        let ends = is(b'}') & !within | is(b'\n') | escapes & !within;
        if ends != 0 {
            at += ends.trailing_zeros() as usize;
            return (bytes[at] == b'}').then_some(at + 1);
        }
        inside = if within & 1 << (CHUNK - 1) == 0 { 0 } else { !0 };
        at += CHUNK;
    }
    let (mut inside, mut escaped) = (inside != 0, escaped != 0);
    for (place, &byte) in bytes[at..].iter().enumerate() {
        match byte {
            b'\n' => return None,
            _ if escaped => escaped = false,
            b'"' => inside = !inside,
            b'\\' if inside => escaped = true,
            b'\\' => return None,
            b'}' if !inside => return Some(at + place + 1),
            _ => {}
        }
    }
    None
}

/// Marks each byte from `first` to `last`.
#[inline(always)]
fn between(bytes: u8x16, first: u8, last: u8) -> u8x16 {
    // What is below becomes large.
    let distances = bytes - u8x16::splat(first);
    distances.min(u8x16::splat(last - first)).simd_eq(distances)
}

/// The place of the first mark, or [`CHUNK`] if there is none.
#[inline(always)]
fn first(marks: u8x16) -> usize {
    (marks.to_bitmask() | 1 << CHUNK).trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_end_at_the_first_other_byte() {
        assert_eq!(run(b"ab_9:c d", LETTER | DIGIT), 4);
        assert_eq!(run(b"ab_9:c d", LETTER | DIGIT | COLON), 6);
        assert_eq!(run(b"", LETTER), 0);
        assert_eq!(run_without(b"1.5\n", BLANK | LINE_FEED), 3);
        assert_eq!(run_without(b"1.5", BLANK | LINE_FEED), 3);
    }

    #[test]
    fn every_byte_ends_a_name_or_does_not() {
        for place in 0..20 {
            for byte in 0..=u8::MAX {
                let mut text = [b'x'; 20];
                text[place] = byte;
                let (bare, colons) = (run(&text, LETTER | DIGIT), run(&text, LETTER | DIGIT | COLON));
                assert_eq!(name_run::<false>(&text), bare, "{byte:#x} at {place}");
                assert_eq!(name_run::<true>(&text), colons, "{byte:#x} at {place}");
                text[19] = 0xff;
                let bare = run(&text, LETTER | DIGIT);
                assert_eq!(name_run::<false>(&text), bare, "{byte:#x} at {place}");
            }
        }
    }

    /// What [`labels_run`] says, byte by byte.
    fn labels_run_bytewise(bytes: &[u8]) -> Option<usize> {
        let (mut inside, mut at) = (false, 0);
        loop {
            match *bytes.get(at)? {
                b'\\' if inside && *bytes.get(at + 1)? != b'\n' => at += 1,
                b'\\' | b'\n' => return None,
                b'"' => inside = !inside,
                b'}' if !inside => return Some(at + 1),
                _ => {}
            }
            at += 1;
        }
    }

    proptest! {
        #[test]
        fn labels_end_at_the_first_brace_outside_quotes(text in "([ab=,]{0,8}|[\"\\\\}\n]){0,40}", rest in "[x}]{0,20}") {
            let text = text + &rest;
            prop_assert_eq!(labels_run(text.as_bytes()), labels_run_bytewise(text.as_bytes()), "{}", text);
        }

        #[test]
        fn words_and_bytes_agree(bytes in prop::collection::vec(prop::sample::select(vec![
            b'a', b'#', b'!', b'"', b'\\', b']', b'\n', 0x0b, 0x09, 0xa2, 0x80, 0, 0xff,
        ]), 0..60), plain in 0usize..60) {
            let mut text = vec![b'x'; plain];
            text.extend(bytes);
            prop_assert_eq!(quoted_run(&text), quoted_run_bytewise(&text));
        }
    }
}

//! Finding where a token ends: byte classes for single bytes, eight bytes at a time for names and quotes.

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
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let low = word & repeat(0x7f);
        // Lower case: no byte becomes a letter by this that is none.
        let letters = between(low | repeat(0x20), b'a', b'z');
        let digits = between(low, b'0', if COLONS { b':' } else { b'9' });
        let others = !(letters | digits | between(low, b'_', b'_')) | word;
        let others = others & repeat(0x80);
        if others != 0 {
            return at + others.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + run(&bytes[at..], LETTER | DIGIT | if COLONS { COLON } else { 0 })
}

/// Sets the high bit of every byte from `first` to `last` and of no other. All bytes are ASCII.
#[inline]
fn between(word: u64, first: u8, last: u8) -> u64 {
    (word + repeat(0x80 - first)) & !(word + repeat(0x7f - last)) & repeat(0x80)
}

/// Words looked at one by one before the search goes over to vectors, which take longer to start.
const SHORT_WORDS: usize = 4;

/// Where the first `"`, `\` or line feed stands, or the length of `bytes` if there is none.
#[inline]
pub(super) fn quoted_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    for _ in 0..SHORT_WORDS {
        let Some(chunk) = bytes[at..].first_chunk::<8>() else {
            return at + quoted_run_bytewise(&bytes[at..]);
        };
        let len = quoted_run_in(*chunk);
        if len < 8 {
            return at + len;
        }
        at += 8;
    }
    at + memchr::memchr3(b'"', b'\\', b'\n', &bytes[at..]).unwrap_or(bytes.len() - at)
}

/// The same of eight bytes.
#[inline]
pub(super) fn quoted_run_in(bytes: [u8; 8]) -> usize {
    let word = u64::from_le_bytes(bytes);
    // Above a true hit there may be false ones, so only the lowest counts.
    let hits =
        zero_bytes(word ^ repeat(b'"')) | zero_bytes(word ^ repeat(b'\\')) | zero_bytes(word ^ repeat(b'\n'));
    hits.trailing_zeros() as usize / 8
}

fn quoted_run_bytewise(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| matches!(byte, b'"' | b'\\' | b'\n')).unwrap_or(bytes.len())
}

const fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Sets the high bit of every zero byte, and maybe of bytes above the lowest zero byte.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeat(0x01)) & !word & repeat(0x80)
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

    proptest! {
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

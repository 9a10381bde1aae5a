//! Finding where a token ends: byte classes for names and values, eight bytes at a time for quotes.

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
        let word = u64::from_le_bytes(*chunk);
        // Above a true hit there may be false ones, so only the lowest counts.
        let hits = zero_bytes(word ^ repeat(b'"'))
            | zero_bytes(word ^ repeat(b'\\'))
            | zero_bytes(word ^ repeat(b'\n'));
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + memchr::memchr3(b'"', b'\\', b'\n', &bytes[at..]).unwrap_or(bytes.len() - at)
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

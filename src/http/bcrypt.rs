//! Comparing a password with a bcrypt hash (Provos and Mazières, USENIX 1999), a round at a time.
//!
//! Between rounds, some fifty microseconds, the thread offers its core to others. At the system's idle
//! priority it makes way at once in theory; but a core that runs nothing but arithmetic may hear of a thread
//! that wakes up only at its next tick, milliseconds later: so it is on virtual machines where the interrupt
//! that tells it waits for the next exit. That is why the rounds are ours; all arithmetic is the crate's, and
//! the tests compare with the crate `bcrypt`.

use blowfish::Blowfish;

/// Bytes of a password that count, the NUL that ends a shorter one included.
const KEY_BYTES_MAX: usize = 72;

/// What is encrypted in the end: "OrpheanBeholderScryDoubt".
const TEXT: [[u32; 2]; 3] =
    [[0x4f72_7068, 0x6561_6e42], [0x6568_6f6c, 0x6465_7253], [0x6372_7944, 0x6f75_6274]];

/// How often it is encrypted.
const ENCRYPTIONS: usize = 64;

const DIGITS: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Whether `password` is the one that `hash` was made of: `$2b$10$` and the like, 22 digits of salt, 31 of
/// hash. Nothing is the password of a text that is no hash.
pub fn is_of(password: &[u8], hash: &str) -> bool {
    let Some((cost, salt, expected)) = parts(hash) else { return false };
    let made = bcrypt(cost, &salt, password);
    // In the same time wherever they differ.
    made.iter().zip(expected).fold(0, |sum, (one, other)| sum | (one ^ other)) == 0
}

/// Cost, salt and hash.
fn parts(hash: &str) -> Option<(u32, [u8; 16], [u8; 23])> {
    let (head, digits) = hash.as_bytes().split_at_checked(7)?;
    let (salt, hash) = digits.split_at_checked(22)?;
    let cost = std::str::from_utf8(&head[4..6]).ok()?.parse().ok().filter(|cost| *cost < 32)?;
    Some((cost, bytes(salt)?, bytes(hash)?))
}

/// As many bytes as the digits hold; the bits behind them do not count.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != (N * 8).div_ceil(6) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, digit) in digits.iter().enumerate() {
        let value = DIGITS.iter().position(|known| known == digit)?;
        for bit in 0..6 {
            if let Some(byte) = bytes.get_mut((at * 6 + bit) / 8) {
                *byte |= (((value >> (5 - bit)) & 1) << (7 - (at * 6 + bit) % 8)) as u8;
            }
        }
    }
    Some(bytes)
}

fn bcrypt(cost: u32, salt: &[u8; 16], password: &[u8]) -> [u8; 23] {
    let mut key = [0; KEY_BYTES_MAX];
    let length = password.len().min(KEY_BYTES_MAX);
    key[..length].copy_from_slice(&password[..length]);
    let key = &key[..(length + 1).min(KEY_BYTES_MAX)];
    let mut state = Blowfish::bc_init_state();
    state.salted_expand_key(salt, key);
    for _ in 0..1u32 << cost {
        state.bc_expand_key(key);
        state.bc_expand_key(salt);
        std::thread::yield_now();
    }
    let encrypted = TEXT.map(|block| (0..ENCRYPTIONS).fold(block, |block, _| state.bc_encrypt(block)));
    let mut made = [0; 23];
    // All but the last byte.
    made.iter_mut()
        .zip(encrypted.as_flattened().iter().flat_map(|word| word.to_be_bytes()))
        .for_each(|(made, byte)| *made = byte);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_the_crate_are_those_of_their_passwords() {
        let long = [b'x'; 80];
        let passwords: [&[u8]; 9] =
            [b"", b"a", b"opensesame", b"\0", b"a\0b", b"\xff\xfe", &long[..71], &long[..72], &long[..73]];
        for password in passwords {
            let hash = ::bcrypt::hash(password, 4).unwrap();
            for other in passwords {
                let right = ::bcrypt::verify(other, &hash).unwrap();
                assert_eq!(is_of(other, &hash), right, "{password:?} and {other:?}");
            }
        }
    }

    #[test]
    fn each_round_of_the_cost_and_each_version_counts() {
        // From the tests of jBCrypt.
        for (password, hash) in [
            ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
            ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
            ("abcdefghijklmnopqrstuvwxyz", "$2a$08$aTsUwsyowQuzRrDqFflhgekJ8d9/7Z3GV3UcgvzQW3J5zMyrTvlz."),
        ] {
            for version in ["$2a$", "$2b$", "$2x$", "$2y$"] {
                assert!(is_of(password.as_bytes(), &hash.replace("$2a$", version)), "{hash}");
            }
            assert!(!is_of(password.as_bytes(), &format!("{}5{}", &hash[..5], &hash[6..])), "another cost");
            assert!(!is_of(b"other", hash));
        }
        for hash in ["", "$2b$04$", "$2b$04$short", &format!("$2b$99${}", "x".repeat(53)), &"é".repeat(30)] {
            assert!(!is_of(b"", hash), "{hash}");
        }
    }
}

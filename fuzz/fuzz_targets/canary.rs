//! Fails on purpose, once the fuzzer has found a word letter by letter: if it never does, the others' silence
//! says nothing. `scripts/fuzz` runs it first.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // One branch a letter, so that each letter that fits is news to the fuzzer.
    if input.first() == Some(&b'c')
        && input.get(1) == Some(&b'a')
        && input.get(2) == Some(&b'n')
        && input.get(3) == Some(&b'a')
    {
        panic!("the canary sings");
    }
});

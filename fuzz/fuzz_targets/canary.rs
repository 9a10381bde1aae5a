//! Fails on purpose, once the fuzzer has found a word letter by letter: if it never does, the others' silence
//! says nothing. `scripts/fuzz` runs it first.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let word = b"floodway";
    let same = input.iter().zip(word).take_while(|(byte, letter)| byte == letter).count();
    // One branch a letter, so that each letter that fits is news to the fuzzer.
    match same {
        0 => {}
        1 => std::hint::black_box(()),
        2 => std::hint::black_box(drop(1)),
        3 => std::hint::black_box(drop(2)),
        _ => panic!("the canary sings"),
    }
});

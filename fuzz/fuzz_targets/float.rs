//! Any text: reads as the standard library reads it or not at all, and prints back to the same bits.

#![no_main]

use floodway::format::float::{parse_float, write_float_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Some(value) = parse_float(text) else { return };
    let expected: f64 = std::str::from_utf8(text).expect("numbers are ASCII").parse().expect("std is laxer");
    assert!(value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan());
    let mut printed = Vec::new();
    write_float_json(&mut printed, value);
    let again = parse_float(&printed).expect("what is printed can be read");
    assert!(again.to_bits() == value.to_bits() || again.is_nan() && value.is_nan());
});

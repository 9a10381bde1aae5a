//! Any job and label string: no panic, and a key that spells itself again.

#![no_main]

use floodway::model::NameRules;
use floodway::parse::push_path::grouping_key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &[u8]| {
    let split = path.iter().position(|&byte| byte == b'/').unwrap_or(path.len());
    let (job, rest) = path.split_at(split);
    for names in [NameRules::Legacy, NameRules::Utf8] {
        for is_base64 in [false, true] {
            match grouping_key(job, is_base64, rest, names) {
                Ok(key) => {
                    assert!(!key.job().is_empty());
                    assert!(key.labels().all(|(name, _)| names.is_label_name(name) && !name.starts_with("__")));
                }
                Err(refusal) => assert!(!refusal.text.is_empty()),
            }
        }
    }
});

//! Any bytes as a Pushgateway's persistence file: groups or a fault, and no more memory than the file has.

#![no_main]

use floodway::transfer::gob;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let Ok(groups) = gob::read(file) else { return };
    let labels = |group: &gob::Group<'_>| {
        group.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    };
    let families = |group: &gob::Group<'_>| {
        group.families.iter().map(|family| family.name.len() + family.message.len()).sum::<usize>()
    };
    let held: usize = groups.iter().map(|group| labels(group) + families(group)).sum();
    assert!(held <= file.len());
    let count: usize = groups.iter().map(|group| 1 + group.labels.len() + group.families.len()).sum();
    assert!(count <= file.len());
});

//! Any body announced as OpenMetrics: no panic, details of series that exist, short error texts.

#![no_main]

use floodway::model::{Families, NameRules};
use floodway::parse::openmetrics;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for names in [NameRules::Legacy, NameRules::Utf8] {
        let read = openmetrics::read(body, names);
        let families = match &read {
            Ok(read) => read.families(names, Families::default()),
            Err(error) => Err(error.clone()),
        };
        let families = match families {
            Ok(families) => families,
            Err(error) => {
                assert!(error.line <= 1 + body.iter().filter(|&&byte| byte == b'\n').count());
                assert!(error.to_string().len() < 2000);
                continue;
            }
        };
        assert!(families.samples.is_empty());
        for family in &families.families {
            for series in families.series_of(family) {
                families.labels_of(series);
                families.parts_of(series);
            }
        }
        for detail in &families.details {
            assert!((detail.series as usize) < families.series.len());
        }
    }
});

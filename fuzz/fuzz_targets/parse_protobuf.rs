//! Any body: no panic, spans that hold together, and native histograms that can be shown.

#![no_main]

use floodway::model::histogram::NativeHistogram;
use floodway::model::{Families, NameRules};
use floodway::parse::protobuf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for names in [NameRules::Legacy, NameRules::Utf8] {
        let families = match protobuf::parse(body, names, Families::default()) {
            Ok(families) => families,
            Err(error) => {
                // A limit of labels bounds what a refused metric shows of itself.
                assert!(error.to_string().len() < 300_000);
                continue;
            }
        };
        let in_families: usize = families.families.iter().map(|family| families.series_of(family).len()).sum();
        assert_eq!(in_families, families.series.len());
        let in_series: usize = families.series.iter().map(|series| families.parts_of(series).len()).sum();
        assert_eq!(in_series, families.parts.len());
        for family in &families.families {
            assert!(names.is_metric_name(&family.name));
        }
        for detail in &families.details {
            if let Ok(histogram) = NativeHistogram::read(&detail.message) {
                assert!(histogram.buckets().len() <= detail.message.len());
            }
        }
    }
});

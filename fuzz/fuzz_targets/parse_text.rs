//! Any body: no panic, spans that hold together, and sample texts that read as their values.

#![no_main]

use floodway::format::float::parse_float;
use floodway::model::{Families, Field, NameRules};
use floodway::parse::text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for names in [NameRules::Legacy, NameRules::Utf8] {
        let families = match text::parse(body, names, Families::default()) {
            Ok(families) => families,
            Err(error) => {
                assert!(error.line <= 1 + body.iter().filter(|&&byte| byte == b'\n').count());
                assert!(error.to_string().len() < 1000);
                continue;
            }
        };
        let in_families: usize = families.families.iter().map(|family| families.series_of(family).len()).sum();
        assert_eq!(in_families, families.series.len());
        let in_series: usize = families.series.iter().map(|series| families.parts_of(series).len()).sum();
        assert_eq!(in_series, families.parts.len());
        let mut last_end = 0;
        for sample in &families.samples {
            assert!(last_end < sample.end && sample.start < sample.end);
            last_end = sample.end;
            assert_eq!(body[sample.end as usize], b'\n');
            let value = parse_float(&body[sample.start as usize..sample.end as usize]);
            assert!(value.is_some());
            let series = &families.series[sample.series as usize];
            if let Field::Part(part) = sample.field {
                assert!((part as usize) < families.parts_of(series).len());
            }
        }
    }
});

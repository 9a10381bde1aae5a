//! Any text as a web configuration file: settings or one short fault, never a panic.

#![no_main]

use std::path::Path;

use floodway::config::web_config::WebConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match WebConfig::parse(text, Path::new("/folder")) {
        Ok(config) => {
            for (user, hash) in &config.users {
                assert!(!user.contains(':') && hash.text.starts_with("$2"));
            }
            assert!(config.rate_limit.is_none_or(|limit| limit.interval > 0));
            assert!(config.files().all(|file| file.is_absolute()));
        }
        Err(fault) => assert!(!fault.is_empty() && fault.len() < 10_000, "{fault}"),
    }
});

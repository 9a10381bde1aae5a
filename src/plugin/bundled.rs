//! Plugins that come with the binary, usable as `use: bundled:<name>`.

use super::fault::{Code, Fault};
use super::spec::Sources;

macro_rules! bundle {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../plugins/", $name, ".lua")))),*]
    };
}

/// Name and source of each, sorted by name.
pub const ALL: &[(&str, &str)] =
    bundle!["cardinality", "naming", "relabel", "require_labels", "sanitize", "scrub", "tenant", "units",];

/// The source of one; `name` with or without `bundled:`.
pub fn source(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("bundled:").unwrap_or(name);
    ALL.iter().find(|plugin| plugin.0 == name).map(|plugin| plugin.1)
}

/// # Errors
///
/// E_CONFIG: there is none of that name.
pub fn sources(name: &str) -> Result<Sources, Fault> {
    let unknown = || Fault::new(Code::Config, format!("use: there is no {name}"));
    let plain = name.strip_prefix("bundled:").ok_or_else(unknown)?;
    let main = source(plain).ok_or_else(unknown)?.to_owned();
    Ok(Sources { main, ..Sources::default() })
}

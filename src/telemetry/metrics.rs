//! Every metric of our own, declared once; per-worker counters, read at scrape.

use super::OwnFamily;

pub struct Telemetry {}

impl Telemetry {
    /// All own families as they are now, sorted by name.
    pub fn families(&self) -> Vec<OwnFamily> {
        todo!()
    }
}

//! Every metric of our own, declared once; per-worker counters, read at scrape.

use std::time::Duration;

use super::OwnFamily;

pub struct Telemetry {}

impl Telemetry {
    /// All own families as they are now, sorted by name.
    pub fn families(&self) -> Vec<OwnFamily> {
        todo!()
    }

    /// Counts one answered request.
    pub fn count_request(&self, _handler: &'static str, _method: &'static str, _code: u16) {}

    /// Takes note of one push, whatever its outcome.
    pub fn observe_push(&self, _method: &'static str, _size_bytes: u64, _duration: Duration) {}
}

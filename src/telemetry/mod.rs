//! What the gateway says about itself: logs and its own metrics.

use crate::model::MetricType;

mod families;
pub mod log;
pub mod metrics;
mod persistence;
pub mod process;
mod requests;
mod slots;
mod summary;

pub use families::Declared;
pub use metrics::Telemetry;
pub use persistence::Persistence;

/// One of our own metric families as it is at a scrape, ready to be merged into the exposition.
#[derive(Clone, Debug)]
pub struct OwnFamily {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: MetricType,
    /// Whether the family exists from the start. A push of this name may bring another help then
    /// (ours is shown); for a family that appears later the help must be equal to ours.
    pub from_start: bool,
    pub series: Vec<OwnSeries>,
}

/// One series of our own: its labels sorted by name (no job, no instance), and its value.
#[derive(Clone, Debug)]
pub struct OwnSeries {
    pub labels: Vec<(&'static str, String)>,
    pub value: OwnValue,
}

#[derive(Clone, Debug)]
pub enum OwnValue {
    Plain(f64),
    Summary { quantiles: Vec<(f64, f64)>, sum: f64, count: u64 },
}

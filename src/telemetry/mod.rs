//! What the gateway says about itself: logs and its own metrics.

use std::borrow::Cow;

use crate::model::MetricType;

mod families;
pub mod journal;
pub mod log;
pub mod metrics;
mod persistence;
mod plugins;
pub mod process;
mod requests;
mod slots;
mod summary;

pub use families::Declared;
pub use metrics::Telemetry;
pub use persistence::Persistence;
pub use plugins::PluginFigures;

/// One of our own metric families as it is at a scrape, ready to be merged into the exposition.
#[derive(Clone, Debug)]
pub struct OwnFamily {
    pub name: Cow<'static, str>,
    pub help: Cow<'static, str>,
    pub kind: MetricType,
    /// Whether the family exists from the start. A push of this name may bring another help then
    /// (ours is shown); for a family that appears later the help must be equal to ours.
    pub from_start: bool,
    /// Whether it is left out while a push holds lines of its name: so with what plugins declare, which
    /// pushes are not checked against.
    pub yields: bool,
    pub series: Vec<OwnSeries>,
}

/// One series of our own: its labels sorted by name (no job, no instance), and its value.
#[derive(Clone, Debug)]
pub struct OwnSeries {
    pub labels: Vec<(Cow<'static, str>, String)>,
    pub value: OwnValue,
}

#[derive(Clone, Debug)]
pub enum OwnValue {
    Plain(f64),
    Summary {
        quantiles: Vec<(f64, f64)>,
        sum: f64,
        count: u64,
    },
    /// Upper bounds, the last one `+Inf`, each with how many values are not above it.
    Histogram {
        buckets: Vec<(f64, u64)>,
        sum: f64,
    },
}

//! The limits that operators may move: their names, and how it is told that one was reached.
//!
//! The name of a limit is that of its flag without the leading `limit.`; metrics count by it, and each
//! refusal names the flag, so that whoever reads one knows what to turn.

use std::fmt;

use super::NameRules;
use crate::limits;

macro_rules! limits {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A bound that has a flag.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Limit {
            $($(#[$doc])* $variant,)*
        }

        impl Limit {
            /// All of them; the position of each is its number.
            pub const ALL: &'static [Limit] = &[$(Limit::$variant,)*];

            /// As its flag has it, without the leading `limit.`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Limit::$variant => $name,)*
                }
            }
        }
    };
}

limits! {
    /// Bytes of a request head.
    HeadBytes = "head-bytes",
    /// Bytes of a request body as sent.
    BodyBytes = "body-bytes",
    /// Bytes of a request body once decoded.
    DecodedBytes = "decoded-bytes",
    /// Metric families in one push.
    PushFamilies = "push-families",
    /// Series in one push.
    PushSeries = "push-series",
    /// Labels of one series, the grouping labels among them.
    SeriesLabels = "series-labels",
    /// Bytes of the value of a label.
    LabelValueBytes = "label-value-bytes",
    /// Groups held.
    Groups = "groups",
    /// Series held.
    Series = "series",
    /// Series held in all groups of one job.
    JobSeries = "job-series",
    /// Bytes of memory that groups take.
    Memory = "memory",
    /// Different sets of grouping label names in use.
    GroupingNameSets = "grouping-name-sets",
    /// Connections open at once.
    Connections = "connections",
    /// Connections open at once from one address.
    ConnectionsPerAddress = "connections-per-address",
    /// Rendered metrics kept ready.
    ExpositionCache = "exposition-cache",
    /// Time for a request head.
    HeadDeadline = "head-deadline",
    /// Time for a request body.
    BodyDeadline = "body-deadline",
    /// Quiet time of a connection.
    IdleDeadline = "idle-deadline",
    /// Time for the next piece of an answer.
    WriteDeadline = "write-deadline",
}

/// What went over a limit, in words for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverLimit {
    pub limit: Limit,
    /// Without the limit's name.
    pub text: String,
}

impl OverLimit {
    pub fn new(limit: Limit, text: impl Into<String>) -> OverLimit {
        OverLimit { limit, text: text.into() }
    }
}

impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (--limit.{})", self.text, self.limit.name())
    }
}

/// How large one push may be. Parsers hold a body to it, and the store what plugins made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushLimits {
    pub families: usize,
    pub series: usize,
    /// Of one series, the grouping labels among them.
    pub labels: usize,
    /// Of one label.
    pub value_bytes: usize,
}

impl Default for PushLimits {
    fn default() -> PushLimits {
        PushLimits {
            families: limits::PUSH_FAMILIES_MAX,
            series: limits::PUSH_SERIES_MAX,
            labels: limits::SERIES_LABELS_MAX,
            value_bytes: limits::LABEL_VALUE_BYTES_MAX,
        }
    }
}

impl PushLimits {
    /// For what was taken before.
    pub const NONE: PushLimits =
        PushLimits { families: usize::MAX, series: usize::MAX, labels: usize::MAX, value_bytes: usize::MAX };

    /// What is said of a push with too many families.
    pub fn over_families(&self) -> OverLimit {
        let text = format!("more than {} metric families in one push", self.families);
        OverLimit::new(Limit::PushFamilies, text)
    }

    /// What is said of a push with too many series.
    pub fn over_series(&self) -> OverLimit {
        OverLimit::new(Limit::PushSeries, format!("more than {} series in one push", self.series))
    }

    /// What is said of a series of `metric`, quoted, with too many labels.
    pub fn over_labels(&self, metric: &str) -> OverLimit {
        OverLimit::new(Limit::SeriesLabels, format!("more than {} labels for metric {metric}", self.labels))
    }

    /// What is said of a label `name`, quoted, with too long a value.
    pub fn over_value(&self, name: &str) -> OverLimit {
        let text = format!("value of label {name} is longer than {} bytes", self.value_bytes);
        OverLimit::new(Limit::LabelValueBytes, text)
    }
}

/// What a body is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub names: NameRules,
    pub limits: PushLimits,
}

/// With the limits that hold where no flag says otherwise.
impl From<NameRules> for Rules {
    fn from(names: NameRules) -> Rules {
        Rules { names, limits: PushLimits::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_stands_where_its_number_says() {
        for (number, limit) in Limit::ALL.iter().enumerate() {
            assert_eq!(*limit as usize, number);
        }
        let over = PushLimits::default().over_series().to_string();
        assert_eq!(over, "more than 1000000 series in one push (--limit.push-series)");
    }
}

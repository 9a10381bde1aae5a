//! What becomes of a pushed family that its group holds already.

use std::fmt;

use super::MetricType;

/// How a pushed family and the one that is stored become one. All but the first go series by series: the
/// series that the push does not name stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeRule {
    /// The pushed family takes the place of the stored one.
    #[default]
    Replace,
    /// Values, counts and buckets are added.
    Sum,
    /// The smaller value stays; of gauges and untyped families only.
    Min,
    /// The larger value stays; of gauges and untyped families only.
    Max,
    /// The pushed series takes the place of the stored one.
    Last,
    /// The stored series stays.
    First,
}

impl MergeRule {
    const ALL: [MergeRule; 6] = [
        MergeRule::Replace,
        MergeRule::Sum,
        MergeRule::Min,
        MergeRule::Max,
        MergeRule::Last,
        MergeRule::First,
    ];

    /// As rules and pushes spell it.
    pub fn name(self) -> &'static str {
        match self {
            MergeRule::Replace => "replace",
            MergeRule::Sum => "sum",
            MergeRule::Min => "min",
            MergeRule::Max => "max",
            MergeRule::Last => "last",
            MergeRule::First => "first",
        }
    }

    /// # Errors
    ///
    /// `text` is none of the names.
    pub fn parse(text: &str) -> Result<MergeRule, String> {
        let found = MergeRule::ALL.into_iter().find(|rule| rule.name() == text);
        found.ok_or_else(|| format!("must be replace, sum, min, max, last or first, not {text:?}"))
    }

    /// Whether it makes sense for families of this type.
    pub fn fits(self, kind: MetricType) -> bool {
        !matches!(self, MergeRule::Min | MergeRule::Max)
            || matches!(kind, MetricType::Gauge | MetricType::Untyped)
    }
}

impl fmt::Display for MergeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_fit_types() {
        for rule in MergeRule::ALL {
            assert_eq!(MergeRule::parse(rule.name()), Ok(rule));
        }
        for bad in ["", "Sum", "add", "sum "] {
            assert!(MergeRule::parse(bad).is_err(), "{bad}");
        }
        assert!(MergeRule::Min.fits(MetricType::Untyped) && MergeRule::Sum.fits(MetricType::Summary));
        assert!(!MergeRule::Max.fits(MetricType::Counter) && !MergeRule::Min.fits(MetricType::Histogram));
    }
}

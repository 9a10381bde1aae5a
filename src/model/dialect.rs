//! The ways of other gateways that add pushes up, for those who move in from there.

/// Whose ways pushes are taken in, besides the Pushgateway's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Nobody's: pushes replace unless they are told otherwise.
    #[default]
    None,
    /// prom-aggregation-gateway: everything is added.
    AggregationGateway,
    /// gravel-gateway: gauges replace and everything else is added, unless a label `clearmode` says otherwise.
    Gravel,
}

impl Dialect {
    /// # Errors
    ///
    /// `text` is no dialect.
    pub fn parse(text: &str) -> Result<Dialect, String> {
        match text {
            "" => Ok(Dialect::None),
            "aggregation-gateway" => Ok(Dialect::AggregationGateway),
            "gravel" => Ok(Dialect::Gravel),
            other => Err(format!("must be aggregation-gateway or gravel, not {other:?}")),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Dialect::None => "",
            Dialect::AggregationGateway => "aggregation-gateway",
            Dialect::Gravel => "gravel",
        }
    }

    /// Whether pushes are merged where nobody says how.
    pub fn merges(self) -> bool {
        self != Dialect::None
    }
}

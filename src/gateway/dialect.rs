//! Pushes in the ways of other gateways that add up, brought into ours.
//!
//! # prom-aggregation-gateway
//!
//! Everything is added. Quantiles of summaries are left out; there they go with the second push.
//!
//! # gravel-gateway
//!
//! The label `clearmode` of a family's series says how it is merged, and is not stored: `aggregate` or `sum`,
//! `replace` (series by series), `family` or `info` (the whole family). Without it, or with another word, gauges
//! are replaced and the rest is added. Series of one family must agree. Its windowed modes (`sum5m`, `mean5m`)
//! are refused.

use crate::model::{Dialect, Families, Family, MergeRule, MetricType, Reason, Refusal, Series, Span};

const CLEARMODE: &str = "clearmode";

/// The rule for families of this type where nothing else is said.
pub fn rule(dialect: Dialect, kind: MetricType) -> MergeRule {
    match (dialect, kind) {
        (Dialect::None, _) => MergeRule::Replace,
        (Dialect::Gravel, MetricType::Gauge) => MergeRule::Last,
        _ => MergeRule::Sum,
    }
}

/// What is stored of a push that says more.
pub struct Translated<'b> {
    pub families: Families<'b>,
    /// The rules that its families asked for, by name.
    rules: Vec<(String, MergeRule)>,
}

impl Translated<'_> {
    /// The rule that the family `name` asked for.
    pub fn rule(&self, name: &str) -> Option<MergeRule> {
        self.rules.iter().find(|rule| rule.0 == name).map(|rule| rule.1)
    }
}

/// What `families` say in this dialect; `None` if that is what they say in any.
///
/// # Errors
///
/// They ask for what cannot be done.
pub fn translate<'b>(dialect: Dialect, families: &Families<'b>) -> Result<Option<Translated<'b>>, Refusal> {
    match dialect {
        Dialect::None => Ok(None),
        Dialect::AggregationGateway => Ok(without_quantiles(families)),
        Dialect::Gravel if families.labels.iter().any(|label| label.name == CLEARMODE) => {
            cleared(families).map(Some)
        }
        Dialect::Gravel => Ok(None),
    }
}

fn without_quantiles<'b>(families: &Families<'b>) -> Option<Translated<'b>> {
    let is_summary = |family: &&Family<'b>| family.kind == MetricType::Summary;
    let has_quantiles = |family: &Family<'b>| families.series_of(family).iter().any(|s| !s.parts.is_empty());
    if !families.families.iter().filter(is_summary).any(has_quantiles) {
        return None;
    }
    let mut own = copy(families);
    for family in families.families.iter().filter(is_summary) {
        for series in &mut own.series[family.series.range()] {
            series.parts = Span::default();
        }
        // A value message would bring them back. It has a created time besides, at most.
        own.details.retain(|detail| !family.series.range().contains(&(detail.series as usize)));
    }
    Some(Translated { families: own, rules: Vec::new() })
}

fn cleared<'b>(families: &Families<'b>) -> Result<Translated<'b>, Refusal> {
    let mut own = copy(families);
    let mut rules = Vec::new();
    for family in &families.families {
        let mut asked: Option<MergeRule> = None;
        for at in family.series.range() {
            let rule = match take_clearmode(&mut own, at) {
                Some(mode) => clearmode(&mode, family)?,
                None => rule(Dialect::Gravel, family.kind),
            };
            if asked.replace(rule).is_some_and(|other| other != rule) {
                return Err(refusal(family, "the series of one family have different clear modes"));
            }
        }
        rules.extend(asked.map(|rule| (family.name.clone().into_owned(), rule)));
    }
    Ok(Translated { families: own, rules })
}

/// Takes the label out of the series at a position, its value if it has it.
fn take_clearmode(families: &mut Families<'_>, at: usize) -> Option<String> {
    let span = families.series[at].labels;
    let labels = &mut families.labels[span.range()];
    let found = labels.iter().position(|label| label.name == CLEARMODE)?;
    // To the end, which the series then gives up.
    labels[found..].rotate_left(1);
    families.series[at].labels.end -= 1;
    Some(families.labels[span.end as usize - 1].value.clone().into_owned())
}

fn clearmode(mode: &str, family: &Family<'_>) -> Result<MergeRule, Refusal> {
    Ok(match mode {
        "aggregate" | "sum" => MergeRule::Sum,
        "replace" => MergeRule::Last,
        "family" | "info" => MergeRule::Replace,
        windowed if windowed.starts_with("sum") || windowed.starts_with("mean") => {
            return Err(refusal(family, "there are no clear modes over a window of time"));
        }
        _ => rule(Dialect::Gravel, family.kind),
    })
}

fn refusal(family: &Family<'_>, fault: &str) -> Refusal {
    let name = &family.name;
    Refusal::new(Reason::Unmergeable, format!("metric family {name:?} cannot be merged: {fault}"))
}

fn copy<'b>(families: &Families<'b>) -> Families<'b> {
    Families {
        families: families.families.clone(),
        series: families.series.iter().map(Series::clone).collect(),
        labels: families.labels.clone(),
        parts: families.parts.clone(),
        details: families.details.clone(),
        syntax: families.syntax,
        samples: Vec::new(),
        timestamped: families.timestamped,
        timestamps: families.timestamps.clone(),
    }
}

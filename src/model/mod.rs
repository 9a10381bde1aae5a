//! The nouns: grouping keys, metric families, series and their values.
//!
//! Nothing here does IO, reads a clock or spawns a thread, and nothing knows a byte format.

pub mod detail;
mod dialect;
pub mod families;
pub mod grouping_key;
pub mod histogram;
pub mod identity;
mod leniency;
pub mod lifetime;
pub mod limit;
mod loose;
pub mod memory;
pub mod merge;
mod merge_rule;
pub mod names;
mod options;
pub mod refusal;
pub mod request;
pub mod template;

pub use dialect::Dialect;
pub use families::{
    Detail, Families, Family, Field, Label, MetricType, Number, Part, SampleSpan, Series, Span,
};
pub use grouping_key::GroupingKey;
pub use identity::{Action, Grants, Identity};
pub use leniency::Leniency;
pub use lifetime::{AtEnd, Lifetime, Term};
pub use limit::{Limit, OverLimit, PushLimits, Rules};
pub use loose::LooseLine;
pub use merge_rule::MergeRule;
pub use names::NameRules;
pub use options::{Fingerprint, PushKey, PushOptions};
pub use refusal::{Reason, Refusal};
pub use request::RequestFacts;

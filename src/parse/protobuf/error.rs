//! What is wrong with a protobuf body, in the reference's words wherever the reference refuses too.

use std::fmt;

use crate::format::quote::quoted;
use crate::model::histogram::NativeFault;
use crate::model::{OverLimit, Reason, Refusal};
use crate::wire::Fault;

/// The first fault of a body. Strings hold bytes of the body already quoted and cut to a bounded length.
#[derive(Clone, Debug, PartialEq)]
pub enum ParseError {
    Wire(Fault),
    NoName,
    MetricName(String),
    LabelName(String),
    UnknownType {
        name: String,
        number: i32,
    },
    /// Two families of this name in one body.
    Twice(String),
    /// A metric without any value.
    NoValue(WrongMetric),
    /// A metric whose value is not of the family's type.
    OtherValue(WrongMetric),
    NegativeCount(String),
    Native {
        name: String,
        fault: NativeFault,
    },
    OverLimit(OverLimit),
}

/// A metric that does not hold what its family's type says.
#[derive(Clone, Debug, PartialEq)]
pub struct WrongMetric {
    pub name: String,
    /// The metric as Go's text form shows it, as far as it matters.
    pub series: String,
    /// In the words of the reference, such as `COUNTER`.
    pub kind: &'static str,
}

impl ParseError {
    /// [`Reason::TooLarge`] where a limit was passed; [`Reason::Inconsistent`] where the reference finds
    /// the fault only in its store and stamps the group's failure time; else [`Reason::Malformed`].
    pub fn reason(&self) -> Reason {
        match self {
            ParseError::OverLimit(over) => Reason::TooLarge(over.limit),
            ParseError::OtherValue(_) => Reason::Inconsistent,
            _ => Reason::Malformed,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Wire(fault) => fault.fmt(f),
            ParseError::NoName => f.write_str("metric family without a name"),
            ParseError::MetricName(name) => write!(f, "invalid metric name {name}"),
            ParseError::LabelName(name) => write!(f, "invalid label name {name}"),
            ParseError::UnknownType { name, number } => {
                write!(f, "unknown metric type {number} of metric family {name}")
            }
            ParseError::Twice(name) => write!(f, "second metric family named {name}"),
            ParseError::NoValue(WrongMetric { name, series, kind })
            | ParseError::OtherValue(WrongMetric { name, series, kind }) => write!(
                f,
                "pushed metrics are invalid or inconsistent with existing metrics: collected metric \
                 {name} {{ {series}}} is not a {kind}"
            ),
            ParseError::NegativeCount(name) => write!(f, "negative count for histogram {name}"),
            ParseError::Native { name, fault } => write!(f, "histogram {name} {fault}"),
            ParseError::OverLimit(over) => over.fmt(f),
        }
    }
}

impl std::error::Error for ParseError {}

impl From<Fault> for ParseError {
    fn from(fault: Fault) -> ParseError {
        ParseError::Wire(fault)
    }
}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Refusal {
        Refusal::new(error.reason(), error.to_string())
    }
}

/// `name` as error texts repeat it.
pub(super) fn echo(name: &str) -> String {
    quoted(name.as_bytes())
}

//! What is wrong with a text body, in the reference's words.

use std::fmt;

use crate::format::quote::quoted_byte;
use crate::model::{OverLimit, Reason, Refusal};

/// The first fault of a body. Its text is that of the reference, wherever the reference refuses too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Counted from 1. A line feed inside a refused quoted string does not begin a line.
    pub line: usize,
    pub kind: ErrorKind,
}

impl ParseError {
    /// [`Reason::TooLarge`] where a limit was passed, else [`Reason::Malformed`].
    pub fn reason(&self) -> Reason {
        match &self.kind {
            ErrorKind::OverLimit(over) => Reason::TooLarge(over.limit),
            _ => Reason::Malformed,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text format parsing error in line {}: {}", self.line, self.kind)
    }
}

impl std::error::Error for ParseError {}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Refusal {
        Refusal::new(error.reason(), error.to_string())
    }
}

/// The kinds of fault. A string holds bytes of the body already [quoted](crate::format::quote::quoted)
/// and cut to a bounded length; a byte is the offending one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    EndOfInput,
    /// A line begins with what cannot begin a name, or its braces close without one.
    NoMetricName,
    MetricName(String),
    MetricNameInComment,
    LineFeedInMetricName(String),
    LineFeedInLabelName(String),
    LineFeedInLabelValue(String),
    EscapeSequence(u8),
    /// No label name where one has to begin; the string is the metric's name.
    NoLabelName(String),
    LabelName(String),
    ReservedLabelName,
    NoEqualsSign(u8),
    SecondMetricName(String),
    EndOfMetricName(u8),
    DuplicateLabelName(String),
    NoQuote(u8),
    LabelValue(String),
    EndOfLabelValue(String),
    Value(String),
    /// Of the label named first: `le` or `quantile`.
    Bound(&'static str, String),
    /// Of the metric type named first: `histogram` or `summary`.
    NegativeCount(&'static str, String),
    NegativeBucket(String),
    Timestamp(String),
    AfterTimestamp(String),
    SecondHelp(String),
    SecondType(String),
    UnknownType(String),
    HelpNotUtf8,
    OverLimit(OverLimit),
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::EndOfInput => f.write_str("unexpected end of input stream"),
            ErrorKind::NoMetricName => f.write_str("invalid metric name"),
            ErrorKind::MetricName(name) => write!(f, "invalid metric name {name}"),
            ErrorKind::MetricNameInComment => f.write_str("invalid metric name in comment"),
            ErrorKind::LineFeedInMetricName(name) => {
                write!(f, "metric name {name} contains unescaped new-line")
            }
            ErrorKind::LineFeedInLabelName(name) => {
                write!(f, "label name {name} contains unescaped new-line")
            }
            ErrorKind::LineFeedInLabelValue(value) => {
                write!(f, "label value {value} contains unescaped new-line")
            }
            // The byte stands bare here, even a line feed.
            ErrorKind::EscapeSequence(byte) => {
                write!(f, "invalid escape sequence '\\{}'", char::from(*byte))
            }
            ErrorKind::NoLabelName(metric) => write!(f, "invalid label name for metric {metric}"),
            ErrorKind::LabelName(name) => write!(f, "invalid label name {name}"),
            ErrorKind::ReservedLabelName => f.write_str("label name \"__name__\" is reserved"),
            ErrorKind::NoEqualsSign(byte) => {
                write!(f, "expected '=' after label name, found {}", quoted_byte(*byte))
            }
            ErrorKind::SecondMetricName(metric) => write!(f, "multiple metric names for metric {metric}"),
            ErrorKind::EndOfMetricName(byte) => {
                write!(f, "unexpected end of metric name {}", quoted_byte(*byte))
            }
            ErrorKind::DuplicateLabelName(metric) => write!(f, "duplicate label names for metric {metric}"),
            ErrorKind::NoQuote(byte) => {
                write!(f, "expected '\"' at start of label value, found {}", quoted_byte(*byte))
            }
            ErrorKind::LabelValue(value) => write!(f, "invalid label value {value}"),
            ErrorKind::EndOfLabelValue(value) => write!(f, "unexpected end of label value {value}"),
            ErrorKind::Value(text) => write!(f, "expected float as value, got {text}"),
            ErrorKind::Bound(label, text) => {
                write!(f, "expected float as value for '{label}' label, got {text}")
            }
            ErrorKind::NegativeCount(kind, name) => write!(f, "negative count for {kind} {name}"),
            ErrorKind::NegativeBucket(name) => write!(f, "negative bucket population for histogram {name}"),
            ErrorKind::Timestamp(text) => write!(f, "expected integer as timestamp, got {text}"),
            ErrorKind::AfterTimestamp(text) => write!(f, "spurious string after timestamp: {text}"),
            ErrorKind::SecondHelp(name) => write!(f, "second HELP line for metric name {name}"),
            ErrorKind::SecondType(name) => {
                write!(f, "second TYPE line for metric name {name}, or TYPE reported after samples")
            }
            ErrorKind::UnknownType(text) => write!(f, "unknown metric type {text}"),
            ErrorKind::HelpNotUtf8 => f.write_str("help text is not valid UTF-8"),
            ErrorKind::OverLimit(over) => over.fmt(f),
        }
    }
}

/// A fault on its way up, small so that the parser's hot functions return in registers.
pub(super) type Fault = Box<ErrorKind>;

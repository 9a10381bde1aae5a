//! What is wrong with an OpenMetrics body.

use std::fmt;

use crate::model::{Reason, Refusal};
use crate::parse::text;

/// The first fault of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    pub kind: ErrorKind,
}

/// The kinds of fault. A string holds bytes of the body already [quoted](crate::format::quote::quoted)
/// and cut to a bounded length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    AfterEof,
    /// The body ends in the middle of a line.
    EndOfInput,
    EmptyLine,
    /// A `#` line that is none of HELP, TYPE, UNIT and EOF.
    Descriptor(String),
    UnknownType(String),
    SecondUnit(String),
    /// A unit that the family's name does not end in.
    Unit {
        name: String,
        unit: String,
    },
    MetricName(String),
    OpenLabels(String),
    NoSpace(String),
    Timestamp(String),
    /// An exemplar on a sample of a kind that has none.
    UnexpectedExemplar(String),
    Exemplar(String),
    /// An exemplar whose labels are longer than OpenMetrics allows.
    LongExemplar(String),
    /// A name of the family itself where its type wants a suffix.
    NoSuffix {
        name: String,
        kind: &'static str,
    },
    /// The value of an info is not 1, that of a state neither 0 nor 1.
    Value {
        text: String,
        kind: &'static str,
    },
    /// A fault in what OpenMetrics and the text format share.
    Text(text::ErrorKind),
}

impl ParseError {
    /// Whether the body is OpenMetrics beyond doubt, so that it is not to be read as text either.
    pub fn is_final(&self) -> bool {
        self.kind == ErrorKind::AfterEof
    }
}

impl From<text::ParseError> for ParseError {
    fn from(error: text::ParseError) -> ParseError {
        ParseError { line: error.line, kind: ErrorKind::Text(error.kind) }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenMetrics parsing error in line {}: {}", self.line, self.kind)
    }
}

impl std::error::Error for ParseError {}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Refusal {
        let text = error.to_string();
        let reason = match error.kind {
            ErrorKind::Text(kind) => text::ParseError { line: error.line, kind }.reason(),
            _ => Reason::Malformed,
        };
        Refusal::new(reason, text)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::AfterEof => f.write_str("data after # EOF"),
            ErrorKind::EndOfInput => f.write_str("unexpected end of input stream"),
            ErrorKind::EmptyLine => f.write_str("empty line"),
            ErrorKind::Descriptor(line) => write!(f, "expected HELP, TYPE, UNIT or EOF, got {line}"),
            ErrorKind::UnknownType(text) => write!(f, "unknown metric type {text}"),
            ErrorKind::SecondUnit(name) => write!(f, "second UNIT line for metric name {name}"),
            ErrorKind::Unit { name, unit } => write!(f, "metric name {name} does not end in its unit {unit}"),
            ErrorKind::MetricName(line) => write!(f, "expected metric name, got {line}"),
            ErrorKind::OpenLabels(line) => write!(f, "labels without end: {line}"),
            ErrorKind::NoSpace(text) => write!(f, "expected one space, got {text}"),
            ErrorKind::Timestamp(text) => write!(f, "expected number as timestamp, got {text}"),
            ErrorKind::UnexpectedExemplar(name) => write!(f, "metric name {name} cannot have exemplars"),
            ErrorKind::Exemplar(text) => write!(f, "invalid exemplar {text}"),
            ErrorKind::LongExemplar(text) => {
                write!(f, "labels of more than 128 characters in exemplar {text}")
            }
            ErrorKind::NoSuffix { name, kind } => {
                write!(f, "metric name {name} lacks the suffix of a {kind}")
            }
            ErrorKind::Value { text, kind } => write!(f, "{text} is no value of a {kind}"),
            ErrorKind::Text(kind) => kind.fmt(f),
        }
    }
}

//! Bodies to families, bodies compared with templates, paths to grouping keys.

use floodway::model::template::{Body, Syntax, Template};
use floodway::model::{Families, GroupingKey, NameRules};
use floodway::parse::{openmetrics, protobuf, push_path, text};

use crate::bodies;

const NAMES: NameRules = NameRules::Legacy;

/// Vectors that a first body has stretched, a body, and how many series it has.
pub type Input = (Families<'static>, Vec<u8>, usize);

pub fn read(syntax: Syntax, body: &[u8]) -> Families<'_> {
    match syntax {
        Syntax::Text => text::parse(body, NAMES, Families::default()).expect("the body is well-formed"),
        Syntax::Protobuf => {
            protobuf::parse(body, NAMES, Families::default()).expect("the body is well-formed")
        }
    }
}

pub fn warm_text(body: String, series: usize) -> Input {
    parse_text((Families::default(), body.into_bytes(), series))
}

pub fn parse_text((warm, body, series): Input) -> Input {
    let families = text::parse(&body, NAMES, warm).expect("the body is well-formed");
    assert_eq!(families.series.len(), series);
    (families.recycle(), body, series)
}

pub fn warm_openmetrics() -> Input {
    parse_openmetrics((Families::default(), bodies::openmetrics(100, 1).into_bytes(), 100))
}

pub fn parse_openmetrics((warm, body, series): Input) -> Input {
    let read = openmetrics::read(&body, NAMES).expect("the body is well-formed");
    let families = read.families(NAMES, warm).expect("the body is well-formed");
    assert_eq!(families.series.len(), series);
    (families.recycle(), body, series)
}

pub fn warm_protobuf() -> Input {
    parse_protobuf((Families::default(), bodies::protobuf(100, 1), 100))
}

pub fn parse_protobuf((warm, body, series): Input) -> Input {
    let families = protobuf::parse(&body, NAMES, warm).expect("the body is well-formed");
    assert_eq!(families.series.len(), series);
    (families.recycle(), body, series)
}

/// The template of a body, another body that fits it, and how many values that has.
pub type Fitting = (Template, Syntax, Vec<u8>, usize);

pub fn template(syntax: Syntax, series: usize) -> Fitting {
    let body = |value| match syntax {
        Syntax::Text => bodies::text(series, value).into_bytes(),
        Syntax::Protobuf => bodies::protobuf(series, value),
    };
    let first = body(1);
    let template = Template::cut(&first, &read(syntax, &first), series, Some);
    (template.expect("plain values have one"), syntax, body(2), series)
}

pub fn compare((template, syntax, body, values): Fitting) -> Fitting {
    let known = template.read(Body { syntax, bytes: &body }).expect("only values differ");
    assert_eq!(known.values.len(), values);
    (template, syntax, body, values)
}

pub fn path() -> GroupingKey {
    let rest = b"/instance/host-1:9100/dc/eu-west".as_slice();
    let key =
        push_path::grouping_key(b"nightly_backup", false, rest, NAMES).expect("the path is well-formed");
    assert_eq!(key.len(), 3);
    key
}

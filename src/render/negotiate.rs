//! From `Accept` and `Accept-Encoding` to the form of an exposition.
//!
//! Follows the reference's rules to the letter, its lapses included: parameters are not unquoted, case
//! matters, and an `escaping` counts even if its clause matches nothing.

pub use crate::format::escape::Escaping;

/// The exposition format and its name escaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    pub format: Format,
    pub escaping: Escaping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text exposition format 0.0.4.
    Text,
    /// `MetricFamily` messages, each behind its length.
    ProtoDelimited,
    /// The same messages in protobuf's text format, one field a line.
    ProtoText,
    /// The same messages in protobuf's text format, one message a line.
    ProtoCompact,
    /// OpenMetrics text 0.0.1.
    OpenMetrics0,
    /// OpenMetrics text 1.0.0, which differs in its name only.
    OpenMetrics1,
}

/// The media type of the three protobuf formats, and the message that they are made of.
const PROTOBUF: (&str, &str) = ("application", "vnd.google.protobuf");
const MESSAGE: &str = "io.prometheus.client.MetricFamily";

const OPENMETRICS: (&str, &str) = ("application", "openmetrics-text");

/// The content coding of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// An answer that a scrape can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub form: Form,
    pub encoding: Encoding,
}

impl Wanted {
    /// This answer with the escaping that stands for all where no name needs one.
    pub fn unescaped(self) -> Wanted {
        Wanted { form: Form { escaping: Escaping::Underscores, ..self.form }, ..self }
    }
}

impl Form {
    /// Text with legal old names only, which is what everybody understands.
    pub const TEXT: Form = Form { format: Format::Text, escaping: Escaping::Underscores };

    /// The form that the `Accept` headers of a scrape ask for; several headers are joined by commas.
    /// OpenMetrics is only an answer if it offered.
    pub fn negotiate(accept: &str, openmetrics_offered: bool) -> Form {
        let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(Clause::parse).collect();
        // Stable, so that of equals the first one given stands first.
        clauses.sort_by(|a, b| b.q.total_cmp(&a.q).then(a.wildcards().cmp(&b.wildcards())));
        let mut escaping = Escaping::Underscores;
        for clause in clauses {
            if let Some(asked) = clause.parameter("escaping").and_then(escaping_of) {
                escaping = asked;
            }
            if let Some(format) = clause.format(openmetrics_offered) {
                return Form { format, escaping };
            }
        }
        Form { format: Format::Text, escaping }
    }

    /// The exact `Content-Type` of the answer.
    pub fn content_type(self) -> String {
        let media_type = match self.format {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8".to_string(),
            Format::ProtoDelimited => protobuf_type("delimited"),
            Format::ProtoText => protobuf_type("text"),
            Format::ProtoCompact => protobuf_type("compact-text"),
            Format::OpenMetrics0 => openmetrics_type("0.0.1"),
            Format::OpenMetrics1 => openmetrics_type("1.0.0"),
        };
        let escaping = match self.escaping {
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
            Escaping::AllowUtf8 => "allow-utf-8",
        };
        format!("{media_type}; escaping={escaping}")
    }
}

fn protobuf_type(encoding: &str) -> String {
    let (kind, subtype) = PROTOBUF;
    format!("{kind}/{subtype}; proto={MESSAGE}; encoding={encoding}")
}

fn openmetrics_type(version: &str) -> String {
    let (kind, subtype) = OPENMETRICS;
    format!("{kind}/{subtype}; version={version}; charset=utf-8")
}

fn escaping_of(value: &str) -> Option<Escaping> {
    Some(match value {
        "allow-utf-8" => Escaping::AllowUtf8,
        "underscores" => Escaping::Underscores,
        "dots" => Escaping::Dots,
        "values" => Escaping::Values,
        _ => return None,
    })
}

/// One element of an `Accept` header.
struct Clause<'a> {
    kind: &'a str,
    subtype: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    q: f64,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let trim = |text: &'a str| text.trim_matches(' ');
        let mut pieces = text.split(';');
        let media_type = trim(pieces.next()?);
        let (kind, subtype) = match media_type.split_once('/') {
            Some((kind, subtype)) => (trim(kind), trim(subtype)),
            None if media_type == "*" => ("*", "*"),
            None => return None,
        };
        let mut clause = Clause { kind, subtype, parameters: Vec::new(), q: 1.0 };
        for piece in pieces {
            let Some((name, value)) = piece.split_once('=') else { continue };
            let (name, value) = (trim(name), trim(value));
            if name == "q" {
                clause.q = value.parse().ok().filter(|q: &f64| !q.is_nan()).unwrap_or(0.0);
            } else {
                clause.parameters.push((name, value));
            }
        }
        Some(clause)
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        // The last of a name counts, as in a map filled in order.
        self.parameters.iter().rev().find(|parameter| parameter.0 == name).map(|parameter| parameter.1)
    }

    /// Clauses with wildcards stand behind those without.
    fn wildcards(&self) -> usize {
        usize::from(self.kind == "*") + usize::from(self.subtype == "*")
    }

    fn format(&self, openmetrics_offered: bool) -> Option<Format> {
        let version = self.parameter("version");
        match (self.kind, self.subtype) {
            ("text", "plain") if matches!(version, None | Some("0.0.4")) => Some(Format::Text),
            PROTOBUF if self.parameter("proto") == Some(MESSAGE) => match self.parameter("encoding")? {
                "delimited" => Some(Format::ProtoDelimited),
                "text" => Some(Format::ProtoText),
                "compact-text" => Some(Format::ProtoCompact),
                _ => None,
            },
            OPENMETRICS if openmetrics_offered => match version {
                Some("1.0.0") => Some(Format::OpenMetrics1),
                None | Some("0.0.1") => Some(Format::OpenMetrics0),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Encoding {
    /// The coding that the `Accept-Encoding` headers ask for: the one with the highest q, of equals
    /// identity before gzip before zstd. Nothing that fits, or a q of zero, leaves identity.
    pub fn negotiate(accept_encoding: &str) -> Encoding {
        let (mut best, mut best_q) = (Encoding::Identity, 0.0);
        // As in the reference, nothing after an element that it does not understand counts.
        let asked: Vec<(&str, f64)> = accept_encoding.split(',').map_while(asked).collect();
        // A coding named outright is not also matched by `*`.
        let q_of = |name: &str| {
            let named = asked.iter().find(|(asked, _)| *asked == name);
            named.or_else(|| asked.iter().find(|(asked, _)| *asked == "*")).map_or(0.0, |(_, q)| *q)
        };
        for (encoding, name) in
            [(Encoding::Identity, "identity"), (Encoding::Gzip, "gzip"), (Encoding::Zstd, "zstd")]
        {
            let q = q_of(name);
            if q > best_q {
                (best, best_q) = (encoding, q);
            }
        }
        best
    }

    /// The value of `Content-Encoding`, if there is to be one.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some("gzip"),
            Encoding::Zstd => Some("zstd"),
        }
    }
}

/// One element of `Accept-Encoding`: the coding and its q. Case matters, as in the reference.
fn asked(element: &str) -> Option<(&str, f64)> {
    let mut pieces = element.split(';').map(|piece| piece.trim_matches([' ', '\t']));
    let name = pieces.next()?;
    let Some(parameter) = pieces.next() else { return Some((name, 1.0)) };
    let q: f64 = parameter.strip_prefix("q=")?.parse().ok()?;
    ((0.0..=1.0).contains(&q) && pieces.next().is_none()).then_some((name, q))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_where_it_is_offered() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics1),
            ("application/openmetrics-text", Format::OpenMetrics0),
            ("application/openmetrics-text;version=0.0.1", Format::OpenMetrics0),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", Format::Text),
            ("*/*", Format::Text),
        ] {
            assert_eq!(Form::negotiate(accept, true).format, format, "{accept}");
            assert_eq!(Form::negotiate(accept, false).format, Format::Text, "{accept}");
        }
        assert_eq!(
            Form::negotiate(prometheus, true).content_type(),
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
        );
    }

    #[test]
    fn what_scrapers_ask_for_and_get() {
        let text = |escaping| Form { format: Format::Text, escaping };
        for (accept, form) in [
            ("", text(Escaping::Underscores)),
            ("*/*", text(Escaping::Underscores)),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                text(Escaping::Underscores),
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                text(Escaping::AllowUtf8),
            ),
            ("text/plain;escaping=values", text(Escaping::Values)),
            ("text/plain;escaping=nope", text(Escaping::Underscores)),
            ("garbage;;;=,/,\u{e9}", text(Escaping::Underscores)),
        ] {
            assert_eq!(Form::negotiate(accept, false), form, "{accept}");
        }
        let (one, more) =
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily", "*/*;q=0.1");
        let protobuf = |format| Form { format, escaping: Escaping::Underscores };
        for (accept, form) in [
            (format!("{one};encoding=delimited,{more}"), protobuf(Format::ProtoDelimited)),
            (format!("{more}, {one} ; encoding = text"), protobuf(Format::ProtoText)),
            (format!("{one};encoding=compact-text;q=0.2,{more}"), protobuf(Format::ProtoCompact)),
            (format!("{one};encoding=compact-text;q=0.2,text/plain"), Form::TEXT),
            (format!("{one};encoding=Delimited,{more}"), Form::TEXT),
            (format!("{one};encoding=\"delimited\",{more}"), Form::TEXT),
            (format!("{one},{more}"), Form::TEXT),
            ("application/vnd.google.protobuf;encoding=delimited".to_string(), Form::TEXT),
            (
                format!("{one};encoding=delimited;escaping=allow-utf-8,text/plain;escaping=dots"),
                Form { format: Format::ProtoDelimited, escaping: Escaping::AllowUtf8 },
            ),
        ] {
            assert_eq!(Form::negotiate(&accept, false), form, "{accept}");
        }
        assert_eq!(
            protobuf(Format::ProtoCompact).content_type(),
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
             encoding=compact-text; escaping=underscores"
        );
        assert_eq!(
            Form::TEXT.content_type(),
            "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
        );
    }

    #[test]
    fn which_coding_is_chosen() {
        for (accept, encoding) in [
            ("", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("gzip, identity", Encoding::Identity),
            ("identity, gzip", Encoding::Identity),
            ("gzip;q=0.5, identity;q=0.1", Encoding::Gzip),
            ("gzip;q=0", Encoding::Identity),
            ("*", Encoding::Identity),
            ("GZIP", Encoding::Identity),
            ("gzip, deflate, br", Encoding::Gzip),
            ("gzip, deflate, br, zstd", Encoding::Gzip),
            ("gzip;q=0.5, zstd", Encoding::Zstd),
            ("zstd", Encoding::Zstd),
            ("gzip;q=2", Encoding::Identity),
            ("gzip;x=1", Encoding::Identity),
            ("gzip;q=0.5, zstd;q=2, zstd", Encoding::Gzip),
            (";q=1,,;;;", Encoding::Identity),
        ] {
            assert_eq!(Encoding::negotiate(accept), encoding, "{accept}");
        }
    }
}

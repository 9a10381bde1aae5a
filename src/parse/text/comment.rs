//! Comment lines: HELP and TYPE, and all others, which say nothing.

use super::assemble::{Assembly, Target};
use super::cursor::Cursor;
use super::error::{ErrorKind, Fault};
use super::{legal_metric_name, legal_text};
use crate::format::quote::quoted;
use crate::model::{MetricType, NameRules};
use crate::parse::scan::{self, BLANK};

/// Reads a comment line, whose `#` was consumed, and its line feed.
pub(super) fn comment<'b>(
    cursor: &mut Cursor<'b>,
    assembly: &mut Assembly<'b, '_>,
    names: NameRules,
) -> Result<(), Fault> {
    cursor.skip_blanks();
    let is_help = match cursor.word()? {
        b"HELP" => true,
        b"TYPE" => false,
        _ => {
            cursor.rest_of_line()?;
            return Ok(());
        }
    };
    cursor.skip_blanks();
    // A line that ends after the keyword or right after the name is an ordinary comment.
    let name = cursor.name::<true>(ErrorKind::LineFeedInMetricName)?;
    match cursor.peek()? {
        b'\n' => {
            cursor.at += 1;
            return Ok(());
        }
        byte if !scan::is(byte, BLANK) => return Err(Box::new(ErrorKind::MetricNameInComment)),
        _ => {}
    }
    let target = assembly.resolve(legal_metric_name(name, names)?)?;
    cursor.skip_blanks();
    if cursor.peek()? == b'\n' {
        cursor.at += 1;
        return Ok(());
    }
    if is_help { help(cursor, assembly, target) } else { kind(cursor, assembly, target) }
}

fn help<'b>(cursor: &mut Cursor<'b>, assembly: &mut Assembly<'b, '_>, target: Target) -> Result<(), Fault> {
    if assembly.has_help(target) {
        return Err(Box::new(ErrorKind::SecondHelp(assembly.quoted_name(Some(target)))));
    }
    // The reference stores any bytes, and then Prometheus refuses the whole scrape.
    let help = legal_text(cursor.help()?, |_| ErrorKind::HelpNotUtf8, |_| true)?;
    assembly.set_help(target, help);
    Ok(())
}

fn kind<'b>(cursor: &mut Cursor<'b>, assembly: &mut Assembly<'b, '_>, target: Target) -> Result<(), Fault> {
    if assembly.has_type(target) {
        return Err(Box::new(ErrorKind::SecondType(assembly.quoted_name(Some(target)))));
    }
    let text = cursor.rest_of_line()?;
    let known = [
        ("counter", MetricType::Counter),
        ("gauge", MetricType::Gauge),
        ("summary", MetricType::Summary),
        ("untyped", MetricType::Untyped),
        ("histogram", MetricType::Histogram),
        ("gauge_histogram", MetricType::GaugeHistogram),
        ("gaugehistogram", MetricType::GaugeHistogram),
    ];
    let kind = known.iter().find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes()));
    let (_, kind) = kind.ok_or_else(|| Box::new(ErrorKind::UnknownType(quoted(&text))))?;
    assembly.set_type(target, *kind);
    Ok(())
}

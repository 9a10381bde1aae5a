//! Templates of text: a value ends where its line does.

use super::{Known, NOWHERE, OutlineSeries};
use crate::format::float;
use crate::model::{Field, SampleSpan};

/// How a value of the body is read and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// As float64 bits.
    Float,
    /// As a whole number; anything else would turn the histogram's counts into floats.
    WholeCount,
    /// As a summary's count: cut to a whole number as the reference cuts it.
    CutCount,
    /// Checked and forgotten.
    Ignored,
}

impl Reading {
    fn of(series: OutlineSeries, field: Field) -> Reading {
        let histogram = series.kind.has_buckets();
        match field {
            Field::Ignored => Reading::Ignored,
            Field::Part(_) | Field::Count if histogram => Reading::WholeCount,
            Field::Value | Field::Part(_) => Reading::Float,
            Field::Count => Reading::CutCount,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Constant bytes before the value.
    before: u32,
    /// Where the value goes among the values of the push; [`NOWHERE`] if it is only checked.
    value: u32,
    reading: Reading,
}

/// The constant bytes of `body`, and the pieces between them. See [`Outline::cut`](super::Outline::cut).
pub fn cut(
    body: &[u8],
    samples: &[SampleSpan],
    series: &[OutlineSeries],
    first_value: impl Fn(u32) -> Option<u32>,
) -> Option<(Vec<u8>, Vec<Piece>)> {
    if samples.is_empty() && !series.is_empty() {
        return None;
    }
    let mut constant = Vec::with_capacity(body.len());
    let mut pieces = Vec::with_capacity(samples.len());
    let mut read = 0;
    for sample in samples {
        let before = &body[read..sample.start as usize];
        constant.extend_from_slice(before);
        read = sample.end as usize;
        let series = series[sample.series as usize];
        // A series that is not stored must still be one that the parser takes.
        let value = first_value(sample.series).map_or(NOWHERE, |first| first + series.offset(sample.field));
        pieces.push(Piece { before: before.len() as u32, value, reading: Reading::of(series, sample.field) });
    }
    constant.extend_from_slice(&body[read..]);
    Some((constant, pieces))
}

/// See [`Template::read`](super::Template::read).
pub fn read<'b>(constant: &[u8], pieces: &[Piece], value_count: usize, body: &'b [u8]) -> Option<Known<'b>> {
    // Every value takes at least one byte; the longest float that a client prints takes about 25.
    if body.len() < constant.len() + pieces.len() {
        return None;
    }
    let mut values = vec![0; value_count].into_boxed_slice();
    let (mut constant, mut rest) = (constant, body);
    for piece in pieces {
        let (before, constant_rest) = constant.split_at(piece.before as usize);
        constant = constant_rest;
        rest = rest.strip_prefix(before)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let number = float::parse_float(&rest[..end])?;
        rest = &rest[end..];
        let bits = match piece.reading {
            Reading::Float => number.to_bits(),
            Reading::WholeCount => whole(number)?,
            Reading::CutCount => cut_count(number)?,
            Reading::Ignored => continue,
        };
        if let Some(value) = values.get_mut(piece.value as usize) {
            *value = bits;
        }
    }
    (rest == constant).then(|| Known { values, details: Vec::new() })
}

/// The whole number that `number` is, if it is one that fits.
fn whole(number: f64) -> Option<u64> {
    // 2^64, the first float64 that is too large.
    let fits = (0.0..18_446_744_073_709_551_616.0).contains(&number);
    (fits && number.fract() == 0.0).then_some(number as u64)
}

/// A summary's count as the reference (on amd64) makes it of a float: the fraction is cut, and what fits
/// no 64-bit number becomes 2^63. A negative one is the parser's to refuse.
fn cut_count(number: f64) -> Option<u64> {
    if number < 0.0 {
        return None;
    }
    // 2^64, the first float64 that is too large.
    let fits = (0.0..18_446_744_073_709_551_616.0).contains(&number);
    Some(if fits { number as u64 } else { 1 << 63 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::template::Template;
    use crate::model::{Families, NameRules};
    use crate::parse::text;

    const BODY: &str = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\n\
                        h_count 3\n# TYPE s summary\ns{quantile=\"0.5\"} 7\ns{quantile=\"NaN\"} 8\ns_count 2\ng 1\n";

    fn template() -> Template {
        let families = text::parse(BODY.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        // The histogram's four values, the summary's three, the gauge's one.
        let firsts = [0, 4, 7];
        Template::cut(BODY.as_bytes(), &families, 8, |series| Some(firsts[series as usize])).unwrap()
    }

    #[test]
    fn a_body_of_the_same_shape_gives_its_values() {
        let other = BODY.replace("4.5", "-1e3").replace("g 1", "g NaN").replace("count 2", "count 2.7");
        let values = template().read(other.as_bytes()).unwrap().values;
        let float = |x: f64| x.to_bits();
        assert_eq!(values[..7], [2, 3, float(-1e3), 3, float(7.0), float(0.0), 2]);
        assert!(f64::from_bits(values[7]).is_nan());
    }

    #[test]
    fn any_other_difference_is_left_to_the_parser() {
        let others = [
            BODY.replace("g 1", "g 1 2"),
            BODY.replace("g 1", "g x"),
            BODY.replace("g 1", "gg 1"),
            BODY.replace("h_count 3", "h_count 3.5"),
            BODY.replace("} 2\n", "} -2\n"),
            format!("{BODY}\n"),
            BODY[..BODY.len() - 1].to_string(),
            BODY.replace("le=\"1\"", "le=\"2\""),
            String::new(),
        ];
        for other in others {
            assert!(template().read(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn series_that_are_not_stored_are_checked_and_forgotten() {
        let families = text::parse(BODY.as_bytes(), NameRules::Legacy, Families::default()).unwrap();
        // Only the gauge is stored.
        let first = |series| (series == 2).then_some(0);
        let template = Template::cut(BODY.as_bytes(), &families, 1, first).unwrap();
        assert_eq!(&*template.read(BODY.as_bytes()).unwrap().values, [1f64.to_bits()]);
        let other = BODY.replace("4.5", "5.5").replace("g 1", "g 2");
        assert_eq!(&*template.read(other.as_bytes()).unwrap().values, [2f64.to_bits()]);
        assert!(template.read(BODY.replace("h_count 3", "h_count -3").as_bytes()).is_none());
    }

    #[test]
    fn summary_counts_are_cut_as_the_reference_cuts_them() {
        assert_eq!(cut_count(2.7), Some(2));
        assert_eq!(cut_count(-1.0), None);
        assert_eq!(cut_count(f64::NAN), Some(1 << 63));
        assert_eq!(cut_count(f64::INFINITY), Some(1 << 63));
        assert_eq!(cut_count(1e300), Some(1 << 63));
    }
}

//! Durations as Go reads and prints them: `300ms`, `1h30m`, `5m0s`.
//!
//! Reading takes exactly what Go's `time.ParseDuration` takes and refuses the rest in its words; where
//! people write lifetimes, days are taken too. Printing follows `Duration.String`. All in nanoseconds, as an
//! `i64`.

use std::fmt;

/// A signed span of time in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub i64);

impl GoDuration {
    pub const fn from_secs(seconds: i64) -> GoDuration {
        GoDuration(seconds * 1_000_000_000)
    }

    /// Reads `text`.
    ///
    /// # Errors
    ///
    /// Go's own texts, which scripts may know: `time: invalid duration "abc"` and the like.
    pub fn parse(text: &str) -> Result<GoDuration, String> {
        GoDuration::read(text, nanos_of)
    }

    /// Reads `text`, in which `d` stands for days of 24 hours.
    ///
    /// # Errors
    ///
    /// As [`parse`](GoDuration::parse).
    pub fn parse_with_days(text: &str) -> Result<GoDuration, String> {
        GoDuration::read(text, |unit| if unit == "d" { Some(86_400_000_000_000) } else { nanos_of(unit) })
    }

    fn read(text: &str, nanos_of: impl Fn(&str) -> Option<u64>) -> Result<GoDuration, String> {
        let invalid = || format!("time: invalid duration {}", quoted(text));
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(GoDuration(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (whole, after_whole) = split_digits(rest);
            let (fraction, after_number) = match after_whole.strip_prefix('.') {
                Some(after_point) => split_digits(after_point),
                None => ("", after_whole),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(invalid());
            }
            let unit_len =
                after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
            let (unit, after_unit) = after_number.split_at(unit_len);
            if unit.is_empty() {
                return Err(format!("time: missing unit in duration {}", quoted(text)));
            }
            let Some(unit_nanos) = nanos_of(unit) else {
                return Err(format!("time: unknown unit {} in duration {}", quoted(unit), quoted(text)));
            };
            let part = part_nanos(whole, fraction, unit_nanos).ok_or_else(invalid)?;
            total = total.checked_add(part).filter(|sum| *sum <= 1 << 63).ok_or_else(invalid)?;
            rest = after_unit;
        }
        match (negative, i64::try_from(total)) {
            (true, Ok(nanos)) => Ok(GoDuration(-nanos)),
            (true, Err(_)) => Ok(GoDuration(i64::MIN)),
            (false, Ok(nanos)) => Ok(GoDuration(nanos)),
            (false, Err(_)) => Err(invalid()),
        }
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn nanos_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter mu look alike, and Go takes both.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `whole.fraction` units in nanoseconds, cut to whole ones; `None` above 2^63.
fn part_nanos(whole: &str, fraction: &str, unit_nanos: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(unit_nanos).filter(|nanos| *nanos <= 1 << 63)?;
    // Digits past the eighteenth cannot change a nanosecond: the largest unit has 8.64e13 of them.
    let digits = &fraction[..fraction.len().min(18)];
    if !digits.is_empty() {
        let value: u64 = digits.parse().ok()?;
        nanos += (u128::from(value) * u128::from(unit_nanos) / 10_u128.pow(digits.len() as u32)) as u64;
    }
    (nanos <= 1 << 63).then_some(nanos)
}

/// In double quotes, with everything outside printable ASCII as `\xNN`, as Go's package does it.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        let decimal = |f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64, name: &str| {
            let digits = unit.ilog10() as usize;
            let fraction = format!("{:0digits$}", nanos % unit);
            let fraction = if digits == 0 { "" } else { fraction.trim_end_matches('0') };
            let point = if fraction.is_empty() { "" } else { "." };
            write!(f, "{}{point}{fraction}{name}", nanos / unit)
        };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => decimal(f, nanos, 1, "ns"),
            1_000..1_000_000 => decimal(f, nanos, 1_000, "\u{b5}s"),
            1_000_000..1_000_000_000 => decimal(f, nanos, 1_000_000, "ms"),
            _ => {
                let minutes = nanos / 60_000_000_000;
                match minutes {
                    0 => {}
                    1..60 => write!(f, "{minutes}m")?,
                    _ => write!(f, "{}h{}m", minutes / 60, minutes % 60)?,
                }
                decimal(f, nanos % 60_000_000_000, 1_000_000_000, "s")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let got = match GoDuration::parse(text) {
            Ok(duration) => duration.to_string(),
            Err(err) => err,
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn prints_as_go_does() {
        check("5m", "5m0s");
        check("0", "0s");
        check("+0", "0s");
        check("300ms", "300ms");
        check("1h30m", "1h30m0s");
        check("90s", "1m30s");
        check("1.5h", "1h30m0s");
        check("-1.5s", "-1.5s");
        check("1500us", "1.5ms");
        check("1500ns", "1.5\u{b5}s");
        check("1\u{b5}s", "1\u{b5}s");
        check("1\u{3bc}s", "1\u{b5}s");
        check("7ns", "7ns");
        check(".5s", "500ms");
        check("5.s", "5s");
        check("1h1ms", "1h0m0.001s");
        check("0.9999999999999999999s", "999.999999ms");
        check("2562047h47m16.854775807s", "2562047h47m16.854775807s");
        check("-2562047h47m16.854775808s", "-2562047h47m16.854775808s");
    }

    #[test]
    fn days_are_taken_where_asked_for() {
        let text = |text| match GoDuration::parse_with_days(text) {
            Ok(duration) => duration.to_string(),
            Err(error) => error,
        };
        assert_eq!(text("7d"), "168h0m0s");
        assert_eq!(text("1d12h"), "36h0m0s");
        assert_eq!(text("0.5d"), "12h0m0s");
        assert_eq!(text("90m"), "1h30m0s");
        assert_eq!(text("1w"), "time: unknown unit \"w\" in duration \"1w\"");
        assert_eq!(text("106752d"), "time: invalid duration \"106752d\"");
    }

    #[test]
    fn refuses_in_the_words_of_go() {
        check("abc", "time: invalid duration \"abc\"");
        check("", "time: invalid duration \"\"");
        check("-", "time: invalid duration \"-\"");
        check(".s", "time: invalid duration \".s\"");
        check("90", "time: missing unit in duration \"90\"");
        check("1.", "time: missing unit in duration \"1.\"");
        check("1d", "time: unknown unit \"d\" in duration \"1d\"");
        check("1h1\"", "time: unknown unit \"\\\"\" in duration \"1h1\\\"\"");
        check("1\u{e9}", "time: unknown unit \"\\xc3\\xa9\" in duration \"1\\xc3\\xa9\"");
        check("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\"");
        check("99999999999999999999s", "time: invalid duration \"99999999999999999999s\"");
        check("2562048h", "time: invalid duration \"2562048h\"");
    }
}

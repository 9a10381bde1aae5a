//! Floats as Go reads and prints them.
//!
//! Printing follows Go's `strconv.FormatFloat(x, 'g', -1, 64)`: the shortest digits that read back to
//! the same double, in plain form for decimal exponents from -4 to 5 and with an exponent otherwise.
//! Reading takes exactly what the reference takes: decimal numbers, `NaN` and infinities, rounded to
//! the nearest double.

use lexical_parse_float::FromLexical;

/// 10^0 to 10^22, the powers of ten that a double holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Whole numbers up to here are exact doubles, and so are all smaller ones.
const WHOLE_MAX: u64 = 1 << 53;

/// As the text format shows a value. Zero has no sign there.
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    if value == 0.0 { out.push(b'0') } else { write_float_json(out, value) }
}

/// As the JSON API shows a value, which differs from the text format in `-0`.
pub fn write_float_json(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    if value < 1e6 {
        if f64::from(value as u32) == value {
            out.extend_from_slice(itoa::Buffer::new().format(value as u32).as_bytes());
            return;
        }
        if write_thousandths(out, value) {
            return;
        }
    }
    // Whole numbers up to 2^53 have no shorter spelling that reads back, so their digits are final.
    if value <= WHOLE_MAX as f64 && value == value.trunc() {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(value as u64).as_bytes();
        write_with_exponent(out, trim_zeros(digits), digits.len() as i32 - 1);
        return;
    }
    write_shortest(out, value);
}

/// Writes a number below a million that is not whole, if it is one of thousandths; false if it is not.
///
/// The quotient is the double nearest to the decimal number. Two decimal numbers of up to 15 digits are
/// never the same double, so no shorter one reads back.
fn write_thousandths(out: &mut Vec<u8>, value: f64) -> bool {
    let thousandths = (value * 1e3 + 0.5) as u32;
    if f64::from(thousandths) / 1e3 != value {
        return false;
    }
    out.extend_from_slice(itoa::Buffer::new().format(thousandths / 1000).as_bytes());
    let fraction = thousandths % 1000;
    let digits = [fraction / 100, fraction / 10 % 10, fraction % 10].map(|digit| b'0' + digit as u8);
    out.push(b'.');
    out.extend_from_slice(trim_zeros(&digits));
    true
}

/// Lays out a positive finite number that is not a small whole number.
fn write_shortest(out: &mut Vec<u8>, value: f64) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    // At most 17 digits, and up to five zeros in front of them.
    let mut digits = [0u8; 32];
    let mut len = 0;
    let mut point = None;
    let mut exponent = 0i32;
    for (position, &byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                digits[len] = byte;
                len += 1;
            }
            b'.' => point = Some(len),
            _ => {
                exponent = read_exponent(&text[position + 1..]);
                break;
            }
        }
    }
    let zeros = digits[..len].iter().take_while(|&&digit| digit == b'0').count();
    exponent += point.unwrap_or(len) as i32 - 1 - zeros as i32;
    let digits = trim_zeros(&digits[zeros..len]);
    match exponent {
        -4..=-1 => {
            out.extend_from_slice(b"0.");
            out.extend_from_slice(&b"000"[..(-exponent - 1) as usize]);
            out.extend_from_slice(digits);
        }
        // The number is not whole, so digits are left for behind the point.
        0..=5 if digits.len() > exponent as usize + 1 => {
            let (whole, fraction) = digits.split_at(exponent as usize + 1);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
        _ => write_with_exponent(out, digits, exponent),
    }
}

fn read_exponent(text: &[u8]) -> i32 {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let size = digits.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
    if negative { -size } else { size }
}

fn trim_zeros(digits: &[u8]) -> &[u8] {
    let kept = digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    &digits[..kept]
}

/// `d.ddde+XX`: a sign always, two exponent digits at least, no point behind a single digit.
fn write_with_exponent(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.push(b'e');
    out.push(if exponent < 0 { b'-' } else { b'+' });
    let size = exponent.unsigned_abs();
    if size < 10 {
        out.push(b'0');
    }
    out.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
}

/// The number that `text` spells, or `None` where the reference refuses it: hexadecimal, `_`, a signed
/// `NaN`, anything that overflows a double, the empty text.
///
/// Linear in the length of the text.
#[inline]
pub fn parse_float(text: &[u8]) -> Option<f64> {
    match leading_plain(text) {
        Some((value, len)) if len == text.len() => Some(value),
        _ => parse_any(text),
    }
}

/// The number that stands at the start of `text` up to a blank or line feed, and how long it is; `None`
/// if [`parse_float`] refuses it or nothing ends it.
#[inline]
pub fn leading_float(text: &[u8]) -> Option<(f64, usize)> {
    let ends = |byte: &u8| matches!(byte, b'\n' | b' ' | b'\t');
    // Counts of one digit fill the bodies whose lines are short.
    if let [digit @ b'0'..=b'9', b'\n', ..] = text {
        return Some((f64::from(digit - b'0'), 1));
    }
    match leading_plain(text) {
        Some((value, len)) if text.get(len).is_some_and(ends) => Some((value, len)),
        _ => {
            let len = memchr::memchr3(b'\n', b' ', b'\t', text)?;
            parse_any(&text[..len]).map(|value| (value, len))
        }
    }
}

/// The common case: digits with at most a sign and a point, few enough to be exact in an integer, and how
/// many bytes they take. `None` means that [`parse_any`] has to look.
#[inline]
fn leading_plain(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let number = &text[usize::from(negative)..];
    // Nineteen digits always fit in 64 bits. One byte more for the point, one to see that there are more.
    let number = &number[..number.len().min(21)];
    let mut mantissa = 0u64;
    let mut point = None;
    let mut len = number.len();
    for (position, &byte) in number.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        } else if byte == b'.' && point.is_none() {
            point = Some(position);
        } else {
            len = position;
            break;
        }
    }
    let (count, fraction) = match point {
        Some(position) => (len - 1, len - 1 - position),
        None => (len, 0),
    };
    if count == 0 || count > 19 || mantissa > WHOLE_MAX {
        return None;
    }
    // Both operands are exact, so the one division rounds to the nearest double by itself.
    let whole = mantissa as f64;
    let value = if fraction == 0 { whole } else { whole / POWERS_OF_TEN[fraction] };
    Some((if negative { -value } else { value }, usize::from(negative) + len))
}

#[cold]
fn parse_any(text: &[u8]) -> Option<f64> {
    let (sign, rest) = match text {
        [b'-', rest @ ..] => (Some(-1.0), rest),
        [b'+', rest @ ..] => (Some(1.0), rest),
        rest => (None, rest),
    };
    if !matches!(rest.first(), Some(b'0'..=b'9' | b'.')) {
        // Infinities have signs, the other one has none.
        let is_infinite = rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity");
        return if is_infinite {
            Some(sign.unwrap_or(1.0) * f64::INFINITY)
        } else if sign.is_none() && rest.eq_ignore_ascii_case(b"nan") {
            Some(f64::NAN)
        } else {
            None
        };
    }
    // A number close to the middle between two doubles takes the standard library up to 15 us however short it
    // is, which a hostile body may be full of.
    let value = f64::from_lexical(text).ok()?;
    // Overflow, which is rounded to infinity.
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        write_float(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    /// As pushed, and as the reference shows it.
    const TABLE: &[(&str, &str)] = &[
        ("0", "0"),
        ("-0", "0"),
        ("+1", "1"),
        ("-1", "-1"),
        ("1.", "1"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("007", "7"),
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("100000", "100000"),
        ("999999", "999999"),
        ("1000000", "1e+06"),
        ("21000000", "2.1e+07"),
        ("2097152", "2.097152e+06"),
        ("123456789", "1.23456789e+08"),
        ("123456.789", "123456.789"),
        ("1234567890123", "1.234567890123e+12"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("0.000123", "0.000123"),
        ("1e-7", "1e-07"),
        ("1e21", "1e+21"),
        ("1e22", "1e+22"),
        ("1e100", "1e+100"),
        ("5e-324", "5e-324"),
        ("2e-400", "0"),
        ("-2e-400", "0"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("9007199254740993", "9.007199254740992e+15"),
        ("9007199254740994", "9.007199254740994e+15"),
        ("1795248141.3789973", "1.7952481413789973e+09"),
        ("1898172441436050.25", "1.8981724414360502e+15"),
        ("18446744073709551615", "1.8446744073709552e+19"),
        ("0e99999999999999999999", "0"),
        ("1e-99999999999999999999", "0"),
        ("NaN", "NaN"),
        ("nAn", "NaN"),
        ("Inf", "+Inf"),
        ("+inF", "+Inf"),
        ("-Infinity", "-Inf"),
    ];

    #[test]
    fn prints_and_reads_like_the_reference() {
        for (pushed, shown) in TABLE {
            let value = parse_float(pushed.as_bytes()).unwrap_or_else(|| panic!("{pushed} is refused"));
            assert_eq!(text(value), *shown, "{pushed}");
        }
    }

    #[test]
    fn refuses_what_the_reference_refuses() {
        for bad in [
            "",
            "+",
            "-",
            ".",
            "-.",
            "e1",
            ".e1",
            "1e",
            "1e+",
            "1e1.0",
            "1.2.3",
            "--1",
            "+-1",
            "1-",
            "1e400",
            "-1e400",
            "179769313486231590000e290",
            "0x10",
            "0x1p3",
            "0b1",
            "0o7",
            "1_000",
            "1p3",
            "+NaN",
            "-nan",
            "nan1",
            "infi",
            "1,5",
            "1 ",
            " 1",
            "1\r",
            "\u{661}",
            "abc",
        ] {
            assert_eq!(parse_float(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_float(b"\xff"), None);
    }

    #[test]
    fn only_json_shows_the_sign_of_zero() {
        let mut out = Vec::new();
        write_float_json(&mut out, -0.0);
        assert_eq!(out, b"-0");
        assert_eq!(text(-0.0), "0");
    }

    #[test]
    fn long_numbers_are_read() {
        let long = format!("{}.{}e-4999", "1".repeat(5000), "7".repeat(5000));
        assert_eq!(parse_float(long.as_bytes()).map(text).as_deref(), Some("1.1111111111111112"));
        let zeros = format!("{}1", "0".repeat(5000));
        assert_eq!(parse_float(zeros.as_bytes()), Some(1.0));
    }

    #[test]
    fn thousandths_are_written_as_any_other_number() {
        for thousandths in (1..1_000_000_000u32).step_by(7919).chain(1..5000).filter(|n| n % 1000 != 0) {
            let value = f64::from(thousandths) / 1e3;
            let (mut short, mut long) = (Vec::new(), Vec::new());
            assert!(write_thousandths(&mut short, value), "{value}");
            write_shortest(&mut long, value);
            assert_eq!(short, long);
            // Its neighbours take more digits.
            for other in [value.next_up(), value.next_down()] {
                assert!(!write_thousandths(&mut short, other), "{other}");
            }
        }
    }

    fn number() -> impl Strategy<Value = String> {
        "[+-]?[0-9]{0,22}(\\.[0-9]{0,22})?([eE][+-]?[0-9]{1,3})?"
    }

    proptest! {
        #[test]
        fn reading_agrees_with_std(number in number()) {
            let expected = number.parse::<f64>().ok().filter(|value| value.is_finite());
            let read = parse_float(number.as_bytes());
            prop_assert_eq!(read.map(f64::to_bits), expected.map(f64::to_bits), "{}", number);
        }

        #[test]
        fn numbers_are_read_up_to_their_end(
            number in prop_oneof![number(), "[-+]?[0-9]{0,22}[.]?[0-9]{0,22}"],
            rest in "[ \t\n][0-9.\n]{0,20}",
        ) {
            let body = format!("{number}{rest}");
            let expected = parse_float(number.as_bytes()).map(|value| (value.to_bits(), number.len()));
            let read = leading_float(body.as_bytes()).map(|(value, len)| (value.to_bits(), len));
            prop_assert_eq!(read, expected, "{:?}", body);
            let std = number.parse::<f64>().ok().map(f64::to_bits);
            prop_assert_eq!(expected.map(|(bits, _)| bits), std.filter(|bits| f64::from_bits(*bits).is_finite()));
        }

        /// Where two doubles meet, all digits count.
        #[test]
        fn middles_between_doubles_round_as_std_rounds_them(bits in 0..f64::MAX.to_bits(), digits in 17usize..40) {
            let (low, high) = (f64::from_bits(bits), f64::from_bits(bits + 1));
            let middle = low / 2.0 + high / 2.0;
            let next = format!("{:.*e}", digits, if middle == low { high } else { middle });
            let (mantissa, exponent) = next.split_once('e').unwrap();
            for number in [next.clone(), format!("{mantissa}5e{exponent}"), format!("{mantissa}4999999e{exponent}")] {
                let expected = number.parse::<f64>().ok().filter(|value| value.is_finite());
                prop_assert_eq!(parse_float(number.as_bytes()), expected, "{}", number);
            }
        }

        #[test]
        fn printed_numbers_read_back_to_the_same_bits(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            let mut out = Vec::new();
            write_float_json(&mut out, value);
            prop_assert_eq!(parse_float(&out).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn printed_fractions_read_back_to_the_same_bits(whole in -9_999_999i64..10_000_000, scale in 0usize..9) {
            let value = whole as f64 / POWERS_OF_TEN[scale];
            prop_assert_eq!(parse_float(text(value).as_bytes()), Some(value));
        }
    }
}

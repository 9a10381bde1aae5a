//! The table of limits: what holds, how much of it is used, how often it was hit.

use std::time::Duration;

use super::frame::duration;
use crate::gateway::Gateway;
use crate::model::Limit;

/// One limit.
pub struct Row {
    pub name: &'static str,
    pub used: Option<String>,
    /// Of the limit, from 0 to 1, and in words.
    pub share: Option<(String, String)>,
    pub max: String,
    pub hits: u64,
}

/// Every limit there is, as things stand.
pub fn rows(gateway: &Gateway) -> Vec<Row> {
    gateway.note_uses();
    let telemetry = gateway.telemetry();
    let row = |limit: &Limit| {
        let (max, used) = (telemetry.limit_max(*limit), telemetry.limit_use(*limit));
        Row {
            name: limit.name(),
            used: used.map(|used| amount(*limit, used as f64)),
            share: used.zip(max).map(|(used, max)| share(used as f64, max)),
            max: max.map_or_else(|| "off".to_owned(), |max| amount(*limit, max)),
            hits: telemetry.limit_hits(*limit),
        }
    };
    Limit::ALL.iter().map(row).collect()
}

/// How near a limit is. Whatever is not nothing shows as more than nothing.
fn share(used: f64, max: f64) -> (String, String) {
    let share = if max > 0.0 { (used / max).min(1.0) } else { 1.0 };
    let words = match share * 100.0 {
        0.0 => "0 %".to_owned(),
        percent if percent < 1.0 => "under 1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    };
    (format!("{share:.3}"), words)
}

/// An amount in the unit of its limit.
fn amount(limit: Limit, value: f64) -> String {
    match limit {
        Limit::HeadBytes
        | Limit::BodyBytes
        | Limit::DecodedBytes
        | Limit::LabelValueBytes
        | Limit::Memory
        | Limit::ExpositionCache => bytes(value),
        Limit::HeadDeadline | Limit::BodyDeadline | Limit::IdleDeadline | Limit::WriteDeadline => {
            duration(Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX))
        }
        _ => format!("{value}"),
    }
}

/// Bytes in the largest unit of which there is one, with a decimal where it says something.
fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (value, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(value.fract() != 0.0 && value < 100.0);
    format!("{value:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_unit_of_their_limit() {
        let cases = [
            (Limit::BodyBytes, 67_108_864.0, "64 MiB"),
            (Limit::Memory, 1_365.0, "1.3 KiB"),
            (Limit::Memory, 0.0, "0 B"),
            (Limit::Memory, 1e15, "909 TiB"),
            (Limit::Groups, 100_000.0, "100000"),
            (Limit::HeadDeadline, 10.0, "10s"),
            (Limit::IdleDeadline, 300.0, "5m 0s"),
        ];
        for (limit, value, expect) in cases {
            assert_eq!(amount(limit, value), expect);
        }
    }

    #[test]
    fn shares_are_bounded_and_rounded() {
        let cases = [
            (0.0, 10.0, "0.000", "0 %"),
            (1.0, 1e6, "0.000", "under 1 %"),
            (5.0, 6.0, "0.833", "83 %"),
            (12.0, 6.0, "1.000", "100 %"),
        ];
        for (used, max, number, words) in cases {
            assert_eq!(share(used, max), (number.to_owned(), words.to_owned()));
        }
    }
}

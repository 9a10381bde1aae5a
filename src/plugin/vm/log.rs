//! Log records of plugins: bounded in size and rate, so that no script can flood the log.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::Instant;

use mlua::Value;

use super::state::State;
use crate::plugin::stats::bump;

/// Records per second, and how many may come at once.
const RATE: f64 = 20.0;
const BURST: f64 = 100.0;

/// Bytes of one record.
const RECORD_BYTES_MAX: usize = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Lets records through at [`RATE`].
#[derive(Debug)]
pub struct LogGate {
    tokens: Cell<f64>,
    filled: Cell<Instant>,
}

impl Default for LogGate {
    fn default() -> LogGate {
        LogGate { tokens: Cell::new(BURST), filled: Cell::new(Instant::now()) }
    }
}

impl LogGate {
    fn pass(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled.replace(now)).as_secs_f64();
        let tokens = (self.tokens.get() + since * RATE).min(BURST);
        let pass = tokens >= 1.0;
        self.tokens.set(if pass { tokens - 1.0 } else { tokens });
        pass
    }
}

/// Writes one record, the push's number and the plugin's name added.
pub fn record(state: &State, level: Level, message: &str, fields: &Value) {
    if !state.log.pass(Instant::now()) {
        bump(&state.spec.shared.counts.log_suppressed, 1);
        return;
    }
    let mut text = message.to_owned();
    if let Value::Table(table) = fields {
        for pair in table.pairs::<Value, Value>() {
            let Ok((key, value)) = pair else { break };
            let (Ok(key), Ok(value)) = (key.to_string(), value.to_string()) else { continue };
            // Writing to a string cannot fail.
            let _ = write!(text, " {key}={value:?}");
            if text.len() > RECORD_BYTES_MAX {
                break;
            }
        }
    }
    cut(&mut text, RECORD_BYTES_MAX);
    let (plugin, id) = (state.spec.name.as_str(), state.stage.id_text());
    match level {
        Level::Debug => tracing::debug!(plugin, id, "{text}"),
        Level::Info => tracing::info!(plugin, id, "{text}"),
        Level::Warn => tracing::warn!(plugin, id, "{text}"),
        Level::Error => tracing::error!(plugin, id, "{text}"),
    }
}

/// Cuts a text at a character boundary.
pub fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn records_pass_in_bursts_and_then_at_the_rate() {
        let gate = LogGate::default();
        let start = Instant::now();
        assert_eq!((0..200).filter(|_| gate.pass(start)).count(), 100);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..200).filter(|_| gate.pass(later)).count(), 20);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let mut text = "aé".to_owned();
        cut(&mut text, 2);
        assert_eq!(text, "a");
    }
}

//! Log records of plugins: bounded in size and rate, so that no script can flood the log.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use mlua::Value;

use super::state::State;
use crate::plugin::stats::bump;

/// Records per second, and how many may come at once.
const RATE: f64 = 20.0;
const BURST: f64 = 100.0;

/// Time between two records that say how many were held back.
const PAUSE: Duration = Duration::from_secs(1);

/// Fields of one record.
const FIELDS_MAX: usize = 64;

/// Bytes of one record.
const RECORD_BYTES_MAX: usize = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// Lets records through at [`RATE`].
#[derive(Debug)]
pub struct LogGate {
    tokens: Cell<f64>,
    filled: Cell<Instant>,
    /// Records held back since that was last said, and when it was.
    held_back: Cell<u64>,
    said: Cell<Instant>,
}

impl Default for LogGate {
    fn default() -> LogGate {
        let now = Instant::now();
        LogGate {
            tokens: Cell::new(BURST),
            filled: Cell::new(now),
            held_back: Cell::new(0),
            said: Cell::new(now),
        }
    }
}

impl LogGate {
    fn pass(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled.replace(now)).as_secs_f64();
        let tokens = (self.tokens.get() + since * RATE).min(BURST);
        let pass = tokens >= 1.0;
        self.tokens.set(if pass { tokens - 1.0 } else { tokens });
        if !pass {
            self.held_back.set(self.held_back.get() + 1);
        }
        pass
    }

    /// How many records were held back, if that is to be said: once per second.
    fn to_say(&self, now: Instant) -> Option<u64> {
        let is_time = now.saturating_duration_since(self.said.get()) >= PAUSE;
        let held_back = if is_time { self.held_back.take() } else { 0 };
        (held_back > 0).then(|| {
            self.said.set(now);
            held_back
        })
    }
}

/// Writes one record, the push's number and the plugin's name added.
pub fn record(state: &State, level: Level, message: &str, fields: &Value) {
    let now = Instant::now();
    let pass = state.log.pass(now);
    if let Some(held_back) = state.log.to_say(now) {
        tracing::warn!(plugin = state.spec.name, held_back, "a plugin writes too many log records");
    }
    if !pass {
        bump(&state.spec.shared.counts.log_suppressed, 1);
        return;
    }
    let mut text = message.to_owned();
    if let Value::Table(table) = fields {
        let pairs = table.pairs::<Value, Value>().take(FIELDS_MAX).flatten();
        let read = pairs.filter_map(|(key, value)| Some((key.to_string().ok()?, value.to_string().ok()?)));
        let mut pairs: Vec<(String, String)> = read.collect();
        // Lua keeps no order.
        pairs.sort();
        for (key, value) in pairs {
            // Writing to a string cannot fail.
            let _ = write!(text, " {key}={value:?}");
            if text.len() > RECORD_BYTES_MAX {
                break;
            }
        }
    }
    cut(&mut text, RECORD_BYTES_MAX);
    if state.stage.keep_record(|| format!("{}: {}: {text}", state.spec.name, level.name())) {
        return;
    }
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
    use super::*;

    #[test]
    fn records_pass_in_bursts_and_then_at_the_rate() {
        let gate = LogGate::default();
        let start = Instant::now();
        assert_eq!((0..200).filter(|_| gate.pass(start)).count(), 100);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..200).filter(|_| gate.pass(later)).count(), 20);
        assert_eq!((gate.to_say(later), gate.to_say(later)), (Some(280), None));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let mut text = "aé".to_owned();
        cut(&mut text, 2);
        assert_eq!(text, "a");
    }
}

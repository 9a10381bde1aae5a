//! One event as one line: `ts`, `level`, `caller`, `msg`, then the event's fields in order, in logfmt
//! or JSON.

use std::fmt;
use std::io::Write as _;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::format::json;
use crate::format::quote::quoted;

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Logfmt,
    Json,
}

/// The line of `event`, line feed included.
pub fn write(format: Format, with_module: bool, at: Timestamp, event: &Event<'_>) -> Vec<u8> {
    let mut fields = Fields { format, message: String::new(), rest: Vec::new() };
    event.record(&mut fields);
    let metadata = event.metadata();
    let file = metadata.file().unwrap_or_default();
    let file = file.rsplit('/').next().unwrap_or_default();
    let line = metadata.line().unwrap_or_default();
    let caller = match metadata.module_path() {
        Some(module) if with_module => format!("{file}({module}):{line}"),
        _ => format!("{file}:{line}"),
    };
    let mut out = Vec::with_capacity(128 + fields.rest.len());
    // A time needs no quoting in either form.
    let _ = match format {
        Format::Logfmt => write!(out, "ts={at:.3}"),
        Format::Json => write!(out, "{{\"ts\":\"{at:.3}\""),
    };
    push_text(format, &mut out, "level", level_word(*metadata.level()));
    push_text(format, &mut out, "caller", &caller);
    push_text(format, &mut out, "msg", &fields.message);
    out.extend_from_slice(&fields.rest);
    if format == Format::Json {
        out.push(b'}');
    }
    out.push(b'\n');
    out
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        _ => "debug",
    }
}

/// Separator, name and what stands between name and value.
fn push_name(format: Format, out: &mut Vec<u8>, name: &str) {
    match format {
        Format::Logfmt => {
            out.push(b' ');
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
        }
        Format::Json => {
            out.push(b',');
            json::push_log_string(out, name);
            out.push(b':');
        }
    }
}

fn push_text(format: Format, out: &mut Vec<u8>, name: &str, text: &str) {
    push_name(format, out, name);
    match format {
        Format::Json => json::push_log_string(out, text),
        Format::Logfmt if needs_quotes(text) => out.extend_from_slice(quoted(text.as_bytes()).as_bytes()),
        Format::Logfmt => out.extend_from_slice(text.as_bytes()),
    }
}

/// Whether a logfmt value would be misread bare.
fn needs_quotes(text: &str) -> bool {
    text.is_empty()
        || text.chars().any(|c| {
            matches!(c, '=' | '"' | char::REPLACEMENT_CHARACTER) || c.is_whitespace() || c.is_control()
        })
}

/// Collects the message apart from the other fields, which are written as they come.
struct Fields {
    format: Format,
    message: String,
    rest: Vec<u8>,
}

impl Fields {
    fn text(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            self.message.push_str(text);
            return;
        }
        push_text(self.format, &mut self.rest, shown_name(field), text);
    }

    /// A value that JSON has a bare form for.
    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        push_name(self.format, &mut self.rest, shown_name(field));
        self.rest.extend_from_slice(value.to_string().as_bytes());
    }
}

/// The reference keeps `source` for itself and renames a field of that name.
fn shown_name(field: &Field) -> &'static str {
    match field.name() {
        "source" => "logged_source",
        name => name,
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinities and no NaN.
        if value.is_finite() { self.bare(field, value) } else { self.text(field, &value.to_string()) }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing::Subscriber;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
    use tracing_subscriber::registry::Registry;

    struct Catch {
        format: Format,
        with_module: bool,
        line: Arc<Mutex<Vec<u8>>>,
    }

    impl<S: Subscriber> Layer<S> for Catch {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            let at = "2026-11-21T08:36:50.4419Z".parse().unwrap();
            *self.line.lock().unwrap() = write(self.format, self.with_module, at, event);
        }
    }

    /// The line that `log` makes, with the caller's line number replaced by `N`.
    fn line_of(format: Format, with_module: bool, log: impl FnOnce()) -> String {
        let line = Arc::new(Mutex::new(Vec::new()));
        let layer = Catch { format, with_module, line: line.clone() };
        tracing::subscriber::with_default(Registry::default().with(layer), log);
        let text = String::from_utf8(line.lock().unwrap().clone()).unwrap();
        let (before, after) =
            text.split_once("caller=line.rs").or(text.split_once("caller\":\"line.rs")).unwrap();
        let digits = |text: &str| text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let end = after.find([' ', '"']).unwrap();
        let (place, rest) = after.split_at(end);
        let caller = text[before.len()..text.len() - after.len()].to_owned();
        format!("{before}{caller}{}N{rest}", &place[..place.len() - digits(place)])
    }

    #[test]
    fn logfmt() {
        let line = line_of(Format::Logfmt, false, || {
            tracing::info!(http2 = false, address = "127.0.0.1:9091", "TLS is disabled.");
        });
        assert_eq!(
            line,
            "ts=2026-11-21T08:36:50.441Z level=info caller=line.rs:N msg=\"TLS is disabled.\" http2=false address=127.0.0.1:9091\n"
        );
        let line = line_of(Format::Logfmt, false, || {
            tracing::error!(a = "", b = "x=y", c = "q\"", d = "l\nf", e = "a\\b", f = "é", g = %"d i", "m");
        });
        assert_eq!(
            line,
            "ts=2026-11-21T08:36:50.441Z level=error caller=line.rs:N msg=m \
             a=\"\" b=\"x=y\" c=\"q\\\"\" d=\"l\\nf\" e=a\\b f=é g=\"d i\"\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line_in_order() {
        let line = line_of(Format::Json, false, || {
            tracing::warn!(source = "<a>", count = 7_u64, nan = f64::NAN, half = 0.5, "say \"hi\"\n");
        });
        assert_eq!(
            line,
            "{\"ts\":\"2026-11-21T08:36:50.441Z\",\"level\":\"warn\",\"caller\":\"line.rs:N\",\"msg\":\"say \\\"hi\\\"\\n\",\
             \"logged_source\":\"<a>\",\"count\":7,\"nan\":\"NaN\",\"half\":0.5}\n"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&line).unwrap().is_object());
    }

    #[test]
    fn the_caller_has_its_module_at_level_debug() {
        let line = line_of(Format::Logfmt, true, || tracing::debug!("x"));
        assert_eq!(
            line,
            "ts=2026-11-21T08:36:50.441Z level=debug caller=line.rs(floodway::telemetry::log::line::tests):N msg=x\n"
        );
    }
}

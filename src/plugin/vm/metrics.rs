//! `gate.counter`, `gate.gauge`, `gate.histogram`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use mlua::{MultiValue, Table, UserData, UserDataMethods, Value};

use super::log::cut;
use super::state::State;
use super::values::number_text;
use crate::model::names::is_legacy_label_name;
use crate::plugin::fault::{Code, Fault, raise};
use crate::plugin::stats::{Cells, Declared, Metric, MetricKind};

/// A declared metric, with the cells that this machine has used.
pub struct MetricHandle {
    metric: Arc<Metric>,
    known: RefCell<HashMap<Vec<String>, Cells>>,
}

/// A metric with its labels bound: `m:with(...)`.
struct Bound {
    metric: Arc<Metric>,
    cells: Cells,
}

/// Combinations that a machine remembers the cells of.
const KNOWN_MAX: usize = 1024;

impl MetricHandle {
    /// # Errors
    ///
    /// E_VALUE: the declaration is not valid; E_LIMIT: there are too many.
    pub fn declare(state: &State, kind: MetricKind, table: &Table) -> mlua::Result<MetricHandle> {
        let mut declared = Declared {
            name: String::new(),
            help: String::new(),
            kind,
            labels: Vec::new(),
            buckets: Vec::new(),
        };
        for pair in table.pairs::<String, Value>() {
            let (key, value) = pair?;
            match (key.as_str(), &value) {
                ("name", Value::String(name)) => declared.name = name.to_str()?.to_owned(),
                ("help", Value::String(help)) => declared.help = help.to_str()?.to_owned(),
                ("labels", Value::Table(list)) => {
                    declared.labels = list.sequence_values().collect::<Result<_, _>>()?
                }
                ("buckets", Value::Table(list)) if kind == MetricKind::Histogram => {
                    declared.buckets = list.sequence_values().collect::<Result<_, _>>()?;
                }
                (other, _) => return raise(Code::Value, format!("a metric takes no such {other}")),
            }
        }
        let legal = |name: &String| is_legacy_label_name(name);
        if !legal(&declared.name) || !declared.labels.iter().all(legal) {
            return raise(Code::Value, "a metric needs a valid name and valid label names");
        }
        let reserved =
            |name: &String| name.starts_with("__") || (kind == MetricKind::Histogram && name == "le");
        let doubled =
            (1..declared.labels.len()).any(|at| declared.labels[..at].contains(&declared.labels[at]));
        if doubled || declared.labels.iter().any(reserved) {
            return raise(Code::Value, "a metric's labels differ, and none is le or begins with __");
        }
        let finite = declared.buckets.iter().all(|bound| bound.is_finite());
        let ascending = finite && declared.buckets.windows(2).all(|pair| pair[0] < pair[1]);
        if kind == MetricKind::Histogram && (declared.buckets.is_empty() || !ascending) {
            return raise(Code::Value, "a histogram needs ascending buckets");
        }
        let metric = match &state.trial {
            Some(trial) => trial.metric(declared)?,
            None => state.spec.shared.known_metric(declared),
        };
        Ok(MetricHandle { metric, known: RefCell::default() })
    }

    fn cells(&self, values: MultiValue) -> Result<Cells, Fault> {
        let values: Vec<String> = values.iter().map(label).collect::<Result<_, _>>()?;
        let wanted = self.metric.declared.labels.len();
        if values.len() != wanted {
            let text =
                format!("{} takes {wanted} label values, not {}", self.metric.declared.name, values.len());
            return Err(Fault::new(Code::Value, text));
        }
        if let Some(cells) = self.known.borrow().get(&values) {
            return Ok(cells.clone());
        }
        let cells = self.metric.cells(values.clone());
        let mut known = self.known.borrow_mut();
        if known.len() < KNOWN_MAX {
            known.insert(values, cells.clone());
        }
        Ok(cells)
    }
}

/// Bytes of a label value; what is longer is cut.
const LABEL_BYTES_MAX: usize = 256;

fn label(value: &Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => {
            let bytes = text.as_bytes();
            let mut text =
                String::from_utf8_lossy(&bytes[..bytes.len().min(LABEL_BYTES_MAX + 4)]).into_owned();
            cut(&mut text, LABEL_BYTES_MAX);
            Ok(text)
        }
        Value::Integer(number) => Ok(number.to_string()),
        Value::Number(number) => Ok(number_text(*number)),
        Value::Boolean(is) => Ok(is.to_string()),
        other => {
            Err(Fault::new(Code::Value, format!("a label value is a string, not a {}", other.type_name())))
        }
    }
}

fn bump(metric: &Metric, cells: &Cells, verb: &str, by: f64) -> mlua::Result<()> {
    match (metric.declared.kind, verb) {
        (MetricKind::Counter, "inc") if by >= 0.0 => cells[0].add(by),
        (MetricKind::Counter, "inc") => return raise(Code::Value, "a counter only goes up"),
        (MetricKind::Gauge, "set") => cells[0].set(by),
        (MetricKind::Gauge, "add") => cells[0].add(by),
        (MetricKind::Histogram, "observe") => {
            let buckets = &metric.declared.buckets;
            let at = buckets.iter().position(|bound| by <= *bound).unwrap_or(buckets.len());
            cells[at].add(1.0);
            cells[buckets.len() + 1].add(by);
        }
        _ => return raise(Code::Field, format!("this metric has no {verb}")),
    }
    Ok(())
}

const VERBS: [&str; 4] = ["inc", "set", "add", "observe"];

impl UserData for MetricHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        for verb in VERBS {
            methods.add_method(verb, move |_, this, (by, values): (Option<f64>, MultiValue)| {
                bump(&this.metric, &this.cells(values)?, verb, by.unwrap_or(1.0))
            });
        }
        methods.add_method("with", |_, this, values: MultiValue| {
            Ok(Bound { metric: this.metric.clone(), cells: this.cells(values)? })
        });
    }
}

impl UserData for Bound {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        for verb in VERBS {
            methods.add_method(verb, move |_, this, by: Option<f64>| {
                bump(&this.metric, &this.cells, verb, by.unwrap_or(1.0))
            });
        }
    }
}

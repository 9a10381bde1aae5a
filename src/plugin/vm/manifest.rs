//! The table that a plugin's file returns: read and checked, its `init` run.

use std::sync::Arc;

use mlua::{Function, Lua, Table, Value};

use super::state::State;
use super::values::{RulesHandle, When, number_of, plain, rules_of, setting};
use crate::plugin::fault::{Code, Fault};
use crate::plugin::selector::Selector;
use crate::plugin::settings::OnError;
use crate::plugin::value::Value as Plain;

/// One function of a hook, and the selector in front of it.
#[derive(Clone, Debug)]
pub struct Hook {
    pub selector: Option<Arc<Selector>>,
    pub function: Function,
}

/// What a plugin said of itself.
#[derive(Default)]
pub struct Manifest {
    pub version: String,
    pub description: String,
    pub on_error: OnError,
    pub selector: Option<Arc<Selector>>,
    pub headers: Vec<String>,
    pub lenient_names: bool,
    pub relabel: Option<RulesHandle>,
    pub on_request: Vec<Hook>,
    pub on_push: Vec<Hook>,
    pub on_family: Vec<Hook>,
    pub on_series: Vec<Hook>,
    pub on_sample: Vec<Hook>,
    pub on_commit: Vec<Hook>,
    pub on_result: Vec<Hook>,
    pub on_expire: Vec<Hook>,
    pub shutdown: Option<Function>,
}

impl Manifest {
    /// Reads what the file returned, checks the configuration and runs `init`.
    ///
    /// # Errors
    ///
    /// E_API, E_MANIFEST, E_CONFIG, or what `init` raises.
    pub fn read(lua: &Lua, state: &State, value: Value) -> Result<Manifest, Fault> {
        let Value::Table(table) = value else {
            return Err(Fault::new(
                Code::Manifest,
                format!("the file returns a {}, not a table", value.type_name()),
            ));
        };
        let get = |key: &str| table.raw_get::<Value>(key).map_err(|error| Fault::from_lua(&error));
        match number_of(&get("api")?) {
            Some(1.0) => {}
            Some(other) => return Err(Fault::new(Code::Api, format!("api {other} is not known, only 1 is"))),
            None => return Err(Fault::new(Code::Api, "the plugin must say api = 1")),
        }
        let mut manifest = Manifest::default();
        let mut init = None;
        manifest.take(state, &table, true, &mut init)?;
        let declared = plain(&get("config")?, 0).map_err(|error| {
            Fault::new(Code::Manifest, format!("config: {}", Fault::from_lua(&error).text))
        })?;
        // An empty table has no kind.
        let declared = if declared == Plain::List(Vec::new()) { Plain::Null } else { declared };
        let (settings, _) = state.spec.settings(&declared)?;
        if let Some(init) = init {
            let result = (|| {
                let config = lua.create_table()?;
                for (key, value) in settings {
                    config.raw_set(key.as_str(), setting(lua, value)?)?;
                }
                config.set_readonly(true);
                init.call::<Value>(config)
            })();
            match result.map_err(|error| Fault::from_lua(&error))? {
                Value::Nil => {}
                Value::Table(more) => manifest.take(state, &more, false, &mut None)?,
                other => {
                    let text = format!("init returns a {}, not a table", other.type_name());
                    return Err(Fault::new(Code::Manifest, text));
                }
            }
        }
        *state.headers.borrow_mut() = manifest.headers.clone();
        Ok(manifest)
    }

    /// Names of the hooks it has.
    pub fn hooks(&self) -> Vec<&'static str> {
        let all = [
            ("relabel", self.relabel.is_some()),
            ("on_request", !self.on_request.is_empty()),
            ("on_push", !self.on_push.is_empty()),
            ("on_family", !self.on_family.is_empty()),
            ("on_series", !self.on_series.is_empty()),
            ("on_sample", !self.on_sample.is_empty()),
            ("on_commit", !self.on_commit.is_empty()),
            ("on_result", !self.on_result.is_empty()),
            ("on_expire", !self.on_expire.is_empty()),
        ];
        all.into_iter().filter(|hook| hook.1).map(|hook| hook.0).collect()
    }

    fn take(
        &mut self,
        state: &State,
        table: &Table,
        whole: bool,
        init: &mut Option<Function>,
    ) -> Result<(), Fault> {
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|error| Fault::from_lua(&error))?;
            let Value::String(key) = key else {
                return Err(Fault::new(Code::Manifest, "the plugin's table has a key that is no string"));
            };
            let key = key.to_string_lossy();
            self.take_one(state, &key, value, whole, init)
                .map_err(|fault| match fault.code {
                    Code::Rule | Code::Manifest | Code::Limit => fault,
                    _ => Fault::new(Code::Manifest, fault.text),
                })
                .map_err(|fault| Fault::new(fault.code, format!("{key}: {}", fault.text)))?;
        }
        Ok(())
    }

    fn take_one(
        &mut self,
        state: &State,
        key: &str,
        value: Value,
        whole: bool,
        init: &mut Option<Function>,
    ) -> Result<(), Fault> {
        match key {
            "headers" => self.headers = headers(&value)?,
            "facts" => state.facts.set(truth(&value)?),
            "match" => self.selector = state.optional_selector(&value)?,
            "relabel" => {
                let rules = rules_of(&value, state.spec.names).map_err(|error| Fault::from_lua(&error))?;
                self.relabel = Some(rules);
            }
            "on_request" => self.on_request = hooks(&value)?,
            "on_push" => self.on_push = hooks(&value)?,
            "on_family" => self.on_family = hooks(&value)?,
            "on_series" => self.on_series = hooks(&value)?,
            "on_sample" => self.on_sample = hooks(&value)?,
            "on_commit" => self.on_commit = hooks(&value)?,
            "on_result" => self.on_result = hooks(&value)?,
            "on_expire" => self.on_expire = hooks(&value)?,
            "shutdown" => self.shutdown = Some(function(&value)?),
            "api" | "config" if whole => {}
            "name" if whole => {
                text(&value)?;
            }
            "version" if whole => self.version = text(&value)?,
            "description" if whole => self.description = text(&value)?,
            "init" if whole => *init = Some(function(&value)?),
            "lenient_names" if whole => self.lenient_names = truth(&value)?,
            "on_error" if whole => {
                self.on_error = match text(&value)?.as_str() {
                    "reject" => OnError::Reject,
                    "pass" => OnError::Pass,
                    other => return Err(bad(&format!("must be \"reject\" or \"pass\", not {other:?}"))),
                }
            }
            _ if whole => return Err(bad("a plugin has no such member")),
            _ => return Err(bad("init may not return this member")),
        }
        Ok(())
    }
}

fn bad(text: &str) -> Fault {
    Fault::new(Code::Manifest, text)
}

fn text(value: &Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text.to_string_lossy()),
        other => Err(bad(&format!("must be a string, not a {}", other.type_name()))),
    }
}

fn truth(value: &Value) -> Result<bool, Fault> {
    match value {
        Value::Boolean(is) => Ok(*is),
        other => Err(bad(&format!("must be true or false, not a {}", other.type_name()))),
    }
}

fn function(value: &Value) -> Result<Function, Fault> {
    match value {
        Value::Function(function) => Ok(function.clone()),
        other => Err(bad(&format!("must be a function, not a {}", other.type_name()))),
    }
}

fn headers(value: &Value) -> Result<Vec<String>, Fault> {
    const HELD_BACK: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];
    let Value::Table(list) = value else { return Err(bad("must be a list of names")) };
    let mut names = Vec::new();
    for name in list.sequence_values::<String>() {
        let name = name.map_err(|_| bad("must be a list of names"))?.to_ascii_lowercase();
        if HELD_BACK.contains(&name.as_str()) {
            return Err(bad(&format!("plugins may not read the header {name}")));
        }
        names.push(name);
    }
    Ok(names)
}

/// A function, `gate.when(...)`, or a list of both.
fn hooks(value: &Value) -> Result<Vec<Hook>, Fault> {
    match value {
        Value::Function(function) => Ok(vec![Hook { selector: None, function: function.clone() }]),
        Value::UserData(data) => match data.borrow::<When>() {
            Ok(when) => {
                Ok(vec![Hook { selector: Some(when.selector.clone()), function: when.function.clone() }])
            }
            Err(_) => Err(bad("must be a function or gate.when(...)")),
        },
        Value::Table(list) if list.raw_len() > 0 => {
            let mut all = Vec::new();
            for item in list.sequence_values::<Value>() {
                let item = item.map_err(|error| Fault::from_lua(&error))?;
                if matches!(item, Value::Table(_)) {
                    return Err(bad("a list of hooks holds functions and gate.when(...)"));
                }
                all.extend(hooks(&item)?);
            }
            Ok(all)
        }
        other => Err(bad(&format!("must be a function, not a {}", other.type_name()))),
    }
}

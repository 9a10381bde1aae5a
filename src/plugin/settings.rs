//! plugins.yml: which plugins run, in which order, with which configuration.

use std::time::Duration;

use serde::Deserialize;

use super::budget::Budget;
use super::fault::{Code, Fault};
use super::schema;
use super::value::Value;

/// Entries that the result cache of `on_series` holds per worker, unless set.
pub const SERIES_CACHE: usize = 32_768;

/// Most plugins in one configuration.
pub const PLUGINS_MAX: usize = 32;

/// The file as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(default)]
    pub reload_tests: bool,
    pub series_cache: Option<usize>,
    #[serde(default)]
    pub plugins: Vec<Entry>,
}

/// One entry of the list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: String,
    pub path: Option<String>,
    #[serde(rename = "use")]
    pub bundled: Option<String>,
    pub metric_relabel_configs: Option<Value>,
    pub group_relabel_configs: Option<Value>,
    pub enabled: Option<bool>,
    #[serde(default)]
    pub mode: Mode,
    pub on_error: Option<OnError>,
    #[serde(rename = "match")]
    pub selector: Option<String>,
    pub only: Option<String>,
    #[serde(default)]
    pub budget: BudgetEntry,
    #[serde(default)]
    pub config: Value,
}

/// Whether what a plugin does counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Enforce,
    /// It runs on what is pushed, and what it did is counted and taken back.
    Shadow,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
        }
    }
}

/// What becomes of a push when its plugin fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The push is refused.
    #[default]
    Reject,
    /// The push goes on as if the plugin had not been there.
    Pass,
}

impl OnError {
    pub fn name(self) -> &'static str {
        match self {
            OnError::Reject => "reject",
            OnError::Pass => "pass",
        }
    }
}

/// The members that are set of a budget.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetEntry {
    time: Option<String>,
    time_per_sample: Option<String>,
    steps: Option<u64>,
    steps_per_sample: Option<u64>,
    memory: Option<Value>,
}

impl File {
    /// # Errors
    ///
    /// E_CONFIG: no YAML, an unknown key, a bad name, or too many plugins.
    pub fn read(text: &str) -> Result<File, Fault> {
        // An empty document is an empty configuration.
        let blank = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        if blank {
            return Ok(File::default());
        }
        let file: File = serde_saphyr::from_str(text)
            .map_err(|error| Fault::new(Code::Config, error.to_string().trim().to_owned()))?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<(), Fault> {
        let fault = |text: String| Err(Fault::new(Code::Config, text));
        if self.plugins.len() > PLUGINS_MAX {
            return fault(format!("{} plugins, at most {PLUGINS_MAX} are allowed", self.plugins.len()));
        }
        for (at, entry) in self.plugins.iter().enumerate() {
            let name = &entry.name;
            if !is_plugin_name(name) {
                return fault(format!("plugin name {name:?} does not match [a-z][a-z0-9_]{{0,31}}"));
            }
            if self.plugins[..at].iter().any(|earlier| earlier.name == *name) {
                return fault(format!(
                    "there are two plugins named {name}; give one another name and a path"
                ));
            }
            let rules = entry.metric_relabel_configs.is_some() || entry.group_relabel_configs.is_some();
            let sources = [entry.path.is_some(), entry.bundled.is_some(), rules];
            if sources.into_iter().filter(|is| *is).count() > 1 {
                return fault(format!("{name}: only one of path, use and relabel rules can be given"));
            }
            if entry.only.is_some() && !rules {
                return fault(format!("{name}: only goes with metric_relabel_configs"));
            }
        }
        Ok(())
    }
}

pub fn is_plugin_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|char: char| char.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

impl BudgetEntry {
    /// The budget with the default for what is not set.
    ///
    /// # Errors
    ///
    /// A text is no duration or size, or the memory is outside 1 MiB to 256 MiB.
    pub fn budget(&self) -> Result<Budget, Fault> {
        let default = Budget::default();
        let bad = |key: &str| Fault::new(Code::Config, format!("budget.{key} is not valid"));
        let duration = |text: &Option<String>, key: &str, default: Duration| match text {
            None => Ok(default),
            Some(text) => schema::duration_seconds(text)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| bad(key)),
        };
        let memory_bytes = match &self.memory {
            None => default.memory_bytes,
            Some(value) => {
                let bytes =
                    value.as_word().and_then(|text| schema::bytes(&text)).ok_or_else(|| bad("memory"))?;
                if !(1_048_576.0..=268_435_456.0).contains(&bytes) {
                    return Err(Fault::new(Code::Config, "budget.memory must be 1MiB to 256MiB"));
                }
                bytes as usize
            }
        };
        Ok(Budget {
            steps: self.steps.unwrap_or(default.steps),
            steps_per_sample: self.steps_per_sample.unwrap_or(default.steps_per_sample),
            time: duration(&self.time, "time", default.time)?,
            time_per_sample: duration(&self.time_per_sample, "time_per_sample", default.time_per_sample)?,
            memory_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_read() {
        let file = File::read(
            "# order is order of execution\nreload_tests: false\nseries_cache: 0\nplugins:\n\
             - name: tenant\n  path: tenant.lua\n  enabled: false\n  mode: enforce\n  on_error: pass\n\
             \x20 match: '{job=~\"batch-.*\"}'\n\
             \x20 budget: { time: 3ms, time_per_sample: 7us, steps: 5, steps_per_sample: 6, memory: 16MiB }\n\
             \x20 config: { users: { bob: blue }, n: 1.5, list: [a, 2, true, null] }\n\
             - name: trim\n  only: up\n  metric_relabel_configs:\n\
             \x20   - source_labels: [env]\n      regex: dev\n      action: drop\n\
             - name: rules\n  use: bundled:relabel\n",
        )
        .unwrap();
        assert_eq!((file.reload_tests, file.series_cache, file.plugins.len()), (false, Some(0), 3));
        let budget = file.plugins[0].budget.budget().unwrap();
        assert_eq!((budget.time, budget.steps, budget.memory_bytes), (Duration::from_millis(3), 5, 16 << 20));
        let Value::Map(config) = &file.plugins[0].config else { panic!("a map") };
        assert_eq!(config[1].1, Value::Float(1.5));
        assert_eq!(
            config[2].1,
            Value::List(vec![Value::Text("a".into()), Value::Int(2), Value::Bool(true), Value::Null])
        );
        assert!(file.plugins[1].metric_relabel_configs.is_some());
        assert!(File::read("# nothing\n").unwrap().plugins.is_empty());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for bad in [
            "plugins: 5",
            "plugin: []",
            "plugins: [{ name: a, nmae: b }]",
            "plugins: [{ path: a.lua }]",
            "plugins: [{ name: A }]",
            "plugins: [{ name: a-b }]",
            "plugins: [{ name: a }, { name: a }]",
            "plugins: [{ name: a, path: a.lua, use: 'bundled:relabel' }]",
            "plugins: [{ name: a, only: up }]",
            "plugins: [{ name: a, on_error: maybe }]",
            "plugins: [{ name: a, mode: maybe }]",
            "plugins: [{ name: a, budget: { speed: 1 } }]",
            "plugins: [",
        ] {
            assert_eq!(File::read(bad).map(|_| ()).unwrap_err().code, Code::Config, "{bad}");
        }
        let budget = |text: &str| File::read(text).unwrap().plugins[0].budget.budget();
        assert!(budget("plugins: [{ name: a, budget: { time: soon } }]").is_err());
        assert!(budget("plugins: [{ name: a, budget: { memory: 1kB } }]").is_err());
    }
}

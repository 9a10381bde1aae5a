//! One configured plugin, ready to be loaded into a machine: compiled once, shared by all workers.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::budget::Budget;
use super::fault::{Code, Fault};
use super::lookup::{self, Columns, Lookup};
use super::regex::Regex;
use super::relabel::Ruleset;
use super::schema::Settings;
use super::selector::Selector;
use super::settings::{Mode, OnError};
use super::stats::Shared;
use super::value::Value;
use crate::model::NameRules;

/// Largest source file, in bytes, and largest plugin in all.
pub const SOURCE_BYTES_MAX: usize = 1024 * 1024;
pub const SOURCES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a plugin is made of.
#[derive(Debug)]
pub enum Body {
    /// Rules from plugins.yml, without Lua.
    Rules {
        rules: Option<Ruleset>,
        group: Option<Ruleset>,
        only: Option<Selector>,
    },
    Lua(Program),
}

/// Compiled Lua: the plugin's file, and what it may `require`.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    pub main: Vec<u8>,
    pub modules: BTreeMap<String, Vec<u8>>,
}

/// Lua source before it is compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub main: String,
    pub modules: BTreeMap<String, String>,
    /// The folder that its tables lie in.
    pub home: Option<PathBuf>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub body: Arc<Body>,
    /// What plugins.yml sets in place of the plugin's own choice.
    pub on_error: Option<OnError>,
    pub mode: Mode,
    /// Where it comes from: a path in the plugin directory, `bundled:NAME`, or the configuration itself.
    pub origin: String,
    pub selector: Option<Arc<Selector>>,
    pub budget: Budget,
    pub config: Value,
    pub names: NameRules,
    /// Counters and metrics, which belong to the name and survive a reload.
    pub shared: Arc<Shared>,
    /// Equal for equal source and configuration.
    pub fingerprint: u64,
    /// The folder that its tables lie in.
    pub home: Option<PathBuf>,
    /// The checked configuration, once the first machine has declared it.
    settings: OnceLock<(Settings, Vec<String>)>,
    compiled: Arc<Mutex<Compiled>>,
}

/// Patterns compiled by the first machine and used by all.
#[derive(Debug, Default)]
struct Compiled {
    regexes: HashMap<String, Arc<Regex>>,
    regex_bytes: usize,
    selectors: HashMap<String, Arc<Selector>>,
    lookups: HashMap<(String, Columns), Arc<Lookup>>,
    /// The files of these, and a hash of what was in them.
    tables: HashMap<PathBuf, u64>,
}

/// Bytes that the patterns of one plugin may take compiled. A pattern is booked with its size limit.
const REGEXES_MAX: usize = 16;

impl Sources {
    /// Where they are no Lua 5.1, and how.
    pub fn beyond_lua51(&self, name: &str) -> Vec<String> {
        let files = std::iter::once((name, &self.main));
        let modules = self.modules.iter().map(|(module, text)| (module.as_str(), text));
        let found = files.chain(modules).flat_map(|(file, text)| {
            let found = super::dialect::find(text).into_iter();
            found.map(move |beyond| format!("{file}:{}: {} is not Lua 5.1", beyond.line, beyond.what))
        });
        found.collect()
    }

    /// # Errors
    ///
    /// E_LOAD: a source is too large or does not parse; the text names the file.
    pub fn compile(&self, name: &str) -> Result<Program, Fault> {
        let total: usize = self.main.len() + self.modules.values().map(String::len).sum::<usize>();
        if total > SOURCES_BYTES_MAX {
            return Err(Fault::new(Code::Load, format!("{total} bytes of source are over 4 MiB")));
        }
        let compile = |name: &str, text: &str| {
            if text.len() > SOURCE_BYTES_MAX {
                return Err(Fault::new(Code::Load, format!("{name} is larger than 1 MiB")));
            }
            // These would be called past the wrappers that put a price on them.
            let compiler = mlua::chunk::Compiler::new()
                .set_optimization_level(1)
                .set_debug_level(1)
                .set_disabled_builtins(["tonumber", "unpack", "table.unpack"]);
            compiler.compile(text).map_err(|error| {
                let text = Fault::from_lua(&error).text;
                Fault::new(Code::Load, format!("{name}:{}", text.trim_start_matches(':')))
            })
        };
        let modules = self.modules.iter().map(|(name, text)| Ok((name.clone(), compile(name, text)?)));
        Ok(Program { main: compile(name, &self.main)?, modules: modules.collect::<Result<_, Fault>>()? })
    }
}

impl Spec {
    pub fn new(name: impl Into<String>, body: Body, names: NameRules, shared: Arc<Shared>) -> Spec {
        Spec {
            name: name.into(),
            body: Arc::new(body),
            on_error: None,
            mode: Mode::Enforce,
            origin: String::new(),
            selector: None,
            budget: Budget::default(),
            config: Value::Null,
            names,
            shared,
            fingerprint: 0,
            home: None,
            settings: OnceLock::new(),
            compiled: Arc::default(),
        }
    }

    /// The same plugin, to be rehearsed with: it counts where nobody looks, and what it shares lies over what
    /// this one shares.
    pub fn twin(&self) -> Spec {
        Spec { shared: Arc::new(self.shared.twin()), ..self.clone() }
    }

    /// The configuration checked against `declared`, and the keys that are not declared.
    ///
    /// # Errors
    ///
    /// See [`schema::check`](super::schema::check).
    pub fn settings(&self, declared: &Value) -> Result<&(Settings, Vec<String>), Fault> {
        if self.settings.get().is_none() {
            let checked = super::schema::check(declared, &self.config, self.names)?;
            // Another worker may have been first; its result is the same.
            let _ = self.settings.set(checked);
        }
        Ok(self.settings.get().expect("set above"))
    }

    /// The checked configuration, known once the plugin was loaded.
    pub fn checked_settings(&self) -> Option<&Settings> {
        self.settings.get().map(|(settings, _)| settings)
    }

    /// The keys of the configuration that the plugin does not declare, known once it was loaded.
    pub fn unknown_keys(&self) -> &[String] {
        self.settings.get().map_or(&[], |(_, unknown)| unknown)
    }

    /// # Errors
    ///
    /// E_VALUE: the pattern is not valid; E_LIMIT: the plugin has too many.
    pub fn regex(&self, pattern: &str) -> Result<Arc<Regex>, Fault> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = compiled.regexes.get(pattern) {
            return Ok(found.clone());
        }
        let regex = Arc::new(Regex::new(pattern).map_err(|text| Fault::new(Code::Value, text))?);
        compiled.regex_bytes += regex.compiled_bytes_at_most();
        if compiled.regex_bytes > REGEXES_MAX * super::regex::COMPILED_BYTES_MAX {
            return Err(Fault::new(Code::Limit, "the patterns of this plugin take more than 16 MiB"));
        }
        compiled.regexes.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }

    /// # Errors
    ///
    /// E_VALUE: the text is no selector.
    pub fn compile_selector(&self, text: &str) -> Result<Arc<Selector>, Fault> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = compiled.selectors.get(text) {
            return Ok(found.clone());
        }
        let selector = Arc::new(Selector::new(text).map_err(|text| Fault::new(Code::Value, text))?);
        if compiled.selectors.len() < 1024 {
            compiled.selectors.insert(text.to_owned(), selector.clone());
        }
        Ok(selector)
    }

    /// The table in a file of the plugin's folder, which is read if `may_read` says so.
    ///
    /// # Errors
    ///
    /// E_LOAD: the file cannot be read, or is no table. E_VALUE: it is not in the plugin's folder.
    pub fn lookup(&self, path: &str, columns: Columns, may_read: bool) -> Result<Arc<Lookup>, Fault> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = (path.to_owned(), columns);
        if let Some(found) = compiled.lookups.get(&wanted) {
            return Ok(found.clone());
        }
        if !may_read {
            let text = format!("gate.lookup: {path} was not asked for when the plugin was checked");
            return Err(Fault::new(Code::Load, text));
        }
        let Some(home) = &self.home else {
            return Err(Fault::new(Code::Load, "gate.lookup: a plugin without a folder has no files"));
        };
        let file = home.join(path);
        let inside =
            || -> std::io::Result<bool> { Ok(file.canonicalize()?.starts_with(home.canonicalize()?)) };
        match inside() {
            Ok(true) => {}
            Ok(false) => {
                return Err(Fault::new(
                    Code::Value,
                    format!("gate.lookup: {path} is outside the plugin's folder"),
                ));
            }
            Err(error) => {
                return Err(Fault::new(Code::Load, format!("cannot read {}: {error}", file.display())));
            }
        }
        let bytes = lookup::read(&file)?;
        let table = Arc::new(Lookup::parse(&file, &bytes, &wanted.1)?);
        compiled.tables.insert(file, hash_of(&bytes));
        compiled.lookups.insert(wanted, table.clone());
        Ok(table)
    }

    /// Whether the files of its tables hold what was read from them.
    pub fn has_same_tables(&self) -> bool {
        let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tables = compiled.tables.iter();
        tables.all(|(file, hash)| lookup::read(file).is_ok_and(|bytes| hash_of(&bytes) == *hash))
    }
}

fn hash_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

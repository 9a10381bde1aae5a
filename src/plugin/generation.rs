//! A set of plugins as one configuration describes it: found, compiled, tried out, immutable.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::budget::Allowance;
use super::bundled;
pub use super::door::Options;
use super::fault::{Code, Fault};
use super::relabel::Ruleset;
use super::selector::Selector;
use super::settings::{Entry, File, OnError, SERIES_CACHE, is_plugin_name};
use super::shared;
use super::spec::{Body, SOURCE_BYTES_MAX, Sources, Spec};
use super::stage::Stage;
use super::stats::{Declared, Shared};
use super::stubs;
use super::value::Value;
use super::vm::{Timers, Vm};
use crate::model::NameRules;
use crate::telemetry::Telemetry;

/// Something wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The plugin at fault; `None` for the configuration itself.
    pub plugin: Option<String>,
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plugin {
            Some(plugin) => write!(f, "plugin {plugin}: {}", self.fault),
            None => write!(f, "plugins: {}", self.fault),
        }
    }
}

/// What loading a plugin once has told.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub version: String,
    pub description: String,
    pub on_error: OnError,
    pub hooks: Vec<&'static str>,
    pub headers: Vec<String>,
    /// Whether it puts right what the parser refuses.
    pub lenient_names: bool,
    pub selector: Option<Arc<Selector>>,
    /// Where its source is no Lua 5.1, and how.
    pub beyond_lua51: Vec<String>,
    /// Per-sample hooks that run on every sample.
    pub unselected: Vec<&'static str>,
    /// Whether what it makes of a push hangs on nothing but the push's shape and key: tiers T0 and T1.
    pub pure: bool,
    /// Whether it asks what is stored.
    pub facts: bool,
    pub metrics: Vec<Declared>,
    pub stores: Vec<shared::Declared>,
    pub timers: Timers,
}

/// Hooks that cannot see values, requests or the time.
const PURE: [&str; 3] = ["relabel", "group_relabel", "on_series"];

/// A plugin in its place in the order.
#[derive(Clone, Debug)]
pub struct Planned {
    pub spec: Arc<Spec>,
    pub about: About,
}

/// See the module.
#[derive(Debug)]
pub struct Generation {
    pub number: u64,
    pub plugins: Vec<Planned>,
    /// Entries of the result cache that each plugin with `on_series` gets per worker.
    pub series_cache: usize,
    pub time_max: Duration,
    pub names: NameRules,
    /// Plugins left out because they are broken, where that is allowed.
    pub broken: Vec<Problem>,
}

/// Gives the counters of a plugin's name.
pub type SharedOf<'s> = &'s dyn Fn(&str) -> Arc<Shared>;

impl Generation {
    /// No plugins.
    pub fn empty(names: NameRules) -> Generation {
        Generation {
            number: 0,
            plugins: Vec::new(),
            series_cache: 0,
            time_max: Duration::from_millis(50),
            names,
            broken: Vec::new(),
        }
    }

    /// Reads, compiles and tries out everything. Plugins that `old` has in equal form are taken over.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, not only the first.
    pub fn build(
        options: &Options,
        file: &File,
        number: u64,
        old: &Generation,
        shared: SharedOf<'_>,
    ) -> Result<Generation, Vec<Problem>> {
        let mut plugins = Vec::new();
        let mut problems = Vec::new();
        let mut exposed = HashMap::new();
        for entry in file.plugins.iter().filter(|entry| entry.enabled != Some(false)) {
            let planned = plan(entry, options, old, shared);
            match planned.and_then(|planned| check_metrics(planned, &mut exposed)) {
                Ok(planned) => plugins.push(planned),
                Err(fault) => problems.push(Problem { plugin: Some(entry.name.clone()), fault }),
            }
        }
        if !problems.is_empty() && !options.allow_broken {
            return Err(problems);
        }
        let caching = plugins.iter().filter(|plugin| plugin.about.hooks.contains(&"on_series")).count();
        Ok(Generation {
            number,
            plugins,
            series_cache: file.series_cache.unwrap_or(SERIES_CACHE) / caching.max(1),
            time_max: options.time_max,
            names: options.names,
            broken: problems,
        })
    }

    /// The same plugins, to rehearse one push with.
    pub fn twin(&self) -> Generation {
        let twin =
            |planned: &Planned| Planned { spec: Arc::new(planned.spec.twin()), about: planned.about.clone() };
        Generation {
            number: self.number,
            plugins: self.plugins.iter().map(twin).collect(),
            // What is remembered is not run, and a trace is to show it.
            series_cache: 0,
            time_max: self.time_max,
            names: self.names,
            broken: Vec::new(),
        }
    }

    /// Whether some plugin reads request headers.
    pub fn wants_headers(&self) -> bool {
        self.plugins.iter().any(|plugin| !plugin.about.headers.is_empty())
    }

    /// Whether some plugin reads the request header `name` (in lower case).
    pub fn wants_header(&self, name: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin.about.headers.iter().any(|header| header == name))
    }
}

/// Makes sure that no two plugins, nor the gateway, show a metric under the same name. `exposed` leads
/// from such names to the plugins before.
fn check_metrics(planned: Planned, exposed: &mut HashMap<String, String>) -> Result<Planned, Fault> {
    let name = &planned.spec.name;
    for declared in &planned.about.metrics {
        let shown = declared.exposed_name(name);
        if Telemetry::declared().iter().any(|own| own.name == shown) {
            return Err(Fault::new(Code::Manifest, format!("the metric {shown} is the gateway's own")));
        }
        if let Some(other) = exposed.insert(shown.clone(), name.clone()) {
            let text = format!("the metric {shown} is also one of the plugin {other}");
            return Err(Fault::new(Code::Manifest, text));
        }
    }
    Ok(planned)
}

fn load_fault(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Code::Load, format!("cannot read {}: {error}", path.display()))
}

fn read_text(path: &Path) -> Result<String, Fault> {
    let too_large = std::fs::metadata(path).is_ok_and(|meta| meta.len() > SOURCE_BYTES_MAX as u64);
    if too_large {
        return Err(Fault::new(Code::Load, format!("{} is larger than 1 MiB", path.display())));
    }
    std::fs::read_to_string(path).map_err(|error| load_fault(path, &error))
}

/// The configuration file, or an entry for each plugin in the directory where there is none.
///
/// # Errors
///
/// It cannot be read, or what it says is not valid.
pub fn read_config(options: &Options) -> Result<File, Fault> {
    match (&options.config, &options.dir) {
        (Some(path), _) => File::read(&read_text(path)?),
        (None, Some(dir)) => config_in(dir),
        (None, None) => Ok(File::default()),
    }
}

/// The configuration of a plugin directory, as without any flag but `--plugin.dir`.
///
/// # Errors
///
/// It cannot be read, or what it says is not valid.
pub fn config_in(dir: &Path) -> Result<File, Fault> {
    let default = dir.join("plugins.yml");
    if default.exists() {
        return File::read(&read_text(&default)?);
    }
    Ok(File { plugins: found_in(dir)?, ..File::default() })
}

/// Every plugin in a directory, in byte order of names.
fn found_in(dir: &Path) -> Result<Vec<Entry>, Fault> {
    let mut names = Vec::new();
    for item in std::fs::read_dir(dir).map_err(|error| load_fault(dir, &error))? {
        let item = item.map_err(|error| load_fault(dir, &error))?;
        let file_name = item.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        let path = item.path();
        let name = match file_name.strip_suffix(".lua") {
            Some(stem) if path.is_file() && !stem.ends_with("_test") => stem,
            None if path.join("init.lua").is_file() => file_name,
            _ => continue,
        };
        // What editors read.
        if file_name == stubs::STUBS {
            continue;
        }
        // Where expected answers lie.
        if name == "golden" {
            continue;
        }
        if name.starts_with(['_', '.']) {
            continue;
        }
        if !is_plugin_name(name) {
            return Err(Fault::new(
                Code::Config,
                format!("plugin name {name:?} does not match [a-z][a-z0-9_]{{0,31}}"),
            ));
        }
        names.push(name.to_owned());
    }
    names.sort();
    names.dedup();
    Ok(names.into_iter().map(|name| Entry { name, ..Entry::default() }).collect())
}

fn plan(entry: &Entry, options: &Options, old: &Generation, shared: SharedOf<'_>) -> Result<Planned, Fault> {
    let is_rules = entry.metric_relabel_configs.is_some() || entry.group_relabel_configs.is_some();
    let sources = match &entry.bundled {
        _ if is_rules => None,
        Some(name) => Some(bundled::sources(name)?),
        None => Some(read_sources(entry, options)?),
    };
    let fingerprint = fingerprint(entry, sources.as_ref(), options);
    if let Some(same) = old.plugins.iter().find(|plugin| plugin.spec.name == entry.name)
        && same.spec.fingerprint == fingerprint
        && same.spec.has_same_tables()
    {
        return Ok(same.clone());
    }
    let body = match &sources {
        Some(sources) => Body::Lua(sources.compile(&entry.name)?),
        None => rules_body(entry, options.names)?,
    };
    let mut spec = Spec::new(&entry.name, body, options.names, shared(&entry.name));
    spec.on_error = entry.on_error;
    spec.mode = entry.mode;
    spec.origin = origin(entry, options);
    spec.selector = match &entry.selector {
        Some(text) => Some(Arc::new(
            Selector::new(text).map_err(|text| Fault::new(Code::Config, format!("match: {text}")))?,
        )),
        None => None,
    };
    spec.budget = entry.budget.budget()?;
    spec.config = entry.config.clone();
    spec.fingerprint = fingerprint;
    spec.home = sources.as_ref().and_then(|sources| sources.home.clone());
    let spec = Arc::new(spec);
    let mut about = try_out(&spec)?;
    about.beyond_lua51 = sources.iter().flat_map(|sources| sources.beyond_lua51(&entry.name)).collect();
    Ok(Planned { spec, about })
}

/// Where a plugin comes from, for people.
fn origin(entry: &Entry, options: &Options) -> String {
    match (&entry.bundled, &entry.path) {
        (Some(bundled), _) => bundled.clone(),
        (None, Some(path)) => path.clone(),
        (None, None) if entry.metric_relabel_configs.is_some() || entry.group_relabel_configs.is_some() => {
            "rules in plugins.yml".to_owned()
        }
        (None, None) => {
            let file = format!("{}.lua", entry.name);
            let is_file = options.dir.as_ref().is_some_and(|dir| dir.join(&file).exists());
            if is_file { file } else { format!("{}/init.lua", entry.name) }
        }
    }
}

fn rules_body(entry: &Entry, names: NameRules) -> Result<Body, Fault> {
    let rules = |list: &Option<Value>| match list {
        None => Ok(None),
        Some(list) => Ruleset::new(list, names).map(Some).map_err(|text| Fault::new(Code::Rule, text)),
    };
    let only = match &entry.only {
        Some(text) => {
            Some(Selector::new(text).map_err(|text| Fault::new(Code::Config, format!("only: {text}")))?)
        }
        None => None,
    };
    let (rules, group) = (rules(&entry.metric_relabel_configs)?, rules(&entry.group_relabel_configs)?);
    Ok(Body::Rules { rules, group, only })
}

/// Loads a plugin into a machine that is thrown away.
fn try_out(spec: &Arc<Spec>) -> Result<About, Fault> {
    let on_error = spec.on_error;
    if let Body::Rules { rules, group, .. } = &*spec.body {
        let hooks = [("relabel", rules.is_some()), ("group_relabel", group.is_some())];
        let hooks = hooks.into_iter().filter(|hook| hook.1).map(|hook| hook.0).collect();
        let on_error = on_error.unwrap_or_default();
        let selector = spec.selector.clone();
        return Ok(About { on_error, hooks, selector, pure: true, ..About::default() });
    }
    let stage = Rc::new(Stage::new(spec.names, 0, 1));
    let trial = Arc::new(Shared::default());
    let vm = Vm::try_out(spec, &stage, Allowance::CHECK, &trial)?;
    let manifest = &vm.manifest;
    let each = [("on_family", &manifest.on_family), ("on_sample", &manifest.on_sample)];
    let unselected = each.into_iter().filter(|(_, hooks)| hooks.iter().any(|hook| hook.selector.is_none()));
    let hooks = manifest.hooks();
    Ok(About {
        // Lenient names let bodies pass whose values are no numbers.
        pure: !manifest.lenient_names && hooks.iter().all(|hook| PURE.contains(hook)),
        facts: vm.wants_facts(),
        metrics: trial.metrics().iter().map(|metric| metric.declared.clone()).collect(),
        stores: trial.stores.all().iter().map(|store| store.declared.clone()).collect(),
        timers: vm.timers(),
        version: manifest.version.clone(),
        description: manifest.description.clone(),
        on_error: on_error.unwrap_or(manifest.on_error),
        hooks,
        headers: manifest.headers.clone(),
        lenient_names: manifest.lenient_names,
        selector: spec.selector.clone().or_else(|| manifest.selector.clone()),
        unselected: unselected.map(|hook| hook.0).collect(),
        // The source is known to whoever asked for this.
        beyond_lua51: Vec::new(),
    })
}

/// The files of one plugin.
fn read_sources(entry: &Entry, options: &Options) -> Result<Sources, Fault> {
    let Some(dir) = &options.dir else {
        return Err(Fault::new(Code::Config, "a plugin with a path needs --plugin.dir"));
    };
    let main = match &entry.path {
        Some(path) => dir.join(path),
        None => {
            let file = dir.join(format!("{}.lua", entry.name));
            if file.exists() { file } else { dir.join(&entry.name).join("init.lua") }
        }
    };
    let inside = || -> std::io::Result<bool> { Ok(main.canonicalize()?.starts_with(dir.canonicalize()?)) };
    if !inside().map_err(|error| load_fault(&main, &error))? {
        return Err(Fault::new(Code::Config, format!("{} is outside the plugin directory", main.display())));
    }
    let home = main.parent().map(Path::to_owned);
    let mut sources = Sources { main: read_text(&main)?, home, ..Sources::default() };
    // Only a plugin with a directory of its own has files beside it.
    if main.file_name().is_some_and(|name| name == "init.lua")
        && let Some(home) = main.parent()
    {
        for item in std::fs::read_dir(home).map_err(|error| load_fault(home, &error))? {
            let item = item.map_err(|error| load_fault(home, &error))?;
            let file_name = item.file_name();
            let stem = file_name.to_str().and_then(|name| name.strip_suffix(".lua"));
            let Some(stem) = stem.filter(|stem| *stem != "init" && !stem.ends_with("_test")) else {
                continue;
            };
            sources.modules.insert(stem.to_owned(), read_text(&item.path())?);
        }
    }
    Ok(sources)
}

/// Equal for equal source and configuration. Secrets from outside are not looked at, so a plugin that
/// has some is never equal to an older one.
fn fingerprint(entry: &Entry, sources: Option<&Sources>, options: &Options) -> u64 {
    let described = format!("{entry:?} {:?}", options.names);
    let mut hasher = DefaultHasher::new();
    described.hash(&mut hasher);
    if let Some(sources) = sources {
        sources.main.hash(&mut hasher);
        sources.modules.hash(&mut hasher);
    }
    if described.contains("${") || described.contains("file:") {
        std::time::Instant::now().hash(&mut hasher);
    }
    hasher.finish()
}

//! `floodway plugin ...`: jobs around plugins that need no server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Plugins;
use super::generation::Options;
use super::{bundled, settings, stubs};
use crate::model::NameRules;

const USAGE: &str = "usage: floodway plugin COMMAND

  check [DIR] [--config FILE]   load every plugin and report what is wrong
  test  [PATH]... [--filter TEXT] [--update] [--utf8-names]
                                run *_test.lua and golden files; --update writes the *.out files
  run   (--config FILE | --dir DIR) --path PATH [--method METHOD] [--header NAME:VALUE]...
        [--user USER] [--trace] < BODY
                                push once without a server, print the answer and what is stored
  bench [NAME] [--config FILE | --dir DIR] [< BODY]
                                time a push with each plugin and without, or with the bundled NAME
  list  [DIR] [--config FILE]   show the plugins in order, or without DIR the bundled ones
  show  NAME                    print the source of a bundled plugin
  new   NAME                    write NAME.lua and NAME_test.lua, a plugin to begin with, here
  stubs [DIR]                   write gate.d.lua and .luarc.json, by which editors know the API
";

/// Prints what came of a command.
pub fn finish(outcome: Result<String, Failure>) -> ExitCode {
    match outcome {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(Failure::Problems(text)) => {
            print(&text);
            ExitCode::from(1)
        }
        Err(Failure::Usage(text)) => {
            eprint!("{text}{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn print(text: &str) {
    use std::io::Write;
    // A closed pipe leaves nobody to tell.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Why a command ends with another status than 0: 1 and 2.
#[derive(Debug)]
pub enum Failure {
    Problems(String),
    Usage(String),
}

/// A wrong use of a command; the text says why.
pub fn usage(text: impl Into<String>) -> Failure {
    let text = text.into();
    Failure::Usage(if text.is_empty() { text } else { format!("{text}\n") })
}

/// Arguments apart from options.
struct Arguments {
    plain: Vec<String>,
    config: Option<PathBuf>,
}

fn arguments(args: &[String]) -> Result<Arguments, Failure> {
    let mut found = Arguments { plain: Vec::new(), config: None };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix("--config") {
            Some("") => {
                let file = args.next().ok_or_else(|| usage("--config needs a file"))?;
                found.config = Some(file.into());
            }
            Some(rest) if rest.starts_with('=') => found.config = Some(rest[1..].into()),
            _ if arg.starts_with('-') => return Err(usage(format!("unknown option {arg}"))),
            _ => found.plain.push(arg.clone()),
        }
    }
    Ok(found)
}

/// Runs what needs no gateway. `args` follow the word `plugin`.
///
/// # Errors
///
/// What is wrong with the plugins or with the arguments.
pub fn command(args: &[String]) -> Result<String, Failure> {
    let Some((command, rest)) = args.split_first() else { return Err(usage("")) };
    let given = arguments(rest)?;
    let one = || match &given.plain[..] {
        [one] => Ok(one.as_str()),
        _ => Err(usage(format!("plugin {command} takes one name"))),
    };
    match command.as_str() {
        "check" => check(&given),
        "list" if given.plain.is_empty() && given.config.is_none() => Ok(list_bundled()),
        "list" => list(&given),
        "show" => {
            let name = one()?;
            let source = bundled::source(name);
            source
                .map(str::to_owned)
                .ok_or_else(|| Failure::Problems(format!("there is no bundled plugin {name}\n")))
        }
        "new" => create(one()?),
        "stubs" => write_stubs(&given),
        "help" | "--help" | "-h" => Ok(USAGE.to_owned()),
        other => Err(usage(format!("unknown command plugin {other}"))),
    }
}

/// The plugin directory where only a configuration file is given: the file's own.
pub fn dir_of(config: &Path) -> Option<PathBuf> {
    config.parent().map(|dir| if dir.as_os_str().is_empty() { ".".into() } else { dir.to_owned() })
}

fn load(given: &Arguments) -> Result<Arc<Plugins>, Failure> {
    if given.plain.len() > 1 {
        return Err(usage("one directory at most"));
    }
    let dir = match (given.plain.first(), &given.config) {
        (Some(dir), _) => Some(PathBuf::from(dir)),
        (None, None) => Some(PathBuf::from(".")),
        (None, Some(config)) => dir_of(config),
    };
    let options = Options {
        dir,
        config: given.config.clone(),
        allow_broken: false,
        time_max: Duration::from_millis(50),
        names: NameRules::Legacy,
        workers: 1,
    };
    Plugins::start(options).map_err(|problems| {
        Failure::Problems(problems.iter().map(|problem| format!("{problem}\n")).collect())
    })
}

fn check(given: &Arguments) -> Result<String, Failure> {
    let generation = load(given)?.generation();
    let mut out = String::new();
    for planned in &generation.plugins {
        let (name, about) = (&planned.spec.name, &planned.about);
        for key in planned.spec.unknown_keys() {
            out.push_str(&format!("warning: plugin {name}: it knows no config key {key}\n"));
        }
        for text in &about.beyond_lua51 {
            out.push_str(&format!("warning: plugin {name}: {text}\n"));
        }
        for hook in &about.unselected {
            out.push_str(&format!(
                "warning: plugin {name}: {hook} runs on everything; gate.when(selector, fn) is cheaper\n"
            ));
        }
    }
    let count = generation.plugins.len();
    out.push_str(&format!("{count} plugin{}, all well\n", if count == 1 { "" } else { "s" }));
    Ok(out)
}

fn list(given: &Arguments) -> Result<String, Failure> {
    let generation = load(given)?.generation();
    let mut out = String::new();
    for planned in &generation.plugins {
        let about = &planned.about;
        out.push_str(&format!(
            "{}\t{}\ton_error={}\t{}\t{}\n",
            planned.spec.name,
            if about.version.is_empty() { "-" } else { &about.version },
            about.on_error.name(),
            about.hooks.join(","),
            about.description
        ));
    }
    Ok(out)
}

fn list_bundled() -> String {
    // Each source begins with a line that says what it is for.
    let line = |(_, source): &(&str, &str)| {
        let first = source.lines().next().unwrap_or_default();
        format!("bundled:{}\n", first.trim_start_matches("-- "))
    };
    bundled::ALL.iter().map(line).collect()
}

/// Writes the stubs; over those of an older Floodway, but not over settings, which may be somebody's own.
fn write_stubs(given: &Arguments) -> Result<String, Failure> {
    let dir = match &given.plain[..] {
        [] => PathBuf::from("."),
        [dir] => PathBuf::from(dir),
        _ => return Err(usage("one directory at most")),
    };
    let (api, rules) = (dir.join(stubs::STUBS), dir.join(".luarc.json"));
    let fault = |path: &Path, error: std::io::Error| {
        Failure::Problems(format!("cannot write {}: {error}\n", path.display()))
    };
    std::fs::write(&api, stubs::stubs()).map_err(|error| fault(&api, error))?;
    if rules.exists() {
        return Ok(format!("wrote {}, left {} as it is\n", api.display(), rules.display()));
    }
    std::fs::write(&rules, stubs::SETTINGS).map_err(|error| fault(&rules, error))?;
    Ok(format!("wrote {}\nwrote {}\n", api.display(), rules.display()))
}

/// A plugin to begin with and its test; `NAME` stands for its name.
const SKELETON: [(&str, &str); 2] =
    [(".lua", include_str!("skeleton.lua")), ("_test.lua", include_str!("skeleton_test.lua"))];

fn create(name: &str) -> Result<String, Failure> {
    if !settings::is_plugin_name(name) {
        return Err(usage(format!(
            "{name:?} is no plugin name: a lower case letter, then letters, digits, _"
        )));
    }
    let mut said = String::new();
    for (ending, source) in SKELETON {
        let path = format!("{name}{ending}");
        // Never over a file that is there.
        let write = || -> std::io::Result<()> {
            use std::io::Write;
            let mut file = std::fs::File::options().write(true).create_new(true).open(&path)?;
            file.write_all(source.replace("NAME", name).as_bytes())
        };
        write().map_err(|error| Failure::Problems(format!("{said}cannot write {path}: {error}\n")))?;
        said.push_str(&format!("wrote {path}\n"));
    }
    Ok(said)
}

//! `floodway plugin ...`: jobs around plugins that need no server.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Plugins;
use super::generation::Options;
use super::{bundled, settings};
use crate::model::NameRules;

const USAGE: &str = "usage: floodway plugin COMMAND

  check [DIR] [--config FILE]   load every plugin and report what is wrong
  list  [DIR] [--config FILE]   show the plugins in order, or without DIR the bundled ones
  show  NAME                    print the source of a bundled plugin
  new   NAME                    write NAME.lua, a plugin to begin with, into the current directory
";

/// Runs the command if the arguments ask for one; the program's own name comes first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let args: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args.get(1).map(String::as_str) != Some("plugin") {
        return None;
    }
    Some(match command(&args[2..]) {
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
    })
}

fn print(text: &str) {
    use std::io::Write;
    // A closed pipe leaves nobody to tell.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

enum Failure {
    Problems(String),
    Usage(String),
}

fn usage(text: impl Into<String>) -> Failure {
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

fn command(args: &[String]) -> Result<String, Failure> {
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
        "help" | "--help" | "-h" => Ok(USAGE.to_owned()),
        other => Err(usage(format!("unknown command plugin {other}"))),
    }
}

fn load(given: &Arguments) -> Result<Arc<Plugins>, Failure> {
    if given.plain.len() > 1 {
        return Err(usage("one directory at most"));
    }
    let dir = match (given.plain.first(), &given.config) {
        (Some(dir), _) => Some(PathBuf::from(dir)),
        (None, None) => Some(PathBuf::from(".")),
        (None, Some(config)) => {
            config.parent().map(|dir| if dir.as_os_str().is_empty() { ".".into() } else { dir.to_owned() })
        }
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
        for hook in &about.unselected {
            out.push_str(&format!(
                "warning: plugin {name}: {hook} runs on everything; gate.when(selector, fn) is cheaper\n"
            ));
        }
    }
    out.push_str(&format!("{} plugins, all well\n", generation.plugins.len()));
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

const SKELETON: &str = "-- NAME: say in one line what it is for.
return {
  api = 1,
  name = \"NAME\",
  version = \"0.1.0\",
  on_error = \"reject\",
  config = {
    label = { type = \"label\", default = \"team\", help = \"grouping label that every push must have\" },
  },
  init = function(cfg)
    return {
      on_request = function(req)
        if req.method ~= \"DELETE\" and not req.group[cfg.label] then
          return gate.reject(422, \"grouping label \" .. cfg.label .. \" is missing\")
        end
      end,
    }
  end,
}
";

fn create(name: &str) -> Result<String, Failure> {
    if !settings::is_plugin_name(name) {
        return Err(usage(format!(
            "{name:?} is no plugin name: a lower case letter, then letters, digits, _"
        )));
    }
    let path = format!("{name}.lua");
    // Never over a file that is there.
    let write = || -> std::io::Result<()> {
        use std::io::Write;
        let mut file = std::fs::File::options().write(true).create_new(true).open(&path)?;
        file.write_all(SKELETON.replace("NAME", name).as_bytes())
    };
    write().map_err(|error| Failure::Problems(format!("cannot write {path}: {error}\n")))?;
    Ok(format!("wrote {path}\n"))
}

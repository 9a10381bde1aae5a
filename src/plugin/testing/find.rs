//! Where tests are: beside the plugins.
//!
//! ```text
//! DIR/tenant_test.lua        tests of DIR/tenant.lua
//! DIR/naming/*_test.lua      tests of the directory plugin naming
//! DIR/other_test.lua         where there is no plugin other: of all plugins together, as plugins.yml says
//! DIR/golden/*.in            requests to all plugins together
//! DIR/golden/tenant/*.in     requests to tenant alone
//! DIR/naming/golden/*.in     requests to naming alone
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use super::{Plan, below, or_here};
use crate::plugin::generation::config_in;
use crate::plugin::settings::File;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A `*_test.lua` file.
    Lua,
    /// A `*.in` file.
    Golden,
}

/// A file with tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub kind: Kind,
    pub path: PathBuf,
    /// The plugin directory.
    pub dir: PathBuf,
    /// The plugin that it tests; none: all together.
    pub plugin: Option<String>,
}

impl Found {
    /// The file as reports name it.
    pub fn shown(&self) -> String {
        below(&self.dir, &self.path).display().to_string()
    }

    /// The configuration of the plugin directory; of a golden file's own folder, if it has one.
    ///
    /// # Errors
    ///
    /// It cannot be read or is not valid.
    pub fn configuration(&self, plan: &Plan) -> Result<File, String> {
        let own = or_here(self.path.parent().unwrap_or(&self.dir)).join("plugins.yml");
        if self.kind == Kind::Golden && own.is_file() {
            let text = fs::read_to_string(&own).map_err(|error| format!("{}: {error}", own.display()))?;
            return File::read(&text).map_err(|fault| format!("{}: {fault}", own.display()));
        }
        let all = match &plan.configured {
            Some(file) => file.clone(),
            None => config_in(&self.dir).map_err(|fault| fault.to_string())?,
        };
        let Some(plugin) = &self.plugin else { return Ok(all) };
        let mut file = File::read(&format!("plugins: [{{ name: {plugin} }}]")).map_err(|f| f.to_string())?;
        if let Some(entry) = all.plugins.into_iter().find(|entry| entry.name == *plugin) {
            file.plugins = vec![entry];
        }
        Ok(file)
    }
}

/// All files with tests at or below `path`, in order.
///
/// # Errors
///
/// There is no such path, or it is no test.
pub fn find(path: &Path) -> Result<Vec<Found>, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(fault)?.is_dir() {
        let is_plugin = path.join("init.lua").is_file();
        let mut found = Vec::new();
        if is_plugin {
            in_plugin(path, &mut found)
        } else {
            in_directory(path, &mut found)
        }
        return Ok(found);
    }
    let name = name_of(path);
    let folder = or_here(path.parent().unwrap_or(Path::new("")));
    if name.ends_with("_test.lua") {
        return Ok(vec![lua_test(path, &folder)]);
    }
    if name.ends_with(".in") {
        let all = find_golden(&folder);
        return Ok(all.into_iter().filter(|found| name_of(&found.path) == name).collect());
    }
    Err(format!("{}: neither *_test.lua nor *.in nor a directory", path.display()))
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The directory around a folder, which may be the current one.
fn around(folder: &Path) -> PathBuf {
    match folder.parent() {
        Some(parent) if !name_of(folder).is_empty() => or_here(parent),
        _ => folder.join(".."),
    }
}

/// The entries of a folder in byte order; none if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(items) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = items.flatten().map(|item| item.path()).collect();
    paths.sort();
    paths
}

fn lua_test(path: &Path, folder: &Path) -> Found {
    let found = |dir: PathBuf, plugin| Found { kind: Kind::Lua, path: path.to_owned(), dir, plugin };
    if folder.join("init.lua").is_file() {
        let plugin = folder.canonicalize().ok().map(|folder| name_of(&folder).to_owned());
        return found(around(folder), plugin);
    }
    let stem = name_of(path).strip_suffix("_test.lua").unwrap_or_default();
    let is_there =
        folder.join(format!("{stem}.lua")).is_file() || folder.join(stem).join("init.lua").is_file();
    found(folder.to_owned(), is_there.then(|| stem.to_owned()))
}

fn in_directory(dir: &Path, found: &mut Vec<Found>) {
    for path in entries(dir) {
        if name_of(&path).ends_with("_test.lua") && path.is_file() {
            found.push(lua_test(&path, dir));
        } else if path.join("init.lua").is_file() {
            in_plugin(&path, found);
        } else if name_of(&path) == "golden" {
            found.extend(find_golden(&path));
            for folder in entries(&path).into_iter().filter(|path| path.is_dir()) {
                found.extend(find_golden(&folder));
            }
        }
    }
}

fn in_plugin(folder: &Path, found: &mut Vec<Found>) {
    let tests = entries(folder).into_iter().filter(|path| name_of(path).ends_with("_test.lua"));
    found.extend(tests.map(|path| lua_test(&path, folder)));
    found.extend(find_golden(&folder.join("golden")));
}

/// The golden files right in `folder`, which is `golden` or a folder in it.
fn find_golden(folder: &Path) -> Vec<Found> {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let (dir, plugin) = if name_of(&full) == "golden" {
        let home = around(folder);
        match home.join("init.lua").is_file() {
            true => (around(&home), full.parent().map(|home| name_of(home).to_owned())),
            false => (home, None),
        }
    } else {
        (around(&around(folder)), Some(name_of(&full).to_owned()))
    };
    let inputs = entries(folder).into_iter().filter(|path| name_of(path).ends_with(".in"));
    inputs.map(|path| Found { kind: Kind::Golden, path, dir: dir.clone(), plugin: plugin.clone() }).collect()
}

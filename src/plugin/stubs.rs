//! `floodway plugin stubs`: what editors with lua-language-server know of the API, from the table of it.

use std::fmt::Write as _;

use super::vm::api::{ALIASES, CLASSES, Class, Kind, Member, OPAQUE};

/// The file of annotations, which is no plugin.
pub const STUBS: &str = "gate.d.lua";

/// The settings of lua-language-server for the folder that the stubs lie in.
pub const SETTINGS: &str = r#"{
  "runtime.version": "Lua 5.1",
  "runtime.builtin": {
    "io": "disable", "os": "disable", "package": "disable", "debug": "disable", "coroutine": "disable",
    "ffi": "disable", "jit": "disable"
  },
  "runtime.nonstandardSymbol": ["+=", "-=", "*=", "/=", "continue"],
  "workspace.library": ["."],
  "workspace.checkThirdParty": false
}
"#;

/// The annotations.
pub fn stubs() -> String {
    let mut out = String::from(
        "---@meta\n-- Written by `floodway plugin stubs`. For editors; Floodway does not read it.\n\n",
    );
    // Writing to a string cannot fail.
    for name in OPAQUE {
        let _ = writeln!(out, "---@class {name}");
    }
    out.push('\n');
    for (name, meaning) in ALIASES {
        let _ = writeln!(out, "---@alias {name} {meaning}");
    }
    CLASSES.iter().for_each(|class| write_class(&mut out, class));
    out.push_str("\n---@param name string\n---@return any\nfunction require(name) end\n");
    out
}

fn write_class(out: &mut String, class: &Class) {
    let parent = class.parent.map(|parent| format!(": {parent}")).unwrap_or_default();
    let _ = writeln!(out, "\n---{}\n---@class {}{parent}", class.about, class.name);
    for member in class.members {
        if let Kind::Field(kind) = member.kind {
            let _ = writeln!(out, "---@field {} {kind} {}", member.name, member.about);
        }
    }
    // The one that scripts reach by its name.
    let is_global = class.name == "gate";
    let receiver = class.name.strip_prefix("gate.").unwrap_or(class.name);
    let _ = writeln!(out, "{}{receiver} = {{}}", if is_global { "" } else { "local " });
    class.members.iter().for_each(|member| write_function(out, receiver, member));
}

fn write_function(out: &mut String, receiver: &str, member: &Member) {
    let (takes, returns, mark) = match member.kind {
        Kind::Field(_) => return,
        Kind::Method(takes, returns) => (takes, returns, ':'),
        Kind::Function(takes, returns) => (takes, returns, '.'),
    };
    let parameters = parameters(takes);
    let _ = writeln!(out, "---{}", member.about);
    for (name, kind) in &parameters {
        let _ = writeln!(out, "---@param {name} {kind}");
    }
    if !returns.is_empty() {
        let _ = writeln!(out, "---@return {returns}");
    }
    let names: Vec<&str> = parameters.iter().map(|parameter| parameter.0).collect();
    let _ = writeln!(out, "function {receiver}{mark}{}({}) end", member.name, names.join(", "));
}

/// Names and types of `name: type, ...`; types have commas within brackets.
fn parameters(takes: &str) -> Vec<(&str, &str)> {
    let (mut depth, mut start, mut pieces) = (0, 0, Vec::new());
    for (at, char) in takes.char_indices() {
        match char {
            '{' | '(' | '<' => depth += 1,
            '}' | ')' | '>' => depth -= 1,
            ',' if depth == 0 => {
                pieces.push(&takes[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&takes[start..]);
    pieces.into_iter().filter_map(|piece| piece.trim().split_once(": ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_in_the_stubs() {
        let stubs = stubs();
        for class in CLASSES {
            for member in class.members {
                let receiver = class.name.strip_prefix("gate.").unwrap_or(class.name);
                let expected = match member.kind {
                    Kind::Field(kind) => format!("---@field {} {kind} ", member.name),
                    Kind::Method(..) => format!("function {receiver}:{}(", member.name),
                    Kind::Function(..) => format!("function {receiver}.{}(", member.name),
                };
                assert!(stubs.contains(&expected), "{expected}");
            }
        }
        assert!(stubs.contains("---@param opts { only: gate.Sel? }?\n---@return gate.Ruleset\nfunction gate.relabel(rules, opts) end"));
        // What editors read is what we would run.
        super::super::spec::Sources { main: stubs, ..Default::default() }.compile("gate").unwrap();
    }
}

//! The table against what is registered, and against `plugins/README.md`.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use mlua::{FromLua, FromLuaMulti, IntoLua, IntoLuaMulti, Lua, UserData, UserDataFields, UserDataMethods};
use regex::Regex;

use super::*;
use crate::model::NameRules;
use crate::plugin::spec::{Body, Sources, Spec};
use crate::plugin::stage::Stage;
use crate::plugin::testing::{Found, Kind as FileKind, Plan};
use crate::plugin::vm::expire::DyingHandle;
use crate::plugin::vm::family::FamilyHandle;
use crate::plugin::vm::metrics::MetricHandle;
use crate::plugin::vm::push::{GroupHandle, PushHandle};
use crate::plugin::vm::sample::SampleHandle;
use crate::plugin::vm::shared::{BucketHandle, DictHandle, DistinctHandle};
use crate::plugin::vm::state::State;
use crate::plugin::vm::tables::{CidrHandle, LookupHandle};
use crate::plugin::vm::values::RegexHandle;
use crate::plugin::vm::{TestFile, build};

/// Takes note of the names that a handle registers.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl<T> UserDataFields<T> for Names {
    fn add_field<V: IntoLua + 'static>(&mut self, name: impl Into<String>, _: V) {
        self.0.insert(name.into());
    }
    fn add_field_method_get<M, R>(&mut self, name: impl Into<String>, _: M)
    where
        M: Fn(&Lua, &T) -> mlua::Result<R> + 'static,
        R: IntoLua,
    {
        self.0.insert(name.into());
    }
    fn add_field_method_set<M, A>(&mut self, name: impl Into<String>, _: M)
    where
        M: FnMut(&Lua, &mut T, A) -> mlua::Result<()> + 'static,
        A: FromLua,
    {
        self.0.insert(name.into());
    }
    fn add_field_function_get<F, R>(&mut self, name: impl Into<String>, _: F)
    where
        F: Fn(&Lua, mlua::AnyUserData) -> mlua::Result<R> + 'static,
        R: IntoLua,
    {
        self.0.insert(name.into());
    }
    fn add_field_function_set<F, A>(&mut self, name: impl Into<String>, _: F)
    where
        F: FnMut(&Lua, mlua::AnyUserData, A) -> mlua::Result<()> + 'static,
        A: FromLua,
    {
        self.0.insert(name.into());
    }
    fn add_meta_field<V: IntoLua + 'static>(&mut self, _: impl Into<String>, _: V) {}
    fn add_meta_field_with<F, R>(&mut self, _: impl Into<String>, _: F)
    where
        F: FnOnce(&Lua) -> mlua::Result<R> + 'static,
        R: IntoLua,
    {
    }
}

impl<T> UserDataMethods<T> for Names {
    fn add_method<M, A, R>(&mut self, name: impl Into<String>, _: M)
    where
        M: Fn(&Lua, &T, A) -> mlua::Result<R> + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }
    fn add_method_mut<M, A, R>(&mut self, name: impl Into<String>, _: M)
    where
        M: FnMut(&Lua, &mut T, A) -> mlua::Result<R> + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }
    fn add_function<F, A, R>(&mut self, name: impl Into<String>, _: F)
    where
        F: Fn(&Lua, A) -> mlua::Result<R> + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }
    fn add_function_mut<F, A, R>(&mut self, name: impl Into<String>, _: F)
    where
        F: FnMut(&Lua, A) -> mlua::Result<R> + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }
    fn add_meta_method<M, A, R>(&mut self, _: impl Into<String>, _: M)
    where
        M: Fn(&Lua, &T, A) -> mlua::Result<R> + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
    }
    fn add_meta_method_mut<M, A, R>(&mut self, _: impl Into<String>, _: M)
    where
        M: FnMut(&Lua, &mut T, A) -> mlua::Result<R> + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
    }
    fn add_meta_function<F, A, R>(&mut self, _: impl Into<String>, _: F)
    where
        F: Fn(&Lua, A) -> mlua::Result<R> + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
    }
    fn add_meta_function_mut<F, A, R>(&mut self, _: impl Into<String>, _: F)
    where
        F: FnMut(&Lua, A) -> mlua::Result<R> + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
    }
}

fn registered<T: UserData>() -> BTreeSet<String> {
    let mut names = Names::default();
    T::add_fields(&mut names);
    T::add_methods(&mut names);
    names.0
}

/// What the table says of these classes together.
fn told(classes: &[&Class]) -> BTreeSet<String> {
    classes.iter().flat_map(|class| class.members).map(|member| member.name.to_owned()).collect()
}

#[test]
fn handles_have_what_the_table_says() {
    for (found, classes) in [
        (registered::<PushHandle>(), &[&REQUEST, &PUSH][..]),
        (registered::<GroupHandle>(), &[&LABELS]),
        (registered::<FamilyHandle>(), &[&FAMILY]),
        (registered::<SampleHandle>(), &[&SERIES, &SAMPLE]),
        (registered::<DyingHandle>(), &[&GROUP]),
        (registered::<RegexHandle>(), &[&REGEX]),
        (registered::<DictHandle>(), &[&SHARED]),
        (registered::<BucketHandle>(), &[&BUCKET]),
        (registered::<DistinctHandle>(), &[&DISTINCT]),
        (registered::<LookupHandle>(), &[&LOOKUP]),
        (registered::<CidrHandle>(), &[&CIDR]),
        (registered::<MetricHandle>(), &[&COUNTER, &GAUGE, &HISTOGRAM]),
    ] {
        assert_eq!(found, told(classes), "{}", classes[0].name);
    }
}

#[test]
fn tables_have_what_the_table_says() {
    let program = Sources { main: "return {}".to_owned(), ..Sources::default() }.compile("p").unwrap();
    let spec = Spec::new("p", Body::Lua(program), NameRules::Legacy, Arc::default());
    let stage = Rc::new(Stage::new(NameRules::Legacy, 0, 1));
    let state = Rc::new(State::new(stage, Arc::new(spec), None));
    let lua = build(&state, 64 * 1024 * 1024, Some(&|lua| lua.create_table())).unwrap();
    for (expression, class) in [("gate", &GATE), ("gate.log", &LOG)] {
        let keys: Vec<String> = lua
            .load(format!(
                "local keys = {{}} for key in pairs({expression}) do keys[#keys + 1] = key end return keys"
            ))
            .eval()
            .unwrap();
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), told(&[class]), "{expression}");
    }
    // A test file can only say which cases it has.
    let source = "for key in pairs(gate.test) do gate.test.case(key, function() end) end";
    let found = Found { kind: FileKind::Lua, path: "t_test.lua".into(), dir: ".".into(), plugin: None };
    let plan = Plan {
        found: Vec::new(),
        filter: None,
        update: false,
        open: Rc::new(|_, _| Err("no gateway here".to_owned())),
        phrase: |_| "",
        configured: None,
    };
    let cases = TestFile::load(source, &found, &plan).unwrap().cases();
    assert_eq!(cases.into_iter().collect::<BTreeSet<_>>(), told(&[&TEST]));
}

#[test]
fn a_plugins_table_may_have_what_the_table_says() {
    // The one place that reads it.
    let source = include_str!("../manifest.rs");
    let body = source.split("fn take_one(").nth(1).and_then(|rest| rest.split("\n}\n").next()).unwrap();
    let arm = Regex::new(r#"(?m)^ {12}("[^=]*) =>"#).unwrap();
    let word = Regex::new(r#""(\w+)""#).unwrap();
    let arms: String = arm.captures_iter(body).map(|found| found[1].to_owned() + "\n").collect();
    let found: BTreeSet<String> = word.captures_iter(&arms).map(|found| found[1].to_owned()).collect();
    assert_eq!(found, told(&[&PLUGIN]));
}

#[test]
fn the_readme_names_all_of_it_and_nothing_else() {
    let readme = include_str!("../../../../plugins/README.md");
    let code = Regex::new(r"`[^`\n]+`|(?s)```lua.*?```").unwrap();
    let code: String = code.find_iter(readme).map(|found| found.as_str().to_owned() + "\n").collect();
    for class in CLASSES {
        for member in class.members {
            let name = member.name;
            let is_told = match (class.name, &member.kind) {
                ("gate", _) => format!(r"gate\.{name}\b"),
                (_, Kind::Method(..)) => format!(r"[a-z]:{name}\b"),
                _ => format!(r"\b{name}\b"),
            };
            assert!(
                Regex::new(&is_told).unwrap().is_match(&code),
                "README does not tell of {}.{name}",
                class.name
            );
        }
    }
    let known = |classes: &[&Class], name: &str| told(classes).contains(name);
    let used = Regex::new(r"(?:^|[^-\w.:])(gate|push|req|f|s|re|t)([.:])([a-z_]+)\b").unwrap();
    for found in used.captures_iter(&code) {
        let (receiver, mark, name) = (&found[1], &found[2], &found[3]);
        // The file that editors read.
        if (receiver, name) == ("gate", "d") {
            continue;
        }
        let classes: &[&Class] = match (receiver, mark) {
            ("gate", ".") => &[&GATE],
            ("push" | "req", _) => &[&REQUEST, &PUSH],
            ("f", _) => &[&FAMILY],
            ("s", ":") => &[&SERIES, &SAMPLE],
            ("re", ":") => &[&REGEX],
            ("t", ".") => &[&TEST],
            _ => continue,
        };
        assert!(known(classes, name), "README tells of {}", &found[0]);
    }
}

//! `gate.lookup` and `gate.cidr`: tables and networks to look things up in. They never change, so their methods
//! are pure.

use std::rc::Rc;
use std::sync::Arc;

use mlua::{Lua, LuaString, MetaMethod, Table, UserData, UserDataMethods, Value};

use super::state::State;
use crate::plugin::budget::charge;
use crate::plugin::cidr::Cidr;
use crate::plugin::fault::{Code, raise};
use crate::plugin::lookup::{Columns, Lookup};

/// Adds both functions.
///
/// # Errors
///
/// The machine is out of memory.
pub fn add_tables(lua: &Lua, state: &Rc<State>, gate: &Table) -> mlua::Result<()> {
    let at = state.clone();
    let lookup = lua.create_function(move |_, (path, options): (String, Option<Table>)| {
        at.only_at_load("gate.lookup")?;
        let mut columns = Columns::default();
        if let Some(options) = options {
            for pair in options.pairs::<String, String>() {
                match pair? {
                    (key, name) if key == "key" => columns.key = Some(name),
                    (key, name) if key == "value" => columns.value = Some(name),
                    (key, _) => return raise(Code::Value, format!("gate.lookup has no option {key}")),
                }
            }
        }
        // Files are read where nobody waits; workers use what was read there.
        Ok(LookupHandle(at.spec.lookup(&path, columns, at.trial.is_some())?))
    })?;
    gate.raw_set("lookup", lookup)?;
    let at = state.clone();
    let cidr = lua.create_function(move |_, networks: Value| {
        at.only_at_load("gate.cidr")?;
        let texts: Vec<String> = match &networks {
            Value::String(text) => vec![text.to_str()?.to_owned()],
            Value::Table(list) => list.sequence_values().collect::<mlua::Result<_>>()?,
            _ => return raise(Code::Value, "gate.cidr takes a network or a list of them"),
        };
        charge(texts.len())?;
        match Cidr::new(texts.iter().map(String::as_str)) {
            Ok(cidr) => Ok(CidrHandle(cidr)),
            Err(text) => raise(Code::Value, format!("{text:?} is no network such as 10.0.0.0/8")),
        }
    })?;
    gate.raw_set("cidr", cidr)
}

pub(super) struct LookupHandle(Arc<Lookup>);

impl UserData for LookupHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, key: LuaString| {
            let found = this.0.get(&key.as_bytes());
            charge(1 + found.map_or(0, <[u8]>::len) / 64)?;
            found.map(|value| lua.create_string(value)).transpose()
        });
        methods.add_method("has", |_, this, key: LuaString| {
            charge(1)?;
            Ok(this.0.get(&key.as_bytes()).is_some())
        });
        methods.add_method("len", |_, this, ()| Ok(this.0.len() as f64));
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("gate.lookup"));
    }
}

pub(super) struct CidrHandle(Cidr);

impl UserData for CidrHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("has", |_, this, ip: LuaString| {
            charge(1)?;
            Ok(this.0.has(&ip.to_string_lossy()))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("gate.cidr"));
    }
}

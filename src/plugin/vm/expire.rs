//! Group, which `on_expire` gets, and what it returns to keep it: `gate.extend(seconds)`.

use std::rc::Rc;

use mlua::{
    AnyUserData, Lua, LuaString, MetaMethod, Table, UserData, UserDataFields, UserDataMethods, Value,
};

use super::Vm;
use super::state::State;
use super::values::{Verdict, verdict};
use crate::clock::UnixNanos;
use crate::model::Lifetime;
use crate::plugin::fault::{Code, Fault, raise};
use crate::plugin::worker::About;

/// Shortest life that a plugin can give, in seconds.
const SECONDS_MIN: f64 = 1.0;

/// The group whose lifetime has ended. One handle per machine: it shows the group of the running call.
pub struct DyingHandle {
    pub state: Rc<State>,
    /// Its grouping labels, read-only.
    pub labels: AnyUserData,
}

impl DyingHandle {
    fn about(&self) -> Result<About, Fault> {
        self.state.in_expire("a group that ended")?;
        Ok(self.state.stage.dying.get())
    }
}

impl UserData for DyingHandle {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("job", |lua, this| {
            this.about()?;
            lua.create_string(this.state.stage.received.borrow().job())
        });
        fields.add_field_method_get("labels", |_, this| {
            this.about()?;
            Ok(this.labels.clone())
        });
        fields.add_field_method_get("n_series", |_, this| Ok(this.about()?.series as f64));
        fields.add_field_method_get("last_push", |_, this| Ok(this.about()?.last_push.seconds()));
        fields.add_field_method_get("age", |_, this| {
            let (now, pushed) = (this.state.stage.now.get(), this.about()?.last_push);
            let age = now.0.saturating_sub(pushed.0) as f64 / 1e9;
            Ok((pushed != UnixNanos::NEVER).then_some(age))
        });
        fields.add_field_method_get("ttl", |_, this| Ok(this.about()?.lifetime.millis() as f64 / 1e3));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Index, |_, _, field: LuaString| -> mlua::Result<Value> {
            raise(Code::Field, format!("a group has no {}", field.to_string_lossy()))
        });
        methods.add_meta_method(
            MetaMethod::NewIndex,
            |_, _, (field, _): (LuaString, Value)| -> mlua::Result<()> {
                raise(Code::Field, format!("{} of a group cannot be set", field.to_string_lossy()))
            },
        );
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("group"));
    }
}

/// `gate.extend(seconds)`.
pub struct Extend(Lifetime);

impl UserData for Extend {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("gate.extend"));
    }
}

/// Adds `gate.extend`.
///
/// # Errors
///
/// The machine is out of memory.
pub fn add_extend(lua: &Lua, state: &Rc<State>, gate: &Table) -> mlua::Result<()> {
    let state = state.clone();
    let extend = lua.create_function(move |_, seconds: f64| {
        state.in_expire("gate.extend")?;
        match Lifetime::from_seconds(seconds).filter(|_| seconds >= SECONDS_MIN) {
            Some(lifetime) => Ok(Extend(lifetime)),
            None => {
                raise(Code::Value, format!("a life can be extended by 1 s to 10 years, not by {seconds} s"))
            }
        }
    })?;
    gate.raw_set("extend", extend)
}

impl Vm {
    /// The lifetime that an `on_expire` returned, if it gave one.
    ///
    /// # Errors
    ///
    /// It returned what this hook cannot.
    pub fn extended(value: &Value) -> Result<Option<Lifetime>, Fault> {
        if let Value::UserData(data) = value
            && let Ok(extend) = data.borrow::<Extend>()
        {
            return Ok(Some(extend.0));
        }
        match verdict(value)? {
            Verdict::Keep => Ok(None),
            _ => Err(Fault::new(Code::Return, "on_expire returns nothing or gate.extend")),
        }
    }
}

/// The value of `ttl` as scripts see it: seconds.
pub fn ttl_of(lifetime: Option<Lifetime>) -> Option<f64> {
    lifetime.map(|lifetime| lifetime.millis() as f64 / 1e3)
}

/// What a script writes to `ttl`.
///
/// # Errors
///
/// It is no lifetime.
pub fn read_ttl(value: &Value) -> Result<Option<Lifetime>, Fault> {
    if value.is_nil() {
        return Ok(None);
    }
    let lifetime = super::values::number_of(value).and_then(Lifetime::from_seconds);
    lifetime.map(Some).ok_or_else(|| Fault::new(Code::Value, "ttl is in seconds, up to ten years"))
}

//! Series and Sample: one member of a family, without and with its value.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{
    Lua, LuaString, MetaMethod, Table, UserData, UserDataFields, UserDataMethods, UserDataRegistry, Value,
};

use super::state::{Place, State};
use super::values::{RegexHandle, label_value, number_of, substitute};
use crate::model::MetricType;
use crate::plugin::budget::charge;
use crate::plugin::expand::Template;
use crate::plugin::fault::{Code, Fault, raise};

/// A handle on a sample. Inside `on_series` it shows no value, so the same type serves both.
pub struct SampleHandle {
    pub state: Rc<State>,
    pub which: u8,
    /// Its `labels`, made with it.
    pub labels: mlua::AnyUserData,
}

/// `s.labels`.
pub struct LabelsHandle {
    pub state: Rc<State>,
    pub which: u8,
}

impl SampleHandle {
    fn at(&self) -> Result<u32, Fault> {
        self.state.samples.get(self.which)
    }

    /// The sample, where values may be seen.
    fn with_value(&self, field: &str) -> Result<u32, Fault> {
        if self.state.place.get() == Place::Series {
            return Err(Fault::new(Code::Field, format!("a series has no {field}")));
        }
        self.at()
    }

    fn kind(&self, at: u32) -> MetricType {
        let draft = self.state.stage.draft.borrow();
        draft.family(draft.sample(at).family).kind
    }

    fn writable(&self, what: &str) -> Result<u32, Fault> {
        self.state.to_change(&self.state.samples, self.which, what)
    }
}

pub fn kind_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::GaugeHistogram => "gaugehistogram",
        other => other.text(),
    }
}

fn has_parts(kind: MetricType) -> bool {
    kind.has_buckets() || kind == MetricType::Summary
}

fn text(name: &LuaString) -> Result<mlua::BorrowedStr, Fault> {
    name.to_str().map_err(|_| Fault::new(Code::Value, "names must be UTF-8"))
}

fn get_label(lua: &Lua, state: &State, at: u32, name: &LuaString) -> mlua::Result<Value> {
    let draft = state.stage.draft.borrow();
    match draft.label(at, &text(name)?) {
        Some(value) => lua.create_string(value).map(Value::String),
        None => Ok(Value::Nil),
    }
}

fn set_label(state: &State, at: u32, name: &LuaString, value: &Value) -> mlua::Result<()> {
    let value = label_value(value)?;
    let name = text(name)?;
    state.stage.draft.borrow_mut().set_label(at, &name, value.as_deref().unwrap_or_default())?;
    Ok(())
}

impl UserData for LabelsHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Index, |lua, this, name: LuaString| {
            get_label(lua, &this.state, this.state.samples.get(this.which)?, &name)
        });
        methods.add_meta_method(MetaMethod::NewIndex, |_, this, (name, value): (LuaString, Value)| {
            this.state.in_transform("changing a label")?;
            set_label(&this.state, this.state.samples.get(this.which)?, &name, &value)
        });
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("labels"));
    }
}

impl UserData for SampleHandle {
    fn register(registry: &mut UserDataRegistry<Self>) {
        registry.enable_namecall();
        Self::add_fields(registry);
        Self::add_methods(registry);
    }

    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("name", |lua, this| {
            let at = this.at()?;
            let draft = this.state.stage.draft.borrow();
            lua.create_string(draft.family_name(draft.sample(at).family))
        });
        fields.add_field_method_set("name", |_, this, name: LuaString| {
            let at = this.writable("renaming")?;
            this.state.stage.draft.borrow_mut().move_sample(at, &text(&name)?)?;
            Ok(())
        });
        fields.add_field_method_get("type", |_, this| Ok(kind_name(this.kind(this.at()?))));
        fields.add_field_method_get("help", |lua, this| {
            let at = this.at()?;
            let draft = this.state.stage.draft.borrow();
            let help = draft.family(draft.sample(at).family).help;
            help.map(|help| lua.create_string(draft.text(help))).transpose()
        });
        fields.add_field_method_get("labels", |_, this| {
            this.at()?;
            Ok(this.labels.clone())
        });
        fields.add_field_method_get("n_labels", |_, this| {
            let at = this.at()?;
            Ok(this.state.stage.draft.borrow().labels(at).count())
        });
        fields.add_field_method_get("native", |_, this| {
            let at = this.at()?;
            let draft = this.state.stage.draft.borrow();
            let sample = draft.sample(at);
            let histogram = draft.family(sample.family).kind.has_buckets();
            Ok(histogram && sample.has_detail() && sample.parts.is_empty())
        });
        fields.add_field_method_get("null", |_, this| {
            let at = this.with_value("null")?;
            Ok(this.state.stage.draft.borrow().sample(at).loose.null)
        });
        fields.add_field_method_get("timestamp", |_, this| {
            let at = this.with_value("timestamp")?;
            Ok(this.state.stage.draft.borrow().timestamp(at).map(|at| at as f64))
        });
        fields.add_field_method_get("value", |_, this| {
            let at = this.with_value("value")?;
            let plain = !has_parts(this.kind(at));
            Ok(plain.then(|| this.state.stage.draft.borrow().sample(at).value))
        });
        fields.add_field_method_set("value", |_, this, value: Value| {
            let at = this.with_value("value")?;
            this.state.in_transform("changing a value")?;
            let Some(number) = number_of(&value) else { return raise(Code::Value, "a value is a number") };
            this.state.stage.draft.borrow_mut().set_value(at, number)?;
            Ok(())
        });
        fields.add_field_method_get("count", |_, this| {
            let at = this.with_value("count")?;
            let parts = has_parts(this.kind(at));
            Ok(parts.then(|| this.state.stage.draft.borrow().sample(at).count.as_f64()))
        });
        fields.add_field_method_get("sum", |_, this| {
            let at = this.with_value("sum")?;
            let parts = has_parts(this.kind(at));
            Ok(parts.then(|| this.state.stage.draft.borrow().sample(at).value))
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods
            .add_method("get", |lua, this, name: LuaString| get_label(lua, &this.state, this.at()?, &name));
        methods.add_method("is", |_, this, (name, value): (LuaString, LuaString)| {
            let at = this.at()?;
            let draft = this.state.stage.draft.borrow();
            Ok(draft.label(at, &text(&name)?).is_some_and(|found| found.as_bytes() == &*value.as_bytes()))
        });
        methods.add_method("has", |_, this, name: LuaString| {
            let at = this.at()?;
            Ok(this.state.stage.draft.borrow().label(at, &text(&name)?).is_some())
        });
        methods.add_method("set", |_, this, (name, value): (LuaString, Value)| {
            set_label(&this.state, this.writable("changing a label")?, &name, &value)
        });
        methods.add_method("rename", |_, this, (from, to): (LuaString, LuaString)| {
            let at = this.writable("renaming a label")?;
            Ok(this.state.stage.draft.borrow_mut().rename_label(at, &text(&from)?, &text(&to)?)?)
        });
        methods.add_method("sub", |_, this, (name, pattern, template): (LuaString, Value, LuaString)| {
            let at = this.writable("changing a label")?;
            let Value::UserData(pattern) = pattern else {
                return raise(Code::Value, "gate.re(...) is expected");
            };
            let Ok(regex) = pattern.borrow::<RegexHandle>() else {
                return raise(Code::Value, "gate.re(...) is expected");
            };
            let name = text(&name)?;
            let mut draft = this.state.stage.draft.borrow_mut();
            let Some(value) = draft.label(at, &name).map(str::to_owned) else { return Ok(false) };
            charge(value.len() / 64)?;
            let template = Template::for_regex(&text(&template)?, &regex.0);
            let (out, count) = substitute(&regex.0, value.as_bytes(), &template, usize::MAX)?;
            if count == 0 {
                return Ok(false);
            }
            let Ok(out) = String::from_utf8(out) else {
                return raise(Code::Value, "the result is not UTF-8");
            };
            Ok(draft.set_label(at, &name, &out)?)
        });
        methods.add_method("match", |_, this, selector: Value| {
            let at = this.at()?;
            let selector = this.state.selector(&selector)?;
            Ok(selector.matches(&this.state.stage.draft.borrow().view(at)))
        });
        methods.add_method("keep", |_, this, list: Vec<String>| {
            let at = this.writable("deleting labels")?;
            charge(list.len())?;
            Ok(this.state.stage.draft.borrow_mut().keep_labels(at, &list))
        });
        methods.add_method("each", |lua, this, ()| {
            let at = this.at()?;
            let draft = this.state.stage.draft.borrow();
            let mut pairs: Vec<(String, String)> =
                draft.labels(at).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            drop(draft);
            pairs.sort();
            each(lua, pairs)
        });
        methods.add_method("buckets", |lua, this, ()| {
            let at = this.with_value("buckets")?;
            parts_table(lua, this, at, "le", "count", this.kind(at).has_buckets())
        });
        methods.add_method("quantiles", |lua, this, ()| {
            let at = this.with_value("quantiles")?;
            parts_table(lua, this, at, "q", "value", this.kind(at) == MetricType::Summary)
        });
        methods.add_method("scale", |_, this, factor: f64| {
            let at = this.with_value("scale")?;
            this.state.in_transform("scaling")?;
            charge(1)?;
            this.state.stage.draft.borrow_mut().scale(at, factor)?;
            Ok(())
        });
        methods.add_method("drop", |_, this, ()| {
            let at = this.writable("dropping")?;
            this.state.stage.draft.borrow_mut().drop_sample(at);
            Ok(())
        });
        methods.add_meta_method(MetaMethod::Index, |_, _, field: LuaString| -> mlua::Result<Value> {
            raise(Code::Field, format!("a sample has no {}", field.to_string_lossy()))
        });
        methods.add_meta_method(
            MetaMethod::NewIndex,
            |_, _, (field, _): (LuaString, Value)| -> mlua::Result<()> {
                raise(Code::Field, format!("a sample's {} cannot be set", field.to_string_lossy()))
            },
        );
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| {
            let at = this.at()?;
            let draft = this.state.stage.draft.borrow();
            Ok(format!("series of {}", draft.family_name(draft.sample(at).family)))
        });
    }
}

/// An iterator over pairs that were copied.
pub fn each(lua: &Lua, pairs: Vec<(String, String)>) -> mlua::Result<mlua::Function> {
    charge(pairs.len())?;
    let next = Cell::new(0);
    lua.create_function(move |lua, _: mlua::MultiValue| {
        let Some((name, value)) = pairs.get(next.replace(next.get() + 1)) else {
            return Ok((Value::Nil, Value::Nil));
        };
        Ok((Value::String(lua.create_string(name)?), Value::String(lua.create_string(value)?)))
    })
}

fn parts_table(
    lua: &Lua,
    this: &SampleHandle,
    at: u32,
    bound: &str,
    value: &str,
    fits: bool,
) -> mlua::Result<Option<Table>> {
    if !fits {
        return Ok(None);
    }
    let parts = this.state.stage.draft.borrow().parts_of(at).to_vec();
    charge(parts.len())?;
    let list = lua.create_table()?;
    for part in parts {
        let entry = lua.create_table()?;
        entry.raw_set(bound, part.bound)?;
        entry.raw_set(value, part.value.as_f64())?;
        list.raw_push(entry)?;
    }
    Ok(Some(list))
}

//! Family: a metric name with its type, help and samples.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{
    AnyUserData, Function, Lua, LuaString, MetaMethod, UserData, UserDataFields, UserDataMethods,
    UserDataRegistry, Value,
};

use super::sample::kind_name;
use super::state::State;
use super::values::utf8;
use crate::model::MetricType;
use crate::plugin::budget::charge;
use crate::plugin::draft::Text;
use crate::plugin::fault::{Code, Fault, raise};
use crate::plugin::lint;

pub struct FamilyHandle {
    pub state: Rc<State>,
    pub which: u8,
}

impl FamilyHandle {
    fn at(&self) -> Result<u32, Fault> {
        self.state.families.get(self.which)
    }

    fn writable(&self, what: &str) -> Result<u32, Fault> {
        self.state.to_change(&self.state.families, self.which, what)
    }

    fn text(&self, lua: &Lua, text: Option<Text>) -> mlua::Result<Option<LuaString>> {
        text.map(|text| lua.create_string(self.state.stage.draft.borrow().text(text))).transpose()
    }

    /// Positions of the samples that are left in the family.
    fn members(&self, at: u32) -> Result<Vec<u32>, Fault> {
        let draft = self.state.stage.draft.borrow();
        charge(draft.family(at).n_samples as usize)?;
        let member = |sample: &u32| {
            let sample = draft.sample(*sample);
            !sample.dropped && sample.family == at
        };
        Ok((0..draft.samples().len() as u32).filter(member).collect())
    }
}

/// The type of this name, if scripts may give it.
pub fn kind_named(name: &str) -> Option<MetricType> {
    [
        MetricType::Counter,
        MetricType::Gauge,
        MetricType::Untyped,
        MetricType::Histogram,
        MetricType::Summary,
        MetricType::GaugeHistogram,
    ]
    .into_iter()
    .find(|kind| kind_name(*kind) == name)
}

impl UserData for FamilyHandle {
    fn register(registry: &mut UserDataRegistry<Self>) {
        registry.enable_namecall();
        Self::add_fields(registry);
        Self::add_methods(registry);
    }

    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("name", |lua, this| {
            let at = this.at()?;
            lua.create_string(this.state.stage.draft.borrow().family_name(at))
        });
        fields.add_field_method_set("name", |_, this, name: LuaString| {
            let at = this.writable("renaming")?;
            let now = this.state.stage.draft.borrow_mut().rename_family(at, &utf8(&name)?)?;
            this.state.families.aim(this.which, now);
            Ok(())
        });
        fields.add_field_method_get("type", |_, this| {
            let at = this.at()?;
            Ok(kind_name(this.state.stage.draft.borrow().family(at).kind))
        });
        fields.add_field_method_set("type", |_, this, name: LuaString| {
            let at = this.writable("changing the type")?;
            let Some(kind) = kind_named(&utf8(&name)?) else {
                return raise(Code::Value, "there is no such type");
            };
            this.state.stage.draft.borrow_mut().set_family_kind(at, kind)?;
            Ok(())
        });
        fields.add_field_method_get("help", |lua, this| {
            let help = this.state.stage.draft.borrow().family(this.at()?).help;
            this.text(lua, help)
        });
        fields.add_field_method_set("help", |_, this, help: Option<LuaString>| {
            let at = this.writable("changing the help")?;
            let help = help.as_ref().map(utf8).transpose()?;
            this.state.stage.draft.borrow_mut().set_help(at, help.as_deref())?;
            Ok(())
        });
        fields.add_field_method_get("unit", |lua, this| {
            let unit = this.state.stage.draft.borrow().family(this.at()?).unit;
            this.text(lua, unit)
        });
        fields.add_field_method_set("unit", |_, this, unit: Option<LuaString>| {
            let at = this.writable("changing the unit")?;
            let unit = unit.as_ref().map(utf8).transpose()?;
            this.state.stage.draft.borrow_mut().set_unit(at, unit.as_deref())?;
            Ok(())
        });
        fields.add_field_method_get("n_samples", |_, this| {
            let at = this.at()?;
            Ok(this.state.stage.draft.borrow().family(at).n_samples)
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("samples", |lua, this, selector: Value| {
            let members = this.members(this.at()?)?;
            samples(lua, &this.state, members, &selector)
        });
        methods.add_method("match", |_, this, selector: Value| {
            let selector = this.state.selector(&selector)?;
            let members = this.members(this.at()?)?;
            let draft = this.state.stage.draft.borrow();
            Ok(members.into_iter().any(|sample| selector.matches(&draft.view(sample))))
        });
        methods.add_method("lint", |lua, this, ()| {
            let at = this.at()?;
            let findings = lint::family(&this.state.stage.draft.borrow(), at);
            charge(findings.len())?;
            let list = lua.create_table()?;
            for (code, text) in findings {
                let entry = lua.create_table()?;
                entry.raw_set("code", code)?;
                entry.raw_set("text", text)?;
                list.raw_push(entry)?;
            }
            Ok(list)
        });
        methods.add_method("scale", |_, this, factor: f64| {
            let at = this.writable("scaling")?;
            for sample in this.members(at)? {
                this.state.stage.draft.borrow_mut().scale(sample, factor)?;
            }
            Ok(())
        });
        methods.add_method("copy", |_, this, name: LuaString| {
            let at = this.writable("copying")?;
            let copy = this.state.stage.draft.borrow_mut().copy_family(at, &utf8(&name)?)?;
            let which = this.state.families.take(copy)?;
            charge(this.state.stage.draft.borrow().family(copy).n_samples as usize)?;
            Ok(this.state.families.handle(which))
        });
        methods.add_method("drop", |_, this, ()| {
            let at = this.writable("dropping")?;
            this.state.stage.draft.borrow_mut().drop_family(at);
            Ok(())
        });
        methods.add_meta_method(MetaMethod::Index, |_, _, field: LuaString| -> mlua::Result<Value> {
            raise(Code::Field, format!("a family has no {}", field.to_string_lossy()))
        });
        methods.add_meta_method(
            MetaMethod::NewIndex,
            |_, _, (field, _): (LuaString, Value)| -> mlua::Result<()> {
                raise(Code::Field, format!("a family's {} cannot be set", field.to_string_lossy()))
            },
        );
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| {
            let at = this.at()?;
            Ok(format!("family {}", this.state.stage.draft.borrow().family_name(at)))
        });
    }
}

/// An iterator over samples, with one handle of the pool.
pub fn samples(lua: &Lua, state: &Rc<State>, members: Vec<u32>, selector: &Value) -> mlua::Result<Function> {
    let selector = state.optional_selector(selector)?;
    let state = state.clone();
    let (next, held, call) = (Cell::new(0), Cell::new(None), state.call.get());
    lua.create_function(move |_, _: mlua::MultiValue| {
        state.is_call(call)?;
        while let Some(sample) = members.get(next.replace(next.get() + 1)).copied() {
            charge(1)?;
            let draft = state.stage.draft.borrow();
            let wanted = selector.as_ref().is_none_or(|selector| selector.matches(&draft.view(sample)));
            if draft.sample(sample).dropped || !wanted {
                continue;
            }
            return step(&state.samples, &held, sample).map(Some);
        }
        if let Some(which) = held.take() {
            state.samples.release(which);
        }
        Ok(None)
    })
}

/// An iterator over families, with one handle of the pool.
pub fn families(lua: &Lua, state: &Rc<State>, members: Vec<u32>) -> mlua::Result<Function> {
    let state = state.clone();
    let (next, held, call) = (Cell::new(0), Cell::new(None), state.call.get());
    lua.create_function(move |_, _: mlua::MultiValue| {
        state.is_call(call)?;
        while let Some(family) = members.get(next.replace(next.get() + 1)).copied() {
            charge(1)?;
            if state.stage.draft.borrow().family(family).n_samples > 0 {
                return step(&state.families, &held, family).map(Some);
            }
        }
        if let Some(which) = held.take() {
            state.families.release(which);
        }
        Ok(None)
    })
}

/// Aims an iterator's handle at its next object.
fn step(aims: &super::state::Aims, held: &Cell<Option<u8>>, at: u32) -> mlua::Result<AnyUserData> {
    let which = match held.get() {
        Some(which) => {
            aims.aim(which, at);
            which
        }
        None => aims.take(at)?,
    };
    held.set(Some(which));
    Ok(aims.handle(which))
}

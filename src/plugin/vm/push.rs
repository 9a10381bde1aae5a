//! Request and Push: one handle, which shows the samples once they are parsed.

use std::rc::Rc;

use mlua::{
    AnyUserData, Lua, LuaString, MetaMethod, Table, UserData, UserDataFields, UserDataMethods,
    UserDataRegistry, Value,
};

use super::expire::{read_ttl, ttl_of};
use super::family::{families, kind_named, samples};
use super::sample::each;
use super::state::{Place, State};
use super::values::{label_value, number_of, rules_of, utf8};
use crate::model::MetricType;
use crate::plugin::budget::charge;
use crate::plugin::draft::NewSample;
use crate::plugin::fault::{Code, Fault, raise};
use crate::plugin::selector::Selector;
use crate::plugin::stats::bump;

pub struct PushHandle {
    pub state: Rc<State>,
    pub group: AnyUserData,
    pub group_received: AnyUserData,
}

/// `req.group` and `req.group_received`.
pub struct GroupHandle {
    pub state: Rc<State>,
    pub received: bool,
}

impl UserData for GroupHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("each", |lua, this, ()| {
            this.state.has_request("reading grouping labels")?;
            let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let pairs = if this.received {
                this.state.stage.received.borrow().labels().map(own).collect()
            } else {
                this.state.stage.draft.borrow().group().map(own).collect()
            };
            each(lua, pairs)
        });
        methods.add_meta_method(MetaMethod::Index, |lua, this, name: LuaString| {
            this.state.has_request("reading grouping labels")?;
            let name = utf8(&name)?;
            let found = if this.received {
                this.state.stage.received.borrow().get(&name).map(str::to_owned)
            } else {
                this.state.stage.draft.borrow().group_label(&name).map(str::to_owned)
            };
            found.map(|value| lua.create_string(value)).transpose()
        });
        methods.add_meta_method(MetaMethod::NewIndex, |_, this, (name, value): (LuaString, Value)| {
            if this.received {
                return raise(Code::Value, "the grouping labels as received cannot be changed");
            }
            this.state.in_request("changing a grouping label")?;
            let value = label_value(&value)?;
            this.state.stage.draft.borrow_mut().set_group_label(&utf8(&name)?, value.as_deref())?;
            Ok(())
        });
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("grouping labels"));
    }
}

impl PushHandle {
    /// Runs `change` on every sample that `selector` matches; returns how often it was true.
    fn on_matches(
        &self,
        selector: &Value,
        change: impl Fn(&mut crate::plugin::draft::Draft, u32) -> Result<bool, Fault>,
    ) -> mlua::Result<usize> {
        self.state.in_transform("changing samples")?;
        self.state.in_transform_or_commit("changing samples")?;
        let selector = self.state.optional_selector(selector)?;
        let mut draft = self.state.stage.draft.borrow_mut();
        charge(draft.samples().len())?;
        let mut changed = 0;
        for sample in 0..draft.samples().len() as u32 {
            if !draft.sample(sample).dropped && is_match(&draft, selector.as_deref(), sample) {
                changed += usize::from(change(&mut draft, sample)?);
            }
        }
        Ok(changed)
    }
}

fn is_match(draft: &crate::plugin::draft::Draft, selector: Option<&Selector>, sample: u32) -> bool {
    selector.is_none_or(|selector| selector.matches(&draft.view(sample)))
}

impl UserData for PushHandle {
    fn register(registry: &mut UserDataRegistry<Self>) {
        registry.enable_namecall();
        Self::add_fields(registry);
        Self::add_methods(registry);
    }

    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        macro_rules! request_field {
            ($name:literal, $read:expr) => {
                fields.add_field_method_get($name, |_, this| {
                    this.state.has_request($name)?;
                    let request = this.state.stage.request.borrow();
                    let read = $read;
                    Ok(read(&*request))
                });
            };
        }
        request_field!("method", |request: &crate::model::RequestFacts| request.method);
        request_field!("path", |request: &crate::model::RequestFacts| request.path.clone());
        request_field!("client", |request: &crate::model::RequestFacts| request.client.clone());
        request_field!("user", |request: &crate::model::RequestFacts| request.user.clone());
        request_field!("tls", |request: &crate::model::RequestFacts| request.tls);
        request_field!("cert_name", |request: &crate::model::RequestFacts| request.cert_name.clone());
        request_field!("content_type", |request: &crate::model::RequestFacts| request.content_type.clone());
        request_field!("content_length", |request: &crate::model::RequestFacts| {
            request.content_length.map(|bytes| bytes as f64)
        });
        fields.add_field_method_get("job", |lua, this| {
            this.state.has_request("job")?;
            lua.create_string(this.state.stage.draft.borrow().group_label("job").unwrap_or_default())
        });
        fields.add_field_method_get("group", |_, this| Ok(this.group.clone()));
        fields.add_field_method_get("group_received", |_, this| Ok(this.group_received.clone()));
        fields.add_field_method_get("time", |_, this| {
            this.state.has_request("time")?;
            Ok(this.state.stage.now.get().seconds())
        });
        fields.add_field_method_get("id", |_, this| {
            this.state.has_request("id")?;
            Ok(this.state.stage.id_text())
        });
        fields.add_field_method_get("dry", |_, this| Ok(this.state.stage.dry.get()));
        fields.add_field_method_get("ttl", |_, this| {
            this.state.has_request("ttl")?;
            Ok(ttl_of(this.state.stage.ttl.get()))
        });
        fields.add_field_method_set("ttl", |_, this, value: Value| {
            this.state.may_set_ttl()?;
            this.state.stage.ttl.set(read_ttl(&value)?);
            Ok(())
        });
        fields.add_field_method_get("ctx", |lua, this| {
            this.state.has_request("ctx")?;
            this.state.context(lua)
        });
        fields.add_field_method_get("format", |_, this| {
            this.state.in_transform_or_commit("format")?;
            Ok(this.state.stage.request.borrow().format)
        });
        macro_rules! push_field {
            ($name:literal, $read:expr) => {
                fields.add_field_method_get($name, |_, this| {
                    this.state.in_transform_or_commit($name)?;
                    let draft = this.state.stage.draft.borrow();
                    charge(draft.samples().len() / 64)?;
                    let read: fn(&crate::plugin::draft::Draft) -> usize = $read;
                    Ok(read(&draft))
                });
            };
        }
        push_field!("bytes", |draft| draft.body_bytes);
        push_field!("n_families", |draft| draft.n_families());
        push_field!("n_samples", |draft| draft.n_samples());
        push_field!("n_series", |draft| draft.n_series());
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("header", |_, this, name: LuaString| {
            this.state.has_request("header")?;
            let name = utf8(&name)?.to_ascii_lowercase();
            if !this.state.headers.borrow().contains(&name) {
                return raise(
                    Code::Undeclared,
                    format!("the header {name} is not in the plugin's list of headers"),
                );
            }
            Ok(this.state.stage.request.borrow().header(&name))
        });
        methods.add_method("families", |lua, this, ()| {
            this.state.in_transform_or_commit("families")?;
            let count = this.state.stage.draft.borrow().families().len() as u32;
            families(lua, &this.state, (0..count).collect())
        });
        methods.add_method("samples", |lua, this, selector: Value| {
            this.state.in_transform_or_commit("samples")?;
            let count = this.state.stage.draft.borrow().samples().len() as u32;
            charge(count as usize / 64)?;
            samples(lua, &this.state, (0..count).collect(), &selector)
        });
        methods.add_method("count", |_, this, selector: Value| {
            this.state.in_transform_or_commit("count")?;
            let selector = this.state.optional_selector(&selector)?;
            let draft = this.state.stage.draft.borrow();
            charge(draft.samples().len())?;
            let wanted = |sample: &u32| {
                !draft.sample(*sample).dropped && is_match(&draft, selector.as_deref(), *sample)
            };
            Ok((0..draft.samples().len() as u32).filter(wanted).count())
        });
        methods.add_method("set_label", |_, this, (name, value, selector): (LuaString, Value, Value)| {
            let (name, value) = (utf8(&name)?, label_value(&value)?.unwrap_or_default());
            this.on_matches(&selector, |draft, sample| draft.set_label(sample, &name, &value))
        });
        methods.add_method("del_label", |_, this, (name, selector): (LuaString, Value)| {
            let name = utf8(&name)?;
            this.on_matches(&selector, |draft, sample| draft.set_label(sample, &name, ""))
        });
        methods.add_method("rename_label", |_, this, (from, to, selector): (LuaString, LuaString, Value)| {
            let (from, to) = (utf8(&from)?, utf8(&to)?);
            this.on_matches(&selector, |draft, sample| draft.rename_label(sample, &from, &to))
        });
        methods.add_method("drop", |_, this, selector: Value| {
            if selector.is_nil() {
                return raise(Code::Value, "push:drop needs a selector");
            }
            this.on_matches(&selector, |draft, sample| {
                draft.drop_sample(sample);
                Ok(true)
            })
        });
        methods.add_method("relabel", |_, this, rules: Value| {
            this.state.in_transform("relabelling")?;
            this.state.in_transform_or_commit("relabelling")?;
            let handle = rules_of(&rules, this.state.spec.names)?;
            let mut draft = this.state.stage.draft.borrow_mut();
            charge(draft.samples().len() * handle.rules.len().max(1))?;
            let counts = draft.relabel(&handle.rules, handle.only.as_deref())?;
            bump(&this.state.spec.shared.counts.splits, counts.splits as u64);
            bump(&this.state.spec.shared.counts.group_label_resets, counts.resets as u64);
            Ok(counts.dropped)
        });
        methods.add_method("add", |_, this, sample: Table| {
            this.state.in_transform("adding a sample")?;
            this.state.in_transform_or_commit("adding a sample")?;
            add(this, &sample)
        });
        methods.add_method("facts", |lua, this, ()| {
            this.state.in_transform_or_commit("facts")?;
            if !this.state.facts.get() {
                return raise(Code::Undeclared, "the plugin does not declare facts = true");
            }
            facts(lua, this)
        });
        methods.add_meta_method(MetaMethod::Index, |_, this, field: LuaString| -> mlua::Result<Value> {
            let what = if this.state.place.get() == Place::Request { "request" } else { "push" };
            raise(Code::Field, format!("a {what} has no {}", field.to_string_lossy()))
        });
        methods.add_meta_method(
            MetaMethod::NewIndex,
            |_, _, (field, _): (LuaString, Value)| -> mlua::Result<()> {
                raise(Code::Field, format!("{} of a push cannot be set", field.to_string_lossy()))
            },
        );
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| {
            Ok(format!("push {}", this.state.stage.id_text()))
        });
    }
}

/// A fresh table of what is stored around the push.
fn facts(lua: &Lua, this: &PushHandle) -> mlua::Result<Table> {
    let facts = this.state.stage.store.get().unwrap_or_default();
    let table = lua.create_table()?;
    for (name, value) in [
        ("group_series", Some(facts.group_series as f64)),
        ("group_age", facts.group_age),
        ("job_series", Some(facts.job_series as f64)),
        ("job_groups", Some(facts.job_groups as f64)),
        ("total_series", Some(facts.total_series as f64)),
        ("total_groups", Some(facts.total_groups as f64)),
        ("replaced_series", Some(facts.replaced_series as f64)),
    ] {
        table.raw_set(name, value)?;
    }
    Ok(table)
}

fn add(this: &PushHandle, sample: &Table) -> mlua::Result<()> {
    charge(1)?;
    let (mut name, mut kind, mut help, mut labels, mut value) =
        (None, MetricType::Untyped, None, Vec::new(), None);
    for pair in sample.pairs::<String, Value>() {
        let (key, given) = pair?;
        match (key.as_str(), &given) {
            ("name", Value::String(text)) => name = Some(utf8(text)?),
            ("help", Value::String(text)) => help = Some(utf8(text)?),
            ("type", Value::String(text)) => match kind_named(&utf8(text)?) {
                Some(named) => kind = named,
                None => return raise(Code::Value, "there is no such type"),
            },
            ("labels", Value::Table(table)) => {
                for pair in table.pairs::<String, Value>() {
                    let (name, value) = pair?;
                    labels.push((name, label_value(&value)?.unwrap_or_default()));
                }
            }
            ("value", given) => value = number_of(given),
            (other, _) => return raise(Code::Value, format!("push:add takes no such {other}")),
        }
    }
    let (Some(name), Some(value)) = (name, value) else {
        return raise(Code::Value, "push:add needs a name and a value");
    };
    labels.sort();
    let new = NewSample { name: &name, kind, help: help.as_deref(), labels: &labels, value };
    this.state.stage.draft.borrow_mut().add(&new)?;
    Ok(())
}

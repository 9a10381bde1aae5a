//! One Lua machine with one plugin: sandboxed, bounded in memory, its hooks ready to be called.
//!
//! # Invariants
//!
//! 1. A script reaches nothing but its environment, which is read-only, and `gate`.
//! 2. Every call into Lua runs under an armed budget, and ends with no handle aimed.
//! 3. Whatever a script does, a call returns: with a value, a [`Fault`], or a panic that was caught.

pub mod api;
mod expire;
mod family;
mod fast;
mod gate;
mod log;
mod manifest;
mod metrics;
mod push;
mod sample;
mod shared;
mod state;
mod tables;
mod timer;
mod trial;
mod values;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{AnyUserData, Function, IntoLuaMulti, Lua, LuaOptions, LuaString, StdLib, Table, Value};

use self::expire::DyingHandle;
use self::family::FamilyHandle;
use self::push::{GroupHandle, PushHandle};
use self::sample::{LabelsHandle, SampleHandle};
use self::state::{POOL, State, Walk};
use super::budget::{self, Allowance, charge};
use super::fault::{Code, Fault};
use super::interrupt;
use super::selector::Selector;
use super::spec::{Body, Program, Spec};
use super::stage::Stage;
use super::stats::{Shared, bump};

pub use self::manifest::{Hook, Manifest};
pub use self::state::Place;
pub use self::timer::Timers;
pub use self::trial::TestFile;
pub use self::values::{Reject, Verdict, one_line, verdict};

/// Share of the memory limit, in percent, above which a collection follows a hook.
const FULL_PERCENT: usize = 90;

/// Bytes a machine may grow by before its collector is stepped after a push.
const GROWTH_BYTES: usize = 256 * 1024;

/// See [`Vm::drive`].
const DRIVE: &str = "return function(hook, sample, push, step)
  local verdict
  repeat verdict = hook(sample, push) until not step(verdict)
  return verdict
end";

/// Lua of the host's own, compiled once for all machines.
struct Own {
    prelude: Vec<u8>,
    drive: Vec<u8>,
}

static OWN: LazyLock<Own> = LazyLock::new(|| {
    let compile = |text: &str| Compiler::new().compile(text).expect("Lua of our own compiles");
    Own { prelude: compile(include_str!("prelude.lua")), drive: compile(DRIVE) }
});

/// Changes of memory below this are not noted.
const NOTED_BYTES_MIN: i64 = 16 * 1024;

/// See the module.
pub struct Vm {
    lua: Lua,
    state: Rc<State>,
    pub manifest: Manifest,
    handles: Handles,
    /// Calls a hook for sample after sample while it returns nothing.
    drive: Function,
    step: Function,
    collected_at: Cell<usize>,
    /// Bytes as last noted in the plugin's counters.
    noted: Cell<i64>,
}

/// What hooks get, one for all calls of a kind.
struct Handles {
    /// Request and push.
    push: AnyUserData,
    family: AnyUserData,
    sample: AnyUserData,
    /// A group that ended.
    dying: AnyUserData,
}

/// The table `ctx` of one plugin and one push, while another push is on the stage.
pub struct Context {
    state: Rc<State>,
    table: Option<Table>,
}

/// What a machine needs after a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    /// More than half of the memory stays in use: it must be built anew.
    Bloated,
}

impl Vm {
    /// Builds a machine and runs the plugin's file and `init`.
    ///
    /// # Errors
    ///
    /// Whatever the plugin does wrong while it loads.
    pub fn load(spec: &Arc<Spec>, stage: &Rc<Stage>, allowance: Allowance) -> Result<Vm, Fault> {
        Vm::load_with(spec, stage, allowance, None)
    }

    /// The same for a machine that is only looked at: what it declares goes to `trial`.
    ///
    /// # Errors
    ///
    /// As [`load`](Vm::load).
    pub fn try_out(
        spec: &Arc<Spec>,
        stage: &Rc<Stage>,
        allowance: Allowance,
        trial: &Arc<Shared>,
    ) -> Result<Vm, Fault> {
        Vm::load_with(spec, stage, allowance, Some(trial.clone()))
    }

    fn load_with(
        spec: &Arc<Spec>,
        stage: &Rc<Stage>,
        allowance: Allowance,
        trial: Option<Arc<Shared>>,
    ) -> Result<Vm, Fault> {
        let Body::Lua(program) = &*spec.body else {
            return Err(Fault::new(Code::Internal, "rules need no machine"));
        };
        let state = Rc::new(State::new(stage.clone(), spec.clone(), trial));
        let make = || {
            let lua = build(&state, spec.budget.memory_bytes, None)?;
            let handles = handles(&lua, &state)?;
            let step = fast::stepper(&lua, &state)?;
            let drive: Function = binary(&lua, "drive", &OWN.drive)?.call(())?;
            Ok((lua, handles, step, drive))
        };
        let (lua, handles, step, drive) = make().map_err(|error: mlua::Error| Fault::from_lua(&error))?;
        state.place.set(Place::Load);
        budget::arm(allowance);
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            let value = run_main(&lua, &state, program)?;
            Manifest::read(&lua, &state, value)
        }));
        let used = budget::disarm();
        state.end_hook();
        let manifest = match loaded {
            Err(_) => return Err(Fault::new(Code::Internal, "a host function failed")),
            Ok(_) if used.expired => {
                return Err(Fault::new(Code::Budget, "loading the plugin used up its budget"));
            }
            Ok(loaded) => loaded?,
        };
        let collected_at = Cell::new(lua.used_memory());
        Ok(Vm { lua, state, manifest, handles, drive, step, collected_at, noted: Cell::new(0) })
    }

    /// Begins a push: nothing of the last one is left.
    pub fn begin(&self) {
        *self.state.ctx.borrow_mut() = None;
    }

    /// The push that its hooks see.
    pub fn stage(&self) -> &Stage {
        &self.state.stage
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.state.spec.name
    }

    /// The handle that hooks get as request and push.
    pub fn push_handle(&self) -> &AnyUserData {
        &self.handles.push
    }

    /// The handle that `on_expire` gets.
    pub fn dying_handle(&self) -> &AnyUserData {
        &self.handles.dying
    }

    /// The hook's own family handle, aimed.
    pub fn family_handle(&self, family: u32) -> &AnyUserData {
        self.state.families.aim(0, family);
        &self.handles.family
    }

    /// The hook's own sample handle, aimed.
    pub fn sample_handle(&self, sample: u32) -> &AnyUserData {
        self.state.samples.aim(0, sample);
        &self.handles.sample
    }

    /// The family that the hook's own handle points at, which renaming may have moved.
    pub fn aimed_family(&self) -> Option<u32> {
        self.state.families.get(0).ok()
    }

    /// Calls one hook function. The caller has armed the budget.
    ///
    /// # Errors
    ///
    /// Whatever the script does wrong.
    pub fn call(
        &self,
        place: Place,
        function: &Function,
        arguments: impl IntoLuaMulti,
    ) -> Result<Value, Fault> {
        self.state.place.set(place);
        if let Some(hook) = place.hook() {
            let calls = &self.state.calls[hook as usize];
            calls.set(calls.get() + 1);
        }
        let called = catch_unwind(AssertUnwindSafe(|| function.call::<Value>(arguments)));
        match called {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Fault::from_lua(&error)),
            Err(_) => Err(Fault::new(Code::Internal, "a host function failed")),
        }
    }

    /// Begins to go over `members` with `on_sample`. Families from number `families` on are left out.
    pub fn begin_walk(&self, members: Vec<u32>, families: u32, selector: Option<Arc<Selector>>) {
        *self.state.walk.borrow_mut() = Walk { members, at: 0, families, selector, failed: false };
    }

    /// Calls `function` for one sample after the other of those begun with
    /// [`begin_walk`](Vm::begin_walk), until it returns something, which is given back. `None` once no
    /// sample is left. The caller has armed the budget.
    ///
    /// # Errors
    ///
    /// Whatever the script does wrong.
    pub fn walk(&self, function: &Function) -> Result<Option<(Value, u32)>, Fault> {
        let Some(first) = self.state.next_sample() else { return Ok(None) };
        let arguments = (function, self.sample_handle(first), self.push_handle(), &self.step);
        let returned = self.call(Place::Sample, &self.drive, arguments)?;
        let walk = self.state.walk.borrow();
        if walk.failed {
            return Err(Fault::new(Code::Internal, "a host function failed"));
        }
        // The sample that the value was returned for is the one visited last.
        Ok(Some((returned, walk.members[walk.at - 1])))
    }

    /// Ends a hook: handles go stale.
    pub fn end_hook(&self) {
        self.state.end_hook();
    }

    /// Collects garbage where that is due. To be called when a plugin is done with a push; `faulted`
    /// after a memory error.
    pub fn tidy(&self, faulted: bool) -> Health {
        let limit = self.state.spec.budget.memory_bytes;
        let used = self.lua.used_memory();
        if faulted || used > limit / 100 * FULL_PERCENT {
            // A failed collection leaves the memory in use, and that is looked at next.
            let _ = self.lua.gc_collect();
            let left = self.lua.used_memory();
            self.collected_at.set(left);
            return if left > limit / 2 { Health::Bloated } else { Health::Good };
        }
        if used > self.collected_at.get() + GROWTH_BYTES {
            let _ = self.lua.gc_step();
            self.collected_at.set(self.lua.used_memory());
        }
        Health::Good
    }

    /// Takes the table `ctx` of the push that is over.
    pub fn take_context(&self) -> Context {
        Context { state: self.state.clone(), table: self.state.ctx.take() }
    }

    /// Puts it back; false if it is another machine's.
    pub fn restore_context(&self, context: &Context) -> bool {
        let own = Rc::ptr_eq(&self.state, &context.state);
        if own {
            *self.state.ctx.borrow_mut() = context.table.clone();
        }
        own
    }

    /// Runs `shutdown(reason)`, whose faults are only logged.
    pub fn shut_down(&self, reason: &str, allowance: Allowance) {
        let Some(function) = &self.manifest.shutdown else { return };
        budget::arm(allowance);
        let result = self.call(Place::Shutdown, function, reason);
        budget::disarm();
        self.end_hook();
        if let Err(fault) = result {
            tracing::warn!(plugin = self.state.spec.name, %fault, "shutdown of a plugin failed");
        }
    }

    /// A table for `on_result`.
    ///
    /// # Errors
    ///
    /// The machine is out of memory.
    pub fn table(&self, pairs: &[(&str, ResultField<'_>)]) -> Result<Table, Fault> {
        let make = || -> mlua::Result<Table> {
            let table = self.lua.create_table()?;
            for (key, field) in pairs {
                match field {
                    ResultField::Number(number) => table.raw_set(*key, *number)?,
                    ResultField::Bool(is) => table.raw_set(*key, *is)?,
                    ResultField::Text(text) => table.raw_set(*key, *text)?,
                }
            }
            table.set_readonly(true);
            Ok(table)
        };
        make().map_err(|error| Fault::from_lua(&error))
    }

    /// Adds the calls since the last time to the plugin's counters.
    pub fn count_calls(&self) {
        for (calls, counter) in self.state.calls.iter().zip(&self.state.spec.shared.counts.calls) {
            match calls.take() {
                0 => {}
                calls => bump(counter, u64::from(calls)),
            }
        }
    }

    /// Notes in the plugin's counters how much memory the machine uses.
    pub fn note_memory(&self) {
        let used = self.lua.used_memory() as i64;
        let difference = used - self.noted.get();
        // Not at every push: the counter is one for all workers.
        if difference.abs() >= NOTED_BYTES_MIN {
            self.noted.set(used);
            self.state.spec.shared.counts.memory.fetch_add(difference, Ordering::Relaxed);
        }
    }

    /// Whether the plugin asks what is stored.
    pub fn wants_facts(&self) -> bool {
        self.state.facts.get()
    }

    /// Bytes that the machine uses.
    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    #[cfg(test)]
    pub fn lua(&self) -> &Lua {
        &self.lua
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.count_calls();
        self.state.spec.shared.counts.memory.fetch_sub(self.noted.get(), Ordering::Relaxed);
    }
}

/// One member of the table that `on_result` gets.
pub enum ResultField<'f> {
    Number(f64),
    Bool(bool),
    Text(&'f str),
}

/// Makes a further member of `gate` in a fresh machine.
type Member<'m> = &'m dyn Fn(&Lua) -> mlua::Result<Table>;

/// A sandboxed machine; in one for tests, `test` makes `gate.test`.
fn build(state: &Rc<State>, memory_bytes: usize, test: Option<Member<'_>>) -> mlua::Result<Lua> {
    let libraries =
        StdLib::TABLE | StdLib::STRING | StdLib::UTF8 | StdLib::BIT | StdLib::MATH | StdLib::BUFFER;
    let lua = Lua::new_with(libraries, LuaOptions::default())?;
    lua.set_memory_limit(memory_bytes)?;
    interrupt::install(&lua)?;
    let prelude = binary(&lua, "prelude", &OWN.prelude)?;
    let pure = state.clone();
    let environment: Table = prelude.call((
        lua.create_function(|_, steps: f64| Ok(charge(steps.clamp(0.0, 1e15) as usize)?))?,
        lua.create_function(plain_find)?,
        lua.create_function(move |_, what: LuaString| Ok(pure.not_in_series(&what.to_string_lossy())?))?,
        lua.create_function(message)?,
    ))?;
    // Imports are resolved when a chunk is loaded, from the globals of the machine: so these must be
    // the environment of scripts themselves, not a table beside them.
    let globals = lua.globals();
    globals.clear()?;
    for pair in environment.pairs::<String, Value>() {
        let (name, value) = pair?;
        if let Value::Table(library) = &value {
            library.set_readonly(true);
            library.set_safeenv(true);
        }
        globals.raw_set(name, value)?;
    }
    if let Some(strings) = lua.type_metatable::<LuaString>() {
        strings.raw_set("__metatable", false)?;
        strings.set_readonly(true);
    }
    let test = test.map(|test| test(&lua)).transpose()?;
    globals.raw_set("gate", gate::table(&lua, state, test)?)?;
    globals.raw_set("print", gate::print(&lua, state)?)?;
    globals.raw_set("require", require(&lua, state)?)?;
    gate::undefined_fields(&lua, &globals, "the environment")?;
    globals.set_readonly(true);
    globals.set_safeenv(true);
    Ok(lua)
}

/// Makes handles of all kinds.
fn handles(lua: &Lua, state: &Rc<State>) -> mlua::Result<Handles> {
    let mut families = Vec::new();
    let (mut samples, mut all_labels) = (Vec::new(), Vec::new());
    for which in 0..=POOL as u8 {
        families.push(lua.create_userdata(FamilyHandle { state: state.clone(), which })?);
        let labels = lua.create_userdata(LabelsHandle { state: state.clone(), which })?;
        all_labels.push(labels.clone());
        samples.push(lua.create_userdata(SampleHandle { state: state.clone(), which, labels })?);
    }
    fast::install(lua, state, &samples, &all_labels)?;
    let group = lua.create_userdata(GroupHandle { state: state.clone(), received: false })?;
    let group_received = lua.create_userdata(GroupHandle { state: state.clone(), received: true })?;
    let dying = DyingHandle { state: state.clone(), labels: group_received.clone() };
    let handles = Handles {
        push: lua.create_userdata(PushHandle { state: state.clone(), group, group_received })?,
        family: families[0].clone(),
        sample: samples[0].clone(),
        dying: lua.create_userdata(dying)?,
    };
    state.families.set_handles(families);
    state.samples.set_handles(samples);
    Ok(handles)
}

/// A function of compiled Lua.
fn binary(lua: &Lua, name: &str, code: &[u8]) -> mlua::Result<Function> {
    lua.load(code).set_name(format!("={name}")).set_mode(ChunkMode::Binary).into_function()
}

fn run_main(lua: &Lua, state: &Rc<State>, program: &Program) -> Result<Value, Fault> {
    let spec = state.spec.clone();
    let loader = {
        lua.create_function(move |lua, name: String| {
            let Body::Lua(program) = &*spec.body else { return Ok(None) };
            let Some(code) = program.modules.get(&name) else { return Ok(None) };
            binary(lua, &name, code).map(Some)
        })
    }
    .map_err(|error| Fault::from_lua(&error))?;
    *state.loader.borrow_mut() = Some(loader);
    binary(lua, &state.spec.name, &program.main)
        .and_then(|main| main.call::<Value>(()))
        .map_err(|error| Fault::from_lua(&error))
}

/// `require(name)`: a file beside the plugin's, run once per machine.
fn require(lua: &Lua, state: &Rc<State>) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(move |_, name: String| {
        state.only_at_load("require")?;
        if let Some(value) = state.modules.borrow().get(&name) {
            return Ok(value.clone());
        }
        let loader = state.loader.borrow().clone();
        let loaded = match loader {
            Some(loader) => loader.call::<Option<Function>>(name.clone())?,
            None => None,
        };
        let Some(module) = loaded else {
            return super::fault::raise(Code::Load, format!("there is no {name}.lua beside the plugin"));
        };
        let value: Value = module.call(())?;
        state.modules.borrow_mut().insert(name, value.clone());
        Ok(value)
    })
}

/// `string.find` where the pattern is plain text: whether it is, and where it was found.
fn plain_find(
    _: &Lua,
    (text, pattern, init, plain): (Value, Value, Value, Value),
) -> mlua::Result<(bool, Option<usize>, Option<usize>)> {
    let (Value::String(text), Value::String(pattern)) = (&text, &pattern) else {
        return Ok((false, None, None));
    };
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let special = |byte: &u8| b"^$*+?.([%-".contains(byte);
    let plain = !matches!(plain, Value::Nil | Value::Boolean(false));
    if !plain && pattern.iter().any(special) {
        return Ok((false, None, None));
    }
    charge(text.len() / 64)?;
    let init = values::number_of(&init).unwrap_or(1.0);
    let start =
        if init < 0.0 { (text.len() as f64 + init).max(0.0) as usize } else { init.max(1.0) as usize - 1 };
    let Some(rest) = text.get(start..) else { return Ok((true, None, None)) };
    let found = memchr::memmem::find(rest, &pattern).map(|at| start + at);
    Ok((true, found.map(|at| at + 1), found.map(|at| at + pattern.len())))
}

/// An error value as scripts see it: ours as `E_X: text`, others as they are.
fn message(lua: &Lua, error: Value) -> mlua::Result<Value> {
    match error {
        Value::Error(error) => Ok(Value::String(lua.create_string(Fault::from_lua(&error).to_string())?)),
        other => Ok(other),
    }
}

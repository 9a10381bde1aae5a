//! What every host function of one machine reaches: the push on stage, where the machine is, and what
//! its handles point at.
//!
//! Handles are made once and aimed anew at each call. A handle that no running call has aimed is
//! stale. While a hook runs it may walk over families and samples with handles from a pool, which are
//! given back when the walk or the hook ends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use mlua::{AnyUserData, Function, Lua, Table};

use crate::plugin::fault::{Code, Fault};
use crate::plugin::selector::Selector;
use crate::plugin::spec::Spec;
use crate::plugin::stage::Stage;
use crate::plugin::stats::{Run, Shared};

use super::log::LogGate;
use super::timer::Timer;

/// What the machine is doing, which decides what scripts may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Idle,
    Load,
    Request,
    Push,
    Family,
    Series,
    Sample,
    Commit,
    Result,
    Expire,
    /// A function of `gate.every`.
    Timer,
    Shutdown,
}

impl Place {
    /// What a call there is counted as.
    pub fn hook(self) -> Option<Run> {
        Some(match self {
            Place::Idle | Place::Load => return None,
            Place::Request => Run::Request,
            Place::Push => Run::Push,
            Place::Family => Run::Family,
            Place::Series => Run::Series,
            Place::Sample => Run::Sample,
            Place::Commit => Run::Commit,
            Place::Result => Run::Result,
            Place::Expire => Run::Expire,
            Place::Timer => Run::Timer,
            Place::Shutdown => Run::Shutdown,
        })
    }
}

/// Handles per kind for iterators and copies; one more is the hook's own argument.
pub const POOL: usize = 8;

/// What the handles of one kind point at; [`NOTHING`] is stale.
pub struct Aims {
    at: [Cell<u32>; POOL + 1],
    handles: RefCell<Vec<AnyUserData>>,
}

const NOTHING: u32 = u32::MAX;

impl Aims {
    fn new() -> Aims {
        Aims { at: std::array::from_fn(|_| Cell::new(NOTHING)), handles: RefCell::default() }
    }

    /// What handle `which` points at.
    ///
    /// # Errors
    ///
    /// E_STALE: nothing.
    pub fn get(&self, which: u8) -> Result<u32, Fault> {
        match self.at[which as usize].get() {
            NOTHING => Err(Fault::new(Code::Stale, "this handle belongs to a call that has ended")),
            at => Ok(at),
        }
    }

    pub fn aim(&self, which: u8, at: u32) {
        self.at[which as usize].set(at);
    }

    /// A free handle of the pool, aimed.
    ///
    /// # Errors
    ///
    /// E_LIMIT: all are in use.
    pub fn take(&self, at: u32) -> Result<u8, Fault> {
        let free = (1..=POOL).find(|which| self.at[*which].get() == NOTHING);
        let which = free.ok_or_else(|| Fault::new(Code::Limit, "too many handles in use at once"))? as u8;
        self.aim(which, at);
        Ok(which)
    }

    pub fn release(&self, which: u8) {
        self.at[which as usize].set(NOTHING);
    }

    pub fn release_all(&self) {
        self.at.iter().for_each(|at| at.set(NOTHING));
    }

    pub fn handle(&self, which: u8) -> AnyUserData {
        self.handles.borrow()[which as usize].clone()
    }

    pub fn set_handles(&self, handles: Vec<AnyUserData>) {
        *self.handles.borrow_mut() = handles;
    }
}

/// Samples to be visited by `on_sample` in one call into Lua.
#[derive(Default)]
pub struct Walk {
    pub members: Vec<u32>,
    /// How many of them are behind.
    pub at: usize,
    /// Families from here on were added since, and are not visited.
    pub families: u32,
    pub selector: Option<Arc<Selector>>,
    /// Whether the host failed on the way.
    pub failed: bool,
}

/// Most selectors that a machine compiles from strings given at run time.
const SELECTORS_MAX: usize = 256;

/// See the module.
pub struct State {
    pub stage: Rc<Stage>,
    pub spec: Arc<Spec>,
    /// Takes the metrics of a machine that is only tried out.
    pub trial: Option<Arc<Shared>>,
    /// Runs of hooks since they were last counted, by [`Run`](crate::plugin::stats::Run).
    pub calls: [Cell<u32>; Run::NAMES.len()],
    pub place: Cell<Place>,
    pub families: Aims,
    pub samples: Aims,
    /// The number of the running call of a hook: what a call makes is worth nothing to others.
    pub call: Cell<u64>,
    /// The samples that one call goes over.
    pub walk: RefCell<Walk>,
    /// Where the handles of samples lie, by their number.
    pub sample_pointers: [Cell<*mut c_void>; POOL + 1],
    /// The same of their `labels`.
    pub labels_pointers: [Cell<*mut c_void>; POOL + 1],
    /// Headers that the plugin declared, in lower case.
    pub headers: RefCell<Vec<String>>,
    pub facts: Cell<bool>,
    /// The table `ctx` of this plugin and push.
    pub ctx: RefCell<Option<Table>>,
    pub log: LogGate,
    pub timers: RefCell<Vec<Timer>>,
    /// The module table of `require`.
    pub modules: RefCell<HashMap<String, mlua::Value>>,
    pub loader: RefCell<Option<Function>>,
    selectors: RefCell<HashMap<String, Arc<Selector>>>,
}

impl State {
    pub fn new(stage: Rc<Stage>, spec: Arc<Spec>, trial: Option<Arc<Shared>>) -> State {
        State {
            stage,
            spec,
            trial,
            calls: Default::default(),
            place: Cell::new(Place::Idle),
            families: Aims::new(),
            samples: Aims::new(),
            call: Cell::new(0),
            walk: RefCell::default(),
            sample_pointers: [const { Cell::new(ptr::null_mut()) }; POOL + 1],
            labels_pointers: [const { Cell::new(ptr::null_mut()) }; POOL + 1],
            headers: RefCell::default(),
            facts: Cell::new(false),
            ctx: RefCell::default(),
            log: LogGate::default(),
            timers: RefCell::default(),
            modules: RefCell::default(),
            loader: RefCell::default(),
            selectors: RefCell::default(),
        }
    }

    /// Ends a hook: no handle points at anything any more.
    pub fn end_hook(&self) {
        self.release();
        self.place.set(Place::Idle);
    }

    fn release(&self) {
        self.families.release_all();
        self.samples.release_all();
        self.call.set(self.call.get() + 1);
    }

    /// # Errors
    ///
    /// E_STALE: the call of this number has ended.
    pub fn is_call(&self, call: u64) -> Result<(), Fault> {
        if self.call.get() == call {
            return Ok(());
        }
        Err(Fault::new(Code::Stale, "this iterator belongs to a call that has ended"))
    }

    /// The next sample of the walk that is to be visited.
    pub fn next_sample(&self) -> Option<u32> {
        let mut walk = self.walk.borrow_mut();
        let draft = self.stage.draft.borrow();
        while let Some(sample) = walk.members.get(walk.at).copied() {
            walk.at += 1;
            let data = draft.sample(sample);
            let is_here = !data.dropped && data.family < walk.families;
            if is_here && walk.selector.as_ref().is_none_or(|selector| selector.matches(&draft.view(sample)))
            {
                return Some(sample);
            }
        }
        None
    }

    /// Ends the visit of a sample and begins the next; false if there is none.
    pub fn advance(&self) -> bool {
        self.release();
        let Some(sample) = self.next_sample() else { return false };
        self.samples.aim(0, sample);
        let calls = &self.calls[Run::Sample as usize];
        calls.set(calls.get() + 1);
        true
    }

    fn phase<T>(&self, what: &str) -> Result<T, Fault> {
        let place = match self.place.get() {
            Place::Idle => "outside a hook",
            Place::Load => "while the plugin loads",
            Place::Request => "in on_request",
            Place::Push => "in on_push",
            Place::Family => "in on_family",
            Place::Series => "in on_series, which must be pure",
            Place::Sample => "in on_sample",
            Place::Commit => "in on_commit",
            Place::Result => "in on_result",
            Place::Expire => "in on_expire",
            Place::Timer => "in a timer",
            Place::Shutdown => "in shutdown",
        };
        Err(Fault::new(Code::Phase, format!("{what} is not allowed {place}")))
    }

    /// For functions that only declare things.
    pub fn only_at_load(&self, what: &str) -> Result<(), Fault> {
        if self.place.get() == Place::Load { Ok(()) } else { self.phase(what) }
    }

    /// For functions with effects or hidden inputs.
    pub fn not_in_series(&self, what: &str) -> Result<(), Fault> {
        if self.place.get() == Place::Series { self.phase(what) } else { Ok(()) }
    }

    /// For what all workers share: in any hook but the pure one.
    pub fn in_hook(&self, what: &str) -> Result<(), Fault> {
        match self.place.get() {
            Place::Idle | Place::Load | Place::Series => self.phase(what),
            _ => Ok(()),
        }
    }

    /// For reading the push.
    pub fn in_transform_or_commit(&self, what: &str) -> Result<(), Fault> {
        match self.place.get() {
            Place::Push | Place::Family | Place::Sample | Place::Commit => Ok(()),
            _ => self.phase(what),
        }
    }

    /// For changing the push.
    pub fn in_transform(&self, what: &str) -> Result<(), Fault> {
        if self.may_transform() { Ok(()) } else { self.phase(what) }
    }

    /// Whether the push may be changed now.
    pub fn may_transform(&self) -> bool {
        matches!(self.place.get(), Place::Push | Place::Family | Place::Series | Place::Sample)
    }

    /// What a handle points at, where that may be changed.
    pub fn to_change(&self, aims: &Aims, which: u8, what: &str) -> Result<u32, Fault> {
        self.in_transform(what)?;
        aims.get(which)
    }

    pub fn in_request(&self, what: &str) -> Result<(), Fault> {
        if self.place.get() == Place::Request { Ok(()) } else { self.phase(what) }
    }

    /// For giving the group another lifetime: while the push can still be refused.
    pub fn may_set_ttl(&self) -> Result<(), Fault> {
        match self.place.get() {
            Place::Request | Place::Push | Place::Family | Place::Sample | Place::Commit => Ok(()),
            _ => self.phase("setting ttl"),
        }
    }

    /// For a group whose lifetime has ended.
    pub fn in_expire(&self, what: &str) -> Result<(), Fault> {
        if self.place.get() == Place::Expire { Ok(()) } else { self.phase(what) }
    }

    /// For reading the request.
    pub fn has_request(&self, what: &str) -> Result<(), Fault> {
        match self.place.get() {
            Place::Idle | Place::Load | Place::Series | Place::Timer | Place::Shutdown => self.phase(what),
            _ => Ok(()),
        }
    }

    /// The selector that `value` is or spells.
    ///
    /// # Errors
    ///
    /// E_VALUE, or E_LIMIT for strings made at run time.
    pub fn selector(&self, value: &mlua::Value) -> Result<Arc<Selector>, Fault> {
        match value {
            mlua::Value::UserData(data) => match data.borrow::<super::values::SelectorHandle>() {
                Ok(handle) => Ok(handle.0.clone()),
                Err(_) => Err(Fault::new(Code::Value, "a selector is expected")),
            },
            mlua::Value::String(text) => {
                let text = text.to_str().map_err(|_| Fault::new(Code::Value, "a selector is text"))?;
                if let Some(found) = self.selectors.borrow().get(&*text) {
                    return Ok(found.clone());
                }
                let mut selectors = self.selectors.borrow_mut();
                if selectors.len() >= SELECTORS_MAX {
                    return Err(Fault::new(Code::Limit, "too many different selectors; do not build them"));
                }
                let selector = self.spec.compile_selector(&text)?;
                selectors.insert(text.to_owned(), selector.clone());
                Ok(selector)
            }
            _ => Err(Fault::new(Code::Value, "a selector is expected")),
        }
    }

    pub fn optional_selector(&self, value: &mlua::Value) -> Result<Option<Arc<Selector>>, Fault> {
        if value.is_nil() { Ok(None) } else { self.selector(value).map(Some) }
    }

    /// The table of this plugin and push.
    ///
    /// # Errors
    ///
    /// The machine is out of memory.
    pub fn context(&self, lua: &Lua) -> mlua::Result<Table> {
        if let Some(table) = &*self.ctx.borrow() {
            return Ok(table.clone());
        }
        let table = lua.create_table()?;
        *self.ctx.borrow_mut() = Some(table.clone());
        Ok(table)
    }
}

//! `gate.every`: functions that run at times of their own, on the first worker or on each.
//!
//! A timer begins when its machine does. Those of a machine follow each other, so none overlaps another or
//! itself, and what was missed meanwhile is not made up for.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Function, Lua, Table, Value};

use super::Vm;
use super::state::{Place, State};
use crate::plugin::fault::{Code, Fault, raise};
use crate::plugin::shared::Tick;

/// Timers of one plugin.
const TIMERS_MAX: usize = 8;

/// Shortest and longest time between two runs, in seconds.
const SECONDS_MIN: f64 = 1.0;
const SECONDS_MAX: f64 = 315_576_000.0;

/// One of them.
pub struct Timer {
    seconds: f64,
    /// Whether every worker runs it.
    each: bool,
    function: Function,
    next: Cell<Tick>,
}

/// Which timers a plugin has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// For the first worker.
    pub first: bool,
    /// For every worker.
    pub each: bool,
}

impl Timers {
    /// Whether some of them run on this worker.
    pub fn run_on(self, worker: usize) -> bool {
        self.each || self.first && worker == 0
    }
}

/// Adds `gate.every`.
///
/// # Errors
///
/// The machine is out of memory.
pub fn add_every(lua: &Lua, state: &Rc<State>, gate: &Table) -> mlua::Result<()> {
    let state = state.clone();
    let every =
        lua.create_function(move |_, (seconds, function, options): (f64, Function, Option<Table>)| {
            state.only_at_load("gate.every")?;
            if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
                return raise(
                    Code::Value,
                    "gate.every runs once a second at most, once in ten years at least",
                );
            }
            let mut each = false;
            if let Some(options) = options {
                for pair in options.pairs::<String, Value>() {
                    match pair? {
                        (key, Value::Boolean(is)) if key == "each" => each = is,
                        (key, _) => return raise(Code::Value, format!("gate.every takes no such {key}")),
                    }
                }
            }
            let mut timers = state.timers.borrow_mut();
            if timers.len() >= TIMERS_MAX {
                return raise(Code::Limit, format!("a plugin may have {TIMERS_MAX} timers"));
            }
            let next = Cell::new(state.stage.tick.get().after(seconds));
            timers.push(Timer { seconds, each, function, next });
            Ok(())
        })?;
    gate.raw_set("every", every)
}

impl Vm {
    /// Which timers it has.
    pub fn timers(&self) -> Timers {
        let timers = self.state.timers.borrow();
        Timers { first: timers.iter().any(|timer| !timer.each), each: timers.iter().any(|timer| timer.each) }
    }

    /// When the next of those that run on this worker is due.
    pub fn next_timer(&self) -> Option<Tick> {
        let timers = self.state.timers.borrow();
        let own = timers.iter().filter(|timer| self.is_own(timer));
        own.map(|timer| timer.next.get()).min()
    }

    fn is_own(&self, timer: &Timer) -> bool {
        timer.each || self.state.stage.worker == 0
    }

    /// Takes a timer that is due off the list until its next time. `None` once there is no more.
    pub fn due_timer(&self, now: Tick) -> Option<Function> {
        let timers = self.state.timers.borrow();
        let due = timers.iter().find(|timer| self.is_own(timer) && timer.next.get() <= now)?;
        let next = due.next.get().after(due.seconds);
        due.next.set(if next > now { next } else { now.after(due.seconds) });
        Some(due.function.clone())
    }

    /// Runs one. The caller has armed the budget.
    ///
    /// # Errors
    ///
    /// Whatever the script does wrong.
    pub fn run_timer(&self, function: &Function) -> Result<(), Fault> {
        let returned = self.call(Place::Timer, function, ());
        self.end_hook();
        returned.map(|_| ())
    }
}

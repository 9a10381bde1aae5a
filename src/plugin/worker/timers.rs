//! What plugins do at times of their own (`gate.every`): run by whoever serves the thread, between pushes.

use super::{Slot, Worker, put_back, with_worker};
use crate::clock::Now;
use crate::plugin::budget::{self, Allowance, Used};
use crate::plugin::engine::Plugins;
use crate::plugin::fault::{Code, Fault};
use crate::plugin::shared::Tick;
use crate::plugin::stage::Stage;
use crate::plugin::stats::bump;

impl Plugins {
    /// Called by each worker several times a second: runs what is due on it.
    pub fn tick(&self) {
        if self.has_timers() {
            self.run_timers(Now::read());
        }
    }

    /// Runs what is due on this thread.
    pub fn run_timers(&self, now: Now) {
        let mut worker = self.take_worker();
        worker.run_timers(now, || self.next_id());
        put_back(worker);
    }

    /// Throws out of shared state what is over.
    pub fn sweep(&self, now: Now) {
        self.all_shared().iter().for_each(|(_, shared)| shared.stores.sweep(Tick::of(now)));
    }

    /// When the next timer of this thread is due, among those whose machines are there.
    pub fn next_timer(&self) -> Option<Tick> {
        let next = |worker: &mut Worker| {
            let machines = worker.slots.iter().filter_map(|slot| slot.vm.as_ref());
            machines.filter_map(|vm| vm.next_timer()).min()
        };
        with_worker(self.id(), next).flatten()
    }
}

impl Worker {
    fn run_timers(&mut self, now: Now, next_id: impl Fn() -> u64) {
        let tick = Tick::of(now);
        let stage = self.stage.clone();
        let mut ran = false;
        for slot in &mut self.slots {
            if !slot.planned.about.timers.run_on(stage.worker) {
                continue;
            }
            stage.now.set(now.wall);
            stage.tick.set(tick);
            slot.used = Used::default();
            if let Err(fault) = slot.make_machine(&stage) {
                // Told once a second at most, where loading is tried.
                tracing::error!(plugin = slot.planned.spec.name, %fault, "no timers: the plugin does not load");
                continue;
            }
            while let Some(function) = slot.vm.as_ref().and_then(|vm| vm.due_timer(tick)) {
                ran = true;
                stage.id.set(next_id());
                slot.run_timer(&stage, &function);
            }
        }
        if ran {
            self.end();
        }
    }
}

impl Slot {
    fn run_timer(&mut self, stage: &Stage, function: &mlua::Function) {
        let Some(vm) = &self.vm else { return };
        vm.begin();
        budget::arm(Allowance::ASIDE);
        let mut ended = vm.run_timer(function);
        let used = budget::disarm();
        if used.expired {
            ended = Err(Fault::new(Code::Budget, format!("{} steps, {:.1?}", used.steps, used.time)));
        }
        let counts = &self.planned.spec.shared.counts;
        // Not the time of a push: it counts in the sum alone.
        self.used.steps += used.steps;
        bump(&counts.nanos, u64::try_from(used.time.as_nanos()).unwrap_or(u64::MAX));
        let Err(fault) = ended else { return };
        counts.count_error(fault.code);
        let name = &self.planned.spec.name;
        if !stage.keep_record(|| format!("{name}: error: gate.every: {fault}")) {
            tracing::error!(plugin = name, %fault, "a timer of a plugin failed");
        }
        match fault.code {
            Code::Memory => self.memory_error = true,
            // What a caught panic left behind is not worth keeping.
            Code::Internal => self.vm = None,
            _ => {}
        }
    }
}

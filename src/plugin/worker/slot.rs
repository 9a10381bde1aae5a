//! One plugin on one worker: its machine, made when first needed, and what its runs may cost.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::model::GroupingKey;
use crate::plugin::breaker::{Breaker, REST};
use crate::plugin::budget::{self, Allowance, Used};
use crate::plugin::cache::SeriesCache;
use crate::plugin::fault::{Code, Fault};
use crate::plugin::generation::{Generation, Planned};
use crate::plugin::spec::Body;
use crate::plugin::stage::Stage;
use crate::plugin::stats::{Run, bump};
use crate::plugin::trace::traced;
use crate::plugin::transform::{self, Ended};
use crate::plugin::vm::{Verdict, Vm};

/// Pause before a machine that failed to load is tried again.
const LOAD_RETRY: Duration = Duration::from_secs(1);

/// One plugin on this worker.
pub struct Slot {
    pub planned: Planned,
    pub vm: Option<Vm>,
    pub(super) failed_load: Option<(Fault, Instant)>,
    pub(super) breaker: Breaker,
    pub(super) cache: SeriesCache,
    /// Whether it takes part in the push on stage.
    pub active: bool,
    pub used: Used,
    /// The grouping key before its `on_request`, if that changed it.
    pub(super) undo_group: Option<GroupingKey>,
    /// The same after it.
    pub(super) group_after: Option<GroupingKey>,
    pub(super) memory_error: bool,
}

impl Slot {
    pub(super) fn new(planned: Planned) -> Slot {
        Slot {
            planned,
            vm: None,
            failed_load: None,
            breaker: Breaker::default(),
            cache: SeriesCache::new(0),
            active: false,
            used: Used::default(),
            undo_group: None,
            group_after: None,
            memory_error: false,
        }
    }

    /// Runs a phase under what is left of the push's budget, unless the breaker is open.
    pub(super) fn guarded(
        &mut self,
        stage: &Rc<Stage>,
        generation: &Generation,
        run: &mut impl FnMut(&mut Slot, &Rc<Stage>) -> Ended,
    ) -> Ended {
        let is_lua = matches!(*self.planned.spec.body, Body::Lua(_));
        let job = if is_lua { self.may_run(stage)? } else { String::new() };
        let (steps, samples) = {
            let mut draft = stage.draft.borrow_mut();
            draft.begin_plugin();
            (self.used.steps, draft.received())
        };
        // In tests and checks the clock stands still; steps count.
        let time_max = if stage.dry.get() { Allowance::CHECK.time } else { generation.time_max };
        let mut whole = Allowance::for_push(&self.planned.spec.budget, samples, time_max);
        if stage.dry.get() {
            whole.time = time_max;
        }
        let rest = Allowance {
            steps: whole.steps.saturating_sub(steps),
            time: whole.time.saturating_sub(self.used.time),
        };
        budget::arm(rest);
        let mut ended = run(self, stage);
        let used = budget::disarm();
        if let Some(vm) = &self.vm {
            vm.end_hook();
        }
        self.used.steps += used.steps;
        self.used.time += used.time;
        let counts = &self.planned.spec.shared.counts;
        if used.half {
            bump(&counts.half_budget, 1);
        }
        if used.expired {
            let text = if self.used.steps >= whole.steps {
                format!("used up its step budget ({} of {} steps)", self.used.steps, whole.steps)
            } else {
                let (used, whole) = (ms(self.used.time), ms(whole.time));
                format!("used up its time budget ({used:.1} ms of {whole:.1} ms)")
            };
            ended = Err(Fault::new(Code::Budget, text));
        }
        if !is_lua {
            return ended;
        }
        self.judge(stage, &job, ended.as_ref().err());
        ended
    }

    /// Tells the breaker how a run for `job` ended, and drops a machine that cannot be trusted.
    pub(super) fn judge(&mut self, stage: &Stage, job: &str, fault: Option<&Fault>) {
        let counts = &self.planned.spec.shared.counts;
        match fault {
            Some(fault) if matches!(fault.code, Code::Budget | Code::Memory) => {
                self.memory_error = fault.code == Code::Memory;
                let now = Instant::now();
                if self.breaker.failed(job, now) {
                    counts.set_open(stage.worker, Some(now + REST));
                }
            }
            Some(fault) if fault.code == Code::Internal => {
                // What a caught panic left behind is not worth keeping.
                self.vm = None;
            }
            _ => {
                let now = Instant::now;
                if self.breaker.went_well(job) && self.breaker.open(now()) == 0 {
                    counts.set_open(stage.worker, None);
                }
            }
        }
    }

    /// Checks the breaker and makes the machine; gives the job.
    pub fn may_run(&mut self, stage: &Rc<Stage>) -> Result<String, Fault> {
        let job = stage.received.borrow().job().to_owned();
        let now = Instant::now();
        if !self.breaker.allows(&job, now) {
            return Err(Fault::new(Code::Limit, BREAKER_OPEN));
        }
        self.make_machine(stage)?;
        Ok(job)
    }

    /// Makes the machine if there is none.
    pub(super) fn make_machine(&mut self, stage: &Rc<Stage>) -> Result<(), Fault> {
        if self.vm.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        if let Some((fault, at)) = &self.failed_load
            && now.saturating_duration_since(*at) < LOAD_RETRY
        {
            return Err(fault.clone());
        }
        let allowance = if stage.dry.get() { Allowance::CHECK } else { Allowance::LOAD };
        match Vm::load(&self.planned.spec, stage, allowance) {
            Ok(vm) => {
                vm.note_memory();
                (self.vm, self.failed_load) = (Some(vm), None);
                Ok(())
            }
            Err(fault) => {
                self.failed_load = Some((fault.clone(), now));
                Err(fault)
            }
        }
    }

    pub(super) fn request(&mut self, stage: &Rc<Stage>) -> Ended {
        match (&*self.planned.spec.body, &self.vm) {
            (Body::Rules { group: Some(group), .. }, _) => {
                bump(&self.planned.spec.shared.counts.calls[Run::GroupRelabel as usize], 1);
                let relabel = || stage.draft.borrow_mut().relabel_group(group);
                let name = &self.planned.spec.name;
                let kept = traced(stage, name, "group_relabel", None, relabel, |_| None)?;
                Ok((!kept).then(|| Verdict::Discard("dropped by a rule".into())))
            }
            (_, Some(vm)) => transform::request(vm, stage),
            _ => Ok(None),
        }
    }

    pub(super) fn transform(&mut self, stage: &Rc<Stage>) -> Ended {
        match (&*self.planned.spec.body, &self.vm) {
            (Body::Rules { rules: Some(rules), only, .. }, _) => {
                bump(&self.planned.spec.shared.counts.calls[Run::Relabel as usize], 1);
                let relabel = || stage.draft.borrow_mut().relabel(rules, only.as_ref());
                let counts = traced(stage, &self.planned.spec.name, "relabel", None, relabel, |_| None)?;
                bump(&self.planned.spec.shared.counts.splits, counts.splits as u64);
                bump(&self.planned.spec.shared.counts.group_label_resets, counts.resets as u64);
                Ok(None)
            }
            (_, Some(vm)) => transform::transform(vm, &self.planned.spec, stage, &mut self.cache),
            _ => Ok(None),
        }
    }
}

/// The text of the fault that an open breaker makes.
pub const BREAKER_OPEN: &str = "the plugin rests after it broke its budget repeatedly";

/// Seconds that a refused client should wait for the breaker.
pub const BREAKER_SECONDS: u64 = REST.as_secs();

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

//! Phase X: plugins are asked before a group ends.

use std::time::Duration;

use super::{Slot, Worker, put_back};
use crate::clock::{Now, UnixNanos};
use crate::model::Lifetime;
use crate::plugin::budget::{self, Allowance};
use crate::plugin::door::{Dying, LastWord};
use crate::plugin::engine::Plugins;
use crate::plugin::fault::{Code, Fault};
use crate::plugin::stage::Stage;

use crate::plugin::transform;

/// What scripts may ask about a dying group besides its labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct About {
    pub series: usize,
    pub last_push: UnixNanos,
    pub lifetime: Lifetime,
}

impl Plugins {
    /// Whether any of them wants to be asked at the end of groups.
    pub fn ask_at_the_end(&self) -> bool {
        self.generation().plugins.iter().any(|planned| planned.about.hooks.contains(&"on_expire"))
    }

    /// Asks the plugins of the calling thread about a group that is about to end.
    pub fn expire(&self, dying: &Dying<'_>, now: Now) -> LastWord {
        let mut worker = self.take_worker_aside();
        worker.stage.id.set(self.next_id());
        let word = worker.expire(dying, now);
        put_back(worker);
        word
    }
}

impl Worker {
    fn expire(&mut self, dying: &Dying<'_>, now: Now) -> LastWord {
        self.begin(dying.key, Default::default(), now);
        let Dying { series, last_push, lifetime, .. } = *dying;
        self.stage.dying.set(About { series, last_push, lifetime });
        let mut word = LastWord::default();
        for slot in &mut self.slots {
            if !slot.active || !slot.planned.about.hooks.contains(&"on_expire") {
                continue;
            }
            match slot.expire(&self.stage) {
                Ok(None) => {}
                // What runs in shadow keeps nothing alive.
                Ok(Some(_)) if slot.is_shadow() => {}
                // No plugin can make a group live for ever, so the longest is the greatest.
                Ok(Some(more)) => {
                    let longest = word.extended.map_or(0, Lifetime::millis).max(more.millis());
                    word.extended = Lifetime::from_millis(longest);
                }
                Err(fault) => {
                    word.failed |= !slot.is_shadow();
                    let spec = &slot.planned.spec;
                    spec.shared.counts.count_error(fault.code);
                    spec.shared.recent.failed(self.stage.incident(fault.code.name(), fault.text.clone()));
                    tracing::error!(plugin = spec.name, %fault, "on_expire failed");
                }
            }
        }
        self.end();
        word
    }
}

impl Slot {
    fn expire(&mut self, stage: &std::rc::Rc<Stage>) -> Result<Option<Lifetime>, Fault> {
        let job = self.may_run(stage)?;
        let Some(vm) = &self.vm else { return Ok(None) };
        budget::arm(Allowance::ASIDE);
        let mut ended = transform::expire(vm, stage);
        self.used = budget::disarm();
        vm.end_hook();
        let counts = &self.planned.spec.shared.counts;
        counts.count_time(self.used.time);
        if self.used.expired {
            let spent: Duration = self.used.time;
            ended = Err(Fault::new(Code::Budget, format!("{} steps, {spent:.1?}", self.used.steps)));
        }
        self.judge(stage, &job, ended.as_ref().err());
        ended
    }
}

//! One worker's copy of the plugins: a machine for each, made when first needed, dropped whole.
//!
//! A push runs from beginning to end on the generation it began with; the next push looks whether a
//! newer one was published.

mod expire;
mod passage;
mod slot;
mod timers;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::budget::{Allowance, Used};
use super::cache::SeriesCache;
use super::door::{Cut, Load, Push, Read, StoreFacts};
use super::draft::Snapshot;
use super::engine::Plugins;
use super::generation::Generation;
use super::results::Due;
use super::settings::OnError;
use super::shared::Tick;
use super::spec::Body;
use super::stage::Stage;
use super::stats::bump;
use super::transform::{self, Ended};
use super::verdicts::{Outcome, Passed, reason_of, refused_by_fault, refused_by_plugin};
use super::vm::{Health, Verdict, one_line};
use crate::clock::Now;
use crate::model::{Families, GroupingKey, Lifetime, Reason, Refusal, RequestFacts};

use passage::Memory;

pub(super) use expire::About;
pub(super) use slot::{BREAKER_OPEN, BREAKER_SECONDS, Slot};

pub(super) struct Worker {
    pub engine: u64,
    pub generation: Arc<Generation>,
    pub stage: Rc<Stage>,
    pub slots: Vec<Slot>,
    snapshot: Snapshot,
    spare: Families<'static>,
    /// Pushes that plugins have not been told the result of.
    pub due: Vec<Due>,
    /// Whether somebody knows that results are due.
    pub due_is_known: bool,
}

thread_local! {
    /// The plugins of the engines that ran on this thread: one, but in tests.
    static WORKERS: RefCell<Vec<Worker>> = const { RefCell::new(Vec::new()) };
}

/// Engines that a thread remembers.
const ENGINES_MAX: usize = 4;

impl Plugins {
    /// Runs a push through all plugins, between `parse` and `store`.
    ///
    /// # Errors
    ///
    /// A plugin refuses the push, or `parse` or `store` does. Nothing is stored then.
    pub fn push<P, G, S, F>(&self, push: Push<'_, P, G, S, F>) -> Result<Passed, Refusal>
    where
        P: FnOnce(&GroupingKey, bool, Load<'_>) -> Result<(), Refusal>,
        G: Fn(&GroupingKey, &Families<'_>) -> StoreFacts,
        S: FnOnce(&GroupingKey, &Families<'_>, Cut<'_>, Option<Lifetime>) -> Result<(), Refusal>,
        F: FnOnce(&GroupingKey),
    {
        let mut worker = self.take_worker();
        worker.stage.id.set(self.next_id());
        let outcome = worker.push(push);
        put_back(worker);
        outcome
    }

    /// Runs the hooks of a delete, which `delete` then does under the key they left.
    ///
    /// # Errors
    ///
    /// A plugin refuses it, or `delete` does.
    pub fn delete(
        &self,
        key: &GroupingKey,
        facts: RequestFacts,
        now: Now,
        delete: impl FnOnce(&GroupingKey) -> Result<(), Refusal>,
    ) -> Result<Passed, Refusal> {
        let mut worker = self.take_worker();
        worker.stage.id.set(self.next_id());
        let outcome = worker.delete(key, facts, now, delete);
        put_back(worker);
        outcome
    }

    /// The number under which the outcome of a push to `key` may be remembered with the shape of its
    /// body: that of the generation, where all plugins that the push meets are rules and `on_series`.
    /// The next push of that shape need not come here while the number is the same. `None` also until
    /// this thread has switched to the newest generation.
    pub fn chain(&self, key: &GroupingKey) -> Option<u64> {
        // Who tries plugins out wants to see them run.
        if self.on_trial() {
            return None;
        }
        WORKERS.with_borrow(|workers| {
            let mine = workers.iter().find(|worker| worker.engine == self.id())?;
            if mine.generation.number == self.number() { mine.chain(key) } else { None }
        })
    }

    /// Whether a plugin reads the request header `name` (in lower case).
    pub fn wants_header(&self, name: &str) -> bool {
        let worker = self.take_worker();
        let wanted = worker.generation.wants_header(name);
        put_back(worker);
        wanted
    }

    /// Drops what this thread keeps of these plugins, which are of no more use to it.
    pub fn leave_thread(&self) {
        drop(self.take_worker());
    }

    /// This thread's worker, on the newest generation.
    pub(super) fn take_worker(&self) -> Worker {
        self.take_worker_by(|| self.next_worker())
    }

    /// The same on a thread that serves nobody: it has no number among the workers.
    pub(super) fn take_worker_aside(&self) -> Worker {
        self.take_worker_by(|| 0)
    }

    fn take_worker_by(&self, number: impl FnOnce() -> usize) -> Worker {
        let found = WORKERS.with_borrow_mut(|workers| {
            let at = workers.iter().position(|worker| worker.engine == self.id())?;
            Some(workers.swap_remove(at))
        });
        let mut worker = found.unwrap_or_else(|| {
            let index = number();
            let names = self.options().names;
            Worker {
                engine: self.id(),
                generation: Arc::new(Generation::empty(names)),
                stage: Rc::new(Stage::new(names, index, self.options().workers)),
                slots: Vec::new(),
                snapshot: Snapshot::default(),
                spare: Families::default(),
                due: Vec::new(),
                due_is_known: false,
            }
        });
        if self.on_trial() && !worker.stage.dry.replace(true) {
            *worker.stage.log.borrow_mut() = Some(Vec::new());
        }
        if worker.generation.number != self.number() {
            worker.switch_to(self.generation());
        }
        worker
    }
}

/// Looks at the worker of an engine on this thread, if there is one.
pub(super) fn with_worker<T>(engine: u64, look: impl FnOnce(&mut Worker) -> T) -> Option<T> {
    WORKERS.with_borrow_mut(|workers| workers.iter_mut().find(|worker| worker.engine == engine).map(look))
}

/// A worker that is not put back, as after a panic, is made anew.
pub(super) fn put_back(worker: Worker) {
    WORKERS.with_borrow_mut(|workers| {
        if workers.len() >= ENGINES_MAX {
            workers.remove(0);
        }
        workers.push(worker);
    });
}

impl Worker {
    fn switch_to(&mut self, generation: Arc<Generation>) {
        // Each push ends with the plugins that it began with.
        self.tell_all_results();
        let mut old: Vec<Slot> = std::mem::take(&mut self.slots);
        for planned in &generation.plugins {
            let same = old.iter().position(|slot| Arc::ptr_eq(&slot.planned.spec, &planned.spec));
            let mut slot = match same {
                Some(at) => old.swap_remove(at),
                None => Slot::new(planned.clone()),
            };
            slot.cache = SeriesCache::new(generation.series_cache);
            self.slots.push(slot);
        }
        for slot in &old {
            if let Some(vm) = &slot.vm {
                vm.shut_down("reload", Allowance::ASIDE);
            }
        }
        self.generation = generation;
    }

    /// See [`Plugins::chain`].
    fn chain(&self, key: &GroupingKey) -> Option<u64> {
        let sits_out = |slot: &Slot| match &slot.planned.about.selector {
            Some(selector) => !selector.matches(key),
            None => false,
        };
        // What runs in shadow is to see every push.
        let is_pure = |slot: &Slot| slot.planned.about.pure && !slot.is_shadow();
        let is_pure = self.slots.iter().all(|slot| is_pure(slot) || sits_out(slot));
        is_pure.then_some(self.generation.number)
    }

    fn begin(&mut self, key: &GroupingKey, facts: RequestFacts, now: Now) {
        let stage = &self.stage;
        stage.draft.borrow_mut().clear(self.generation.names, key);
        *stage.request.borrow_mut() = facts;
        *stage.received.borrow_mut() = key.clone();
        stage.store.set(None);
        stage.now.set(now.wall);
        stage.tick.set(Tick::of(now));
        stage.ttl.set(None);
        let draft = stage.draft.borrow();
        for slot in &mut self.slots {
            let selector = slot.planned.about.selector.as_ref();
            slot.active = selector.is_none_or(|selector| selector.matches(&draft.group_view()));
            slot.used = Used::default();
            (slot.undo_group, slot.group_after) = (None, None);
            if let Some(vm) = &slot.vm {
                vm.begin();
            }
        }
    }

    fn push<P, G, S, F>(&mut self, push: Push<'_, P, G, S, F>) -> Result<Passed, Refusal>
    where
        P: FnOnce(&GroupingKey, bool, Load<'_>) -> Result<(), Refusal>,
        G: Fn(&GroupingKey, &Families<'_>) -> StoreFacts,
        S: FnOnce(&GroupingKey, &Families<'_>, Cut<'_>, Option<Lifetime>) -> Result<(), Refusal>,
        F: FnOnce(&GroupingKey),
    {
        let chain = self.chain(push.key);
        self.begin(push.key, push.facts, push.now);
        let mut passed = Passed::default();
        let mut outcome = self.phase_request(&mut passed);
        if outcome.is_none() {
            let key = self.stage.draft.borrow().grouping_key_or(push.key);
            let body = push.body;
            let (stage, around) = (&self.stage, &push.around);
            let asks = self.slots.iter().any(|slot| slot.active && slot.planned.about.facts);
            let mut load = |read: Read<'_, '_>| {
                passage::load(&mut stage.draft.borrow_mut(), body, &read, chain.is_some());
                if asks {
                    let draft = stage.draft.borrow();
                    stage.store.set(Some(match (stage.lent.get(), read) {
                        (Some(lent), _) => lent,
                        (_, Read::Parsed { families, .. }) => around(&key, families),
                        (_, Read::Known { .. }) => around(&key, &draft.families_into(Families::default())),
                    }));
                }
            };
            let lenient = self
                .slots
                .iter()
                .any(|slot| slot.active && slot.planned.about.lenient_names && !slot.is_shadow());
            if let Err(refusal) = (push.parse)(&key, lenient, &mut load) {
                outcome = Some(Outcome::Refused(refusal));
            }
        }
        outcome = outcome
            .or_else(|| self.phase_transform(&mut passed))
            .or_else(|| {
                let line = self.stage.draft.borrow().first_illegal_line()?;
                Some(Outcome::Refused((push.refuse_line)(line)))
            })
            .or_else(|| self.phase_commit(&mut passed));
        let result = match outcome {
            Some(Outcome::Refused(refusal)) => {
                if matches!(refusal.reason, Reason::Plugin { mark_failed: true, .. }) {
                    (push.mark_failed)(&self.stage.draft.borrow().grouping_key());
                }
                Err(refusal)
            }
            Some(Outcome::Discarded) => Ok(()),
            None => {
                let key = self.stage.draft.borrow().grouping_key_or(push.key);
                // What another key led here, or was skipped, says nothing of the next push.
                let memory = match chain {
                    None => Memory::Image,
                    Some(chain) if *key == *push.key && passed.skipped.is_empty() => Memory::Outcome(chain),
                    Some(_) => Memory::Nothing,
                };
                let stored = self.store(&key, memory, push.body, push.store_again, push.store);
                passed.stored = stored.is_ok();
                stored
            }
        };
        passed.open_result = self.note_result(result.as_ref().err(), passed.stored);
        self.end();
        result.map(|()| passed)
    }

    fn delete(
        &mut self,
        key: &GroupingKey,
        facts: RequestFacts,
        now: Now,
        delete: impl FnOnce(&GroupingKey) -> Result<(), Refusal>,
    ) -> Result<Passed, Refusal> {
        self.begin(key, facts, now);
        let mut passed = Passed::default();
        let result = match self.phase_request(&mut passed) {
            Some(Outcome::Refused(refusal)) => Err(refusal),
            Some(Outcome::Discarded) => Ok(()),
            None => {
                let key = self.stage.draft.borrow().grouping_key();
                let deleted = delete(&key);
                passed.stored = deleted.is_ok();
                deleted
            }
        };
        passed.open_result = self.note_result(result.as_ref().err(), passed.stored);
        self.end();
        result.map(|()| passed)
    }

    /// Runs one phase of every active plugin, in order, until one ends the chain.
    fn phase(
        &mut self,
        passed: &mut Passed,
        takes_part: impl Fn(&Slot) -> bool,
        mut run: impl FnMut(&mut Slot, &Rc<Stage>) -> Ended,
    ) -> Option<Outcome> {
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            if !slot.active || !takes_part(slot) {
                continue;
            }
            let shadow = slot.is_shadow();
            let pass = slot.planned.about.on_error == OnError::Pass;
            if pass || shadow {
                self.stage.draft.borrow().save(&mut self.snapshot);
            }
            let dropped = self.stage.draft.borrow().dropped();
            let ttl = self.stage.ttl.get();
            let mark = shadow.then(|| self.stage.draft.borrow().mark_all());
            let ended = slot.guarded(&self.stage, &self.generation, &mut run);
            if let Some(mark) = mark {
                let changes = self.stage.draft.borrow().changes_since(&mark);
                let ttl_changed = self.stage.ttl.replace(ttl) != ttl;
                slot.note_shadow(&self.stage, ended, &changes, ttl_changed);
                (slot.undo_group, slot.group_after) = (None, None);
                self.stage.draft.borrow_mut().restore(&self.snapshot);
                continue;
            }
            let counts = &slot.planned.spec.shared.counts;
            match ended {
                Ok(None) | Ok(Some(Verdict::Keep | Verdict::Drop)) => {
                    let now_dropped = self.stage.draft.borrow().dropped();
                    bump(&counts.series_dropped, now_dropped.saturating_sub(dropped) as u64);
                }
                Ok(Some(Verdict::Reject(reject))) => {
                    counts.count_reject(&reject.code);
                    let id = self.stage.id_text();
                    return Some(Outcome::Refused(refused_by_plugin(&slot.planned.spec.name, reject, &id)));
                }
                Ok(Some(Verdict::Discard(_))) => {
                    bump(&counts.discards, 1);
                    return Some(Outcome::Discarded);
                }
                Err(fault) => {
                    counts.count_error(fault.code);
                    let (name, id) = (&slot.planned.spec.name, self.stage.id_text());
                    let text = one_line(&fault.text, 2048);
                    if !self.stage.keep_record(|| format!("{name}: error: {}: {text}", fault.code.name())) {
                        tracing::error!(plugin = name, id, code = fault.code.name(), "{text}");
                    }
                    slot.planned.spec.shared.recent.failed(self.stage.incident(fault.code.name(), text));
                    if !pass {
                        return Some(Outcome::Refused(refused_by_fault(name, &fault, &id)));
                    }
                    counts.count_skip(reason_of(&fault));
                    let mut draft = self.stage.draft.borrow_mut();
                    draft.restore(&self.snapshot);
                    self.stage.ttl.set(ttl);
                    if let Some((before, after)) = slot.undo_group.take().zip(slot.group_after.take()) {
                        draft.undo_group(&before, &after);
                    }
                    slot.active = false;
                    passed.skipped.push(name.clone());
                }
            }
        }
        None
    }

    fn phase_request(&mut self, passed: &mut Passed) -> Option<Outcome> {
        let takes_part = |slot: &Slot| match &*slot.planned.spec.body {
            Body::Rules { group, .. } => group.is_some(),
            Body::Lua(_) => slot.planned.about.hooks.contains(&"on_request"),
        };
        self.phase(passed, takes_part, |slot, stage| {
            let received = stage.received.borrow();
            let before = stage.draft.borrow().grouping_key_or(&received);
            let ended = slot.request(stage);
            let after = stage.draft.borrow().grouping_key_or(&received);
            if before != after {
                (slot.undo_group, slot.group_after) = (Some(before.into_owned()), Some(after.into_owned()));
            }
            ended
        })
    }

    fn phase_transform(&mut self, passed: &mut Passed) -> Option<Outcome> {
        const HOOKS: [&str; 5] = ["relabel", "on_push", "on_family", "on_series", "on_sample"];
        let takes_part = |slot: &Slot| slot.planned.about.hooks.iter().any(|hook| HOOKS.contains(hook));
        self.phase(passed, takes_part, |slot, stage| slot.transform(stage))
    }

    fn phase_commit(&mut self, passed: &mut Passed) -> Option<Outcome> {
        let takes_part = |slot: &Slot| slot.planned.about.hooks.contains(&"on_commit");
        self.phase(passed, takes_part, |slot, stage| match &slot.vm {
            Some(vm) => transform::commit(vm, stage),
            None => Ok(None),
        })
    }

    /// Collects garbage and replaces machines that are beyond it.
    fn end(&mut self) {
        for slot in &mut self.slots {
            let faulted = std::mem::take(&mut slot.memory_error);
            let counts = &slot.planned.spec.shared.counts;
            if !slot.used.time.is_zero() {
                counts.count_time(slot.used.time);
            }
            for (counted, counter) in [
                (std::mem::take(&mut slot.cache.hits), &counts.cache_hits),
                (std::mem::take(&mut slot.cache.misses), &counts.cache_misses),
            ] {
                if counted > 0 {
                    bump(counter, counted);
                }
            }
            let Some(vm) = &slot.vm else { continue };
            if slot.used.steps == 0 && !faulted {
                continue;
            }
            vm.count_calls();
            if vm.tidy(faulted) == Health::Bloated {
                vm.shut_down("rebuild", Allowance::ASIDE);
                bump(&counts.rebuilds, 1);
                slot.vm = None;
            } else {
                vm.note_memory();
            }
        }
    }
}

//! `on_result`: what plugins are told about a push, once its pusher has the answer.
//!
//! A push only notes what there is to tell; whoever serves the thread asks whether something is due and
//! has it told when the answer is on its way. What a push ended with is kept whole until then, since the
//! stage belongs to the next one. Where the disk has the last word, a result stays open until it has spoken.

use std::time::{Duration, Instant};

use super::budget::{self, Allowance};
use super::door::StoreFacts;
use super::engine::Plugins;
use super::insight::TraceRow;
use super::shared::Tick;
use super::trace::Row;
use super::transform;
use super::vm::{Context, ResultField};
use super::worker::{Worker, put_back, with_worker};
use crate::clock::UnixNanos;
use crate::model::{GroupingKey, Lifetime, Refusal, RequestFacts};

/// Results that wait on one thread; with more of them, those that are not open are told before the push is
/// answered. Open ones are no more than pushes that wait for the disk.
const DUE_MAX: usize = 256;

/// Time that all plugins of a thread have when it ends.
const EXIT_TIME: Duration = Duration::from_millis(100);

/// A push that is over.
pub(super) struct Due {
    request: RequestFacts,
    received: GroupingKey,
    group: GroupingKey,
    now: UnixNanos,
    tick: Tick,
    id: u64,
    ttl: Option<Lifetime>,
    refusal: Option<Refusal>,
    /// Whether the disk may still refuse it.
    is_open: bool,
    stored: bool,
    n_series: f64,
    dropped: f64,
    time: Duration,
    /// Position of each plugin that wants to know, and its `ctx`.
    listeners: Vec<(usize, Context)>,
}

/// What became of a push, for tests and `plugin run`.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The grouping key as the plugins left it.
    pub key: GroupingKey,
    /// Samples that plugins removed.
    pub dropped: usize,
    /// Steps of all plugins.
    pub steps: u64,
    /// Seconds that a plugin gave the group to live; zero: for ever.
    pub ttl: Option<f64>,
}

impl Plugins {
    /// Whether results wait to be [told](Plugins::tell_results) on this thread. True once only until they
    /// are.
    pub fn results_are_due(&self) -> bool {
        let ask = |worker: &mut Worker| {
            let is_due = worker.due.iter().any(|due| !due.is_open);
            is_due && !std::mem::replace(&mut worker.due_is_known, true)
        };
        with_worker(self.id(), ask).unwrap_or(false)
    }

    /// Closes the open result of a push on this thread: the disk has it, or the push is refused after all.
    pub fn close_result(&self, number: u64, refusal: Option<&Refusal>) {
        with_worker(self.id(), |worker| {
            if let Some(due) = worker.due.iter_mut().find(|due| due.id == number) {
                due.is_open = false;
                due.refusal = refusal.cloned();
            }
        });
    }

    /// Runs `on_result` for every push of this thread that is over.
    pub fn tell_results(&self) {
        let mut worker = self.take_worker();
        worker.tell_results();
        put_back(worker);
    }

    /// Ends the plugins of this thread, which serves no more.
    pub fn end_thread(&self) {
        let mut worker = self.take_worker();
        worker.tell_all_results();
        let begun = Instant::now();
        for vm in worker.slots.iter().filter_map(|slot| slot.vm.as_ref()) {
            let rest = EXIT_TIME.saturating_sub(begun.elapsed()).min(Allowance::ASIDE.time);
            vm.shut_down("exit", Allowance { time: rest, ..Allowance::ASIDE });
        }
    }

    /// What became of the last push on this thread, before its result is told.
    pub fn trace(&self) -> Option<Trace> {
        with_worker(self.id(), |worker| {
            let draft = worker.stage.draft.borrow();
            Trace {
                key: draft.grouping_key(),
                dropped: draft.dropped(),
                steps: worker.slots.iter().map(|slot| slot.used.steps).sum(),
                ttl: worker.stage.ttl.get().map(|ttl| ttl.millis() as f64 / 1000.0),
            }
        })
    }

    /// Notes from here on what each hook on this thread does, until [`end_trace`](Plugins::end_trace).
    pub fn begin_trace(&self) {
        let worker = self.take_worker();
        *worker.stage.trace.borrow_mut() = Some(Vec::new());
        put_back(worker);
    }

    /// What each hook did.
    pub fn end_trace(&self) -> Vec<TraceRow> {
        let rows = with_worker(self.id(), |worker| worker.stage.trace.take()).flatten();
        rows.unwrap_or_default().into_iter().map(Row::view).collect()
    }

    /// The group of the last push on this thread, and the seconds that plugins gave it to live.
    pub fn outcome(&self) -> Option<(GroupingKey, Option<f64>)> {
        self.trace().map(|trace| (trace.key, trace.ttl))
    }

    /// The records that plugins on trial have written on this thread.
    pub fn take_log(&self) -> Vec<String> {
        let take = |worker: &mut Worker| worker.stage.log.borrow_mut().as_mut().map(std::mem::take);
        with_worker(self.id(), take).flatten().unwrap_or_default()
    }

    /// Tells plugins on this thread, from here on, that this is stored; `None`: what is.
    pub fn lend_facts(&self, facts: Option<StoreFacts>) {
        let worker = self.take_worker();
        worker.stage.lent.set(facts);
        put_back(worker);
    }

    /// Drops the machines of this thread and what they share, not what it remembers of series.
    pub fn forget_machines(&self) {
        self.tell_results();
        self.all_shared().iter().for_each(|(_, shared)| shared.stores.empty());
        with_worker(self.id(), |worker| worker.slots.iter_mut().for_each(|slot| slot.vm = None));
    }
}

impl Worker {
    /// Keeps what there is to tell about the push on stage; its number if that stays open.
    pub fn note_result(&mut self, refusal: Option<&Refusal>, stored: bool) -> Option<u64> {
        for slot in &mut self.slots {
            // A plugin with no other hook has had no machine made yet.
            if slot.active && slot.vm.is_none() && slot.planned.about.hooks.contains(&"on_result") {
                // One that cannot be made is tried again, and its fault was logged when it was loaded.
                let _ = slot.may_run(&self.stage);
            }
        }
        let wants = |slot: &super::worker::Slot| {
            let vm = slot.vm.as_ref().filter(|vm| slot.active && !vm.manifest.on_result.is_empty());
            vm.map(|vm| vm.take_context())
        };
        let listeners: Vec<_> =
            self.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, wants(slot)?))).collect();
        if listeners.is_empty() {
            return None;
        }
        let (id, is_open) =
            (self.stage.id.get(), refusal.is_none() && self.stage.request.borrow().is_durable);
        let draft = self.stage.draft.borrow();
        let due = Due {
            request: self.stage.request.take(),
            received: self.stage.received.borrow().clone(),
            group: draft.grouping_key(),
            now: self.stage.now.get(),
            tick: self.stage.tick.get(),
            id,
            ttl: self.stage.ttl.get(),
            refusal: refusal.cloned(),
            is_open,
            stored,
            n_series: draft.n_series() as f64,
            dropped: draft.dropped() as f64,
            time: self.slots.iter().map(|slot| slot.used.time).sum(),
            listeners,
        };
        drop(draft);
        self.due.push(due);
        if self.due.len() >= DUE_MAX {
            self.tell_results();
        }
        is_open.then_some(id)
    }

    /// Tells what is due, and what is open as if the disk had it.
    pub fn tell_all_results(&mut self) {
        self.due.iter_mut().for_each(|due| due.is_open = false);
        self.tell_results();
    }

    /// Tells what is due. Faults of plugins change nothing any more.
    pub fn tell_results(&mut self) {
        self.due_is_known = false;
        let (open, closed): (Vec<Due>, Vec<Due>) =
            std::mem::take(&mut self.due).into_iter().partition(|due| due.is_open);
        self.due = open;
        for due in closed {
            self.stage.draft.borrow_mut().clear(self.generation.names, &due.group);
            self.stage.now.set(due.now);
            self.stage.tick.set(due.tick);
            self.stage.id.set(due.id);
            self.stage.ttl.set(due.ttl);
            let fields = fields(&due);
            *self.stage.request.borrow_mut() = due.request.clone();
            *self.stage.received.borrow_mut() = due.received.clone();
            for (at, context) in &due.listeners {
                let Some(slot) = self.slots.get(*at) else { continue };
                // A machine that was replaced meanwhile knows nothing of this push.
                let Some(vm) = slot.vm.as_ref().filter(|vm| vm.restore_context(context)) else { continue };
                budget::arm(Allowance::ASIDE);
                let told = transform::result(vm, &fields);
                budget::disarm();
                vm.end_hook();
                if let Err(fault) = told {
                    slot.planned.spec.shared.counts.count_error(fault.code);
                    let name = &slot.planned.spec.name;
                    if !self.stage.keep_record(|| format!("{name}: error: on_result: {fault}")) {
                        tracing::error!(plugin = name, %fault, "on_result failed");
                    }
                }
            }
        }
    }
}

fn fields(due: &Due) -> Vec<(&'static str, ResultField<'_>)> {
    let status = due.refusal.as_ref().map_or(due.request.accepted, |refusal| refusal.reason.status());
    let mut fields = vec![
        ("status", ResultField::Number(f64::from(status))),
        ("stored", ResultField::Bool(due.stored)),
        ("n_series", ResultField::Number(due.n_series)),
        ("dropped", ResultField::Number(due.dropped)),
        ("time", ResultField::Number(due.time.as_secs_f64())),
    ];
    if let Some(refusal) = &due.refusal {
        let about = About::of(refusal);
        fields.push(("reason", ResultField::Text(about.reason)));
        fields.extend(about.plugin.map(|plugin| ("plugin", ResultField::Text(plugin))));
        fields.extend(about.code.map(|code| ("code", ResultField::Text(code))));
    }
    fields
}

/// A refusal as plugins and tests see it.
pub struct About<'r> {
    /// Who refused, if it was a plugin.
    pub plugin: Option<&'r str>,
    pub code: Option<&'r str>,
    /// What `gate.reject` was given, or the whole text where nobody was deliberate.
    pub reason: &'r str,
}

impl<'r> About<'r> {
    pub fn of(refusal: &'r Refusal) -> About<'r> {
        let header = |name: &str| {
            refusal.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
        };
        let plugin = header("X-Push-Plugin");
        let lead = plugin.map(|plugin| format!("push rejected by plugin {plugin}: "));
        let reason = lead.and_then(|lead| refusal.text.strip_prefix(&lead)).unwrap_or(&refusal.text);
        About { plugin, code: header("X-Push-Code"), reason }
    }
}

//! One plugin's hooks over the push on stage.

use super::cache::SeriesCache;
use super::draft::LookWriter;
use super::fault::{Code, Fault};
use super::selector::Selector;
use super::spec::Spec;
use super::stage::Stage;
use super::stats::{Run, bump};
use super::trace::{Scope, traced};
use super::vm::{Hook, Place, ResultField, Verdict, Vm, verdict};
use crate::model::Lifetime;

/// A verdict that ends the chain, if one was given.
pub type Ended = Result<Option<Verdict>, Fault>;

/// Reject and discard end everything; a drop is for the caller; keep goes on.
fn ends(verdict: Verdict, may_drop: bool, may_discard: bool) -> Result<Option<Verdict>, Fault> {
    match verdict {
        Verdict::Keep => Ok(None),
        Verdict::Drop if may_drop => Ok(Some(Verdict::Drop)),
        Verdict::Discard(_) if !may_discard => Err(Fault::new(Code::Return, "this hook cannot discard")),
        Verdict::Drop => Err(Fault::new(Code::Return, "this hook cannot drop")),
        other => Ok(Some(other)),
    }
}

/// Runs the hooks of a list whose selector matches, each on what the one before left.
fn run<'v>(
    vm: &'v Vm,
    place: Place,
    hooks: &[Hook],
    scope: Scope<'_>,
    matches: impl Fn(&Selector) -> bool,
    arguments: impl Fn() -> (&'v mlua::AnyUserData, Option<&'v mlua::AnyUserData>),
    may_drop: bool,
) -> Ended {
    let may_discard = matches!(place, Place::Request | Place::Push);
    for hook in hooks {
        if hook.selector.as_ref().is_some_and(|selector| !matches(selector)) {
            continue;
        }
        let call = || {
            let returned = vm.call(place, &hook.function, arguments());
            vm.end_hook();
            ends(verdict(&returned?)?, may_drop, may_discard)
        };
        let name = place.hook().map_or("", |hook| Run::NAMES[hook as usize]);
        if let Some(end) = traced(vm.stage(), vm.name(), name, scope, call, Option::clone)? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

pub fn request(vm: &Vm, stage: &Stage) -> Ended {
    let matches = |selector: &Selector| selector.matches(&stage.draft.borrow().group_view());
    run(vm, Place::Request, &vm.manifest.on_request, None, matches, || (vm.push_handle(), None), false)
}

pub fn commit(vm: &Vm, stage: &Stage) -> Ended {
    let matches = |selector: &Selector| selector.matches(&stage.draft.borrow().group_view());
    run(vm, Place::Commit, &vm.manifest.on_commit, None, matches, || (vm.push_handle(), None), false)
}

/// Asks `on_expire` about the group on stage, until one of its functions gives it more time.
///
/// # Errors
///
/// Whatever the script does wrong.
pub fn expire(vm: &Vm, stage: &Stage) -> Result<Option<Lifetime>, Fault> {
    for hook in &vm.manifest.on_expire {
        let selector = hook.selector.as_ref();
        if selector.is_some_and(|selector| !selector.matches(&stage.draft.borrow().group_view())) {
            continue;
        }
        let returned = vm.call(Place::Expire, &hook.function, vm.dying_handle());
        vm.end_hook();
        if let Some(lifetime) = Vm::extended(&returned?)? {
            return Ok(Some(lifetime));
        }
    }
    Ok(None)
}

/// Tells `on_result` what became of the push; what it returns means nothing.
///
/// # Errors
///
/// Whatever the script does wrong.
pub fn result(vm: &Vm, fields: &[(&str, ResultField<'_>)]) -> Result<(), Fault> {
    for hook in &vm.manifest.on_result {
        let table = vm.table(fields)?;
        let returned = vm.call(Place::Result, &hook.function, (table, vm.push_handle()));
        vm.end_hook();
        returned?;
    }
    Ok(())
}

/// Phase T of one plugin: rules, then the push, its families and their samples.
pub fn transform(vm: &Vm, spec: &Spec, stage: &Stage, cache: &mut SeriesCache) -> Ended {
    let manifest = &vm.manifest;
    if let Some(handle) = &manifest.relabel {
        bump(&spec.shared.counts.calls[Run::Relabel as usize], 1);
        let relabel = || stage.draft.borrow_mut().relabel(&handle.rules, handle.only.as_deref());
        let counts = traced(stage, &spec.name, "relabel", None, relabel, |_| None)?;
        bump(&spec.shared.counts.splits, counts.splits as u64);
        bump(&spec.shared.counts.group_label_resets, counts.resets as u64);
    }
    let (families, samples) = {
        let draft = stage.draft.borrow();
        (draft.families().len() as u32, draft.samples().len() as u32)
    };
    let on_group = |selector: &Selector| selector.matches(&stage.draft.borrow().group_view());
    if let Some(end) =
        run(vm, Place::Push, &manifest.on_push, None, on_group, || (vm.push_handle(), None), false)?
    {
        return Ok(Some(end));
    }
    let per_sample = !manifest.on_series.is_empty() || !manifest.on_sample.is_empty();
    if manifest.on_family.is_empty() && !per_sample {
        return Ok(None);
    }
    // What the plugin moves from here on is not visited again, so the way is fixed now.
    let mut members: Vec<u32> = {
        let draft = stage.draft.borrow();
        (0..samples).filter(|sample| !draft.sample(*sample).dropped).collect()
    };
    members.sort_by_key(|sample| stage.draft.borrow().sample(*sample).family);
    if let ([hook], true, true) =
        (&manifest.on_sample[..], manifest.on_family.is_empty(), manifest.on_series.is_empty())
        && stage.trace.borrow().is_none()
    {
        vm.begin_walk(members, families, hook.selector.clone());
        return visit(vm, stage, hook);
    }
    let mut walk = Walk { vm, stage, cache, writer: LookWriter::new() };
    let mut at = 0;
    while at < members.len() {
        let family = stage.draft.borrow().sample(members[at]).family;
        let here = |sample: &u32| stage.draft.borrow().sample(*sample).family == family;
        let end = at + members[at..].iter().take_while(|sample| here(sample)).count();
        if family < families
            && let Some(end) = walk.family(family, &members[at..end])?
        {
            return Ok(Some(end));
        }
        at = end;
    }
    Ok(None)
}

/// `on_sample` over the samples of a walk that was begun.
fn visit(vm: &Vm, stage: &Stage, hook: &Hook) -> Ended {
    loop {
        let returned = vm.walk(&hook.function);
        vm.end_hook();
        let Some((value, sample)) = returned? else { return Ok(None) };
        match ends(verdict(&value)?, true, false)? {
            Some(Verdict::Drop) => stage.draft.borrow_mut().drop_sample(sample),
            Some(end) => return Ok(Some(end)),
            None => {}
        }
    }
}

struct Walk<'w> {
    vm: &'w Vm,
    stage: &'w Stage,
    cache: &'w mut SeriesCache,
    writer: LookWriter,
}

impl Walk<'_> {
    fn family(&mut self, family: u32, members: &[u32]) -> Ended {
        let (vm, stage, manifest) = (self.vm, self.stage, &self.vm.manifest);
        if !manifest.on_family.is_empty() {
            let matches = |selector: &Selector| {
                let draft = stage.draft.borrow();
                members.iter().any(|sample| selector.matches(&draft.view(*sample)))
            };
            let arguments = || (vm.family_handle(family), Some(vm.push_handle()));
            match run(vm, Place::Family, &manifest.on_family, Some(members), matches, arguments, true)? {
                Some(Verdict::Drop) => {
                    members.iter().for_each(|sample| stage.draft.borrow_mut().drop_sample(*sample));
                    return Ok(None);
                }
                Some(end) => return Ok(Some(end)),
                None => {}
            }
        }
        for sample in members {
            if !manifest.on_series.is_empty()
                && !self.is_dropped(*sample)
                && let Some(end) = self.series(*sample)?
            {
                return Ok(Some(end));
            }
            if manifest.on_sample.is_empty() || self.is_dropped(*sample) {
                continue;
            }
            let matches = |selector: &Selector| selector.matches(&stage.draft.borrow().view(*sample));
            let arguments = || (vm.sample_handle(*sample), Some(vm.push_handle()));
            match run(vm, Place::Sample, &manifest.on_sample, Some(&[*sample]), matches, arguments, true)? {
                Some(Verdict::Drop) => stage.draft.borrow_mut().drop_sample(*sample),
                Some(end) => return Ok(Some(end)),
                None => {}
            }
        }
        Ok(None)
    }

    fn is_dropped(&self, sample: u32) -> bool {
        self.stage.draft.borrow().sample(sample).dropped
    }

    /// `on_series`, or what it is known to do.
    fn series(&mut self, sample: u32) -> Ended {
        if self.cache.is_off() {
            return self.call_series(sample);
        }
        self.stage.draft.borrow().write_look(&mut self.writer, sample);
        if let Some(known) = self.cache.get(self.writer.look()) {
            self.stage.draft.borrow_mut().become_again(sample, &known)?;
            self.cache.hits += 1;
            return Ok(None);
        }
        self.cache.misses += 1;
        let before = self.stage.draft.borrow().see(sample);
        let ended = self.call_series(sample)?;
        if ended.is_none() {
            let known = self.stage.draft.borrow().became(&before, sample);
            self.cache.put(self.writer.look(), known);
        }
        Ok(ended)
    }

    fn call_series(&mut self, sample: u32) -> Ended {
        let (vm, stage) = (self.vm, self.stage);
        let matches = |selector: &Selector| selector.matches(&stage.draft.borrow().view(sample));
        let arguments = || (vm.sample_handle(sample), None);
        match run(vm, Place::Series, &vm.manifest.on_series, Some(&[sample]), matches, arguments, true)? {
            Some(Verdict::Drop) => {
                stage.draft.borrow_mut().drop_sample(sample);
                Ok(None)
            }
            other => Ok(other),
        }
    }
}

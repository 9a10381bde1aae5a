//! What each hook did to one push, where somebody asks: `/api/v1/validate` and `plugin run --trace`.
//!
//! Off, it costs a look at one cell for each call of a hook. On, it remembers what a hook was called for and
//! compares afterwards, so a trace costs as much as there is to look at.

use std::time::{Duration, Instant};

use super::budget;
use super::draft::{Changes, Draft, Mark};
use super::fault::Fault;
use super::insight::TraceRow;
use super::stage::Stage;
use super::vm::Verdict;

/// One hook of one plugin, over all its calls.
#[derive(Debug)]
pub struct Row {
    plugin: String,
    hook: &'static str,
    calls: u64,
    result: String,
    changes: Changes,
    steps: u64,
    time: Duration,
}

/// What a hook was called for: these samples, or everything.
pub type Scope<'s> = Option<&'s [u32]>;

/// Runs one call of a hook, and notes what it did if the push on stage is traced.
pub fn traced<T>(
    stage: &Stage,
    plugin: &str,
    hook: &'static str,
    scope: Scope<'_>,
    call: impl FnOnce() -> Result<T, Fault>,
    verdict: impl FnOnce(&T) -> Option<Verdict>,
) -> Result<T, Fault> {
    if stage.trace.borrow().is_none() {
        return call();
    }
    let (mark, left) = {
        let draft = stage.draft.borrow();
        (mark(&draft, scope), still_there(&draft, scope))
    };
    let (steps, begun) = (budget::left(), Instant::now());
    let returned = call();
    let time = begun.elapsed();
    let steps = steps.saturating_sub(budget::left());
    let mut changes = stage.draft.borrow().changes_since(&mark);
    let result = match &returned {
        Err(fault) => Some(fault.to_string()),
        Ok(value) => match verdict(value) {
            None | Some(Verdict::Keep) => None,
            Some(Verdict::Drop) => {
                // Done by whoever called the hook.
                changes.dropped += left;
                Some("drop".to_owned())
            }
            Some(Verdict::Discard(reason)) => Some(format!("discard {reason}").trim_end().to_owned()),
            Some(Verdict::Reject(reject)) => {
                Some(format!("reject {} {}: {}", reject.status, reject.code, reject.reason))
            }
        },
    };
    let mut rows = stage.trace.borrow_mut();
    let rows = rows.get_or_insert_default();
    let at = rows.iter().position(|row| row.plugin == plugin && row.hook == hook).unwrap_or_else(|| {
        rows.push(Row {
            plugin: plugin.to_owned(),
            hook,
            calls: 0,
            result: "keep".to_owned(),
            changes: Changes::default(),
            steps: 0,
            time: Duration::ZERO,
        });
        rows.len() - 1
    });
    let row = &mut rows[at];
    row.calls += 1;
    row.steps += steps;
    row.time += time;
    row.changes.merge(changes);
    if let Some(result) = result {
        row.result = result;
    }
    returned
}

fn mark(draft: &Draft, scope: Scope<'_>) -> Mark {
    match scope {
        None => draft.mark_all(),
        Some(samples) => draft.mark(samples.iter().copied()),
    }
}

fn still_there(draft: &Draft, scope: Scope<'_>) -> usize {
    scope.map_or(0, |samples| samples.iter().filter(|at| !draft.sample(**at).dropped).count())
}

impl Row {
    /// For whoever asked.
    pub fn view(self) -> TraceRow {
        let Changes { labels_added, labels_removed, labels_changed, renamed, values, added, dropped, .. } =
            self.changes;
        TraceRow {
            plugin: self.plugin,
            hook: self.hook,
            calls: self.calls,
            result: self.result,
            labels_added: labels_added.into_iter().collect(),
            labels_removed: labels_removed.into_iter().collect(),
            labels_changed: labels_changed.into_iter().collect(),
            renamed: renamed.into_iter().collect(),
            values: values as u64,
            added: added as u64,
            dropped: dropped as u64,
            steps: self.steps,
            microseconds: self.time.as_secs_f64() * 1e6,
        }
    }
}

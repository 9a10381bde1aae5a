//! Pushes and deletes that go through plugins.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::{Now, UnixNanos};
use crate::model::{Action, Families, GroupingKey, Lifetime, Reason, Refusal, RequestFacts};
use crate::parse;
use crate::plugin::{self, Overview, Passed, Plugins, Problem, StoreFacts};
use crate::store::jobs::Around;
use crate::store::life::Stamp;
use crate::store::merge::Merged;

use super::{Gateway, Manner};

impl Gateway {
    /// Runs every push and delete from here on through `plugins`.
    #[must_use]
    pub fn with_plugins(self, plugins: Arc<Plugins>) -> Gateway {
        let source = plugins.clone();
        self.telemetry.set_plugins(move || plugin::figures(&source));
        self.housekeeper.ask(plugins.clone());
        Gateway { plugins: Some(plugins), ..self }
    }

    /// Whether requests go through plugins, which then want their [`RequestFacts`].
    pub fn has_plugins(&self) -> bool {
        self.plugins.is_some()
    }

    /// The plugins in force and how they fare; `None` without any.
    pub fn plugins_overview(&self) -> Option<Overview> {
        self.plugins.as_ref().map(|plugins| plugins.overview())
    }

    /// Whether a plugin reads any request header.
    pub fn wants_headers(&self) -> bool {
        self.plugins.as_ref().is_some_and(|plugins| plugins.wants_headers())
    }

    /// Whether a plugin reads the request header `name` (in lower case).
    pub fn wants_header(&self, name: &str) -> bool {
        self.plugins.as_ref().is_some_and(|plugins| plugins.wants_header(name))
    }

    /// Reads the plugins anew; returns the number of the generation then in force, zero without any.
    /// Takes as long as they take to load, so it does not belong on a worker.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them; the old ones stay in force.
    pub fn reload_plugins(&self) -> Result<u64, Vec<Problem>> {
        self.plugins.as_ref().map_or(Ok(0), |plugins| plugins.reload())
    }

    /// Whether plugins wait to be told on this thread what became of pushes. True once only until they
    /// are told.
    pub fn results_are_due(&self) -> bool {
        self.plugins.as_ref().is_some_and(|plugins| plugins.results_are_due())
    }

    /// Tells plugins what became of the pushes of this thread, once those were answered.
    pub fn tell_results(&self) {
        if let Some(plugins) = &self.plugins {
            plugins.tell_results();
        }
    }

    /// Runs the timers of plugins that are due on this thread.
    pub(super) fn run_timers(&self) {
        if let Some(plugins) = &self.plugins {
            plugins.tick();
        }
    }

    /// Ends the plugins of this thread, which serves no more.
    pub fn end_thread(&self) {
        if let Some(plugins) = &self.plugins {
            plugins.end_thread();
        }
    }

    /// Applies one push as [`push`](Gateway::push) does, telling plugins where it came from. Where it
    /// meets none but rules and `on_series`, what they made of it is remembered with the shape of its
    /// body.
    ///
    /// # Errors
    ///
    /// As [`push`](Gateway::push); or a plugin refuses it, or its client may not push to the group that
    /// plugins made of the one it named.
    pub fn push_with(
        &self,
        manner: impl Into<Manner>,
        key: &GroupingKey,
        mut facts: RequestFacts,
        body: &Bytes,
        now: Now,
    ) -> Result<Passed, Refusal> {
        let Manner { mode, options } = manner.into();
        let Some(plugins) = &self.plugins else {
            let content_type = facts.content_type.as_deref().map(str::as_bytes);
            return self.push_telling(Manner { mode, options }, key, content_type, body, now);
        };
        self.check_durable().inspect_err(|refusal| self.telemetry.count_refusal(refusal.reason))?;
        let format = parse::format_of(facts.content_type.as_deref().map(str::as_bytes));
        let replayed = Cell::new(false);
        let template_body = format.known(body).filter(|_| !self.may_merge(&options));
        if let Some(body) = template_body
            && let Some(chain) = plugins.chain(key)
            && let stamp = (Stamp { at: now.wall, life: self.life(key, options.lifetime, None, now) })
            && self.store.push_known_from(chain, mode, key, body, stamp)
        {
            self.telemetry.count_reuse();
            return Ok(Passed { stored: true, ..Passed::default() });
        }
        let grants = facts.grants.clone();
        (facts.format, facts.is_durable) = (format.name(), self.is_durable());
        let known = Cell::new(None);
        let result = plugins.push(plugin::Push {
            key,
            facts,
            body,
            now,
            parse: |key: &GroupingKey, is_loose: bool, load: plugin::Load<'_>| {
                if let Some(body) = template_body
                    && let Some((found, values)) = self.store.recognise(mode, key, body)
                    && let Some(template) = found.template()
                {
                    load(plugin::Read::Known { template, values: &values });
                    known.set(Some(found));
                    return Ok(());
                }
                let stamp = Stamp { at: now.wall, life: self.life(key, options.lifetime, None, now) };
                self.read_for_plugins(format, key, body, Some(stamp), is_loose, load)
            },
            refuse_line: &|line| self.refuse_line(body, line),
            around: |key: &GroupingKey, families: &Families<'_>| {
                facts_of(&self.store.around(mode, key, families), now)
            },
            store: |key: &GroupingKey,
                    families: &Families<'_>,
                    cut: plugin::Cut<'_>,
                    ttl: Option<Lifetime>| {
                key.check()?;
                grants.check(Action::Push, key)?;
                let stamp = Stamp { at: now.wall, life: self.life(key, options.lifetime, ttl, now) };
                let stored = if self.may_merge(&options) {
                    let merged = self.merge(Manner { mode, options }, key, families, stamp, cut);
                    merged.map(|merged| replayed.set(merged == Merged::Replayed))
                } else {
                    self.store.push_cut(mode, key, families, stamp, cut)
                };
                match stored {
                    Err(refusal)
                        if refusal.reason == Reason::Inconsistent && !self.settings.check_consistency =>
                    {
                        self.telemetry.count_refusal(refusal.reason);
                        Ok(())
                    }
                    stored => stored,
                }
            },
            store_again: &|key: &GroupingKey, values: Box<[u64]>, ttl: Option<Lifetime>| {
                let Some(known) = known.take() else { return Ok(false) };
                grants.check(Action::Push, key)?;
                let stamp = Stamp { at: now.wall, life: self.life(key, options.lifetime, ttl, now) };
                self.store.push_recognised(mode, key, known, values, stamp)
            },
            mark_failed: |key: &GroupingKey| self.store.stamp_failure_if_there(key, now.wall),
        });
        self.after(result).map(|passed| Passed { replayed: replayed.get(), ..passed })
    }

    /// Removes one group unless a plugin refuses that.
    ///
    /// # Errors
    ///
    /// A plugin refuses it, or the client may not delete the group that plugins made of the one it named.
    pub fn delete_with(&self, key: &GroupingKey, facts: RequestFacts, now: Now) -> Result<Passed, Refusal> {
        let Some(plugins) = &self.plugins else {
            return Ok(Passed { stored: self.delete(key)?, ..Passed::default() });
        };
        self.check_durable()?;
        let grants = facts.grants.clone();
        let delete = |key: &GroupingKey| {
            grants.check(Action::Delete, key)?;
            self.store.delete(key);
            Ok(())
        };
        let facts = RequestFacts { is_durable: self.is_durable(), ..facts };
        let result = plugins.delete(key, facts, now, delete);
        if let Err(refusal) = &result {
            self.telemetry.count_refusal(refusal.reason);
        }
        result
    }
}

/// What plugins are told of what is stored.
pub(super) fn facts_of(around: &Around, now: Now) -> StoreFacts {
    let age = |last: UnixNanos| (last != UnixNanos::NEVER).then(|| now.wall.seconds() - last.seconds());
    StoreFacts {
        group_series: around.group_lines,
        // Clocks are set back now and then.
        group_age: around.last_push.and_then(age).map(|seconds| seconds.max(0.0)),
        job_series: around.job_lines,
        job_groups: around.job_groups,
        total_series: around.all_lines,
        total_groups: around.all_groups,
        replaced_series: around.replaced_lines,
    }
}

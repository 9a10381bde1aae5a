//! Pushes tried out: everything is done but storing.

use bytes::Bytes;

use crate::clock::Now;
use crate::format::escape::Escaping;
use crate::model::{Action, Families, GroupingKey, Lifetime, Reason, Refusal, RequestFacts};
use crate::parse;
use crate::plugin::{self, Passed, Plugins, TraceRow};
use crate::render::text;
use crate::store::group::Group;
use crate::store::life::Stamp;

use super::plugins::facts_of;
use super::{Gateway, Manner};

/// What a push would do.
#[derive(Debug)]
pub struct Validation {
    pub result: Result<Passed, Refusal>,
    /// The group it would go to.
    pub key: GroupingKey,
    /// What it would bring there, in the text format; empty if it is refused.
    pub text: String,
    /// The lifetime that plugins would give the group, in seconds.
    pub ttl: Option<f64>,
    /// What each hook did, in order.
    pub trace: Vec<TraceRow>,
    /// What plugins wrote to the log, which is not told.
    pub log: Vec<String>,
}

impl Gateway {
    /// Does everything that [`push_with`](Gateway::push_with) does with a push but storing it, marking its
    /// group or counting it. Loads plugins and takes as long as they do, so it does not belong on a worker.
    pub fn validate(
        &self,
        manner: impl Into<Manner>,
        key: &GroupingKey,
        facts: RequestFacts,
        body: &Bytes,
        now: Now,
    ) -> Validation {
        let manner = manner.into();
        let rehearsal = self.plugins.as_ref().map(|plugins| plugins.rehearsal());
        match rehearsal {
            None => self.validate_plain(manner, key, &facts, body, now),
            Some(plugins) => self.validate_through(&plugins, manner, key, facts, body, now),
        }
    }

    fn validate_plain(
        &self,
        manner: Manner,
        key: &GroupingKey,
        facts: &RequestFacts,
        body: &Bytes,
        now: Now,
    ) -> Validation {
        let stamp = Stamp { at: now.wall, life: self.life(key, manner.options.lifetime, None, now) };
        let mut written = String::new();
        let format = parse::format_of(facts.content_type.as_deref().map(str::as_bytes));
        let result = self.read(format, key, body, None, &mut |families, _| {
            written = written_of(&self.store.rehearse(manner.mode, key, families, stamp)?);
            Ok(())
        });
        Validation {
            result: self.forgiven(result.map(|()| Passed { stored: true, ..Passed::default() })),
            key: key.clone(),
            text: written,
            ttl: None,
            trace: Vec::new(),
            log: Vec::new(),
        }
    }

    fn validate_through(
        &self,
        plugins: &Plugins,
        manner: Manner,
        key: &GroupingKey,
        mut facts: RequestFacts,
        body: &Bytes,
        now: Now,
    ) -> Validation {
        let Manner { mode, options } = manner;
        let format = parse::format_of(facts.content_type.as_deref().map(str::as_bytes));
        facts.format = format.name();
        let grants = facts.grants.clone();
        let mut written = String::new();
        plugins.begin_trace();
        let result = plugins.push(plugin::Push {
            key,
            facts,
            body,
            now,
            parse: |key: &GroupingKey, is_loose: bool, load: plugin::Load<'_>| {
                self.read_for_plugins(format, key, body, None, is_loose, load)
            },
            refuse_line: &|line| self.refuse_line(body, line),
            around: |key: &GroupingKey, families: &Families<'_>| {
                facts_of(&self.store.around(mode, key, families), now)
            },
            store: |key: &GroupingKey, families: &Families<'_>, _: plugin::Cut<'_>, ttl: Option<Lifetime>| {
                key.check()?;
                grants.check(Action::Push, key)?;
                let stamp = Stamp { at: now.wall, life: self.life(key, options.lifetime, ttl, now) };
                written = written_of(&self.store.rehearse(mode, key, families, stamp)?);
                Ok(())
            },
            // Nothing is read as known, so nothing is stored as known.
            store_again: &|_, _, _| Ok(false),
            mark_failed: |_: &GroupingKey| {},
        });
        let outcome = plugins.outcome();
        plugins.tell_results();
        let rows = plugins.end_trace();
        let (key, ttl) = outcome.unwrap_or_else(|| (key.clone(), None));
        let log = plugins.take_log();
        plugins.leave_thread();
        Validation { result: self.forgiven(result), key, text: written, ttl, trace: rows, log }
    }

    /// A refusal by the store is none to the pusher where pushes are not checked.
    fn forgiven(&self, result: Result<Passed, Refusal>) -> Result<Passed, Refusal> {
        match result {
            Err(refusal) if refusal.reason == Reason::Inconsistent && !self.settings.check_consistency => {
                Ok(Passed::default())
            }
            result => result,
        }
    }
}

/// A group in the text format.
fn written_of(group: &Group) -> String {
    let mut out = Vec::new();
    for (held, _, family) in group.load().iter().flat_map(|state| state.families().collect::<Vec<_>>()) {
        let (shape, escaping) = (&held.block.shape, Escaping::AllowUtf8);
        text::write_header(&mut out, shape.name(family), shape.help(family), family.kind, escaping);
        text::write_fragment(&mut out, group, &held.block, family, escaping, |_| true);
    }
    String::from_utf8_lossy(&out).into_owned()
}

//! Pushes that are merged with what their group holds.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Now;
use crate::merging::Merging;
use crate::model::template::{Body, Template};
use crate::model::{Families, Family, GroupingKey, MergeRule, MetricType, PushOptions, Reason, Refusal};
use crate::parse;
use crate::plugin::Passed;
use crate::store::group::GroupState;
use crate::store::keys::Remember;
use crate::store::life::Stamp;
use crate::store::merge::{self, Merged};

use super::{Gateway, Manner, Mode, dialect};

impl Gateway {
    /// Asks `merging` how families are to be merged where pushes do not say.
    #[must_use]
    pub fn with_merging(self, merging: Arc<Merging>) -> Gateway {
        Gateway { merging: Some(merging), ..self }
    }

    /// Whether anybody may have said that a push is to be merged.
    pub(super) fn may_merge(&self, options: &PushOptions) -> bool {
        self.merging.is_some() || options.merge.is_some() || self.settings.dialect.merges()
    }

    /// Applies a push that goes through no plugins and may have to be merged.
    pub(super) fn push_merging(
        &self,
        manner: Manner,
        key: &GroupingKey,
        content_type: Option<&[u8]>,
        body: &Bytes,
        now: Now,
    ) -> Result<Passed, Refusal> {
        self.check_durable().inspect_err(|refusal| self.telemetry.count_refusal(refusal.reason))?;
        let stamp = Stamp { at: now.wall, life: self.life(key, manner.options.lifetime, None, now) };
        let format = parse::format_of(content_type);
        let adds = manner.mode == Mode::ReplaceFamilies || self.settings.dialect.merges();
        let known = format.known(body).filter(|_| adds);
        let known = known.and_then(|body| self.merge_known(manner.options, key, body, stamp));
        let merged = known.unwrap_or_else(|| {
            let mut merged = Merged::Stored;
            let read = self.read(format, key, body, Some(stamp), &mut |families, body| {
                merged = self.merge(manner, key, families, stamp, |values, first| {
                    body.and_then(|body| Template::cut(body, families, values, first))
                })?;
                Ok(())
            });
            read.map(|()| merged)
        });
        let passed =
            |merged| Passed { stored: true, replayed: merged == Merged::Replayed, ..Passed::default() };
        self.after(merged.map(passed))
    }

    /// Merges a body that differs from the group's last one in values alone; `None` if it is not to be, or does
    /// not.
    fn merge_known(
        &self,
        options: PushOptions,
        key: &GroupingKey,
        body: Body<'_>,
        stamp: Stamp,
    ) -> Option<Result<Merged, Refusal>> {
        let rule = |name: &str, kind: MetricType| self.rule(options, key, name, kind);
        let remember = self.remember(options).ok()?;
        self.store.merge_known(0, key, body, merge::Manner { rule: &rule, remember, stamp })
    }

    /// Applies a parsed push that may have to be merged.
    ///
    /// # Errors
    ///
    /// The store refuses it; or it would take the place of something that is to be merged.
    pub(super) fn merge(
        &self,
        manner: Manner,
        key: &GroupingKey,
        families: &Families<'_>,
        stamp: Stamp,
        cut: impl FnOnce(usize, &dyn Fn(u32) -> Option<u32>) -> Option<Template>,
    ) -> Result<Merged, Refusal> {
        let Manner { mode, options } = manner;
        let dialect = self.settings.dialect;
        let translated = dialect::translate(dialect, families)?;
        if let Some(translated) = &translated {
            let rule = |name: &str, kind: MetricType| {
                translated.rule(name).unwrap_or_else(|| self.rule(options, key, name, kind))
            };
            let remember = self.remember(options)?;
            // Its text says more than is stored, so that no other can be known by it.
            let manner = merge::Manner { rule: &rule, remember, stamp };
            return self.store.merge(key, &translated.families, manner, |_, _| None);
        }
        let rule = |name: &str, kind: MetricType| self.rule(options, key, name, kind);
        if mode == Mode::ReplaceGroup && !dialect.merges() {
            for family in &families.families {
                refuse_merged(&family.name, rule(&family.name, family.kind))?;
            }
            let check = |state: &GroupState| self.check_replaced(key, state);
            let replaced = self.store.push_checked(mode, key, families, stamp, cut, Some(&check));
            return replaced.map(|()| Merged::Stored);
        }
        let is_merged = |family: &Family<'_>| rule(&family.name, family.kind) != MergeRule::Replace;
        // Keys count for nothing else, so that they are held to nothing else.
        let remember = match families.families.iter().any(is_merged) {
            true => self.remember(options)?,
            false => None,
        };
        self.store.merge(key, families, merge::Manner { rule: &rule, remember, stamp }, cut)
    }

    fn rule(&self, options: PushOptions, key: &GroupingKey, name: &str, kind: MetricType) -> MergeRule {
        let by_rules = || self.merging.as_ref().and_then(|merging| merging.rule(key, name, kind));
        options.merge.or_else(by_rules).unwrap_or_else(|| dialect::rule(self.settings.dialect, kind))
    }

    fn remember(&self, options: PushOptions) -> Result<Option<Remember>, Refusal> {
        let Some(key) = options.key else { return Ok(None) };
        let text = "the push has different keys in its headers Idempotency-Key and Push-Id";
        let refusal = || Refusal::new(Reason::Malformed, text);
        Remember::new(key, self.settings.keys).map(Some).ok_or_else(refusal)
    }

    /// Whether a PUT may take the place of what the group holds.
    fn check_replaced(&self, key: &GroupingKey, state: &GroupState) -> Result<(), Refusal> {
        state.families().try_for_each(|(held, _, family)| {
            let name = held.block.shape.name(family);
            refuse_merged(name, self.rule(PushOptions::default(), key, name, family.kind))
        })
    }
}

/// Refuses a PUT for the sake of a family with another rule than to be replaced.
fn refuse_merged(name: &str, rule: MergeRule) -> Result<(), Refusal> {
    if rule == MergeRule::Replace {
        return Ok(());
    }
    let text = format!(
        "PUT replaces the whole group, and metric family {name:?} has the merge rule {rule}: push with POST, or \
         DELETE the group first"
    );
    Err(Refusal::new(Reason::Merged, text))
}

//! Bodies that their group knows.
//!
//! Where what is stored hangs on the body alone, its template says all of it. Where it hangs on more,
//! whoever stands between body and store (plugins that see values) keeps with a template what it needs to
//! go on from the body's values alone. If it then comes to the same end as before, the shape it came to is
//! known as well, and only values are stored.

use std::sync::Arc;

use super::apply::Short;
use super::group::{Block, Details, Group, GroupState, Mould};
use super::life::Stamp;
use super::{Mode, Store};
use crate::clock::UnixNanos;
use crate::model::template::{Body, Known, Template};
use crate::model::{GroupingKey, Refusal};

/// A body that differs from an earlier one of its group in values alone.
pub struct Recognised {
    group: Arc<Group>,
    mould: Arc<Mould>,
}

impl Recognised {
    /// The template that recognised it, with what is kept beside.
    pub fn template(&self) -> Option<&Template> {
        self.mould.template.as_deref().map(|template| &**template)
    }
}

/// What a push of `body` that has gone the way `chain` stores, if it differs from one that the group holds in
/// values alone.
pub(super) fn block(state: &GroupState, chain: u64, body: Body<'_>, at: UnixNanos) -> Option<Block> {
    state.blocks.iter().filter(|held| held.is_whole()).find_map(|held| {
        let template = held.block.template.as_ref().filter(|template| template.chain() == Some(chain))?;
        let Known { values, details } = template.read(body)?;
        Some(Block {
            mould: held.block.mould.clone(),
            values,
            details: Details::from_sorted(&details)?,
            pushed_at: at,
        })
    })
}

impl Store {
    /// Recognises a body by a template that something is kept with; gives its values in the order of
    /// the template.
    pub fn recognise(
        &self,
        mode: Mode,
        key: &GroupingKey,
        body: Body<'_>,
    ) -> Option<(Recognised, Box<[u64]>)> {
        let group = self.get(key)?;
        let (mould, values) = group.state.read(|state, _| {
            if mode == Mode::ReplaceGroup && state.blocks.len() != 1 {
                return None;
            }
            state.blocks.iter().filter(|held| held.is_whole()).find_map(|held| {
                let template = held.block.template.as_ref().filter(|template| template.kept().is_some())?;
                let values = template.read(body)?.values;
                Some((held.block.mould.clone(), values))
            })
        })?;
        Some((Recognised { group, mould }, values))
    }

    /// Stores a body that was recognised, under the shape that its last one ended up in. `values` are in
    /// the order of that shape. False, with nothing stored, if the group is not as it was then.
    ///
    /// # Errors
    ///
    /// It is over a limit.
    pub fn push_recognised(
        &self,
        mode: Mode,
        key: &GroupingKey,
        known: Recognised,
        values: Box<[u64]>,
        now: impl Into<Stamp>,
    ) -> Result<bool, Refusal> {
        let now = now.into();
        let Recognised { group, mould } = known;
        if *group.key != *key || values.len() != mould.shape.value_count() {
            return Ok(false);
        }
        let block = Block { mould, values, details: Details::default(), pushed_at: now.at };
        match self.publish_same_shape(&group, mode, &Arc::new(block), now) {
            Ok(Short::Done) => Ok(true),
            Ok(Short::Full(refusal)) => Err(refusal),
            Ok(Short::OtherShape) | Err(_) => Ok(false),
        }
    }
}

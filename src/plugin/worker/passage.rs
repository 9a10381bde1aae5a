//! From the body to the draft of a push, and from the draft to the store.

use super::Worker;
use crate::model::{Families, GroupingKey, Lifetime, Refusal};
use crate::plugin::door::{Again, Cut, Read};
use crate::plugin::draft::{Draft, Received};

/// What may be remembered of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// Its outcome: it met nothing that sees values, in this generation.
    Outcome(u64),
    /// How it was read, and how plugins left it.
    Image,
    Nothing,
}

/// Loads a body that was read. `pure`: the push meets nothing that sees values.
pub(super) fn load(draft: &mut Draft, body: &[u8], read: &Read<'_, '_>, pure: bool) {
    match read {
        Read::Parsed { families, is_whole, loose } => {
            draft.load(&Received { families, body, loose });
            if *is_whole {
                draft.outline(families);
                if !pure {
                    draft.note_received();
                }
            }
        }
        Read::Known { template, values } => draft.load_known(template, values, body.len()),
    }
}

impl Worker {
    /// Stores the push on stage as plugins left it.
    pub(super) fn store<S>(
        &mut self,
        key: &GroupingKey,
        memory: Memory,
        body: &[u8],
        again: Again<'_>,
        store: S,
    ) -> Result<(), Refusal>
    where
        S: FnOnce(&GroupingKey, &Families<'_>, Cut<'_>, Option<Lifetime>) -> Result<(), Refusal>,
    {
        let draft = self.stage.draft.borrow();
        let ttl = self.stage.ttl.get();
        if let Some(values) = draft.values_as_before()
            && again(key, values, ttl)?
        {
            return Ok(());
        }
        let families = draft.families_into(std::mem::take(&mut self.spare));
        let cut = |values: usize, first: &dyn Fn(u32) -> Option<u32>| match memory {
            Memory::Outcome(chain) => draft.template(body, chain, values, first),
            Memory::Image => draft.keep(body, values, first),
            Memory::Nothing => None,
        };
        let stored = store(key, &families, &cut, ttl);
        self.spare = families.recycle();
        stored
    }
}

//! Putting groups back that were kept across a restart or come from another gateway.
//!
//! What comes back takes the way of a push: the same shapes, the same claims, the same checks. So a
//! store that was restored is one that could have been pushed, whatever the records said. Only limits do
//! not bind it: what was taken before is taken again, and what is over a limit can then only shrink.

use std::sync::Arc;

use super::apply::{Attempt, Replacing, Room};
use super::consistency::Conflict;
use super::group::{Block, Group, GroupState};
use super::keys::Keys;
use super::life::Life;
use super::published::Next;
use super::shape::Shape;
use super::{Mode, Store, build};
use crate::clock::UnixNanos;
use crate::model::{Families, GroupingKey, PushLimits};

/// A group to be put back.
pub struct Kept {
    pub key: GroupingKey,
    /// No two of them have a family of the same name.
    pub blocks: Vec<Block>,
    pub push_time: UnixNanos,
    pub failure_time: UnixNanos,
    pub life: Life,
    /// Of the pushes that were merged last.
    pub keys: Keys,
}

impl Store {
    /// The shape of a push of `families` to `key`. Values are not looked at.
    ///
    /// # Errors
    ///
    /// The families contradict themselves; the text says how.
    pub fn shape_of(&self, families: &Families<'_>, key: &GroupingKey) -> Result<Arc<Shape>, String> {
        let built = build::shape_of(families, key, &PushLimits::NONE).map_err(build::Fault::text)?;
        Ok(self.shapes.intern(built.shape))
    }

    /// Puts a group back that is not there. Must not run while others push.
    ///
    /// # Errors
    ///
    /// It contradicts what is there already; nothing of it is kept. The text says how.
    pub fn restore(&self, kept: Kept) -> Result<Arc<Group>, String> {
        let Kept { key, mut blocks, push_time, failure_time, life, keys } = kept;
        if self.get(&key).is_some() {
            return Err(format!("the group {key} is there already"));
        }
        if blocks.is_empty() {
            let nothing = Families::default();
            let block = self.block_within(&PushLimits::NONE, &key, &nothing, None, push_time);
            blocks.push(block.map_err(build::Fault::text)?);
        }
        for block in blocks {
            if let Err(text) = self.restore_block(&key, Arc::new(block)) {
                self.delete(&key);
                return Err(text);
            }
        }
        let group = self.get(&key).ok_or("the group went away while it was put back")?;
        // Fails only if the group was deleted at this moment, which nobody does yet.
        let _ = group.state.update(|state| {
            let keys = keys.clone();
            Next::Publish(GroupState { push_time, failure_time, life, keys, ..state.clone() }, ())
        });
        self.usage.keys_changed(&Keys::default(), &keys);
        self.alarms.set(&group, life);
        self.note(&group);
        Ok(group)
    }

    fn restore_block(&self, key: &GroupingKey, block: Arc<Block>) -> Result<(), String> {
        loop {
            let group = self.get(key);
            let stamp = block.pushed_at.into();
            let change = Replacing { mode: Mode::ReplaceFamilies, block: &block, stamp, may: None };
            let attempt = self.change_shape(&change, key, group.as_ref(), stamp, Room::Always);
            match attempt.map_err(|refusal| refusal.text)? {
                Attempt::Done | Attempt::Unchanged => return Ok(()),
                Attempt::Refused(Conflict::Families(text) | Conflict::Traceless(text)) => return Err(text),
                Attempt::Again => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Family, MetricType, Number, Series, Span};

    fn block(store: &Store, key: &GroupingKey, name: &'static str, kind: MetricType) -> Block {
        let families = Families {
            families: vec![Family {
                name: name.into(),
                help: None,
                unit: None,
                kind,
                series: Span { start: 0, end: 1 },
            }],
            series: vec![Series {
                labels: Span::default(),
                parts: Span::default(),
                value: 1.0,
                count: Number::Int(0),
            }],
            ..Families::default()
        };
        store.block(key, &families, None, UnixNanos(5)).unwrap()
    }

    #[test]
    fn a_group_comes_back_with_its_times_and_checks() {
        let store = Store::new(true, []);
        let key = GroupingKey::new("a", []);
        let kept = |key: &GroupingKey, blocks| Kept {
            key: key.clone(),
            blocks,
            push_time: UnixNanos(7),
            failure_time: UnixNanos(8),
            life: Life::default(),
            keys: Keys::default(),
        };
        let blocks =
            vec![block(&store, &key, "x", MetricType::Gauge), block(&store, &key, "y", MetricType::Counter)];
        store.restore(kept(&key, blocks)).unwrap();
        let state = store.state_of(&key).unwrap();
        assert_eq!((state.push_time, state.failure_time), (UnixNanos(7), UnixNanos(8)));
        assert_eq!(state.series_count(), 2);
        assert_eq!(state.blocks[0].block.pushed_at, UnixNanos(5));

        let other = GroupingKey::new("b", []);
        let blocks = vec![
            block(&store, &other, "z", MetricType::Gauge),
            block(&store, &other, "x", MetricType::Counter),
        ];
        let error = store.restore(kept(&other, blocks)).err().unwrap();
        assert!(error.contains("is not a GAUGE"), "{error}");
        assert!(store.state_of(&other).is_none());
        assert_eq!((store.groups_count(), store.series_count()), (1, 2));
        assert!(store.restore(kept(&key, Vec::new())).is_err());

        store.restore(kept(&GroupingKey::new("empty", []), Vec::new())).unwrap();
        assert_eq!(store.state_of(&GroupingKey::new("empty", [])).unwrap().push_time, UnixNanos(7));
    }
}

//! Any two bodies: what the template of the first reads of the second is what the parser reads and the store
//! keeps of it.
//!
//! The first byte says what they are written in, the second how many changes make the second body of the
//! first. Each change takes three bytes: what is done, where, and with which byte.

#![no_main]

use std::sync::Arc;

use floodway::clock::UnixNanos;
use floodway::model::template::{Body, Syntax};
use floodway::model::{Families, GroupingKey, NameRules};
use floodway::parse::{protobuf, text};
use floodway::store::Store;
use floodway::store::group::Block;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [kind, count, rest @ ..] = input else { return };
    let syntax = if kind & 1 == 0 { Syntax::Protobuf } else { Syntax::Text };
    let Some((changes, first)) = rest.split_at_checked(3 * usize::from(count % 8)) else { return };
    let mut second = first.to_vec();
    for change in changes.chunks_exact(3) {
        if second.is_empty() {
            break;
        }
        let at = usize::from(change[1]) * second.len() / 256;
        match change[0] % 4 {
            0 => second[at] = change[2],
            1 => second[at] = second[at].wrapping_add(change[2]),
            2 => second.insert(at, change[2]),
            _ => drop(second.remove(at)),
        }
    }
    let store = Store::new(true, []);
    let Some(block) = stored(&store, Body { syntax, bytes: first }) else { return };
    let Some(template) = &block.template else { return };
    let own = template.read(Body { syntax, bytes: first }).expect("a template knows its own body");
    assert_eq!(own.values, block.values);
    let Some(known) = template.read(Body { syntax, bytes: &second }) else { return };
    let stored = stored(&store, Body { syntax, bytes: &second }).expect("its parser takes it");
    assert!(Arc::ptr_eq(&stored.shape, &block.shape));
    assert_eq!(known.values, stored.values);
    assert!(known.details.into_iter().eq(stored.details.iter()));
});

/// What a push of the body stores, if it is one.
fn stored(store: &Store, body: Body<'_>) -> Option<Block> {
    let into = Families::default();
    let families = match body.syntax {
        Syntax::Text => text::parse(body.bytes, NameRules::Legacy, into).ok()?,
        Syntax::Protobuf => protobuf::parse(body.bytes, NameRules::Legacy, into).ok()?,
    };
    if families.timestamped {
        return None;
    }
    store.block(&GroupingKey::new("j", []), &families, Some(body.bytes), UnixNanos(1)).ok()
}

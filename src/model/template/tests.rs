//! What templates read against what the parsers and the store make of the same bodies.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;

use super::{Body, Syntax, Template};
use crate::clock::UnixNanos;
use crate::model::{Families, GroupingKey, NameRules};
use crate::parse::protobuf::oracle::{self, MetricFamily};
use crate::parse::{protobuf, text};
use crate::store::Store;
use crate::store::group::Block;

fn parsed(body: Body<'_>) -> Option<Families<'_>> {
    let into = Families::default();
    let families = match body.syntax {
        Syntax::Text => text::parse(body.bytes, NameRules::Legacy, into).ok(),
        Syntax::Protobuf => protobuf::parse(body.bytes, NameRules::Legacy, into).ok(),
    };
    families.filter(|families| !families.timestamped)
}

/// What a push of the body stores, if it is one.
fn stored(store: &Store, body: Body<'_>) -> Option<Block> {
    let families = parsed(body)?;
    store.block(&GroupingKey::new("j", []), &families, Some(body.bytes), UnixNanos(1)).ok()
}

/// Reads `other` by the template of `body`; what it says has to be what is stored of it. Returns whether
/// there was a template, and whether it knew the other body.
fn compare(body: Body<'_>, other: Body<'_>) -> (bool, bool) {
    let store = Store::new(true, []);
    let Some(block) = stored(&store, body) else { return (false, false) };
    let Some(template) = block.template.as_deref() else { return (false, false) };
    let own = template.read(body).expect("a template knows its own body");
    assert_eq!(own.values, block.values);
    let template: &Template = template;
    let Some(known) = template.read(other) else { return (true, false) };
    let stored = stored(&store, other).expect("a body is known, and refused by its parser");
    assert!(Arc::ptr_eq(&stored.shape, &block.shape), "another shape");
    assert_eq!(known.values, stored.values);
    assert_eq!(known.details, stored.details.iter().collect::<Vec<_>>());
    assert!(stored.template.as_ref().is_some_and(|other| ***other == *template), "another template");
    (true, true)
}

fn protobuf(bytes: &[u8]) -> Body<'_> {
    Body { syntax: Syntax::Protobuf, bytes }
}

/// Whether no part of any family is one that leaves a body without a template.
fn is_simple(families: &[MetricFamily]) -> bool {
    let metrics = families.iter().flat_map(|family| &family.metric);
    metrics.filter_map(|metric| metric.histogram.as_ref()).all(|histogram| {
        let float = histogram.bucket.iter().any(|bucket| bucket.cumulative_count_float.unwrap_or(0.0) > 0.0);
        histogram.schema.is_none() && !float
    })
}

/// What is done to the bytes of a body: some are replaced, put in or taken out, and it is cut.
#[derive(Clone, Debug)]
struct Damage {
    places: Vec<(Index, u8, u8)>,
    cut: Option<Index>,
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = (any::<Index>(), any::<u8>(), 0u8..4);
    (prop::collection::vec(place, 1..4), prop::option::weighted(0.1, any::<Index>()))
        .prop_map(|(places, cut)| Damage { places, cut })
}

impl Damage {
    fn of(&self, mut body: Vec<u8>) -> Vec<u8> {
        for (at, byte, how) in &self.places {
            if body.is_empty() {
                break;
            }
            let at = at.index(body.len());
            match how {
                0 => body.insert(at, *byte),
                1 => drop(body.remove(at)),
                2 => body[at] ^= 1 << (byte % 8),
                _ => body[at] = *byte,
            }
        }
        if let Some(cut) = self.cut {
            body.truncate(cut.index(body.len() + 1));
        }
        body
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn messages_with_other_values_are_known(families in oracle::families(), seed: u64) {
        let (body, other) = (oracle::encoded(&families), oracle::encoded(&oracle::revalued(&families, seed)));
        let known = compare(protobuf(&body), protobuf(&other));
        if is_simple(&families) {
            prop_assert_eq!(known, (true, true));
        }
    }

    #[test]
    fn damaged_messages_are_what_the_parser_says(
        families in oracle::families(),
        seed in prop::option::of(any::<u64>()),
        damage in damage(),
    ) {
        let other = seed.map_or(families.clone(), |seed| oracle::revalued(&families, seed));
        let (body, other) = (oracle::encoded(&families), damage.of(oracle::encoded(&other)));
        compare(protobuf(&body), protobuf(&other));
        // And the other way round: templates of what is hardly a message.
        compare(protobuf(&other), protobuf(&body));
        compare(protobuf(&other), protobuf(&damage.of(other.clone())));
    }

    #[test]
    fn damaged_text_is_what_the_parser_says(damage in damage()) {
        let body = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\"} 10\na_total{x=\"2\"} 2.5\n\
                    # TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n\
                    # TYPE s summary\ns{quantile=\"0.5\"} 7\ns_sum 9\ns_count 2\n";
        let other = damage.of(body.as_bytes().to_vec());
        compare(body.as_bytes().into(), other[..].into());
        compare(other[..].into(), body.as_bytes().into());
    }
}

#[test]
fn bytes_are_known_in_their_own_syntax_only() {
    let store = Store::new(true, []);
    // No protobuf, though it may be announced as that.
    let text = b"a 1\n";
    let block = stored(&store, text[..].into()).unwrap();
    let template = block.template.clone().unwrap();
    assert!(template.read(&text[..]).is_some());
    assert_eq!(template.read(protobuf(text)), None);
    let family = MetricFamily {
        name: Some("a".into()),
        r#type: Some(1),
        metric: vec![oracle::Metric {
            gauge: Some(oracle::Plain { value: Some(1.0) }),
            ..Default::default()
        }],
        ..Default::default()
    };
    let body = oracle::encoded(&[family]);
    let block = stored(&store, protobuf(&body)).unwrap();
    assert_eq!(block.template.as_ref().unwrap().read(&body[..]), None);
}

/// The lengths around a count that takes another number of bytes change with it; one that does not agree
/// with what it encloses is the parser's to refuse.
#[test]
fn lengths_have_to_agree() {
    let bucket = |count| oracle::Bucket {
        cumulative_count: Some(count),
        upper_bound: Some(1.0),
        ..Default::default()
    };
    let body = |count| {
        let histogram = oracle::Histogram {
            sample_count: Some(count),
            sample_sum: Some(0.5),
            bucket: vec![bucket(count), bucket(count)],
            ..Default::default()
        };
        let metric = oracle::Metric { histogram: Some(histogram), ..Default::default() };
        oracle::encoded(&[MetricFamily {
            name: Some("h".into()),
            r#type: Some(4),
            metric: vec![metric],
            ..Default::default()
        }])
    };
    let (short, long) = (body(1), body(u64::MAX));
    assert_eq!(long.len(), short.len() + 3 * 9);
    assert_eq!(compare(protobuf(&short), protobuf(&long)), (true, true));
    assert_eq!(compare(protobuf(&long), protobuf(&short)), (true, true));
    let mut known = 0;
    for at in 0..long.len() {
        for byte in [long[at].wrapping_add(1), long[at].wrapping_sub(1), long[at] ^ 0x80] {
            let mut other = long.clone();
            other[at] = byte;
            known += usize::from(compare(protobuf(&short), protobuf(&other)).1);
        }
    }
    // Bytes of numbers: all of the sum's, and in the counts those that do not end them early or run on.
    assert!((3 * 8..long.len() * 3).contains(&known), "{known}");
}

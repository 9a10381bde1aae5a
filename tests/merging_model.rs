//! Merging against a naive model: random families of all types, schemas and bounds, rules, keys, pushes that
//! are sent again, deletes and restarts.
//!
//! The model keeps everything that was ever added to a series and adds it up when it is asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use floodway::clock::{Now, UnixNanos};
use floodway::gateway::{Gateway, KeyLimits, Manner, Mode, Persistence, Promise, Settings, ValueView};
use floodway::model::histogram::NativeHistogram;
use floodway::model::{GroupingKey, MergeRule, Number, PushKey, PushOptions};
use floodway::telemetry::Telemetry;

#[path = "support/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "common/protobuf.rs"]
#[allow(dead_code)]
mod protobuf;

use process::Scratch;
use protobuf::Message;

const DELIMITED: &[u8] =
    b"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

const KEYS: KeyLimits = KeyLimits { count: 5, nanos: 400 };

/// A small generator, so that a failure can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// What one push gives a series.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Plain(f64),
    Summary {
        quantiles: Vec<u64>,
        sum: u64,
        count: u64,
    },
    /// Buckets with the observations in each.
    Classic {
        buckets: BTreeMap<u64, u64>,
        over: u64,
        sum: u64,
    },
    Native {
        schema: i32,
        threshold: f64,
        zero: u64,
        positive: BTreeMap<i64, u64>,
        negative: BTreeMap<i64, u64>,
    },
}

type Series = (&'static str, u64);

/// A push: at most one part for each series.
type Push = BTreeMap<Series, Part>;

/// Text families and their types; `n` is pushed as protobuf.
const KINDS: [(&str, &str); 5] =
    [("c", "counter"), ("g", "gauge"), ("h", "histogram"), ("s", "summary"), ("u", "untyped")];

fn part(chance: &mut Chance, family: &str) -> Part {
    match family {
        "c" | "g" | "u" => Part::Plain(chance.below(1000) as f64),
        "s" => Part::Summary {
            quantiles: if chance.below(6) == 0 { vec![1 + chance.below(3)] } else { Vec::new() },
            sum: chance.below(1000),
            count: chance.below(50),
        },
        "h" => {
            let bounds = chance.below(4);
            let buckets = (0..bounds).map(|_| (1 + chance.below(6), chance.below(9))).collect();
            Part::Classic { buckets, over: chance.below(5), sum: chance.below(1000) }
        }
        _ => {
            let schema = chance.below(5) as i32 - 1;
            // Above every threshold.
            let mut side = |most| -> BTreeMap<i64, u64> {
                (0..chance.below(most)).map(|_| (chance.below(30) as i64, 1 + chance.below(9))).collect()
            };
            let (positive, negative) = (side(5), side(3));
            let threshold = chance.pick(&[0.0, 0.125, 0.0625]);
            Part::Native { schema, threshold, zero: chance.below(4), positive, negative }
        }
    }
}

fn body(push: &Push) -> (Bytes, Option<&'static [u8]>) {
    if push.keys().any(|series| series.0 == "n") {
        let metrics = push.iter().map(|((_, label), part)| {
            Message::new().label("l", &label.to_string()).message(7, native(std::slice::from_ref(part)))
        });
        let family = protobuf::family("n", "help", protobuf::HISTOGRAM, metrics);
        return (protobuf::delimited([family]).into(), Some(DELIMITED));
    }
    let mut text = String::new();
    for (family, kind) in KINDS {
        let series: Vec<_> = push.iter().filter(|((name, _), _)| *name == family).collect();
        if !series.is_empty() {
            text += &format!("# TYPE {family} {kind}\n");
        }
        for ((_, label), part) in series {
            match part {
                Part::Plain(value) => text += &format!("{family}{{l=\"{label}\"}} {value}\n"),
                Part::Summary { quantiles, sum, count } => {
                    for quantile in quantiles {
                        text += &format!("s{{l=\"{label}\",quantile=\"0.{quantile}\"}} {quantile}\n");
                    }
                    text += &format!("s_sum{{l=\"{label}\"}} {sum}\ns_count{{l=\"{label}\"}} {count}\n");
                }
                Part::Classic { buckets, over, sum } => {
                    let mut count = 0;
                    for (bound, more) in buckets {
                        count += more;
                        text += &format!("h_bucket{{l=\"{label}\",le=\"{bound}\"}} {count}\n");
                    }
                    count += over;
                    text += &format!("h_bucket{{l=\"{label}\",le=\"+Inf\"}} {count}\n");
                    text += &format!("h_sum{{l=\"{label}\"}} {sum}\nh_count{{l=\"{label}\"}} {count}\n");
                }
                Part::Native { .. } => unreachable!("pushed as protobuf"),
            }
        }
    }
    (text.into(), None)
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// The message of everything that `parts` hold together.
fn native(parts: &[Part]) -> Message {
    let (mut schema, mut threshold, mut zero, mut count) = (i32::MAX, 0f64, 0, 0);
    for part in parts {
        let Part::Native { schema: own, threshold: width, zero: none, positive, negative } = part else {
            panic!("{part:?}")
        };
        schema = schema.min(*own);
        threshold = threshold.max(*width);
        zero += none;
        count += none + positive.values().chain(negative.values()).sum::<u64>();
    }
    let mut sides = [BTreeMap::new(), BTreeMap::new()];
    for part in parts {
        let Part::Native { schema: own, positive, negative, .. } = part else { panic!("{part:?}") };
        for (side, buckets) in sides.iter_mut().zip([negative, positive]) {
            for (at, count) in buckets {
                // The upper bound is 2^(at / 2^own): the next one of the coarser schema is the ceiling.
                let coarse = (*at as f64 / f64::powi(2.0, own - schema)).ceil() as i64;
                *side.entry(coarse).or_insert(0u64) += count;
            }
        }
    }
    let message = Message::new().uint(1, count).double(2, 0.0).uint(5, zigzag(schema.into()));
    let mut message = message.double(6, threshold).uint(7, zero);
    for (side, (spans, deltas)) in sides.iter().zip([(9, 10), (12, 13)]) {
        let (mut end, mut before) = (0, 0);
        for (at, count) in side {
            message = message.message(spans, Message::new().uint(1, zigzag(at - end)).uint(2, 1));
            message = message.uint(deltas, zigzag(*count as i64 - before));
            (end, before) = (at + 1, *count as i64);
        }
    }
    message.message(12, Message::new())
}

/// What a series shows, in words.
fn shown(parts: &[Part]) -> String {
    match &parts[0] {
        Part::Plain(_) => {
            let values = parts.iter().map(|part| match part {
                Part::Plain(value) => *value,
                other => panic!("{other:?}"),
            });
            format!("{:?}", values.sum::<f64>())
        }
        Part::Summary { .. } => {
            let (mut all, mut sums, mut counts) = (Vec::new(), 0, 0);
            for part in parts {
                let Part::Summary { quantiles, sum, count } = part else { panic!("{part:?}") };
                all.extend(quantiles.iter().map(|quantile| (*quantile as f64 / 10.0, *quantile as f64)));
                (sums, counts) = (sums + sum, counts + count);
            }
            format!("{all:?} {:?} {counts}", sums as f64)
        }
        Part::Classic { .. } => {
            let (mut bounds, mut sums, mut counts) = (Vec::new(), 0, 0);
            for part in parts {
                let Part::Classic { buckets, over, sum } = part else { panic!("{part:?}") };
                bounds.extend(buckets.keys().copied());
                sums += sum;
                counts += buckets.values().sum::<u64>() + over;
            }
            bounds.sort_unstable();
            bounds.dedup();
            // An observation counts from the bound on that its own histogram had it at.
            let below = |bound: u64| -> u64 {
                let of = |part: &Part| match part {
                    Part::Classic { buckets, .. } => {
                        buckets.range(..=bound).map(|(_, more)| more).sum::<u64>()
                    }
                    other => panic!("{other:?}"),
                };
                parts.iter().map(of).sum()
            };
            let mut told: Vec<(f64, u64)> = bounds.iter().map(|at| (*at as f64, below(*at))).collect();
            told.push((f64::INFINITY, counts));
            format!("{told:?} {:?} {counts}", sums as f64)
        }
        Part::Native { .. } => {
            let message = protobuf::delimited([native(parts)]);
            // Behind its length, which is one or two bytes.
            let start = if message[0] < 0x80 { 1 } else { 2 };
            NativeHistogram::read(&message[start..]).unwrap().text()
        }
    }
}

fn shown_value(value: &ValueView<'_>) -> String {
    let whole = |number: &Number| match number {
        Number::Int(count) => *count,
        Number::Float(_) => panic!("{number:?}"),
    };
    match value {
        ValueView::Plain(value) => format!("{value:?}"),
        ValueView::Summary { quantiles, sum, count } => format!("{quantiles:?} {sum:?} {count}"),
        ValueView::Histogram { detail: Some(message), .. } => {
            let native = NativeHistogram::read(message).unwrap();
            assert_eq!(native.check(), Ok(()));
            native.text()
        }
        ValueView::Histogram { buckets, sum, count, .. } => {
            let buckets: Vec<(f64, u64)> = buckets.iter().map(|(at, count)| (*at, whole(count))).collect();
            format!("{buckets:?} {sum:?} {}", whole(count))
        }
    }
}

/// A key that was used: its name, its body, when.
type Used = (u64, Bytes, u64);

#[derive(Default)]
struct Model {
    series: BTreeMap<Series, Vec<Part>>,
    keys: Vec<Used>,
}

impl Model {
    /// Whether the push is taken; it is merged then.
    fn merge(&mut self, push: &Push, rule: MergeRule) -> bool {
        let has_quantiles =
            |part: &Part| matches!(part, Part::Summary { quantiles, .. } if !quantiles.is_empty());
        let fits = push.iter().all(|(series, part)| match rule {
            MergeRule::Min | MergeRule::Max => matches!(series.0, "g" | "u"),
            MergeRule::Sum => {
                let stored = self.series.get(series).is_some_and(|parts| has_quantiles(&parts[0]));
                !has_quantiles(part) && !stored
            }
            _ => true,
        });
        if !fits {
            return false;
        }
        if rule == MergeRule::Replace {
            let pushed: Vec<&str> = push.keys().map(|series| series.0).collect();
            self.series.retain(|series, _| !pushed.contains(&series.0));
        }
        for (series, part) in push {
            let parts = self.series.entry(*series).or_default();
            match (rule, &mut parts[..], part) {
                (MergeRule::First, [_, ..], _) => {}
                (MergeRule::Min, [Part::Plain(stored)], Part::Plain(value)) => *stored = stored.min(*value),
                (MergeRule::Max, [Part::Plain(stored)], Part::Plain(value)) => *stored = stored.max(*value),
                // Of what was added up before, only the sum is left.
                (MergeRule::Sum, [Part::Plain(stored)], Part::Plain(value)) => *stored += *value,
                (MergeRule::Sum, ..) => parts.push(part.clone()),
                _ => *parts = vec![part.clone()],
            }
        }
        true
    }

    /// The body under which a key is remembered.
    fn remembered(&self, name: u64, now: u64) -> Option<&Bytes> {
        let last = self.keys.iter().rev().take(KEYS.count).filter(|used| now - used.2 < KEYS.nanos);
        last.filter(|used| used.0 == name).map(|used| &used.1).next()
    }

    fn shown(&self) -> BTreeMap<(String, String), String> {
        let tell = |(series, parts): (&Series, &Vec<Part>)| {
            ((series.0.to_owned(), series.1.to_string()), shown(parts))
        };
        self.series.iter().map(tell).collect()
    }
}

fn open(folder: &Path) -> Gateway {
    let persistence = Persistence { path: folder.to_owned(), promise: Promise::Nothing, salvage: false };
    let settings = Settings { keys: KEYS, ..Settings::default() };
    Gateway::open(settings, Arc::new(Telemetry::new(1)), Some(&persistence)).unwrap()
}

fn shown_by(gateway: &Gateway, key: &GroupingKey) -> BTreeMap<(String, String), String> {
    let Some(group) = gateway.group(key) else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    for family in group.families() {
        for series in family.series() {
            let label = series.labels.iter().find(|label| label.0 == "l").unwrap().1.to_string();
            all.insert((family.name.to_owned(), label), shown_value(&series.value));
        }
    }
    all
}

fn random_push(chance: &mut Chance) -> Push {
    let mut push = Push::new();
    let is_native = chance.below(4) == 0;
    for _ in 0..=chance.below(6) {
        let family = if is_native { "n" } else { chance.pick(&KINDS).0 };
        push.insert((family, chance.below(5)), part(chance, family));
    }
    push
}

fn run(seed: u64, steps: u64) {
    let scratch = Scratch::new();
    let folder = scratch.path("groups");
    let mut chance = Chance(seed);
    let mut gateway = open(&folder);
    let keys = [GroupingKey::new("a", []), GroupingKey::new("b", [("l2", "x")])];
    let mut models = [Model::default(), Model::default()];
    let mut sent: Vec<(Push, MergeRule, Option<u64>)> = Vec::new();
    let mut now = 1000;
    for step in 0..steps {
        now += chance.below(60);
        let at = chance.below(2) as usize;
        let (key, model) = (&keys[at], &mut models[at]);
        let context = format!("seed {seed}, step {step}");
        match chance.below(24) {
            0 => {
                assert_eq!(gateway.delete(key), Ok(!model.series.is_empty()), "{context}");
                *model = Model::default();
            }
            1 => {
                gateway.close();
                gateway = open(&folder);
            }
            3 => {
                let push = random_push(&mut chance);
                let (body, content_type) = body(&push);
                let wall = Now { wall: UnixNanos(now), ..Now::read() };
                gateway.push(Mode::ReplaceGroup, key, content_type, &body, wall).unwrap();
                model.series = push.into_iter().map(|(series, part)| (series, vec![part])).collect();
            }
            choice => {
                let again = chance.below(sent.len().max(1) as u64) as usize;
                let (push, rule, name) = match sent.get(again).filter(|_| choice < 10) {
                    Some(again) => again.clone(),
                    None => {
                        let rules = [
                            MergeRule::Sum,
                            MergeRule::Sum,
                            MergeRule::Sum,
                            MergeRule::Sum,
                            MergeRule::Last,
                            MergeRule::First,
                            MergeRule::Min,
                            MergeRule::Max,
                            MergeRule::Replace,
                        ];
                        let rule = chance.pick(&rules);
                        let name = (chance.below(3) > 0).then(|| chance.below(40));
                        (random_push(&mut chance), rule, name)
                    }
                };
                let (body, content_type) = body(&push);
                let fingerprint = |text: &[u8]| {
                    let mut print = [0u8; 16];
                    // Long enough to tell all these bodies apart, and no hash that could hide a fault.
                    text.iter().enumerate().for_each(|(at, byte)| {
                        print[at % 16] = u8::wrapping_add(print[at % 16].wrapping_mul(31), *byte);
                    });
                    print
                };
                let option =
                    name.map(|name| PushKey { name: Some([name as u8; 16]), body: fingerprint(&body) });
                let options = PushOptions { merge: Some(rule), key: option, ..PushOptions::default() };
                let manner = Manner { mode: Mode::ReplaceFamilies, options };
                let wall = Now { wall: UnixNanos(now), ..Now::read() };
                let pushed = gateway.push_telling(manner, key, content_type, &body, wall);
                let name = name.filter(|_| rule != MergeRule::Replace);
                let known = name.and_then(|name| model.remembered(name, now).cloned());
                let told =
                    pushed.as_ref().map(|passed| passed.replayed).map_err(|refusal| refusal.reason.label());
                // What a rule does not fit is refused before the store is looked at.
                let is_odd = push.iter().any(|(series, part)| match rule {
                    MergeRule::Min | MergeRule::Max => !matches!(series.0, "g" | "u"),
                    MergeRule::Sum => {
                        matches!(part, Part::Summary { quantiles, .. } if !quantiles.is_empty())
                    }
                    _ => false,
                });
                let expect = match known {
                    _ if is_odd => Err("unmergeable"),
                    Some(body_then) if body_then == body => Ok(true),
                    Some(_) => Err("key_reused"),
                    None if model.merge(&push, rule) => {
                        model.keys.extend(name.map(|name| (name, body, now)));
                        Ok(false)
                    }
                    None => Err("unmergeable"),
                };
                assert_eq!(told, expect, "{context}: {rule} {push:?}");
                sent.push((push, rule, option.map(|key| key.name.unwrap()[0].into())));
            }
        }
        for (key, model) in keys.iter().zip(&models) {
            assert_eq!(shown_by(&gateway, key), model.shown(), "{context}");
        }
    }
}

#[test]
fn everything_is_as_the_model_has_it() {
    for seed in 0..12 {
        run(seed, 120);
    }
}

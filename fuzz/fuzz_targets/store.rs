//! Any order of pushes, deletes and scrapes: the gateway answers as a naive model does, holds what the model
//! holds, and shows it. Two bytes are one step: what is done to which group, and the body.

#![no_main]

#[path = "../../tests/support/model.rs"]
#[allow(dead_code)]
mod model;

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;
use floodway::clock::Now;
use floodway::gateway::{Encoding, Form, Gateway, Settings, Wanted};
use floodway::model::MetricType;
use floodway::store::Mode;
use floodway::telemetry::Telemetry;
use libfuzzer_sys::fuzz_target;
use model::{BODIES, KEYS, Model, Op, grouping_key, observed};

const STEPS_MAX: usize = 64;

fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    GATEWAY.get_or_init(|| Gateway::new(Settings::default(), Arc::new(Telemetry::new(1))).expect("a thread"))
}

fuzz_target!(|input: &[u8]| {
    let gateway = gateway();
    gateway.wipe().expect("nothing is kept on a disk");
    let mut model = Model::default();
    for (step, bytes) in input.chunks_exact(2).take(STEPS_MAX).enumerate() {
        let key = KEYS[usize::from(bytes[0] >> 3) % KEYS.len()];
        let op = match bytes[0] & 7 {
            0 => Op::Delete(key),
            1 => {
                assert_eq!(scraped(gateway), shown(&model), "step {step}");
                continue;
            }
            kind => {
                let mode = if kind < 5 { Mode::ReplaceGroup } else { Mode::ReplaceFamilies };
                // Values that repeat make bodies that repeat.
                let value = (step % 3).to_string();
                Op::Push(mode, key, BODIES[usize::from(bytes[1]) % BODIES.len()].replace('N', &value))
            }
        };
        assert_eq!(apply(gateway, &op), model.apply(&op), "step {step}: {op:?}");
        assert_eq!(observed(&gateway.groups()), model, "step {step}: {op:?}");
    }
    assert_eq!(scraped(gateway), shown(&model));
});

fn apply(gateway: &Gateway, op: &Op) -> bool {
    match op {
        Op::Delete(key) => gateway.delete(&grouping_key(key)).expect("nothing is kept on a disk"),
        Op::Push(mode, key, body) => {
            let body = Bytes::copy_from_slice(body.as_bytes());
            gateway.push(*mode, &grouping_key(key), None, &body, Now::read()).is_ok()
        }
    }
}

/// The lines of the model's families that a scrape shows, sorted.
fn scraped(gateway: &Gateway) -> Vec<String> {
    let wanted = Wanted { form: Form::negotiate("", false), encoding: Encoding::Identity };
    let (slices, _lease) = wait(gateway.scrape(wanted, None)).expect("a renderer").slices.expect("a body");
    let text = slices.list().concat();
    let text = std::str::from_utf8(&text).expect("text");
    let is_ours = |line: &&str| {
        line.starts_with("a{") || line.starts_with("a_") || line.starts_with("b{") || line.starts_with("b_")
    };
    let mut lines: Vec<String> = text.lines().filter(is_ours).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The lines that the model comes to, sorted.
fn shown(model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, (kind, series)) in model.0.values().flatten() {
        for (labels, value) in series {
            let labels = |more: Option<(&str, &str)>| {
                let own = labels.iter().map(|(name, value)| format!("{name}=\"{value}\""));
                // Bounds stand last.
                own.chain(more.map(|(name, value)| format!("{name}=\"{value}\"")))
                    .collect::<Vec<_>>()
                    .join(",")
            };
            let value = f64::from_bits(*value);
            match kind {
                MetricType::Summary | MetricType::Histogram => {
                    if *kind == MetricType::Histogram {
                        lines.push(format!("{name}_bucket{{{}}} 0", labels(Some(("le", "+Inf")))));
                    }
                    lines.push(format!("{name}_sum{{{}}} {value}", labels(None)));
                    lines.push(format!("{name}_count{{{}}} 0", labels(None)));
                }
                _ => lines.push(format!("{name}{{{}}} {value}", labels(None))),
            }
        }
    }
    lines.sort();
    lines
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

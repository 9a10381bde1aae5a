//! What a scrape costs the renderer: nothing changed, some groups changed, all did; plain and gzip, whose
//! member is stitched from the segments' own.
//!
//! Each case asserts that the exposition is whole: the length of the plain form, which the gzip form's
//! trailer must name too.

use std::fmt::Write;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use floodway::clock::Now;
use floodway::gateway::{Encoding, Form, Gateway, Mode, Settings, Wanted};
use floodway::model::GroupingKey;
use floodway::telemetry::Telemetry;

const GROUPS: usize = 1000;

fn body(value: usize) -> Bytes {
    let mut body = String::new();
    for family in 0..10 {
        let name = format!("batch_job_stage_{family}_records_total");
        let _ = write!(body, "# HELP {name} What the stage did.\n# TYPE {name} counter\n");
        for shard in 0..10 {
            // Values of one length, so that expositions keep theirs.
            let value = 1000 + (value * 7 + shard) % 9000;
            let _ = writeln!(body, "{name}{{shard=\"{shard}\",region=\"eu-west-1\"}} {value}");
        }
    }
    body.into()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

/// Waits for `future` on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut context, mut future) = (Context::from_waker(&waker), pin!(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn scrape(gateway: &Gateway, encoding: Encoding) -> Vec<Bytes> {
    let wanted = Wanted { form: Form::negotiate("", false), encoding };
    let rendered = wait(gateway.scrape(wanted, None)).expect("the renderer runs");
    rendered.slices.expect("no ETag was sent").0.list().to_vec()
}

/// How long the plain form is: by its bytes, or by the last four of a gzip member (RFC 1952 section 2.3.1).
fn plain_bytes(slices: &[Bytes], encoding: Encoding) -> usize {
    match encoding {
        Encoding::Gzip => {
            let last = slices.last().expect("a trailer");
            let length = last[last.len() - 4..].try_into().expect("four bytes");
            u32::from_le_bytes(length) as usize
        }
        _ => slices.iter().map(Bytes::len).sum(),
    }
}

fn scrapes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scrape of 100,000 series");
    group.sample_size(20);
    let keys: Vec<GroupingKey> =
        (0..GROUPS).map(|at| GroupingKey::new("nightly", [("instance", &*format!("worker-{at}"))])).collect();
    let bodies: Vec<Bytes> = (0..64).map(body).collect();
    for (name, encoding) in [("plain", Encoding::Identity), ("gzip", Encoding::Gzip)] {
        let gateway = Gateway::new(Settings::default(), Arc::new(Telemetry::new(1)))
            .expect("a thread for the renderer");
        let mut turn = 0;
        let mut push = |count: usize| {
            turn += 1;
            for at in 0..count {
                let key = &keys[(at * 97 + turn) % GROUPS];
                let body = &bodies[(at + turn) % bodies.len()];
                gateway
                    .push(Mode::ReplaceGroup, key, None, body, Now::read())
                    .expect("nothing contradicts it");
            }
        };
        push(GROUPS);
        let length = plain_bytes(&scrape(&gateway, encoding), encoding);
        group.throughput(Throughput::Bytes(length as u64));
        for changed in [0, GROUPS / 100, GROUPS] {
            group.bench_function(format!("{name}, {changed} of {GROUPS} groups pushed"), |bencher| {
                bencher.iter(|| {
                    push(changed);
                    let slices = black_box(scrape(&gateway, encoding));
                    // Our own metrics, and times, are of another length now and then.
                    let now = plain_bytes(&slices, encoding);
                    assert!(now.abs_diff(length) < length / 50, "{now} bytes instead of {length}");
                })
            });
        }
        assert_eq!(gateway.groups().len(), GROUPS);
    }
    group.finish();
}

criterion_group!(benches, scrapes);
criterion_main!(benches);

//! Many connections push to many groups while another scrapes: no answer is wrong, no push is seen in
//! part, none is seen to go back, and none that was acknowledged is missing.
//!
//! Each group belongs to one connection, so that its last acknowledged push is known. All families of a
//! push carry the same number, which grows from push to push.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::{Connection, Server};

const CONNECTIONS: usize = 64;
const GROUPS: usize = 1000;
const ROUNDS: u64 = 120;

/// Families of every push; each shows the push's number.
const FAMILIES: [&str; 4] = ["load_a", "load_b", "load_c", "load_d_sum"];

/// Every so many groups, one is deleted now and then.
const DELETED_EVERY: usize = 10;

fn path(group: usize) -> String {
    format!("/metrics/job/load/group/{group}")
}

fn body(number: u64) -> String {
    format!(
        "# TYPE load_a counter\nload_a {number}\nload_b{{x=\"1\"}} {number}\n# TYPE load_c gauge\nload_c {number}\n\
         # TYPE load_d summary\nload_d{{quantile=\"0.5\"}} 1\nload_d_sum {number}\nload_d_count 1\n"
    )
}

/// The number of every push that was acknowledged last, by group; 0 before the first.
type Acknowledged = Vec<AtomicU64>;

fn push_rounds(mut connection: Connection, first: usize, acknowledged: &Acknowledged) {
    for round in 1..=ROUNDS {
        for group in (first..GROUPS).step_by(CONNECTIONS) {
            let path = path(group);
            if group.is_multiple_of(DELETED_EVERY) && round % 5 == 0 {
                connection.send("DELETE", &path, &[], b"").is_empty_with(202);
            }
            let method = if (group as u64 + round).is_multiple_of(3) { "PUT" } else { "POST" };
            // The seventh of each ten is refused and must leave no trace of its number.
            if (group as u64 + round) % 10 == 7 {
                let refused =
                    body(round + 1_000_000).replace("load_b{x=\"1\"}", "load_a_of_nobody{__x=\"1\"}");
                assert_eq!(connection.send(method, &path, &[], refused.as_bytes()).status, 400);
            }
            connection.send(method, &path, &[], body(round).as_bytes()).is_empty_with(200);
            acknowledged[group].store(round, Ordering::SeqCst);
        }
    }
}

/// The number in each family of each group of an exposition.
fn numbers(text: &str) -> HashMap<usize, Vec<(&str, u64)>> {
    let mut found: HashMap<usize, Vec<(&str, u64)>> = HashMap::new();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once('{') else { continue };
        if !FAMILIES.contains(&name) {
            assert!(!name.starts_with("load_a_"), "{line}");
            continue;
        }
        let (_, rest) = rest.split_once("group=\"").unwrap();
        let (group, rest) = rest.split_once('"').unwrap();
        let number = rest.rsplit(' ').next().unwrap().parse().unwrap();
        found.entry(group.parse().unwrap()).or_default().push((name, number));
    }
    found
}

/// What a scraper knows of what it has seen.
struct Watcher {
    seen: Vec<u64>,
}

impl Watcher {
    /// `least` are the numbers that were acknowledged before the scrape began.
    fn check(&mut self, text: &str, least: &[u64]) {
        assert!(text.ends_with('\n'), "a scrape is cut");
        let found = numbers(text);
        for (group, least) in least.iter().enumerate() {
            let Some(numbers) = found.get(&group) else {
                let may_be_gone = *least == 0 || group.is_multiple_of(DELETED_EVERY);
                assert!(may_be_gone, "group {group} is missing, {} was acknowledged", *least);
                continue;
            };
            let number = numbers[0].1;
            let mut names: Vec<&str> = numbers.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            assert_eq!(names, FAMILIES, "group {group} is not whole");
            assert!(numbers.iter().all(|(_, other)| *other == number), "group {group} is torn: {numbers:?}");
            assert!(
                number >= self.seen[group],
                "group {group} went back to {number} from {}",
                self.seen[group]
            );
            assert!(number >= *least, "group {group} shows {number}, {} was acknowledged", *least);
            self.seen[group] = number;
        }
    }
}

fn watch(mut connection: Connection, acknowledged: &Acknowledged, done: &AtomicBool) -> usize {
    let mut watcher = Watcher { seen: vec![0; GROUPS] };
    let mut scrapes = 0;
    loop {
        let last = done.load(Ordering::SeqCst);
        let least: Vec<u64> = acknowledged.iter().map(|number| number.load(Ordering::SeqCst)).collect();
        // Every other scrape as Prometheus does it, compressed.
        let coding = if scrapes % 2 == 1 { "gzip" } else { "identity" };
        let answer = connection.send("GET", "/metrics", &[("Accept-Encoding", coding)], b"");
        assert_eq!(answer.status, 200);
        watcher.check(&answer.unpacked(), &least);
        scrapes += 1;
        if last {
            assert_eq!(watcher.seen, vec![ROUNDS; GROUPS]);
            return scrapes;
        }
    }
}

/// Ends the scraper even if a pusher failed.
struct Done<'d>(&'d AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn pushes_are_seen_whole_in_order_and_at_once() {
    let server = Server::start(&[]);
    let acknowledged: Acknowledged = (0..GROUPS).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(server.connect(), &acknowledged, &done));
        {
            let _done = Done(&done);
            let pushers: Vec<_> = (0..CONNECTIONS)
                .map(|first| {
                    let (connection, acknowledged) = (server.connect(), &acknowledged);
                    scope.spawn(move || push_rounds(connection, first, acknowledged))
                })
                .collect();
            pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        }
        assert!(watcher.join().unwrap() > 1);
    });
    // What was pushed last is there in the other views too.
    let groups = server.api("/api/v1/metrics");
    assert_eq!(groups.as_array().unwrap().len(), GROUPS);
    for group in groups.as_array().unwrap() {
        assert_eq!(group["load_a"]["metrics"][0]["value"], ROUNDS.to_string());
    }
    let scrape = server.scrape();
    assert_eq!(scrape.value("floodway_groups"), Some(GROUPS as f64));
    let deleted = GROUPS.div_ceil(DELETED_EVERY) as u64 * (ROUNDS / 5);
    let series = "pushgateway_http_requests_total{code=\"202\",handler=\"delete\",method=\"delete\"}";
    assert_eq!(scrape.value(series), Some(deleted as f64));
}

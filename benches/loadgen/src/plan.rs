//! What is sent next, and what the server must then hold.
//!
//! A group has one request under way at most, so its requests take effect in the order of their answers and
//! what it holds at the end is known exactly.

use std::io::Write;

use crate::body::{self, Layout, Part, VARIANTS};
use crate::options::Options;

/// Bodies of all variants together; there are two variants at least.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Put,
    Post,
    Delete,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub group: u32,
    pub method: Method,
    variant: u16,
}

/// What a group holds: the variant of its first families and of the others. `None` is a group that this run
/// has not changed, which may hold what an earlier one pushed.
pub type Held = Option<[Option<u16>; 2]>;

struct Group {
    busy: bool,
    held: Held,
}

pub struct Plan {
    groups: Vec<Group>,
    next_group: usize,
    turn: u64,
    random: u64,
    weights: [u32; 3],
    /// Parts of heads that never change.
    head_start: String,
    head_middle: String,
    /// What only a request with a body says.
    head_of_body: String,
    /// For each part and variant.
    bodies: [Vec<Vec<u8>>; 2],
}

impl Plan {
    pub fn new(options: &Options) -> Plan {
        let layout = Layout::new(options.series);
        let first = layout.body(Part::Whole, 0, options.format, options.gzip);
        let variants = (BODIES_BYTES_MAX / first.len().max(1)).clamp(2, usize::from(VARIANTS)) as u16;
        let bodies = |part| {
            (0..variants).map(|variant| layout.body(part, variant, options.format, options.gzip)).collect()
        };
        let coding = if options.gzip { "Content-Encoding: gzip\r\n" } else { "" };
        let close = if options.new_connections { "Connection: close\r\n" } else { "" };
        let needs_halves = options.mix.post > 0;
        Plan {
            groups: (0..options.groups).map(|_| Group { busy: false, held: None }).collect(),
            next_group: 0,
            turn: options.seed,
            random: options.seed | 1,
            weights: [options.mix.put, options.mix.post, options.mix.delete],
            head_start: format!("{}/metrics/job/{}/instance/i", options.prefix, options.job),
            head_middle: format!(" HTTP/1.1\r\nHost: {}\r\n{close}Content-Length: ", options.target),
            head_of_body: format!("\r\n{coding}Content-Type: {}", body::content_type(options.format)),
            bodies: [bodies(Part::Whole), if needs_halves { bodies(Part::FirstHalf) } else { Vec::new() }],
        }
    }

    /// The next request, of a group that has none under way; `None` while all have.
    pub fn next(&mut self) -> Option<Request> {
        let count = self.groups.len();
        let at = (self.next_group..count).chain(0..self.next_group).find(|at| !self.groups[*at].busy)?;
        self.groups[at].busy = true;
        self.next_group = (at + 1) % count;
        self.turn += u64::from(at + 1 == count);
        let method = self.pick();
        // Another variant each time round, so that no push repeats what is stored.
        let variant = ((self.turn + at as u64 * 5) % self.bodies[0].len() as u64) as u16;
        Some(Request { group: at as u32, method, variant })
    }

    fn pick(&mut self) -> Method {
        let [put, post, delete] = self.weights;
        if post + delete == 0 {
            return Method::Put;
        }
        // xorshift64: the order of methods is all that hangs on it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let point = (self.random >> 32) % u64::from(put + post + delete);
        match point {
            point if point < u64::from(put) => Method::Put,
            point if point < u64::from(put + post) => Method::Post,
            _ => Method::Delete,
        }
    }

    /// Writes the head of a request and returns its body.
    pub fn write(&self, request: Request, head: &mut Vec<u8>) -> &[u8] {
        let (method, body): (_, &[u8]) = match request.method {
            Method::Put => ("PUT ", &self.bodies[0][usize::from(request.variant)]),
            Method::Post => ("POST ", &self.bodies[1][usize::from(request.variant)]),
            Method::Delete => ("DELETE ", &[]),
        };
        head.extend_from_slice(method.as_bytes());
        head.extend_from_slice(self.head_start.as_bytes());
        // Writing to a vector does not fail.
        let _ = write!(head, "{}", request.group);
        head.extend_from_slice(self.head_middle.as_bytes());
        let _ = write!(head, "{}", body.len());
        if !body.is_empty() {
            head.extend_from_slice(self.head_of_body.as_bytes());
        }
        head.extend_from_slice(b"\r\n\r\n");
        body
    }

    /// Bytes of a body of a PUT.
    pub fn body_bytes(&self) -> usize {
        self.bodies[0][0].len()
    }

    /// Takes down what an answered request has done.
    pub fn answered(&mut self, request: Request, accepted: bool) {
        let group = &mut self.groups[request.group as usize];
        group.busy = false;
        if accepted {
            group.held = match (request.method, group.held) {
                (Method::Put, _) => Some([Some(request.variant); 2]),
                (Method::Delete, _) => Some([None; 2]),
                (Method::Post, Some([_, others])) => Some([Some(request.variant), others]),
                // What the other families hold is not known, so the group is not compared.
                (Method::Post, None) => None,
            };
        }
    }

    /// What each group must hold now.
    pub fn held(&self) -> Vec<Held> {
        self.groups.iter().map(|group| group.held).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn plan(arguments: &str) -> Plan {
        let arguments = ["loadgen", "127.0.0.1:1"].into_iter().chain(arguments.split_whitespace());
        Plan::new(&Options::parse_from(arguments))
    }

    #[test]
    fn a_group_has_one_request_at_most() {
        let mut plan = plan("--groups 2");
        let (first, second) = (plan.next().unwrap(), plan.next().unwrap());
        assert_eq!((first.group, second.group), (0, 1));
        assert!(plan.next().is_none());
        plan.answered(second, true);
        let third = plan.next().unwrap();
        assert_eq!(third.group, 1);
        assert_ne!(third.variant, second.variant);
    }

    #[test]
    fn groups_hold_what_was_accepted_last() {
        let mut plan = plan("--groups 1 --mix 1,1,1");
        let request = |method, variant| Request { group: 0, method, variant };
        plan.answered(request(Method::Post, 1), true);
        assert_eq!(plan.held(), [None]);
        plan.answered(request(Method::Delete, 0), true);
        plan.answered(request(Method::Post, 1), true);
        assert_eq!(plan.held(), [Some([Some(1), None])]);
        plan.answered(request(Method::Put, 2), true);
        plan.answered(request(Method::Post, 3), true);
        plan.answered(request(Method::Delete, 0), false);
        assert_eq!(plan.held(), [Some([Some(3), Some(2)])]);
        plan.answered(request(Method::Delete, 0), true);
        assert_eq!(plan.held(), [Some([None, None])]);
    }

    #[test]
    fn all_methods_come_up_by_weight() {
        let mut plan = plan("--groups 1 --mix 8,1,1");
        let mut seen = [0; 3];
        for _ in 0..1000 {
            let request = plan.next().unwrap();
            seen[request.method as usize] += 1;
            plan.answered(request, true);
        }
        assert!(seen[0] > 700 && seen[1] > 50 && seen[2] > 50, "{seen:?}");
    }

    #[test]
    fn heads_say_where_and_how_long() {
        let plan = plan("--groups 1 --series 1 --gzip --job j --prefix /p --new-connections");
        let mut head = Vec::new();
        let body = plan.write(Request { group: 7, method: Method::Put, variant: 0 }, &mut head);
        let head = String::from_utf8(head).unwrap();
        assert!(
            head.starts_with("PUT /p/metrics/job/j/instance/i7 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"),
            "{head}"
        );
        assert!(head.contains("Content-Encoding: gzip\r\n") && head.contains("Connection: close\r\n"));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(head.ends_with("Content-Type: text/plain; version=0.0.4\r\n\r\n"));
        let mut head = Vec::new();
        assert!(plan.write(Request { group: 7, method: Method::Delete, variant: 0 }, &mut head).is_empty());
        assert!(head.ends_with(b"Content-Length: 0\r\n\r\n"));
    }
}

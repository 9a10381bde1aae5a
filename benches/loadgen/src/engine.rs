//! The load itself: one thread that sends what is due and takes what is answered.
//!
//! In the open loop a request is due at a fixed time, and its latency counts from then, whether a connection
//! was free or not. Within two milliseconds of the next due time the thread does not sleep: timers are coarser
//! than the latencies to be measured.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use mio::{Events, Poll, Registry, Token};

use crate::connection::{Connection, Event, UnderWay};
use crate::cpu;
use crate::options::Options;
use crate::plan::Plan;
use crate::scrape::Scraper;
use crate::tally::Tally;

const SCRAPER: Token = Token(usize::MAX);

/// How long answers are waited for after the last request was sent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sleeps are this much shorter than the time until the next request.
const SLEEPLESS: Duration = Duration::from_millis(2);

/// Failures after which the load ends.
const FAILURES_MAX: u64 = 100;

/// What came of the load.
pub struct Outcome {
    pub tally: Tally,
    pub plan: Plan,
}

/// Loads the server as `options` say.
///
/// # Errors
///
/// The system does not give what the load takes; what the server does wrong is in the tally.
pub fn run(options: &Options, address: SocketAddr, bar: &ProgressBar) -> Result<Outcome, String> {
    let mut poll = Poll::new().map_err(|error| format!("epoll: {error}"))?;
    let registry = poll.registry().try_clone().map_err(|error| format!("epoll: {error}"))?;
    let mut engine = Engine::new(options, address, registry)?;
    let mut events = Events::with_capacity(1024);
    let mut shown = engine.begun;
    loop {
        let now = Instant::now();
        engine.mark(now)?;
        engine.dispatch(now);
        engine.scrape(now);
        if engine.is_over(now) {
            break;
        }
        let wait = engine.wait(now);
        match poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(format!("epoll: {error}"));
            }
            _ => {}
        }
        for event in &events {
            match event.token() {
                SCRAPER => engine.scraper.iter_mut().for_each(Scraper::wake),
                Token(at) => engine.ready(at, event.is_readable(), event.is_read_closed()),
            }
        }
        if now - shown > Duration::from_millis(100) {
            shown = now;
            bar.set_position((now - engine.begun).as_millis() as u64);
            bar.set_message(format!("{} answered", engine.tally.answered));
        }
    }
    engine.finish()
}

struct Engine<'o> {
    options: &'o Options,
    address: SocketAddr,
    registry: Registry,
    connections: Vec<Connection>,
    /// Connections that can take a request, in turns; each at most once, as `is_free` says.
    free: VecDeque<usize>,
    is_free: Vec<bool>,
    scraper: Option<Scraper>,
    plan: Plan,
    tally: Tally,
    room: Vec<u8>,
    begun: Instant,
    /// From when on requests count.
    counts_from: Instant,
    ends: Instant,
    sent: u64,
    /// Whether all connections were busy when a request was due.
    held_up: bool,
    marked: bool,
}

impl<'o> Engine<'o> {
    fn new(options: &'o Options, address: SocketAddr, registry: Registry) -> Result<Engine<'o>, String> {
        let plan = Plan::new(options);
        // A group has one request under way at most.
        let count = options.connections.min(options.groups as usize);
        let mut connections: Vec<Connection> = (0..count).map(|_| Connection::default()).collect();
        if !options.new_connections {
            for (at, connection) in connections.iter_mut().enumerate() {
                connection.open(address, &registry, Token(at))?;
            }
        }
        let begun = Instant::now();
        let counts_from = begun + options.warm_up();
        Ok(Engine {
            options,
            address,
            registry,
            free: (0..connections.len()).collect(),
            is_free: vec![true; connections.len()],
            connections,
            scraper: Scraper::new(options, address, begun),
            plan,
            tally: Tally::new(options.scrape_every.is_some()),
            room: vec![0; 64 * 1024],
            begun,
            counts_from,
            ends: counts_from + options.load_time(),
            sent: 0,
            held_up: false,
            marked: false,
        })
    }

    /// Starts counting when the warm-up is over.
    fn mark(&mut self, now: Instant) -> Result<(), String> {
        if !self.marked && now >= self.counts_from {
            self.marked = true;
            self.tally.mark(now, cpu::Clocks::read(&self.options.pid)?);
        }
        Ok(())
    }

    /// When the next request is due; `None` if there is no further one.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.sent >= self.options.requests || self.tally.failed >= FAILURES_MAX {
            return None;
        }
        let due = match self.options.rate {
            None => now,
            Some(rate) => self.begun + Duration::from_secs_f64(self.sent as f64 / rate),
        };
        (due < self.ends).then_some(due)
    }

    /// Sends what is due on connections that are free.
    fn dispatch(&mut self, now: Instant) {
        for _ in 0..self.free.len() {
            if self.next_due(now).is_none_or(|due| due > now) {
                self.held_up = false;
                return;
            }
            if let Some(at) = self.free.pop_front() {
                self.is_free[at] = false;
                self.send(at, now);
                self.release(at);
            }
        }
        self.held_up = self.next_due(now).is_some_and(|due| due <= now);
    }

    /// Puts a connection among the free ones if it can take a request.
    fn release(&mut self, at: usize) {
        let connection = &self.connections[at];
        // One that is used once must be closed before another takes its place.
        let usable = !self.options.new_connections || !connection.is_open();
        if usable && connection.under_way() < self.options.pipeline && !self.is_free[at] {
            self.is_free[at] = true;
            self.free.push_back(at);
        }
    }

    /// Sends on a connection as many requests as are due and as it may have.
    fn send(&mut self, at: usize, now: Instant) {
        let before = self.connections[at].under_way();
        while self.connections[at].under_way() < self.options.pipeline {
            let Some(due) = self.next_due(now).filter(|due| *due <= now) else { break };
            if !self.connections[at].is_open()
                && let Err(fault) = self.connections[at].open(self.address, &self.registry, Token(at))
            {
                return self.tally.fail(1, fault);
            }
            let Some(request) = self.plan.next() else { break };
            self.connections[at].push(&self.plan, request, due);
            self.sent += 1;
            if !self.held_up && due >= self.counts_from {
                self.tally.sent_late(now - due);
            }
        }
        if self.connections[at].under_way() > before
            && let Err(fault) = self.connections[at].flush()
        {
            self.lose(at, fault);
        }
    }

    /// Goes on with a connection that the kernel has reported.
    fn ready(&mut self, at: usize, readable: bool, closed: bool) {
        if let Err(fault) = self.connections[at].flush() {
            return self.lose(at, fault);
        }
        if !readable && !closed {
            return;
        }
        let (mut answered, mut over) = (Vec::new(), false);
        let read = self.connections[at].read(&mut self.room, closed, |event| match event {
            Event::Answered(under_way, answer) => answered.push((under_way, answer)),
            Event::Over => over = true,
        });
        let now = Instant::now();
        let closes = answered.iter().any(|(_, answer)| answer.closes);
        for (under_way, answer) in answered {
            let accepted = matches!(answer.status, 200 | 202 | 204);
            self.answered(under_way, accepted, now);
            if !accepted {
                self.tally.fail(1, format!("a request was answered {}", answer.status));
            }
        }
        if let Err(fault) = read {
            return self.lose(at, fault);
        }
        let unanswered = self.connections[at].under_way();
        if over && unanswered > 0 {
            return self.lose(at, "the server closed the connection before it answered".to_owned());
        }
        if over || (self.options.new_connections && unanswered == 0 && !closes) {
            // Nothing is under way.
            self.connections[at].close();
        }
        if !self.options.new_connections || !self.connections[at].is_open() {
            self.send(at, now);
            self.release(at);
        }
    }

    fn answered(&mut self, under_way: UnderWay, accepted: bool, now: Instant) {
        self.plan.answered(under_way.request, accepted);
        let overlaps = self.scraper.as_ref().is_some_and(|scraper| scraper.overlaps(under_way.due));
        self.tally.answer(under_way, now, under_way.due >= self.counts_from, overlaps);
    }

    /// Gives a broken connection up; the next request opens it anew.
    fn lose(&mut self, at: usize, fault: String) {
        let lost = self.connections[at].close();
        self.tally.fail(lost.len().max(1) as u64, fault);
        for under_way in &lost {
            self.plan.answered(under_way.request, false);
        }
        self.release(at);
    }

    fn scrape(&mut self, now: Instant) {
        let wanted = self.next_due(now).is_some();
        if let Some(scraper) = &mut self.scraper
            && let Err(fault) = scraper.turn(now, wanted, &mut self.room, &self.registry, SCRAPER)
        {
            self.tally.fail(1, fault);
            self.scraper = None;
        }
    }

    fn is_over(&mut self, now: Instant) -> bool {
        if self.next_due(now).is_some() {
            return false;
        }
        let waiting: usize = self.connections.iter().map(Connection::under_way).sum();
        let scraping = self.scraper.as_ref().is_some_and(Scraper::is_scraping);
        if now > self.ends + PATIENCE {
            self.tally.fail(waiting.max(1) as u64, "no answer for a minute".to_owned());
            return true;
        }
        waiting == 0 && !scraping
    }

    fn wait(&self, now: Instant) -> Duration {
        let busy = self.scraper.as_ref().is_some_and(Scraper::is_ready);
        if busy {
            return Duration::ZERO;
        }
        let most = Duration::from_millis(100);
        match self.next_due(now) {
            // Answers are what there is to wait for.
            _ if self.free.is_empty() || self.options.rate.is_none() => most,
            Some(due) => due.saturating_duration_since(now).saturating_sub(SLEEPLESS).min(most),
            None => Duration::from_millis(1),
        }
    }

    fn finish(mut self) -> Result<Outcome, String> {
        let now = Instant::now();
        self.tally.end(now, cpu::Clocks::read(&self.options.pid)?);
        if let Some(scraper) = &mut self.scraper {
            self.tally.scrapes = std::mem::take(&mut scraper.done);
        }
        Ok(Outcome { tally: self.tally, plan: self.plan })
    }
}

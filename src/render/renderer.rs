//! The thread that keeps the exposition: it alone follows the store's feed and touches the index.
//!
//! A scrape asks for a rendering that begins after its own request; requests that wait together share
//! one. So a scrape shows every push that was answered before it, each wholly or not at all. Rendering
//! and compressing happen here, never on a worker, and at a lower priority than the workers have.
//!
//! # Whole expositions
//!
//! States are loaded one after the other while pushes go on, so a family that moves from one group to
//! another in between could be seen twice. The renderer therefore takes the feed again until a round
//! changes no shape; if shapes keep changing, it holds changes of shape back for its last round.
//!
//! # Ahead of the scrape
//!
//! Prometheus comes at a steady interval. Once scrapes keep a rhythm, the renderer brings its segments up
//! to date shortly before the next one, which then finds little left to do.
//!
//! # Beside the workers
//!
//! A worker that shares its core with this thread should not wait for it. The scheduler would let it wait
//! for a tick, milliseconds; so the renderer offers the core again and again. That costs a system call in
//! [`STRETCH`], and nothing more where no worker is waiting.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::coding::Coder;
use super::index::{Change, Index};
use super::lease::{Lease, Leases};
use super::negotiate::Wanted;
use super::rhythm::Rhythm;
use super::slices::Slices;
use crate::model::Limit;
use crate::store::Store;
use crate::store::group::RENDERER;
use crate::telemetry::Telemetry;

/// Rounds over the feed before changes of shape are held back.
const ROUNDS_MAX: usize = 4;

/// Scrapes after which an answer that none of them asked for is no longer kept ready.
const SCRAPES_KEPT: u64 = 20;

/// How the renderer's priority stands below that of the workers (a difference in nice values).
const NICE: i32 = 5;

/// How long the renderer works before it offers its core to others.
const STRETCH: Duration = Duration::from_micros(100);

/// What a scrape is given.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Names the pushed part of the exposition in this form; weak, since our own metrics move.
    pub etag: Arc<str>,
    /// `None` if the scraper has what `etag` names. The lease is kept until the slices are written.
    pub slices: Option<(Slices, Arc<Lease>)>,
}

/// What the renderer's thread is told.
pub enum Message {
    Render(Request),
    /// Slices that are written to whoever asked for them; true if their lease was revoked.
    Written(Slices, bool),
}

/// A scrape that waits.
pub struct Request {
    wanted: Wanted,
    if_none_match: Option<String>,
    answer: oneshot::Sender<Rendered>,
    /// Where its slices are sent when they are written.
    home: mpsc::Sender<Message>,
}

/// A handle on the renderer's thread, which ends when the last handle is dropped and everything is written.
pub struct Renderer {
    messages: mpsc::Sender<Message>,
}

impl Renderer {
    /// Starts the thread. It keeps at most about `kept_bytes_max` of segments ready.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(
        store: Arc<Store>,
        telemetry: Arc<Telemetry>,
        kept_bytes_max: usize,
    ) -> std::io::Result<Renderer> {
        let (messages, waiting) = mpsc::channel();
        std::thread::Builder::new().name("renderer".into()).spawn(move || {
            // Without the lower priority it only takes more of the workers' time.
            let _ = rustix::process::nice(NICE);
            Work {
                index: Index::new(store.checks()),
                store,
                telemetry,
                coder: Coder::default(),
                process: RandomState::new().hash_one("etag"),
                asked: HashMap::new(),
                scrapes: 0,
                kept_bytes_max,
                leases: Leases::default(),
                rhythm: Rhythm::default(),
                is_prepared: false,
                lead: Duration::ZERO,
            }
            .run(&waiting);
        })?;
        Ok(Renderer { messages })
    }

    /// Asks for a rendering of everything that was answered before this call. `None` if the renderer
    /// has ended, which only a bug can make it do.
    pub async fn render(&self, wanted: Wanted, if_none_match: Option<String>) -> Option<Rendered> {
        let (answer, rendered) = oneshot::channel();
        let home = self.messages.clone();
        self.messages.send(Message::Render(Request { wanted, if_none_match, answer, home })).ok()?;
        rendered.await.ok()
    }
}

/// What the thread works with.
struct Work {
    store: Arc<Store>,
    telemetry: Arc<Telemetry>,
    index: Index,
    coder: Coder,
    /// Tells this process' tags from those of the one before.
    process: u64,
    /// The answers asked for, and at which scrape last.
    asked: HashMap<Wanted, u64>,
    scrapes: u64,
    kept_bytes_max: usize,
    leases: Leases,
    rhythm: Rhythm,
    /// Whether the next scrape was prepared.
    is_prepared: bool,
    /// How long before a scrape to prepare it: twice what the last preparation took.
    lead: Duration,
}

impl Work {
    fn run(mut self, waiting: &mpsc::Receiver<Message>) {
        loop {
            let first = match self.next_preparation() {
                None => waiting.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(at) => waiting.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(first) => self.serve(std::iter::once(first).chain(waiting.try_iter())),
                Err(mpsc::RecvTimeoutError::Timeout) => self.prepare(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// When to prepare the next scrape, if one is expected.
    fn next_preparation(&self) -> Option<Instant> {
        let due = self.rhythm.next().filter(|_| !self.is_prepared)?;
        due.checked_sub(self.lead + Duration::from_millis(50))
    }

    /// Brings the segments of the answers lately asked for up to date.
    fn prepare(&mut self) {
        let begun = Instant::now();
        self.is_prepared = true;
        let mut pause = pause();
        self.follow(&mut pause);
        for wanted in self.asked.keys().copied().collect::<Vec<_>>() {
            self.index.expose(wanted, &[], &mut self.coder, &mut pause);
        }
        self.lead = begun.elapsed() * 2;
    }

    fn serve(&mut self, messages: impl Iterator<Item = Message>) {
        let mut pause = pause();
        let mut batch: Vec<Request> = Vec::new();
        for message in messages {
            match message {
                Message::Render(request) => batch.push(request),
                // Before its memory is wanted.
                Message::Written(slices, is_revoked) => {
                    if !is_revoked {
                        self.leases.give_back(&slices);
                    }
                    slices.free(&mut pause);
                }
            }
        }
        if batch.is_empty() {
            return;
        }
        self.scrapes += 1;
        let begun = Instant::now();
        self.rhythm.note(begun);
        self.is_prepared = false;
        self.follow(&mut pause);
        self.telemetry.set_store_figures(
            self.store.groups_count(),
            self.store.series_count(),
            self.index.hidden_series() as u64,
        );
        self.note_usage();
        let own = self.telemetry.families();
        let mut done: HashMap<Wanted, Slices> = HashMap::new();
        let mut leases: HashMap<Wanted, Arc<Lease>> = HashMap::new();
        for Request { wanted, if_none_match, answer, home } in batch {
            self.asked.insert(wanted, self.scrapes);
            let etag = self.etag(wanted);
            if if_none_match.is_some_and(|tags| is_among(&etag, &tags)) {
                // A scraper that has gone needs no answer, here as below.
                let _ = answer.send(Rendered { etag, slices: None });
                continue;
            }
            let slices = done
                .entry(wanted)
                .or_insert_with(|| self.index.expose(wanted, &own, &mut self.coder, &mut pause));
            // Fifty scrapers of one rendering hold its bytes once.
            let lease =
                leases.entry(wanted).or_insert_with(|| self.leases.grant(slices.clone(), home, begun));
            let _ = answer.send(Rendered { etag, slices: Some((slices.clone(), lease.clone())) });
        }
        drop(leases);
        self.index.end_round();
        self.trim();
    }

    /// Tells how much of each limit is used.
    fn note_usage(&self) {
        let cache = (Limit::ExpositionCache, self.index.kept_bytes() as u64);
        self.store.uses().chain([cache]).for_each(|(limit, used)| self.telemetry.set_use(limit, used));
    }

    /// Gives back what nobody asked for lately, and more if all of it is over the limit.
    fn trim(&mut self) {
        let before = self.asked.len();
        let scrapes = self.scrapes;
        self.asked.retain(|_, last| scrapes - *last < SCRAPES_KEPT);
        if self.asked.len() != before {
            self.index
                .forget(|kept| self.asked.keys().any(|wanted| *wanted == kept || wanted.unescaped() == kept));
        }
        if self.index.kept_bytes() > self.kept_bytes_max {
            self.index.forget(|_| false);
        }
        // Slices of an exposition that is still being written may be those of segments kept ready, so
        // each of the two is held to the limit by itself.
        let revoked = self.leases.shrink_to(self.kept_bytes_max, Instant::now());
        if revoked > 0 {
            self.telemetry.count_limit(Limit::ExpositionCache);
            tracing::warn!(revoked, "scrapers that read too slowly are cut off: over limit.exposition-cache");
        }
    }

    fn etag(&self, wanted: Wanted) -> Arc<str> {
        let (process, version) = (self.process, self.index.version());
        let (form, encoding) = (wanted.form, wanted.encoding);
        let answer = [form.format as u8, form.escaping as u8, encoding as u8].map(|part| b'0' + part);
        let answer = String::from_utf8_lossy(&answer);
        format!("W/\"{process:016x}-{version:x}-{answer}\"").into()
    }

    /// Brings the index up to what the feed says.
    fn follow(&mut self, pause: &mut dyn FnMut()) {
        for _ in 0..ROUNDS_MAX {
            if !take_feed(&self.store, &mut self.index, pause) {
                return;
            }
        }
        let index = &mut self.index;
        // Without a pause: workers wait for the end of this.
        self.store.hold_shapes(|| take_feed(&self.store, index, &mut || ()));
    }
}

/// What is called between two pieces of work: offers the core to others once every [`STRETCH`].
fn pause() -> impl FnMut() {
    let mut begun = Instant::now();
    move || {
        if begun.elapsed() >= STRETCH {
            std::thread::yield_now();
            begun = Instant::now();
        }
    }
}

/// Whether the `If-None-Match` value `tags` names `etag`, by the weak comparison of RFC 9110 8.8.3.2.
fn is_among(etag: &str, tags: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_string();
    tags.split(',').map(str::trim).any(|tag| tag == "*" || opaque(tag) == opaque(etag))
}

/// One round over the feed as it is now; true if a shape changed.
fn take_feed(store: &Store, index: &mut Index, pause: &mut dyn FnMut()) -> bool {
    let mut shape = false;
    // Groups pushed meanwhile are queued anew; they wait for the next round, or it might never end.
    for _ in 0..store.changed(RENDERER) {
        let Some(group) = store.next_changed(RENDERER) else { break };
        shape |= index.update(&group) == Change::Shape;
        pause();
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let etag = "W/\"1-2-3\"";
        for tags in ["W/\"1-2-3\"", "\"1-2-3\"", "\"x\", W/\"1-2-3\"", "*"] {
            assert!(is_among(etag, tags), "{tags}");
        }
        for tags in ["", "\"1-2\"", "1-2-3", "W/\"1-2-4\""] {
            assert!(!is_among(etag, tags), "{tags}");
        }
    }
}

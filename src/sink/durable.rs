//! Groups on the disk: the thread that keeps them there, and what pushes and probes ask of it.
//!
//! # Faults
//!
//! After a write or an fsync that failed nobody knows what is on the disk, and asking again would prove
//! nothing. Pushes in flight are told so, later ones are refused before they reach the store, and the
//! thread tries to write everything in memory to a fresh log. Once that is on the disk and in the place of
//! the old one, pushes are taken again; those that failed are in it too.
//!
//! A disk that does not answer at all is waited for, but not by pushes: after
//! [`PUSH_WAIT_DEADLINE`](limits::PUSH_WAIT_DEADLINE) those in flight are told that nobody knows, and later ones
//! are refused until it has answered.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::acks::{self, Acks, Outcome};
use super::keeper::Keeper;
use super::start::{self, StartError};
use crate::limits;
use crate::store::Store;
use crate::store::group::KEEPER;
use crate::telemetry::{Persistence, Telemetry};

/// What an answer to a push promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// It is on the disk.
    Always,
    /// It will be within this time.
    Within(Duration),
    /// Nothing about the disk; the system is handed it within a second.
    Nothing,
}

/// Where and how groups are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory.
    pub path: PathBuf,
    pub promise: Promise,
    /// Whether to start with what is readable of damaged groups.
    pub salvage: bool,
}

/// What pushes and the thread share.
struct Shared {
    acks: Acks,
    /// Set by whoever waits for a batch.
    asked: AtomicBool,
    stopping: AtomicBool,
    /// Whether changes are refused; why stands in `fault`.
    refusing: AtomicBool,
    fault: Mutex<String>,
    started: Instant,
    /// Nanoseconds from the start to the beginning of the commit under way; zero if there is none.
    committing_since: AtomicU64,
    /// Whether that has taken too long.
    lagging: AtomicBool,
}

/// A handle on the thread.
pub struct Durable {
    shared: Arc<Shared>,
    waits: bool,
    thread: thread::Thread,
    join: Mutex<Option<JoinHandle<()>>>,
}

impl Durable {
    /// Restores what the directory holds into `store`, which is empty and followed by a keeper, and
    /// starts the thread.
    ///
    /// # Errors
    ///
    /// What is there cannot be used.
    pub fn start(
        store: &Arc<Store>,
        telemetry: &Arc<Telemetry>,
        options: &Options,
    ) -> Result<Durable, StartError> {
        let keeper = start::start(store, options)?;
        let shared = Arc::new(Shared {
            acks: Acks::default(),
            asked: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            fault: Mutex::default(),
            started: Instant::now(),
            committing_since: AtomicU64::new(0),
            lagging: AtomicBool::new(false),
        });
        telemetry.enable_persistence();
        let (telemetry, own, promise) = (telemetry.clone(), shared.clone(), options.promise);
        let run = move || {
            let _ended = Ended(own.clone());
            let figures = telemetry.enable_persistence();
            Thread { keeper, shared: &own, figures, promise, synced_at: Instant::now(), behind_since: None }
                .run();
        };
        let join =
            thread::Builder::new().name("durable".to_owned()).spawn(run).map_err(StartError::Thread)?;
        let thread = join.thread().clone();
        Ok(Durable {
            shared,
            waits: options.promise == Promise::Always,
            thread,
            join: Mutex::new(Some(join)),
        })
    }

    /// Whether changes are taken; ask before making one.
    ///
    /// # Errors
    ///
    /// The disk failed and has not answered since; the text says why.
    pub fn check(&self) -> Result<(), String> {
        if self.shared.refusing.load(Ordering::Acquire) {
            return Err(format!("cannot be made durable: {}", self.shared.fault()));
        }
        if self.shared.lagging.load(Ordering::Relaxed) {
            return Err(format!("cannot be made durable: {}", no_answer()));
        }
        Ok(())
    }

    /// Tells this thread's waiting pushes, and whoever asks whether changes are taken, what time it is.
    /// Called now and then by each thread that pushes.
    pub fn tick(&self, now: Instant) {
        if !self.waits {
            return;
        }
        acks::tick(now, limits::PUSH_WAIT_DEADLINE);
        let since = match self.shared.committing_since.load(Ordering::Relaxed) {
            0 => now,
            since => self.shared.started + Duration::from_nanos(since),
        };
        let lagging = now.saturating_duration_since(since) >= limits::COMMIT_DEADLINE;
        self.shared.lagging.store(lagging, Ordering::Relaxed);
    }

    /// Waits until everything that this thread has changed is as durable as promised.
    ///
    /// # Errors
    ///
    /// The disk failed, or did not answer in time: the change is in memory, and may be on the disk or not.
    pub async fn settled(&self) -> Result<(), String> {
        if !self.waits {
            return Ok(());
        }
        let ticket = self.shared.acks.ticket();
        let fault = match self.shared.acks.wait(ticket, limits::PUSH_WAIT_DEADLINE, || self.nudge()).await {
            Outcome::Durable => return Ok(()),
            Outcome::Unknown => self.shared.fault(),
            Outcome::Late => no_answer(),
        };
        Err(format!("outcome unknown: it is in memory, but could not be made durable: {fault}"))
    }

    /// Tells of a change that nobody waits for.
    pub fn nudge(&self) {
        if self.waits {
            self.shared.asked.store(true, Ordering::Release);
            self.thread.unpark();
        }
    }

    /// Writes what is left to write and ends the thread. Nobody may push any more.
    ///
    /// # Errors
    ///
    /// The last changes are not on the disk; the text says why.
    pub fn stop(&self) -> Result<(), String> {
        self.shared.stopping.store(true, Ordering::Release);
        self.thread.unpark();
        let join = self.join.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has left word that it did.
        join.map(JoinHandle::join);
        self.check()
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        // The thread has logged what went wrong.
        let _ = self.stop();
    }
}

impl Shared {
    fn fault(&self) -> String {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refuse(&self, fault: String) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        self.refusing.store(true, Ordering::Release);
    }
}

fn no_answer() -> String {
    format!("the disk did not answer within {} s", limits::COMMIT_DEADLINE.as_secs())
}

/// However the thread ends: nobody waits for it any more.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.refuse("the thread that persists groups has ended".to_owned());
        }
        self.0.acks.settle(u64::MAX, Outcome::Unknown);
    }
}

struct Thread<'a> {
    keeper: Keeper,
    shared: &'a Shared,
    figures: &'a Persistence,
    promise: Promise,
    /// When everything was on the disk last.
    synced_at: Instant,
    /// Since when something has not been.
    behind_since: Option<Instant>,
}

impl Thread<'_> {
    fn run(mut self) {
        loop {
            let stopping = self.shared.stopping.load(Ordering::Acquire);
            if stopping {
                self.last();
                return;
            }
            let asked = self.shared.asked.swap(false, Ordering::AcqRel);
            let changed = self.look_behind(self.behind_since);
            if !self.keeper.is_whole() {
                self.recover();
            } else if self.is_due(asked, changed) || self.keeper.owes_time(false) {
                self.commit();
            } else {
                thread::park_timeout(self.pause());
            }
        }
    }

    /// Notes whether there are changes that are not on the disk, the oldest of which is as old as `since`
    /// if that is known; true if there are.
    fn look_behind(&mut self, since: Option<Instant>) -> bool {
        let changed = self.keeper.store().changed(KEEPER) > 0;
        self.behind_since = changed.then(|| since.unwrap_or_else(Instant::now));
        self.figures.set_behind(self.behind_since);
        changed
    }

    /// How often the thread saves by itself.
    fn period(&self) -> Duration {
        match self.promise {
            Promise::Within(interval) => interval.max(limits::SAVE_INTERVAL_MIN),
            Promise::Always | Promise::Nothing => limits::UNSYNCED_SAVE_INTERVAL,
        }
    }

    fn is_due(&self, asked: bool, changed: bool) -> bool {
        match self.promise {
            // Whoever is not waited for is looked for now and then.
            Promise::Always => asked || changed && self.synced_at.elapsed() >= self.period(),
            _ => changed && self.synced_at.elapsed() >= self.period(),
        }
    }

    /// For how long nothing can be due. Never longer than a second, so that the lag is known.
    fn pause(&self) -> Duration {
        match self.promise {
            Promise::Always => limits::UNSYNCED_SAVE_INTERVAL,
            _ => self
                .period()
                .saturating_sub(self.synced_at.elapsed())
                .clamp(Duration::from_millis(1), limits::UNSYNCED_SAVE_INTERVAL),
        }
    }

    fn commit(&mut self) {
        let begun = Instant::now();
        let since = u64::try_from((begun - self.shared.started).as_nanos()).unwrap_or(u64::MAX);
        self.shared.committing_since.store(since.max(1), Ordering::Relaxed);
        let batch = self.shared.acks.begin();
        let outcome = self.keeper.commit(self.promise != Promise::Nothing, false);
        self.shared.committing_since.store(0, Ordering::Relaxed);
        match outcome {
            Ok(commit) => {
                self.synced_at = Instant::now();
                // What came in meanwhile.
                self.look_behind(Some(begun));
                if commit.groups > 0 {
                    self.figures.committed(commit.groups, commit.bytes, self.synced_at - begun);
                }
                self.shared.acks.settle(batch, Outcome::Durable);
            }
            Err(error) => {
                tracing::error!(err = %error, "error persisting metrics; pushes are refused until it works again");
                self.failed(batch, &error);
            }
        }
    }

    fn failed(&mut self, batch: u64, error: &io::Error) {
        let text = error.to_string();
        self.figures.failed(&text);
        self.shared.refuse(text);
        self.shared.acks.settle(batch, Outcome::Unknown);
    }

    /// Waits a little, then tries to write everything to a fresh log.
    fn recover(&mut self) {
        let until = Instant::now() + limits::RECOVERY_PAUSE;
        while Instant::now() < until && !self.shared.stopping.load(Ordering::Acquire) {
            thread::park_timeout(until - Instant::now());
        }
        let begun = Instant::now();
        let batch = self.shared.acks.begin();
        match self.keeper.start_anew() {
            Ok(commit) => {
                self.synced_at = Instant::now();
                self.figures.committed(commit.groups, commit.bytes, self.synced_at - begun);
                self.figures.recovered();
                tracing::info!(groups = commit.groups, "persisting metrics again, in a fresh log");
                self.shared.refusing.store(false, Ordering::Release);
                self.shared.acks.settle(batch, Outcome::Durable);
            }
            Err(error) => self.failed(batch, &error),
        }
    }

    /// Nothing changes any more: the last batch, on the disk.
    fn last(&mut self) {
        if !self.keeper.is_whole() {
            self.recover();
        }
        let batch = self.shared.acks.begin();
        let outcome = match self.keeper.is_whole() {
            true => self.keeper.commit(true, true).and_then(|_| self.keeper.close()),
            false => Err(io::Error::other(self.shared.fault())),
        };
        match outcome {
            Ok(()) => self.shared.acks.settle(batch, Outcome::Durable),
            Err(error) => {
                tracing::error!(err = %error, "error persisting metrics; the last changes may be lost");
                self.failed(batch, &error);
            }
        }
    }
}

//! The housekeeper: ends groups whose lifetime did, in small batches, on a thread of its own at a lower
//! priority than the workers have.
//!
//! It sleeps until the next end, which a push that asks for a nearer one cuts short. Where many groups end
//! at once, it rests after each batch for as long as the batch took, so that pushes, renderings and commits
//! get their turn. Plugins' `on_expire` runs here, on machines of this thread: no push waits for it.
//!
//! A group ends only in the state that was judged. A push that comes meanwhile, and the lifetime that it
//! sets, wins.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock::{Now, Running};
use crate::model::{AtEnd, Term};
use crate::plugin::{Dying, Plugins};
use crate::store::group::{Group, GroupState};
use crate::store::life::Life;
use crate::store::{Store, Timer};
use crate::telemetry::Telemetry;

/// Groups judged between two rests.
const BATCH: usize = 64;

/// Shortest rest between two batches.
const REST_MIN: Duration = Duration::from_micros(200);

/// Longest sleep while there are alarms, after which those of deleted groups may be thrown out.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How long a group is kept whose plugin failed, in nanoseconds.
const KEPT_AFTER_FAULT: u64 = 60_000_000_000;

/// How the thread's priority stands below that of the workers (a difference in nice values).
const NICE: i32 = 5;

/// Told of changes that nobody waits for.
pub type Nudge = Box<dyn Fn() + Send + Sync>;

/// See the module.
pub struct Housekeeper {
    house: Arc<House>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct House {
    store: Arc<Store>,
    telemetry: Arc<Telemetry>,
    plugins: Mutex<Option<Arc<Plugins>>>,
    timer: Mutex<Timer>,
    nudge: Nudge,
    stopping: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Housekeeper {
    /// One that does nothing before it is started or told to.
    pub fn new(store: Arc<Store>, telemetry: Arc<Telemetry>, nudge: Nudge) -> Housekeeper {
        let house = House {
            store,
            telemetry,
            plugins: Mutex::default(),
            timer: Mutex::default(),
            nudge,
            stopping: AtomicBool::new(false),
        };
        Housekeeper { house: Arc::new(house), thread: Mutex::default() }
    }

    /// Asks `plugins` before a group ends.
    pub fn ask(&self, plugins: Arc<Plugins>) {
        *lock(&self.house.plugins) = Some(plugins);
    }

    /// Ends everything that is due now, all at once. For whoever moves the clock by hand.
    pub fn tend(&self) {
        while self.house.end_some() == BATCH {}
    }

    /// Starts the thread, which ends when this is dropped.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(&self) -> std::io::Result<()> {
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let house = self.house.clone();
            let run = move || house.keep();
            *thread = Some(thread::Builder::new().name("housekeeper".to_owned()).spawn(run)?);
        }
        Ok(())
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.house.stopping.store(true, Ordering::Release);
        if let Some(thread) = lock(&self.thread).take() {
            thread.thread().unpark();
            // A panic has been told of where it happened.
            let _ = thread.join();
        }
    }
}

impl House {
    fn keep(&self) {
        // Without the lower priority it only takes more of the workers' time.
        let _ = rustix::process::nice(NICE);
        self.store.wake_me_for_alarms();
        while !self.stopping.load(Ordering::Acquire) {
            let begun = Instant::now();
            if self.end_some() == BATCH {
                thread::park_timeout(begun.elapsed().max(REST_MIN));
                continue;
            }
            let next = lock(&self.timer).next();
            if self.store.may_sleep(next) && !self.stopping.load(Ordering::Acquire) {
                match next {
                    None => thread::park(),
                    Some(next) => {
                        let now = self.store.running_at(self.store.now());
                        thread::park_timeout(now.until(next).min(SLEEP_MAX));
                    }
                }
            }
        }
    }

    /// Judges groups that are due, at most a batch of them; how many they were.
    fn end_some(&self) -> usize {
        let mut timer = lock(&self.timer);
        let now = self.store.now();
        let running = self.store.running_at(now);
        let plugins = lock(&self.plugins).clone().filter(|plugins| plugins.ask_at_the_end());
        let mut judged = 0;
        while judged < BATCH
            && let Some((group, state)) = self.store.next_due(&mut timer, running)
        {
            judged += 1;
            self.judge(&group, &state, plugins.as_deref(), now, running);
        }
        if judged > 0 {
            (self.nudge)();
        }
        judged
    }

    fn judge(
        &self,
        group: &Arc<Group>,
        state: &GroupState,
        plugins: Option<&Plugins>,
        now: Now,
        running: Running,
    ) {
        let Some(term) = state.life.term() else { return };
        if let Some(plugins) = plugins {
            let dying = Dying {
                key: &group.key,
                series: state.series_count(),
                last_push: state.push_time,
                lifetime: term.lifetime,
            };
            let word = plugins.expire(&dying, now);
            if let Some(lifetime) = word.extended {
                self.store.outlive(group, state, Life::new(Term { lifetime, ..term }, running));
                return;
            }
            if word.failed {
                let until = Running(running.0.saturating_add(KEPT_AFTER_FAULT));
                self.store.outlive(group, state, state.life.postponed(until));
                return;
            }
        }
        match term.action {
            AtEnd::Remove => {
                if self.store.expire(group, state) {
                    self.telemetry.count_expired();
                }
            }
            AtEnd::Flag => {
                self.store.outlive(group, state, state.life.overdue());
            }
        }
    }
}

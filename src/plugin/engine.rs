//! The plugins of a process: published as a generation that is replaced whole.
//!
//! Reading, compiling and trying out happen on the thread that asks for it; workers look at one number
//! per push and switch at its beginning. A reload that fails leaves everything as it was.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::generation::{Generation, Options, Problem, read_config};
use super::settings::File;
use super::stats::Shared;
use super::sweep::{self, Sweeper};
use super::vm::Timers;

/// See the module.
#[derive(Debug)]
pub struct Plugins {
    id: u64,
    options: Options,
    purpose: Purpose,
    /// Number of the generation in force; read at every push.
    number: AtomicU64,
    current: Mutex<Arc<Generation>>,
    /// Whether some plugin of the current generation reads request headers.
    wants_headers: AtomicBool,
    /// Whether some plugin of the current generation has timers.
    has_timers: AtomicBool,
    shared: AllShared,
    sweeper: OnceLock<Sweeper>,
    /// Held during a reload, so that two do not cross.
    reloading: Mutex<()>,
    reload_successful: AtomicBool,
    /// Unix seconds.
    reload_time: AtomicU64,
    workers_seen: AtomicUsize,
    pushes: AtomicU64,
}

/// What each plugin's name keeps over reloads.
#[derive(Clone, Debug, Default)]
pub(super) struct AllShared(Arc<Mutex<HashMap<String, Arc<Shared>>>>);

impl AllShared {
    /// Sorted by name.
    pub fn list(&self) -> Vec<(String, Arc<Shared>)> {
        let mut all: Vec<_> = lock(&self.0).iter().map(|(name, s)| (name.clone(), s.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

/// Runs the tests of the plugins that a file configures.
pub type Tests = fn(&Options, &File) -> Result<(), Vec<Problem>>;

/// What plugins are loaded for.
#[derive(Clone, Debug)]
enum Purpose {
    /// To serve. Their tests must pass before a reload, where the configuration says so.
    Serve(Option<Tests>),
    /// To be tried out with this configuration in place of a file.
    Trial(Box<File>),
    /// To try out pushes with the plugins of another set.
    Rehearsal,
}

static ENGINES: AtomicU64 = AtomicU64::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plugins {
    /// Loads the plugins that `options` name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them, unless broken ones are allowed.
    pub fn start(options: Options) -> Result<Arc<Plugins>, Vec<Problem>> {
        Plugins::start_for(options, Purpose::Serve(None))
    }

    /// The same; before a reload takes effect, `tests` are run if the configuration asks for that.
    ///
    /// # Errors
    ///
    /// As [`start`](Plugins::start).
    pub fn start_tested(options: Options, tests: Tests) -> Result<Arc<Plugins>, Vec<Problem>> {
        Plugins::start_for(options, Purpose::Serve(Some(tests)))
    }

    /// Loads the plugins that `file` configures, to be tried out: nothing of them is logged, their records
    /// are kept, and no time passes for them.
    ///
    /// # Errors
    ///
    /// As [`start`](Plugins::start).
    pub fn start_trial(options: Options, file: File) -> Result<Arc<Plugins>, Vec<Problem>> {
        Plugins::start_for(options, Purpose::Trial(Box::new(file)))
    }

    fn start_for(options: Options, purpose: Purpose) -> Result<Arc<Plugins>, Vec<Problem>> {
        let plugins = Plugins::empty(options, purpose);
        plugins.reload()?;
        Ok(Arc::new(plugins))
    }

    fn empty(options: Options, purpose: Purpose) -> Plugins {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Plugins {
            id: ENGINES.fetch_add(1, Ordering::Relaxed),
            number: AtomicU64::new(0),
            current: Mutex::new(Arc::new(Generation::empty(options.names))),
            options,
            wants_headers: AtomicBool::new(false),
            purpose,
            has_timers: AtomicBool::new(false),
            shared: AllShared::default(),
            sweeper: OnceLock::new(),
            reloading: Mutex::default(),
            reload_successful: AtomicBool::new(true),
            reload_time: AtomicU64::new(0),
            workers_seen: AtomicUsize::new(0),
            // Ids need not be secret, only different from those of the run before.
            pushes: AtomicU64::new((started.as_nanos() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        }
    }

    /// The plugins in force, to try out one push that is not stored: with machines, counters and metrics of
    /// their own, over what they share as it is now; nothing logged, nothing remembered. Whoever is done with
    /// it [leaves](Plugins::leave_thread) it.
    pub fn rehearsal(&self) -> Plugins {
        let made = Plugins::empty(self.options.clone(), Purpose::Rehearsal);
        made.publish(self.generation().twin());
        made
    }

    /// Reads everything anew and publishes it; returns the generation's number. Takes as long as the
    /// plugins take to load, so it does not belong on a worker.
    ///
    /// # Errors
    ///
    /// Everything that is wrong; the old generation stays in force.
    pub fn reload(&self) -> Result<u64, Vec<Problem>> {
        let _one_at_a_time = lock(&self.reloading);
        let old = self.generation();
        let generation = match self.build(&old) {
            Ok(generation) => generation,
            Err(problems) => {
                self.reload_successful.store(false, Ordering::Relaxed);
                if !self.on_trial() {
                    problems.iter().for_each(|problem| tracing::error!(%problem, "plugins not reloaded"));
                }
                return Err(problems);
            }
        };
        if self.on_trial() {
            self.publish(generation);
            return Ok(old.number + 1);
        }
        for problem in &generation.broken {
            tracing::error!(%problem, "plugin is off");
        }
        for planned in &generation.plugins {
            for key in planned.spec.unknown_keys() {
                tracing::warn!(plugin = planned.spec.name, key, "the plugin knows no such config key");
            }
        }
        let number = generation.number;
        tracing::info!(generation = number, plugins = generation.plugins.len(), "plugins loaded");
        self.publish(generation);
        self.reload_successful.store(true, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.reload_time.store(now.as_secs(), Ordering::Relaxed);
        Ok(number)
    }

    /// Whether a plugin reads any request header.
    pub fn wants_headers(&self) -> bool {
        self.wants_headers.load(Ordering::Relaxed)
    }

    fn build(&self, old: &Generation) -> Result<Generation, Vec<Problem>> {
        let problem = |fault| vec![Problem { plugin: None, fault }];
        let file = match &self.purpose {
            Purpose::Trial(file) => (**file).clone(),
            // Never read anew: made again instead.
            Purpose::Rehearsal => File::default(),
            Purpose::Serve(_) => read_config(&self.options).map_err(problem)?,
        };
        let shared = |name: &str| self.shared_of(name);
        let generation = Generation::build(&self.options, &file, old.number + 1, old, &shared)?;
        if let Purpose::Serve(Some(tests)) = self.purpose
            && file.reload_tests
            && old.number > 0
        {
            tests(&self.options, &file)?;
        }
        Ok(generation)
    }

    fn publish(&self, generation: Generation) {
        for planned in &generation.plugins {
            let shared = &planned.spec.shared;
            shared.take_metrics(&planned.about.metrics);
            let emptied = shared.stores.take(&planned.about.stores);
            // Where a push is tried out while plugins are reloaded, whoever reloads says so.
            for store in emptied.iter().filter(|_| !self.on_trial()) {
                tracing::warn!(
                    plugin = planned.spec.name,
                    store,
                    "shared state with other options begins anew"
                );
            }
        }
        let shares = generation.plugins.iter().any(|planned| !planned.about.stores.is_empty());
        if shares && !self.on_trial() {
            self.sweeper.get_or_init(|| sweep::start(self.shared.clone()));
        }
        let has_timers = generation.plugins.iter().any(|planned| planned.about.timers != Timers::default());
        self.has_timers.store(has_timers, Ordering::Relaxed);
        // Headers that the old generation reads are still copied for it until the new one serves.
        self.wants_headers.fetch_or(generation.wants_headers(), Ordering::Relaxed);
        let (number, wants_headers) = (generation.number, generation.wants_headers());
        *lock(&self.current) = Arc::new(generation);
        self.number.store(number, Ordering::Release);
        self.wants_headers.store(wants_headers, Ordering::Relaxed);
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Whether they are only tried out.
    pub(super) fn on_trial(&self) -> bool {
        matches!(self.purpose, Purpose::Trial(_) | Purpose::Rehearsal)
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// The generation in force.
    pub fn generation(&self) -> Arc<Generation> {
        lock(&self.current).clone()
    }

    fn shared_of(&self, name: &str) -> Arc<Shared> {
        lock(&self.shared.0).entry(name.to_owned()).or_default().clone()
    }

    pub(super) fn has_timers(&self) -> bool {
        self.has_timers.load(Ordering::Relaxed)
    }

    /// Name and counters of every plugin there ever was, sorted by name.
    pub fn all_shared(&self) -> Vec<(String, Arc<Shared>)> {
        self.shared.list()
    }

    /// Whether the last reload worked, and when the last one that did was, in unix seconds.
    pub fn last_reload(&self) -> (bool, u64) {
        (self.reload_successful.load(Ordering::Relaxed), self.reload_time.load(Ordering::Relaxed))
    }

    pub(super) fn next_worker(&self) -> usize {
        self.workers_seen.fetch_add(1, Ordering::Relaxed) % self.options.workers.max(1)
    }

    pub(super) fn next_id(&self) -> u64 {
        // Answers of a trial must be the same each time.
        if self.on_trial() { 0 } else { self.pushes.fetch_add(1, Ordering::Relaxed) }
    }
}

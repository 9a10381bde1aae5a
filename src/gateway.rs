//! The product without a protocol: push, delete, wipe, scrape, list.
//!
//! The only module that sees the whole line from parser to exposition. It knows no HTTP, no flags and
//! no threads; `http` sees only this.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::clock::{Clock, Now, UnixNanos};
use crate::housekeeper::Housekeeper;
use crate::lifetimes::Lifetimes;
use crate::limits;
use crate::model::{
    Action, Families, GroupingKey, Leniency, Lifetime, NameRules, PushOptions, Reason, Refusal, RequestFacts,
    Rules, Term,
};
use crate::parse::{self, BodyFormat, lenient, loose, openmetrics, protobuf, text};
use crate::plugin::{self, Plugins, Problem, StoreFacts};
use crate::render::renderer::Renderer;
use crate::sink::durable::Durable;
use crate::store::jobs::Around;
use crate::store::life::{Life, Stamp};
use crate::store::{OwnFamily, Store};
use crate::telemetry::Telemetry;

pub use crate::matching::regex::Regex as Pattern;
pub use crate::parse::push_path;
pub use crate::plugin::Passed;
pub use crate::render::lease::Lease;
pub use crate::render::negotiate::{Encoding, Form, Wanted};
pub use crate::render::renderer::Rendered;
pub use crate::render::slices::Slices;
pub use crate::sink::durable::{Options as Persistence, Promise};
pub use crate::sink::start::StartError as PersistenceError;
pub use crate::store::Mode;
pub use crate::store::listing::{Listing, Query, Search, Sort};
pub use crate::store::usage::StoreLimits;
pub use crate::store::view::{FamilyView, GroupView, SeriesView, ValueView};

/// How the gateway treats pushes; fixed at start.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `--push.disable-consistency-check` turns this off.
    pub check_consistency: bool,
    /// `--push.enable-utf8-names`.
    pub names: NameRules,
    /// `--push.lenient`: repairs bodies that would be refused.
    pub lenient: bool,
    /// `--web.enable-openmetrics`: scrapers that ask for OpenMetrics get it.
    pub offers_openmetrics: bool,
    /// What may be pushed and held.
    pub limits: StoreLimits,
    /// `--limit.exposition-cache`, in bytes.
    pub exposition_cache_bytes: usize,
}

/// How one push is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub mode: Mode,
    pub options: PushOptions,
}

/// A push that asks for nothing besides.
impl From<Mode> for Manner {
    fn from(mode: Mode) -> Manner {
        Manner { mode, options: PushOptions::default() }
    }
}

/// When a group ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    pub lifetime: Lifetime,
    /// By the wall clock as it goes now.
    pub at: UnixNanos,
    /// Whether that has come, and the group was flagged instead of removed.
    pub overdue: bool,
}

/// As a gateway without any flag treats them.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            check_consistency: true,
            names: NameRules::Legacy,
            lenient: false,
            offers_openmetrics: false,
            limits: StoreLimits::default(),
            exposition_cache_bytes: limits::EXPOSITION_CACHE_BYTES_MAX,
        }
    }
}

pub struct Gateway {
    settings: Settings,
    telemetry: Arc<Telemetry>,
    store: Arc<Store>,
    renderer: Renderer,
    plugins: Option<Arc<Plugins>>,
    /// Where groups are kept on the disk.
    durable: Option<Arc<Durable>>,
    /// Who says for how long groups live, besides pushes and plugins.
    lifetimes: Option<Arc<Lifetimes>>,
    housekeeper: Housekeeper,
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("could not start the renderer: {0}")]
    Renderer(std::io::Error),
    #[error("{0}")]
    Persistence(#[from] PersistenceError),
}

thread_local! {
    /// The vectors that the last push of this thread was parsed into.
    static SPARE: Cell<Option<Families<'static>>> = const { Cell::new(None) };
}

/// Our own families, as the store must know them.
pub fn own_families() -> impl Iterator<Item = OwnFamily> {
    Telemetry::declared().iter().map(|family| OwnFamily {
        name: family.name,
        help: family.help,
        kind: family.kind,
        help_must_agree: !family.from_start,
    })
}

impl Gateway {
    /// An empty gateway that keeps its groups in memory only, its renderer running.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn new(settings: Settings, telemetry: Arc<Telemetry>) -> Result<Gateway, OpenError> {
        Gateway::open(settings, telemetry, None)
    }

    /// A gateway with the groups that were kept on the disk, if `persistence` says where; they are all
    /// there when this returns.
    ///
    /// # Errors
    ///
    /// What is on the disk cannot be used, or the system gives no thread.
    pub fn open(
        settings: Settings,
        telemetry: Arc<Telemetry>,
        persistence: Option<&Persistence>,
    ) -> Result<Gateway, OpenError> {
        Gateway::open_by(Clock::default(), settings, telemetry, persistence)
    }

    /// As [`open`](Gateway::open), with another clock than the system's.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_by(
        clock: Clock,
        settings: Settings,
        telemetry: Arc<Telemetry>,
        persistence: Option<&Persistence>,
    ) -> Result<Gateway, OpenError> {
        let store = Store::new(settings.check_consistency, own_families())
            .with_limits(settings.limits)
            .with_clock(clock);
        let store = Arc::new(if persistence.is_some() { store.followed_by_keeper() } else { store });
        let durable = persistence.map(|options| Durable::start(&store, &telemetry, options)).transpose()?;
        for limit in store.usage().exceeded() {
            let limit = limit.name();
            tracing::warn!(limit, "more was restored than the limit allows: it is kept, and cannot grow");
        }
        let renderer = Renderer::start(store.clone(), telemetry.clone(), settings.exposition_cache_bytes)
            .map_err(OpenError::Renderer)?;
        let durable = durable.map(Arc::new);
        let kept = durable.clone();
        let nudge = move || kept.iter().for_each(|durable| durable.nudge());
        let housekeeper = Housekeeper::new(store.clone(), telemetry.clone(), Box::new(nudge));
        Ok(Gateway {
            settings,
            telemetry,
            store,
            renderer,
            plugins: None,
            durable,
            lifetimes: None,
            housekeeper,
        })
    }

    /// Asks `lifetimes` for how long groups live. Groups of which nothing was ever said, as those of a time
    /// before lifetimes were asked for, live from now.
    #[must_use]
    pub fn with_lifetimes(self, lifetimes: Arc<Lifetimes>) -> Gateway {
        self.telemetry.enable_lifetimes();
        let gateway = Gateway { lifetimes: Some(lifetimes), ..self };
        let now = gateway.store.now();
        for group in gateway.store.groups() {
            let Some(state) = group.load().filter(|state| state.life.term().is_none()) else { continue };
            let life = gateway.life(&group.key, None, None, now);
            if life.term().is_some() {
                gateway.store.outlive(&group, &state, life);
            }
        }
        gateway
    }

    /// Ends groups at the end of their lifetime from here on, on a thread of its own. To be called when
    /// everything else is set.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn keep_house(&self) -> std::io::Result<()> {
        self.housekeeper.start()
    }

    /// Ends every group that is due now.
    pub fn tend(&self) {
        self.housekeeper.tend();
    }

    /// Reads the rules for lifetimes anew.
    ///
    /// # Errors
    ///
    /// What is wrong with them; the old ones stay in force.
    pub fn reload_lifetimes(&self) -> Result<(), String> {
        self.lifetimes.as_ref().map_or(Ok(()), |lifetimes| lifetimes.reload())
    }

    /// Reads them anew if their file has changed; false if there are none to look at.
    pub fn refresh_lifetimes(&self) -> bool {
        self.lifetimes.as_ref().inspect(|lifetimes| lifetimes.refresh()).is_some()
    }

    /// The life that a push at `now` gives the group `key`.
    fn life(&self, key: &GroupingKey, push: Option<Lifetime>, plugin: Option<Lifetime>, now: Now) -> Life {
        let term = match &self.lifetimes {
            None => plugin.or(push).map(|lifetime| Term { lifetime, ..Term::default() }),
            Some(lifetimes) => lifetimes.term(key, push, plugin),
        };
        // Most pushes end here; the others need to know the time.
        term.map_or_else(Life::default, |term| Life::new(term, self.store.running_at(now)))
    }

    /// When a group ends, if it does.
    pub fn ending(&self, group: &GroupView, now: Now) -> Option<Ending> {
        let life = group.life();
        let (due, running) = (life.due()?, self.store.running_at(now));
        let left = running.until(due).as_nanos() as u64;
        let gone = due.until(running).as_nanos() as u64;
        let at = UnixNanos(now.wall.0.saturating_add(left).saturating_sub(gone));
        Some(Ending { lifetime: life.term()?.lifetime, at, overdue: life.is_overdue() })
    }

    /// Runs every push and delete from here on through `plugins`.
    #[must_use]
    pub fn with_plugins(self, plugins: Arc<Plugins>) -> Gateway {
        let source = plugins.clone();
        self.telemetry.set_plugins(move || plugin::figures(&source));
        self.housekeeper.ask(plugins.clone());
        Gateway { plugins: Some(plugins), ..self }
    }

    /// Whether requests go through plugins, which then want their [`RequestFacts`].
    pub fn has_plugins(&self) -> bool {
        self.plugins.is_some()
    }

    /// Whether a plugin reads any request header.
    pub fn wants_headers(&self) -> bool {
        self.plugins.as_ref().is_some_and(|plugins| plugins.wants_headers())
    }

    /// Whether a plugin reads the request header `name` (in lower case).
    pub fn wants_header(&self, name: &str) -> bool {
        self.plugins.as_ref().is_some_and(|plugins| plugins.wants_header(name))
    }

    /// Reads the plugins anew; returns the number of the generation then in force, zero without any.
    /// Takes as long as they take to load, so it does not belong on a worker.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them; the old ones stay in force.
    pub fn reload_plugins(&self) -> Result<u64, Vec<Problem>> {
        self.plugins.as_ref().map_or(Ok(0), |plugins| plugins.reload())
    }

    /// Whether plugins wait to be told on this thread what became of pushes. True once only until they
    /// are told.
    pub fn results_are_due(&self) -> bool {
        self.plugins.as_ref().is_some_and(|plugins| plugins.results_are_due())
    }

    /// Tells plugins what became of the pushes of this thread, once those were answered.
    pub fn tell_results(&self) {
        if let Some(plugins) = &self.plugins {
            plugins.tell_results();
        }
    }

    /// Ends the plugins of this thread, which serves no more.
    pub fn end_thread(&self) {
        if let Some(plugins) = &self.plugins {
            plugins.end_thread();
        }
    }

    /// Ends what runs beside the workers, the last changes on the disk. Nobody may push any more.
    pub fn close(&self) {
        if let Some(durable) = &self.durable {
            // The thread has logged what went wrong.
            let _ = durable.stop();
        }
    }

    /// Whether pushes are taken.
    ///
    /// # Errors
    ///
    /// Groups are kept on the disk, and the disk fails.
    pub fn check_durable(&self) -> Result<(), Refusal> {
        let Some(durable) = &self.durable else { return Ok(()) };
        durable.check().map_err(|text| Refusal::new(Reason::NotDurable, text))
    }

    /// Called by each worker several times a second: waits for the disk that have lasted too long end.
    pub fn tick(&self, now: Instant) {
        if let Some(durable) = &self.durable {
            durable.tick(now);
        }
    }

    /// Waits until what this thread has changed is on the disk, if that was promised.
    ///
    /// # Errors
    ///
    /// The disk failed or does not answer, and nobody knows whether the change is on it.
    pub async fn made_durable(&self) -> Result<(), Refusal> {
        let Some(durable) = &self.durable else { return Ok(()) };
        durable.settled().await.map_err(|text| {
            self.telemetry.count_refusal(Reason::NotDurable);
            Refusal::new(Reason::NotDurable, text)
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Applies one push whose `body` is decoded (no content coding left) and whole. The Content-Type
    /// says what it is written in. Ask [`made_durable`](Gateway::made_durable) before answering that it
    /// was accepted.
    ///
    /// # Errors
    ///
    /// The body does not parse, or the store refuses it; nothing is stored then, except the failure
    /// time where the reference records it. While pushes are not checked, a refusal by the store is
    /// not an error to the pusher, as in the reference.
    pub fn push(
        &self,
        manner: impl Into<Manner>,
        key: &GroupingKey,
        content_type: Option<&[u8]>,
        body: &Bytes,
        now: Now,
    ) -> Result<(), Refusal> {
        let Manner { mode, options } = manner.into();
        if self.plugins.is_some() {
            let method = if mode == Mode::ReplaceGroup { "PUT" } else { "POST" };
            let content_type = content_type.map(|value| String::from_utf8_lossy(value).into_owned());
            let facts = RequestFacts { method, content_type, ..RequestFacts::default() };
            return self.push_with(Manner { mode, options }, key, facts, body, now).map(|_| ());
        }
        self.check_durable().inspect_err(|refusal| self.telemetry.count_refusal(refusal.reason))?;
        let stamp = Stamp { at: now.wall, life: self.life(key, options.lifetime, None, now) };
        let result = match parse::format_of(content_type) {
            BodyFormat::Text if self.store.push_known(mode, key, body, stamp) => return Ok(()),
            format => self.read(format, key, body, stamp, &mut |families, body| {
                self.store.push(mode, key, families, body.map(|body| &body[..]), stamp)
            }),
        };
        if let Err(refusal) = &result {
            self.telemetry.count_refusal(refusal.reason);
            if let Some(durable) = &self.durable {
                // The group's failure time may have been set.
                durable.nudge();
            }
            if refusal.reason == Reason::Inconsistent && !self.settings.check_consistency {
                return Ok(());
            }
        }
        result
    }

    fn rules(&self) -> Rules {
        Rules { names: self.settings.names, limits: self.settings.limits.push }
    }

    /// Reads a body and hands its families to `take`, with the body itself where a template of it is
    /// worth keeping.
    fn read(
        &self,
        format: BodyFormat,
        key: &GroupingKey,
        body: &Bytes,
        stamp: Stamp,
        take: &mut impl FnMut(&Families<'_>, Option<&Bytes>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match format {
            BodyFormat::Text => self.read_text(body, take),
            BodyFormat::OpenMetrics => self.read_openmetrics(body, take),
            BodyFormat::Protobuf => self.read_protobuf(key, body, stamp, take),
        }
    }

    fn read_text(
        &self,
        body: &Bytes,
        take: &mut impl FnMut(&Families<'_>, Option<&Bytes>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let rules = self.rules();
        let parsed = text::parse(body, rules, SPARE.take().unwrap_or_default());
        let is_bad = parsed.as_ref().map_or(true, |families| families.timestamped);
        // Only what would be refused is looked at again.
        if is_bad
            && self.settings.lenient
            && let Some(relaxed) = lenient::relax(body)
        {
            let families = text::parse(&relaxed.body, rules, Families::default())?;
            for leniency in relaxed.leniencies {
                self.telemetry.count_lenience(leniency);
            }
            return take(&families, None);
        }
        let families = parsed?;
        let result = take(&families, Some(body));
        SPARE.set(Some(families.recycle()));
        result
    }

    /// Clients announce OpenMetrics and then send plain text, as the reference reads it. So a body that is
    /// no OpenMetrics is read as text, and the first fault counts if it is no text either.
    fn read_openmetrics(
        &self,
        body: &Bytes,
        take: &mut impl FnMut(&Families<'_>, Option<&Bytes>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let rules = self.rules();
        let fault = match openmetrics::read(body, rules.names) {
            Ok(read) => match read.families(rules, SPARE.take().unwrap_or_default()) {
                Ok(mut families) => {
                    self.forgive_timestamps(&mut families);
                    let result = take(&families, None);
                    SPARE.set(Some(families.recycle()));
                    return result;
                }
                Err(fault) => fault,
            },
            Err(fault) => fault,
        };
        if fault.is_final() {
            return Err(fault.into());
        }
        let mut is_text = false;
        let result = self.read_text(body, &mut |families, body| {
            is_text = true;
            take(families, body)
        });
        if is_text { result } else { Err(fault.into()) }
    }

    /// Forgets that a body had timestamps, which are not kept anyway.
    fn forgive_timestamps(&self, families: &mut Families<'_>) {
        if self.settings.lenient && families.timestamped {
            families.timestamped = false;
            self.telemetry.count_lenience(Leniency::Timestamp);
        }
    }

    fn read_protobuf(
        &self,
        key: &GroupingKey,
        body: &Bytes,
        stamp: Stamp,
        take: &mut impl FnMut(&Families<'_>, Option<&Bytes>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let spare = SPARE.take().unwrap_or_default();
        let mut families = match protobuf::parse(body, self.rules(), spare) {
            Ok(families) => families,
            Err(error) => {
                // Found by the parser here, but by the store in the reference, which stamps it.
                if error.reason() == Reason::Inconsistent {
                    self.store.stamp_failure(key, stamp);
                }
                return Err(error.into());
            }
        };
        self.forgive_timestamps(&mut families);
        let result = take(&families, None);
        SPARE.set(Some(families.recycle()));
        result
    }

    /// Reads a text body that breaks the rules for names, or whose values are `null`, for plugins that may
    /// put that right, and tells where each series stood.
    fn read_loosely(&self, body: &Bytes, take: plugin::Load<'_>) -> Result<(), Refusal> {
        let mut loose = loose::loosen(body);
        if self.settings.lenient
            && let Some(relaxed) = lenient::relax(&loose.body)
        {
            relaxed.leniencies.into_iter().for_each(|leniency| self.telemetry.count_lenience(leniency));
            loose.body = relaxed.body;
        }
        let families = text::parse(&loose.body, NameRules::Utf8, Families::default())?;
        take(&families, false, &loose.lines(&families));
        Ok(())
    }

    /// The refusal of a line that was read loosely, in the words of the parser.
    fn refuse_line(&self, body: &Bytes, line: u32) -> Refusal {
        loose::refused(body, line, self.settings.names).map_or_else(
            || Refusal::new(Reason::Malformed, "text format parsing error: invalid name or value"),
            Refusal::from,
        )
    }

    /// Applies one push as [`push`](Gateway::push) does, telling plugins where it came from. Where it
    /// meets none but rules and `on_series`, what they made of it is remembered with the shape of its
    /// body.
    ///
    /// # Errors
    ///
    /// As [`push`](Gateway::push); or a plugin refuses it, or its client may not push to the group that
    /// plugins made of the one it named.
    pub fn push_with(
        &self,
        manner: impl Into<Manner>,
        key: &GroupingKey,
        mut facts: RequestFacts,
        body: &Bytes,
        now: Now,
    ) -> Result<Passed, Refusal> {
        let Manner { mode, options } = manner.into();
        let Some(plugins) = &self.plugins else {
            let content_type = facts.content_type.as_deref().map(str::as_bytes);
            return self
                .push(Manner { mode, options }, key, content_type, body, now)
                .map(|()| Passed { stored: true, ..Passed::default() });
        };
        self.check_durable().inspect_err(|refusal| self.telemetry.count_refusal(refusal.reason))?;
        let format = parse::format_of(facts.content_type.as_deref().map(str::as_bytes));
        if format == BodyFormat::Text
            && let Some(chain) = plugins.chain(key)
            && let stamp = (Stamp { at: now.wall, life: self.life(key, options.lifetime, None, now) })
            && self.store.push_known_from(chain, mode, key, body, stamp)
        {
            self.telemetry.count_reuse();
            return Ok(Passed { stored: true, ..Passed::default() });
        }
        let grants = facts.grants.clone();
        facts.format = match format {
            BodyFormat::Text => "text",
            BodyFormat::OpenMetrics => "openmetrics",
            BodyFormat::Protobuf => "protobuf",
        };
        let result = plugins.push(plugin::Push {
            key,
            facts,
            body,
            now,
            parse: |key: &GroupingKey, is_loose: bool, load: plugin::Load<'_>| {
                let stamp = Stamp { at: now.wall, life: self.life(key, options.lifetime, None, now) };
                let read = self.read(format, key, body, stamp, &mut |families, body| {
                    load(families, body.is_some(), &[]);
                    Ok(())
                });
                match read {
                    Err(refusal)
                        if is_loose
                            && refusal.reason == Reason::Malformed
                            && format != BodyFormat::Protobuf =>
                    {
                        self.read_loosely(body, load)
                    }
                    read => read,
                }
            },
            refuse_line: &|line| self.refuse_line(body, line),
            around: |key: &GroupingKey, families: &Families<'_>| {
                facts_of(&self.store.around(mode, key, families), now)
            },
            store: |key: &GroupingKey,
                    families: &Families<'_>,
                    cut: plugin::Cut<'_>,
                    ttl: Option<Lifetime>| {
                grants.check(Action::Push, key)?;
                let stamp = Stamp { at: now.wall, life: self.life(key, options.lifetime, ttl, now) };
                let stored = self.store.push_cut(mode, key, families, stamp, cut);
                match stored {
                    Err(refusal)
                        if refusal.reason == Reason::Inconsistent && !self.settings.check_consistency =>
                    {
                        self.telemetry.count_refusal(refusal.reason);
                        Ok(())
                    }
                    stored => stored,
                }
            },
            mark_failed: |key: &GroupingKey| self.store.stamp_failure_if_there(key, now.wall),
        });
        if let Err(refusal) = &result {
            self.telemetry.count_refusal(refusal.reason);
            if let Some(durable) = &self.durable {
                // The group's failure time may have been set.
                durable.nudge();
            }
            if refusal.reason == Reason::Inconsistent && !self.settings.check_consistency {
                return Ok(Passed::default());
            }
        }
        result
    }

    /// Removes one group unless a plugin refuses that.
    ///
    /// # Errors
    ///
    /// A plugin refuses it, or the client may not delete the group that plugins made of the one it named.
    pub fn delete_with(&self, key: &GroupingKey, facts: RequestFacts, now: Now) -> Result<Passed, Refusal> {
        let Some(plugins) = &self.plugins else {
            return Ok(Passed { stored: self.delete(key)?, ..Passed::default() });
        };
        self.check_durable()?;
        let grants = facts.grants.clone();
        let delete = |key: &GroupingKey| -> Result<bool, Refusal> {
            grants.check(Action::Delete, key)?;
            Ok::<bool, Refusal>(self.store.delete(key))
        };
        let result = plugins.delete(key, facts, now, delete).and_then(|(deleted, passed)| {
            deleted.transpose()?;
            Ok(passed)
        });
        if let Err(refusal) = &result {
            self.telemetry.count_refusal(refusal.reason);
        }
        result
    }

    /// Removes one group; true if it was there. Asks no plugin. To be made
    /// durable as a push.
    ///
    /// # Errors
    ///
    /// Groups are kept on the disk, and the disk fails. Nothing was removed.
    pub fn delete(&self, key: &GroupingKey) -> Result<bool, Refusal> {
        self.check_durable()?;
        Ok(self.store.delete(key))
    }

    /// Removes every group that exists now; returns how many. To be made durable as a push.
    ///
    /// # Errors
    ///
    /// Groups are kept on the disk, and the disk fails. Nothing was removed.
    pub fn wipe(&self) -> Result<usize, Refusal> {
        self.check_durable()?;
        Ok(self.store.wipe())
    }

    /// The exposition of everything answered before this call, as `wanted`; without a body if it is
    /// what `if_none_match` names. `None` if the renderer has ended, which only a bug can make it do.
    pub async fn scrape(&self, wanted: Wanted, if_none_match: Option<String>) -> Option<Rendered> {
        self.renderer.render(wanted, if_none_match).await
    }

    /// One group as it is now.
    pub fn group(&self, key: &GroupingKey) -> Option<GroupView> {
        self.store.view(key)
    }

    /// A page of groups. Takes milliseconds where there are many.
    pub fn list(&self, query: &Query) -> Listing {
        self.store.list(query)
    }

    /// Series held now, over all groups.
    pub fn series_count(&self) -> u64 {
        self.store.series_count()
    }

    /// Every group as it is now, sorted by grouping key.
    pub fn groups(&self) -> Vec<GroupView> {
        self.store.views()
    }
}

/// What plugins are told of what is stored.
fn facts_of(around: &Around, now: Now) -> StoreFacts {
    let age = |last: UnixNanos| (last != UnixNanos::NEVER).then(|| now.wall.seconds() - last.seconds());
    StoreFacts {
        group_series: around.group_lines,
        // Clocks are set back now and then.
        group_age: around.last_push.and_then(age).map(|seconds| seconds.max(0.0)),
        job_series: around.job_lines,
        job_groups: around.job_groups,
        total_series: around.all_lines,
        total_groups: around.all_groups,
        replaced_series: around.replaced_lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::protobuf::oracle::{self, Metric, MetricFamily, Plain};

    const DELIMITED: &[u8] =
        b"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

    fn gateway(check_consistency: bool) -> Gateway {
        let settings = Settings { check_consistency, ..Settings::default() };
        Gateway::new(settings, Arc::new(Telemetry::new(1))).unwrap()
    }

    /// Pushes a family of type gauge with this one metric.
    fn push(gateway: &Gateway, content_type: Option<&[u8]>, metric: Metric) -> Result<(), Refusal> {
        let family = MetricFamily {
            name: Some("m".into()),
            r#type: Some(1),
            metric: vec![metric],
            ..Default::default()
        };
        let key = GroupingKey::new("j", []);
        gateway.push(Mode::ReplaceGroup, &key, content_type, &oracle::encoded(&[family]).into(), Now::read())
    }

    fn gauge() -> Metric {
        Metric { gauge: Some(Plain { value: Some(1.0) }), ..Default::default() }
    }

    fn untyped() -> Metric {
        Metric { untyped: Some(Plain::default()), ..Default::default() }
    }

    #[test]
    fn the_content_type_decides_how_a_body_is_read() {
        let gateway = gateway(true);
        assert!(push(&gateway, None, gauge()).unwrap_err().text.starts_with("text format parsing error"));
        assert!(gateway.groups().is_empty());
        assert_eq!(push(&gateway, Some(DELIMITED), gauge()), Ok(()));
        assert_eq!(gateway.groups()[0].families()[0].name, "m");
    }

    #[test]
    fn only_what_the_reference_finds_in_its_store_is_stamped() {
        let checked = gateway(true);
        assert_eq!(push(&checked, Some(DELIMITED), Metric::default()).unwrap_err().reason, Reason::Malformed);
        assert!(checked.groups().is_empty());
        assert_eq!(push(&checked, Some(DELIMITED), untyped()).unwrap_err().reason, Reason::Inconsistent);
        assert!(!checked.groups()[0].last_push_successful());
        assert!(checked.groups()[0].families().is_empty());

        let unchecked = gateway(false);
        assert!(push(&unchecked, Some(DELIMITED), Metric::default()).is_err());
        assert_eq!(push(&unchecked, Some(DELIMITED), untyped()), Ok(()));
        assert!(!unchecked.groups()[0].last_push_successful());
    }
}

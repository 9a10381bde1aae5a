//! The product without a protocol: push, delete, wipe, scrape, list.
//!
//! The only module that sees the whole line from parser to exposition. It knows no HTTP, no flags and
//! no threads; `http` sees only this.

mod dialect;
mod lifetimes;
mod merging;
mod plugins;
mod reading;
mod validate;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::clock::{Clock, Now, UnixNanos};
use crate::housekeeper::Housekeeper;
use crate::lifetimes::Lifetimes;
use crate::limits;
use crate::merging::Merging;
use crate::model::{Dialect, GroupingKey, Lifetime, NameRules, PushOptions, Reason, Refusal, RequestFacts};
use crate::parse;
use crate::plugin::Plugins;
use crate::render::renderer::Renderer;
use crate::sink::durable::Durable;
use crate::store::life::Stamp;
use crate::store::{OwnFamily, Store};
use crate::telemetry::Telemetry;

pub use crate::matching::regex::Regex as Pattern;
pub use crate::parse::push_path;
pub use crate::plugin::{Incident, Overview, Passed, PluginView, TraceRow};
pub use crate::render::lease::Lease;
pub use crate::render::negotiate::{Encoding, Form, Wanted};
pub use crate::render::renderer::Rendered;
pub use crate::render::slices::Slices;
pub use crate::sink::durable::{Options as Persistence, Promise};
pub use crate::sink::start::StartError as PersistenceError;
pub use crate::store::Mode;
pub use crate::store::keys::KeyLimits;
pub use crate::store::listing::{Listing, Query, Search, Sort};
pub use crate::store::usage::StoreLimits;
pub use crate::store::view::{FamilyView, GroupView, SeriesView, ValueView};
pub use validate::Validation;

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
    /// `--merge.dialect`.
    pub dialect: Dialect,
    /// `--merge.keys` and `--merge.keys-for`.
    pub keys: KeyLimits,
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
            dialect: Dialect::None,
            keys: KeyLimits::default(),
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
    /// Who says how pushes are merged, besides pushes themselves.
    merging: Option<Arc<Merging>>,
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
            merging: None,
            housekeeper,
        })
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

    /// Called by each worker several times a second: waits for the disk that have lasted too long end,
    /// and timers of plugins run.
    pub fn tick(&self, now: Instant) {
        if let Some(durable) = &self.durable {
            durable.tick(now);
        }
        self.run_timers();
    }

    /// Whether [`made_durable`](Gateway::made_durable) may have something to wait for.
    pub fn is_durable(&self) -> bool {
        self.durable.is_some()
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

    /// As [`made_durable`](Gateway::made_durable), for a push or delete that passed; tells plugins what the disk
    /// made of it.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn settled(&self, passed: Passed) -> Result<Passed, Refusal> {
        let durable = self.made_durable().await;
        if let (Some(plugins), Some(number)) = (&self.plugins, passed.open_result) {
            plugins.close_result(number, durable.as_ref().err());
        }
        durable.map(|()| passed)
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
        let manner = manner.into();
        let Manner { mode, options } = manner;
        if self.plugins.is_some() || self.may_merge(&options) {
            return self.push_telling(manner, key, content_type, body, now).map(|_| ());
        }
        self.check_durable().inspect_err(|refusal| self.telemetry.count_refusal(refusal.reason))?;
        let stamp = Stamp { at: now.wall, life: self.life(key, options.lifetime, None, now) };
        let format = parse::format_of(content_type);
        if format.known(body).is_some_and(|body| self.store.push_known(mode, key, body, stamp)) {
            return Ok(());
        }
        let result = self.read(format, key, body, Some(stamp), &mut |families, body| {
            self.store.push(mode, key, families, body.map(|body| &body[..]), stamp)
        });
        self.after(result)
    }

    /// As [`push`](Gateway::push), and tells what became of it besides.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn push_telling(
        &self,
        manner: impl Into<Manner>,
        key: &GroupingKey,
        content_type: Option<&[u8]>,
        body: &Bytes,
        now: Now,
    ) -> Result<Passed, Refusal> {
        let manner = manner.into();
        if self.plugins.is_some() {
            let method = if manner.mode == Mode::ReplaceGroup { "PUT" } else { "POST" };
            let content_type = content_type.map(|value| String::from_utf8_lossy(value).into_owned());
            let facts = RequestFacts { method, content_type, ..RequestFacts::default() };
            return self.push_with(manner, key, facts, body, now);
        }
        if self.may_merge(&manner.options) {
            return self.push_merging(manner, key, content_type, body, now);
        }
        let passed = Passed { stored: true, ..Passed::default() };
        self.push(manner, key, content_type, body, now).map(|()| passed)
    }

    /// What the pusher is told of the `result` of a push, with everything that a refusal entails.
    fn after<T: Default>(&self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = &result {
            self.telemetry.count_refusal(refusal.reason);
            if let Some(durable) = &self.durable {
                // The group's failure time may have been set.
                durable.nudge();
            }
            if refusal.reason == Reason::Inconsistent && !self.settings.check_consistency {
                return Ok(T::default());
            }
        }
        result
    }

    /// Reads the rules for lifetimes and those for merging anew. Returns what is wrong with them; where
    /// something is, the old ones stay in force.
    pub fn reload_rules(&self) -> Vec<String> {
        let lifetimes = self.lifetimes.as_ref().and_then(|lifetimes| lifetimes.reload().err());
        let merging = self.merging.as_ref().and_then(|merging| merging.reload().err());
        lifetimes.into_iter().chain(merging).collect()
    }

    /// Reads those anew whose file has changed; false if there are none to look at.
    pub fn refresh_rules(&self) -> bool {
        self.lifetimes.iter().for_each(|lifetimes| lifetimes.refresh());
        self.merging.iter().for_each(|merging| merging.refresh());
        self.lifetimes.is_some() || self.merging.is_some()
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

    /// Brings up to date what telemetry says is used of limits; each scrape does so too.
    pub fn note_uses(&self) {
        self.store.uses().for_each(|(limit, used)| self.telemetry().set_use(limit, used));
    }

    /// Every group as it is now, sorted by grouping key.
    pub fn groups(&self) -> Vec<GroupView> {
        self.store.views()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Leniency;
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
    fn a_body_that_is_known_is_no_other_format_and_forgiven_each_time() {
        let settings = Settings { lenient: true, ..Settings::default() };
        let gateway = Gateway::new(settings, Arc::new(Telemetry::new(1))).unwrap();
        let key = GroupingKey::new("j", []);
        let push = |content_type, body: &[u8]| {
            let body = Bytes::copy_from_slice(body);
            gateway.push(Mode::ReplaceGroup, &key, content_type, &body, Now::read())
        };
        for _ in 0..2 {
            push(None, b"m 1\n").unwrap();
        }
        assert_eq!(push(Some(DELIMITED), b"m 1\n").unwrap_err().reason, Reason::Malformed);
        for forgiven in 1..4 {
            self::push(&gateway, Some(DELIMITED), Metric { timestamp_ms: Some(7), ..gauge() }).unwrap();
            assert_eq!(gateway.telemetry().leniencies(Leniency::Timestamp), forgiven);
        }
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

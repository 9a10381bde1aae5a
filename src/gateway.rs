//! The product without a protocol: push, delete, wipe, scrape, list.
//!
//! The only module that sees the whole line from parser to exposition. It knows no HTTP, no flags and
//! no threads; `http` sees only this.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Now;
use crate::model::{Families, GroupingKey, NameRules, Reason, Refusal};
use crate::parse::text;
use crate::render::renderer::{Renderer, Slices};
use crate::sink::durable::Durable;
use crate::store::Store;
use crate::telemetry::Telemetry;

pub use crate::parse::push_path;
pub use crate::render::negotiate::{Encoding, Form};
pub use crate::sink::durable::{Options as Persistence, Promise};
pub use crate::sink::start::StartError as PersistenceError;
pub use crate::store::Mode;
pub use crate::store::view::{FamilyView, GroupView, SeriesView, ValueView};

/// How the gateway treats pushes; fixed at start.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `--push.disable-consistency-check` turns this off.
    pub check_consistency: bool,
    /// `--push.enable-utf8-names`.
    pub names: NameRules,
}

/// A scrape's answer: shared slices, never concatenated.
#[derive(Clone, Debug)]
pub struct Exposition {
    pub content_type: String,
    pub encoding: Encoding,
    pub slices: Slices,
    pub len: usize,
}

pub struct Gateway {
    settings: Settings,
    telemetry: Arc<Telemetry>,
    store: Arc<Store>,
    renderer: Renderer,
    /// Where groups are kept on the disk.
    durable: Option<Durable>,
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
        let own = Telemetry::declared().iter().map(|family| crate::store::OwnFamily {
            name: family.name,
            help: family.help,
            kind: family.kind,
            help_must_agree: !family.from_start,
        });
        let store = Store::new(settings.check_consistency, own);
        let store = Arc::new(if persistence.is_some() { store.followed_by_keeper() } else { store });
        let durable = persistence.map(|options| Durable::start(&store, &telemetry, options)).transpose()?;
        let renderer = Renderer::start(store.clone(), telemetry.clone()).map_err(OpenError::Renderer)?;
        Ok(Gateway { settings, telemetry, store, renderer, durable })
    }

    /// Ends what runs beside the workers, the last changes on the disk. Nobody may push any more.
    pub fn close(&self) {
        if let Some(durable) = &self.durable {
            durable.stop();
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

    /// Waits until what this thread has changed is on the disk, if that was promised.
    ///
    /// # Errors
    ///
    /// The disk failed, and nobody knows whether the change is on it.
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

    /// Applies one push whose `body` is decoded (no content coding left) and whole. Ask
    /// [`made_durable`](Gateway::made_durable) before answering that it was accepted.
    ///
    /// # Errors
    ///
    /// The body does not parse, or the store refuses it; nothing is stored then, except the failure
    /// time where the reference records it. While pushes are not checked, a refusal by the store is
    /// not an error to the pusher, as in the reference.
    pub fn push(
        &self,
        mode: Mode,
        key: &GroupingKey,
        _content_type: Option<&[u8]>,
        body: &Bytes,
        now: Now,
    ) -> Result<(), Refusal> {
        self.check_durable().inspect_err(|refusal| self.telemetry.count_refusal(refusal.reason))?;
        if self.store.push_known(mode, key, body, now.wall) {
            return Ok(());
        }
        let result = self.push_parsed(mode, key, body, now);
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

    fn push_parsed(&self, mode: Mode, key: &GroupingKey, body: &Bytes, now: Now) -> Result<(), Refusal> {
        let spare = SPARE.take().unwrap_or_default();
        let families = text::parse(body, self.settings.names, spare)
            .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
        let result = self.store.push(mode, key, &families, Some(body), now.wall);
        SPARE.set(Some(families.recycle()));
        result
    }

    /// Removes one group; true if it was there. To be made durable as a push.
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

    /// The exposition of everything answered before this call, in the form asked for. `None` if the
    /// renderer has ended, which only a bug can make it do.
    pub async fn scrape(&self, form: Form, encoding: Encoding) -> Option<Exposition> {
        let slices = self.renderer.render(form).await?;
        let len = slices.iter().map(Bytes::len).sum();
        Some(Exposition { content_type: form.content_type(), encoding, slices, len })
    }

    /// Every group as it is now, sorted by grouping key.
    pub fn groups(&self) -> Vec<GroupView> {
        self.store.views()
    }
}

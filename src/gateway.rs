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
use crate::render::renderer::Renderer;
use crate::store::Store;
use crate::telemetry::Telemetry;

pub use crate::parse::push_path;
pub use crate::render::negotiate::{Encoding, Form, Wanted};
pub use crate::render::renderer::{Rendered, Slices};
pub use crate::store::Mode;
pub use crate::store::view::{FamilyView, GroupView, SeriesView, ValueView};

/// How the gateway treats pushes; fixed at start.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `--push.disable-consistency-check` turns this off.
    pub check_consistency: bool,
    /// `--push.enable-utf8-names`.
    pub names: NameRules,
    /// `--limit.exposition-cache`, in bytes.
    pub exposition_cache_bytes: usize,
}

pub struct Gateway {
    settings: Settings,
    telemetry: Arc<Telemetry>,
    store: Arc<Store>,
    renderer: Renderer,
}

thread_local! {
    /// The vectors that the last push of this thread was parsed into.
    static SPARE: Cell<Option<Families<'static>>> = const { Cell::new(None) };
}

impl Gateway {
    /// An empty gateway, its renderer running.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn new(settings: Settings, telemetry: Arc<Telemetry>) -> std::io::Result<Gateway> {
        let own = Telemetry::declared().iter().map(|family| crate::store::OwnFamily {
            name: family.name,
            help: family.help,
            kind: family.kind,
            help_must_agree: !family.from_start,
        });
        let store = Arc::new(Store::new(settings.check_consistency, own));
        let renderer = Renderer::start(store.clone(), telemetry.clone(), settings.exposition_cache_bytes)?;
        Ok(Gateway { settings, telemetry, store, renderer })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Applies one push whose `body` is decoded (no content coding left) and whole.
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
        if self.store.push_known(mode, key, body, now.wall) {
            return Ok(());
        }
        let result = self.push_parsed(mode, key, body, now);
        if let Err(refusal) = &result {
            self.telemetry.count_refusal(refusal.reason);
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

    /// Removes one group; true if it was there.
    pub fn delete(&self, key: &GroupingKey) -> bool {
        self.store.delete(key)
    }

    /// Removes every group that exists now; returns how many.
    pub fn wipe(&self) -> usize {
        self.store.wipe()
    }

    /// The exposition of everything answered before this call, as `wanted`; without a body if it is
    /// what `if_none_match` names. `None` if the renderer has ended, which only a bug can make it do.
    pub async fn scrape(&self, wanted: Wanted, if_none_match: Option<String>) -> Option<Rendered> {
        self.renderer.render(wanted, if_none_match).await
    }

    /// Every group as it is now, sorted by grouping key.
    pub fn groups(&self) -> Vec<GroupView> {
        self.store.views()
    }
}

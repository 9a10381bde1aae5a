//! The product without a protocol: push, delete, wipe, scrape, list.
//!
//! The only module that sees the whole line from parser to exposition. It knows no HTTP, no flags and
//! no threads; `http` sees only this.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Now;
use crate::model::{GroupingKey, NameRules, Refusal};
use crate::store::view::GroupView;
use crate::telemetry::Telemetry;

pub use crate::parse::push_path;
pub use crate::render::negotiate::{self, Encoding, Form};

/// How the gateway treats pushes; fixed at start.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `--push.disable-consistency-check` turns this off.
    pub check_consistency: bool,
    /// `--push.enable-utf8-names`.
    pub names: NameRules,
}

/// What a push does to the families already in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushMode {
    /// PUT: the pushed families take the place of all others.
    ReplaceGroup,
    /// POST: each pushed family replaces the family of its name.
    ReplaceFamilies,
}

/// A scrape's answer: shared slices, never concatenated.
#[derive(Clone, Debug)]
pub struct Exposition {
    pub content_type: String,
    pub encoding: Encoding,
    pub slices: Vec<Bytes>,
    pub len: usize,
}

pub struct Gateway {
    settings: Settings,
    telemetry: Arc<Telemetry>,
}

impl Gateway {
    pub fn new(settings: Settings, telemetry: Arc<Telemetry>) -> Gateway {
        Gateway { settings, telemetry }
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
    /// time where the reference records it.
    pub fn push(
        &self,
        _mode: PushMode,
        _key: GroupingKey,
        _content_type: Option<&[u8]>,
        _body: Bytes,
        _now: Now,
    ) -> Result<(), Refusal> {
        todo!()
    }

    /// Removes one group; true if it was there.
    pub fn delete(&self, _key: &GroupingKey, _now: Now) -> bool {
        todo!()
    }

    /// Removes every group that exists now; returns how many.
    pub fn wipe(&self, _now: Now) -> usize {
        todo!()
    }

    /// The exposition of everything answered before this call, in the form asked for.
    pub async fn scrape(&self, _form: Form, _encoding: Encoding) -> Exposition {
        todo!()
    }

    /// Every group as it is now, sorted by grouping key.
    pub fn groups(&self) -> Vec<GroupView> {
        todo!()
    }
}

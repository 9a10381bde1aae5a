//! The engine through its own door: plugins from a folder, pushes through the gateway.

mod bundled;
mod expire;
mod folder;
mod hooks;
mod hostile;
mod known;
mod lenient;
mod reload;
mod same;
mod shared;
mod stale;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use folder::Folder;

use super::{Options, Passed, Plugins, Problem};
use crate::clock::Now;
use crate::gateway::{Gateway, Mode, Settings};
use crate::model::{GroupingKey, NameRules, Refusal, RequestFacts};
use crate::store::view::{GroupView, ValueView};
use crate::telemetry::Telemetry;

pub fn options(folder: &Folder) -> Options {
    Options {
        dir: Some(folder.path().to_owned()),
        config: None,
        allow_broken: false,
        time_max: Duration::from_millis(50),
        names: NameRules::Legacy,
        workers: 1,
    }
}

/// A gateway with the plugins of a folder.
pub struct Rig {
    pub gateway: Gateway,
    pub plugins: Arc<Plugins>,
    pub folder: Folder,
}

pub fn plain_gateway() -> Gateway {
    Gateway::new(Settings::default(), Arc::new(Telemetry::new(1))).unwrap()
}

impl Rig {
    pub fn new(files: &[(&str, &str)]) -> Rig {
        Rig::try_new(files).unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })
    }

    pub fn try_new(files: &[(&str, &str)]) -> Result<Rig, Vec<Problem>> {
        let folder = Folder::new(files);
        let plugins = Plugins::start(options(&folder))?;
        let gateway = plain_gateway().with_plugins(plugins.clone());
        Ok(Rig { gateway, plugins, folder })
    }

    /// One plugin `p` of these members.
    pub fn of(members: &str) -> Rig {
        Rig::new(&[("p.lua", &format!("return {{ api = 1, {members} }}"))])
    }

    pub fn push(&self, body: &str) -> Result<Passed, Refusal> {
        self.push_to(&GroupingKey::new("j", []), body)
    }

    pub fn push_to(&self, key: &GroupingKey, body: &str) -> Result<Passed, Refusal> {
        let facts = RequestFacts { method: "PUT", ..RequestFacts::default() };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let outcome = self.gateway.push_with(Mode::ReplaceGroup, key, facts, &body, Now::read());
        self.gateway.tell_results();
        outcome
    }

    /// Header of the refusal.
    pub fn code_of(&self, body: &str) -> String {
        let refusal = self.push(body).unwrap_err();
        header(&refusal, "X-Push-Code").to_owned()
    }

    pub fn stored(&self) -> Vec<String> {
        stored(&self.gateway)
    }
}

pub fn header<'r>(refusal: &'r Refusal, name: &str) -> &'r str {
    refusal.headers.iter().find(|header| header.0 == name).map_or("", |header| header.1.as_str())
}

/// Everything stored but the push times, one line per series.
pub fn stored(gateway: &Gateway) -> Vec<String> {
    gateway.groups().iter().flat_map(lines).collect()
}

fn lines(group: &GroupView) -> Vec<String> {
    let mut out = Vec::new();
    for family in group.families() {
        for series in family.series() {
            let mut labels: Vec<_> = series.labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
            labels.sort();
            let value = match &series.value {
                ValueView::Plain(value) => value.to_string(),
                other => format!("{other:?}"),
            };
            out.push(format!("{}{{{}}} {value}", family.name, labels.join(",")));
        }
    }
    out
}

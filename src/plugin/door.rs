//! What the gateway hands to plugins and gets back: the same whether or not the build has any.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::{Now, UnixNanos};
use crate::model::template::Template;
use crate::model::{Families, GroupingKey, Lifetime, LooseLine, NameRules, Refusal, RequestFacts};

/// Where plugins come from and what binds them all.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--plugin.dir`.
    pub dir: Option<PathBuf>,
    /// `--plugin.config`; without it `plugins.yml` in the directory, if there is one.
    pub config: Option<PathBuf>,
    /// `--plugin.allow-broken`.
    pub allow_broken: bool,
    /// `--plugin.max-time`.
    pub time_max: Duration,
    pub names: NameRules,
    /// Threads that serve.
    pub workers: usize,
}

/// What is stored when a push gets to phase T, as the gateway tells it. Series are counted as exposed
/// lines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StoreFacts {
    pub group_series: u64,
    /// Seconds since the group's last accepted push, if there is a group.
    pub group_age: Option<f64>,
    pub job_series: u64,
    pub job_groups: u64,
    pub total_series: u64,
    pub total_groups: u64,
    /// Stored series that the push as it was received would replace.
    pub replaced_series: u64,
}

/// Makes the template of a push for the store, from the number of values that it stores and from where
/// those of a series begin.
pub type Cut<'c> = &'c dyn Fn(usize, &dyn Fn(u32) -> Option<u32>) -> Option<Template>;

/// A body as it was read.
pub enum Read<'r, 'b> {
    /// It was parsed.
    Parsed {
        families: &'r Families<'b>,
        /// Whether a template of the body says all of it.
        is_whole: bool,
        /// Where each series stood, if it was read loosely.
        loose: &'r [LooseLine],
    },
    /// It is one that a [`Cut`] kept something with, but for its values, which are in the order of that.
    Known { template: &'r Template, values: &'r [u64] },
}

/// Takes a body that was read.
pub type Load<'l> = &'l mut dyn FnMut(Read<'_, '_>);

/// Stores the body known to [`Load`], which plugins left as they did before but for these values. False if
/// that is not to be had any more, and nothing is stored.
pub type Again<'a> = &'a dyn Fn(&GroupingKey, Box<[u64]>, Option<Lifetime>) -> Result<bool, Refusal>;

/// A push on its way, as the gateway hands it in.
pub struct Push<'p, P, G, S, F> {
    pub key: &'p GroupingKey,
    pub facts: RequestFacts,
    pub body: &'p [u8],
    pub now: Now,
    /// Reads the body and hands its families over. The key is the one they will be stored under. If the
    /// second argument says so, names may break the rules and values be null.
    pub parse: P,
    /// Words the refusal of a line that plugins left as it must not be; zero: nobody knows which.
    pub refuse_line: &'p dyn Fn(u32) -> Refusal,
    /// Says what is stored where these families, as they came in, are to go.
    pub around: G,
    /// Stores the families under the key, with the lifetime that plugins gave the group, if they did.
    pub store: S,
    /// See [`Again`].
    pub store_again: Again<'p>,
    /// Notes on the group of the key, if it exists, that the push failed.
    pub mark_failed: F,
}

/// A group whose lifetime has ended.
#[derive(Clone, Copy, Debug)]
pub struct Dying<'g> {
    pub key: &'g GroupingKey,
    pub series: usize,
    /// Last accepted push; [`UnixNanos::NEVER`] if there was none.
    pub last_push: UnixNanos,
    pub lifetime: Lifetime,
}

/// What plugins make of a group's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastWord {
    /// The longest lifetime that one of them gave it from now on.
    pub extended: Option<Lifetime>,
    /// Whether one of them failed.
    pub failed: bool,
}

/// A push that was not refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Plugins that failed and were left out, for the header `X-Push-Skipped`.
    pub skipped: Vec<String>,
    /// False if a plugin discarded the push.
    pub stored: bool,
    /// It had been merged before, and nothing was added, for the header `Push-Replayed`.
    pub replayed: bool,
    /// Under which number plugins wait to be told what the disk made of it, if any do.
    pub open_result: Option<u64>,
}

impl Passed {
    /// The headers that the answer carries.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let replayed = self.replayed.then(|| ("Push-Replayed", "true".to_owned()));
        let skipped = self.skipped.iter().map(|plugin| ("X-Push-Skipped", plugin.clone()));
        skipped.chain(replayed).collect()
    }
}

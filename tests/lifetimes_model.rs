//! Lifetimes against a naive model, by a clock that the test moves: pushes that are taken and refused,
//! deletes, rules, plugins, restarts, a wall clock that is set forward and back.
//!
//! The model knows one number, the time lived through, and looks at every group whenever it is asked.

#![cfg(feature = "plugins")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floodway::clock::{Clock, Now, UnixNanos};
use floodway::gateway::{Gateway, Manner, Mode, Persistence, Promise, Settings};
use floodway::lifetimes::Lifetimes;
use floodway::model::{GroupingKey, Lifetime, NameRules, PushOptions};
use floodway::plugin::{Options, Plugins};
use floodway::telemetry::Telemetry;

#[path = "support/process.rs"]
#[allow(dead_code)]
mod process;

use process::Scratch;

const SECOND: u64 = 1_000_000_000;

const RULES: &str = "rules:\n- match: '{job=\"flag\"}'\n  lifetime: 3s\n  action: flag\n  max: 8s\n\
    - match: '{job=\"ever\"}'\n  lifetime: 0\n- match: '{job=\"short\"}'\n  max: 2s\n";

const DEFAULT: u64 = 5 * SECOND;

/// `ttl` by a grouping label; groups labelled `keep` get more time once, those labelled `fail` make the
/// plugin fail.
const PLUGIN: &str = "return { api = 1,
  on_request = function(req)
    if req.group.ttl then req.ttl = tonumber(req.group.ttl) end
  end,
  on_expire = function(group)
    if group.labels.fail then error('no') end
    if group.labels.keep and group.ttl ~= 2.5 then return gate.extend(2.5) end
  end }";

/// Job, and one more label.
const KEYS: &[(&str, &str, &str)] = &[
    ("plain", "x", "1"),
    ("plain", "x", "2"),
    ("flag", "x", "1"),
    ("flag", "keep", "1"),
    ("ever", "x", "1"),
    ("short", "x", "1"),
    ("plain", "keep", "1"),
    ("plain", "fail", "1"),
    ("plain", "ttl", "1.5"),
    ("flag", "ttl", "0"),
];

fn key(number: usize) -> GroupingKey {
    let (job, name, value) = KEYS[number];
    GroupingKey::new(job, [(name, value)])
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    /// Nothing if it lives for ever; else when it ends, by the time lived through.
    due: Option<u64>,
    lifetime: u64,
    overdue: bool,
    pushed: bool,
    families: BTreeMap<String, u64>,
}

struct Model {
    plugins: bool,
    lived: u64,
    groups: BTreeMap<usize, Group>,
}

impl Model {
    fn lifetime(&self, number: usize, asked: Option<u64>) -> u64 {
        let (job, name, value) = KEYS[number];
        let by_plugin =
            (self.plugins && name == "ttl").then(|| (value.parse::<f64>().unwrap() * SECOND as f64) as u64);
        let cap = |asked: u64, max: u64| if asked == 0 { max } else { asked.min(max) };
        match (job, by_plugin.or(asked)) {
            ("flag", Some(asked)) => cap(asked, 8 * SECOND),
            ("short", Some(asked)) => cap(asked, 2 * SECOND),
            (_, Some(asked)) => asked,
            ("flag", None) => 3 * SECOND,
            ("ever", None) => 0,
            (_, None) => DEFAULT,
        }
    }

    fn push(&mut self, number: usize, mode: Mode, family: &str, value: u64, asked: Option<u64>) {
        let lifetime = self.lifetime(number, asked);
        let old = self.groups.remove(&number).filter(|_| mode == Mode::ReplaceFamilies);
        let mut families = old.map_or_else(BTreeMap::new, |group| group.families);
        families.insert(family.to_owned(), value);
        let due = (lifetime > 0).then(|| self.lived + lifetime);
        self.groups.insert(number, Group { due, lifetime, overdue: false, pushed: true, families });
    }

    fn refuse(&mut self, number: usize, asked: Option<u64>) {
        // Refused by the store, so what plugins said before counts.
        let lifetime = self.lifetime(number, asked);
        let due = (lifetime > 0).then(|| self.lived + lifetime);
        self.groups.entry(number).or_insert_with(|| Group {
            due,
            lifetime,
            overdue: false,
            pushed: false,
            families: BTreeMap::new(),
        });
    }

    fn tend(&mut self) -> u64 {
        let (lived, plugins) = (self.lived, self.plugins);
        let mut ended = 0;
        self.groups.retain(|number, group| {
            let (job, name, _) = KEYS[*number];
            if group.overdue || group.due.is_none_or(|due| due > lived) {
                return true;
            }
            let more = 5 * SECOND / 2;
            match name {
                "fail" if plugins => group.due = Some(lived + 60 * SECOND),
                "keep" if plugins && group.lifetime != more => {
                    (group.due, group.lifetime) = (Some(lived + more), more);
                }
                _ if job == "flag" => group.overdue = true,
                _ => {
                    ended += 1;
                    return false;
                }
            }
            true
        });
        ended
    }
}

struct Rig {
    clock: Clock,
    data: PathBuf,
    rules: PathBuf,
    plugins: Option<PathBuf>,
}

impl Rig {
    fn open(&self) -> Gateway {
        let persistence = Persistence { path: self.data.clone(), promise: Promise::Nothing, salvage: false };
        let telemetry = Arc::new(Telemetry::new(1));
        let gateway =
            Gateway::open_by(self.clock.clone(), Settings::default(), telemetry, Some(&persistence)).unwrap();
        let gateway = match &self.plugins {
            None => gateway,
            Some(dir) => gateway.with_plugins(Plugins::start(options(dir)).unwrap()),
        };
        let default = Lifetime::from_millis(DEFAULT / 1_000_000).unwrap();
        gateway.with_lifetimes(Arc::new(Lifetimes::load(default, Some(&self.rules)).unwrap()))
    }
}

fn options(dir: &Path) -> Options {
    Options {
        dir: Some(dir.to_owned()),
        config: None,
        allow_broken: false,
        time_max: Duration::from_secs(1),
        names: NameRules::Legacy,
        workers: 1,
    }
}

fn observed(gateway: &Gateway, clock: &Clock, lived: u64) -> BTreeMap<usize, Group> {
    let groups = gateway.groups();
    let group = |view: &floodway::gateway::GroupView| {
        let number = (0..KEYS.len()).find(|number| key(*number) == *view.key).unwrap();
        let now = clock.now();
        let due = view.life().due().map(|_| {
            let at = gateway.ending(view, now).unwrap().at.0;
            lived + at - now.wall.0
        });
        let families = view.families();
        let families = families.iter().map(|family| {
            let floodway::gateway::ValueView::Plain(value) = family.series().next().unwrap().value else {
                panic!("gauges only");
            };
            (family.name.to_owned(), value as u64)
        });
        let group = Group {
            // What is overdue has no time left; when it was due is not asked.
            due: due.filter(|_| !view.life().is_overdue()),
            lifetime: view.life().term().map_or(0, |term| term.lifetime.nanos()),
            overdue: view.life().is_overdue(),
            pushed: view.push_time() != UnixNanos::NEVER,
            families: families.collect(),
        };
        (number, group)
    };
    groups.iter().map(group).collect()
}

fn run(seed: u64, plugins: bool) {
    let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = move |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let scratch = Scratch::new();
    let rig = Rig {
        clock: Clock::by_hand(Now { wall: UnixNanos(1_800_000_000 * SECOND), ..Now::read() }),
        data: scratch.path("data"),
        rules: scratch.path("rules.yml"),
        plugins: plugins.then(|| scratch.path("plugins")),
    };
    fs::write(&rig.rules, RULES).unwrap();
    if let Some(dir) = &rig.plugins {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("p.lua"), PLUGIN).unwrap();
    }
    let clock = rig.clock.clone();
    let mut gateway = rig.open();
    let mut model = Model { plugins, lived: 0, groups: BTreeMap::new() };
    let (mut ended, mut restarts) = (0, 0);
    for step in 0..400 {
        let number = roll(KEYS.len() as u64) as usize;
        let asked = [None, None, None, Some(0), Some(700), Some(1500), Some(9000)][roll(7) as usize];
        let lifetime = asked.map(|millis| Lifetime::from_millis(millis).unwrap());
        let options = PushOptions { lifetime, ..PushOptions::default() };
        let asked = asked.map(|millis| millis * 1_000_000);
        let what = roll(20);
        let said = format!("seed {seed} step {step}: {what} on {:?} asks {asked:?}", KEYS[number]);
        match what {
            0..=5 => {
                let mode = if roll(2) == 0 { Mode::ReplaceGroup } else { Mode::ReplaceFamilies };
                let family = ["m", "n"][roll(2) as usize];
                let body = Bytes::from(format!("{family} {step}\n"));
                gateway.push(Manner { mode, options }, &key(number), None, &body, clock.now()).unwrap();
                model.push(number, mode, family, step, asked);
            }
            6..=8 => {
                let body = Bytes::from_static(b"m 1 5\n");
                let manner = Manner { mode: Mode::ReplaceGroup, options };
                gateway.push(manner, &key(number), None, &body, clock.now()).unwrap_err();
                model.refuse(number, asked);
            }
            9 => assert_eq!(
                gateway.delete(&key(number)).unwrap(),
                model.groups.remove(&number).is_some(),
                "{said}"
            ),
            10..=14 => {
                let by = roll(2_500) * 1_000_000;
                clock.advance(Duration::from_nanos(by));
                model.lived += by;
            }
            // Only the wall clock: nothing may come of it.
            15 => clock.step_wall(UnixNanos(clock.now().wall.0 + roll(10_000) * SECOND)),
            16 => clock.step_wall(UnixNanos(clock.now().wall.0 - roll(10_000) * SECOND)),
            17 if restarts < 12 => {
                restarts += 1;
                gateway.close();
                drop(gateway);
                let wall = clock.now().wall.0;
                // It may be set while the process is away, and may stand still or go back.
                let away = roll(8) * SECOND / 2;
                match roll(3) {
                    0 => clock.step_wall(UnixNanos(wall - away)),
                    _ => {
                        clock.advance(Duration::from_nanos(away));
                        model.lived += away;
                    }
                }
                gateway = rig.open();
            }
            _ => {
                gateway.tend();
                ended += model.tend();
            }
        }
        let mut expected = model.groups.clone();
        expected.values_mut().filter(|group| group.overdue).for_each(|group| group.due = None);
        // Only the model can say that a group is due before the housekeeper has looked.
        let seen = observed(&gateway, &clock, model.lived);
        assert_eq!(seen, expected, "{said}");
    }
    assert!(ended > 5 && restarts > 2, "seed {seed}: {ended} ended, {restarts} restarts");
}

#[test]
fn lifetimes_agree_with_the_model_at_each_step() {
    for seed in 1..=10 {
        run(seed, false);
    }
}

#[test]
fn lifetimes_agree_with_the_model_where_plugins_have_a_word() {
    for seed in 101..=110 {
        run(seed, true);
    }
}

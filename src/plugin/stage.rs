//! What the machines of one worker share while a push runs through its plugins.

use std::cell::{Cell, RefCell};

use super::door::StoreFacts;
use super::draft::Draft;
use super::insight::Incident;
use super::shared::Tick;
use super::trace::Row;
use super::worker::About;
use crate::clock::UnixNanos;
use crate::model::{GroupingKey, Lifetime, NameRules, RequestFacts};

/// The push on stage. Each worker has one; pushes follow each other on it.
#[derive(Debug)]
pub struct Stage {
    pub draft: RefCell<Draft>,
    pub request: RefCell<RequestFacts>,
    /// The grouping key as it was sent.
    pub received: RefCell<GroupingKey>,
    /// Fetched for pushes that meet a plugin which asks.
    pub store: Cell<Option<StoreFacts>>,
    /// What a test says in place of that.
    pub lent: Cell<Option<StoreFacts>>,
    pub now: Cell<UnixNanos>,
    /// The same by a clock that is never set.
    pub tick: Cell<Tick>,
    /// The lifetime that plugins gave the group, if they did.
    pub ttl: Cell<Option<Lifetime>>,
    /// The group that is about to end, in `on_expire`.
    pub dying: Cell<About>,
    /// The push's number in logs and answers.
    pub id: Cell<u64>,
    /// Whether nothing will be stored: a check or a test.
    pub dry: Cell<bool>,
    /// The records that plugins wrote, where somebody asks for them instead of the log.
    pub log: RefCell<Option<Vec<String>>>,
    /// What hooks did to the push, where somebody asks.
    pub trace: RefCell<Option<Vec<Row>>>,
    pub worker: usize,
    pub workers: usize,
}

impl Stage {
    pub fn new(names: NameRules, worker: usize, workers: usize) -> Stage {
        Stage {
            draft: RefCell::new(Draft::new(names)),
            request: RefCell::default(),
            received: RefCell::new(GroupingKey::new("-", [])),
            store: Cell::new(None),
            lent: Cell::new(None),
            now: Cell::new(UnixNanos::NEVER),
            tick: Cell::default(),
            ttl: Cell::new(None),
            dying: Cell::default(),
            id: Cell::new(0),
            dry: Cell::new(false),
            log: RefCell::default(),
            trace: RefCell::default(),
            worker,
            workers,
        }
    }

    /// Keeps a record where somebody asked for records; false if they belong in the log.
    pub fn keep_record(&self, record: impl FnOnce() -> String) -> bool {
        self.log.borrow_mut().as_mut().map(|log| log.push(record())).is_some()
    }

    /// What happened to the push on stage.
    pub fn incident(&self, code: &str, text: impl Into<String>) -> Incident {
        Incident {
            at: self.now.get(),
            id: self.id_text(),
            job: self.received.borrow().job().to_owned(),
            code: code.to_owned(),
            text: text.into(),
        }
    }

    pub fn id_text(&self) -> String {
        format!("{:016x}", self.id.get())
    }
}

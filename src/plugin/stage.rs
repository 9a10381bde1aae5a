//! What the machines of one worker share while a push runs through its plugins.

use std::cell::{Cell, RefCell};

use super::door::StoreFacts;
use super::draft::Draft;
use crate::clock::UnixNanos;
use crate::model::{GroupingKey, NameRules, RequestFacts};

/// The push on stage. Each worker has one; pushes follow each other on it.
#[derive(Debug)]
pub struct Stage {
    pub draft: RefCell<Draft>,
    pub request: RefCell<RequestFacts>,
    /// The grouping key as it was sent.
    pub received: RefCell<GroupingKey>,
    /// Fetched for pushes that meet a plugin which asks.
    pub store: Cell<Option<StoreFacts>>,
    pub now: Cell<UnixNanos>,
    /// The push's number in logs and answers.
    pub id: Cell<u64>,
    /// Whether nothing will be stored: a check or a test.
    pub dry: Cell<bool>,
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
            now: Cell::new(UnixNanos::NEVER),
            id: Cell::new(0),
            dry: Cell::new(false),
            worker,
            workers,
        }
    }

    pub fn id_text(&self) -> String {
        format!("{:016x}", self.id.get())
    }
}

//! One grouping key from push and delete to scrape, in every interleaving.
//!
//! The feed's marks are the server's own. The cells of the map, the key's claim and the index are modelled by
//! the least that keeps their order: a state with a seal, a lock that inserting and deleting take, and for each
//! cell what the renderer last saw of it. Rendering and splicing need no model: one thread does them.

use std::collections::VecDeque;

use loom::sync::{Arc, Mutex};
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::feed::Mark;

/// The state of a group that is deleted.
const SEALED: usize = 1 << 8;

/// What the map holds where it holds no group.
const NOTHING: usize = usize::MAX;

/// A group of the map: its mark, and the numbers of the pushes it holds, each a bit.
#[derive(Default)]
struct Cell {
    mark: Mark,
    state: AtomicUsize,
}

/// The store as far as one grouping key goes, and its feed. The key has one group, then perhaps another.
struct Store {
    cells: [Cell; 2],
    map: AtomicUsize,
    claim: Mutex<()>,
    feed: Mutex<VecDeque<usize>>,
    delete_begun: AtomicBool,
}

impl Store {
    fn new() -> Store {
        Store {
            cells: Default::default(),
            map: AtomicUsize::new(0),
            claim: Mutex::new(()),
            feed: Mutex::new(VecDeque::new()),
            delete_begun: AtomicBool::new(false),
        }
    }

    fn note(&self, cell: usize) {
        self.cells[cell].mark.note(|| self.feed.lock().unwrap().push_back(cell));
    }

    fn forget(&self, cell: usize) {
        let _ = self.map.compare_exchange(cell, NOTHING, Ordering::AcqRel, Ordering::Acquire);
    }

    /// A push of a known shape takes no claim; where the group is gone, a new one is made under the claim.
    fn push(&self, number: usize) {
        loop {
            let cell = self.map.load(Ordering::Acquire);
            if cell != NOTHING {
                let add = |state| (state & SEALED == 0).then_some(state | 1 << number);
                let state = &self.cells[cell].state;
                if state.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok() {
                    self.note(cell);
                    return;
                }
                self.forget(cell);
                continue;
            }
            let _claim = self.claim.lock().unwrap();
            if self.map.load(Ordering::Acquire) == NOTHING {
                self.cells[1].state.fetch_or(1 << number, Ordering::AcqRel);
                self.map.store(1, Ordering::Release);
                self.note(1);
                return;
            }
        }
    }

    fn delete(&self) {
        self.delete_begun.store(true, Ordering::SeqCst);
        let _claim = self.claim.lock().unwrap();
        let cell = self.map.load(Ordering::Acquire);
        self.cells[cell].state.fetch_or(SEALED, Ordering::AcqRel);
        self.forget(cell);
        self.note(cell);
    }
}

/// What the renderer shows of each cell.
#[derive(Default)]
struct Index([Option<usize>; 2]);

impl Index {
    fn follow(&mut self, store: &Store) {
        loop {
            let Some(cell) = store.feed.lock().unwrap().pop_front() else { return };
            store.cells[cell].mark.clear();
            let state = store.cells[cell].state.load(Ordering::Acquire);
            self.0[cell] = (state & SEALED == 0).then_some(state);
        }
    }

    /// The pushes shown.
    fn scrape(&self) -> usize {
        assert!(self.0.iter().flatten().count() <= 1, "a deleted group is shown beside its successor");
        self.0.iter().flatten().sum()
    }
}

/// Whatever a push and a delete are in the middle of: an answered push is in the next scrape unless
/// deleted, no series is there twice, and in the end the scrape shows what the map holds.
#[test]
fn no_changed_group_is_lost_between_store_and_scrape() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let store = Arc::new(Store::new());
        let pusher = loom::thread::spawn({
            let store = store.clone();
            move || store.push(1)
        });
        let deleter = loom::thread::spawn({
            let store = store.clone();
            move || store.delete()
        });
        let mut index = Index::default();
        index.follow(&store);
        index.scrape();
        store.push(2);
        index.follow(&store);
        let shown = index.scrape();
        let deleted = store.delete_begun.load(Ordering::SeqCst);
        assert!(shown & 1 << 2 != 0 || deleted, "an answered push is missing");
        pusher.join().unwrap();
        deleter.join().unwrap();
        index.follow(&store);
        let held = match store.map.load(Ordering::Acquire) {
            NOTHING => 0,
            cell => store.cells[cell].state.load(Ordering::Acquire),
        };
        assert_eq!(index.scrape(), held);
    });
}

//! The thread that keeps the exposition: it alone follows the store's feed and touches the index.
//!
//! A scrape asks for a rendering that begins after its own request; requests that wait together share
//! one. So a scrape shows every push that was answered before it, each wholly or not at all.
//!
//! # Whole expositions
//!
//! States are loaded one after the other while pushes go on, so a family that moves from one group to
//! another in between could be seen twice. The renderer therefore takes the feed again until a round
//! changes no shape; if shapes keep changing, it holds changes of shape back for its last round.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use futures_channel::oneshot;

use super::index::{Change, Index};
use super::negotiate::Form;
use crate::store::Store;
use crate::store::group::RENDERER;
use crate::telemetry::Telemetry;

/// Rounds over the feed before changes of shape are held back.
const ROUNDS_MAX: usize = 4;

/// Shared slices of one rendering.
pub type Slices = Arc<[Bytes]>;

struct Request {
    form: Form,
    answer: oneshot::Sender<Slices>,
}

/// A handle on the renderer's thread, which ends when the last handle is dropped.
pub struct Renderer {
    requests: mpsc::Sender<Request>,
}

impl Renderer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(store: Arc<Store>, telemetry: Arc<Telemetry>) -> std::io::Result<Renderer> {
        let (requests, waiting) = mpsc::channel();
        std::thread::Builder::new().name("renderer".into()).spawn(move || {
            let mut index = Index::new(store.checks());
            while let Ok(first) = waiting.recv() {
                let batch: Vec<Request> = std::iter::once(first).chain(waiting.try_iter()).collect();
                serve(&store, &telemetry, &mut index, batch);
            }
        })?;
        Ok(Renderer { requests })
    }

    /// Asks for a rendering of everything that was answered before this call. `None` if the renderer
    /// has ended, which only a bug can make it do.
    pub async fn render(&self, form: Form) -> Option<Slices> {
        let (answer, slices) = oneshot::channel();
        self.requests.send(Request { form, answer }).ok()?;
        slices.await.ok()
    }
}

fn serve(store: &Store, telemetry: &Telemetry, index: &mut Index, batch: Vec<Request>) {
    follow(store, index);
    telemetry.set_store_figures(store.groups_count(), store.series_count(), index.hidden_series() as u64);
    let own = telemetry.families();
    let mut done: HashMap<Form, Slices> = HashMap::new();
    for request in batch {
        let slices = done.entry(request.form).or_insert_with(|| index.expose(request.form, &own).into());
        // A scraper that has gone needs no answer.
        let _ = request.answer.send(slices.clone());
    }
}

/// Brings the index up to what the feed says.
fn follow(store: &Store, index: &mut Index) {
    for _ in 0..ROUNDS_MAX {
        if !take_feed(store, index) {
            return;
        }
    }
    store.hold_shapes(|| take_feed(store, index));
}

/// One round over the feed as it is now; true if a shape changed.
fn take_feed(store: &Store, index: &mut Index) -> bool {
    let mut shape = false;
    // Groups pushed meanwhile are queued anew; they wait for the next round, or it might never end.
    for _ in 0..store.changed(RENDERER) {
        let Some(group) = store.next_changed(RENDERER) else { break };
        shape |= index.update(&group) == Change::Shape;
    }
    shape
}

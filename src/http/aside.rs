//! Work beside the workers: what a person or a script asks for that takes milliseconds, such as looking
//! through all groups. One thread at lower priority does it in turn, so that no push waits for a page.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};

use futures_channel::oneshot;

use crate::limits::ASIDE_QUEUE_MAX;

/// How the thread's priority stands below that of the workers (a difference in nice values).
const NICE: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// A handle on the thread, which ends when the last handle is dropped.
#[derive(Clone)]
pub struct Aside(SyncSender<Job>);

impl Aside {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start() -> io::Result<Aside> {
        let (sender, jobs) = sync_channel::<Job>(ASIDE_QUEUE_MAX);
        std::thread::Builder::new().name("aside".to_owned()).spawn(move || {
            // Without the lower priority it only takes more of the workers' time.
            let _ = rustix::process::nice(NICE);
            for job in jobs {
                // A fault of ours in one answer must not end the thread.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        })?;
        Ok(Aside(sender))
    }

    /// What `work` returns; `None` if too much waits already, or a fault of ours ended it.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, done) = oneshot::channel();
        let job = Box::new(move || {
            // A client that has gone needs no answer.
            let _ = answer.send(work());
        });
        self.0.try_send(job).ok()?;
        done.await.ok()
    }
}

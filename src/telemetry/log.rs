//! Log lines in the two forms the reference offers, written by a thread of their own.
//!
//! Workers put finished lines into a bounded queue and never touch standard error, so that a reader
//! who stops reading cannot stall a connection. A line that finds the queue full is dropped and
//! counted.

mod line;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::limits::LOG_LINES_QUEUED_MAX;
pub use line::Format;

/// Longest wait at exit for lines that are still queued.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// Pause between two looks at a full queue while stopping.
const FLUSH_RETRY: Duration = Duration::from_millis(1);

static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines lost since the start because standard error did not keep up, or is gone.
pub fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

/// Sends events of `level` and above to standard error from here on.
///
/// # Panics
///
/// Logging was installed before in this process.
pub fn install(level: Level, format: Format) -> Logger {
    let (queue, logger) = start(std::io::stderr(), &LINES_DROPPED);
    let layer = LineLayer { queue, format, with_module: level >= Level::DEBUG };
    let subscriber = Registry::default().with(LevelFilter::from_level(level)).with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("logging is installed once");
    logger
}

/// Keeps the log thread. Dropping it writes what is queued, waiting for a slow reader only a moment.
#[must_use = "lines queued at exit are lost unless this is dropped last"]
pub struct Logger {
    queue: Queue,
}

impl Drop for Logger {
    fn drop(&mut self) {
        let (done, is_done) = sync_channel(1);
        let deadline = Instant::now() + FLUSH_DEADLINE;
        let mut stop = Message::Stop(done);
        while let Err(TrySendError::Full(message)) = self.queue.sender.try_send(stop) {
            if deadline <= Instant::now() {
                return;
            }
            stop = message;
            thread::sleep(FLUSH_RETRY);
        }
        match is_done.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            // Either way there is nothing more to do: written, thread gone, or reader asleep.
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}

enum Message {
    Line(Vec<u8>),
    Stop(SyncSender<()>),
}

#[derive(Clone)]
struct Queue {
    sender: SyncSender<Message>,
    dropped: &'static AtomicU64,
}

impl Queue {
    fn push(&self, line: Vec<u8>) {
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn start(out: impl Write + Send + 'static, dropped: &'static AtomicU64) -> (Queue, Logger) {
    let (sender, receiver) = sync_channel(LOG_LINES_QUEUED_MAX);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(receiver, out, dropped))
        .expect("the system has room for one thread");
    let queue = Queue { sender, dropped };
    (queue.clone(), Logger { queue })
}

fn write_lines(receiver: Receiver<Message>, mut out: impl Write, dropped: &AtomicU64) {
    while let Ok(message) = receiver.recv() {
        match message {
            Message::Line(line) => {
                if out.write_all(&line).is_err() {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            Message::Stop(done) => {
                // First no more lines, so that every later one is counted as dropped.
                drop(receiver);
                let _ = done.send(());
                return;
            }
        }
    }
}

/// Turns each event into a line and queues it.
struct LineLayer {
    queue: Queue,
    format: Format,
    /// Whether the caller is shown with its module, as the reference does at level debug.
    with_module: bool,
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let line = line::write(self.format, self.with_module, jiff::Timestamp::now(), event);
        self.queue.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Keeps what is written, and lets nothing through before the gate opens.
    struct Gated {
        gate: Option<Receiver<()>>,
        entered: SyncSender<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if let Some(gate) = self.gate.take() {
                self.entered.send(()).unwrap();
                gate.recv().unwrap();
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_reader_costs_lines_and_never_time() {
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        let (open, gate) = sync_channel(1);
        let (entered, has_entered) = sync_channel(1);
        let written = Arc::new(Mutex::new(Vec::new()));
        let (queue, logger) = start(Gated { gate: Some(gate), entered, written: written.clone() }, &DROPPED);
        queue.push(b"first\n".to_vec());
        // The thread now holds the first line and waits, so the queue is empty.
        has_entered.recv().unwrap();
        for _ in 0..LOG_LINES_QUEUED_MAX + 3 {
            queue.push(b"x\n".to_vec());
        }
        assert_eq!(DROPPED.load(Ordering::Relaxed), 3);
        open.send(()).unwrap();
        drop(logger);
        assert_eq!(written.lock().unwrap().len(), "first\n".len() + 2 * LOG_LINES_QUEUED_MAX);
        queue.push(b"late\n".to_vec());
        assert_eq!(DROPPED.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn events_become_lines_above_the_level() {
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        let (entered, _) = sync_channel(1);
        let written = Arc::new(Mutex::new(Vec::new()));
        let (queue, logger) = start(Gated { gate: None, entered, written: written.clone() }, &DROPPED);
        let layer = LineLayer { queue, format: Format::Logfmt, with_module: false };
        let subscriber = Registry::default().with(LevelFilter::INFO).with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("too quiet");
            tracing::warn!(path = "/a b", source = "1.2.3.4:5", n = 3, ok = true, "write queue is full");
        });
        drop(logger);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let (time, rest) = text.split_once(" level=").unwrap();
        assert_eq!(time.len(), "ts=2026-11-21T08:36:50.441Z".len(), "{time}");
        let (_, rest) = rest.split_once("caller=log.rs:").unwrap();
        assert!(
            rest.ends_with(
                " msg=\"write queue is full\" path=\"/a b\" logged_source=1.2.3.4:5 n=3 ok=true\n"
            ),
            "{text}"
        );
    }
}

//! Unpacking without stalling a worker: what is small is unpacked where it arrived, everything else by
//! helper threads.
//!
//! Whether a body is small shows only while it is unpacked, so a body that turns out large is begun
//! again by a helper. What a worker spends on it is bounded by the small size.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_channel::oneshot;

use super::Coding;
use super::output::Fault;
use crate::limits::{DECODER_QUEUE_MAX, DECODER_THREADS, INLINE_BODY_BYTES_MAX, INLINE_DECODED_BYTES_MAX};
use crate::model::{Reason, Refusal};

struct Job {
    coding: Coding,
    body: Bytes,
    answer: oneshot::Sender<Result<Bytes, Refusal>>,
}

/// A handle on the helper threads, which end when the last handle is dropped.
pub struct Decoders {
    jobs: SyncSender<Job>,
    /// Largest body once decoded, in bytes.
    max: usize,
}

impl Decoders {
    /// Starts the threads. `max` bounds every body once decoded, in bytes.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(max: usize) -> io::Result<Decoders> {
        let (jobs, waiting) = sync_channel(DECODER_QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..DECODER_THREADS {
            let waiting = waiting.clone();
            std::thread::Builder::new()
                .name(format!("decoder-{number}"))
                .spawn(move || serve(&waiting, max))?;
        }
        Ok(Decoders { jobs, max })
    }

    /// The body without its coding.
    ///
    /// # Errors
    ///
    /// As [`Coding::decode`]; or too many large bodies wait already.
    pub async fn decode(&self, coding: Coding, body: Bytes) -> Result<Bytes, Refusal> {
        if coding == Coding::Identity {
            return Ok(body);
        }
        if body.len() <= INLINE_BODY_BYTES_MAX {
            match coding.unpack(&body, self.max.min(INLINE_DECODED_BYTES_MAX)) {
                Err(Fault::TooLarge) if self.max > INLINE_DECODED_BYTES_MAX => {}
                outcome => return outcome.map_err(|fault| fault.refusal(self.max)),
            }
        }
        let (answer, decoded) = oneshot::channel();
        match self.jobs.try_send(Job { coding, body, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                let text = "too many large compressed bodies at once, try again later";
                return Err(Refusal::new(Reason::Overloaded, text));
            }
        }
        // The sender is dropped unused only by a fault of ours in unpacking this body.
        let faulty = |_| Err(Refusal::new(Reason::Malformed, "request body cannot be unpacked"));
        decoded.await.unwrap_or_else(faulty)
    }
}

fn serve(waiting: &Mutex<Receiver<Job>>, max: usize) {
    loop {
        // Whoever holds the lock waits for the next job; nobody can panic while holding it.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { coding, body, answer }) = next else { return };
        // A fault of ours in one body must not end the thread.
        if let Ok(decoded) = catch_unwind(AssertUnwindSafe(|| coding.decode(body, max))) {
            // A pusher that has gone needs no answer.
            let _ = answer.send(decoded);
        }
    }
}

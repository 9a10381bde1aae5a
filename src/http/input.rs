//! Bytes from a client: the read buffer, and whole heads and bodies out of it.
//!
//! A quiet connection keeps a small buffer, in a crowd a tiny one; a busy one grows it and gives it back.
//! What lies whole in the buffer is split off, not copied. Every wait has a deadline, and a read that timed
//! out is the connection's last. What waits rarely does so in a box: thousands of connections wait for their
//! next head and should not carry the room for it.

use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent};

use crate::limits::{
    BODY_BYTES_PER_SECOND_MIN, BUSY_BUFFER_BYTES_MAX, CROWDED_BUFFER_BYTES, DISCARD_BYTES_MAX,
    IDLE_BUFFER_BYTES, LINGER_BYTES_MAX,
};

use super::chunked::{BadChunk, ChunkDecoder};
use super::config::HttpConfig;
use super::head::{BodyLength, HeadError, HeadScan};
use super::outbox::Outbox;
use super::service::BodyFault;
use super::watch::{Phase, Slot, Watch};

/// Reads in a row that found bytes at once, before others get a turn: epoll would let one client that
/// never stops sending have the worker for itself.
const EAGER_READS_MAX: u32 = 64;

/// With more connections than this on a worker, a quiet one keeps a tiny buffer, whatever it was before. A
/// small push fits; a larger one takes one read more.
const CROWD: usize = 256;

/// First size of a long body's own buffer; it doubles as the body arrives, so a claimed length alone
/// costs nothing.
const LONG_BODY_BYTES_FIRST: usize = 1024 * 1024;

/// A connection's two directions and its deadlines.
pub struct Wire<'w, S> {
    pub stream: S,
    pub slot: &'w Slot,
    pub watch: &'w Watch,
    pub config: &'w HttpConfig,
    pub out: Outbox,
    input: BytesMut,
    /// How large the buffer is to be when it is next made.
    room: usize,
    eager_reads: u32,
}

/// Why there is no head.
pub enum NoHead {
    /// The client is gone, or the quiet connection is no longer wanted.
    Over,
    /// There is one, and it is bad.
    Bad(HeadError),
}

/// Why there is no body.
pub enum NoBody {
    /// The client is gone.
    Over,
    Fault(BodyFault),
}

impl From<io::Error> for NoHead {
    fn from(_: io::Error) -> NoHead {
        NoHead::Over
    }
}

impl From<io::Error> for NoBody {
    fn from(_: io::Error) -> NoBody {
        NoBody::Over
    }
}

impl From<BadChunk> for NoBody {
    fn from(BadChunk(why): BadChunk) -> NoBody {
        NoBody::Fault(BodyFault::Malformed(why))
    }
}

impl<'w, S: AsyncReadRent + AsyncWriteRent> Wire<'w, S> {
    pub fn new(stream: S, slot: &'w Slot, watch: &'w Watch, config: &'w HttpConfig) -> Wire<'w, S> {
        let (input, room) = (BytesMut::new(), IDLE_BUFFER_BYTES);
        Wire { stream, slot, watch, config, out: Outbox::default(), input, room, eager_reads: 0 }
    }

    /// Whether bytes are there that nobody asked for yet.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Writes what is gathered.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.out.flush(&mut self.stream, self.slot, self.watch, self.config).await
    }

    /// The next head, whole.
    pub async fn head(&mut self) -> Result<Bytes, NoHead> {
        let mut scan = HeadScan::new(self.config.head_bytes_max);
        let mut begun = false;
        loop {
            // RFC 9112 section 2.2: an empty line before a request is not one.
            while !begun && self.input.starts_with(b"\r\n") {
                self.input.advance(2);
            }
            let lone_return = !begun && &self.input[..] == b"\r";
            if !lone_return && let Some(end) = scan.advance(&self.input).map_err(NoHead::Bad)? {
                return Ok(self.input.split_to(end).freeze());
            }
            self.flush().await?;
            if self.input.is_empty() {
                if self.watch.is_stopping() {
                    return Err(NoHead::Over);
                }
                if self.watch.connections() > CROWD {
                    self.input = BytesMut::new();
                    self.room = CROWDED_BUFFER_BYTES;
                } else {
                    self.room = self.room.max(IDLE_BUFFER_BYTES);
                }
                self.wait(Phase::Idle, self.config.idle_deadline);
            } else if !begun {
                begun = !lone_return;
                self.wait(Phase::Reading, self.config.head_deadline);
            }
            let read = self.read().await?;
            // A request that came just before the connection was to be ended is still served when the
            // server stops; a deadline is a deadline.
            if self.slot.is_expired() && (read == 0 || !self.watch.is_stopping()) {
                let bad = if self.input.is_empty() || !begun {
                    NoHead::Over
                } else {
                    NoHead::Bad(HeadError::TIMED_OUT)
                };
                return Err(bad);
            }
            if read == 0 {
                return Err(NoHead::Over);
            }
        }
    }

    /// The whole body. `ask_first` sends the interim answer if the client may be waiting for it.
    pub async fn body(&mut self, length: BodyLength, ask_first: bool) -> Result<Bytes, NoBody> {
        match length {
            BodyLength::Known(0) => Ok(Bytes::new()),
            BodyLength::Known(length) => match usize::try_from(length) {
                Ok(length) if length <= self.config.body_bytes_max => {
                    self.known_body(length, ask_first).await
                }
                _ => Err(NoBody::Fault(BodyFault::TooLarge(self.config.body_bytes_max))),
            },
            BodyLength::Chunked => Box::pin(self.chunked_body(ask_first)).await,
        }
    }

    async fn chunked_body(&mut self, ask_first: bool) -> Result<Bytes, NoBody> {
        let max = self.config.body_bytes_max;
        let mut decoder = ChunkDecoder::default();
        let mut body = BytesMut::new();
        self.ask(ask_first);
        self.wait(Phase::Reading, self.config.body_deadline);
        loop {
            let taken = decoder.decode(&self.input, |data| body.extend_from_slice(data))?;
            self.input.advance(taken);
            if body.len() > max {
                return Err(NoBody::Fault(BodyFault::TooLarge(max)));
            }
            if decoder.is_done() {
                return Ok(body.freeze());
            }
            self.more_body().await?;
        }
    }

    async fn known_body(&mut self, length: usize, ask_first: bool) -> Result<Bytes, NoBody> {
        if self.input.len() < length {
            self.ask(ask_first);
            self.flush().await?;
            self.wait(Phase::Reading, self.config.body_deadline);
        }
        if length > BUSY_BUFFER_BYTES_MAX && self.input.len() < length {
            return Box::pin(self.long_body(length)).await;
        }
        if self.input.len() < length {
            self.input.reserve(length - self.input.len());
        }
        while self.input.len() < length {
            let read = self.fill().await?;
            self.check_body_read(read)?;
        }
        Ok(self.input.split_to(length).freeze())
    }

    /// Reads a long body into a buffer of its own, never past its end.
    async fn long_body(&mut self, length: usize) -> Result<Bytes, NoBody> {
        let mut body = BytesMut::with_capacity(length.min(LONG_BODY_BYTES_FIRST));
        body.extend_from_slice(&self.input.split());
        while body.len() < length {
            if body.len() == body.capacity() {
                body.reserve(body.len().min(length - body.len()));
            }
            let end = body.capacity().min(length);
            let read = self.read_into(&mut body, end).await?;
            self.check_body_read(read)?;
        }
        Ok(body.freeze())
    }

    /// Reads past a body nobody needs; false if it is too long to be worth it.
    pub async fn discard(&mut self, length: BodyLength) -> Result<bool, NoBody> {
        match length {
            BodyLength::Known(length) if length > DISCARD_BYTES_MAX => Ok(false),
            BodyLength::Known(length) => {
                // At most `DISCARD_BYTES_MAX`.
                let mut left = length as usize;
                self.wait(Phase::Reading, self.config.body_deadline);
                loop {
                    let taken = left.min(self.input.len());
                    self.input.advance(taken);
                    left -= taken;
                    if left == 0 {
                        return Ok(true);
                    }
                    self.more_body().await?;
                }
            }
            BodyLength::Chunked => {
                let mut decoder = ChunkDecoder::default();
                let mut length = 0;
                self.wait(Phase::Reading, self.config.body_deadline);
                loop {
                    let taken = decoder.decode(&self.input, |data| length += data.len() as u64)?;
                    self.input.advance(taken);
                    if decoder.is_done() {
                        return Ok(true);
                    }
                    if length > DISCARD_BYTES_MAX {
                        return Ok(false);
                    }
                    self.more_body().await?;
                }
            }
        }
    }

    /// Says that nothing more will be written, then reads on for a while and forgets what it reads:
    /// closing on unread bytes would reset the connection, and the last answer might be lost with it.
    pub async fn linger(mut self) {
        // TLS has a last word of its own to write.
        self.wait(Phase::Lingering, self.config.linger_deadline);
        if self.stream.shutdown().await.is_err() {
            return;
        }
        self.wait(Phase::Lingering, self.config.linger_deadline);
        let mut forgotten = 0;
        while forgotten < LINGER_BYTES_MAX && !self.slot.is_expired() {
            self.input.clear();
            match self.read().await {
                Ok(read) if read > 0 => forgotten += read,
                _ => return,
            }
        }
    }

    fn ask(&mut self, ask_first: bool) {
        if ask_first && self.input.is_empty() {
            self.out.push_continue();
        }
    }

    async fn more_body(&mut self) -> Result<(), NoBody> {
        if !self.out.is_empty() {
            self.flush().await?;
            self.wait(Phase::Reading, self.config.body_deadline);
        }
        let read = self.read().await?;
        self.check_body_read(read)
    }

    /// Each byte of a body buys time for the rest of it.
    fn check_body_read(&self, read: usize) -> Result<(), NoBody> {
        if self.slot.is_expired() {
            Err(NoBody::Fault(BodyFault::TimedOut))
        } else if read == 0 {
            Err(NoBody::Fault(BodyFault::EndedEarly))
        } else {
            self.slot.prolong(Duration::from_nanos(read as u64 * 1_000_000_000 / BODY_BYTES_PER_SECOND_MIN));
            Ok(())
        }
    }

    fn wait(&self, phase: Phase, limit: Duration) {
        self.watch.wait(self.slot, phase, limit);
    }

    /// Reads once into the buffer; 0 is the end.
    async fn read(&mut self) -> io::Result<usize> {
        if self.input.is_empty() && self.room <= IDLE_BUFFER_BYTES && self.input.capacity() > self.room {
            // Calm again: the large buffer is given back.
            self.input = BytesMut::with_capacity(self.room);
        } else if self.input.capacity() - self.input.len() < self.room / 2 {
            // Moves what is left to the front of the buffer, or makes a new one if parts of this one are
            // still in use.
            self.input.reserve(self.room);
        }
        let free = self.input.capacity() - self.input.len();
        let read = self.fill().await?;
        if read == free {
            self.room = (self.room * 4).min(BUSY_BUFFER_BYTES_MAX);
        } else if read < self.room / 4 {
            self.room = self.room.min(IDLE_BUFFER_BYTES);
        }
        Ok(read)
    }

    /// Reads once into what room the buffer has.
    async fn fill(&mut self) -> io::Result<usize> {
        let mut input = std::mem::take(&mut self.input);
        let end = input.capacity();
        let read = self.read_into(&mut input, end).await;
        self.input = input;
        read
    }

    /// Reads once behind what `buffer` holds, up to `end`.
    async fn read_into(&mut self, buffer: &mut BytesMut, end: usize) -> io::Result<usize> {
        if self.eager_reads >= EAGER_READS_MAX {
            self.eager_reads = 0;
            Box::pin(monoio::time::sleep(Duration::from_millis(1))).await;
        }
        let start = buffer.len();
        let slice = std::mem::take(buffer).slice_mut(start..end);
        let mut waited = false;
        let (result, slice) = {
            let mut read = pin!(self.stream.read(slice));
            std::future::poll_fn(|context| {
                let poll = read.as_mut().poll(context);
                waited |= matches!(poll, Poll::Pending);
                poll
            })
            .await
        };
        *buffer = slice.into_inner();
        self.eager_reads = if waited { 0 } else { self.eager_reads + 1 };
        result
    }
}

//! Answers on their way out: heads and small bodies gathered in one buffer, large bodies as the shared
//! slices they are.
//!
//! Whatever was gathered goes out in one write, or in vectored ones when there are slices. A partial
//! write goes on where it stopped, and each piece the client takes renews the deadline.

use std::io;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use monoio::buf::{IoBuf, IoVecBuf};
use monoio::io::AsyncWriteRent;

use crate::gateway::{Lease, Slices};
use crate::limits::IDLE_BUFFER_BYTES;
use crate::model::{Limit, OverLimit};

use super::config::HttpConfig;
use super::head::{Framing, HeadError};
use super::response::{Answer, Body};
use super::status;
use super::watch::{DATE_BYTES, Phase, Slot, Watch};

/// Bodies up to this size are copied behind their head: cheaper than another slice.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Bodies of slices up to this size are gathered by copying. A larger one is never copied, however small
/// its slices: it is an exposition, which many scrapers may be given at once.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// Slices the kernel takes at once (`IOV_MAX`).
const SLICES_PER_WRITE: usize = 1024;

/// Bytes handed to the kernel in one turn of the worker's loop. It copies them before it returns, and the
/// worker's other connections wait for that. Connections that write at the same time share them...
const BYTES_PER_TURN: usize = 128 * 1024;

/// ...down to this much for each: a call to the kernel should be worth making.
const BYTES_PER_WRITE_MIN: usize = 32 * 1024;

/// What is to be written next.
#[derive(Default)]
pub struct Outbox {
    /// What comes before `text`.
    parts: Vec<Part>,
    parts_len: usize,
    text: Vec<u8>,
    /// What holds the slices, if it can be revoked. Of several answers the last one's counts.
    lease: Option<Arc<Lease>>,
}

/// What is written as it is. A large answer is one part, however many slices it has: a worker never walks
/// all of an exposition in one turn.
enum Part {
    One(Bytes),
    Shared(Slices),
}

impl Part {
    fn slices(&self) -> &[Bytes] {
        match self {
            Part::One(bytes) => slice::from_ref(bytes),
            Part::Shared(slices) => slices.list(),
        }
    }
}

impl Outbox {
    pub fn len(&self) -> usize {
        self.parts_len + self.text.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the interim answer that asks for a body.
    pub fn push_continue(&mut self) {
        self.text.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// Adds the answer to a bad head; the connection must end after it.
    pub fn push_head_error(&mut self, error: HeadError, config: &HttpConfig) {
        let text = &mut self.text;
        text.extend_from_slice(b"HTTP/1.1 ");
        text.extend_from_slice(error.status.as_bytes());
        text.extend_from_slice(b"\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n");
        text.extend_from_slice(error.body.as_bytes());
        let Some(limit) = error.limit else { return };
        let over = match limit {
            Limit::HeadDeadline => format!("head did not arrive within {:?}", config.head_deadline),
            _ => format!("head is longer than {} bytes", config.head_bytes_max),
        };
        text.extend_from_slice(b": ");
        text.extend_from_slice(OverLimit::new(limit, over).to_string().as_bytes());
    }

    /// Adds an answer. `close` says so to the client.
    pub fn push(&mut self, answer: Answer, framing: &Framing, close: bool, date: &[u8; DATE_BYTES]) {
        let text = &mut self.text;
        text.extend_from_slice(if framing.http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        text.extend_from_slice(itoa::Buffer::new().format(answer.status).as_bytes());
        text.push(b' ');
        text.extend_from_slice(status::phrase(answer.status).as_bytes());
        for (name, value) in &answer.headers {
            text.extend_from_slice(b"\r\n");
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b": ");
            // No handler builds a header from input that may hold a control byte; if one ever does, the
            // line must not end early.
            text.extend(value.bytes().map(|byte| if byte < b' ' { b' ' } else { byte }));
        }
        text.extend_from_slice(b"\r\nDate: ");
        text.extend_from_slice(date);
        text.extend_from_slice(b"\r\nContent-Length: ");
        text.extend_from_slice(itoa::Buffer::new().format(answer.body.len()).as_bytes());
        if close {
            text.extend_from_slice(b"\r\nConnection: close");
        } else if framing.http10 {
            text.extend_from_slice(b"\r\nConnection: keep-alive");
        }
        text.extend_from_slice(b"\r\n\r\n");
        if !framing.is_head {
            self.lease = answer.lease.or(self.lease.take());
            match answer.body {
                Body::Empty => {}
                Body::Whole(body) => self.push_body(body),
                Body::Slices(slices) if slices.bytes() > GATHERED_BYTES_MAX => {
                    self.push_part(slices.bytes(), Part::Shared(slices));
                }
                Body::Slices(slices) => slices.list().iter().cloned().for_each(|slice| self.push_body(slice)),
            }
        }
    }

    fn push_body(&mut self, body: Bytes) {
        if body.len() <= COPIED_BYTES_MAX {
            self.text.extend_from_slice(&body);
        } else {
            self.push_part(body.len(), Part::One(body));
        }
    }

    fn push_part(&mut self, len: usize, part: Part) {
        self.close_text();
        self.parts_len += len;
        self.parts.push(part);
    }

    fn close_text(&mut self) {
        if !self.text.is_empty() {
            self.parts_len += self.text.len();
            self.parts.push(Part::One(std::mem::take(&mut self.text).into()));
        }
    }

    /// Writes everything.
    ///
    /// # Errors
    ///
    /// The client is gone, or took nothing for as long as it may.
    pub async fn flush<S: AsyncWriteRent>(
        &mut self,
        stream: &mut S,
        slot: &Slot,
        watch: &Watch,
        config: &HttpConfig,
    ) -> io::Result<()> {
        if self.is_empty() {
            // A wait that is under way goes on.
            return Ok(());
        }
        slot.hold(self.lease.take());
        let wait = || watch.wait(slot, Phase::Writing, config.write_deadline);
        if self.parts.is_empty() {
            let mut text = std::mem::take(&mut self.text);
            let mut written = 0;
            while written < text.len() {
                wait();
                let (result, slice) = stream.write(text.slice(written..)).await;
                text = slice.into_inner();
                written += some(result?)?;
            }
            text.clear();
            text.shrink_to(IDLE_BUFFER_BYTES);
            self.text = text;
        } else {
            self.close_text();
            self.parts_len = 0;
            let mut gather = Gather::new(std::mem::take(&mut self.parts));
            let turn = watch.share_turn();
            while !gather.is_empty() {
                wait();
                gather.look((BYTES_PER_TURN / turn.shared_by()).max(BYTES_PER_WRITE_MIN));
                let (result, back) = stream.writev(gather).await;
                gather = back;
                let written = some(result?)?;
                slot.note_taken(written);
                gather.advance(written);
            }
        }
        slot.hold(None);
        slot.work();
        Ok(())
    }
}

fn some(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

/// Parts being written, and what is written of them.
struct Gather {
    parts: Vec<Part>,
    /// The first byte that is not written yet: its part, its slice there, its place in that.
    part: usize,
    slice: usize,
    offset: usize,
    /// The next bytes as the kernel wants to see them. Each entry lies within a slice of `parts`.
    window: Vec<libc::iovec>,
}

impl Gather {
    fn new(parts: Vec<Part>) -> Gather {
        let mut gather = Gather { parts, part: 0, slice: 0, offset: 0, window: Vec::new() };
        // Past empty slices.
        gather.advance(0);
        gather
    }

    fn is_empty(&self) -> bool {
        self.part == self.parts.len()
    }

    /// Shows the kernel up to `bytes_max` of the next bytes.
    fn look(&mut self, bytes_max: usize) {
        self.window.clear();
        let (mut slice, mut offset, mut room) = (self.slice, self.offset, bytes_max);
        for part in &self.parts[self.part..] {
            for bytes in &part.slices()[slice..] {
                let len = room.min(bytes.len() - offset);
                let base = bytes[offset..].as_ptr().cast_mut().cast();
                self.window.push(libc::iovec { iov_base: base, iov_len: len });
                offset = 0;
                room -= len;
                if room == 0 || self.window.len() == SLICES_PER_WRITE {
                    return;
                }
            }
            slice = 0;
        }
    }

    /// Notes that so much more is written.
    fn advance(&mut self, mut written: usize) {
        while let Some(part) = self.parts.get(self.part) {
            while let Some(bytes) = part.slices().get(self.slice) {
                let left = bytes.len() - self.offset;
                if written < left {
                    self.offset += written;
                    return;
                }
                written -= left;
                self.offset = 0;
                self.slice += 1;
            }
            self.slice = 0;
            self.part += 1;
        }
    }
}

// SAFETY: `window` is not touched while the runtime owns the value, so the pointer stays as it is; each of
// its entries lies within a slice of `parts`, whose memory is shared, never moves and is only read.
unsafe impl IoVecBuf for Gather {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.window.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.window.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use monoio::BufResult;

    use super::super::head::{BodyLength, Expect};
    use super::*;

    const FRAMING: Framing = Framing {
        http10: false,
        keep_alive: true,
        is_head: false,
        body: BodyLength::Known(0),
        expect: Expect::Nothing,
    };
    const DATE: &[u8; DATE_BYTES] = b"Thu, 01 Jan 1970 00:00:00 GMT";

    /// Takes a few bytes at a time, of the first slice only.
    struct Sluggish {
        taken: Vec<u8>,
        appetite: usize,
    }

    impl AsyncWriteRent for Sluggish {
        async fn write<T: IoBuf>(&mut self, buffer: T) -> BufResult<usize, T> {
            // SAFETY: a buffer's pointer is good for the bytes it says are initialized.
            let bytes = unsafe { std::slice::from_raw_parts(buffer.read_ptr(), buffer.bytes_init()) };
            let taken = bytes.len().min(self.appetite);
            self.taken.extend_from_slice(&bytes[..taken]);
            (Ok(taken), buffer)
        }

        async fn writev<T: IoVecBuf>(&mut self, buffers: T) -> BufResult<usize, T> {
            // SAFETY: the pointer is good for as many entries as it says, each for its length.
            let bytes = unsafe {
                let entries = std::slice::from_raw_parts(buffers.read_iovec_ptr(), buffers.read_iovec_len());
                std::slice::from_raw_parts(entries[0].iov_base.cast::<u8>(), entries[0].iov_len)
            };
            let taken = bytes.len().min(self.appetite);
            self.taken.extend_from_slice(&bytes[..taken]);
            (Ok(taken), buffers)
        }

        async fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }

        async fn shutdown(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(outbox: &mut Outbox, appetite: usize) -> io::Result<Vec<u8>> {
        let mut stream = Sluggish { taken: Vec::new(), appetite };
        let watch = Watch::new();
        let slot = watch.register(-1);
        let config = HttpConfig { write_deadline: Duration::from_secs(1), ..HttpConfig::default() };
        {
            let mut flush = std::pin::pin!(outbox.flush(&mut stream, &slot, &watch, &config));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match flush.as_mut().poll(&mut context) {
                std::task::Poll::Ready(result) => result?,
                std::task::Poll::Pending => panic!("the stand-in never waits"),
            }
        }
        Ok(stream.taken)
    }

    #[test]
    fn heads_say_what_the_answer_and_the_connection_need() {
        let answer = || Answer::error(404, "gone").header("Location", "/a\r\nb");
        let head = "404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n\
                    X-Content-Type-Options: nosniff\r\nLocation: /a  b\r\n\
                    Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 5";
        let http10 = Framing { http10: true, ..FRAMING };
        for (framing, close, version, end) in [
            (FRAMING, false, "1.1", "\r\n\r\ngone\n"),
            (FRAMING, true, "1.1", "\r\nConnection: close\r\n\r\ngone\n"),
            (http10, false, "1.0", "\r\nConnection: keep-alive\r\n\r\ngone\n"),
            (http10, true, "1.0", "\r\nConnection: close\r\n\r\ngone\n"),
            (Framing { is_head: true, ..FRAMING }, false, "1.1", "\r\n\r\n"),
        ] {
            let mut outbox = Outbox::default();
            outbox.push(answer(), &framing, close, DATE);
            let text = String::from_utf8(written(&mut outbox, usize::MAX).unwrap()).unwrap();
            assert_eq!(text, format!("HTTP/{version} {head}{end}"));
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn partial_writes_go_on_where_they_stopped() {
        let large = Bytes::from(vec![b'x'; COPIED_BYTES_MAX + 1]);
        let slices = vec![Bytes::from_static(b"small"), large.clone(), Bytes::new(), large];
        let mut outputs = Vec::new();
        for appetite in [1, 7, usize::MAX] {
            let mut outbox = Outbox::default();
            outbox.push(Answer::empty(200), &FRAMING, false, DATE);
            let answer = Answer::with_slices(200, "text/plain", slices.clone());
            outbox.push(answer, &FRAMING, false, DATE);
            outbox.push(Answer::text(200, "OK"), &FRAMING, false, DATE);
            let expected = outbox.len();
            let output = written(&mut outbox, appetite).unwrap();
            assert_eq!(output.len(), expected);
            assert!(output.ends_with(b"\r\n\r\nOK"));
            outputs.push(output);
        }
        assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn what_one_turn_writes_is_bounded_and_goes_on_in_the_middle_of_a_slice() {
        let list = [0, 5, 100, 0, 7].map(|len| Bytes::from(vec![b'x'; len])).to_vec();
        let mut gather = Gather::new(vec![Part::Shared(list.into()), Part::One(Bytes::from_static(b"end"))]);
        let mut windows = Vec::new();
        while !gather.is_empty() {
            gather.look(50);
            let bytes = gather.window.iter().map(|entry| entry.iov_len).sum();
            windows.push(bytes);
            gather.advance(bytes);
        }
        assert_eq!(windows, [50, 50, 15]);
    }

    #[test]
    fn connections_that_write_at_once_share_a_turn() {
        let watch = Watch::new();
        let one = watch.share_turn();
        assert_eq!(one.shared_by(), 1);
        let other = watch.share_turn();
        assert_eq!((one.shared_by(), other.shared_by()), (2, 2));
        drop(one);
        assert_eq!(other.shared_by(), 1);
    }

    #[test]
    fn a_write_of_nothing_is_the_end() {
        let mut outbox = Outbox::default();
        outbox.push_continue();
        assert_eq!(written(&mut outbox, 0).unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}

//! One connection to the gateway: bytes out, answers in.
//!
//! Nothing here waits. Readiness is reported once per change, so a connection reads and writes until the
//! kernel has no more.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::answer::{Answer, Reader};
use crate::plan::{Plan, Request};

/// A request under way and the time that its latency counts from.
#[derive(Clone, Copy)]
pub struct UnderWay {
    pub request: Request,
    pub due: Instant,
}

#[derive(Default)]
pub struct Connection {
    stream: Option<TcpStream>,
    out: Vec<u8>,
    written: usize,
    reader: Reader,
    under_way: VecDeque<UnderWay>,
}

/// What reading brought.
pub enum Event {
    Answered(UnderWay, Answer),
    /// The server closed, or the connection broke. What was under way is lost.
    Over,
}

impl Connection {
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Opens the connection; it may be written to at once.
    ///
    /// # Errors
    ///
    /// There are no ports or descriptors left.
    pub fn open(&mut self, address: SocketAddr, registry: &Registry, token: Token) -> Result<(), String> {
        let mut stream = TcpStream::connect(address).map_err(|error| format!("connecting: {error}"))?;
        // Fails only if the peer is gone, which the first read says.
        let _ = stream.set_nodelay(true);
        registry
            .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| format!("watching a connection: {error}"))?;
        *self = Connection { stream: Some(stream), ..std::mem::take(self) };
        self.reader = Reader::default();
        Ok(())
    }

    /// Closes; returns what was under way.
    pub fn close(&mut self) -> VecDeque<UnderWay> {
        self.stream = None;
        self.out.clear();
        self.written = 0;
        std::mem::take(&mut self.under_way)
    }

    /// Takes a request in; `flush` sends it.
    pub fn push(&mut self, plan: &Plan, request: Request, due: Instant) {
        let body = plan.write(request, &mut self.out);
        self.out.extend_from_slice(body);
        self.under_way.push_back(UnderWay { request, due });
    }

    /// Writes what the kernel takes.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub fn flush(&mut self) -> Result<(), String> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("sending: {error}")),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what is there and hands on what it means. `room` is where bytes are put meanwhile. `closed` is
    /// whether the server is known to send no more.
    ///
    /// # Errors
    ///
    /// The bytes are no answers to what was asked, or the connection broke.
    pub fn read(
        &mut self,
        room: &mut [u8],
        closed: bool,
        mut event: impl FnMut(Event),
    ) -> Result<(), String> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(()) };
            let read = match stream.read(room) {
                Ok(0) => {
                    if let Some((answer, under_way)) = self.reader.end().zip(self.under_way.pop_front()) {
                        event(Event::Answered(under_way, answer));
                    }
                    event(Event::Over);
                    return Ok(());
                }
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("reading: {error}")),
            };
            let mut at = 0;
            while at < read {
                let (taken, answer) = self.reader.take(&room[at..read])?;
                at += taken;
                if let Some(answer) = answer {
                    let under_way = self.under_way.pop_front().ok_or("an answer that nobody asked for")?;
                    event(Event::Answered(under_way, answer));
                }
            }
            // Less than there was room for: there is no more, and the next bytes will be reported. An end that
            // was reported already is not reported again.
            if read < room.len() && !closed {
                return Ok(());
            }
        }
    }
}

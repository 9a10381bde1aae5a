//! A TLS connection as the runtime's streams are: owned buffers in, owned buffers out.
//!
//! Reads take what is decrypted first, then feed ciphertext record by record, so no more than one read of
//! it waits. A read never writes, so a client that asks for things cannot hold one up. Writes encrypt up
//! to a bound and hand all of it to the socket before they return.

use std::io::{self, BufRead, Write};

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;

use crate::limits::IDLE_BUFFER_BYTES;

/// Ciphertext read at once from a client that sends much.
const BUSY_INPUT_BYTES: usize = 16 * 1024 + 1024;

/// Plaintext encrypted at once.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// TLS over `stream`.
pub struct TlsStream<S> {
    stream: S,
    tls: ServerConnection,
    /// Whether the client's certificate was checked for where it comes from.
    verifies: bool,
    /// Ciphertext; what comes before `taken` is done with.
    input: Vec<u8>,
    taken: usize,
    is_busy: bool,
    output: Vec<u8>,
}

impl<S> TlsStream<S> {
    /// The certificate of the client, if it was checked for where it comes from.
    pub fn verified_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.peer_certificates().filter(|_| self.verifies)?.first()
    }
}

/// Why there is no TLS.
pub enum NoTls {
    /// The client speaks HTTP in clear text.
    ClearText,
    Fault(io::Error),
}

impl From<io::Error> for NoTls {
    fn from(error: io::Error) -> NoTls {
        NoTls::Fault(error)
    }
}

impl<S: AsyncReadRent + AsyncWriteRent> TlsStream<S> {
    pub fn new(stream: S, mut tls: ServerConnection, verifies: bool) -> TlsStream<S> {
        tls.set_buffer_limit(Some(OUTPUT_BYTES_MAX));
        TlsStream { stream, tls, verifies, input: Vec::new(), taken: 0, is_busy: false, output: Vec::new() }
    }

    /// The stream itself, for what has to be said without TLS.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Agrees on keys.
    pub async fn handshake(&mut self) -> Result<(), NoTls> {
        let mut is_first = true;
        while self.tls.is_handshaking() {
            let fed = self.feed().await;
            if is_first && self.input.first().is_some_and(u8::is_ascii_uppercase) {
                return Err(NoTls::ClearText);
            }
            is_first = false;
            // After a fault: the alert that tells it.
            self.send().await?;
            if !fed? {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }

    /// Feeds ciphertext; false at its end.
    async fn feed(&mut self) -> io::Result<bool> {
        if self.taken == self.input.len() {
            let mut input = std::mem::take(&mut self.input);
            input.clear();
            let room = if self.is_busy { BUSY_INPUT_BYTES } else { IDLE_BUFFER_BYTES };
            if input.capacity() != room {
                input = Vec::with_capacity(room);
            }
            let (read, input) = self.stream.read(input).await;
            self.input = input;
            self.taken = 0;
            let read = read?;
            self.is_busy = read >= IDLE_BUFFER_BYTES;
            if read == 0 {
                return Ok(false);
            }
        }
        let mut rest = &self.input[self.taken..];
        let read = self.tls.read_tls(&mut rest)?;
        self.taken += read;
        self.tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // Nothing is taken only after the client said that no more comes.
        Ok(read > 0)
    }

    /// Hands everything encrypted to the socket.
    async fn send(&mut self) -> io::Result<()> {
        let mut output = std::mem::take(&mut self.output);
        while self.tls.wants_write() {
            self.tls.write_tls(&mut output)?;
        }
        if output.is_empty() {
            return Ok(());
        }
        let (result, mut output) = self.stream.write_all(output).await;
        output.clear();
        output.shrink_to(IDLE_BUFFER_BYTES);
        self.output = output;
        result.map(|_| ())
    }
}

impl<S: AsyncReadRent + AsyncWriteRent> AsyncReadRent for TlsStream<S> {
    async fn read<T: IoBufMut>(&mut self, buffer: T) -> BufResult<usize, T> {
        loop {
            let mut reader = self.tls.reader();
            match reader.fill_buf() {
                Ok(mut plain) => {
                    let (read, buffer) = (&mut plain).read(buffer).await;
                    reader.consume(*read.as_ref().unwrap_or(&0));
                    return (read, buffer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return (Err(error), buffer),
            }
            match self.feed().await {
                Ok(true) => {}
                // Whether all of a request was there, its framing says.
                Ok(false) => return (Ok(0), buffer),
                Err(error) => return (Err(error), buffer),
            }
        }
    }

    async fn readv<T: IoVecBufMut>(&mut self, buffers: T) -> BufResult<usize, T> {
        (Err(io::ErrorKind::Unsupported.into()), buffers)
    }
}

impl<S: AsyncReadRent + AsyncWriteRent> AsyncWriteRent for TlsStream<S> {
    async fn write<T: IoBuf>(&mut self, buffer: T) -> BufResult<usize, T> {
        // SAFETY: a buffer's pointer is good for the bytes it says are initialized, and `buffer` is
        // neither touched nor moved while the slice lives.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.read_ptr(), buffer.bytes_init()) };
        let taken = self.tls.writer().write(bytes);
        let sent = self.send().await;
        (sent.and(taken), buffer)
    }

    async fn writev<T: IoVecBuf>(&mut self, buffers: T) -> BufResult<usize, T> {
        let mut taken = 0;
        for number in 0..buffers.read_iovec_len() {
            // SAFETY: the pointer is good for as many entries as it says, each for its length, and
            // `buffers` is neither touched nor moved while the slice lives.
            let bytes = unsafe {
                let entry = &*buffers.read_iovec_ptr().add(number);
                std::slice::from_raw_parts(entry.iov_base.cast::<u8>(), entry.iov_len)
            };
            match self.tls.writer().write(bytes) {
                Ok(some) => {
                    taken += some;
                    if some < bytes.len() {
                        break;
                    }
                }
                Err(error) => return (Err(error), buffers),
            }
        }
        let sent = self.send().await;
        (sent.map(|()| taken), buffers)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.send().await
    }

    /// Says that nothing more comes, in TLS and below it.
    async fn shutdown(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.send().await?;
        self.stream.shutdown().await
    }
}

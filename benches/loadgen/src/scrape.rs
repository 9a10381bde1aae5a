//! Scrapes while pushes go on, from the same thread: a part of the exposition is read, then pushes have
//! their turn.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::answer::Reader;
use crate::options::{Options, ScrapeCoding};

/// Bytes read before pushes have their turn.
const BYTES_PER_TURN: usize = 256 * 1024;

/// A scrape that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Scrape {
    pub took: Duration,
    pub bytes: u64,
}

pub struct Scraper {
    address: SocketAddr,
    question: Vec<u8>,
    pause: Duration,
    stream: Option<TcpStream>,
    reader: Reader,
    unsent: usize,
    /// When the scrape under way began.
    begun: Option<Instant>,
    due: Instant,
    /// When the last one ended.
    ended: Option<Instant>,
    /// Whether there may be more to read at once.
    readable: bool,
    pub done: Vec<Scrape>,
}

impl Scraper {
    pub fn new(options: &Options, address: SocketAddr, now: Instant) -> Option<Scraper> {
        let coding = match options.scrape_coding {
            ScrapeCoding::Identity => "identity",
            ScrapeCoding::Gzip => "gzip",
        };
        Some(Scraper {
            address,
            question: format!(
                "GET /metrics HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: {coding}\r\n\r\n",
                options.target
            )
            .into_bytes(),
            pause: Duration::from_secs_f64(options.scrape_every?),
            stream: None,
            reader: Reader::default(),
            unsent: 0,
            begun: None,
            due: now,
            ended: None,
            readable: false,
            done: Vec::new(),
        })
    }

    /// Whether a request due at `due` and answered now waited while a scrape was under way.
    pub fn overlaps(&self, due: Instant) -> bool {
        self.begun.is_some() || self.ended.is_some_and(|ended| ended > due)
    }

    pub fn is_scraping(&self) -> bool {
        self.begun.is_some()
    }

    /// Whether `turn` has something to do at once.
    pub fn is_ready(&self) -> bool {
        self.readable
    }

    /// The kernel says that something changed.
    pub fn wake(&mut self) {
        self.readable = true;
    }

    /// Begins a scrape if one is due and wanted, and goes on with the one under way.
    ///
    /// # Errors
    ///
    /// The server does not answer it as it should.
    pub fn turn(
        &mut self,
        now: Instant,
        wanted: bool,
        room: &mut [u8],
        registry: &Registry,
        token: Token,
    ) -> Result<(), String> {
        if self.begun.is_none() && wanted && now >= self.due {
            if self.stream.is_none() {
                let mut stream = TcpStream::connect(self.address)
                    .map_err(|error| format!("connecting to scrape: {error}"))?;
                registry
                    .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)
                    .map_err(|error| format!("watching a scrape: {error}"))?;
                self.stream = Some(stream);
            }
            (self.begun, self.unsent, self.readable) = (Some(now), self.question.len(), true);
        }
        if !self.readable {
            return Ok(());
        }
        self.readable = false;
        let Some(begun) = self.begun else { return Ok(()) };
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.unsent > 0 {
            match stream.write(&self.question[self.question.len() - self.unsent..]) {
                Ok(written) => self.unsent -= written,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) => return Err(format!("asking for a scrape: {error}")),
            }
        }
        let mut left = BYTES_PER_TURN;
        while left > 0 {
            let read = match stream.read(room) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("reading a scrape: {error}")),
            };
            left = left.saturating_sub(read);
            let answer = match read {
                0 => Some(self.reader.end().ok_or("a scrape was cut short")?),
                read => self.reader.take(&room[..read])?.1,
            };
            let Some(answer) = answer else { continue };
            if answer.status != 200 {
                return Err(format!("a scrape was answered {}", answer.status));
            }
            let ended = Instant::now();
            self.done.push(Scrape { took: ended - begun, bytes: answer.body_bytes });
            (self.begun, self.ended, self.due) = (None, Some(ended), ended + self.pause);
            if answer.closes {
                self.stream = None;
            }
            return Ok(());
        }
        self.readable = true;
        Ok(())
    }
}

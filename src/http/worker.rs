//! A worker: one thread, one runtime, its own listeners and connections.
//!
//! The runtime is io_uring where the kernel lets us, else epoll. Accepts are never dropped half-way:
//! each listener has tasks that accept until the listener itself is shut down.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use monoio::io::AsyncWriteRent;
use monoio::time::TimeDriver;
use monoio::{FusionDriver, FusionRuntime, IoUringDriver, LegacyDriver, RuntimeBuilder};

use super::address::Place;
use super::client::Peer;
use super::config::HttpConfig;
use super::connection;
use super::response::Answer;
use super::service::Service;
use super::tls;
use super::watch::{Phase, Registration, SWEEP_INTERVAL, Watch};
use crate::model::{Limit, OverLimit};

/// Pause after a failed accept: out of descriptors or memory, trying again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts under way on each listener: so many connections that wait together are taken in one turn of the
/// ring. Epoll takes all that wait in any case, and wakes one task only.
const ACCEPTS_AT_ONCE: usize = 8;

/// What the kernel takes of an answer before the client does. By default it copies up to megabytes for
/// whoever asks for an exposition and reads nothing: milliseconds of a worker's time for each of them.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// How the runtime waits for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    IoUring,
    Epoll,
}

impl Driver {
    pub fn name(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// The stop button of all workers.
#[derive(Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Workers notice at their next sweep, and drain.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

type Runtime = FusionRuntime<TimeDriver<IoUringDriver>, TimeDriver<LegacyDriver>>;

/// What all tasks of a worker share.
struct Worker<H> {
    watch: Rc<Watch>,
    config: HttpConfig,
    connections_max: usize,
    service: H,
    accepting: Cell<usize>,
}

/// Serves `listeners` on the calling thread until `stop` is requested and everything is drained.
/// `started` is called once, when connections are about to be accepted.
///
/// # Errors
///
/// The kernel gives us neither io_uring nor epoll, or does not take the listeners.
pub fn run<H: Service + 'static>(
    listeners: Vec<TcpListener>,
    config: HttpConfig,
    connections_max: usize,
    service: H,
    stop: &Stop,
    started: impl FnOnce(Driver),
) -> io::Result<()> {
    let mut runtime = build()?;
    let driver = match runtime {
        FusionRuntime::Uring(_) => Driver::IoUring,
        FusionRuntime::Legacy(_) => Driver::Epoll,
    };
    for listener in &listeners {
        // io_uring would pass the refusal to wait on to us; epoll needs it.
        listener.set_nonblocking(driver == Driver::Epoll)?;
    }
    let accepts = if driver == Driver::IoUring { ACCEPTS_AT_ONCE } else { 1 };
    let drained = runtime.block_on(async {
        let worker = Rc::new(Worker {
            watch: Watch::new(),
            config,
            connections_max,
            service,
            accepting: Cell::new(listeners.len() * accepts),
        });
        for listener in listeners {
            // Accepted connections inherit both. A failure means that answers may wait for one another, and
            // that a slow reader costs more.
            let socket = socket2::SockRef::from(&listener);
            let _ = socket.set_tcp_nodelay(true);
            let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
            let listener = Rc::new(monoio::net::TcpListener::from_std(listener)?);
            for _ in 0..accepts {
                monoio::spawn(accept(listener.clone(), worker.clone()));
            }
        }
        worker.service.started(driver);
        started(driver);
        let drained = watch_over(&worker, stop).await;
        worker.service.ended();
        Ok::<bool, io::Error>(drained)
    })?;
    if !drained {
        // Operations are still under way, and the kernel may write to their buffers: the process ends
        // with them as they are.
        std::mem::forget(runtime);
    }
    Ok(())
}

/// The best runtime that the kernel gives us.
fn build() -> io::Result<Runtime> {
    // Only this thread uses the ring, and it always comes back to wait: so the kernel need not interrupt it
    // for each completion, and finishes them together when it waits (from Linux 6.1 on).
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    let fusion = RuntimeBuilder::<FusionDriver>::new;
    // monoio looks whether a tiny ring can be made; the real one may still be refused.
    fusion()
        .uring_builder(ring)
        .enable_timer()
        .build()
        .or_else(|_| fusion().enable_timer().build())
        .or_else(|_| RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().map(Runtime::from))
}

/// Sweeps until the end; true if nothing is left then.
async fn watch_over<H: Service>(worker: &Worker<H>, stop: &Stop) -> bool {
    let watch = &worker.watch;
    let mut drain_until: Option<Instant> = None;
    loop {
        monoio::time::sleep(SWEEP_INTERVAL).await;
        watch.sweep(|limit| worker.service.limited(limit));
        worker.service.tick(watch.now());
        if drain_until.is_none() && stop.is_requested() {
            watch.stop();
            drain_until = Some(watch.now() + worker.config.drain_deadline);
        }
        let Some(until) = drain_until else { continue };
        if watch.connections() == 0 && worker.accepting.get() == 0 {
            break;
        }
        if watch.now() >= until {
            watch.end_all();
            break;
        }
    }
    // One more turn, so that sockets being closed are closed.
    monoio::time::sleep(Duration::from_millis(1)).await;
    watch.connections() == 0 && worker.accepting.get() == 0
}

async fn accept<H: Service + 'static>(listener: Rc<monoio::net::TcpListener>, worker: Rc<Worker<H>>) {
    while !worker.watch.is_stopping() {
        match listener.accept().await {
            Ok((stream, peer)) => {
                worker.service.opened();
                let registration = worker.watch.register(stream.as_raw_fd());
                let place = match &worker.config.addresses {
                    None => Ok(None),
                    Some(addresses) => addresses.enter(peer.ip()).map(Some).ok_or(addresses.max()),
                };
                match place {
                    Ok(place) => {
                        monoio::spawn(connect(stream, peer.ip(), place, registration, worker.clone()));
                    }
                    Err(max) => {
                        worker.service.limited(Limit::ConnectionsPerAddress);
                        monoio::spawn(turn_away(stream, max, registration, worker.clone()));
                    }
                }
                make_room(&worker).await;
            }
            Err(error) if is_over(&error) => break,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => monoio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    worker.accepting.set(worker.accepting.get() - 1);
}

/// Keeps the connections within their limit: the quietest goes for the newest. While everybody is busy,
/// whoever comes next waits in the kernel's queue.
async fn make_room<H: Service>(worker: &Worker<H>) {
    if worker.watch.connections() > worker.connections_max {
        worker.service.limited(Limit::Connections);
    }
    while worker.watch.connections() > worker.connections_max {
        if worker.watch.end_oldest_idle() {
            return;
        }
        monoio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Whether the listener itself was shut down.
fn is_over(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

/// Tells a client that its address has too many connections; without a word where that would take a
/// handshake. Whoever is turned away is the first to make room for others.
async fn turn_away<H: Service>(
    mut stream: monoio::net::TcpStream,
    max: usize,
    registration: Registration,
    worker: Rc<Worker<H>>,
) {
    if worker.config.tls.is_none() {
        let text = format!("more than {max} connections from one address");
        let over = OverLimit::new(Limit::ConnectionsPerAddress, text);
        let answer = Answer::error(503, &over.to_string()).header("Retry-After", "1");
        connection::refuse(&mut stream, answer, &registration, &worker.watch, &worker.config).await;
    }
    worker.service.closed();
}

/// Serves one connection. Thousands of these wait for a next request at a time: what is rare is in boxes, so
/// that they do not carry the room for it. The registration is dropped before the stream. Not an `async fn`,
/// which would keep its arguments twice.
#[expect(clippy::manual_async_fn)]
fn connect<H: Service>(
    mut stream: monoio::net::TcpStream,
    peer: IpAddr,
    place: Option<Place>,
    registration: Registration,
    worker: Rc<Worker<H>>,
) -> impl Future<Output = ()> {
    async move {
        let (_place, registration) = (place, registration);
        let serve = async {
            let (slot, watch, config) = (&*registration, &*worker.watch, &worker.config);
            match &config.tls {
                None => {
                    let peer = Peer::in_clear(peer);
                    connection::serve(&mut stream, &peer, slot, watch, config, &worker.service).await
                }
                Some(tls) => {
                    let encrypted = async {
                        let Some(mut stream) = tls.accept(&mut stream, slot, watch, config).await else {
                            return;
                        };
                        let certificate = tls::names_of(&stream);
                        let peer = Peer { address: peer, tls: true, certificate };
                        connection::serve(&mut stream, &peer, slot, watch, config, &worker.service).await;
                        watch.wait(slot, Phase::Lingering, config.linger_deadline);
                        // Fails only if the client is gone.
                        let _ = stream.shutdown().await;
                    };
                    Box::pin(encrypted).await;
                }
            }
        };
        let mut serve = pin!(serve);
        // A fault of ours in one request must not end the worker: its connection ends, without an answer.
        std::future::poll_fn(|context| {
            catch_unwind(AssertUnwindSafe(|| serve.as_mut().poll(context))).unwrap_or(Poll::Ready(()))
        })
        .await;
        worker.service.closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::handler::Frontend;

    /// The size of what `connect` returns.
    fn size<A, B, C, D, E, F>(_: impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_is_small() {
        // With the task's head it fits a block of 2,048 bytes.
        let size = size(connect::<Frontend>);
        assert!(size <= 1990, "{size} bytes");
    }
}

//! The life of the process: bind, serve, stop.
//!
//! The calling thread is the control thread. It waits for signals, for `/-/quit` and for workers that
//! end, and never serves. A stop answers what is in flight: listeners close together, each answer ends
//! its connection, quiet connections end, and what is still there after the drain deadline is cut. A
//! second signal ends the process at once.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::config::Info;
use crate::gateway::Gateway;
use crate::http::config::HttpConfig;
use crate::http::encoding::Decoders;
use crate::http::handler::{Frontend, Quit};
use crate::http::route::Routes;
use crate::http::service::Service;
use crate::http::worker::{self, Driver, Stop};
use crate::http::{descriptors, listen};

/// What the server needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// As on the command line: `HOST:PORT`, `:PORT`, or nothing for any free port.
    pub listen: Vec<String>,
    /// Threads that serve; at least one.
    pub workers: usize,
    pub routes: Routes,
    pub http: HttpConfig,
    pub info: Arc<Info>,
    /// The status of an accepted push, where pushes are checked.
    pub push_status: u16,
}

/// Why the server did not serve, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("listen tcp {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error("cannot take signals: {0}")]
    Signals(io::Error),
    #[error("worker: {0}")]
    Worker(io::Error),
    #[error("worker ended by a fault of its own")]
    WorkerFault,
}

/// Serves until a signal or `/-/quit` stops it. Returns once everything in flight is answered or cut;
/// the process should end soon after.
///
/// # Errors
///
/// An address cannot be listened on, or a thread cannot be started or failed.
pub fn run(config: ServerConfig, gateway: Arc<Gateway>) -> Result<(), ServerError> {
    let routes = Arc::new(config.routes);
    let (info, push_status) = (config.info, config.push_status);
    let reloading = gateway.clone();
    let serve = |decoders: Decoders| {
        let decoders = Arc::new(decoders);
        let frontend = move |quit: Quit| Frontend {
            gateway: gateway.clone(),
            decoders: decoders.clone(),
            routes: routes.clone(),
            info: info.clone(),
            push_status,
            quit,
        };
        Server::bind(&config.listen, config.workers)
            .map(|server| server.on_hangup(Arc::new(move || reload(&reloading))))
            .and_then(|server| server.serve(&config.http, Arc::new(frontend)))
    };
    let decoders = Decoders::start(config.http.decoded_bytes_max).map_err(ServerError::Worker);
    let outcome = decoders.and_then(serve);
    match &outcome {
        Ok(()) => tracing::info!("HTTP server stopped"),
        Err(error) => tracing::error!(err = %error, "HTTP server stopped"),
    }
    outcome
}

/// Reads again what can be read again, on a thread of its own: a stop must not wait for it.
fn reload(gateway: &Arc<Gateway>) {
    if !gateway.has_plugins() {
        tracing::info!("received SIGHUP; there is nothing to reload");
        return;
    }
    tracing::info!("received SIGHUP; reloading plugins");
    let gateway = gateway.clone();
    let started = thread::Builder::new().name("reload".to_owned()).spawn(move || {
        // What is wrong is logged where it is found, and changes nothing.
        let _ = gateway.reload_plugins();
    });
    if let Err(error) = started {
        tracing::error!(%error, "cannot start a reload");
    }
}

/// Open ports that nobody serves yet.
pub struct Server {
    addresses: Vec<SocketAddr>,
    /// For each worker, its socket of each address.
    listeners: Vec<Vec<TcpListener>>,
    hangup: Hangup,
}

/// What SIGHUP does; must return at once.
pub type Hangup = Arc<dyn Fn() + Send + Sync>;

enum Event {
    Signal(i32),
    Quit,
    Started(Driver),
    Ended(Result<(), ServerError>),
}

impl Server {
    /// First phase: opens every address, or none.
    ///
    /// # Errors
    ///
    /// One of them cannot be listened on.
    pub fn bind(listen: &[String], workers: usize) -> Result<Server, ServerError> {
        let mut addresses = Vec::new();
        let mut listeners: Vec<Vec<TcpListener>> = (0..workers.max(1)).map(|_| Vec::new()).collect();
        for address in listen {
            let bound = listen::bind(address, listeners.len())
                .map_err(|source| ServerError::Listen { address: address.clone(), source })?;
            addresses.push(bound.address);
            for (worker, listener) in listeners.iter_mut().zip(bound.listeners) {
                worker.push(listener);
            }
        }
        Ok(Server { addresses, listeners, hangup: Arc::new(|| {}) })
    }

    /// Sets what SIGHUP does.
    #[must_use]
    pub fn on_hangup(self, hangup: Hangup) -> Server {
        Server { hangup, ..self }
    }

    /// The addresses in use, in the order asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Further phases: starts the workers, waits for a reason to stop, drains. `service` is called once
    /// on each worker's thread.
    ///
    /// # Errors
    ///
    /// Signals cannot be taken, or a worker failed; the others are stopped first.
    pub fn serve<H: Service + 'static>(
        self,
        http: &HttpConfig,
        service: Arc<dyn Fn(Quit) -> H + Send + Sync>,
    ) -> Result<(), ServerError> {
        let (events, inbox) = channel();
        let hangup = self.hangup.clone();
        let siblings = self.siblings().map_err(ServerError::Worker)?;
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(ServerError::Signals)?;
        let signals_handle = signals.handle();
        let signal_events = events.clone();
        let signal_thread = thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    // Fails only when the server is over.
                    let _ = signal_events.send(Event::Signal(signal));
                }
            })
            .map_err(ServerError::Signals)?;

        for address in &self.addresses {
            tracing::info!(address = %address, "Listening on");
            tracing::info!(http2 = false, address = %address, "TLS is disabled.");
        }
        let stop = Arc::new(Stop::default());
        let mut running = 0;
        let mut outcome = Ok(());
        match self.start(http, &service, &stop, &events) {
            Ok(started) => running = started,
            Err(error) => {
                // Those that did start end by themselves.
                stop.request();
                outcome = Err(ServerError::Worker(error));
            }
        }
        let control = Control { stop, siblings, running, hangup };
        let outcome = outcome.and(control.run(&inbox));
        signals_handle.close();
        // It has nothing left to wait for.
        let _ = signal_thread.join();
        outcome
    }

    /// Second handles on all listeners, for closing them together from the control thread.
    fn siblings(&self) -> io::Result<Vec<TcpListener>> {
        self.listeners.iter().flatten().map(TcpListener::try_clone).collect()
    }

    fn start<H: Service + 'static>(
        self,
        http: &HttpConfig,
        service: &Arc<dyn Fn(Quit) -> H + Send + Sync>,
        stop: &Arc<Stop>,
        events: &Sender<Event>,
    ) -> io::Result<usize> {
        let workers = self.listeners.len();
        let connections_max = (descriptors::for_connections().min(http.connections_max) / workers).max(1);
        let processors = processors();
        // Pinning helps only if each worker has a processor of its own; a process that was given fewer
        // or more is better off with the scheduler.
        let pinned = workers > 1 && processors.len() == workers;
        for (number, listeners) in self.listeners.into_iter().enumerate() {
            let processor = pinned.then(|| processors[number]);
            let (http, service, stop) = (http.clone(), service.clone(), stop.clone());
            let events = events.clone();
            thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let ended = Ended(Some(events.clone()));
                if let Some(processor) = processor {
                    // Only costs speed if it fails.
                    let _ = monoio::utils::bind_to_cpu_set([processor]);
                }
                let quit = events.clone();
                let quit: Quit = Arc::new(move || {
                    let _ = quit.send(Event::Quit);
                });
                let started = |driver| {
                    let _ = events.send(Event::Started(driver));
                };
                let result = worker::run(listeners, http, connections_max, service(quit), &stop, started);
                ended.with(result);
            })?;
        }
        Ok(workers)
    }
}

/// Tells the control thread how a worker ended, even if it ended by a panic.
struct Ended(Option<Sender<Event>>);

impl Ended {
    fn with(mut self, result: io::Result<()>) {
        if let Some(events) = self.0.take() {
            let _ = events.send(Event::Ended(result.map_err(ServerError::Worker)));
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(events) = self.0.take() {
            let _ = events.send(Event::Ended(Err(ServerError::WorkerFault)));
        }
    }
}

/// The control thread's view of a serving process.
struct Control {
    stop: Arc<Stop>,
    siblings: Vec<TcpListener>,
    /// Workers that have not ended.
    running: usize,
    hangup: Hangup,
}

impl Control {
    fn run(mut self, inbox: &Receiver<Event>) -> Result<(), ServerError> {
        let mut outcome = Ok(());
        let mut stopping = false;
        let mut driver = None;
        while self.running > 0 {
            // The workers hold senders; without any the loop would have ended.
            let Ok(event) = inbox.recv() else { break };
            match event {
                Event::Started(which) => {
                    if driver.replace(which).is_none() {
                        tracing::info!(driver = which.name(), "Serving");
                    }
                    continue;
                }
                Event::Signal(SIGHUP) => {
                    (self.hangup)();
                    continue;
                }
                Event::Signal(signal) if stopping => {
                    // Asked twice: the default action of the signal, which is to end the process.
                    let _ = emulate_default_handler(signal);
                    continue;
                }
                Event::Signal(_) => tracing::info!("received SIGINT/SIGTERM; exiting gracefully..."),
                Event::Quit if stopping => continue,
                Event::Quit => {
                    tracing::warn!("received termination request via web service, exiting gracefully...")
                }
                Event::Ended(result) => {
                    self.running -= 1;
                    outcome = outcome.and(result);
                }
            }
            if !stopping {
                stopping = true;
                self.stop_workers();
            }
        }
        outcome
    }

    /// Closes all listeners together, since each that closes alone resets what waits in its queue while
    /// the kernel still hands connections to the others.
    fn stop_workers(&mut self) {
        for listener in self.siblings.drain(..) {
            // Fails only if it is closed already.
            let _ = socket2::SockRef::from(&listener).shutdown(Shutdown::Both);
        }
        // Only now: whoever sees a connection ended by the stop finds the port closed as well.
        self.stop.request();
    }
}

/// The processors this process may run on; empty if the kernel does not say.
fn processors() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.map(|list| parse_processors(list.trim())).unwrap_or_default()
}

/// Takes a list such as `0-3,8` apart; what is no number is left out.
fn parse_processors(list: &str) -> Vec<usize> {
    let mut processors = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse()) {
            processors.extend(first..=last);
        }
    }
    processors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_lists() {
        assert_eq!(parse_processors("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(parse_processors("5"), [5]);
        assert!(parse_processors("").is_empty());
        assert!(!processors().is_empty());
    }

    #[test]
    fn one_bad_address_opens_none() {
        let error = Server::bind(&["127.0.0.1:0".to_owned(), "nonsense".to_owned()], 2).err().unwrap();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }
}

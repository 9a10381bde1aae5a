//! The life of the process: bind, serve, stop.
//!
//! The calling thread is the control thread. It waits for signals, for `/-/quit` and for workers that
//! end, and never serves. A stop answers what is in flight: listeners close together, each answer ends
//! its connection, quiet connections end, and what is still there after the drain deadline is cut. A
//! second signal ends the process at once.

mod systemd;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::config::Info;
use crate::gateway::Gateway;
use crate::http::aside::Aside;
use crate::http::auth::Doorkeeper;
use crate::http::config::HttpConfig;
use crate::http::encoding::Decoders;
use crate::http::handler::{Frontend, Quit, Site};
use crate::http::route::Routes;
use crate::http::service::Service;
use crate::http::web::Web;
use crate::http::worker::{self, Driver, Stop};
use crate::http::{descriptors, listen};

/// How often files are looked at for changes.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// While stopping, how often workers that wait at passed sockets are woken.
const KNOCK_INTERVAL: Duration = Duration::from_millis(50);

/// What the server needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub listen: Listen,
    /// Threads that serve; at least one.
    pub workers: usize,
    pub routes: Routes,
    pub http: HttpConfig,
    pub info: Arc<Info>,
    /// The status of an accepted push, where pushes are checked.
    pub push_status: u16,
    /// The web configuration file.
    pub web_config: Option<PathBuf>,
}

/// Where connections come from.
#[derive(Clone, Debug)]
pub enum Listen {
    /// Ports of our own, as on the command line: `HOST:PORT`, `:PORT`, or nothing for any free port.
    Addresses(Vec<String>),
    /// Sockets that systemd passes.
    Passed,
}

/// Why the server did not serve, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("listen tcp {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error("{0}")]
    Passed(io::Error),
    /// The web configuration file is bad.
    #[error("{0}")]
    WebConfig(String),
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
/// The web configuration file is bad, an address cannot be listened on, or a thread cannot be started or
/// failed.
pub fn run(config: ServerConfig, gateway: Arc<Gateway>) -> Result<(), ServerError> {
    let outcome = load_and_serve(config, gateway);
    match &outcome {
        Ok(()) => tracing::info!("HTTP server stopped"),
        Err(error) => tracing::error!(err = %error, "HTTP server stopped"),
    }
    outcome
}

fn load_and_serve(config: ServerConfig, gateway: Arc<Gateway>) -> Result<(), ServerError> {
    let web = config.web_config.as_deref().map(Web::load).transpose().map_err(ServerError::WebConfig)?;
    let door = web.as_ref().map(|web| web.door.clone());
    let http = HttpConfig { tls: web.as_ref().and_then(|web| web.tls.clone()), ..config.http };
    let routes = Arc::new(config.routes);
    let push_status = config.push_status;
    let site = Site::new(gateway.clone(), config.info, routes.admin_api);
    let site = Arc::new(site.map_err(|error| ServerError::Worker(io::Error::other(error)))?);
    let aside = Aside::start().map_err(ServerError::Worker)?;
    let decoders = Arc::new(Decoders::start(http.decoded_bytes_max).map_err(ServerError::Worker)?);
    let reloading = gateway.clone();
    let frontend = move |quit: Quit| Frontend {
        gateway: gateway.clone(),
        decoders: decoders.clone(),
        routes: routes.clone(),
        site: site.clone(),
        aside: aside.clone(),
        push_status,
        quit,
        doorkeeper: door.clone().map(Doorkeeper::new),
    };
    reloading.keep_house().map_err(ServerError::Worker)?;
    let mut server = Server::bind(&config.listen, config.workers)?;
    if reloading.refresh_rules() {
        let refreshing = reloading.clone();
        server = server.on_refresh(Arc::new(move || {
            refreshing.refresh_rules();
        }));
    }
    server.on_hangup(Arc::new(move || reload(&reloading))).serve_with(&http, web, Arc::new(frontend))
}

/// Reads the rules for lifetimes and merging again, and plugins, on a thread of its own: a stop must not wait for it.
fn reload(gateway: &Arc<Gateway>) {
    // What is wrong is logged where it is found, and changes nothing.
    let _ = gateway.reload_rules();
    if !gateway.has_plugins() {
        return;
    }
    tracing::info!("reloading plugins");
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
    /// Whether the sockets are a supervisor's.
    passed: bool,
    hangup: Hangup,
    refresh: Option<Hangup>,
}

/// What SIGHUP does, or the clock once a second; must return at once.
pub type Hangup = Arc<dyn Fn() + Send + Sync>;

enum Event {
    Signal(i32),
    Quit,
    Started(Driver),
    Ended(Result<(), ServerError>),
}

impl Server {
    /// First phase: opens every address or takes every socket that was passed, or none.
    ///
    /// # Errors
    ///
    /// One of them cannot be listened on.
    pub fn bind(listen: &Listen, workers: usize) -> Result<Server, ServerError> {
        let workers = workers.max(1);
        let (bound, passed) = match listen {
            Listen::Addresses(listen) => {
                let bind = |address: &String| {
                    listen::bind(address, workers)
                        .map_err(|source| ServerError::Listen { address: address.clone(), source })
                };
                (listen.iter().map(bind).collect::<Result<Vec<_>, _>>()?, false)
            }
            Listen::Passed => {
                let passed = systemd::passed_listeners().map_err(ServerError::Passed)?;
                let share = |listener| listen::share(listener, workers).map_err(ServerError::Passed);
                (passed.into_iter().map(share).collect::<Result<_, _>>()?, true)
            }
        };
        let addresses = bound.iter().map(|bound| bound.address).collect();
        let mut listeners: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
        for bound in bound {
            for (worker, listener) in listeners.iter_mut().zip(bound.listeners) {
                worker.push(listener);
            }
        }
        Ok(Server { addresses, listeners, passed, hangup: Arc::new(|| {}), refresh: None })
    }

    /// Sets what SIGHUP does.
    #[must_use]
    pub fn on_hangup(self, hangup: Hangup) -> Server {
        Server { hangup, ..self }
    }

    /// Sets what is done about once a second: looking whether files have changed.
    #[must_use]
    pub fn on_refresh(self, refresh: Hangup) -> Server {
        Server { refresh: Some(refresh), ..self }
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
        self.serve_with(http, None, service)
    }

    fn serve_with<H: Service + 'static>(
        self,
        http: &HttpConfig,
        web: Option<Web>,
        service: Arc<dyn Fn(Quit) -> H + Send + Sync>,
    ) -> Result<(), ServerError> {
        let (events, inbox) = channel();
        let (hangup, refresh) = (self.hangup.clone(), self.refresh.clone());
        let closing = self.closing().map_err(ServerError::Worker)?;
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
            match http.tls {
                Some(_) => tracing::info!(http2 = false, address = %address, "TLS is enabled."),
                None => tracing::info!(http2 = false, address = %address, "TLS is disabled."),
            }
        }
        if let Some(web) = &web {
            web.announce();
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
        let control =
            Control { stop, closing, running, starting: running, stopping: false, hangup, refresh, web };
        let outcome = outcome.and(control.run(&inbox));
        signals_handle.close();
        // It has nothing left to wait for.
        let _ = signal_thread.join();
        outcome
    }

    /// What it will take to end the accepting from the control thread.
    fn closing(&self) -> io::Result<Closing> {
        if self.passed {
            return Ok(Closing::Knock(self.addresses.clone()));
        }
        self.listeners
            .iter()
            .flatten()
            .map(TcpListener::try_clone)
            .collect::<Result<_, _>>()
            .map(Closing::Shut)
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

/// How workers are made to stop accepting.
enum Closing {
    /// Second handles on all listeners. They close together: each that closes alone resets what waits in
    /// its queue while the kernel still hands connections to the others.
    Shut(Vec<TcpListener>),
    /// Addresses of sockets that stay open for our successor. A worker that waits there is woken by a
    /// connection, and what comes after that waits in the queue.
    Knock(Vec<SocketAddr>),
}

/// The control thread's view of a serving process.
struct Control {
    stop: Arc<Stop>,
    closing: Closing,
    /// Workers that have not ended.
    running: usize,
    /// Workers that do not accept yet.
    starting: usize,
    stopping: bool,
    hangup: Hangup,
    refresh: Option<Hangup>,
    web: Option<Web>,
}

impl Control {
    fn run(mut self, inbox: &Receiver<Event>) -> Result<(), ServerError> {
        let mut outcome = Ok(());
        while self.running > 0 {
            // The workers hold senders; without any the loop would have ended.
            let Some(event) = self.next(inbox) else { break };
            match event {
                Event::Started(driver) => {
                    self.starting -= 1;
                    if self.starting == 0 {
                        tracing::info!(driver = driver.name(), "Serving");
                        systemd::tell_ready();
                    }
                    continue;
                }
                Event::Signal(SIGHUP) => {
                    tracing::info!("received SIGHUP");
                    (self.hangup)();
                    if let Some(web) = &mut self.web {
                        web.reload();
                    }
                    continue;
                }
                Event::Signal(signal) if self.stopping => {
                    // Asked twice: the default action of the signal, which is to end the process.
                    let _ = emulate_default_handler(signal);
                    continue;
                }
                Event::Signal(_) => tracing::info!("received SIGINT/SIGTERM; exiting gracefully..."),
                Event::Quit if self.stopping => continue,
                Event::Quit => {
                    tracing::warn!("received termination request via web service, exiting gracefully...")
                }
                Event::Ended(result) => {
                    self.running -= 1;
                    outcome = outcome.and(result);
                }
            }
            if !self.stopping {
                self.stopping = true;
                systemd::tell_stopping();
                self.stop_workers();
            }
        }
        outcome
    }

    /// The next event. While there is none, files are looked at for changes, and once stopping, workers
    /// that still wait at passed sockets are woken.
    fn next(&mut self, inbox: &Receiver<Event>) -> Option<Event> {
        loop {
            let knocks = self.stopping && matches!(self.closing, Closing::Knock(_));
            let pause = match self.web.is_some() || self.refresh.is_some() {
                _ if knocks => KNOCK_INTERVAL,
                true => REFRESH_INTERVAL,
                false => return inbox.recv().ok(),
            };
            match inbox.recv_timeout(pause) {
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Timeout) if knocks => self.knock(),
                Err(RecvTimeoutError::Timeout) => {
                    self.web.iter_mut().for_each(Web::refresh);
                    self.refresh.iter().for_each(|refresh| refresh());
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn knock(&self) {
        if let Closing::Knock(addresses) = &self.closing {
            for address in addresses {
                (0..self.running).for_each(|_| systemd::knock(*address));
            }
        }
    }

    fn stop_workers(&mut self) {
        if let Closing::Shut(listeners) = &mut self.closing {
            for listener in listeners.drain(..) {
                // Fails only if it is closed already.
                let _ = socket2::SockRef::from(&listener).shutdown(Shutdown::Both);
            }
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
        let error =
            Server::bind(&Listen::Addresses(vec!["127.0.0.1:0".to_owned(), "nonsense".to_owned()]), 2)
                .err()
                .unwrap();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }
}

//! The gateway as a [`Service`]: from a routed request to its answer, one file per kind.
//!
//! The head of a gzip body is looked at before anything that routing found out is answered, as in the
//! reference. All other codings are looked at only where a body is wanted.
//!
//! Answers of the routers, refused codings, scrapes and `/-/quit` are not counted, as in the reference.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::config::Info;
use crate::gateway::Gateway;
use crate::http::auth::{Doorkeeper, Question};
use crate::http::client::{Client, Peer};
use crate::http::encoding::{Coding, Decoders};
use crate::http::head::{Head, HeadError};
use crate::http::route::{Route, Routed, Router, Routes};
use crate::http::service::{Admission, BodyFault, Next, Service};
use crate::http::worker::Driver;
use crate::http::{Answer, status as code};
use crate::model::{Action, GroupingKey, Limit, Refusal, RequestFacts};

use self::request::Words;

pub mod admin;
pub mod api;
pub mod delete;
pub mod probe;
pub mod push;
mod reload;
mod request;
mod results;
pub mod scrape;
pub mod status;

/// Asks the server to stop; cheap, and may be called more than once.
pub type Quit = Arc<dyn Fn() + Send + Sync>;

/// Everything a request can reach.
pub struct Frontend {
    pub gateway: Arc<Gateway>,
    pub decoders: Arc<Decoders>,
    pub routes: Arc<Routes>,
    pub info: Arc<Info>,
    /// The status of an accepted push, where pushes are checked.
    pub push_status: u16,
    pub quit: Quit,
    /// Who may ask; none: everybody.
    pub doorkeeper: Option<Doorkeeper>,
}

/// A request that waits for the end of its body.
pub enum Waiting {
    Push(push::Push),
    Delete(GroupingKey, Option<Box<RequestFacts>>, Words),
    Scrape(scrape::Scrape),
    Healthy,
    Ready,
    Page,
    ApiStatus,
    ApiMetrics,
    Wipe,
    Quit,
    Reload,
    /// The rest once the head of the body was looked at.
    Coded(Coding, Box<Decided>),
}

/// What was decided about a request whose body still has to be looked at.
pub enum Decided {
    Answer(Answer),
    Bodiless(Waiting),
}

impl Service for Frontend {
    type Waiting = Waiting;
    type Question = Question;

    fn started(&self, driver: Driver) {
        self.gateway.telemetry().set_driver(driver.name());
    }

    fn tick(&self, now: Instant) {
        self.gateway.tick(now);
    }

    fn opened(&self) {
        self.gateway.telemetry().connection_opened();
    }

    fn closed(&self) {
        self.gateway.telemetry().connection_closed();
    }

    fn ended(&self) {
        self.gateway.end_thread();
    }

    fn limited(&self, limit: Limit) {
        self.gateway.telemetry().count_limit(limit);
    }

    fn head_refused(&self, error: HeadError) {
        self.gateway.telemetry().count_bad_head(error.code());
        error.limit.into_iter().for_each(|limit| self.limited(limit));
    }

    fn admit(&self, head: &Head<'_>, peer: &Peer) -> Admission<Question> {
        match &self.doorkeeper {
            None => Admission::Granted(Client::of(peer)),
            Some(doorkeeper) => doorkeeper.admit(head, peer),
        }
    }

    async fn ask(&self, question: Question) -> Result<Client, Answer> {
        match &self.doorkeeper {
            // Nobody else asks questions.
            None => Err(Answer::error(500, "nobody can answer for this client")),
            Some(doorkeeper) => doorkeeper.ask(question).await,
        }
    }

    fn dress(&self, answer: Answer) -> Answer {
        match &self.doorkeeper {
            None => answer,
            Some(doorkeeper) => doorkeeper.dress(answer),
        }
    }

    fn begin(&self, head: &Head<'_>, client: &Client) -> Next<Waiting> {
        let (method, target) = (head.method, &head.target);
        match self.routes.router(method, target) {
            Router::Answered(answer) => Next::Answer(answer),
            Router::Api(prefix) => {
                let routed = self.routes.api(method, &target.path[prefix..], target);
                self.begin_routed(head, client, routed, Coding::Identity)
            }
            Router::Main => match Coding::of(head.content_encoding) {
                Err(refusal) => Next::Answer(self.refused(&refusal)),
                Ok(coding) => {
                    let routed = self.routes.main(method, &target.path, target);
                    let next = self.begin_routed(head, client, routed, coding);
                    if coding.has_start() { after_start(coding, next) } else { next }
                }
            },
        }
    }

    async fn finish(&self, waiting: Waiting, body: Bytes) -> Answer {
        match waiting {
            Waiting::Push(push) => push::finish(self, push, body).await,
            Waiting::Delete(key, request, words) => delete::finish(&self.gateway, &key, request, words).await,
            Waiting::Scrape(scrape) => scrape::finish(&self.gateway, scrape).await,
            Waiting::Healthy => self.counted("healthy", "get", probe::healthy()),
            Waiting::Ready => self.counted("ready", "get", probe::ready(&self.gateway)),
            Waiting::Page => self.counted("status", "get", status::page(&self.gateway, &self.info)),
            Waiting::ApiStatus => {
                self.counted("api/v1/status", "get", api::status(&self.gateway, &self.info))
            }
            Waiting::ApiMetrics => self.counted("api/v1/metrics", "get", api::metrics(&self.gateway)),
            Waiting::Wipe => self.counted("wipe", "put", admin::wipe(&self.gateway).await),
            Waiting::Reload => reload::finish(&self.gateway).await,
            Waiting::Quit => {
                (self.quit)();
                probe::goodbye()
            }
            Waiting::Coded(coding, decided) => match (coding.check_start(&body), *decided) {
                (Err(refusal), _) => code::refused(&refusal),
                (Ok(()), Decided::Answer(answer)) => answer,
                (Ok(()), Decided::Bodiless(waiting)) => Box::pin(self.finish(waiting, Bytes::new())).await,
            },
        }
    }

    fn broken(&self, waiting: Waiting, fault: BodyFault) -> Answer {
        match waiting {
            Waiting::Push(push) => push::answered(&self.gateway, &push, fault.answer()),
            _ => fault.answer(),
        }
    }
}

impl Frontend {
    fn begin_routed(
        &self,
        head: &Head<'_>,
        client: &Client,
        routed: Routed<'_>,
        coding: Coding,
    ) -> Next<Waiting> {
        let method = head.method;
        let route = match routed {
            Routed::Answered(answer) => return Next::Answer(answer),
            Routed::To(route) => route,
        };
        if let Some(action) = action_of(&route)
            && let Err(refusal) = client.check(action, None)
        {
            return Next::Answer(self.refused(&refusal));
        }
        Next::Bodiless(match route {
            Route::Push(path) if method == b"DELETE" => {
                return delete::begin(&self.gateway, head, client, &path);
            }
            Route::Push(path) => return push::begin(&self.gateway, head, client, &path, coding),
            Route::Scrape => Waiting::Scrape(scrape::Scrape::of(head, &self.gateway)),
            Route::Page => Waiting::Page,
            Route::Healthy => Waiting::Healthy,
            Route::Ready => Waiting::Ready,
            Route::Quit if self.routes.lifecycle => Waiting::Quit,
            Route::Reload if self.routes.lifecycle => Waiting::Reload,
            Route::Quit | Route::Reload => return Next::Answer(probe::quit_is_off()),
            Route::QuitByGet => return Next::Answer(probe::quit_by_get()),
            Route::ApiStatus => Waiting::ApiStatus,
            Route::ApiMetrics => Waiting::ApiMetrics,
            Route::ApiOptions => {
                return Next::Answer(self.counted("api/v1/options", "options", api_options()));
            }
            Route::Wipe => Waiting::Wipe,
        })
    }

    /// The answer to a body whose coding is not taken or that does not begin as its coding says.
    fn refused(&self, refusal: &Refusal) -> Answer {
        self.gateway.telemetry().count_refusal(refusal.reason);
        code::refused(refusal)
    }

    fn counted(&self, handler: &'static str, method: &'static str, answer: Answer) -> Answer {
        self.gateway.telemetry().count_request(handler, method, answer.status);
        answer
    }
}

/// What a route takes a right to, where that does not hang on a group. Probes are for everybody who is
/// let in.
fn action_of(route: &Route<'_>) -> Option<Action> {
    match route {
        Route::Scrape | Route::Page | Route::ApiStatus | Route::ApiMetrics => Some(Action::Scrape),
        Route::Wipe | Route::Quit | Route::Reload => Some(Action::Admin),
        Route::Push(_) | Route::Healthy | Route::Ready | Route::QuitByGet | Route::ApiOptions => None,
    }
}

/// Puts a look at the head of the body before what was decided.
fn after_start(coding: Coding, next: Next<Waiting>) -> Next<Waiting> {
    let decided = match next {
        Next::Answer(answer) => Decided::Answer(answer),
        Next::Bodiless(waiting) => Decided::Bodiless(waiting),
        // Looks for itself.
        Next::Body(waiting) => return Next::Body(waiting),
    };
    Next::Body(Waiting::Coded(coding, Box::new(decided)))
}

/// The API's answer to OPTIONS on any of its paths: what a browser may do from another origin.
fn api_options() -> Answer {
    with_api_headers(Answer::empty(200))
}

/// Adds the headers that every answer of the API's own handlers carries.
pub fn with_api_headers(answer: Answer) -> Answer {
    answer
        .header("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin")
        .header("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
        .header("Access-Control-Allow-Origin", "*")
        .header("Access-Control-Expose-Headers", "Date")
        .header("Cache-Control", "no-cache, no-store, must-revalidate")
}

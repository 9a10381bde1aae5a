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
use crate::gateway::{Gateway, push_path};
use crate::http::aside::Aside;
use crate::http::auth::{Doorkeeper, Question};
use crate::http::client::{Client, Peer};
use crate::http::encoding::{Coding, Decoders};
use crate::http::head::{Head, HeadError};
use crate::http::route::{PushPath, Route, Routed, Router, Routes};
use crate::http::service::{Admission, BodyFault, Finish, Next, Service};
use crate::http::worker::Driver;
use crate::http::{Answer, status as code};
use crate::model::{Action, GroupingKey, Identity, Limit, Refusal, RequestFacts};

use self::request::Words;

pub mod admin;
pub mod api;
pub mod delete;
pub mod probe;
pub mod push;
mod rejection;
mod reload;
mod request;
mod results;
pub mod scrape;
pub mod status;
mod validate;

/// Asks the server to stop; cheap, and may be called more than once.
pub type Quit = Arc<dyn Fn() + Send + Sync>;

/// Everything a request can reach.
pub struct Frontend {
    pub gateway: Arc<Gateway>,
    pub decoders: Arc<Decoders>,
    pub routes: Arc<Routes>,
    /// What pages and lists are made of, beside the workers.
    pub site: Arc<Site>,
    pub aside: Aside,
    /// The status of an accepted push, where pushes are checked.
    pub push_status: u16,
    pub quit: Quit,
    /// Who may ask; none: everybody.
    pub doorkeeper: Option<Doorkeeper>,
}

/// What the pages and the API show and do. Shared with the thread that makes them.
pub struct Site {
    pub gateway: Arc<Gateway>,
    pub info: Arc<Info>,
    /// Whether all groups may be deleted.
    pub wipes: bool,
    pub tokens: status::token::Tokens,
    pub seen: status::Seen,
}

impl Site {
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn new(gateway: Arc<Gateway>, info: Arc<Info>, wipes: bool) -> Result<Site, String> {
        let tokens = status::token::Tokens::new()?;
        Ok(Site { gateway, info, wipes, tokens, seen: status::Seen::default() })
    }
}

/// Something that is looked up for a person or a script: made beside the workers.
pub enum Look {
    Page,
    Group(GroupingKey),
    ApiStatus,
    ApiMetrics,
    ApiGroups,
    ApiGroup(GroupingKey),
    ApiRejections,
    ApiLimits,
    ApiPlugins,
}

/// A request that waits for the end of its body.
pub enum Waiting {
    Push(push::Push),
    Validate(validate::Validate),
    Delete(GroupingKey, Option<Box<RequestFacts>>, Words, Client),
    Scrape(scrape::Scrape),
    Healthy,
    Ready,
    /// With the query and who asks.
    Look(Look, Vec<u8>, Identity),
    /// A form, of a group's page or of the list.
    Form(Option<GroupingKey>, Identity),
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

    fn finish(&self, waiting: Waiting, body: Bytes) -> Finish<'_> {
        match waiting {
            Waiting::Push(push) => push::finish(self, push, body),
            other => Finish::Later(Box::pin(self.finish_other(other, body))),
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
    async fn finish_other(&self, waiting: Waiting, body: Bytes) -> Answer {
        match waiting {
            Waiting::Push(push) => push::finish(self, push, body).answer().await,
            Waiting::Validate(validate) => {
                let answer = validate::finish(self, validate, body).await;
                self.counted("api/v1/validate", "post", answer)
            }
            Waiting::Delete(key, request, words, client) => {
                delete::finish(&self.gateway, &key, request, words, &client).await
            }
            Waiting::Scrape(scrape) => scrape::finish(&self.gateway, scrape).await,
            Waiting::Healthy => self.counted("healthy", "get", probe::healthy()),
            Waiting::Ready => self.counted("ready", "get", probe::ready(&self.gateway)),
            Waiting::Look(look, query, identity) => self.look(look, query, identity).await,
            Waiting::Form(key, identity) => {
                let answer = status::change(&self.site, key.as_ref(), &identity, &body).await;
                self.counted("form", "post", answer)
            }
            Waiting::Wipe => self.counted("wipe", "put", admin::wipe(&self.gateway).await),
            Waiting::Reload => reload::finish(&self.gateway).await,
            Waiting::Quit => {
                (self.quit)();
                probe::goodbye()
            }
            Waiting::Coded(coding, decided) => match (coding.check_start(&body), *decided) {
                (Err(refusal), _) => code::refused(&refusal),
                (Ok(()), Decided::Answer(answer)) => answer,
                (Ok(()), Decided::Bodiless(waiting)) => self.finish(waiting, Bytes::new()).answer().await,
            },
        }
    }

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
        let look = |look| {
            let query = head.target.query.unwrap_or_default().to_vec();
            Waiting::Look(look, query, client.identity.clone())
        };
        Next::Bodiless(match route {
            Route::Push(path) if method == b"DELETE" => {
                return delete::begin(&self.gateway, head, client, &path);
            }
            Route::Push(path) => return push::begin(&self.gateway, head, client, &path, coding),
            Route::Scrape => Waiting::Scrape(scrape::Scrape::of(head, &self.gateway)),
            Route::Page => look(Look::Page),
            Route::Group(path) => match self.key_of(&path) {
                Ok(key) => look(Look::Group(key)),
                Err(refusal) => return Next::Answer(code::refused(&refusal)),
            },
            Route::Form(path) => {
                let key = path.map(|path| self.key_of(&path)).transpose();
                let action = if path.is_some() { Action::Delete } else { Action::Admin };
                let may = |key: Option<GroupingKey>| client.check(action, key.as_ref()).map(|()| key);
                return match key.and_then(may) {
                    Ok(key) => Next::Body(Waiting::Form(key, client.identity.clone())),
                    Err(refusal) => Next::Answer(self.refused(&refusal)),
                };
            }
            Route::Healthy => Waiting::Healthy,
            Route::Ready => Waiting::Ready,
            Route::Quit if self.routes.lifecycle => Waiting::Quit,
            Route::Reload if self.routes.lifecycle => Waiting::Reload,
            Route::Quit | Route::Reload => return Next::Answer(probe::quit_is_off()),
            Route::QuitByGet => return Next::Answer(probe::quit_by_get()),
            Route::ApiStatus => look(Look::ApiStatus),
            Route::ApiMetrics => look(Look::ApiMetrics),
            Route::ApiGroups => look(Look::ApiGroups),
            Route::ApiGroup(path) => match self.key_of(&path) {
                Ok(key) => look(Look::ApiGroup(key)),
                Err(refusal) => return Next::Answer(code::refused(&refusal)),
            },
            Route::ApiRejections => look(Look::ApiRejections),
            Route::ApiLimits => look(Look::ApiLimits),
            Route::ApiPlugins => look(Look::ApiPlugins),
            Route::ApiValidate(path) => {
                let begun = validate::begin(&self.gateway, head, client, &path);
                return begun.unwrap_or_else(|refusal| Next::Answer(code::refused(&refusal)));
            }
            Route::ApiOptions => {
                return Next::Answer(self.counted("api/v1/options", "options", api_options()));
            }
            Route::Wipe => Waiting::Wipe,
        })
    }

    /// Makes what was asked for beside the workers.
    async fn look(&self, look: Look, query: Vec<u8>, identity: Identity) -> Answer {
        let handler = match look {
            Look::Page => "status",
            Look::Group(_) => "group",
            Look::ApiStatus => "api/v1/status",
            Look::ApiMetrics => "api/v1/metrics",
            Look::ApiGroups => "api/v1/groups",
            Look::ApiGroup(_) => "api/v1/group",
            Look::ApiRejections => "api/v1/rejections",
            Look::ApiLimits => "api/v1/limits",
            Look::ApiPlugins => "api/v1/plugins",
        };
        let site = self.site.clone();
        let made = self.aside.run(move || match look {
            Look::Page => status::page(&site, &query, &identity),
            Look::Group(key) => status::group(&site, &key, &identity),
            Look::ApiStatus => api::status(&site.info),
            Look::ApiMetrics => api::metrics(&site.gateway),
            Look::ApiGroups => api::groups::list(&site, &query),
            Look::ApiGroup(key) => api::groups::one(&site, &key),
            Look::ApiRejections => api::groups::rejections(&site, &query),
            Look::ApiLimits => api::groups::limits(&site),
            Look::ApiPlugins => api::plugins::list(&site),
        });
        let busy = || {
            Answer::error(503, "too many pages are being made, try again later").header("Retry-After", "1")
        };
        let answer = made.await.unwrap_or_else(busy);
        self.counted(handler, "get", answer)
    }

    /// The group that a path spells.
    fn key_of(&self, path: &PushPath<'_>) -> Result<GroupingKey, Refusal> {
        // The group of bare pushes has a page too, which needs a path.
        let is_bare = path.job_is_base64 && path.job == b"=" && path.rest.is_empty();
        let path = if is_bare { &PushPath::BARE } else { path };
        grouping_key(&self.gateway, path)
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

/// The group that the path of a push spells.
fn grouping_key(gateway: &Gateway, path: &PushPath<'_>) -> Result<GroupingKey, Refusal> {
    if path.is_bare() {
        return Ok(GroupingKey::bare());
    }
    let names = gateway.settings().names;
    push_path::grouping_key(path.job, path.job_is_base64, path.rest, names)
}

/// What a route takes a right to, where that does not hang on a group. Probes are for everybody who is
/// let in.
fn action_of(route: &Route<'_>) -> Option<Action> {
    match route {
        Route::Scrape
        | Route::Page
        | Route::Group(_)
        | Route::ApiStatus
        | Route::ApiMetrics
        | Route::ApiGroups
        | Route::ApiGroup(_)
        | Route::ApiRejections
        | Route::ApiLimits
        | Route::ApiPlugins => Some(Action::Scrape),
        Route::Wipe | Route::Quit | Route::Reload => Some(Action::Admin),
        Route::Push(_)
        | Route::Form(_)
        | Route::ApiValidate(_)
        | Route::Healthy
        | Route::Ready
        | Route::QuitByGet
        | Route::ApiOptions => None,
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

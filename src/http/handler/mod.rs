//! The gateway as a [`Service`]: from a routed request to its answer, one file per kind.
//!
//! Answers of the routers, refused codings, scrapes and `/-/quit` are not counted, as in the reference.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::Info;
use crate::gateway::Gateway;
use crate::http::encoding::Coding;
use crate::http::head::Head;
use crate::http::route::{Route, Routed, Router, Routes};
use crate::http::service::{BodyFault, Next, Service};
use crate::http::worker::Driver;
use crate::http::{Answer, status as code};
use crate::model::{GroupingKey, RequestFacts};

pub mod admin;
pub mod api;
pub mod delete;
pub mod probe;
pub mod push;
mod reload;
mod request;
pub mod scrape;
pub mod status;

/// Asks the server to stop; cheap, and may be called more than once.
pub type Quit = Arc<dyn Fn() + Send + Sync>;

/// Everything a request can reach.
#[derive(Clone)]
pub struct Frontend {
    pub gateway: Arc<Gateway>,
    pub routes: Arc<Routes>,
    pub info: Arc<Info>,
    pub quit: Quit,
}

/// A request that waits for the end of its body.
pub enum Waiting {
    Push(push::Push),
    Delete(GroupingKey, Option<Box<RequestFacts>>),
    Scrape(scrape::Scrape),
    Healthy,
    Ready,
    Page,
    ApiStatus,
    ApiMetrics,
    Wipe,
    Quit,
    Reload,
}

impl Service for Frontend {
    type Waiting = Waiting;

    fn started(&self, driver: Driver) {
        self.gateway.telemetry().set_driver(driver.name());
    }

    fn opened(&self) {
        self.gateway.telemetry().connection_opened();
    }

    fn closed(&self) {
        self.gateway.telemetry().connection_closed();
    }

    fn begin(&self, head: &Head<'_>) -> Next<Waiting> {
        let (method, target) = (head.method, &head.target);
        let (routed, coding) = match self.routes.router(method, target) {
            Router::Answered(answer) => return Next::Answer(answer),
            Router::Api(prefix) => {
                (self.routes.api(method, &target.path[prefix..], target), Coding::Identity)
            }
            Router::Main => match Coding::of(head.content_encoding) {
                Err(refusal) => return Next::Answer(code::refused(&refusal)),
                Ok(coding) => (self.routes.main(method, &target.path, target), coding),
            },
        };
        let route = match routed {
            Routed::Answered(answer) => return Next::Answer(answer),
            Routed::To(route) => route,
        };
        Next::Bodiless(match route {
            Route::Push(path) if method == b"DELETE" => return delete::begin(&self.gateway, head, &path),
            Route::Push(path) => return push::begin(&self.gateway, head, &path, coding),
            Route::Scrape => Waiting::Scrape(scrape::Scrape::of(head)),
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

    async fn finish(&self, waiting: Waiting, body: Bytes) -> Answer {
        match waiting {
            Waiting::Push(push) => push::finish(&self.gateway, push, body),
            Waiting::Delete(key, request) => delete::finish(&self.gateway, &key, request),
            Waiting::Scrape(scrape) => scrape::finish(&self.gateway, scrape).await,
            Waiting::Healthy => self.counted("healthy", "get", probe::ok()),
            Waiting::Ready => self.counted("ready", "get", probe::ok()),
            Waiting::Page => self.counted("status", "get", status::page(&self.gateway, &self.info)),
            Waiting::ApiStatus => {
                self.counted("api/v1/status", "get", api::status(&self.gateway, &self.info))
            }
            Waiting::ApiMetrics => self.counted("api/v1/metrics", "get", api::metrics(&self.gateway)),
            Waiting::Wipe => self.counted("wipe", "put", admin::wipe(&self.gateway)),
            Waiting::Reload => reload::finish(&self.gateway).await,
            Waiting::Quit => {
                (self.quit)();
                probe::goodbye()
            }
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
    fn counted(&self, handler: &'static str, method: &'static str, answer: Answer) -> Answer {
        self.gateway.telemetry().count_request(handler, method, answer.status);
        answer
    }
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

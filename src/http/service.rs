//! What a connection asks of whoever answers requests.
//!
//! In two steps, so that a request that needs no body, or is refused by its head, is known before the
//! body is read.

use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;

use super::client::{Client, Peer};
use super::head::{Head, HeadError};
use super::response::Answer;
use super::worker::Driver;
use crate::model::{Limit, OverLimit};

/// Answers requests; one per worker, never shared between threads.
pub trait Service {
    /// What is kept of a request while its body arrives.
    type Waiting;

    /// What is kept of a request while it is found out whether its client may ask at all.
    type Question;

    /// The worker is about to accept connections, over `driver`.
    fn started(&self, _driver: Driver) {}

    /// Several times a second, with the worker's clock.
    fn tick(&self, _now: Instant) {}

    /// A connection was accepted.
    fn opened(&self) {}

    /// A connection is over.
    fn closed(&self) {}

    /// The worker serves no more.
    fn ended(&self) {}

    /// A limit was reached by something that the service does not see.
    fn limited(&self, _limit: Limit) {}

    /// A request ended with its head, which was bad.
    fn head_refused(&self, _error: HeadError) {}

    /// Decides whether the client at `peer` may ask at all; before anything else.
    fn admit(&self, _head: &Head<'_>, peer: &Peer) -> Admission<Self::Question> {
        Admission::Granted(Client::of(peer))
    }

    /// Finds out what [`Admission::Ask`] left open.
    ///
    /// # Errors
    ///
    /// The answer to who may not ask.
    fn ask(&self, question: Self::Question) -> impl Future<Output = Result<Client, Answer>>;

    /// Adds what all answers have in common, save those of [`Service::admit`] and [`Service::ask`].
    fn dress(&self, answer: Answer) -> Answer {
        answer
    }

    /// Looks at a head.
    fn begin(&self, head: &Head<'_>, client: &Client) -> Next<Self::Waiting>;

    /// Answers a request whose body is whole (empty after [`Next::Bodiless`]).
    fn finish(&self, waiting: Self::Waiting, body: Bytes) -> Finish<'_>;

    /// Words the answer to a request whose body never came to be whole.
    fn broken(&self, waiting: Self::Waiting, fault: BodyFault) -> Answer;
}

/// Whether a client may ask.
pub enum Admission<Q> {
    Granted(Client),
    Refused(Answer),
    /// It takes a while to find out.
    Ask(Q),
}

/// What a head leads to.
pub enum Next<W> {
    /// The head decided it; a body is read past.
    Answer(Answer),
    /// Read the body, then finish.
    Body(W),
    /// Read past the body, then finish without it.
    Bodiless(W),
}

/// The answer to a request that is whole.
pub enum Finish<'s> {
    /// Nothing had to be waited for: the usual push.
    Now(Answer),
    /// In a box: a connection that waits for its next request does not carry the room for this.
    Later(Pin<Box<dyn Future<Output = Answer> + 's>>),
}

impl Finish<'_> {
    pub async fn answer(self) -> Answer {
        match self {
            Finish::Now(answer) => answer,
            Finish::Later(answer) => answer.await,
        }
    }
}

/// Why a body is not there. The connection ends after each of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Longer than the limit, in bytes.
    TooLarge(usize),
    /// Not what its framing says; the text says why.
    Malformed(&'static str),
    /// The client stopped sending for good.
    EndedEarly,
    /// It took longer than the deadline.
    TimedOut,
}

impl BodyFault {
    /// The plain answer, for a service that has nothing to add.
    pub fn answer(self) -> Answer {
        match self {
            BodyFault::TooLarge(max) => {
                let text = format!("request body is longer than the limit of {max} bytes");
                Answer::error(413, &OverLimit::new(Limit::BodyBytes, text).to_string())
            }
            BodyFault::Malformed(why) => Answer::error(400, why),
            BodyFault::EndedEarly => Answer::error(400, "body ended early"),
            BodyFault::TimedOut => {
                let over = OverLimit::new(Limit::BodyDeadline, "body did not arrive in time");
                Answer::error(408, &over.to_string())
            }
        }
    }

    /// The limit that was reached, if one was.
    pub fn limit(self) -> Option<Limit> {
        match self {
            BodyFault::TooLarge(_) => Some(Limit::BodyBytes),
            BodyFault::TimedOut => Some(Limit::BodyDeadline),
            BodyFault::Malformed(_) | BodyFault::EndedEarly => None,
        }
    }
}

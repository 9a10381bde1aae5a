//! One connection: requests in, answers out, in order.
//!
//! Everything that is already in the buffer is answered before anything is written, and nothing is read
//! before it is written. A request with broken framing is the connection's last; a refused one is not.

use bytes::Bytes;
use monoio::io::{AsyncReadRent, AsyncWriteRent};

use crate::limits::ANSWER_BATCH_BYTES;

use super::client::{Client, Peer};
use super::config::HttpConfig;
use super::head::{BodyLength, Expect, Framing, Head};
use super::input::{NoBody, NoHead, Wire};
use super::response::Answer;
use super::service::{Admission, BodyFault, Next, Service};
use super::watch::{Slot, Watch};

/// How a connection goes on after a request.
enum After {
    NextRequest,
    Close,
    /// Close, but unread bytes may be under way.
    Linger,
    /// The client is gone: nothing can be written.
    Gone,
}

/// What is known of a request once its head was looked at.
enum Begun<H: Service> {
    Next(Next<H::Waiting>),
    /// Before anything else: may the client ask at all?
    Ask(H::Question),
}

/// Serves a connection from `peer` until it ends.
pub async fn serve<S, H>(stream: S, peer: &Peer, slot: &Slot, watch: &Watch, config: &HttpConfig, service: &H)
where
    S: AsyncReadRent + AsyncWriteRent,
    H: Service,
{
    let mut wire = Wire::new(stream, slot, watch, config);
    let after = loop {
        match request(&mut wire, peer, service).await {
            After::NextRequest => {}
            after => break after,
        }
    };
    if matches!(after, After::Gone) || wire.flush().await.is_err() {
        return;
    }
    if matches!(after, After::Linger) || wire.has_input() {
        wire.linger().await;
    }
}

/// Answers a connection whose requests nobody will read.
pub async fn refuse<S>(stream: S, answer: Answer, slot: &Slot, watch: &Watch, config: &HttpConfig)
where
    S: AsyncReadRent + AsyncWriteRent,
{
    let mut wire = Wire::new(stream, slot, watch, config);
    let framing = Framing {
        http10: false,
        keep_alive: false,
        is_head: false,
        body: BodyLength::Known(0),
        expect: Expect::Nothing,
    };
    last_reply(&mut wire, answer, &framing);
    if wire.flush().await.is_ok() {
        wire.linger().await;
    }
}

async fn request<S, H>(wire: &mut Wire<'_, S>, peer: &Peer, service: &H) -> After
where
    S: AsyncReadRent + AsyncWriteRent,
    H: Service,
{
    let head = match wire.head().await {
        Ok(head) => head,
        Err(NoHead::Over) => return After::Gone,
        Err(NoHead::Bad(error)) => {
            service.head_refused(error);
            wire.out.push_head_error(error, wire.config);
            return After::Linger;
        }
    };
    wire.slot.work();
    let begun = Head::parse(&head, |head| {
        let begun = match head.framing.expect {
            Expect::Unknown => Begun::Next(Next::Answer(Answer::empty(417).closing())),
            _ => match service.admit(head, peer) {
                Admission::Granted(client) => Begun::Next(begin(service, head, &client)),
                Admission::Refused(answer) => Begun::Next(Next::Answer(answer)),
                Admission::Ask(question) => Begun::<H>::Ask(question),
            },
        };
        (head.framing, begun)
    });
    let next = match begun {
        Ok((framing, Begun::Next(next))) => Ok((framing, next)),
        Ok((framing, Begun::Ask(question))) => match Box::pin(service.ask(question)).await {
            Ok(client) => Head::parse(&head, |head| (head.framing, begin(service, head, &client))),
            Err(answer) => Ok((framing, Next::Answer(answer))),
        },
        Err(error) => Err(error),
    };
    drop(head);
    let (framing, next) = match next {
        Ok(begun) => begun,
        Err(error) => {
            service.head_refused(error);
            wire.out.push_head_error(error, wire.config);
            return After::Linger;
        }
    };
    match next {
        Next::Answer(answer) => match read_past(wire, &framing).await {
            Ok(true) => reply(wire, answer, &framing).await,
            Ok(false) => last_reply(wire, answer, &framing),
            Err(NoBody::Fault(fault)) => {
                limited(service, fault);
                last_reply(wire, service.dress(fault.answer()), &framing)
            }
            Err(NoBody::Over) => After::Gone,
        },
        Next::Bodiless(waiting) => match read_past(wire, &framing).await {
            Ok(whole) => {
                wire.slot.work();
                let answer = service.dress(service.finish(waiting, Bytes::new()).await);
                if whole { reply(wire, answer, &framing).await } else { last_reply(wire, answer, &framing) }
            }
            Err(NoBody::Fault(fault)) => {
                limited(service, fault);
                last_reply(wire, service.dress(service.broken(waiting, fault)), &framing)
            }
            Err(NoBody::Over) => After::Gone,
        },
        Next::Body(waiting) => {
            let ask_first = framing.expect == Expect::Continue && !framing.http10;
            match wire.body(framing.body, ask_first).await {
                Ok(body) => {
                    wire.slot.work();
                    let answer = service.dress(service.finish(waiting, body).await);
                    reply(wire, answer, &framing).await
                }
                Err(NoBody::Fault(fault)) => {
                    limited(service, fault);
                    last_reply(wire, service.dress(service.broken(waiting, fault)), &framing)
                }
                Err(NoBody::Over) => {
                    service.broken(waiting, BodyFault::EndedEarly);
                    After::Gone
                }
            }
        }
    }
}

fn limited<H: Service>(service: &H, fault: BodyFault) {
    if let Some(limit) = fault.limit() {
        service.limited(limit);
    }
}

fn begin<H: Service>(service: &H, head: &Head<'_>, client: &Client) -> Next<H::Waiting> {
    match service.begin(head, client) {
        Next::Answer(answer) => Next::Answer(service.dress(answer)),
        next => next,
    }
}

/// Reads past a body; false if it is not read to its end, so that the connection must end. A client
/// that waits to be asked for its body is not asked.
async fn read_past<S>(wire: &mut Wire<'_, S>, framing: &Framing) -> Result<bool, NoBody>
where
    S: AsyncReadRent + AsyncWriteRent,
{
    if framing.body == BodyLength::Known(0) {
        return Ok(true);
    }
    if framing.expect != Expect::Nothing {
        return Ok(false);
    }
    wire.discard(framing.body).await
}

async fn reply<S>(wire: &mut Wire<'_, S>, answer: Answer, framing: &Framing) -> After
where
    S: AsyncReadRent + AsyncWriteRent,
{
    let close = answer.close || !framing.keep_alive || wire.watch.is_stopping();
    wire.out.push(answer, framing, close, &wire.watch.date());
    if close {
        After::Close
    } else if wire.out.len() >= ANSWER_BATCH_BYTES && wire.flush().await.is_err() {
        After::Gone
    } else {
        After::NextRequest
    }
}

fn last_reply<S>(wire: &mut Wire<'_, S>, answer: Answer, framing: &Framing) -> After {
    wire.out.push(answer, framing, true, &wire.watch.date());
    After::Linger
}

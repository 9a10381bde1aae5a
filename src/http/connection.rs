//! One connection: requests in, answers out, in order.
//!
//! Everything that is already in the buffer is answered before anything is written, and nothing is read
//! before it is written. A request with broken framing is the connection's last; a refused one is not.

use std::pin::Pin;

use bytes::Bytes;
use monoio::io::{AsyncReadRent, AsyncWriteRent};

use crate::limits::ANSWER_BATCH_BYTES;

use super::client::{Client, Peer};
use super::config::HttpConfig;
use super::head::{BodyLength, Expect, Framing, Head, HeadError};
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
            // Answers of pipelined requests do not pile up.
            After::NextRequest if wire.out.len() >= ANSWER_BATCH_BYTES => {
                if wire.flush().await.is_err() {
                    return;
                }
            }
            After::NextRequest => {}
            after => break after,
        }
    };
    if matches!(after, After::Gone) || wire.flush().await.is_err() {
        return;
    }
    if matches!(after, After::Linger) || wire.has_input() {
        Box::pin(wire.linger()).await;
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
        Box::pin(wire.linger()).await;
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
    go_on(wire, head, begun, service).await
}

/// Goes on with a request whose head was looked at. Not an `async fn`, which would keep its arguments twice:
/// each connection carries the room for this.
#[expect(clippy::manual_async_fn)]
fn go_on<S, H>(
    wire: &mut Wire<'_, S>,
    head: Bytes,
    begun: Result<(Framing, Begun<H>), HeadError>,
    service: &H,
) -> impl Future<Output = After>
where
    S: AsyncReadRent + AsyncWriteRent,
    H: Service,
{
    async move {
        let (framing, waiting) = match begun {
            Ok((framing, Begun::Next(Next::Body(waiting)))) => (framing, waiting),
            Ok((framing, Begun::Next(Next::Bodiless(waiting)))) => {
                return Box::pin(answer_bodiless(wire, framing, waiting, service)).await;
            }
            Ok((framing, Begun::Next(Next::Answer(answer)))) => {
                return Box::pin(answer_head(wire, framing, answer, service)).await;
            }
            Ok((framing, Begun::Ask(question))) => {
                return Box::pin(ask(wire, head, framing, question, service)).await;
            }
            Err(error) => {
                service.head_refused(error);
                wire.out.push_head_error(error, wire.config);
                return After::Linger;
            }
        };
        drop(head);
        let ask_first = framing.expect == Expect::Continue && !framing.http10;
        match wire.body(framing.body, ask_first).await {
            Ok(body) => {
                wire.slot.work();
                let answer = service.finish(waiting, body).answer().await;
                reply(wire, service.dress(answer), &framing)
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

/// Finds out whether the client may ask, and goes on.
async fn ask<S, H>(
    wire: &mut Wire<'_, S>,
    head: Bytes,
    framing: Framing,
    question: H::Question,
    service: &H,
) -> After
where
    S: AsyncReadRent + AsyncWriteRent,
    H: Service,
{
    let begun = match service.ask(question).await {
        Ok(client) => {
            Head::parse(&head, |head| (head.framing, Begun::<H>::Next(begin(service, head, &client))))
        }
        Err(answer) => Ok((framing, Begun::Next(Next::Answer(answer)))),
    };
    let gone_on: Pin<Box<dyn Future<Output = After> + '_>> = Box::pin(go_on(wire, head, begun, service));
    gone_on.await
}

/// Answers a request that its head decided.
async fn answer_head<S, H>(wire: &mut Wire<'_, S>, framing: Framing, answer: Answer, service: &H) -> After
where
    S: AsyncReadRent + AsyncWriteRent,
    H: Service,
{
    match read_past(wire, &framing).await {
        Ok(true) => reply(wire, answer, &framing),
        Ok(false) => last_reply(wire, answer, &framing),
        Err(NoBody::Fault(fault)) => {
            limited(service, fault);
            last_reply(wire, service.dress(fault.answer()), &framing)
        }
        Err(NoBody::Over) => After::Gone,
    }
}

/// Answers a request for which its body does not matter.
async fn answer_bodiless<S, H>(
    wire: &mut Wire<'_, S>,
    framing: Framing,
    waiting: H::Waiting,
    service: &H,
) -> After
where
    S: AsyncReadRent + AsyncWriteRent,
    H: Service,
{
    match read_past(wire, &framing).await {
        Ok(whole) => {
            wire.slot.work();
            let answer = service.dress(service.finish(waiting, Bytes::new()).answer().await);
            if whole { reply(wire, answer, &framing) } else { last_reply(wire, answer, &framing) }
        }
        Err(NoBody::Fault(fault)) => {
            limited(service, fault);
            last_reply(wire, service.dress(service.broken(waiting, fault)), &framing)
        }
        Err(NoBody::Over) => After::Gone,
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

fn reply<S>(wire: &mut Wire<'_, S>, answer: Answer, framing: &Framing) -> After {
    let close = answer.close || !framing.keep_alive || wire.watch.is_stopping();
    wire.out.push(answer, framing, close, &wire.watch.date());
    if close { After::Close } else { After::NextRequest }
}

fn last_reply<S>(wire: &mut Wire<'_, S>, answer: Answer, framing: &Framing) -> After {
    wire.out.push(answer, framing, true, &wire.watch.date());
    After::Linger
}

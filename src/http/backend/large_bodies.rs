//! The thread that parses large bodies: a megabyte of JSON takes tens of milliseconds, in which the handlers'
//! one thread would answer no other request, health and metrics included.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use net::stop::Stop;
use net::sync::Worker;

use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::responder::{RequestToken, Responder, ResponseQueue};
use crate::http::response::{ErrorResponse, Response};
use crate::ids::RequestId;

/// A body up to this size is parsed by the handlers' thread, in a millisecond: that is less than handing it
/// over takes.
const SMALL_BYTES: usize = 64 * 1024;

/// The most bodies that wait. The server's budget for bodies bounds their bytes.
const MAX_WAITING: usize = 1_024;

const TOO_LATE: ErrorResponse =
    ErrorResponse::new(503, "overloaded", "Too many large bodies came before this one; nothing was stored.");

/// Whether a body of so many bytes is handled by the worker.
pub(super) fn is_large(bytes: usize) -> bool {
    bytes > SMALL_BYTES
}

struct LargeBody {
    token: RequestToken,
    request: RequestId,
    deadline: Instant,
    handler: Box<dyn FnOnce(Responder) -> Reply + Send>,
}

/// The thread, and the queue of the bodies that wait for it. The thread has ended when this is dropped.
pub(super) struct LargeBodyWorker {
    queue: Option<SyncSender<LargeBody>>,
    thread: Worker,
}

impl LargeBodyWorker {
    /// Starts the thread, which answers through `responses`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(responses: &Arc<ResponseQueue>) -> Result<LargeBodyWorker> {
        let (queue, received) = sync_channel(MAX_WAITING);
        let responses = Arc::clone(responses);
        let thread = Worker::start("http-bodies", move |stop| serve(&received, &responses, stop))
            .map_err(|error| Error::new("the thread for large bodies cannot start").caused_by(error))?;
        Ok(LargeBodyWorker { queue: Some(queue), thread })
    }

    /// Has `handler` run with a responder of the request, and sends an immediate reply; at `deadline` it is
    /// not begun any more.
    ///
    /// # Errors
    /// 503: too many bodies wait.
    pub(super) fn submit(
        &self,
        (token, request): (RequestToken, RequestId),
        deadline: Instant,
        handler: impl FnOnce(Responder) -> Reply + Send + 'static,
    ) -> Result<(), Response> {
        let body = LargeBody { token, request, deadline, handler: Box::new(handler) };
        let taken = self.queue.as_ref().is_some_and(|queue| queue.try_send(body).is_ok());
        taken.then_some(()).ok_or_else(|| {
            Response::error(503, "overloaded", "Too many large bodies are under way; nothing was stored.")
        })
    }
}

impl Drop for LargeBodyWorker {
    fn drop(&mut self) {
        self.thread.stop().ask();
        self.queue = None; // wakes the thread
    }
}

/// Handles bodies until the queue is dropped. At a stop the server has already answered the requests that
/// still wait.
fn serve(queue: &Receiver<LargeBody>, responses: &Arc<ResponseQueue>, stop: &Stop) {
    for LargeBody { token, request, deadline, handler } in queue {
        if stop.is_asked() {
            return;
        }
        let handler = || handler(Responder::new(responses, token, request.clone()));
        let in_time = Instant::now() < deadline;
        let reply = if in_time { Reply::of(handler) } else { Reply::Immediate(TOO_LATE.response()) };
        if let Reply::Immediate(response) = reply {
            Responder::new(responses, token, request).respond(response); // the handler has not used its own
        }
        log::logger().flush();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::responder::{ResponseEvent, response_queue};

    #[test]
    fn an_immediate_reply_is_sent_and_a_panic_does_not_end_the_thread() {
        let (responses, mut poll) = response_queue(mio::Token(0)).unwrap();
        let worker = LargeBodyWorker::start(&responses).unwrap();
        let submit = |sequence, seconds, work: fn(Responder) -> Reply| {
            let deadline = Instant::now() + Duration::from_secs(seconds);
            let request = (RequestToken { connection: 0, sequence }, RequestId::default());
            worker.submit(request, deadline, work).unwrap();
        };
        submit(0, 60, |_| panic!("on purpose"));
        submit(1, 60, |_| Reply::Immediate(Response::json(422, Vec::new())));
        submit(2, 0, |_| panic!("it is too late"));
        submit(3, 60, |responder| {
            responder.respond(Response::json(200, Vec::new()));
            Reply::Deferred
        });
        let (mut statuses, mut events) = (Vec::new(), Vec::new());
        while statuses.len() < 4 {
            if responses.fall_asleep() {
                poll.poll(&mut mio::Events::with_capacity(8), None).unwrap();
            }
            responses.collect(&mut events);
            statuses.extend(events.drain(..).map(|(token, events)| match events {
                ResponseEvent::Response(response) => (token.sequence, response.status),
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(statuses, [(0, 500), (1, 422), (2, 503), (3, 200)]);
    }
}

//! Responders: how a response that is not known yet finds its client.
//!
//! The handlers sit behind one connection on which responses leave in the order of the requests, so a handler
//! that waited for the cluster would hold up all requests behind it. Instead it answers at once with
//! [`DEFERRED_STATUS`], and the server keeps the client waiting until the request's [`Responder`] is used, by
//! the thread that learns the result. A responder can also open a [`ResponseStream`]: a response without an
//! end of its own.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use net::sync::{Mutex, lock};

use super::response::Response;
use crate::ids::RequestId;

/// The status by which a handler tells the server, and never a client, that a responder will answer.
pub(crate) const DEFERRED_STATUS: u16 = 299;

/// Names one request of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RequestToken {
    /// The index of the connection.
    pub(crate) connection: usize,
    /// The number of the request at that index; a response to an earlier one is dropped.
    pub(crate) sequence: u32,
}

impl std::fmt::Display for RequestToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.connection, self.sequence)
    }
}

impl std::str::FromStr for RequestToken {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<RequestToken, Self::Err> {
        let (connection, sequence) = text.split_once('.').unwrap_or((text, ""));
        Ok(RequestToken { connection: connection.parse()?, sequence: sequence.parse()? })
    }
}

/// A message of a responder to the server's thread.
#[derive(Debug)]
pub(crate) enum ResponseEvent {
    /// The whole response.
    Response(Response),
    /// The head of a streamed response.
    StreamStart(StreamHead),
    /// More of a streamed response.
    StreamData(Arc<[u8]>),
    /// The end of a streamed response.
    StreamEnd,
}

/// The head of a streamed response.
#[derive(Debug)]
pub(crate) struct StreamHead {
    /// Whole header lines, each with its CRLF.
    pub(crate) headers: Cow<'static, str>,
    /// Kept by the server as long as the client is connected.
    pub(crate) alive: Arc<()>,
}

/// The events that other threads leave for the server's thread, and its stop.
pub(crate) struct ResponseQueue {
    state: Mutex<QueueState>,
    waker: mio::Waker,
    /// The requests under way whose clients have left: index and sequence.
    left: Mutex<HashSet<(usize, u32)>>,
    /// How many they are: mostly none, which costs no lock.
    left_count: AtomicUsize,
}

#[derive(Default)]
struct QueueState {
    events: Vec<(RequestToken, ResponseEvent)>,
    stop_at: Option<Instant>,
    /// There is something that the server has not collected.
    has_news: bool,
    server_sleeps: bool,
}

impl ResponseQueue {
    /// An empty queue that wakes its server through `waker`.
    pub(crate) fn new(waker: mio::Waker) -> ResponseQueue {
        ResponseQueue {
            state: Mutex::default(),
            waker,
            left: Mutex::default(),
            left_count: AtomicUsize::new(0),
        }
    }

    /// For the server: the client of a request has closed its connection, or its half of it.
    pub(crate) fn client_left(&self, token: RequestToken) {
        let mut left = lock(&self.left);
        left.insert((token.connection, token.sequence));
        self.left_count.store(left.len(), Ordering::Release);
    }

    /// The request is over.
    pub(crate) fn forget_client(&self, token: RequestToken) {
        if self.left_count.load(Ordering::Acquire) > 0 {
            let mut left = lock(&self.left);
            left.remove(&(token.connection, token.sequence));
            self.left_count.store(left.len(), Ordering::Release);
        }
    }

    fn has_left(&self, token: RequestToken) -> bool {
        self.left_count.load(Ordering::Acquire) > 0
            && lock(&self.left).contains(&(token.connection, token.sequence))
    }

    /// Changes the contents, and wakes the server if it sleeps: once for a burst.
    fn change(&self, change: impl FnOnce(&mut QueueState)) {
        let mut state = lock(&self.state);
        change(&mut state);
        state.has_news = true;
        let wake = std::mem::take(&mut state.server_sleeps);
        drop(state);
        if wake && let Err(error) = self.waker.wake() {
            log::error!("the HTTP server's thread cannot be woken: {error}");
        }
    }

    fn push(&self, token: RequestToken, event: ResponseEvent) {
        self.change(|state| state.events.push((token, event)));
    }

    /// Wakes the server: there is something for it elsewhere.
    pub(crate) fn wake(&self) {
        self.change(|_| {});
    }

    /// Asks the server to finish its open requests until `deadline`, and to end then.
    pub(crate) fn stop(&self, deadline: Instant) {
        self.change(|state| state.stop_at = Some(deadline));
    }

    /// For the server, before it sleeps: whether there is nothing to do. From then on it is woken.
    pub(crate) fn fall_asleep(&self) -> bool {
        let mut state = lock(&self.state);
        state.server_sleeps = !state.has_news;
        state.server_sleeps
    }

    /// For the server: moves all events to `events`, which must be empty, and returns the deadline of the
    /// stop, if there is one.
    pub(crate) fn collect(&self, events: &mut Vec<(RequestToken, ResponseEvent)>) -> Option<Instant> {
        let mut state = lock(&self.state);
        state.server_sleeps = false;
        state.has_news = false;
        std::mem::swap(&mut state.events, events);
        state.stop_at
    }
}

/// The right to answer one request later, once.
pub(crate) struct Responder {
    responses: Arc<ResponseQueue>,
    token: RequestToken,
    request: RequestId,
}

impl Responder {
    /// The responder of a request with this id.
    pub(crate) fn new(responses: &Arc<ResponseQueue>, token: RequestToken, request: RequestId) -> Responder {
        Responder { responses: Arc::clone(responses), token, request }
    }

    /// The id of the request.
    pub(crate) fn request(&self) -> RequestId {
        self.request.clone()
    }

    /// Whether the client has closed its connection, or its half of it: who does that hardly reads the
    /// response.
    pub(crate) fn client_has_left(&self) -> bool {
        self.responses.has_left(self.token)
    }

    /// Sends the response. If the client has left meanwhile, the response is dropped.
    pub(crate) fn respond(self, response: Response) {
        self.responses.push(self.token, ResponseEvent::Response(response));
    }

    /// Begins a streamed response of status 200. `headers` are whole lines.
    pub(crate) fn open_stream(self, headers: impl Into<Cow<'static, str>>) -> ResponseStream {
        let (alive, headers) = (Arc::new(()), headers.into());
        let client = Arc::downgrade(&alive);
        self.responses.push(self.token, ResponseEvent::StreamStart(StreamHead { headers, alive }));
        ResponseStream { responses: Arc::clone(&self.responses), token: self.token, client }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.responses.forget_client(self.token);
    }
}

/// A streamed response. It ends when this is dropped.
pub(crate) struct ResponseStream {
    responses: Arc<ResponseQueue>,
    token: RequestToken,
    /// Alive as long as the client is connected.
    client: Weak<()>,
}

impl ResponseStream {
    /// Sends more, without waiting. The server drops a client that reads too slowly.
    pub(crate) fn push(&self, bytes: Arc<[u8]>) {
        self.responses.push(self.token, ResponseEvent::StreamData(bytes));
    }

    /// Whether the client has left, or was dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.strong_count() == 0
    }
}

impl Drop for ResponseStream {
    fn drop(&mut self) {
        if !self.is_closed() {
            self.responses.push(self.token, ResponseEvent::StreamEnd);
        }
    }
}

/// A queue, and the poll of the server that it wakes.
///
/// # Errors
/// The system gives no descriptors for it.
pub(crate) fn response_queue(token: mio::Token) -> io::Result<(Arc<ResponseQueue>, mio::Poll)> {
    let poll = mio::Poll::new()?;
    let waker = mio::Waker::new(poll.registry(), token)?;
    Ok((Arc::new(ResponseQueue::new(waker)), poll))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn responder(responses: &Arc<ResponseQueue>, token: RequestToken) -> Responder {
        Responder::new(responses, token, RequestId::default())
    }

    #[test]
    fn a_burst_wakes_the_server_once_and_loses_nothing() {
        let (responses, mut poll) = response_queue(mio::Token(0)).unwrap();
        assert!(responses.fall_asleep());
        for sequence in 0..3 {
            responder(&responses, RequestToken { connection: 1, sequence })
                .respond(Response::json(200, Vec::new()));
        }
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert_eq!(events.iter().count(), 1);
        assert!(!responses.fall_asleep(), "with events in it, the server does not sleep");
        let mut events = Vec::new();
        assert_eq!(responses.collect(&mut events), None);
        let sequences: Vec<u32> = events.iter().map(|(token, _)| token.sequence).collect();
        assert_eq!(sequences, [0, 1, 2]);
    }

    #[test]
    fn a_stop_before_sleep_is_noticed() {
        let (responses, _poll) = response_queue(mio::Token(0)).unwrap();
        let deadline = Instant::now();
        responses.stop(deadline);
        assert!(!responses.fall_asleep());
        assert_eq!(responses.collect(&mut Vec::new()), Some(deadline));
        assert!(responses.fall_asleep());
    }

    #[test]
    fn a_client_that_leaves_is_known_until_its_request_is_over() {
        let (responses, _poll) = response_queue(mio::Token(0)).unwrap();
        let token = |sequence| RequestToken { connection: 1, sequence };
        let (first, second) = (responder(&responses, token(1)), responder(&responses, token(2)));
        responses.client_left(token(1));
        assert_eq!((first.client_has_left(), second.client_has_left()), (true, false));
        first.respond(Response::json(200, Vec::new()));
        assert_eq!(responses.left_count.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_stream_is_closed_when_its_client_has_left() {
        let (responses, _poll) = response_queue(mio::Token(0)).unwrap();
        let stream = responder(&responses, RequestToken { connection: 1, sequence: 1 }).open_stream("");
        let mut events = Vec::new();
        responses.collect(&mut events);
        assert!(!stream.is_closed());
        events.clear();
        assert!(stream.is_closed());
        drop(stream);
        responses.collect(&mut events);
        assert!(events.is_empty(), "no client is left for its end: {events:?}");
    }

    #[test]
    fn a_token_survives_its_way_through_a_header() {
        let token = RequestToken { connection: 17, sequence: u32::MAX };
        assert_eq!(token.to_string().parse(), Ok(token));
        for text in ["", "1", "1.", ".1", "a.b", "1.2.3"] {
            assert!(text.parse::<RequestToken>().is_err(), "{text:?}");
        }
    }
}

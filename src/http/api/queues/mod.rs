//! Messages out of the queues: workers receive them with leases, and say what became of them.
//!
//! [`route`] has the paths; [`bodies`] reads bodies. Nothing here waits: a `receive` that waits
//! for messages is answered through its responder.

mod bodies;
mod route;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::metadata_cache::{Metadata, MetadataCache, MetadataRequest};
use super::query::Parameters;
use crate::http::queues::{
    Ask, Caller, ChangeRequest, QueueName, QueueRefusal, Queues, ReceiptOutcome, WaitingWorker,
};
use crate::http::reply::Reply;
use crate::http::responder::Responder;
use crate::http::response::{ErrorResponse, Response};
use bodies::{body_of_change, empty_body, group_of};
pub(crate) use route::{QueueAction, QueueRoute};

/// The longest wait of a `receive`.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait for the metadata of a topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// The most messages of a `receive`, and the most receipts of a request.
const MOST: u64 = 1_000;
/// The shortest lease, and the one where none is asked for, in ms.
const SHORTEST_LEASE: u64 = 1_000;
const USUAL_LEASE: u64 = 30_000;

const NO_TOPIC: ErrorResponse = ErrorResponse::new(404, "topic_not_found", "There is no such topic.");
const INTERNAL_TOPIC: ErrorResponse =
    ErrorResponse::new(403, "internal_topic", "This topic is Kafka's own; its messages are not handed out.");
const NO_CLUSTER: ErrorResponse =
    ErrorResponse::new(503, "cluster_unavailable", "No broker has told whether there is such a topic.");
const TOO_MANY_QUEUES: ErrorResponse = ErrorResponse::new(
    503,
    "too_many_queues",
    "As many queues are open as `queue.max_queues` lets; one that nobody receives from is closed after `queue.idle_ms`.",
);
const TOO_MANY_LEASES: ErrorResponse = ErrorResponse::new(
    503,
    "too_many_leases",
    "As many messages are handed out as `queue.max_leases` lets; acknowledge some, or give them back.",
);
const CLOSING: ErrorResponse = ErrorResponse::new(503, "closing", "The server stops.");

/// The wait that the query of a `receive` asks for; none where it is wrong, which its handler says.
pub(crate) fn asked_wait(query: &str) -> Duration {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("wait_ms="));
    asked.and_then(|ms| ms.parse().ok()).map_or(Duration::ZERO, Duration::from_millis).min(LONGEST_WAIT)
}

/// A request to a queue, as far as its head tells it.
pub(crate) struct QueueRequest {
    topic: String,
    action: QueueAction,
    parameters: Parameters,
    caller: Caller,
}

/// The handlers of the queues.
pub(crate) struct QueueApi {
    /// The queues.
    pub(crate) queues: Arc<dyn Queues>,
    /// Tells whether topics exist.
    pub(crate) metadata: Arc<MetadataCache>,
    /// The channel's topic.
    pub(crate) topic: String,
    /// The group where a request names none.
    pub(crate) group: String,
    /// The longest lease.
    pub(crate) longest_lease: Duration,
    /// The time from a whole request to its response.
    pub(crate) answer_timeout: Duration,
}

impl QueueApi {
    /// The request of `caller` to `route` with this query.
    ///
    /// # Errors
    /// The response to a request whose head is wrong.
    pub(crate) fn request(
        &self,
        route: QueueRoute<'_>,
        query: &str,
        caller: Caller,
    ) -> Result<QueueRequest, Response> {
        let topic = route.topic().transpose()?.unwrap_or_else(|| self.topic.clone());
        let action = route.action();
        let parameters = Parameters::read(query, action.parameters())?;
        Ok(QueueRequest { topic, action, parameters, caller })
    }

    /// What the queue of a `GET` holds.
    pub(crate) fn get(&self, route: QueueRoute<'_>, query: &str, responder: Responder) -> Reply {
        let request = self.request(route, query, Caller::default());
        Reply::deferred(request.and_then(|request| self.state(request, responder)))
    }

    /// Takes the body of a request.
    pub(crate) fn post(&self, request: QueueRequest, body: &[u8], responder: Responder) -> Reply {
        let taken = match request.action {
            QueueAction::Receive => empty_body(body).and_then(|()| self.receive(request, responder)),
            _ => self.change(request, body, responder),
        };
        Reply::deferred(taken)
    }

    fn queue(&self, request: &QueueRequest) -> Result<QueueName, Response> {
        let group = group_of(&request.parameters)?.unwrap_or_else(|| self.group.clone());
        Ok(QueueName { topic: request.topic.clone(), group })
    }

    fn receive(&self, request: QueueRequest, responder: Responder) -> Result<(), Response> {
        let (queue, parameters) = (self.queue(&request)?, &request.parameters);
        let ms = |name, range, usual| {
            parameters.number(name, range).map(|ms| Duration::from_millis(ms.unwrap_or(usual)))
        };
        let ask = Ask {
            max: parameters.number("max", 1..=MOST)?.unwrap_or(1).try_into().unwrap_or(usize::MAX),
            wait: ms("wait_ms", 0..=LONGEST_WAIT.as_millis() as u64, 0)?,
            lease: ms(
                "lease_ms",
                SHORTEST_LEASE..=self.longest_lease(),
                USUAL_LEASE.min(self.longest_lease()),
            )?,
        };
        let (queues, is_open) = (self.queues.clone(), self.queues.is_open(&queue));
        let receive = move |responder: Responder| {
            queues.receive(&queue, ask, Box::new(Waiting(responder)));
        };
        if is_open {
            receive(responder);
            return Ok(());
        }
        self.if_there_is(request.topic, responder, receive)
    }

    fn longest_lease(&self) -> u64 {
        u64::try_from(self.longest_lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// Goes on with the responder if there is such a topic, and it is not Kafka's own; else it is answered.
    fn if_there_is(
        &self,
        topic: String,
        responder: Responder,
        then: impl FnOnce(Responder) + Send + 'static,
    ) -> Result<(), Response> {
        let deadline = Instant::now() + METADATA_TIMEOUT.min(self.answer_timeout / 2);
        let callback = Box::new(move |result| match result {
            Ok(Metadata::Topic(Some(topic))) if topic.internal => {
                responder.respond(INTERNAL_TOPIC.response())
            }
            Ok(Metadata::Topic(Some(_))) => then(responder),
            Ok(_) => responder.respond(NO_TOPIC.response()),
            Err(_) => responder.respond(NO_CLUSTER.response()),
        });
        let asked = self.metadata.get(MetadataRequest::Topic(topic), 0, deadline, callback);
        asked.map_err(|_| NO_CLUSTER.response())
    }

    fn change(&self, request: QueueRequest, body: &[u8], responder: Responder) -> Result<(), Response> {
        let group = group_of(&request.parameters)?;
        let (receipts, change) = body_of_change(request.action, body, SHORTEST_LEASE..=self.longest_lease())?;
        let told = receipts.clone();
        let reply =
            Box::new(move |outcomes: Vec<ReceiptOutcome>| responder.respond(results(&told, &outcomes)));
        let QueueRequest { topic, caller, .. } = request;
        self.queues.change(ChangeRequest { topic, group, receipts, change, caller }, reply);
        Ok(())
    }

    fn state(&self, request: QueueRequest, responder: Responder) -> Result<(), Response> {
        let queue = self.queue(&request)?;
        let queues = self.queues.clone();
        self.if_there_is(request.topic, responder, move |responder| {
            let counts = queues.counts(&queue);
            let is_open = counts.is_some();
            let counts = counts.unwrap_or_default();
            let state = json!({
                "topic": queue.topic, "group": queue.group, "receiving": is_open,
                "open": counts.open, "leased": counts.leased, "waiting": counts.waiting,
                "oldest_seconds": counts.oldest_seconds, "obstacle": counts.obstacle,
            });
            responder.respond(Response::json(200, state.to_string().into_bytes()));
        })
    }
}

/// The response with messages.
/// A request that waits for messages.
struct Waiting(Responder);

impl WaitingWorker for Waiting {
    fn has_left(&self) -> bool {
        self.0.client_has_left()
    }

    fn answer(self: Box<Self>, received: Result<Vec<Vec<u8>>, QueueRefusal>) -> bool {
        let is_there = !self.0.client_has_left();
        // One that has closed its half alone is told the truth, too: it has none.
        self.0.respond(messages(if is_there { received } else { Ok(Vec::new()) }));
        is_there
    }
}

fn messages(received: Result<Vec<Vec<u8>>, QueueRefusal>) -> Response {
    let messages = match received {
        Ok(messages) => messages,
        Err(QueueRefusal::TooManyQueues) => return TOO_MANY_QUEUES.response(),
        Err(QueueRefusal::TooManyLeases) => return TOO_MANY_LEASES.response(),
        Err(QueueRefusal::Closing) => return CLOSING.response(),
        Err(QueueRefusal::Failed(why)) => {
            return Response::error(503, "queue_failed", &format!("The queue cannot be opened: {why}."));
        }
        Err(QueueRefusal::Obstacle(why)) => return Response::error(503, "queue_obstacle", &why),
    };
    let mut body = b"{\"messages\":[".to_vec();
    body.extend_from_slice(&messages.join(&b','));
    body.extend_from_slice(b"]}");
    Response::json(200, body)
}

/// The response to a change of leases: their common status, or 207.
fn results(receipts: &[String], outcomes: &[ReceiptOutcome]) -> Response {
    let told = |outcome: &ReceiptOutcome| match outcome {
        ReceiptOutcome::Done => (200, Value::Null),
        ReceiptOutcome::Late => {
            (409, json!("its lease had ended: the message may be another worker's, or comes again"))
        }
        ReceiptOutcome::Unknown => (404, json!("this queue has given no such receipt")),
        ReceiptOutcome::Elsewhere => (421, json!("another endpoint has given it")),
        ReceiptOutcome::Refused(status, why) => (*status, json!(why)),
        ReceiptOutcome::Unanswered(why) => (504, json!(why)),
        ReceiptOutcome::Unavailable(why) => (503, json!(why)),
    };
    let told: Vec<(u16, Value)> = outcomes.iter().map(told).collect();
    let first = told.first().map_or(200, |(status, _)| *status);
    let status = if told.iter().all(|(status, _)| *status == first) { first } else { 207 };
    let results: Vec<Value> = receipts
        .iter()
        .zip(told)
        .map(|(receipt, (status, error))| json!({ "receipt": receipt, "status": status, "error": error }))
        .collect();
    Response::json(status, json!({ "results": results }).to_string().into_bytes()).advised()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_common_one_or_207() {
        let receipts = ["a".to_owned(), "b".to_owned()];
        let status = |first, second| results(&receipts, &[first, second]).status;
        assert_eq!(status(ReceiptOutcome::Done, ReceiptOutcome::Done), 200);
        assert_eq!(status(ReceiptOutcome::Late, ReceiptOutcome::Late), 409);
        assert_eq!(status(ReceiptOutcome::Unknown, ReceiptOutcome::Unknown), 404);
        assert_eq!(status(ReceiptOutcome::Done, ReceiptOutcome::Late), 207);
        assert_eq!(status(ReceiptOutcome::Unknown, ReceiptOutcome::Late), 207);
        let unanswered = |why: &str| ReceiptOutcome::Unanswered(why.to_owned());
        assert_eq!(status(unanswered("one"), unanswered("the other")), 504);
        let refused = ReceiptOutcome::Refused(403, "no".to_owned());
        assert_eq!(status(refused, ReceiptOutcome::Done), 207);
    }

    #[test]
    fn a_common_status_says_when_or_how_to_ask_again() {
        let headers = |outcomes: &[ReceiptOutcome]| {
            let receipts = ["a".to_owned(), "b".to_owned()];
            results(&receipts, outcomes).headers.into_owned()
        };
        let refused = |status| ReceiptOutcome::Refused(status, "no".to_owned());
        let unavailable = || ReceiptOutcome::Unavailable("not now".to_owned());
        assert!(headers(&[unavailable(), unavailable()]).contains("Retry-After: "));
        assert!(headers(&[refused(429), refused(429)]).contains("Retry-After: "));
        assert!(headers(&[refused(401), refused(401)]).contains("WWW-Authenticate: "));
        assert!(!headers(&[unavailable(), ReceiptOutcome::Done]).contains("Retry-After"), "some is done");
    }

    #[test]
    fn messages_are_a_list_in_the_body() {
        let body = |received| String::from_utf8(messages(Ok(received)).body).unwrap();
        assert_eq!(body(vec![]), r#"{"messages":[]}"#);
        assert_eq!(body(vec![b"{}".to_vec(), b"[]".to_vec()]), r#"{"messages":[{},[]]}"#);
        assert_eq!(messages(Err(QueueRefusal::TooManyLeases)).status, 503);
    }
}

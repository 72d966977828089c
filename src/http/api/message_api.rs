//! The handlers that take messages, behind one entry: a body goes to `/enviar`, to the REST API, or to the
//! replay of dead letters.

use std::time::{Duration, Instant};

use super::dead_letters::ReplayQueue;
use super::enviar::{ChannelApi, ChannelTarget};
use super::json::{self, MAX_DEPTH};
use super::letter_search::SearchQueue;
use super::queues::{QueueApi, QueueRequest};
use super::rest::messages::MessagesApi;
use super::rest::{RecordTarget, RestApi};
use crate::dead_letters::ReplayAction;
use crate::http::dashboard::FeedHandle;
use crate::http::reply::Reply;
use crate::http::responder::Responder;

/// The meaning of a body, as far as the head of its request tells it.
pub(crate) enum BodyKind {
    /// A message of the channel, or some in lines.
    Message(ChannelTarget),
    /// Records for a topic.
    Records(RecordTarget),
    /// The names of dead letters to replay.
    Replay,
    /// The names of dead letters to discard.
    Discard,
    /// What a worker says to a queue.
    Queue(QueueRequest),
}

/// The handlers that take messages, and the dashboard that shows them.
pub(crate) struct MessageApi {
    /// Takes the messages of `/enviar`.
    pub(crate) channel: ChannelApi,
    /// Takes records for any topic, and describes the cluster.
    pub(crate) rest: RestApi,
    /// Looks into topics.
    pub(crate) messages: MessagesApi,
    /// Hands messages out.
    pub(crate) queues: QueueApi,
    /// Takes the viewers of the dashboard.
    pub(crate) feed: FeedHandle,
    /// Replays and discards dead letters.
    pub(crate) replays: ReplayQueue,
    /// Looks for dead letters.
    pub(crate) searches: SearchQueue,
    /// The time from a whole request to its response.
    pub(crate) answer_timeout: Duration,
    /// The largest body, in bytes, unpacked where it is compressed.
    pub(crate) max_body_bytes: usize,
}

impl MessageApi {
    /// Takes a body; its result is to be known by `deadline`.
    pub(crate) fn post(
        &self,
        kind: BodyKind,
        body: Vec<u8>,
        deadline: Instant,
        responder: Responder,
    ) -> Reply {
        match kind {
            BodyKind::Message(target) if target.is_lines => {
                match self.channel.lines(&body, &target, deadline) {
                    Ok(records) => self.rest.send_to(&self.channel.topic, records, deadline, responder),
                    Err(refused) => Reply::Immediate(refused),
                }
            }
            BodyKind::Message(target) => self.channel.post(body, target, deadline, responder),
            BodyKind::Records(target) => self.rest.post(target, body, deadline, responder),
            BodyKind::Queue(request) => self.queues.post(request, &body, responder),
            BodyKind::Replay => self.settle(ReplayAction::Replay, &body, responder),
            BodyKind::Discard => self.settle(ReplayAction::Discard, &body, responder),
        }
    }

    fn settle(&self, action: ReplayAction, body: &[u8], responder: Responder) -> Reply {
        let checked = json::check_body(body, MAX_DEPTH);
        let posted = checked.and_then(|()| self.replays.post(action, body, self.answer_timeout, responder));
        Reply::deferred(posted)
    }
}

//! The handlers that take messages, behind one entry: a body goes to `/enviar`, to the REST API, or to the
//! replay of dead letters.

use std::time::{Duration, Instant};

use super::dead_letters::ReplayQueue;
use super::enviar::{ChannelApi, ChannelTarget};
use super::json::{self, MAX_DEPTH};
use super::queues::{QueueApi, QueueRequest};
use super::rest::{RecordTarget, RestApi};
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
    /// What a worker says to a queue.
    Queue(QueueRequest),
}

/// The handlers that take messages, and the dashboard that shows them.
pub(crate) struct MessageApi {
    /// Takes the messages of `/enviar`.
    pub(crate) channel: ChannelApi,
    /// Takes records for any topic, and describes the cluster.
    pub(crate) rest: RestApi,
    /// Hands messages out.
    pub(crate) queues: QueueApi,
    /// Takes the viewers of the dashboard.
    pub(crate) feed: FeedHandle,
    /// Replays dead letters.
    pub(crate) replays: ReplayQueue,
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
            BodyKind::Replay => {
                let checked = json::check_body(&body, MAX_DEPTH);
                let posted = checked.and_then(|()| self.replays.post(&body, self.answer_timeout, responder));
                Reply::deferred(posted)
            }
        }
    }
}

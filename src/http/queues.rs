//! The interface of the queues whose messages the endpoint hands out over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

/// The header field that marks a request which another endpoint has forwarded.
pub const FORWARDED: &str = "Point-To-Point-Forwarded";

/// A queue: a topic as a group consumes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueName {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
}

/// What a worker asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The most messages.
    pub max: usize,
    /// How long to wait for the first one.
    pub wait: Duration,
    /// How long a worker has for a message.
    pub lease: Duration,
}

/// What ends a lease, or lets it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseChange {
    /// The message is handled.
    Acknowledge,
    /// It is not.
    GiveBack {
        /// The wait before the next attempt; unset: as `[retry]` says.
        delay: Option<Duration>,
        /// Why.
        error: Option<String>,
        /// No attempt can succeed: it becomes a dead letter.
        dead: bool,
    },
    /// The worker needs this long from now on.
    Extend(Duration),
}

/// Who asks for a change, as far as the endpoint that gave a lease has to know.
#[derive(Clone, Default)]
pub struct Caller {
    /// The value of the request's `Authorization`, if it has one.
    pub authorization: Option<String>,
    /// Another endpoint has forwarded the request, which goes no further then.
    pub is_forwarded: bool,
}

/// A request to change leases of a topic's messages.
pub struct ChangeRequest {
    /// The topic.
    pub topic: String,
    /// The group to which the leases have to belong, if it matters.
    pub group: Option<String>,
    /// The receipts of the leases.
    pub receipts: Vec<String>,
    /// What becomes of them.
    pub change: LeaseChange,
    /// Who asks for it.
    pub caller: Caller,
}

/// What became of a [`LeaseChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptOutcome {
    /// It is done.
    Done,
    /// The lease had ended before, and nothing has changed.
    Late,
    /// No queue has given such a receipt, or it is another queue's.
    Unknown,
    /// Another endpoint has given it, and the request was forwarded already.
    Elsewhere,
    /// The endpoint that has given it answered with this status, for this reason.
    Refused(u16, String),
    /// The endpoint that has given it did not answer, for this reason: whether anything has changed is not
    /// known.
    Unanswered(String),
    /// It cannot be found out now which endpoint has given it, for this reason: nothing has changed.
    Unavailable(String),
}

/// Why a queue gives no messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueRefusal {
    /// As many queues are open as may be.
    TooManyQueues,
    /// As many leases are given as may be.
    TooManyLeases,
    /// The queue cannot be opened.
    Failed(String),
    /// The queue is open, and no message can come for this reason, a sentence.
    Obstacle(String),
    /// The endpoint stops.
    Closing,
}

/// What a queue holds of the partitions that this endpoint has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueCounts {
    /// Messages that are read and not done.
    pub open: usize,
    /// Messages that workers have.
    pub leased: usize,
    /// Messages that wait for their next attempt.
    pub waiting: usize,
    /// The seconds since the oldest open message was made.
    pub oldest_seconds: f64,
    /// Why it has no messages to give, if it has none for a reason.
    pub obstacle: Option<String>,
}

/// A worker that waits for messages.
pub trait WaitingWorker: Send {
    /// Whether it has left: it should get no messages.
    fn has_left(&self) -> bool;

    /// Answers it with messages, each a JSON object with its receipt, or says why there are none. False if it
    /// had left, so that nobody has the messages.
    fn answer(self: Box<Self>, received: Result<Vec<Vec<u8>>, QueueRefusal>) -> bool;
}

/// Hears the outcomes, in the order of the receipts.
pub type OnChanged = Box<dyn FnOnce(Vec<ReceiptOutcome>) + Send>;

/// The queues of an endpoint. No call waits.
pub trait Queues: Send + Sync + 'static {
    /// The endpoint listens at `address`. It is told before the first request comes.
    fn listens_at(&self, address: SocketAddr);

    /// Whether a queue is open.
    fn is_open(&self, queue: &QueueName) -> bool;

    /// Hands messages of a queue to `reply`, once, from any thread. A queue that is not open is opened: its
    /// topic exists.
    fn receive(&self, queue: &QueueName, ask: Ask, worker: Box<dyn WaitingWorker>);

    /// Changes leases of a topic's messages, also those that other endpoints of the group have given.
    fn change(&self, request: ChangeRequest, reply: OnChanged);

    /// What an open queue holds.
    fn counts(&self, queue: &QueueName) -> Option<QueueCounts>;
}

//! Delivery reports, and the errors of records that a producer does not take.

use std::fmt;
use std::sync::Arc;

use crate::metrics::RecordOutcome;

/// The fate of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryReport {
    /// Acknowledged by all in-sync replicas.
    Stored {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The message's own offset in it.
        offset: i64,
    },
    /// Certainly not stored; it will not appear later.
    NotStored {
        /// The kind of the failure.
        kind: NotStoredKind,
        /// A sentence for people.
        reason: String,
        /// Whether the same message may be stored when it is submitted again later.
        retry: bool,
    },
    /// Its bytes may have reached Kafka and no answer came.
    Unknown {
        /// A sentence for people.
        reason: String,
    },
}

/// The reason why a message is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStoredKind {
    /// No broker can be reached.
    NoBroker,
    /// The cluster does not have the topic.
    NoTopic,
    /// The partition has no leader.
    NoLeader,
    /// The partition did not acknowledge the messages before it.
    NoAnswer,
    /// The topic is not known to have the partition.
    NoPartition,
    /// The store of the embedded broker has failed, or its disk has too little room.
    StoreFailed,
    /// The message waited too long behind others.
    QueueTimeout,
    /// The producer is closing.
    Closing,
    /// The message is larger than the topic takes.
    TooLarge,
    /// A broker refused it, or the producer did not take it.
    Refused,
}

impl NotStoredKind {
    /// The code in HTTP answers and log lines.
    pub fn code(self) -> &'static str {
        match self {
            NotStoredKind::NoBroker => "no_broker",
            NotStoredKind::NoTopic => "no_topic",
            NotStoredKind::NoLeader => "no_leader",
            NotStoredKind::NoAnswer => "no_answer",
            NotStoredKind::NoPartition => "no_partition",
            NotStoredKind::StoreFailed => "store_failed",
            NotStoredKind::QueueTimeout => "queue_timeout",
            NotStoredKind::Closing => "closing",
            NotStoredKind::TooLarge => "too_large",
            NotStoredKind::Refused => "refused",
        }
    }
}

impl std::error::Error for NotStoredKind {}

impl fmt::Display for NotStoredKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl DeliveryReport {
    pub(super) fn outcome(&self) -> RecordOutcome {
        match self {
            DeliveryReport::Stored { .. } => RecordOutcome::Stored,
            DeliveryReport::NotStored { .. } => RecordOutcome::NotStored,
            DeliveryReport::Unknown { .. } => RecordOutcome::Unknown,
        }
    }
}

/// The delivery report's callback: is called exactly once with the message's fate, from a thread of the
/// producer; must be quick.
pub type DeliveryCallback = Box<dyn FnOnce(DeliveryReport) + Send>;

/// The reason why a message was not taken; its [`DeliveryCallback`] will not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitError {
    /// Too many messages or bytes are waiting already; try again later.
    QueueFull,
    /// The producer is closing.
    Closed,
    /// Key, value and headers together are longer than `limit` bytes, in a producer with limits: what its
    /// queue holds, or [`MAX_MESSAGE_BYTES`](super::MAX_MESSAGE_BYTES).
    TooLarge {
        /// The most that they may weigh together, in bytes; each header counts ten bytes more than it has.
        limit: usize,
    },
    /// The system gives no thread to send to its topic with; try again later.
    NoThread,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::QueueFull => f.write_str("too many messages are waiting to be stored"),
            SubmitError::Closed => f.write_str("the producer is closing"),
            SubmitError::TooLarge { limit } => {
                let what = "key, body and headers together are longer than";
                write!(f, "{what} {limit} bytes (producer.queue_bytes, or 65 MiB)")
            }
            SubmitError::NoThread => f.write_str("a thread for its topic cannot be started"),
        }
    }
}

impl std::error::Error for SubmitError {}

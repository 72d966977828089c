//! What the sender gives back: what became of a message, or why it was not taken.

use std::fmt;
use std::sync::Arc;

use crate::metrics::Outcome;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
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
        /// A word for programs.
        code: &'static str,
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

impl Delivery {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Delivery::Stored { .. } => Outcome::Stored,
            Delivery::NotStored { .. } => Outcome::NotStored,
            Delivery::Unknown { .. } => Outcome::Unknown,
        }
    }
}

/// The delivery report's callback: is called exactly once with the message's fate, from a thread of the
/// sender; must be quick.
pub type Done = Box<dyn FnOnce(Delivery) + Send>;

/// Why a message was not taken; its [`Done`] will not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitError {
    /// Too many messages or bytes are waiting already; try again later.
    QueueFull,
    /// The sender is closing.
    Closed,
    /// Key, value and headers together are longer than `limit` bytes, in a sender with limits.
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
            SubmitError::Closed => f.write_str("the sender is closing"),
            SubmitError::TooLarge { limit } => {
                write!(f, "key, body and headers together are longer than {limit} bytes")
            }
            SubmitError::NoThread => f.write_str("a thread for its topic cannot be started"),
        }
    }
}

impl std::error::Error for SubmitError {}

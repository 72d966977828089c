//! The batching sender: what many threads submit goes to the crate's `Producer::send_all` in few calls, and each
//! message's outcome comes back as soon as the cluster has acknowledged it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::adapter::Endpoint;
use crate::config::Settings;
use crate::error::Result;

/// A message to be stored.
pub struct Outgoing {
    /// Chooses the partition as every Kafka client would (murmur2); messages with one key keep their order. `None` and
    /// an empty key are the same: any partition will do.
    pub key: Option<Vec<u8>>,
    /// The bytes to store.
    pub value: Vec<u8>,
    /// When its [`Done`] is called at the latest.
    pub deadline: Instant,
}

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

/// Is called exactly once with the message's fate, from a thread of the sender; must be quick.
pub type Done = Box<dyn FnOnce(Delivery) + Send>;

/// Why a message was not taken; its [`Done`] will not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitError {
    /// Too many messages or bytes are waiting already; try again later.
    QueueFull,
    /// The sender is closing.
    Closed,
    /// Key and value together are longer than `limit` bytes.
    TooLarge {
        /// The most that key and value may weigh together, in bytes.
        limit: usize,
    },
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::QueueFull => f.write_str("too many messages are waiting to be stored"),
            SubmitError::Closed => f.write_str("the sender is closing"),
            SubmitError::TooLarge { limit } => {
                write!(f, "key and body together are longer than {limit} bytes")
            }
        }
    }
}

impl std::error::Error for SubmitError {}

/// The sender; a clone is another handle on the same one.
#[derive(Clone)]
pub struct Sender {}

impl Sender {
    /// Starts the sender's threads for `kafka.topic` behind the adapter at `endpoint`. No broker needs to be there yet.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(_settings: &Settings, _endpoint: Endpoint) -> Result<Sender> {
        todo!()
    }

    /// Takes a message. `done` is called exactly once if and only if this returns `Ok`.
    ///
    /// # Errors
    /// See [`SubmitError`]; the message is then certainly not stored.
    pub fn submit(&self, _message: Outgoing, _done: Done) -> Result<(), SubmitError> {
        todo!()
    }

    /// Takes no new message, finishes the open ones and ends the threads. What is still open at `deadline` gets its
    /// honest answer then: not stored if it still waited, unknown if it was under way.
    pub fn close(&self, _deadline: Instant) {
        todo!()
    }
}

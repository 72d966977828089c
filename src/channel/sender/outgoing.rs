//! What the sender is given.

use std::time::Instant;

use crate::request_id::RequestId;

/// The lengths of a header's name and value take ten bytes at most.
const HEADER_OVERHEAD: usize = 10;

/// A message to be stored.
pub struct Outgoing {
    /// Chooses the partition as Java's client does (murmur2), also when it is empty; messages with one key
    /// keep their order. With `None`, any partition will do.
    pub key: Option<Vec<u8>>,
    /// The bytes to store, or null.
    pub value: Option<Vec<u8>>,
    /// In this order; a name may come more than once.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its time, ms since 1970; `None` or a negative one: when it is sent to the cluster.
    pub timestamp: Option<i64>,
    /// Where in the topic it goes.
    pub place: Place,
    /// When its [`Done`](super::Done) is called at the latest.
    pub deadline: Instant,
    /// Who asked for it, for the log.
    pub request: Option<RequestId>,
}

impl Outgoing {
    /// A message without headers, for the partition that its key chooses, with the time at which it is sent.
    pub fn new(key: Option<Vec<u8>>, value: Vec<u8>, deadline: Instant) -> Outgoing {
        Outgoing {
            key,
            value: Some(value),
            headers: Vec::new(),
            timestamp: None,
            place: Place::ByKey,
            deadline,
            request: None,
        }
    }

    /// What it weighs against [`MAX_MESSAGE_BYTES`](crate::config::MAX_MESSAGE_BYTES).
    pub(crate) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let header = |(name, value): &(String, Option<Vec<u8>>)| HEADER_OVERHEAD + name.len() + length(value);
        length(&self.key) + length(&self.value) + self.headers.iter().map(header).sum::<usize>()
    }
}

/// Which partition of its topic a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The one that its key chooses; without a key, any.
    ByKey,
    /// This one, whatever the key; where the topic does not have it, as [`Place::ByKey`].
    Rather(i32),
    /// This one and no other: while the topic is not known to have it, the message waits.
    Only(i32),
}

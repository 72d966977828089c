//! A record to be sent.

use std::time::{Duration, Instant};

use crate::ids::RequestId;

/// The lengths of a header's name and value take ten bytes at most.
const HEADER_OVERHEAD: usize = 10;

/// When the delivery report of [`ProducerRecord::of`] comes at the latest.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// A message to be stored.
#[derive(Clone)]
pub struct ProducerRecord {
    /// Chooses the partition as Java's client does (murmur2), also when it is empty; messages with one key
    /// keep their order. With `None`, any partition will do.
    pub key: Option<Vec<u8>>,
    /// The bytes to store, or null.
    pub value: Option<Vec<u8>>,
    /// In this order; a name may come more than once.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its time, ms since 1970; `None` or a negative one: when it is sent to the cluster.
    pub timestamp: Option<i64>,
    /// The choice of its partition.
    pub partition: PartitionChoice,
    /// When its [`DeliveryCallback`](super::DeliveryCallback) is called at the latest.
    pub deadline: Instant,
    /// The HTTP request that it came with, for the log.
    #[doc(hidden)]
    pub request: Option<RequestId>,
}

impl ProducerRecord {
    /// A message without headers, for the partition that its key chooses, with the time at which it is sent,
    /// and a deadline for its delivery report. [`ProducerRecord::of`] is the short form.
    pub fn new(key: Option<Vec<u8>>, value: Vec<u8>, deadline: Instant) -> ProducerRecord {
        ProducerRecord {
            key,
            value: Some(value),
            headers: Vec::new(),
            timestamp: None,
            partition: PartitionChoice::ByKey,
            deadline,
            request: None,
        }
    }

    /// A message with this value, which consumers take for JSON; its delivery report comes within 60 seconds.
    #[must_use]
    pub fn of(value: impl Into<Vec<u8>>) -> ProducerRecord {
        ProducerRecord::new(None, value.into(), Instant::now() + DELIVERY_TIMEOUT)
    }

    /// The same message with a key: messages with one key keep their order.
    #[must_use]
    pub fn with_key(self, key: impl Into<Vec<u8>>) -> ProducerRecord {
        ProducerRecord { key: Some(key.into()), ..self }
    }

    /// The same message with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> ProducerRecord {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    /// The same message, with its delivery report after this time at the latest.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> ProducerRecord {
        ProducerRecord { deadline: Instant::now() + timeout, ..self }
    }

    /// Its bytes, to be compared with [`MAX_MESSAGE_BYTES`](super::MAX_MESSAGE_BYTES).
    pub(crate) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let header = |(name, value): &(String, Option<Vec<u8>>)| HEADER_OVERHEAD + name.len() + length(value);
        length(&self.key) + length(&self.value) + self.headers.iter().map(header).sum::<usize>()
    }
}

/// Which partition of its topic a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionChoice {
    /// The one that its key chooses; without a key, any.
    ByKey,
    /// This one, whatever the key; where the topic does not have it, as [`PartitionChoice::ByKey`].
    Preferred(i32),
    /// This one and no other: while the topic is not known to have it, the message waits.
    Only(i32),
}

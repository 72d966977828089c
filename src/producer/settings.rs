//! The settings of a producer.

use std::time::Duration;

/// The most that a record may weigh, key, value and headers together, however much its topic takes
/// (`max.message.bytes`) and `queue_bytes` allow: the largest body that the endpoint may be set to take, and
/// what stands beside it.
pub const MAX_MESSAGE_BYTES: usize = 65 * 1024 * 1024;

/// The limits and timeouts of a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerSettings {
    /// Records that may wait or be in flight at a time.
    pub queue_messages: usize,
    /// Bytes of records that may wait or be in flight at a time.
    pub queue_bytes: usize,
    /// The longest wait of callers for a delivery report; requests to brokers that do not answer end well
    /// before.
    pub answer_timeout: Duration,
    /// The broker is the embedded one.
    pub embedded_broker: bool,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        ProducerSettings {
            queue_messages: 10_000,
            queue_bytes: 67_108_864,
            answer_timeout: Duration::from_secs(10),
            embedded_broker: false,
        }
    }
}

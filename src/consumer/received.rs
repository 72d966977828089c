//! The line of the log for each message that goes to whoever handles it.

use super::ConsumerRecord;
use crate::logging::MessageLine;

/// Logs a message that the consumer called `name` has received.
pub fn log(name: &str, received: &ConsumerRecord<'_>) {
    MessageLine {
        what: "received",
        topic: received.topic,
        partition: received.partition,
        offset: received.offset,
        key: received.key,
        value: received.value,
        client: name,
        request: None,
        note: "",
    }
    .log();
}

//! The Point-to-Point Channel over the `kafka` crate: a [`sender`] that batches what many clients post, and a
//! [`receiver`], one of the group's Competing Consumers.

pub mod print;
pub mod receiver;
pub mod sender;

use kafka::error::{Error, KafkaCode};

/// The code that Kafka (the adapter) answered, if the crate's error is one.
fn code_of(error: &Error) -> Option<KafkaCode> {
    match error {
        Error::Kafka(code) | Error::TopicPartitionError { error_code: code, .. } => Some(*code),
        Error::ArcSelf(inner) => code_of(inner),
        _ => None,
    }
}

//! The Point-to-Point Channel over the `kafka` crate: a [`sender`] that batches what many clients post, an
//! [`outbox`] that sends at least once, and the group's Competing Consumers: a [`puller`], whose messages are
//! asked for one by one, and on it the [`receiver`], which hands them to a handler and commits each, and
//! [`push`](push::push), which commits at intervals.

pub mod lines;
pub mod outbox;
pub mod print;
pub mod puller;
pub mod push;
pub mod receiver;
pub mod running;
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

//! The Point-to-Point Channel over the `kafka` crate.
//!
//! - [`sender`]: batches what many clients post; [`outbox`]: sends at least once; [`senders`]: for
//!   any topic
//! - [`puller`]: one of the group's Competing Consumers, whose messages are asked for one by one; on it
//!   [`receiver`], which commits each message after it was handled, and [`push`](push::push), which commits
//!   at intervals
//! - [`handler`]: what is done with a message: [`mod@print`] it, or run a [`command`]; [`worker`]: tries that
//!   again where it fails, and at last puts the message to the [`dead_letters`]

pub mod command;
pub mod dead_letters;
pub mod handler;
pub mod lines;
pub mod outbox;
pub mod print;
pub mod puller;
pub mod push;
pub mod receiver;
pub mod running;
pub mod sender;
pub mod senders;
pub mod worker;

use kafka::error::{Error, KafkaCode};

/// The code that Kafka (the adapter) answered, if the crate's error is one.
fn code_of(error: &Error) -> Option<KafkaCode> {
    match error {
        Error::Kafka(code) | Error::TopicPartitionError { error_code: code, .. } => Some(*code),
        Error::ArcSelf(inner) => code_of(inner),
        _ => None,
    }
}

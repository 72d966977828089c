//! The Dead Letter Channel: messages that could not be handled, stored in a topic of their own with what went
//! wrong in headers after Spring Kafka's convention (its `KafkaHeaders`, the constants that begin with
//! `DLT_`).
//!
//! - [`store`]: where they come in
//! - [`letter`]: what a dead letter says; [`filter`]: which ones are meant
//! - [`office`]: where they are looked at, and [`settle`], where they are replayed and discarded; for that
//!   [`settled`], which ones are done with, [`read`], which gives the others in the order of their age,
//!   [`hold`], the right to settle them, and [`resend`], their way back

pub mod filter;
pub mod hold;
pub mod letter;
pub mod office;
pub mod read;
pub mod resend;
pub mod settle;
pub mod settled;
pub mod store;

pub use filter::Filter;
pub use letter::{Letter, Name};
pub use office::{Letters, Office};
pub use resend::Outcome;
pub use settle::{Action, Missing, Order, Summary};
pub use store::DeadLetters;

/// The topic that the message came from, UTF-8.
pub const ORIGINAL_TOPIC: &str = "kafka_dlt-original-topic";
/// Its partition: 4 bytes, big-endian.
pub const ORIGINAL_PARTITION: &str = "kafka_dlt-original-partition";
/// Its offset: 8 bytes, big-endian.
pub const ORIGINAL_OFFSET: &str = "kafka_dlt-original-offset";
/// Its timestamp: 8 bytes, big-endian; missing if it had none.
pub const ORIGINAL_TIMESTAMP: &str = "kafka_dlt-original-timestamp";
/// The group that could not handle it, UTF-8.
pub const CONSUMER_GROUP: &str = "kafka_dlt-original-consumer-group";
/// The full name of the error's type.
pub const EXCEPTION_FQCN: &str = "kafka_dlt-exception-fqcn";
/// What the error said, UTF-8.
pub const EXCEPTION_MESSAGE: &str = "kafka_dlt-exception-message";
/// What all of these begin with, and those that others write after the same convention: they are left behind
/// when a letter is replayed.
pub const PREFIX: &str = "kafka_dlt-";

/// How often the message was replayed, a decimal number. It stays with the message, also when that becomes a
/// dead letter again.
pub const REPLAYS: &str = "point-to-point-replays";

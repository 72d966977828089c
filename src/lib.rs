//! A point-to-point channel on Apache Kafka: each message goes to exactly one consumer of a group, which
//! commits it after it was handled.
//!
//! A [`Channel`] is opened with [`Channel::builder`], and gives [producers](Channel::producer),
//! [consumers](Channel::consumer) and the [dead letters](Channel::dead_letters). It reads neither files nor
//! the environment and handles no signals unless it is asked to, brings a broker along where none is named,
//! and ends with its last handle. What it promises is in `docs/guarantees.md`.
//!
//! ```
//! use point_to_point::{Channel, ConsumerRecord, ProducerRecord};
//!
//! # fn main() -> point_to_point::Result<()> {
//! # let folder = std::env::temp_dir().join(format!("point-to-point-doc-{}", std::process::id()));
//! # let data = folder.clone();
//! # let (tell, told) = std::sync::mpsc::channel();
//! let channel = Channel::builder().topic("orders").data_dir(data).any_port().open()?;
//! let producer = channel.producer()?;
//! let order = ProducerRecord::of(r#"{"id":1}"#).with_key("customer-7").with_header("source", "shop");
//! let stored = producer.send(order)?.wait()?;
//! assert_eq!(stored.offset, 0);
//!
//! let consumer = channel.consumer("billing").start(move |record: &ConsumerRecord<'_>| {
//!     println!("attempt {}: {}", record.attempt, record.text());
//! #   tell.send(record.text().into_owned()).map_err(|error| error.to_string())?;
//!     Ok::<(), String>(())
//! })?;
//! # assert_eq!(told.recv().unwrap(), r#"{"id":1}"#);
//! consumer.stop()?;
//! # drop((producer, channel));
//! # std::fs::remove_dir_all(folder).unwrap();
//! # Ok(())
//! # }
//! ```

mod channel;

pub use adapter::Endpoint;
pub use channel::{
    Channel, ChannelBuilder, Consumer, ConsumerBuilder, PendingDelivery, Producer, RecordMetadata,
};
pub use consumer::{Failure, FailureCause, Handler};
pub use dead_letters::{
    DeadLetter, DeadLetterBrowser, DeadLetterFilter, DeadLetterId, DeadLetterIter, FoundLetters, Missing,
    ReplayAction, ReplayEdit, ReplayOutcome, ReplayRequest, ReplaySummary,
};
pub use net::stop::Stop;

pub use error::{Error, RecordLocation, Result, Stored};
pub use producer::{DeliveryReport, NotStoredKind, PartitionChoice, ProducerRecord, SubmitError};
pub use record::{ConsumerRecord, Headers};

// The rooms behind the face. They are public for the programs and tests of this package alone, and change
// without notice: docs/design.md has their map.
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod consumer;
#[doc(hidden)]
pub mod dead_letters;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod http;
mod http_client;
#[doc(hidden)]
pub mod ids;
#[doc(hidden)]
pub mod lines;
#[doc(hidden)]
pub mod logging;
#[doc(hidden)]
pub mod message;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod offset_ranges;
#[doc(hidden)]
pub mod producer;
#[doc(hidden)]
pub mod programs;
#[doc(hidden)]
pub mod queue;
#[doc(hidden)]
pub mod record;
#[doc(hidden)]
pub mod record_json;
#[doc(hidden)]
pub mod runtime;
pub mod signals;
#[doc(hidden)]
pub mod supervisor;
#[doc(hidden)]
pub mod text;
mod topic_reader;
#[doc(hidden)]
pub mod users;

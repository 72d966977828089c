//! Bytes of the Kafka protocol, without I/O: what comes from a socket is judged here, and nowhere believed.
//!
//! - [`wire`]: the primitive types, read with bounds and written.
//! - [`error_code`]: the protocol's error codes, their names and whether a retry may help.
//! - [`partitioner`]: the partition of a key, as the Java client chooses it.
//! - [`compression`]: the codecs, with bounds on what they unpack.
//! - [`records`]: record batches, read without copying and written.
//! - [`assignment`]: what members of a consumer group tell each other.
//! - [`precheck`]: the guard in front of the decoders of `kafka-protocol`.
//! - [`v0`]: the old protocol that the `kafka` crate speaks.
//! - [`topic_name`]: the names that a topic may have.
//! - [`topic_partition`]: one partition of one topic.
//! - [`envelope`]: a whole record in the value of an old message, for our own programs.

pub mod assignment;
pub mod compression;
pub mod envelope;
pub mod error_code;
pub mod partitioner;
pub mod precheck;
pub mod records;
pub mod topic_name;
pub mod topic_partition;
pub mod v0;
pub mod wire;

pub use topic_partition::TopicPartition;

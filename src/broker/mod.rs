//! The embedded broker: a Kafka of one node inside our own processes, stored in one file.
//!
//! - [`caller`]: who asks
//! - [`storage`]: topics, record batches, committed offsets, groups and producers, durable in one database
//! - [`groups`]: the coordinator of consumer groups
//! - [`requests`]: one file for each request that is served
//!
//! Whichever process holds the database's lock serves; the others stand by and take over when it ends.

pub mod caller;
pub mod groups;
pub mod requests;
pub mod storage;

use std::path::PathBuf;
use std::time::Duration;

/// What a broker serves, and where it keeps it.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// `host:port` to listen on.
    pub listen: String,
    /// The folder of the database.
    pub data_dir: PathBuf,
    /// Record batches whose youngest record is older are removed; `None` keeps them for ever.
    pub retention: Option<Duration>,
    /// A partition with more bytes loses its oldest batches; `None` sets no limit.
    pub retention_bytes: Option<u64>,
    /// Whether a Metadata request that allows it creates the topic it asks for.
    pub auto_create_topics: bool,
    /// Partitions of a topic that is created without a number of its own.
    pub partitions: i32,
}

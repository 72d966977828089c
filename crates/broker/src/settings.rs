//! Settings and limits of the broker.

use std::path::PathBuf;
use std::time::Duration;

/// The largest request accepted, in bytes, as in Kafka (`socket.request.max.bytes`).
pub const MAX_REQUEST_BYTES: usize = 100 * 1024 * 1024;

/// The largest record batch accepted, in bytes (`message.max.bytes`): Kafka's default, and room for the
/// headers that a message of that size gets when it becomes a dead letter.
pub const MAX_BATCH_BYTES: usize = 1_048_588 + 65_536;

/// Settings of a broker.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// `host:port` to listen on.
    pub listen: String,
    /// The host and port that clients are told to connect to; `None` names the address to which the client
    /// has connected.
    pub advertised: Option<(String, u16)>,
    /// The folder of the database.
    pub data_dir: PathBuf,
    /// Record batches whose youngest record is older are removed; `None` keeps them for ever.
    pub retention: Option<Duration>,
    /// A partition with more bytes loses its oldest batches; `None` sets no limit.
    pub retention_bytes: Option<u64>,
    /// Records are refused while the file system of `data_dir` has fewer bytes left; 0 refuses none, `None`
    /// is the smaller of 64 MiB and a twentieth of the file system.
    pub min_free_bytes: Option<u64>,
    /// Whether a Metadata request creates a missing topic, if the request allows it.
    pub auto_create_topics: bool,
    /// Partitions of a topic that is created without a number of partitions.
    pub partitions: i32,
    /// How long the first rebalance of an empty group waits for more members; zero: not at all.
    pub initial_rebalance_delay: Duration,
}

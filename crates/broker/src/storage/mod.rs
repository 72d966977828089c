//! The store of the embedded broker: a log in which every acknowledged change survives a crash.
//!
//! - `store`: what the broker reads and changes; `open_error`, `error`: what can fail
//! - `files`, `disk_folder`, `names`: the folder, its lock and its files
//! - `frame`, `record`, `rows`: what a transaction adds to the log
//! - `segment`, `segment_index`, `index_file`: the files of the log, and where the batches are in them
//! - `snapshot`, `replay`, `open`: the state is read from a snapshot and the log that follows it; `recovery`:
//!   reopening after a failure
//! - `write_queue`, `pending_write`, `writer`, `transaction`: changes are applied in order by one thread; all
//!   that wait share a transaction and its sync
//! - `write_state`: the writer's view of logs and producers; `producer_state`: sequence checks of idempotent
//!   producers
//! - `read_state`, `partition_log`: the readers' view, as of the last durable transaction; `store_state`:
//!   shared by readers and writer
//! - `log_reader`, `time_index`: record batches by offset and by timestamp
//! - `fetch_waiters`: long polling
//! - `retention`: removal of old batches and producers; `housekeeping`, `reclaim`, `compaction`: indexes,
//!   snapshots, files that hold nothing that is kept, and records that have a younger one with their key
//!
//! The lock of the folder is the only lock between processes: its holder serves.

mod compaction;
mod disk_folder;
mod error;
mod fetch_waiters;
mod files;
mod frame;
mod housekeeping;
mod index_file;
mod log_reader;
pub(crate) mod names;
mod open;
mod open_error;
mod partition_log;
mod pending_write;
mod producer_state;
mod read_state;
mod reclaim;
mod record;
mod recovery;
mod replay;
mod retention;
mod rows;
mod segment;
mod segment_index;
mod snapshot;
mod store;
mod store_state;
#[cfg(test)]
mod tests;
mod time_index;
mod transaction;
mod write_queue;
mod write_state;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

pub use self::error::Cause;
pub use self::fetch_waiters::FetchWaiter;
pub(crate) use self::names::is_of_store;
pub use self::open_error::OpenError;
pub use self::pending_write::Pending;
pub use self::retention::Retention;
pub use self::store::Store;
pub use self::store_state::Failure;

/// The largest number of partitions of all topics together.
pub const MAX_PARTITIONS: usize = 10_000;

/// How often a read begins anew because a segment was rewritten meanwhile.
const LOOK_UPS: usize = 10;

/// The time, ms since 1970.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id (KIP-516), which no other topic ever has.
    pub id: u128,
    /// The number of partitions.
    pub partitions: i32,
    /// The configurations that are set for this topic alone, by Kafka's names.
    pub configs: Arc<BTreeMap<String, String>>,
}

/// A producer that a log remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// When its last batch came, ms since 1970.
    pub last_timestamp: i64,
}

/// The record batch of one partition, to be appended.
#[derive(Debug, Clone)]
pub struct Append {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Exactly one batch of format 2, as it came.
    pub batch: Bytes,
}

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the batch's first record.
    pub base_offset: i64,
    /// The first offset that the partition still has.
    pub log_start_offset: i64,
}

/// The log start offset and the log end offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// The first offset that is kept.
    pub log_start_offset: i64,
    /// The offset after the last durable record: also the high watermark and the last stable offset.
    pub log_end_offset: i64,
}

/// An offset that a group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to be processed.
    pub offset: i64,
    /// The leader epoch the client gave, or -1.
    pub leader_epoch: i32,
    /// The client's metadata.
    pub metadata: Arc<str>,
}

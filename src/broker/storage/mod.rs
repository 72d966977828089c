//! The store of the embedded broker: one database, in which everything that was acknowledged survives a crash.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::protocol::error_code::ErrorCode;

/// How much is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Retention {
    /// Batches whose youngest record is older are removed.
    pub age: Option<Duration>,
    /// A partition with more bytes loses its oldest batches.
    pub bytes: Option<u64>,
}

/// Why a store cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    Locked,
    /// The bytes of the database are not those that were written.
    Damaged(String),
    /// The operating system's words, with the path.
    Io(String),
}

/// A topic as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, which no other topic ever has.
    pub id: u128,
    /// How many partitions it has: 0 to this, without gaps.
    pub partitions: i32,
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

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the batch's first record.
    pub base_offset: i64,
    /// The first offset that the partition still has.
    pub log_start: i64,
}

/// The ends of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that is kept.
    pub log_start: i64,
    /// The offset after the last durable record: the high watermark, the log end and the last stable offset.
    pub end: i64,
}

/// An offset that a group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to be handled.
    pub offset: i64,
    /// The leader epoch the client gave, or -1.
    pub leader_epoch: i32,
    /// The client's note.
    pub metadata: Arc<str>,
}

/// Something on its way into the database. It is durable, or refused, when [`Pending::wait`] returns.
#[must_use]
pub struct Pending<T>(std::marker::PhantomData<T>);

impl<T> Pending<T> {
    /// Waits for the transaction.
    ///
    /// # Errors
    /// What the store says of this one change, KAFKA_STORAGE_ERROR once the database has failed.
    pub fn wait(self) -> Result<T, ErrorCode> {
        todo!()
    }
}

/// The store. All methods may be called from any thread.
pub struct Store {}

impl Store {
    /// Opens, or creates, the database in `folder`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(folder: &Path, retention: Retention) -> Result<Store, OpenError> {
        let _ = (folder, retention);
        todo!()
    }

    /// 16 random bytes made with the database, in URL-safe base64: the cluster's id.
    pub fn cluster_id(&self) -> Arc<str> {
        todo!()
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Topic> {
        todo!()
    }

    /// One topic.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        let _ = name;
        todo!()
    }

    /// Creates a topic. TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS and POLICY_VIOLATION (too many partitions in all) are
    /// its errors; the name has been checked by the caller.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Pending<Topic> {
        let _ = (name, partitions);
        todo!()
    }

    /// Deletes a topic with its batches and committed offsets. UNKNOWN_TOPIC_OR_PARTITION is its error.
    pub fn delete_topic(&self, name: &str) -> Pending<()> {
        let _ = name;
        todo!()
    }

    /// Appends batches, those of one request in one transaction; one answer for each, in order. The batches were
    /// checked (format, checksum, records); here sequences are, and offsets given.
    pub fn append(&self, batches: Vec<Append>) -> Vec<Pending<Appended>> {
        let _ = batches;
        todo!()
    }

    /// The ends of a partition's log.
    pub fn bounds(&self, topic: &str, partition: i32) -> Option<Bounds> {
        let _ = (topic, partition);
        todo!()
    }

    /// Whole batches from the one that holds `offset` on, at most `max_bytes`; the first comes whatever its size if
    /// `at_least_one`. Empty at the end of the log. Checksums are verified.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, OFFSET_OUT_OF_RANGE, CORRUPT_MESSAGE, KAFKA_STORAGE_ERROR.
    pub fn read(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<(Bytes, Bounds), ErrorCode> {
        let _ = (topic, partition, offset, max_bytes, at_least_one);
        todo!()
    }

    /// The first record at or after `timestamp` (ms): its offset and timestamp; `None` if there is none.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn offset_for_timestamp(
        &self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<Option<(i64, i64)>, ErrorCode> {
        let _ = (topic, partition, timestamp);
        todo!()
    }

    /// The record with the largest timestamp: its offset and timestamp; `None` in an empty log.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn offset_of_max_timestamp(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<Option<(i64, i64)>, ErrorCode> {
        let _ = (topic, partition);
        todo!()
    }

    /// A number that grows with every transaction that changed a log.
    pub fn log_version(&self) -> u64 {
        todo!()
    }

    /// Waits until [`Store::log_version`] is above `seen`, or `deadline`, or the store stops; gives the version.
    pub fn wait_for_log(&self, seen: u64, deadline: Instant) -> u64 {
        let _ = (seen, deadline);
        todo!()
    }

    /// A producer id that no other producer ever had; its epoch is 0.
    pub fn new_producer_id(&self) -> Pending<i64> {
        todo!()
    }

    /// Stores committed offsets of a group. Changes take effect in the order of these calls.
    pub fn commit_offsets(&self, group: &str, offsets: Vec<(Arc<str>, i32, Committed)>) -> Pending<()> {
        let _ = (group, offsets);
        todo!()
    }

    /// What a group has committed for a partition.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        let _ = (group, topic, partition);
        todo!()
    }

    /// Everything that a group has committed.
    pub fn all_committed(&self, group: &str) -> Vec<(Arc<str>, i32, Committed)> {
        let _ = group;
        todo!()
    }

    /// Forgets committed offsets of a group.
    pub fn delete_offsets(&self, group: &str, partitions: Vec<(Arc<str>, i32)>) -> Pending<()> {
        let _ = (group, partitions);
        todo!()
    }

    /// Names of all groups that have a state or committed offsets.
    pub fn group_names(&self) -> Vec<Arc<str>> {
        todo!()
    }

    /// The state of a group, as [`Store::save_group`] got it.
    pub fn group(&self, group: &str) -> Option<Bytes> {
        let _ = group;
        todo!()
    }

    /// Stores the state of a group, in the order of these calls and those of [`Store::commit_offsets`].
    pub fn save_group(&self, group: &str, state: Bytes) -> Pending<()> {
        let _ = (group, state);
        todo!()
    }

    /// Removes a group: state and committed offsets.
    pub fn delete_group(&self, group: &str) -> Pending<()> {
        let _ = group;
        todo!()
    }

    /// Whether the database has failed: nothing more can be stored until it is opened anew.
    pub fn has_failed(&self) -> bool {
        todo!()
    }

    /// Stops: what was submitted is answered, waits end, the database is closed and its lock free when this returns.
    pub fn close(&self) {
        todo!()
    }
}

//! The store of the embedded broker: a log in which every acknowledged change survives a crash.
//!
//! - `files`, `disk_folder`, `names`: the folder, its lock and its files
//! - `frame`, `record`, `rows`: what a transaction adds to the log
//! - `segment`, `segment_index`: the files of the log, and where the batches are in them
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
mod log_reader;
mod names;
mod open;
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
mod store_state;
#[cfg(test)]
mod tests;
mod time_index;
mod transaction;
mod write_queue;
mod write_state;
mod writer;

use net::sync::{Mutex, Worker, lock};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use self::disk_folder::FolderLock;
pub use self::error::Cause;
use self::error::StorageError;
pub use self::fetch_waiters::FetchWaiter;
use self::files::store_file;
use self::housekeeping::Housekeeper;
use self::log_reader::LogReader;
use self::open::{Check, Opened};
pub use self::pending_write::Pending;
use self::pending_write::{Reply, pending};
use self::producer_state::BatchSequence;
pub use self::store_state::Failure;
use self::store_state::StoreState;
use self::write_queue::{Batch, Change};
use self::write_state::Limits;
use self::writer::{Progress, Writer};
use crate::topic_config::{Defaults, TopicConfig};
use net::stop::Stop;
use protocol::error_code::ErrorCode;
use protocol::records::Batches;

/// The largest number of partitions of all topics together.
pub const MAX_PARTITIONS: usize = 10_000;
/// The interval of retention checks (Kafka's `log.retention.check.interval.ms`).
const RETENTION_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// How often a read begins anew because a segment was rewritten meanwhile.
const LOOK_UPS: usize = 10;

/// The time, ms since 1970.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Retention settings, as in Kafka's `retention.ms` and `retention.bytes`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Retention {
    /// Batches whose youngest record is older are removed.
    pub age: Option<Duration>,
    /// A partition with more bytes loses its oldest batches.
    pub bytes: Option<u64>,
}

impl Retention {
    /// That of a topic with these configurations; `None` if its batches are kept for ever.
    fn of_topic(&self, configs: &BTreeMap<String, String>) -> Option<Retention> {
        let defaults = Defaults { retention: self.age, retention_bytes: self.bytes };
        let config = TopicConfig::new(configs, &defaults);
        let age = config.retention_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        let retention = Retention { age, bytes: config.retention_bytes };
        (config.cleanup.delete && (age.is_some() || retention.bytes.is_some())).then_some(retention)
    }

    /// The timestamp (ms) of the oldest batch that is kept; `None` if age does not matter.
    fn oldest_kept(&self, now: i64) -> Option<i64> {
        let age = i64::try_from(self.age?.as_millis()).unwrap_or(i64::MAX);
        Some(now.saturating_sub(age))
    }
}

/// Errors of opening a store.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    Locked,
    /// The bytes of the database are not those that were written.
    Damaged(String),
    /// An error of the operating system.
    Io {
        /// The path and the operation; empty if the cause names them.
        context: String,
        /// The error of the operating system or of the database.
        cause: Cause,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked => f.write_str("another process has the database open"),
            OpenError::Damaged(what) => write!(
                f,
                "the database is damaged: {what}. Check the disk, and restore the file from a copy or remove it"
            ),
            OpenError::Io { context, cause } if context.is_empty() => write!(f, "{cause}"),
            OpenError::Io { context, cause } => write!(f, "{context}: {cause}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { cause, .. } => Some(&**cause),
            OpenError::Locked | OpenError::Damaged(_) => None,
        }
    }
}

impl OpenError {
    pub(super) fn io(cause: impl Into<Cause>) -> OpenError {
        OpenError::io_at(String::new(), cause)
    }

    pub(super) fn io_at(context: impl Into<String>, cause: impl Into<Cause>) -> OpenError {
        OpenError::Io { context: context.into(), cause: cause.into() }
    }

    /// The same, which names the store.
    pub(super) fn at(self, store: &str) -> OpenError {
        match self {
            OpenError::Damaged(what) => OpenError::Damaged(format!("{store}: {what}")),
            OpenError::Io { context, cause } if context.is_empty() => OpenError::io_at(store, cause),
            other => other,
        }
    }

    /// Whether it says nothing of the disk: this process has no descriptors left, or no rights.
    pub(super) fn is_of_this_process(&self) -> bool {
        let OpenError::Io { cause, .. } = self else { return false };
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| {
            net::descriptors::are_used_up(error) || error.kind() == std::io::ErrorKind::PermissionDenied
        })
    }
}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> OpenError {
        match error {
            StorageError::Damaged(what) => OpenError::Damaged(what),
            StorageError::Failed(cause) | StorageError::NoDescriptors(cause) => OpenError::io(cause),
        }
    }
}

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

/// The store. All methods may be called from any thread.
pub struct Store {
    shared: Arc<StoreState>,
    running: Mutex<Option<Running>>,
}

/// The threads of an open store, and its lock.
struct Running {
    writer: Worker,
    housekeeping: Option<Worker>,
    lock: Option<FolderLock>,
}

impl Store {
    /// Opens, or creates, the store in `folder`, which is created too, for its owner alone.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(folder: &Path, retention: Retention) -> Result<Store, OpenError> {
        let (opened, name) = open::open_folder(folder, Check::Used, Limits::default())?;
        Store::start(opened, name, retention, Arc::new(now), Some(RETENTION_CHECK_INTERVAL))
    }

    /// As [`Store::open`], after the store has failed: drops the page cache, checks every frame, and proves
    /// that a message can be stored.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_checked(folder: &Path, retention: Retention) -> Result<Store, OpenError> {
        let (opened, name) = recovery::open_folder(folder, &retention, now())?;
        Store::start(opened, name, retention, Arc::new(now), Some(RETENTION_CHECK_INTERVAL))
    }

    /// Without an interval nothing is removed, and housekeeping is done between transactions.
    fn start(
        opened: Opened,
        name: Arc<str>,
        retention: Retention,
        clock: Clock,
        retention_check_interval: Option<Duration>,
    ) -> Result<Store, OpenError> {
        let progress = Progress::of(&opened);
        let Opened { files, write_state, state, active, snapshot, unindexed, lock } = opened;
        let cluster_id = URL_SAFE_NO_PAD.encode(write_state.meta.cluster_id).into();
        let shared = Arc::new(StoreState::new(name, cluster_id, files, state, snapshot));
        let on_thread = retention_check_interval.is_some();
        let (housekeeper, housekeeping) = Housekeeper::start(shared.clone(), unindexed, on_thread)?;
        let writer = Writer {
            shared: shared.clone(),
            write_state,
            active,
            housekeeper,
            retention,
            clock,
            retention_check_interval,
            progress,
        };
        let writer = Worker::start("broker-writer", move |_| writer.run())
            .map_err(|error| OpenError::io_at("cannot start a thread for the store", error))?;
        Ok(Store { shared, running: Mutex::new(Some(Running { writer, housekeeping, lock })) })
    }

    /// The cluster id: 16 random bytes in URL-safe base64, as old as the database.
    pub fn cluster_id(&self) -> Arc<str> {
        self.shared.cluster_id.clone()
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Topic> {
        self.shared.state().topics.values().map(|topic| topic.topic.clone()).collect()
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        self.shared.state().topics.get(name).map(|topic| topic.topic.clone())
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: u128) -> Option<Topic> {
        let state = self.shared.state();
        state.topics.get(state.ids.get(&id)?).map(|topic| topic.topic.clone())
    }

    /// Creates a topic. TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS and POLICY_VIOLATION (more than
    /// [`MAX_PARTITIONS`] in all) are its errors; the name and the configurations have been checked by the
    /// caller.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Pending<Topic> {
        self.change(|reply| Change::CreateTopic { name: name.into(), partitions, configs, reply })
    }

    /// Sets configurations of a topic, or with `None` removes them; with `replace`, all others are removed
    /// too. The caller has checked them. UNKNOWN_TOPIC_OR_PARTITION is its error.
    pub fn alter_topic(
        &self,
        name: &str,
        configs: Vec<(String, Option<String>)>,
        replace: bool,
    ) -> Pending<Topic> {
        self.change(|reply| Change::AlterTopic { name: name.into(), configs, replace, reply })
    }

    /// Gives a topic more partitions, `count` in all. UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS (not more
    /// than it has) and POLICY_VIOLATION (more than [`MAX_PARTITIONS`] in all) are its errors.
    pub fn create_partitions(&self, name: &str, count: i32) -> Pending<Topic> {
        self.change(|reply| Change::CreatePartitions { name: name.into(), count, reply })
    }

    /// Deletes a topic with its batches and committed offsets. UNKNOWN_TOPIC_OR_PARTITION is its error.
    pub fn delete_topic(&self, name: &str) -> Pending<()> {
        self.change(|reply| Change::DeleteTopic { name: name.into(), id: None, reply })
    }

    /// As [`Store::delete_topic`], but only the topic of this name that has this id, and not one that was
    /// created under the name since. UNKNOWN_TOPIC_ID is its error.
    pub fn delete_topic_with_id(&self, name: &str, id: u128) -> Pending<()> {
        self.change(|reply| Change::DeleteTopic { name: name.into(), id: Some(id), reply })
    }

    /// Removes the records of a partition before an offset (-1: all of them); the answer is the log start
    /// offset. UNKNOWN_TOPIC_OR_PARTITION and OFFSET_OUT_OF_RANGE (beyond the end) are its errors.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Pending<i64> {
        self.change(|reply| Change::DeleteRecords { topic: topic.into(), partition, before, reply })
    }

    /// The producers that a partition remembers, by id. UNKNOWN_TOPIC_OR_PARTITION is its error.
    pub fn producers(&self, topic: &str, partition: i32) -> Pending<Vec<ActiveProducer>> {
        self.change(|reply| Change::Producers { topic: topic.into(), partition, reply })
    }

    /// Bytes of the batches of a partition.
    pub fn partition_bytes(&self, topic: &str, partition: i32) -> Option<u64> {
        self.shared.state().partition(topic, partition).map(|(_, log)| log.bytes)
    }

    /// Appends batches, those of one request in one transaction; one result for each, in order. The caller
    /// has checked format and records; the writer checks sequences and assigns offsets.
    ///
    /// Answers: UNKNOWN_TOPIC_OR_PARTITION; CORRUPT_MESSAGE for a wrong checksum and INVALID_RECORD for bytes
    /// that are not one batch with records whose offsets follow each other; INVALID_PRODUCER_EPOCH and
    /// OUT_OF_ORDER_SEQUENCE_NUMBER. A batch that the producer has stored before has its first base offset
    /// again.
    pub fn append(&self, batches: Vec<Append>) -> Vec<Pending<Appended>> {
        let mut checked = Vec::with_capacity(batches.len());
        let mut answers = Vec::with_capacity(batches.len());
        for append in batches {
            let (reply, answer) = pending();
            answers.push(answer);
            match check(append) {
                Ok(batch) => checked.push((batch, reply)),
                Err(code) => reply.send(Err(code)),
            }
        }
        if !checked.is_empty() {
            self.shared.queue.put(Change::Append(checked));
        }
        answers
    }

    /// The log start offset and the log end offset of a partition.
    pub fn bounds(&self, topic: &str, partition: i32) -> Option<LogBounds> {
        self.shared.state().partition(topic, partition).map(|(_, log)| log.bounds)
    }

    /// Whole batches from the one that holds `offset` on, at most `max_bytes`; the first comes whatever its
    /// size if `at_least_one`. Empty at the end of the log. Checksums are verified.
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
    ) -> Result<(Bytes, LogBounds), ErrorCode> {
        self.with_log(topic, partition, offset, |log| {
            Ok(log.read(offset, max_bytes, at_least_one)?.map(|bytes| (bytes, log.bounds())))
        })?
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
        self.with_log(topic, partition, -1, |log| log.offset_for_timestamp(timestamp))
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
        self.with_log(topic, partition, -1, |log| log.offset_of_max_timestamp())
    }

    /// Registers a waiter for changes of logs; see [`FetchWaiter::wait`].
    pub fn fetch_waiter(&self, logs: Vec<(Arc<str>, i32)>) -> FetchWaiter<'_> {
        self.shared.fetch_waiters.register(logs)
    }

    /// A new producer id, with epoch 0.
    pub fn new_producer_id(&self) -> Pending<i64> {
        self.change(Change::NewProducerId)
    }

    /// Stores committed offsets of a group, all or none. Changes take effect in the order of these calls.
    /// UNKNOWN_TOPIC_OR_PARTITION if one of the partitions is not there, POLICY_VIOLATION if offsets and
    /// groups take more than 256 MiB, are its errors.
    pub fn commit_offsets(&self, group: &str, offsets: Vec<(Arc<str>, i32, CommittedOffset)>) -> Pending<()> {
        self.change(|reply| Change::CommitOffsets { group: group.into(), offsets, reply })
    }

    /// The committed offset of a group for one partition.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<CommittedOffset> {
        let state = self.shared.state();
        let number = state.topics.get(topic)?.number;
        state.groups.get(group)?.offsets.get(&(number, partition)).cloned()
    }

    /// All committed offsets of a group.
    pub fn all_committed(&self, group: &str) -> Vec<(Arc<str>, i32, CommittedOffset)> {
        let state = self.shared.state();
        let offsets = state.groups.get(group).map(|group| &group.offsets);
        let named = offsets.into_iter().flatten().filter_map(|((number, partition), committed)| {
            Some((state.names.get(number)?.clone(), *partition, committed.clone()))
        });
        named.collect()
    }

    /// Deletes committed offsets of a group.
    pub fn delete_offsets(&self, group: &str, partitions: Vec<(Arc<str>, i32)>) -> Pending<()> {
        self.change(|reply| Change::DeleteOffsets { group: group.into(), partitions, reply })
    }

    /// Names of all groups that have a state or committed offsets.
    pub fn group_names(&self) -> Vec<Arc<str>> {
        self.shared.state().groups.keys().cloned().collect()
    }

    /// The snapshot of a group, as passed to [`Store::save_group`].
    pub fn group(&self, group: &str) -> Option<Bytes> {
        self.shared.state().groups.get(group)?.state.clone()
    }

    /// Stores the state of a group, in the order of these calls and those of [`Store::commit_offsets`].
    /// POLICY_VIOLATION, as there, is its error.
    pub fn save_group(&self, group: &str, state: Bytes) -> Pending<()> {
        self.change(|reply| Change::SaveGroup { group: group.into(), state, reply })
    }

    /// Removes a group: state and committed offsets.
    pub fn delete_group(&self, group: &str) -> Pending<()> {
        self.change(|reply| Change::DeleteGroup { group: group.into(), reply })
    }

    /// Whether the database has failed: nothing can be stored until it is reopened.
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// The failure of the database, if it has failed; it covers every change that was refused with
    /// KAFKA_STORAGE_ERROR before this call.
    pub fn failure(&self) -> Option<Failure> {
        drop(lock(&self.shared.transaction_running));
        self.shared.failure()
    }

    /// A stop that is asked when the database fails.
    pub fn failure_stop(&self) -> Stop {
        self.shared.failure_stop.clone()
    }

    /// Stops. When this returns, submitted changes are answered, waits have ended, and the lock of the folder
    /// is free.
    pub fn close(&self) {
        self.shared.queue.close();
        self.shared.fetch_waiters.wake_all();
        let Some(Running { writer, housekeeping, lock }) = lock(&self.running).take() else { return };
        writer.join();
        if let Some(housekeeping) = housekeeping {
            housekeeping.join();
        }
        self.shared.close();
        if !self.has_failed()
            && let Err(error) = self.note_end()
        {
            log::warn!("{}: its end is not noted: {error}", self.shared.folder);
        }
        drop(lock);
    }

    /// Notes where the log ends, so that the next opening misses nothing.
    fn note_end(&self) -> std::io::Result<()> {
        let state = self.shared.state();
        let last = state.segments.values().next_back().cloned();
        drop(state);
        let Some(last) = last else { return Ok(()) };
        store_file(&*self.shared.files.files, names::CLOSED, &open::closed(last.id, last.length()))
    }

    /// Runs a slice of retention; true if there is more to remove.
    #[cfg(test)]
    fn apply_retention_now(&self) -> Pending<bool> {
        self.change(Change::ApplyRetention)
    }

    fn change<T>(&self, change: impl FnOnce(Reply<T>) -> Change) -> Pending<T> {
        let (reply, answer) = pending();
        self.shared.queue.put(change(reply));
        answer
    }

    /// Reads a log. `offset` is for the report of damage.
    fn with_log<T>(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        read: impl Fn(&LogReader<'_>) -> Result<T, StorageError>,
    ) -> Result<T, ErrorCode> {
        if self.shared.is_closed() {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        let mut tries = 0;
        loop {
            let log = LogReader::open(&self.shared, topic, partition);
            let log = log.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            let error = match read(&log) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            tries += 1;
            match &error {
                // The segment was rewritten after it was looked up.
                error if error.is_missing_file() && tries < LOOK_UPS => continue,
                StorageError::Damaged(what) => {
                    self.shared.report_damage(log.number(), topic, partition, offset, what)
                }
                StorageError::NoDescriptors(cause) => log::debug!("{}: {cause}", self.shared.folder),
                StorageError::Failed(_) => self.shared.fail(&error, false),
            }
            return Err(error.code());
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Checks a batch, and takes from its header the fields that the writer needs.
fn check(append: Append) -> Result<Batch, ErrorCode> {
    let Append { topic, partition, batch: bytes } = append;
    let mut batches = Batches::new(&bytes);
    let header = match (batches.next(), batches.next()) {
        (Some(Ok(batch)), None) => batch.header,
        (Some(Err(protocol::records::RecordsError::Checksum { .. })), _) => {
            return Err(ErrorCode::CORRUPT_MESSAGE);
        }
        _ => return Err(ErrorCode::INVALID_RECORD),
    };
    let size =
        bytes.get(8..12).and_then(|size| size.first_chunk::<4>()).map(|size| u32::from_be_bytes(*size));
    let is_whole = size.is_some_and(|size| size as usize + 12 == bytes.len());
    if !is_whole || header.record_count < 1 || header.last_offset_delta != header.record_count - 1 {
        return Err(ErrorCode::INVALID_RECORD);
    }
    let sequence = match header.producer_id {
        id if id < 0 => None,
        _ if header.producer_epoch < 0 || header.base_sequence < 0 => return Err(ErrorCode::INVALID_RECORD),
        id => Some(BatchSequence::new(id, header.producer_epoch, header.base_sequence, header.record_count)),
    };
    let (last_delta, max_timestamp) = (header.last_offset_delta, header.max_timestamp);
    Ok(Batch { topic, partition, bytes, last_delta, max_timestamp, sequence })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

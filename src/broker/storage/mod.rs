//! The store of the embedded broker: one database, in which everything that was acknowledged survives a crash.
//!
//! - `open`, `load`: the folder, the lock, what is read into memory
//! - `checked_file`: checksums below the database, so that it never believes a byte that it did not write
//! - `rows`: tables, keys and values
//! - `queue`, `writer`, `transaction`: changes, in order, on one thread; all that wait share a transaction and its sync
//! - `ledger`, `producers`: what the writer knows, and whether a batch follows its producer's last
//! - `state`, `shared`: what everyone may read from memory, as of the last durable transaction
//! - `read`, `times`: record batches, read on the callers' threads as of one moment
//! - `watch`: waiting for logs to change
//! - `upkeep`: what goes away by itself
//!
//! The database has one file and its exclusive lock is the only one there is: who holds it serves. A crash needs no
//! repair: each transaction leaves what the next opening needs (redb's quick repair).

mod checked_file;
mod fault;
mod ledger;
mod load;
mod open;
mod pending;
mod producers;
mod queue;
mod read;
mod rows;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod times;
mod transaction;
mod upkeep;
mod watch;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use self::fault::{Fault, guarded};
use self::open::Opened;
pub use self::pending::Pending;
use self::pending::{Reply, pending};
use self::producers::Numbered;
use self::queue::{Batch, Change};
use self::read::LogReader;
use self::shared::Shared;
pub use self::watch::Watch;
use self::writer::Writer;
use crate::net::lock;
use crate::protocol::error_code::ErrorCode;
use crate::protocol::records::Batches;

/// Partitions of all topics together.
pub const MAX_PARTITIONS: usize = 10_000;
/// How often it is looked whether there is something to remove.
const UPKEEP_EVERY: Duration = Duration::from_secs(30);

/// The time, ms since 1970.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

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

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked => f.write_str("another process has the database open"),
            OpenError::Damaged(what) => write!(
                f,
                "the database is damaged: {what}. Check the disk, and restore the file from a copy or remove it"
            ),
            OpenError::Io(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for OpenError {}

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

/// The store. All methods may be called from any thread.
pub struct Store {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens, or creates, the database in `folder`, which is created too, for its owner alone.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(folder: &Path, retention: Retention) -> Result<Store, OpenError> {
        let (opened, file) = open::open_folder(folder)?;
        Store::start(opened, file, retention, Arc::new(now), Some(UPKEEP_EVERY))
    }

    fn start(
        opened: Opened,
        file: Arc<str>,
        retention: Retention,
        clock: Clock,
        upkeep_every: Option<Duration>,
    ) -> Result<Store, OpenError> {
        let Opened { database, ledger, state } = opened;
        let cluster_id = URL_SAFE_NO_PAD.encode(ledger.meta.cluster_id).into();
        let shared = Arc::new(Shared::new(file, cluster_id, database, state));
        let writer = Writer { shared: shared.clone(), ledger, retention, clock, upkeep_every };
        let writer = std::thread::Builder::new()
            .name("broker-store".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Io(format!("no thread for the database: {error}")))?;
        Ok(Store { shared, writer: Mutex::new(Some(writer)) })
    }

    /// 16 random bytes made with the database, in URL-safe base64: the cluster's id.
    pub fn cluster_id(&self) -> Arc<str> {
        self.shared.cluster_id.clone()
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Topic> {
        self.shared.state().topics.values().map(|topic| topic.topic.clone()).collect()
    }

    /// One topic.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        self.shared.state().topics.get(name).map(|topic| topic.topic.clone())
    }

    /// Creates a topic. TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS and POLICY_VIOLATION (more than [`MAX_PARTITIONS`] in
    /// all) are its errors; the name has been checked by the caller.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Pending<Topic> {
        self.change(|reply| Change::CreateTopic { name: name.into(), partitions, reply })
    }

    /// Deletes a topic with its batches and committed offsets. UNKNOWN_TOPIC_OR_PARTITION is its error.
    pub fn delete_topic(&self, name: &str) -> Pending<()> {
        self.change(|reply| Change::DeleteTopic { name: name.into(), reply })
    }

    /// Appends batches, those of one request in one transaction; one answer for each, in order. The batches were
    /// checked (format, records); here sequences are, and offsets given.
    ///
    /// Answers: UNKNOWN_TOPIC_OR_PARTITION; CORRUPT_MESSAGE for a wrong checksum and INVALID_RECORD for bytes that are
    /// not one batch with records whose offsets follow each other; INVALID_PRODUCER_EPOCH and
    /// OUT_OF_ORDER_SEQUENCE_NUMBER. A batch that the producer has stored before has its first base offset again.
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

    /// The ends of a partition's log.
    pub fn bounds(&self, topic: &str, partition: i32) -> Option<Bounds> {
        self.shared.state().partition(topic, partition).map(|(_, bounds)| bounds)
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
        let bounds = self.bounds(topic, partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if offset == bounds.end {
            return Ok((Bytes::new(), bounds));
        }
        let read = |log: &LogReader| {
            Ok(log.read(offset, max_bytes, at_least_one)?.map(|bytes| (bytes, log.bounds())))
        };
        self.look(topic, partition, offset, read)?
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
        self.look(topic, partition, -1, |log| log.at_time(timestamp))
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
        self.look(topic, partition, -1, LogReader::at_max_time)
    }

    /// Watches logs from now on; see [`Watch::wait`].
    pub fn watch(&self, logs: Vec<(Arc<str>, i32)>) -> Watch<'_> {
        self.shared.watchers.watch(logs)
    }

    /// A producer id that no other producer ever had; its epoch is 0.
    pub fn new_producer_id(&self) -> Pending<i64> {
        self.change(Change::NewProducerId)
    }

    /// Stores committed offsets of a group, all or none. Changes take effect in the order of these calls.
    /// UNKNOWN_TOPIC_OR_PARTITION if one of the partitions is not there, POLICY_VIOLATION if offsets and groups take
    /// more than 256 MiB, are its errors.
    pub fn commit_offsets(&self, group: &str, offsets: Vec<(Arc<str>, i32, Committed)>) -> Pending<()> {
        self.change(|reply| Change::CommitOffsets { group: group.into(), offsets, reply })
    }

    /// What a group has committed for a partition.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        let state = self.shared.state();
        let number = state.topics.get(topic)?.number;
        state.groups.get(group)?.offsets.get(&(number, partition)).cloned()
    }

    /// Everything that a group has committed.
    pub fn all_committed(&self, group: &str) -> Vec<(Arc<str>, i32, Committed)> {
        let state = self.shared.state();
        let offsets = state.groups.get(group).map(|group| &group.offsets);
        let named = offsets.into_iter().flatten().filter_map(|((number, partition), committed)| {
            Some((state.names.get(number)?.clone(), *partition, committed.clone()))
        });
        named.collect()
    }

    /// Forgets committed offsets of a group.
    pub fn delete_offsets(&self, group: &str, partitions: Vec<(Arc<str>, i32)>) -> Pending<()> {
        self.change(|reply| Change::DeleteOffsets { group: group.into(), partitions, reply })
    }

    /// Names of all groups that have a state or committed offsets.
    pub fn group_names(&self) -> Vec<Arc<str>> {
        self.shared.state().groups.keys().cloned().collect()
    }

    /// The state of a group, as [`Store::save_group`] got it.
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

    /// Whether the database has failed: nothing more can be stored until it is opened anew.
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// Stops: what was submitted is answered, waits end, the database is closed and its lock free when this returns.
    pub fn close(&self) {
        self.shared.queue.close();
        self.shared.watchers.ring_all();
        let mut writer = lock(&self.writer);
        if let Some(writer) = writer.take()
            && writer.join().is_err()
        {
            log::error!("{}: the writer's thread has panicked", self.shared.file);
        }
        let Some(database) = self.shared.take_database() else { return };
        let closed = guarded(|| database.close().map_err(|error| Fault::Failed(error.to_string())));
        if let Err(fault) = closed
            && !self.has_failed()
        {
            log::warn!("{}: not closed in order, which the next start puts right: {fault}", self.shared.file);
        }
    }

    /// A slice of what goes away by itself; whether there is more.
    #[cfg(test)]
    fn upkeep_now(&self) -> Pending<bool> {
        self.change(Change::Upkeep)
    }

    fn change<T>(&self, change: impl FnOnce(Reply<T>) -> Change) -> Pending<T> {
        let (reply, answer) = pending();
        self.shared.queue.put(change(reply));
        answer
    }

    /// Reads a log as of now. `offset` is for the report of damage.
    fn look<T>(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        read: impl FnOnce(&LogReader) -> Result<T, Fault>,
    ) -> Result<T, ErrorCode> {
        let state = self.shared.state();
        let known = state.partition(topic, partition);
        drop(state);
        let (number, bounds) = known.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let looked = self.shared.with_database(|database| {
            guarded(|| {
                let log = LogReader::open(database, number, partition, bounds.end)?;
                log.map(|log| read(&log)).transpose()
            })
        });
        match looked {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Err(fault) => {
                match &fault {
                    Fault::Damaged(what) => self.shared.report(number, topic, partition, offset, what),
                    Fault::Failed(_) => self.shared.fail(&fault),
                }
                Err(fault.code())
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the writer needs to know of a batch.
fn check(append: Append) -> Result<Batch, ErrorCode> {
    let Append { topic, partition, batch: bytes } = append;
    let mut batches = Batches::new(&bytes);
    let header = match (batches.next(), batches.next()) {
        (Some(Ok(batch)), None) => batch.header,
        (Some(Err(crate::protocol::records::RecordsError::Checksum { .. })), _) => {
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
    let numbered = match header.producer_id {
        id if id < 0 => None,
        _ if header.producer_epoch < 0 || header.base_sequence < 0 => return Err(ErrorCode::INVALID_RECORD),
        id => Some(Numbered::new(id, header.producer_epoch, header.base_sequence, header.record_count)),
    };
    let (last_delta, max_timestamp) = (header.last_offset_delta, header.max_timestamp);
    Ok(Batch { topic, partition, bytes, last_delta, max_timestamp, numbered })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

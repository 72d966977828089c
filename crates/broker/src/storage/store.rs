//! The store: what the broker reads and changes, from any thread.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::disk_folder::{DiskFolder, FolderLock};
use super::error::StorageError;
use super::fetch_waiters::FetchWaiter;
use super::files::store_file;
use super::housekeeping::Housekeeper;
use super::log_reader::LogReader;
use super::open::{self, Check, Opened};
use super::pending_write::{Pending, Reply, pending};
use super::store_state::{Failure, StoreState};
use super::write_queue::{Batch, Change};
use super::write_state::Limits;
use super::writer::{Progress, Writer};
use super::{
    ActiveProducer, Append, Appended, Clock, CommittedOffset, LOOK_UPS, LogBounds, OpenError, Retention,
    Topic, names, recovery,
};
use net::stop::Stop;
use net::sync::{Mutex, Worker, lock};
use protocol::error_code::ErrorCode;
use protocol::topic_name;

/// The interval of retention checks (Kafka's `log.retention.check.interval.ms`).
const RETENTION_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// The store. All methods may be called from any thread.
pub struct Store {
    shared: Arc<StoreState>,
    running: Mutex<Option<Running>>,
}

/// The threads of an open store, and its lock.
struct Running {
    writer: Worker,
    housekeeping: Vec<Worker>,
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

    /// Whether a process has the store in `folder` open. Nothing is created or written for the answer.
    ///
    /// # Errors
    /// That cannot be told.
    pub fn is_open(folder: &Path) -> io::Result<bool> {
        DiskFolder::is_locked(folder)
    }

    /// Without an interval nothing is removed, and housekeeping is done between transactions.
    pub(super) fn start(
        opened: Opened,
        name: Arc<str>,
        retention: Retention,
        clock: Clock,
        retention_check_interval: Option<Duration>,
    ) -> Result<Store, OpenError> {
        let progress = Progress::of(&opened, clock());
        let Opened { files, write_state, state, active, snapshot, unindexed, lock } = opened;
        let cluster_id = URL_SAFE_NO_PAD.encode(write_state.meta.cluster_id).into();
        let shared = Arc::new(StoreState::new(name, cluster_id, files, state, snapshot));
        let on_threads = retention_check_interval.is_some();
        let (housekeeper, housekeeping) = Housekeeper::start(shared.clone(), unindexed, on_threads)?;
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

    /// The name of a topic that this one would collide with, as [`topic_name::collide`] says.
    pub fn colliding(&self, name: &str) -> Option<Arc<str>> {
        self.shared.state().topics.keys().find(|known| topic_name::collide(known, name)).cloned()
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: u128) -> Option<Topic> {
        let state = self.shared.state();
        state.topics.get(state.ids.get(&id)?).map(|topic| topic.topic.clone())
    }

    /// Creates a topic. TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS and POLICY_VIOLATION (more than
    /// [`MAX_PARTITIONS`](super::MAX_PARTITIONS) in all) are its errors; the name and the configurations have
    /// been checked by the caller.
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

    /// Gives a topic more partitions, `count` in all. UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS (not
    /// more than it has) and POLICY_VIOLATION (more than [`MAX_PARTITIONS`](super::MAX_PARTITIONS) in all)
    /// are its errors.
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
            match Batch::check(append) {
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

    /// Fails where the folder of the database was removed or moved: what is stored now would be gone with it.
    pub fn look_at_folder(&self) {
        let is_gone = |running: &Running| running.lock.as_ref().is_some_and(|lock| !lock.is_in_place());
        let is_gone = lock(&self.running).as_ref().is_some_and(is_gone);
        if is_gone {
            let reason = "its folder was removed or moved while it was in use, and what it held with it";
            self.shared.fail(&StorageError::Failed(reason.into()), false);
        }
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
        housekeeping.into_iter().for_each(Worker::join);
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
        // Without a length the writer did not come to its end.
        let Some(last) = last.filter(|last| last.length() > 0) else { return Ok(()) };
        store_file(&*self.shared.files.files, names::CLOSED, &open::closed(last.id, last.length()))
    }

    /// Runs a slice of retention; true if there is more to remove.
    #[cfg(test)]
    pub(super) fn apply_retention_now(&self) -> Pending<bool> {
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

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

//! A write transaction: changes go to the tables and to the write state; updates and answers are kept until
//! it is durable.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, Durability, ReadableTable, Table, WriteTransaction};

use super::error::StorageError;
use super::pending_write::Answer;
use super::producer_state;
use super::read_state::{StateUpdate, TopicState};
use super::schema::{
    BATCHES, BatchKey, INDEX, IndexEntry, IndexValue, META_KEY, PartitionRow, STATE, TopicRow, batch_key,
    deleted_topic_key, group_key, offset_key, partition_key, producer_key, topic_key,
};
use super::write_queue::{Batch, Change};
use super::write_state::{ProducerKey, TopicLogs, WriteState};
use super::{Appended, CommittedOffset, LogBounds, MAX_PARTITIONS, Topic};
use protocol::error_code::ErrorCode;

/// Memory of a row beside its own bytes.
const ROW_BYTES: usize = 128;

/// The tables of a write transaction.
pub(super) struct Tables<'t> {
    pub batches: Table<'t, &'static BatchKey, &'static [u8]>,
    pub index: Table<'t, &'static BatchKey, &'static IndexValue>,
    pub state: Table<'t, &'static [u8], &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, StorageError> {
        Ok(Tables {
            batches: transaction.open_table(BATCHES)?,
            index: transaction.open_table(INDEX)?,
            state: transaction.open_table(STATE)?,
        })
    }
}

/// Updates and answers that follow once a transaction is durable.
#[derive(Default)]
pub(super) struct AppliedTransaction {
    pub updates: Vec<StateUpdate>,
    pub answers: Vec<Answer>,
    /// Whether there is anything to commit.
    pub changed: bool,
}

/// A write transaction to which changes are applied.
pub(super) struct Changes<'l, 't> {
    write_state: &'l mut WriteState,
    tables: Tables<'t>,
    now: i64,
    applied: AppliedTransaction,
    /// Logs and producers whose rows are to be written at the end, once for all changes.
    logs: BTreeSet<(Arc<str>, i32)>,
    producers: BTreeSet<ProducerKey>,
}

/// The result of a change, within that of the database.
type ChangeResult<T> = Result<Result<T, ErrorCode>, StorageError>;

impl<'l, 't> Changes<'l, 't> {
    /// `now` is the time, ms since 1970.
    pub(super) fn new(write_state: &'l mut WriteState, tables: Tables<'t>, now: i64) -> Changes<'l, 't> {
        let (logs, producers) = Default::default();
        Changes { write_state, tables, now, applied: AppliedTransaction::default(), logs, producers }
    }

    /// Applies one change, and keeps its answer.
    pub(super) fn apply(&mut self, change: Change) -> Result<(), StorageError> {
        let answer = match change {
            Change::Append(batches) => {
                for (batch, reply) in batches {
                    let appended = self.append(&batch)?;
                    self.applied.answers.push(reply.once_durable(appended));
                }
                return Ok(());
            }
            Change::CreateTopic { name, partitions, reply } => {
                reply.once_durable(self.create_topic(name, partitions)?)
            }
            Change::DeleteTopic { name, reply } => reply.once_durable(self.delete_topic(name)?),
            Change::NewProducerId(reply) => reply.once_durable(self.new_producer_id()?),
            Change::CommitOffsets { group, offsets, reply } => {
                reply.once_durable(self.commit_offsets(&group, offsets)?)
            }
            Change::DeleteOffsets { group, partitions, reply } => {
                reply.once_durable(self.delete_offsets(&group, partitions)?)
            }
            Change::SaveGroup { group, state, reply } => reply.once_durable(self.save_group(group, state)?),
            Change::DeleteGroup { group, reply } => reply.once_durable(self.delete_group(group)?),
            #[cfg(test)]
            Change::ApplyRetention(reply) => reply.once_durable(Ok(false)),
        };
        self.applied.answers.push(answer);
        Ok(())
    }

    /// Writes the rows that are written once for all changes.
    pub(super) fn finish(mut self) -> Result<AppliedTransaction, StorageError> {
        for (name, partition) in std::mem::take(&mut self.logs) {
            let Some((number, log)) = self.write_state.log(&name, partition) else { continue };
            let key = partition_key(number, partition);
            self.tables.state.insert(key.as_slice(), log.to_bytes().as_slice())?;
            let bounds =
                LogBounds { log_start_offset: log.log_start_offset, log_end_offset: log.log_end_offset };
            self.applied.updates.push(StateUpdate::LogBounds(name, partition, bounds));
        }
        for key in std::mem::take(&mut self.producers) {
            let row = producer_key(key.0, key.1, key.2);
            match self.write_state.producers.get(&key) {
                Some(producer) => {
                    self.tables.state.insert(row.as_slice(), producer.to_bytes().as_slice())?;
                }
                None => {
                    self.tables.state.remove(row.as_slice())?;
                }
            }
        }
        Ok(self.applied)
    }

    fn append(&mut self, batch: &Batch) -> ChangeResult<Appended> {
        let Some((number, log)) = self.write_state.log(&batch.topic, batch.partition) else {
            return Ok(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let log = *log;
        let producer =
            batch.sequence.map(|sequence| ((number, batch.partition, sequence.producer), sequence));
        if let Some((key, sequence)) = &producer {
            match producer_state::check(self.write_state.producers.get(key), sequence) {
                Ok(None) => {}
                Ok(Some(base_offset)) => {
                    return Ok(Ok(Appended { base_offset, log_start_offset: log.log_start_offset }));
                }
                Err(code) => return Ok(Err(code)),
            }
        }
        let Some(end) = log.log_end_offset.checked_add(i64::from(batch.last_delta) + 1) else {
            return Ok(Err(ErrorCode::RECORD_LIST_TOO_LARGE));
        };
        self.insert_batch(number, &log, batch)?;
        let row = PartitionRow {
            log_end_offset: end,
            bytes: log.bytes + batch.bytes.len() as u64,
            max_timestamp_so_far: log.max_timestamp_so_far.max(batch.max_timestamp),
            ..log
        };
        if let Some((_, log)) = self.write_state.log_mut(&batch.topic, batch.partition) {
            *log = row;
        }
        self.logs.insert((batch.topic.clone(), batch.partition));
        if let Some((key, sequence)) = producer {
            let known = self.write_state.producers.get(&key);
            let after = producer_state::record(known, &sequence, log.log_end_offset, self.now);
            self.write_state.producers.put(key, after);
            self.producers.insert(key);
            self.forget_surplus_producers();
        }
        self.applied.changed = true;
        Ok(Ok(Appended { base_offset: log.log_end_offset, log_start_offset: log.log_start_offset }))
    }

    /// Stores a batch as received, except for its base offset and its leader epoch, which its checksum does
    /// not cover.
    fn insert_batch(&mut self, number: u32, log: &PartitionRow, batch: &Batch) -> Result<(), StorageError> {
        let key = batch_key(number, batch.partition, log.log_end_offset);
        let mut reserved = self.tables.batches.insert_reserve(&key, batch.bytes.len())?;
        let stored = reserved.as_mut();
        stored.copy_from_slice(&batch.bytes);
        let Some((head, _)) = stored.split_first_chunk_mut::<16>() else {
            return Err(StorageError::Damaged("a batch without a header".to_owned()));
        };
        let (base_offset, rest) = head.split_at_mut(8);
        base_offset.copy_from_slice(&log.log_end_offset.to_be_bytes());
        let (_size, leader_epoch) = rest.split_at_mut(4);
        leader_epoch.fill(0);
        drop(reserved);
        let entry = IndexEntry {
            last_delta: batch.last_delta,
            size: u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX),
            max_timestamp: batch.max_timestamp,
            max_timestamp_so_far: log.max_timestamp_so_far.max(batch.max_timestamp),
        };
        self.tables.index.insert(&key, &entry.to_bytes())?;
        Ok(())
    }

    fn forget_surplus_producers(&mut self) {
        while self.write_state.producers.len() > self.write_state.limits.producers {
            let Some((_, key)) = self.write_state.producers.oldest() else { return };
            self.write_state.producers.remove(&key);
            self.producers.insert(key);
        }
    }

    fn create_topic(&mut self, name: Arc<str>, partitions: i32) -> ChangeResult<Topic> {
        if self.write_state.topics.contains_key(&name) {
            return Ok(Err(ErrorCode::TOPIC_ALREADY_EXISTS));
        }
        let count = usize::try_from(partitions).unwrap_or(0);
        if count == 0 {
            return Ok(Err(ErrorCode::INVALID_PARTITIONS));
        }
        let number = self.write_state.meta.next_topic;
        if count > MAX_PARTITIONS - self.write_state.partitions || number == u32::MAX {
            return Ok(Err(ErrorCode::POLICY_VIOLATION));
        }
        let Ok(id) = net::random::bytes() else { return Ok(Err(ErrorCode::UNKNOWN_SERVER_ERROR)) };
        let topic = Topic { name: name.clone(), id: u128::from_be_bytes(id), partitions };
        self.write_state.meta.next_topic = number + 1;
        self.put_meta()?;
        let row = TopicRow { name: name.clone(), id: topic.id, partitions };
        self.tables.state.insert(topic_key(number).as_slice(), row.to_bytes().as_slice())?;
        for partition in 0..partitions {
            let row = PartitionRow::EMPTY.to_bytes();
            self.tables.state.insert(partition_key(number, partition).as_slice(), row.as_slice())?;
        }
        self.write_state.partitions += count;
        let logs = vec![PartitionRow::EMPTY; count];
        self.write_state.topics.insert(name, TopicLogs { number, logs });
        let bounds = vec![LogBounds { log_start_offset: 0, log_end_offset: 0 }; count];
        let state = TopicState { topic: topic.clone(), number, bounds };
        self.applied.updates.push(StateUpdate::TopicCreated(state));
        self.applied.changed = true;
        Ok(Ok(topic))
    }

    fn delete_topic(&mut self, name: Arc<str>) -> ChangeResult<()> {
        let Some(topic) = self.write_state.topics.remove(&name) else {
            return Ok(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        self.tables.state.remove(topic_key(topic.number).as_slice())?;
        for partition in (0..).take(topic.logs.len()) {
            self.tables.state.remove(partition_key(topic.number, partition).as_slice())?;
        }
        self.tables.state.insert(deleted_topic_key(topic.number).as_slice(), [].as_slice())?;
        self.write_state.deleted_topics.insert(topic.number);
        self.write_state.partitions -= topic.logs.len();
        self.write_state.producers.forget_topic(topic.number);
        self.producers.retain(|(number, _, _)| *number != topic.number);
        self.applied.updates.push(StateUpdate::TopicDeleted(name));
        self.applied.changed = true;
        Ok(Ok(()))
    }

    fn new_producer_id(&mut self) -> ChangeResult<i64> {
        let id = self.write_state.meta.next_producer;
        self.write_state.meta.next_producer = id.saturating_add(1);
        self.put_meta()?;
        self.applied.changed = true;
        Ok(Ok(id))
    }

    fn put_meta(&mut self) -> Result<(), StorageError> {
        self.tables.state.insert(META_KEY, self.write_state.meta.to_bytes().as_slice())?;
        Ok(())
    }

    fn commit_offsets(
        &mut self,
        group: &Arc<str>,
        offsets: Vec<(Arc<str>, i32, CommittedOffset)>,
    ) -> ChangeResult<()> {
        let mut rows = Vec::with_capacity(offsets.len());
        for (topic, partition, committed) in offsets {
            let Some((number, _)) = self.write_state.log(&topic, partition) else {
                return Ok(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            };
            let row = (offset_key(group, number, partition), committed.to_bytes());
            rows.push((row, StateUpdate::OffsetCommitted(group.clone(), number, partition, committed)));
        }
        if !self.fits(rows.iter().map(|(row, _)| row))? {
            return Ok(Err(ErrorCode::POLICY_VIOLATION));
        }
        for ((key, value), update) in rows {
            self.put_row(&key, &value)?;
            self.applied.updates.push(update);
        }
        Ok(Ok(()))
    }

    fn delete_offsets(&mut self, group: &Arc<str>, partitions: Vec<(Arc<str>, i32)>) -> ChangeResult<()> {
        for (topic, partition) in partitions {
            let Some((number, _)) = self.write_state.log(&topic, partition) else { continue };
            self.remove_row(&offset_key(group, number, partition))?;
            self.applied.updates.push(StateUpdate::OffsetDeleted(group.clone(), number, partition));
        }
        Ok(Ok(()))
    }

    fn save_group(&mut self, group: Arc<str>, state: Bytes) -> ChangeResult<()> {
        let row = (group_key(&group), Vec::from(&*state));
        if !self.fits([&row].into_iter())? {
            return Ok(Err(ErrorCode::POLICY_VIOLATION));
        }
        self.put_row(&row.0, &row.1)?;
        self.applied.updates.push(StateUpdate::Group(group, state));
        Ok(Ok(()))
    }

    fn delete_group(&mut self, group: Arc<str>) -> ChangeResult<()> {
        let (first, last) = (offset_key(&group, 0, 0), offset_key(&group, u32::MAX, -1));
        let mut keys = vec![group_key(&group)];
        for row in self.tables.state.range(first.as_slice()..=last.as_slice())? {
            keys.push(row?.0.value().to_vec());
        }
        for key in keys {
            self.remove_row(&key)?;
        }
        self.applied.updates.push(StateUpdate::GroupDeleted(group));
        Ok(Ok(()))
    }

    /// Whether there is room for these rows of offsets and groups.
    fn fits<'r>(&self, rows: impl Iterator<Item = &'r (Vec<u8>, Vec<u8>)>) -> Result<bool, StorageError> {
        let limit = self.write_state.limits.bytes;
        let (mut before, mut after) = (0, 0);
        for (key, value) in rows {
            after += row_bytes(key, value);
            if self.write_state.bytes + after > limit {
                before += self.tables.state.get(key.as_slice())?.map_or(0, |old| row_bytes(key, old.value()));
            }
        }
        Ok(self.write_state.bytes + after - before <= limit || after <= before)
    }

    fn put_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let old = self.tables.state.insert(key, value)?;
        let before = old.map_or(0, |old| row_bytes(key, old.value()));
        self.write_state.bytes = (self.write_state.bytes + row_bytes(key, value)).saturating_sub(before);
        self.applied.changed = true;
        Ok(())
    }

    fn remove_row(&mut self, key: &[u8]) -> Result<(), StorageError> {
        if let Some(old) = self.tables.state.remove(key)? {
            self.write_state.bytes = self.write_state.bytes.saturating_sub(row_bytes(key, old.value()));
            self.applied.changed = true;
        }
        Ok(())
    }
}

/// Runs `work` in a transaction of its own and makes it durable.
pub(super) fn commit_durably<T>(
    database: &Database,
    work: impl FnOnce(&mut Tables<'_>) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let transaction = begin(database)?;
    let done = work(&mut Tables::open(&transaction)?)?;
    transaction.commit()?;
    Ok(done)
}

/// Begins a transaction that is durable when its commit returns, and after which a crash needs no repair. It
/// has two phases: its pages are synced before it becomes the current transaction.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, StorageError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// The approximate memory of a row of an offset or a group.
pub(super) fn row_bytes(key: &[u8], value: &[u8]) -> usize {
    ROW_BYTES + key.len() + value.len()
}

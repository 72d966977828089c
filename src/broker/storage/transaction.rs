//! One write transaction: changes are made in the tables and in the ledger, and what they lead to is gathered until
//! the transaction is durable.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadableTable, Table, WriteTransaction};

use super::fault::Fault;
use super::ledger::{Ledger, LedgerTopic, ProducerKey};
use super::pending::Answer;
use super::producers;
use super::queue::{Batch, Change};
use super::rows::{
    BATCHES, BatchKey, INDEX, IndexEntry, IndexValue, META_KEY, PartitionRow, STATE, TopicRow, batch_key,
    emptied_key, group_key, offset_key, partition_key, producer_key, topic_key,
};
use super::state::{Effect, TopicState};
use super::{Appended, Bounds, Committed, MAX_PARTITIONS, Topic};
use crate::protocol::error_code::ErrorCode;

/// What a row takes beside its own bytes.
const ROW_BYTES: usize = 128;

/// The tables of a write transaction.
pub(super) struct Tables<'t> {
    pub batches: Table<'t, &'static BatchKey, &'static [u8]>,
    pub index: Table<'t, &'static BatchKey, &'static IndexValue>,
    pub state: Table<'t, &'static [u8], &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, Fault> {
        Ok(Tables {
            batches: transaction.open_table(BATCHES)?,
            index: transaction.open_table(INDEX)?,
            state: transaction.open_table(STATE)?,
        })
    }
}

/// What follows once a transaction is durable.
#[derive(Default)]
pub(super) struct Outcome {
    pub effects: Vec<Effect>,
    pub answers: Vec<Answer>,
    /// Whether there is anything to commit.
    pub changed: bool,
}

/// Changes on their way into the tables.
pub(super) struct Changes<'l, 't> {
    ledger: &'l mut Ledger,
    tables: Tables<'t>,
    now: i64,
    outcome: Outcome,
    /// Logs and producers whose rows are to be written at the end, once for all changes.
    logs: BTreeSet<(Arc<str>, i32)>,
    producers: BTreeSet<ProducerKey>,
}

/// What the database says, and in it what the store says of the change.
type Done<T> = Result<Result<T, ErrorCode>, Fault>;

impl<'l, 't> Changes<'l, 't> {
    /// `now` is the time, ms since 1970.
    pub(super) fn new(ledger: &'l mut Ledger, tables: Tables<'t>, now: i64) -> Changes<'l, 't> {
        let (logs, producers) = Default::default();
        Changes { ledger, tables, now, outcome: Outcome::default(), logs, producers }
    }

    /// Makes one change; who waits for it is answered with the outcome.
    pub(super) fn apply(&mut self, change: Change) -> Result<(), Fault> {
        let answer = match change {
            Change::Append(batches) => {
                for (batch, reply) in batches {
                    let appended = self.append(&batch)?;
                    self.outcome.answers.push(reply.once_durable(appended));
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
            Change::Upkeep(reply) => reply.once_durable(Ok(false)),
        };
        self.outcome.answers.push(answer);
        Ok(())
    }

    /// Writes what is written once for all changes.
    pub(super) fn finish(mut self) -> Result<Outcome, Fault> {
        for (name, partition) in std::mem::take(&mut self.logs) {
            let Some((number, log)) = self.ledger.log(&name, partition) else { continue };
            let key = partition_key(number, partition);
            self.tables.state.insert(key.as_slice(), log.to_bytes().as_slice())?;
            let bounds = Bounds { log_start: log.log_start, end: log.end };
            self.outcome.effects.push(Effect::Bounds(name, partition, bounds));
        }
        for key in std::mem::take(&mut self.producers) {
            let row = producer_key(key.0, key.1, key.2);
            match self.ledger.producers.get(&key) {
                Some(producer) => {
                    self.tables.state.insert(row.as_slice(), producer.to_bytes().as_slice())?;
                }
                None => {
                    self.tables.state.remove(row.as_slice())?;
                }
            }
        }
        Ok(self.outcome)
    }

    fn append(&mut self, batch: &Batch) -> Done<Appended> {
        let Some((number, log)) = self.ledger.log(&batch.topic, batch.partition) else {
            return Ok(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let log = *log;
        let producer =
            batch.numbered.map(|numbered| ((number, batch.partition, numbered.producer), numbered));
        if let Some((key, numbered)) = &producer {
            match producers::check(self.ledger.producers.get(key), numbered) {
                Ok(None) => {}
                Ok(Some(base_offset)) => return Ok(Ok(Appended { base_offset, log_start: log.log_start })),
                Err(code) => return Ok(Err(code)),
            }
        }
        let Some(end) = log.end.checked_add(i64::from(batch.last_delta) + 1) else {
            return Ok(Err(ErrorCode::RECORD_LIST_TOO_LARGE));
        };
        self.insert_batch(number, &log, batch)?;
        let row = PartitionRow {
            end,
            bytes: log.bytes + batch.bytes.len() as u64,
            newest: log.newest.max(batch.max_timestamp),
            ..log
        };
        if let Some((_, log)) = self.ledger.log_mut(&batch.topic, batch.partition) {
            *log = row;
        }
        self.logs.insert((batch.topic.clone(), batch.partition));
        if let Some((key, numbered)) = producer {
            let known = self.ledger.producers.get(&key);
            let after = producers::record(known, &numbered, log.end, self.now);
            self.ledger.producers.put(key, after);
            self.producers.insert(key);
            self.forget_surplus_producers();
        }
        self.outcome.changed = true;
        Ok(Ok(Appended { base_offset: log.end, log_start: log.log_start }))
    }

    /// The batch as it came but for its base offset and its leader epoch, which its checksum does not cover.
    fn insert_batch(&mut self, number: u32, log: &PartitionRow, batch: &Batch) -> Result<(), Fault> {
        let key = batch_key(number, batch.partition, log.end);
        let mut place = self.tables.batches.insert_reserve(&key, batch.bytes.len())?;
        let stored = place.as_mut();
        stored.copy_from_slice(&batch.bytes);
        stored[..8].copy_from_slice(&log.end.to_be_bytes());
        stored[12..16].fill(0);
        drop(place);
        let entry = IndexEntry {
            last_delta: batch.last_delta,
            size: u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX),
            max_timestamp: batch.max_timestamp,
            newest: log.newest.max(batch.max_timestamp),
        };
        self.tables.index.insert(&key, &entry.to_bytes())?;
        Ok(())
    }

    fn forget_surplus_producers(&mut self) {
        while self.ledger.producers.len() > self.ledger.limits.producers {
            let Some((_, key)) = self.ledger.producers.oldest() else { return };
            self.ledger.producers.remove(&key);
            self.producers.insert(key);
        }
    }

    fn create_topic(&mut self, name: Arc<str>, partitions: i32) -> Done<Topic> {
        if self.ledger.topics.contains_key(&name) {
            return Ok(Err(ErrorCode::TOPIC_ALREADY_EXISTS));
        }
        let count = usize::try_from(partitions).unwrap_or(0);
        if count == 0 {
            return Ok(Err(ErrorCode::INVALID_PARTITIONS));
        }
        let number = self.ledger.meta.next_topic;
        if count > MAX_PARTITIONS - self.ledger.partitions || number == u32::MAX {
            return Ok(Err(ErrorCode::POLICY_VIOLATION));
        }
        let mut id = [0; 16];
        if getrandom::fill(&mut id).is_err() {
            return Ok(Err(ErrorCode::UNKNOWN_SERVER_ERROR));
        }
        let topic = Topic { name: name.clone(), id: u128::from_be_bytes(id), partitions };
        self.ledger.meta.next_topic = number + 1;
        self.put_meta()?;
        let row = TopicRow { name: name.clone(), id: topic.id, partitions };
        self.tables.state.insert(topic_key(number).as_slice(), row.to_bytes().as_slice())?;
        for partition in 0..partitions {
            let row = PartitionRow::EMPTY.to_bytes();
            self.tables.state.insert(partition_key(number, partition).as_slice(), row.as_slice())?;
        }
        self.ledger.partitions += count;
        let logs = vec![PartitionRow::EMPTY; count];
        self.ledger.topics.insert(name, LedgerTopic { number, logs });
        let bounds = vec![Bounds { log_start: 0, end: 0 }; count];
        let state = TopicState { topic: topic.clone(), number, bounds };
        self.outcome.effects.push(Effect::TopicCreated(state));
        self.outcome.changed = true;
        Ok(Ok(topic))
    }

    fn delete_topic(&mut self, name: Arc<str>) -> Done<()> {
        let Some(topic) = self.ledger.topics.remove(&name) else {
            return Ok(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        self.tables.state.remove(topic_key(topic.number).as_slice())?;
        for partition in (0..).take(topic.logs.len()) {
            self.tables.state.remove(partition_key(topic.number, partition).as_slice())?;
        }
        self.tables.state.insert(emptied_key(topic.number).as_slice(), [].as_slice())?;
        self.ledger.emptied.insert(topic.number);
        self.ledger.partitions -= topic.logs.len();
        self.ledger.producers.forget_topic(topic.number);
        self.producers.retain(|(number, _, _)| *number != topic.number);
        self.outcome.effects.push(Effect::TopicDeleted(name));
        self.outcome.changed = true;
        Ok(Ok(()))
    }

    fn new_producer_id(&mut self) -> Done<i64> {
        let id = self.ledger.meta.next_producer;
        self.ledger.meta.next_producer = id.saturating_add(1);
        self.put_meta()?;
        self.outcome.changed = true;
        Ok(Ok(id))
    }

    fn put_meta(&mut self) -> Result<(), Fault> {
        self.tables.state.insert(META_KEY, self.ledger.meta.to_bytes().as_slice())?;
        Ok(())
    }

    fn commit_offsets(&mut self, group: &Arc<str>, offsets: Vec<(Arc<str>, i32, Committed)>) -> Done<()> {
        let mut rows = Vec::with_capacity(offsets.len());
        for (topic, partition, committed) in offsets {
            let Some((number, _)) = self.ledger.log(&topic, partition) else {
                return Ok(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            };
            let row = (offset_key(group, number, partition), committed.to_bytes());
            rows.push((row, Effect::Committed(group.clone(), number, partition, committed)));
        }
        if !self.fits(rows.iter().map(|(row, _)| row))? {
            return Ok(Err(ErrorCode::POLICY_VIOLATION));
        }
        for ((key, value), effect) in rows {
            self.put_row(&key, &value)?;
            self.outcome.effects.push(effect);
        }
        Ok(Ok(()))
    }

    fn delete_offsets(&mut self, group: &Arc<str>, partitions: Vec<(Arc<str>, i32)>) -> Done<()> {
        for (topic, partition) in partitions {
            let Some((number, _)) = self.ledger.log(&topic, partition) else { continue };
            self.remove_row(&offset_key(group, number, partition))?;
            self.outcome.effects.push(Effect::OffsetDeleted(group.clone(), number, partition));
        }
        Ok(Ok(()))
    }

    fn save_group(&mut self, group: Arc<str>, state: Bytes) -> Done<()> {
        let row = (group_key(&group), Vec::from(&*state));
        if !self.fits([&row].into_iter())? {
            return Ok(Err(ErrorCode::POLICY_VIOLATION));
        }
        self.put_row(&row.0, &row.1)?;
        self.outcome.effects.push(Effect::Group(group, state));
        Ok(Ok(()))
    }

    fn delete_group(&mut self, group: Arc<str>) -> Done<()> {
        let (first, last) = (offset_key(&group, 0, 0), offset_key(&group, u32::MAX, -1));
        let mut keys = vec![group_key(&group)];
        for row in self.tables.state.range(first.as_slice()..=last.as_slice())? {
            keys.push(row?.0.value().to_vec());
        }
        for key in keys {
            self.remove_row(&key)?;
        }
        self.outcome.effects.push(Effect::GroupDeleted(group));
        Ok(Ok(()))
    }

    /// Whether there is room for these rows of offsets and groups.
    fn fits<'r>(&self, rows: impl Iterator<Item = &'r (Vec<u8>, Vec<u8>)>) -> Result<bool, Fault> {
        let limit = self.ledger.limits.bytes;
        let (mut before, mut after) = (0, 0);
        for (key, value) in rows {
            after += row_bytes(key, value);
            if self.ledger.bytes + after > limit {
                before += self.tables.state.get(key.as_slice())?.map_or(0, |old| row_bytes(key, old.value()));
            }
        }
        Ok(self.ledger.bytes + after - before <= limit || after <= before)
    }

    fn put_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let old = self.tables.state.insert(key, value)?;
        let before = old.map_or(0, |old| row_bytes(key, old.value()));
        self.ledger.bytes = (self.ledger.bytes + row_bytes(key, value)).saturating_sub(before);
        self.outcome.changed = true;
        Ok(())
    }

    fn remove_row(&mut self, key: &[u8]) -> Result<(), Fault> {
        if let Some(old) = self.tables.state.remove(key)? {
            self.ledger.bytes = self.ledger.bytes.saturating_sub(row_bytes(key, old.value()));
            self.outcome.changed = true;
        }
        Ok(())
    }
}

/// What a row of an offset or a group takes in memory, by and large.
pub(super) fn row_bytes(key: &[u8], value: &[u8]) -> usize {
    ROW_BYTES + key.len() + value.len()
}

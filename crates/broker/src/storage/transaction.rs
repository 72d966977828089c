//! A transaction: changes go to a frame and to the write state; updates of the readers' state and answers are
//! kept until the frame is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::FrameBuffer;
use super::pending_write::Answer;
use super::producer_state;
use super::read_state::{GroupState, State, StateUpdate, group_bytes, offset_bytes};
use super::record::{put_batch, put_removed_row, put_row};
use super::rows::{META_KEY, PartitionRow, TopicRow, group_key, offset_key, partition_key, topic_key};
use super::segment_index::BatchEntry;
use super::store_state::StoreState;
use super::write_queue::{Batch, Change};
use super::write_state::WriteState;
use super::{ActiveProducer, Appended, CommittedOffset, LogBounds, MAX_PARTITIONS, Topic};
use protocol::error_code::ErrorCode;

/// Updates and answers that follow once the frame is durable.
#[derive(Default)]
pub(super) struct Applied {
    pub updates: Vec<StateUpdate>,
    pub answers: Vec<Answer>,
}

impl Applied {
    /// Adds where the payload of the frame begins to the positions of the batches in it.
    pub(super) fn place(&mut self, payload: u64) {
        for update in &mut self.updates {
            let StateUpdate::Appended(_, _, entries) = update else { continue };
            for entry in entries {
                entry.position = u32::try_from(payload + u64::from(entry.position)).unwrap_or(u32::MAX);
            }
        }
    }

    /// Bytes of the batches that it appends.
    pub(super) fn appended_bytes(&self) -> u64 {
        let entries = self.updates.iter().filter_map(|update| match update {
            StateUpdate::Appended(_, _, entries) => Some(entries),
            _ => None,
        });
        entries.flatten().map(|entry| u64::from(entry.size)).sum()
    }
}

/// A transaction to which changes are applied.
pub(super) struct Changes<'w> {
    shared: &'w StoreState,
    write_state: &'w mut WriteState,
    frame: &'w mut FrameBuffer,
    now: i64,
    applied: Applied,
    /// The batches of each log, with their positions in the payload.
    appended: BTreeMap<(Arc<str>, i32), Vec<BatchEntry>>,
    /// Bytes of offsets and groups that this transaction adds, at most.
    added: usize,
}

impl<'w> Changes<'w> {
    /// `now` is the time, ms since 1970.
    pub(super) fn new(
        shared: &'w StoreState,
        write_state: &'w mut WriteState,
        frame: &'w mut FrameBuffer,
        now: i64,
    ) -> Changes<'w> {
        let (applied, appended) = Default::default();
        Changes { shared, write_state, frame, now, applied, appended, added: 0 }
    }

    /// Applies one change, and keeps its answer.
    pub(super) fn apply(&mut self, change: Change) {
        let answer = match change {
            Change::Append(batches) => {
                for (batch, reply) in batches {
                    let appended = self.append(&batch);
                    self.applied.answers.push(reply.once_durable(appended));
                }
                return;
            }
            Change::CreateTopic { name, partitions, configs, reply } => {
                reply.once_durable(self.create_topic(name, partitions, configs))
            }
            Change::AlterTopic { name, configs, replace, reply } => {
                reply.once_durable(self.alter_topic(&name, configs, replace))
            }
            Change::CreatePartitions { name, count, reply } => {
                reply.once_durable(self.create_partitions(&name, count))
            }
            Change::DeleteTopic { name, id, reply } => reply.once_durable(self.delete_topic(&name, id)),
            Change::DeleteRecords { topic, partition, before, reply } => {
                reply.once_durable(self.delete_records(&topic, partition, before))
            }
            Change::Producers { topic, partition, reply } => {
                reply.once_durable(self.producers(&topic, partition))
            }
            Change::NewProducerId(reply) => reply.once_durable(Ok(self.new_producer_id())),
            Change::CommitOffsets { group, offsets, reply } => {
                reply.once_durable(self.commit_offsets(&group, offsets))
            }
            Change::DeleteOffsets { group, partitions, reply } => {
                self.delete_offsets(&group, partitions);
                reply.once_durable(Ok(()))
            }
            Change::SaveGroup { group, state, reply } => reply.once_durable(self.save_group(group, state)),
            Change::DeleteGroup { group, reply } => {
                self.put_removed(&group_key(&group));
                self.applied.updates.push(StateUpdate::GroupDeleted(group));
                reply.once_durable(Ok(()))
            }
            #[cfg(test)]
            Change::ApplyRetention(reply) => reply.once_durable(Ok(false)),
        };
        self.applied.answers.push(answer);
    }

    /// What follows once the frame is durable.
    pub(super) fn finish(mut self) -> Applied {
        self.flush_appended();
        self.applied
    }

    /// Puts the batches so far among the updates, before one that their logs may not outlive.
    fn flush_appended(&mut self) {
        for ((name, partition), entries) in std::mem::take(&mut self.appended) {
            self.applied.updates.push(StateUpdate::Appended(name, partition, entries));
        }
    }

    fn append(&mut self, batch: &Batch) -> Result<Appended, ErrorCode> {
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let (number, log) = self.write_state.log(&batch.topic, batch.partition).ok_or(unknown)?;
        let log = *log;
        if let Some(sequence) = &batch.sequence {
            let key = (number, batch.partition, sequence.producer);
            let known = self.write_state.producers.get(&key);
            if let Some(base_offset) = producer_state::check(known, sequence)? {
                return Ok(Appended { base_offset, log_start_offset: log.log_start_offset });
            }
        }
        let end = log.log_end_offset.checked_add(i64::from(batch.last_delta) + 1);
        let end = end.ok_or(ErrorCode::RECORD_LIST_TOO_LARGE)?;
        let entry = self.put_batch(number, &log, batch);
        self.appended.entry((batch.topic.clone(), batch.partition)).or_default().push(entry);
        if let Some((_, log)) = self.write_state.log_mut(&batch.topic, batch.partition) {
            log.log_end_offset = end;
        }
        if let Some(sequence) = &batch.sequence {
            let log_of = (number, batch.partition);
            self.write_state.record_producer(log_of, sequence, log.log_end_offset, self.now);
        }
        Ok(Appended { base_offset: log.log_end_offset, log_start_offset: log.log_start_offset })
    }

    /// Stores a batch as received, except for its base offset and its leader epoch, which its checksum does
    /// not cover. The entry has the position in the payload.
    fn put_batch(&mut self, number: u32, log: &PartitionRow, batch: &Batch) -> BatchEntry {
        let payload = self.frame.payload();
        let at = put_batch(payload, number, batch.partition, &batch.bytes);
        let stored = payload.get_mut(at..).and_then(|stored| stored.first_chunk_mut::<16>());
        if let Some((base_offset, rest)) = stored.map(|head| head.split_at_mut(8)) {
            base_offset.copy_from_slice(&log.log_end_offset.to_be_bytes());
            let (_size, leader_epoch) = rest.split_at_mut(4);
            leader_epoch.fill(0);
        }
        BatchEntry {
            base: log.log_end_offset,
            last_delta: batch.last_delta,
            position: u32::try_from(at - super::frame::HEADER_BYTES).unwrap_or(u32::MAX),
            size: u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX),
            max_timestamp: batch.max_timestamp,
        }
    }

    fn create_topic(
        &mut self,
        name: Arc<str>,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<Topic, ErrorCode> {
        if self.write_state.topics.contains_key(&name) {
            return Err(ErrorCode::TOPIC_ALREADY_EXISTS);
        }
        let count = usize::try_from(partitions).unwrap_or(0);
        if count == 0 {
            return Err(ErrorCode::INVALID_PARTITIONS);
        }
        let number = self.write_state.meta.next_topic;
        if count > MAX_PARTITIONS - self.write_state.partitions || number == u32::MAX {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let id = net::random::bytes().map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
        let topic = Topic { name, id: u128::from_be_bytes(id), partitions, configs: Arc::new(configs) };
        self.write_state.meta.next_topic = number + 1;
        self.put_meta();
        self.put_topic(number, topic.clone());
        Ok(topic)
    }

    fn alter_topic(
        &mut self,
        name: &str,
        configs: Vec<(String, Option<String>)>,
        replace: bool,
    ) -> Result<Topic, ErrorCode> {
        let known = self.write_state.topics.get(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let (number, mut topic) = (known.number, known.topic.clone());
        let mut changed = if replace { BTreeMap::new() } else { (*topic.configs).clone() };
        for (config, value) in configs {
            match value {
                Some(value) => changed.insert(config, value),
                None => changed.remove(&config),
            };
        }
        topic.configs = Arc::new(changed);
        self.put_topic(number, topic.clone());
        Ok(topic)
    }

    fn create_partitions(&mut self, name: &str, count: i32) -> Result<Topic, ErrorCode> {
        let known = self.write_state.topics.get(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let (number, mut topic) = (known.number, known.topic.clone());
        if count <= topic.partitions {
            return Err(ErrorCode::INVALID_PARTITIONS);
        }
        let more = usize::try_from(count - topic.partitions).unwrap_or(usize::MAX);
        if more > MAX_PARTITIONS - self.write_state.partitions {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        topic.partitions = count;
        self.put_topic(number, topic.clone());
        Ok(topic)
    }

    fn put_topic(&mut self, number: u32, topic: Topic) {
        let row = TopicRow::of(&topic);
        put_row(self.frame.payload(), &topic_key(number), &row.to_bytes());
        self.write_state.put_topic(number, topic.clone());
        self.applied.updates.push(StateUpdate::Topic(number, topic));
    }

    fn delete_topic(&mut self, name: &str, id: Option<u128>) -> Result<(), ErrorCode> {
        let found = self.write_state.topics.get(name);
        if id.is_some_and(|id| found.is_none_or(|known| known.topic.id != id)) {
            return Err(ErrorCode::UNKNOWN_TOPIC_ID);
        }
        let removed = self.write_state.remove_topic(name);
        let number = removed.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        self.appended.retain(|(appended, _), _| **appended != *name);
        self.put_removed(&topic_key(number));
        self.applied.updates.push(StateUpdate::TopicDeleted(number));
        Ok(())
    }

    fn delete_records(&mut self, topic: &Arc<str>, partition: i32, before: i64) -> Result<i64, ErrorCode> {
        let log = self.write_state.log(topic, partition);
        let (number, log) = log.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let before = if before == -1 { log.log_end_offset } else { before };
        if before < 0 || before > log.log_end_offset {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if before <= log.log_start_offset {
            return Ok(log.log_start_offset);
        }
        let mut row = *log;
        row.log_start_offset = before;
        self.flush_appended();
        self.put_log(topic, number, partition, row, None);
        Ok(before)
    }

    /// Removes the start of a log; it has `bytes` left, if they are known.
    pub(super) fn put_log(
        &mut self,
        topic: &Arc<str>,
        number: u32,
        partition: i32,
        row: PartitionRow,
        bytes: Option<u64>,
    ) {
        put_row(self.frame.payload(), &partition_key(number, partition), &row.to_bytes());
        if let Some((_, log)) = self.write_state.log_mut(topic, partition) {
            *log = row;
        }
        let PartitionRow { log_start_offset, log_end_offset, .. } = row;
        let bounds = LogBounds { log_start_offset, log_end_offset };
        self.applied.updates.push(StateUpdate::LogBounds(topic.clone(), partition, bounds, bytes));
    }

    fn producers(&self, topic: &str, partition: i32) -> Result<Vec<ActiveProducer>, ErrorCode> {
        let log = self.write_state.log(topic, partition);
        let (number, _) = log.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let of_log = |key: &(u32, i32, i64)| (key.0, key.1) == (number, partition);
        let known = self.write_state.producers.iter().filter(|(key, _)| of_log(key));
        let mut producers: Vec<ActiveProducer> = known
            .map(|(key, producer)| ActiveProducer {
                id: key.2,
                epoch: producer.epoch,
                last_sequence: producer.batches.last().map_or(-1, |batch| batch.last),
                last_timestamp: producer.used,
            })
            .collect();
        producers.sort_by_key(|producer| producer.id);
        Ok(producers)
    }

    fn new_producer_id(&mut self) -> i64 {
        let id = self.write_state.meta.next_producer;
        self.write_state.meta.next_producer = id.saturating_add(1);
        self.put_meta();
        id
    }

    fn put_meta(&mut self) {
        put_row(self.frame.payload(), META_KEY, &self.write_state.meta.to_bytes());
    }

    fn put_removed(&mut self, key: &[u8]) {
        put_removed_row(self.frame.payload(), key);
    }

    fn commit_offsets(
        &mut self,
        group: &Arc<str>,
        offsets: Vec<(Arc<str>, i32, CommittedOffset)>,
    ) -> Result<(), ErrorCode> {
        let mut numbered = Vec::with_capacity(offsets.len());
        for (topic, partition, committed) in offsets {
            let log = self.write_state.log(&topic, partition);
            let (number, _) = log.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            numbered.push((number, partition, committed));
        }
        let after = numbered.iter().map(|(_, _, committed)| offset_bytes(group, committed)).sum();
        let before = |known: &GroupState| {
            let rows = numbered
                .iter()
                .filter_map(|(number, partition, _)| known.offsets.get(&(*number, *partition)));
            rows.map(|row| offset_bytes(group, row)).sum()
        };
        self.make_room(group, after, before)?;
        for (number, partition, committed) in numbered {
            let key = offset_key(group, number, partition);
            put_row(self.frame.payload(), &key, &committed.to_bytes());
            let update = StateUpdate::OffsetCommitted(group.clone(), number, partition, committed);
            self.applied.updates.push(update);
        }
        Ok(())
    }

    fn delete_offsets(&mut self, group: &Arc<str>, partitions: Vec<(Arc<str>, i32)>) {
        for (topic, partition) in partitions {
            let Some((number, _)) = self.write_state.log(&topic, partition) else { continue };
            self.put_removed(&offset_key(group, number, partition));
            self.applied.updates.push(StateUpdate::OffsetDeleted(group.clone(), number, partition));
        }
    }

    fn save_group(&mut self, group: Arc<str>, state: Bytes) -> Result<(), ErrorCode> {
        let before = |known: &GroupState| known.state.as_ref().map_or(0, |state| group_bytes(&group, state));
        self.make_room(&group, group_bytes(&group, &state), before)?;
        put_row(self.frame.payload(), &group_key(&group), &state);
        self.applied.updates.push(StateUpdate::Group(group, state));
        Ok(())
    }

    /// Whether offsets and groups may take `after` bytes more, in place of `before` of this group.
    fn make_room(
        &mut self,
        group: &str,
        after: usize,
        before: impl Fn(&GroupState) -> usize,
    ) -> Result<(), ErrorCode> {
        let shared = self.shared;
        let state = shared.state();
        let limit = self.write_state.limits.bytes;
        let fits =
            |state: &State, before: usize| state.bytes + self.added + after <= limit.saturating_add(before);
        if !fits(&state, 0) {
            let before = state.groups.get(group).map_or(0, before);
            if !fits(&state, before) && after > before {
                return Err(ErrorCode::POLICY_VIOLATION);
            }
        }
        self.added += after;
        Ok(())
    }
}

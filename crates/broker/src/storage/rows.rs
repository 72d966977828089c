//! Rows: topics, logs, producers, offsets and groups, each with a key of its kind and names.
//!
//! They stand in the frames of the log where they change, and all of them in a snapshot. Integers are
//! big-endian.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::producer_state::{ProducerState, StoredSequence};
use super::{CommittedOffset, Topic};
use protocol::wire::{Malformed, Reader, Writer};

/// The kinds of rows: the first byte of a key.
const META: u8 = 0;
const TOPIC: u8 = 1;
const PARTITION: u8 = 2;
const PRODUCER: u8 = 3;
const OFFSET: u8 = 5;
const GROUP: u8 = 6;

/// The version of the format of all rows.
const FORMAT: i16 = 2;
/// The largest number of configurations of a topic.
const MAX_CONFIGS: usize = 1000;

/// Cluster id and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub cluster_id: [u8; 16],
    /// The number of the next topic.
    pub next_topic: u32,
    /// The next producer's id.
    pub next_producer: i64,
}

/// A topic, by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicRow {
    pub name: Arc<str>,
    pub id: u128,
    pub partitions: i32,
    /// The configurations that are set for it alone.
    pub configs: Arc<BTreeMap<String, String>>,
}

/// The ends of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionRow {
    pub log_start_offset: i64,
    pub log_end_offset: i64,
    /// The largest timestamp of the batches that retention has removed; -1 for none.
    pub removed_timestamp: i64,
}

impl PartitionRow {
    /// A log that nothing was appended to.
    pub(super) const EMPTY: PartitionRow =
        PartitionRow { log_start_offset: 0, log_end_offset: 0, removed_timestamp: -1 };
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row<'r> {
    Meta(Meta),
    Topic(u32, TopicRow),
    Partition(u32, i32, PartitionRow),
    Producer(u32, i32, i64, ProducerState),
    Offset(&'r str, u32, i32, CommittedOffset),
    Group(&'r str, Bytes),
}

/// The key of the one [`Meta`].
pub(super) const META_KEY: &[u8] = &[META];

fn key(kind: u8, room: usize) -> Writer {
    let mut writer = Writer::with_capacity(1 + room);
    writer.put_raw(&[kind]);
    writer
}

pub(super) fn topic_key(number: u32) -> Vec<u8> {
    let mut key = key(TOPIC, 4);
    key.put_u32(number);
    key.into_vec()
}

pub(super) fn partition_key(number: u32, partition: i32) -> Vec<u8> {
    let mut key = key(PARTITION, 8);
    key.put_u32(number);
    key.put_i32(partition);
    key.into_vec()
}

pub(super) fn producer_key(number: u32, partition: i32, producer: i64) -> Vec<u8> {
    let mut key = key(PRODUCER, 16);
    key.put_u32(number);
    key.put_i32(partition);
    key.put_i64(producer);
    key.into_vec()
}

pub(super) fn offset_key(group: &str, number: u32, partition: i32) -> Vec<u8> {
    let mut key = key(OFFSET, 4 + group.len() + 8);
    key.put_bytes(group.as_bytes());
    key.put_u32(number);
    key.put_i32(partition);
    key.into_vec()
}

pub(super) fn group_key(group: &str) -> Vec<u8> {
    let mut key = key(GROUP, group.len());
    key.put_raw(group.as_bytes());
    key.into_vec()
}

impl Meta {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut value = Writer::with_capacity(30);
        value.put_i16(FORMAT);
        value.put_raw(&self.cluster_id);
        value.put_u32(self.next_topic);
        value.put_i64(self.next_producer);
        value.into_vec()
    }
}

impl TopicRow {
    pub(super) fn of(topic: &Topic) -> TopicRow {
        let Topic { name, id, partitions, configs } = topic.clone();
        TopicRow { name, id, partitions, configs }
    }

    pub(super) fn topic(self) -> Topic {
        let TopicRow { name, id, partitions, configs } = self;
        Topic { name, id, partitions, configs }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut value = Writer::with_capacity(20 + self.name.len());
        value.put_raw(&self.id.to_be_bytes());
        value.put_i32(self.partitions);
        value.put_bytes(self.name.as_bytes());
        value.put_array_len(self.configs.len());
        for (name, config) in self.configs.iter() {
            value.put_bytes(name.as_bytes());
            value.put_bytes(config.as_bytes());
        }
        value.into_vec()
    }
}

impl PartitionRow {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut value = Writer::with_capacity(24);
        value.put_i64(self.log_start_offset);
        value.put_i64(self.log_end_offset);
        value.put_i64(self.removed_timestamp);
        value.into_vec()
    }

    pub(super) fn read(value: &[u8]) -> Result<PartitionRow, Malformed> {
        let mut reader = Reader::new(value);
        let (log_start_offset, end, removed_timestamp) = (reader.i64()?, reader.i64()?, reader.i64()?);
        if log_start_offset < 0 || end < log_start_offset || !reader.is_empty() {
            return Err(reader.malformed("a partition with impossible ends"));
        }
        Ok(PartitionRow { log_start_offset, log_end_offset: end, removed_timestamp })
    }
}

impl ProducerState {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut value = Writer::with_capacity(10 + 16 * self.batches.len());
        value.put_i16(self.epoch);
        value.put_i64(self.used);
        for batch in &self.batches {
            value.put_i32(batch.first);
            value.put_i32(batch.last);
            value.put_i64(batch.base_offset);
        }
        value.into_vec()
    }

    fn read(reader: &mut Reader<'_>) -> Result<ProducerState, Malformed> {
        let mut producer = ProducerState { epoch: reader.i16()?, used: reader.i64()?, batches: Vec::new() };
        while !reader.is_empty() {
            let sequence =
                StoredSequence { first: reader.i32()?, last: reader.i32()?, base_offset: reader.i64()? };
            producer.batches.push(sequence);
        }
        Ok(producer)
    }
}

impl CommittedOffset {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut value = Writer::with_capacity(12 + self.metadata.len());
        value.put_i64(self.offset);
        value.put_i32(self.leader_epoch);
        value.put_raw(self.metadata.as_bytes());
        value.into_vec()
    }
}

/// A row that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed<'r> {
    Topic(u32),
    Offset(&'r str, u32, i32),
    /// With the offsets of the group.
    Group(&'r str),
}

impl<'r> Removed<'r> {
    /// Decodes the key of a row that can be removed.
    ///
    /// # Errors
    /// It is none in the format of this version.
    pub(super) fn read(key: &'r [u8]) -> Result<Removed<'r>, Malformed> {
        let mut key = Reader::new(key);
        let kind = u8::from_be_bytes(key.i8()?.to_be_bytes());
        let removed = match kind {
            TOPIC => Removed::Topic(key.u32()?),
            OFFSET => Removed::Offset(text(&mut Reader::new(key.bytes()?))?, key.u32()?, key.i32()?),
            GROUP => Removed::Group(text(&mut key)?),
            _ => return Err(key.malformed("a kind of row that cannot be removed")),
        };
        if key.is_empty() { Ok(removed) } else { Err(key.malformed("a key that is too long")) }
    }
}

impl<'r> Row<'r> {
    /// Decodes a row.
    ///
    /// # Errors
    /// The row is not in the format of this version.
    pub(super) fn read(key: &'r [u8], value: &'r [u8]) -> Result<Row<'r>, Malformed> {
        let (mut key, mut value) = (Reader::new(key), Reader::new(value));
        let kind = u8::from_be_bytes(key.i8()?.to_be_bytes());
        let row = match kind {
            META => Row::Meta(read_meta(&mut value)?),
            TOPIC => Row::Topic(key.u32()?, read_topic(&mut value)?),
            PARTITION => {
                let row = PartitionRow::read(value.rest())?;
                value.take(value.remaining())?;
                Row::Partition(key.u32()?, key.i32()?, row)
            }
            PRODUCER => Row::Producer(key.u32()?, key.i32()?, key.i64()?, ProducerState::read(&mut value)?),
            OFFSET => {
                let group = text(&mut Reader::new(key.bytes()?))?;
                Row::Offset(group, key.u32()?, key.i32()?, read_committed(&mut value)?)
            }
            GROUP => {
                let group = text(&mut key)?;
                Row::Group(group, Bytes::copy_from_slice(value.take(value.remaining())?))
            }
            _ => return Err(key.malformed("a kind of row that is not known")),
        };
        if !key.is_empty() || !value.is_empty() {
            return Err(value.malformed("a row that is too long"));
        }
        Ok(row)
    }
}

fn read_meta(value: &mut Reader<'_>) -> Result<Meta, Malformed> {
    if value.i16()? != FORMAT {
        return Err(value.malformed("a format that is not known: was it written by a newer version?"));
    }
    let mut cluster_id = [0; 16];
    cluster_id.copy_from_slice(value.take(16)?);
    Ok(Meta { cluster_id, next_topic: value.u32()?, next_producer: value.i64()? })
}

fn read_topic(value: &mut Reader<'_>) -> Result<TopicRow, Malformed> {
    let mut id = [0; 16];
    id.copy_from_slice(value.take(16)?);
    let partitions = value.i32()?;
    if partitions < 1 {
        return Err(value.malformed("a topic without partitions"));
    }
    let name = text(&mut Reader::new(value.bytes()?))?.into();
    let count = value.array_len(8)?;
    if count > MAX_CONFIGS {
        return Err(value.malformed("a topic with too many configurations"));
    }
    let mut configs = BTreeMap::new();
    for _ in 0..count {
        let config = text(&mut Reader::new(value.bytes()?))?.to_owned();
        configs.insert(config, text(&mut Reader::new(value.bytes()?))?.to_owned());
    }
    Ok(TopicRow { name, id: u128::from_be_bytes(id), partitions, configs: Arc::new(configs) })
}

fn read_committed(value: &mut Reader<'_>) -> Result<CommittedOffset, Malformed> {
    Ok(CommittedOffset { offset: value.i64()?, leader_epoch: value.i32()?, metadata: text(value)?.into() })
}

/// The remaining bytes, as text.
fn text<'r>(reader: &mut Reader<'r>) -> Result<&'r str, Malformed> {
    let bytes = reader.take(reader.remaining())?;
    std::str::from_utf8(bytes).map_err(|_| reader.malformed("text that is not UTF-8"))
}

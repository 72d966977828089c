//! The tables of the database, and the rows that are kept in memory too.
//!
//! | table | key | value |
//! |---|---|---|
//! | `batches` | topic number, partition, base offset | a record batch, as it is served |
//! | `index` | the same | size, offsets and timestamps of a batch |
//! | `state` | a kind and its names | topics, ends of logs, producers, offsets, groups |
//!
//! Everything is big-endian, so that keys sort as numbers do.

use std::sync::Arc;

use bytes::Bytes;
use redb::TableDefinition;

use super::CommittedOffset;
use super::producer_state::{ProducerState, StoredSequence};
use protocol::wire::{Malformed, Reader, Writer};

/// Topic number, partition, base offset.
pub(super) type BatchKey = [u8; 16];
/// An [`IndexEntry`].
pub(super) type IndexValue = [u8; 24];

/// The record batches.
pub(super) const BATCHES: TableDefinition<&BatchKey, &[u8]> = TableDefinition::new("batches");
/// The index row of each batch.
pub(super) const INDEX: TableDefinition<&BatchKey, &IndexValue> = TableDefinition::new("index");
/// Topics, log ends, producers, offsets, groups.
pub(super) const STATE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("state");

/// The kinds of rows in [`STATE`]: the first byte of a key.
const META: u8 = 0;
const TOPIC: u8 = 1;
const PARTITION: u8 = 2;
const PRODUCER: u8 = 3;
const DELETED_TOPIC: u8 = 4;
const OFFSET: u8 = 5;
const GROUP: u8 = 6;

/// The version of the format of all rows.
const FORMAT: i16 = 1;

/// The key of a batch.
pub(super) fn batch_key(number: u32, partition: i32, offset: i64) -> BatchKey {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key[4..8].copy_from_slice(&partition.to_be_bytes());
    key[8..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The base offset in a key, if it is one of this partition.
pub(super) fn base_offset(key: &BatchKey, number: u32, partition: i32) -> Option<i64> {
    let mut offset = [0; 8];
    offset.copy_from_slice(&key[8..]);
    let offset = i64::from_be_bytes(offset);
    (*key == batch_key(number, partition, offset)).then_some(offset)
}

/// Fields of a batch that are read without the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// The last offset minus the base offset.
    pub last_delta: i32,
    /// Bytes of the batch.
    pub size: u32,
    /// The largest timestamp of its records; -1 for none.
    pub max_timestamp: i64,
    /// The largest timestamp of the partition up to this batch, removed batches included.
    pub max_timestamp_so_far: i64,
}

impl IndexEntry {
    pub(super) fn to_bytes(self) -> IndexValue {
        let mut value = [0; 24];
        value[..4].copy_from_slice(&self.last_delta.to_be_bytes());
        value[4..8].copy_from_slice(&self.size.to_be_bytes());
        value[8..16].copy_from_slice(&self.max_timestamp.to_be_bytes());
        value[16..].copy_from_slice(&self.max_timestamp_so_far.to_be_bytes());
        value
    }

    pub(super) fn read(value: &IndexValue) -> Result<IndexEntry, Malformed> {
        let mut reader = Reader::new(value);
        let last_delta = reader.i32()?;
        let size = reader.u32()?;
        if last_delta < 0 {
            return Err(reader.malformed("a batch that ends before it begins"));
        }
        Ok(IndexEntry { last_delta, size, max_timestamp: reader.i64()?, max_timestamp_so_far: reader.i64()? })
    }
}

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
}

/// The log start offset and the log end offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionRow {
    pub log_start_offset: i64,
    pub log_end_offset: i64,
    /// Bytes of the batches that are kept.
    pub bytes: u64,
    /// The largest timestamp ever appended; -1 for none.
    pub max_timestamp_so_far: i64,
}

impl PartitionRow {
    /// A log that nothing was appended to.
    pub(super) const EMPTY: PartitionRow =
        PartitionRow { log_start_offset: 0, log_end_offset: 0, bytes: 0, max_timestamp_so_far: -1 };
}

/// A row of [`STATE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row<'r> {
    Meta(Meta),
    Topic(u32, TopicRow),
    Partition(u32, i32, PartitionRow),
    Producer(u32, i32, i64, ProducerState),
    /// The number of a deleted topic that still has rows.
    DeletedTopic(u32),
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

pub(super) fn deleted_topic_key(number: u32) -> Vec<u8> {
    let mut key = key(DELETED_TOPIC, 4);
    key.put_u32(number);
    key.into_vec()
}

pub(super) fn offset_key(group: &str, number: u32, partition: i32) -> Vec<u8> {
    let mut key = key(OFFSET, 4 + group.len() + 8);
    key.put_bytes(group.as_bytes());
    key.put_u32(number);
    key.put_i32(partition);
    key.into_vec()
}

/// The key range of the committed offsets of all groups.
pub(super) const OFFSETS: std::ops::Range<[u8; 1]> = [OFFSET]..[OFFSET + 1];

/// The topic number in the key of an offset.
pub(super) fn offset_topic(key: &[u8]) -> Option<u32> {
    let (_, tail) = key.split_last_chunk::<8>()?;
    tail.first_chunk::<4>().map(|number| u32::from_be_bytes(*number))
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
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut value = Writer::with_capacity(20 + self.name.len());
        value.put_raw(&self.id.to_be_bytes());
        value.put_i32(self.partitions);
        value.put_raw(self.name.as_bytes());
        value.into_vec()
    }
}

impl PartitionRow {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut value = Writer::with_capacity(32);
        value.put_i64(self.log_start_offset);
        value.put_i64(self.log_end_offset);
        value.put_i64(i64::try_from(self.bytes).unwrap_or(i64::MAX));
        value.put_i64(self.max_timestamp_so_far);
        value.into_vec()
    }

    pub(super) fn read(value: &[u8]) -> Result<PartitionRow, Malformed> {
        let mut reader = Reader::new(value);
        let (log_start_offset, end, bytes, max_timestamp_so_far) =
            (reader.i64()?, reader.i64()?, reader.i64()?, reader.i64()?);
        let bytes = u64::try_from(bytes).map_err(|_| reader.malformed("a negative size"))?;
        if log_start_offset < 0 || end < log_start_offset || !reader.is_empty() {
            return Err(reader.malformed("a partition with impossible ends"));
        }
        Ok(PartitionRow { log_start_offset, log_end_offset: end, bytes, max_timestamp_so_far })
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

impl<'r> Row<'r> {
    /// Decodes a row of the table.
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
            DELETED_TOPIC => Row::DeletedTopic(key.u32()?),
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
    Ok(TopicRow { name: text(value)?.into(), id: u128::from_be_bytes(id), partitions })
}

fn read_committed(value: &mut Reader<'_>) -> Result<CommittedOffset, Malformed> {
    Ok(CommittedOffset { offset: value.i64()?, leader_epoch: value.i32()?, metadata: text(value)?.into() })
}

/// The remaining bytes, as text.
fn text<'r>(reader: &mut Reader<'r>) -> Result<&'r str, Malformed> {
    let bytes = reader.take(reader.remaining())?;
    std::str::from_utf8(bytes).map_err(|_| reader.malformed("text that is not UTF-8"))
}

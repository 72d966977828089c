//! Retention: removes expired batches, the rows of deleted topics, and expired producers, in slices between
//! changes.

use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::error::StorageError;
use super::read_state::StateUpdate;
use super::schema::{
    BatchKey, INDEX, IndexEntry, OFFSETS, PartitionRow, base_offset, batch_key, deleted_topic_key,
    offset_topic, partition_key, producer_key,
};
use super::transaction::commit_durably;
use super::transaction::{Tables, row_bytes};
use super::write_state::{ProducerKey, WriteState};
use super::{LogBounds, Retention};

/// Rows that one slice removes.
const SLICE_ROWS: usize = 1000;
/// Bytes of batches that one slice removes, and one batch beyond.
const SLICE_BYTES: u64 = 32 << 20;
/// Rows of offsets that one slice looks at.
const SCANNED_ROWS: usize = 20_000;
/// How long an idle producer is remembered (Kafka's `producer.id.expiration.ms`).
const PRODUCER_ID_EXPIRATION: Duration = Duration::from_secs(24 * 3600);

/// The result of one slice.
#[derive(Default)]
pub(super) struct Slice {
    pub updates: Vec<StateUpdate>,
    /// Whether there is more to remove now.
    pub more: bool,
}

/// The position of retention between its slices.
#[derive(Default)]
pub(super) struct RetentionTask {
    /// The first key of the next slice over committed offsets, for the deleted topic in hand.
    scanned: Option<Vec<u8>>,
}

/// The expired batches at the start of a log.
struct ExpiredBatches {
    name: Arc<str>,
    partition: i32,
    number: u32,
    keys: Vec<BatchKey>,
    after: PartitionRow,
}

impl RetentionTask {
    /// Runs one slice, in at most one transaction each for deleted topics, expired batches and expired
    /// producers.
    pub(super) fn run_slice(
        &mut self,
        database: &Database,
        write_state: &mut WriteState,
        retention: &Retention,
        now: i64,
    ) -> Result<Slice, StorageError> {
        let mut slice = Slice::default();
        if let Some(number) = write_state.deleted_topics.first().copied() {
            let done = self.remove_topic_rows(database, write_state, number)?;
            slice.more |= !done || write_state.deleted_topics.len() > 1;
            if done {
                write_state.deleted_topics.remove(&number);
            }
        }
        remove_expired_batches(database, write_state, retention, now, &mut slice)?;
        expire_producers(database, write_state, now, &mut slice)?;
        Ok(slice)
    }

    /// Removes a slice of the rows of a deleted topic; true when none are left.
    fn remove_topic_rows(
        &mut self,
        database: &Database,
        write_state: &mut WriteState,
        number: u32,
    ) -> Result<bool, StorageError> {
        let mut freed = 0;
        let done = commit_durably(database, |tables| {
            let left = remove_batches(tables, number)?;
            if left || remove_producers(tables, number)? {
                return Ok(false);
            }
            let done = self.remove_offsets(tables, number, &mut freed)?;
            if done {
                tables.state.remove(deleted_topic_key(number).as_slice())?;
            }
            Ok(done)
        })?;
        write_state.bytes = write_state.bytes.saturating_sub(freed);
        Ok(done)
    }

    /// Scans a slice of all committed offsets for the deleted topic's; true after the last slice.
    fn remove_offsets(
        &mut self,
        tables: &mut Tables<'_>,
        number: u32,
        freed: &mut usize,
    ) -> Result<bool, StorageError> {
        let start = self.scanned.take().unwrap_or_else(|| OFFSETS.start.to_vec());
        let mut keys = Vec::new();
        let mut last = None;
        for row in tables.state.range(start.as_slice()..OFFSETS.end.as_slice())?.take(SCANNED_ROWS) {
            let (key, value) = row?;
            if offset_topic(key.value()) == Some(number) {
                keys.push(key.value().to_vec());
                *freed += row_bytes(key.value(), value.value());
            }
            last = Some(key.value().to_vec());
        }
        for key in keys {
            tables.state.remove(key.as_slice())?;
        }
        // The next slice begins with the key right after the last one.
        self.scanned = last.map(|mut key| {
            key.push(0);
            key
        });
        Ok(self.scanned.is_none())
    }
}

/// Removes a slice of rows; true if it removed any.
fn remove_batches(tables: &mut Tables<'_>, number: u32) -> Result<bool, StorageError> {
    let (first, last) = (batch_key(number, 0, 0), batch_key(number, -1, -1));
    let (mut keys, mut bytes) = (Vec::new(), 0);
    for row in tables.index.range::<&BatchKey>(&first..=&last)? {
        let (key, value) = row?;
        if keys.len() >= SLICE_ROWS || bytes >= SLICE_BYTES {
            break;
        }
        keys.push(*key.value());
        bytes += u64::from(IndexEntry::read(value.value())?.size);
    }
    for key in &keys {
        tables.batches.remove(key)?;
        tables.index.remove(key)?;
    }
    Ok(!keys.is_empty())
}

/// Removes a slice of rows; true if it removed any.
fn remove_producers(tables: &mut Tables<'_>, number: u32) -> Result<bool, StorageError> {
    let (first, last) = (producer_key(number, 0, 0), producer_key(number, -1, -1));
    let mut keys = Vec::new();
    for row in tables.state.range(first.as_slice()..=last.as_slice())?.take(SLICE_ROWS) {
        keys.push(row?.0.value().to_vec());
    }
    for key in &keys {
        tables.state.remove(key.as_slice())?;
    }
    Ok(!keys.is_empty())
}

fn remove_expired_batches(
    database: &Database,
    write_state: &mut WriteState,
    retention: &Retention,
    now: i64,
    slice: &mut Slice,
) -> Result<(), StorageError> {
    if retention.age.is_none() && retention.bytes.is_none() {
        return Ok(());
    }
    let expired = find_expired(database, write_state, retention, now, slice)?;
    if expired.is_empty() {
        return Ok(());
    }
    commit_durably(database, |tables| {
        for log in &expired {
            for key in &log.keys {
                tables.batches.remove(key)?;
                tables.index.remove(key)?;
            }
            let key = partition_key(log.number, log.partition);
            tables.state.insert(key.as_slice(), log.after.to_bytes().as_slice())?;
        }
        Ok(())
    })?;
    for log in expired {
        if let Some((_, row)) = write_state.log_mut(&log.name, log.partition) {
            *row = log.after;
        }
        let bounds = LogBounds {
            log_start_offset: log.after.log_start_offset,
            log_end_offset: log.after.log_end_offset,
        };
        slice.updates.push(StateUpdate::LogBounds(log.name, log.partition, bounds));
    }
    Ok(())
}

/// The expired batches of all logs, as many as one slice removes.
fn find_expired(
    database: &Database,
    write_state: &WriteState,
    retention: &Retention,
    now: i64,
    slice: &mut Slice,
) -> Result<Vec<ExpiredBatches>, StorageError> {
    let transaction = database.begin_read()?;
    let index = transaction.open_table(INDEX)?;
    let (mut rows, mut bytes, mut found) = (0, 0, Vec::new());
    for (name, topic) in &write_state.topics {
        for (partition, log) in (0..).zip(&topic.logs) {
            if log.log_start_offset == log.log_end_offset {
                continue;
            }
            let (number, mut after, mut keys) = (topic.number, *log, Vec::new());
            let first = batch_key(number, partition, log.log_start_offset);
            let end = batch_key(number, partition, log.log_end_offset);
            for row in index.range::<&BatchKey>(&first..&end)? {
                let (key, value) = row?;
                let entry = IndexEntry::read(value.value())?;
                let base = base_offset(key.value(), number, partition);
                if base != Some(after.log_start_offset) || !is_expired(&entry, &after, retention, now) {
                    break;
                }
                if rows >= SLICE_ROWS || bytes >= SLICE_BYTES {
                    slice.more = true;
                    break;
                }
                rows += 1;
                bytes += u64::from(entry.size);
                keys.push(*key.value());
                after.log_start_offset += i64::from(entry.last_delta) + 1;
                after.bytes = after.bytes.saturating_sub(u64::from(entry.size));
            }
            if !keys.is_empty() {
                found.push(ExpiredBatches { name: name.clone(), partition, number, keys, after });
            }
        }
    }
    Ok(found)
}

/// Whether the first batch of a log has expired. By size, the last batch always stays. A batch without
/// timestamps is as old as those before it.
fn is_expired(entry: &IndexEntry, log: &PartitionRow, retention: &Retention, now: i64) -> bool {
    let is_last = log.log_start_offset + i64::from(entry.last_delta) + 1 >= log.log_end_offset;
    let too_large = retention.bytes.is_some_and(|limit| log.bytes > limit) && !is_last;
    let youngest = if entry.max_timestamp >= 0 { entry.max_timestamp } else { entry.max_timestamp_so_far };
    let too_old = retention.age.is_some_and(|age| {
        youngest >= 0 && youngest < now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    });
    too_large || too_old
}

fn expire_producers(
    database: &Database,
    write_state: &mut WriteState,
    now: i64,
    slice: &mut Slice,
) -> Result<(), StorageError> {
    let since = now.saturating_sub(i64::try_from(PRODUCER_ID_EXPIRATION.as_millis()).unwrap_or(i64::MAX));
    let silent: Vec<ProducerKey> = write_state.producers.expired_before(since, SLICE_ROWS);
    if silent.is_empty() {
        return Ok(());
    }
    commit_durably(database, |tables| {
        for key in &silent {
            tables.state.remove(producer_key(key.0, key.1, key.2).as_slice())?;
        }
        Ok(())
    })?;
    slice.more |= silent.len() >= SLICE_ROWS;
    silent.iter().for_each(|key| write_state.producers.remove(key));
    Ok(())
}

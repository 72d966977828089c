//! What the writer does by itself, in slices between the changes: old batches are removed, deleted topics emptied,
//! silent producers forgotten.

use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::fault::Fault;
use super::ledger::{Ledger, ProducerKey};
use super::rows::{
    BatchKey, INDEX, IndexEntry, OFFSETS, PartitionRow, base_offset, batch_key, emptied_key, offset_topic,
    partition_key, producer_key,
};
use super::state::Effect;
use super::transaction::{Tables, row_bytes};
use super::writer::commit_durably;
use super::{Bounds, Retention};

/// Rows that one slice removes.
const SLICE_ROWS: usize = 1000;
/// Bytes of batches that one slice removes, and one batch beyond.
const SLICE_BYTES: u64 = 32 << 20;
/// Rows of offsets that one slice looks at.
const SCANNED_ROWS: usize = 20_000;
/// After how long a producer that stored nothing is forgotten.
const PRODUCER_SILENCE: Duration = Duration::from_secs(24 * 3600);

/// What one slice did.
#[derive(Default)]
pub(super) struct Slice {
    pub effects: Vec<Effect>,
    /// Whether there is more of it to do now.
    pub more: bool,
}

/// Where the slices have got to.
#[derive(Default)]
pub(super) struct Upkeep {
    /// The key after which rows of offsets are still to be looked at for the topic that is being emptied.
    scanned: Option<Vec<u8>>,
}

/// The old batches at the start of a log.
struct Old {
    name: Arc<str>,
    partition: i32,
    number: u32,
    keys: Vec<BatchKey>,
    after: PartitionRow,
}

impl Upkeep {
    /// One slice of what there is to do, in at most one transaction each for deleted topics, old batches and silent
    /// producers.
    pub(super) fn slice(
        &mut self,
        database: &Database,
        ledger: &mut Ledger,
        retention: &Retention,
        now: i64,
    ) -> Result<Slice, Fault> {
        let mut slice = Slice::default();
        if let Some(number) = ledger.emptied.first().copied() {
            let done = self.empty(database, ledger, number)?;
            slice.more |= !done || ledger.emptied.len() > 1;
            if done {
                ledger.emptied.remove(&number);
            }
        }
        remove_old(database, ledger, retention, now, &mut slice)?;
        forget_producers(database, ledger, now, &mut slice)?;
        Ok(slice)
    }

    /// Removes a slice of what a deleted topic has left; whether that was all.
    fn empty(&mut self, database: &Database, ledger: &mut Ledger, number: u32) -> Result<bool, Fault> {
        let mut freed = 0;
        let done = commit_durably(database, |tables| {
            let left = remove_batches(tables, number)?;
            if left || remove_producers(tables, number)? {
                return Ok(false);
            }
            let done = self.remove_offsets(tables, number, &mut freed)?;
            if done {
                tables.state.remove(emptied_key(number).as_slice())?;
            }
            Ok(done)
        })?;
        ledger.bytes = ledger.bytes.saturating_sub(freed);
        Ok(done)
    }

    /// Looks at a slice of all offsets for those of the topic; whether all have been looked at.
    fn remove_offsets(
        &mut self,
        tables: &mut Tables<'_>,
        number: u32,
        freed: &mut usize,
    ) -> Result<bool, Fault> {
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

/// Whether there is anything left to remove.
fn remove_batches(tables: &mut Tables<'_>, number: u32) -> Result<bool, Fault> {
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

/// Whether there is anything left to remove.
fn remove_producers(tables: &mut Tables<'_>, number: u32) -> Result<bool, Fault> {
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

fn remove_old(
    database: &Database,
    ledger: &mut Ledger,
    retention: &Retention,
    now: i64,
    slice: &mut Slice,
) -> Result<(), Fault> {
    if retention.age.is_none() && retention.bytes.is_none() {
        return Ok(());
    }
    let old = find_old(database, ledger, retention, now, slice)?;
    if old.is_empty() {
        return Ok(());
    }
    commit_durably(database, |tables| {
        for log in &old {
            for key in &log.keys {
                tables.batches.remove(key)?;
                tables.index.remove(key)?;
            }
            let key = partition_key(log.number, log.partition);
            tables.state.insert(key.as_slice(), log.after.to_bytes().as_slice())?;
        }
        Ok(())
    })?;
    for log in old {
        if let Some((_, row)) = ledger.log_mut(&log.name, log.partition) {
            *row = log.after;
        }
        let bounds = Bounds { log_start: log.after.log_start, end: log.after.end };
        slice.effects.push(Effect::Bounds(log.name, log.partition, bounds));
    }
    Ok(())
}

/// The old batches of all logs, as many as one slice removes.
fn find_old(
    database: &Database,
    ledger: &Ledger,
    retention: &Retention,
    now: i64,
    slice: &mut Slice,
) -> Result<Vec<Old>, Fault> {
    let transaction = database.begin_read()?;
    let index = transaction.open_table(INDEX)?;
    let (mut rows, mut bytes, mut found) = (0, 0, Vec::new());
    for (name, topic) in &ledger.topics {
        for (partition, log) in (0..).zip(&topic.logs) {
            if log.log_start == log.end {
                continue;
            }
            let (number, mut after, mut keys) = (topic.number, *log, Vec::new());
            let first = batch_key(number, partition, log.log_start);
            let end = batch_key(number, partition, log.end);
            for row in index.range::<&BatchKey>(&first..&end)? {
                let (key, value) = row?;
                let entry = IndexEntry::read(value.value())?;
                let base = base_offset(key.value(), number, partition);
                if base != Some(after.log_start) || !is_old(&entry, &after, retention, now) {
                    break;
                }
                if rows >= SLICE_ROWS || bytes >= SLICE_BYTES {
                    slice.more = true;
                    break;
                }
                rows += 1;
                bytes += u64::from(entry.size);
                keys.push(*key.value());
                after.log_start += i64::from(entry.last_delta) + 1;
                after.bytes = after.bytes.saturating_sub(u64::from(entry.size));
            }
            if !keys.is_empty() {
                found.push(Old { name: name.clone(), partition, number, keys, after });
            }
        }
    }
    Ok(found)
}

/// Whether the first batch of a log is to go. By size, the last batch always stays. A batch without timestamps is
/// as old as those before it.
fn is_old(entry: &IndexEntry, log: &PartitionRow, retention: &Retention, now: i64) -> bool {
    let is_last = log.log_start + i64::from(entry.last_delta) + 1 >= log.end;
    let too_large = retention.bytes.is_some_and(|limit| log.bytes > limit) && !is_last;
    let youngest = if entry.max_timestamp >= 0 { entry.max_timestamp } else { entry.newest };
    let too_old = retention.age.is_some_and(|age| {
        youngest >= 0 && youngest < now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    });
    too_large || too_old
}

fn forget_producers(
    database: &Database,
    ledger: &mut Ledger,
    now: i64,
    slice: &mut Slice,
) -> Result<(), Fault> {
    let since = now.saturating_sub(i64::try_from(PRODUCER_SILENCE.as_millis()).unwrap_or(i64::MAX));
    let silent: Vec<ProducerKey> = ledger.producers.silent_since(since, SLICE_ROWS);
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
    silent.iter().for_each(|key| ledger.producers.remove(key));
    Ok(())
}

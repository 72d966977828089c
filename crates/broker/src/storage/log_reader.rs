//! Reads of one partition's log, on the thread of the caller, in one read transaction.
//!
//! A log has no gaps: each batch begins where the batch before it ends. A gap means that stored data is
//! missing, and is an error.

use bytes::{Bytes, BytesMut};
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::LogBounds;
use super::error::StorageError;
use super::schema::{
    BATCHES, BatchKey, INDEX, IndexEntry, IndexValue, PartitionRow, STATE, base_offset, batch_key,
    partition_key,
};
use protocol::error_code::ErrorCode;
use protocol::wire::{Malformed, Reader};

/// The largest number of batches of one read.
const MAX_BATCHES: usize = 16_384;
/// The largest buffer that is allocated before the first batch is read.
const FIRST_ROOM: usize = 1 << 20;
/// Bytes of a batch that its size field does not count.
const SIZE_END: usize = 12;

/// A reader of one partition's log, in one read transaction.
pub(super) struct LogReader {
    index: ReadOnlyTable<&'static BatchKey, &'static IndexValue>,
    batches: ReadOnlyTable<&'static BatchKey, &'static [u8]>,
    number: u32,
    partition: i32,
    bounds: LogBounds,
}

/// A row of the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchEntry {
    pub base: i64,
    /// The offset after its last.
    pub next: i64,
    pub row: IndexEntry,
}

impl LogReader {
    /// Opens the log up to `end`, the log end offset of the caller; more may be stored already. `None` if the
    /// log has been deleted.
    pub(super) fn open(
        database: &Database,
        number: u32,
        partition: i32,
        end: i64,
    ) -> Result<Option<LogReader>, StorageError> {
        let transaction = database.begin_read()?;
        let state = transaction.open_table(STATE)?;
        let Some(row) = state.get(partition_key(number, partition).as_slice())? else { return Ok(None) };
        let row = PartitionRow::read(row.value())?;
        if row.log_end_offset < end {
            return Err(StorageError::Damaged(format!(
                "the log ends at {}, not at {end}",
                row.log_end_offset
            )));
        }
        let (index, batches) = (transaction.open_table(INDEX)?, transaction.open_table(BATCHES)?);
        let bounds = LogBounds { log_start_offset: row.log_start_offset.min(end), log_end_offset: end };
        Ok(Some(LogReader { index, batches, number, partition, bounds }))
    }

    pub(super) fn bounds(&self) -> LogBounds {
        self.bounds
    }

    fn key(&self, offset: i64) -> BatchKey {
        batch_key(self.number, self.partition, offset)
    }

    fn entry(&self, key: &BatchKey, value: &IndexValue) -> Result<Option<BatchEntry>, StorageError> {
        let Some(base) = base_offset(key, self.number, self.partition) else { return Ok(None) };
        let row = IndexEntry::read(value)?;
        let next = base.checked_add(i64::from(row.last_delta) + 1);
        Ok(next.map(|next| BatchEntry { base, next, row }))
    }

    /// The index row of the batch that holds an offset within the bounds.
    pub(super) fn entry_at(&self, offset: i64) -> Result<BatchEntry, StorageError> {
        let mut rows = self.index.range::<&BatchKey>(..=&self.key(offset))?;
        let entry = match rows.next_back() {
            Some(row) => {
                let (key, value) = row?;
                self.entry(key.value(), value.value())?
            }
            None => None,
        };
        entry
            .filter(|entry| entry.base <= offset && offset < entry.next)
            .ok_or_else(|| StorageError::Damaged(format!("no batch holds offset {offset}")))
    }

    /// The index rows from the batch at `base` on, in order and without gaps.
    pub(super) fn entries(
        &self,
        base: i64,
    ) -> Result<impl Iterator<Item = Result<BatchEntry, StorageError>> + '_, StorageError> {
        let (first, end) = (self.key(base), self.key(self.bounds.log_end_offset));
        let mut rows = self.index.range::<&BatchKey>(&first..&end)?;
        let mut expected = base;
        Ok(std::iter::from_fn(move || {
            if expected >= self.bounds.log_end_offset {
                return None;
            }
            let entry = match rows.next() {
                Some(Ok((key, value))) => self.entry(key.value(), value.value()),
                Some(Err(error)) => return Some(Err(error.into())),
                None => Ok(None),
            };
            let entry = entry.and_then(|entry| {
                let fits =
                    |entry: &BatchEntry| entry.base == expected && entry.next <= self.bounds.log_end_offset;
                entry
                    .filter(fits)
                    .ok_or_else(|| StorageError::Damaged(format!("no batch begins at {expected}")))
            });
            expected = entry.as_ref().map_or(i64::MAX, |entry| entry.next);
            Some(entry)
        }))
    }

    /// Whole batches from the one that holds `offset` on. See [`super::Store::read`].
    pub(super) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Result<Bytes, ErrorCode>, StorageError> {
        if offset < self.bounds.log_start_offset || offset > self.bounds.log_end_offset {
            return Ok(Err(ErrorCode::OFFSET_OUT_OF_RANGE));
        }
        if offset == self.bounds.log_end_offset {
            return Ok(Ok(Bytes::new()));
        }
        let first = self.entry_at(offset)?;
        let (mut chosen, mut size) = (Vec::new(), 0);
        for entry in self.entries(first.base)? {
            // Damage further on is reported by a read at that offset; the batches before it are in order.
            let Ok(entry) = entry else { break };
            let bytes = entry.row.size as usize;
            let fits = size + bytes <= max_bytes && chosen.len() < MAX_BATCHES;
            let is_due = at_least_one && chosen.is_empty();
            if !fits && !is_due {
                break;
            }
            size += bytes;
            chosen.push(entry);
        }
        self.read_batches(&chosen, size).map(Ok)
    }

    /// The bytes of these batches up to the first damaged one; an error if the first of all is damaged.
    fn read_batches(&self, chosen: &[BatchEntry], size: usize) -> Result<Bytes, StorageError> {
        let [first, .., last] = chosen else {
            return match chosen {
                [only] => self.one_batch(only),
                _ => Ok(Bytes::new()),
            };
        };
        let mut out = BytesMut::with_capacity(size.min(FIRST_ROOM));
        let mut rows = self.batches.range::<&BatchKey>(&self.key(first.base)..=&self.key(last.base))?;
        for entry in chosen {
            let copied = match rows.next() {
                Some(Ok((key, value))) => self.copy_batch(entry, key.value(), value.value(), &mut out),
                Some(Err(error)) => Err(error.into()),
                None => Err(missing(entry)),
            };
            match copied {
                Ok(()) => {}
                Err(_) if !out.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(out.freeze())
    }

    /// The batch of one index row.
    pub(super) fn one_batch(&self, entry: &BatchEntry) -> Result<Bytes, StorageError> {
        let key = self.key(entry.base);
        let value = self.batches.get(&key)?.ok_or_else(|| missing(entry))?;
        let mut out = BytesMut::new();
        self.copy_batch(entry, &key, value.value(), &mut out)?;
        Ok(out.freeze())
    }

    /// Appends a batch to `out`, if it is undamaged and matches its index row.
    fn copy_batch(
        &self,
        entry: &BatchEntry,
        key: &BatchKey,
        batch: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), StorageError> {
        if *key != self.key(entry.base) || batch.len() != entry.row.size as usize {
            return Err(missing(entry));
        }
        if !is_stored(entry, batch).unwrap_or(false) {
            return Err(StorageError::Damaged(format!(
                "the batch at offset {} is not what was stored",
                entry.base
            )));
        }
        out.extend_from_slice(batch);
        Ok(())
    }
}

/// Whether a batch matches its index row and its own checksum.
fn is_stored(entry: &BatchEntry, batch: &[u8]) -> Result<bool, Malformed> {
    let mut reader = Reader::new(batch);
    let (base_offset, size, leader_epoch) = (reader.i64()?, reader.i32()?, reader.i32()?);
    let whole = usize::try_from(size).is_ok_and(|size| size + SIZE_END == batch.len());
    let (magic, crc) = (reader.i8()?, reader.u32()?);
    let summed = crc32c::crc32c(reader.rest());
    reader.i16()?;
    let last_delta = reader.i32()?;
    let in_place = base_offset == entry.base && last_delta == entry.row.last_delta && leader_epoch == 0;
    Ok(in_place && whole && magic == 2 && crc == summed)
}

fn missing(entry: &BatchEntry) -> StorageError {
    StorageError::Damaged(format!("the batch at offset {} is missing", entry.base))
}

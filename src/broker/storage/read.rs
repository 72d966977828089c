//! Reading logs, on the callers' threads, as of one moment.
//!
//! A log has no gaps: each batch begins where the one before it ends. Where that is not so, something that was stored
//! is missing, and it is refused instead of passed over.

use bytes::{Bytes, BytesMut};
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::Bounds;
use super::fault::Fault;
use super::rows::{
    BATCHES, BatchKey, INDEX, IndexEntry, IndexValue, PartitionRow, STATE, base_offset, batch_key,
    partition_key,
};
use crate::protocol::error_code::ErrorCode;
use crate::protocol::wire::{Malformed, Reader};

/// The most batches that one read gives.
const MAX_BATCHES: usize = 16_384;
/// The largest buffer that is made before there is something to put into it.
const FIRST_ROOM: usize = 1 << 20;
/// Where the bytes of a batch start whose number is its size.
const SIZE_END: usize = 12;

/// What a partition's log is asked, as of one moment.
pub(super) struct LogReader {
    index: ReadOnlyTable<&'static BatchKey, &'static IndexValue>,
    batches: ReadOnlyTable<&'static BatchKey, &'static [u8]>,
    number: u32,
    partition: i32,
    bounds: Bounds,
}

/// One row of the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub base: i64,
    /// The offset after its last.
    pub next: i64,
    pub row: IndexEntry,
}

impl LogReader {
    /// `end` is where the log ends for those who ask now; more may be stored already. `None` if there is no such log
    /// any more.
    pub(super) fn open(
        database: &Database,
        number: u32,
        partition: i32,
        end: i64,
    ) -> Result<Option<LogReader>, Fault> {
        let transaction = database.begin_read()?;
        let state = transaction.open_table(STATE)?;
        let Some(row) = state.get(partition_key(number, partition).as_slice())? else { return Ok(None) };
        let row = PartitionRow::read(row.value())?;
        if row.end < end {
            return Err(Fault::Damaged(format!("the log ends at {}, not at {end}", row.end)));
        }
        let (index, batches) = (transaction.open_table(INDEX)?, transaction.open_table(BATCHES)?);
        let bounds = Bounds { log_start: row.log_start.min(end), end };
        Ok(Some(LogReader { index, batches, number, partition, bounds }))
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    fn key(&self, offset: i64) -> BatchKey {
        batch_key(self.number, self.partition, offset)
    }

    fn entry(&self, key: &BatchKey, value: &IndexValue) -> Result<Option<Entry>, Fault> {
        let Some(base) = base_offset(key, self.number, self.partition) else { return Ok(None) };
        let row = IndexEntry::read(value)?;
        let next = base.checked_add(i64::from(row.last_delta) + 1);
        Ok(next.map(|next| Entry { base, next, row }))
    }

    /// The row of the batch that holds an offset inside the bounds.
    pub(super) fn entry_at(&self, offset: i64) -> Result<Entry, Fault> {
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
            .ok_or_else(|| Fault::Damaged(format!("no batch holds offset {offset}")))
    }

    /// The rows from the batch on that begins at `base`, in order and without gaps.
    pub(super) fn entries(
        &self,
        base: i64,
    ) -> Result<impl Iterator<Item = Result<Entry, Fault>> + '_, Fault> {
        let (first, end) = (self.key(base), self.key(self.bounds.end));
        let mut rows = self.index.range::<&BatchKey>(&first..&end)?;
        let mut expected = base;
        Ok(std::iter::from_fn(move || {
            if expected >= self.bounds.end {
                return None;
            }
            let entry = match rows.next() {
                Some(Ok((key, value))) => self.entry(key.value(), value.value()),
                Some(Err(error)) => return Some(Err(error.into())),
                None => Ok(None),
            };
            let entry = entry.and_then(|entry| {
                let fits = |entry: &Entry| entry.base == expected && entry.next <= self.bounds.end;
                entry.filter(fits).ok_or_else(|| Fault::Damaged(format!("no batch begins at {expected}")))
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
    ) -> Result<Result<Bytes, ErrorCode>, Fault> {
        if offset < self.bounds.log_start || offset > self.bounds.end {
            return Ok(Err(ErrorCode::OFFSET_OUT_OF_RANGE));
        }
        if offset == self.bounds.end {
            return Ok(Ok(Bytes::new()));
        }
        let first = self.entry_at(offset)?;
        let (mut chosen, mut size) = (Vec::new(), 0);
        for entry in self.entries(first.base)? {
            // Damage further on is found by whoever reads there; the batches before it are in order.
            let Ok(entry) = entry else { break };
            let bytes = entry.row.size as usize;
            let fits = size + bytes <= max_bytes && chosen.len() < MAX_BATCHES;
            if !(fits || chosen.is_empty() && at_least_one) {
                break;
            }
            size += bytes;
            chosen.push(entry);
        }
        self.read_batches(&chosen, size).map(Ok)
    }

    /// The bytes of these batches; of those before the first that is damaged, unless that is the first of all.
    fn read_batches(&self, chosen: &[Entry], size: usize) -> Result<Bytes, Fault> {
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
                Err(fault) => return Err(fault),
            }
        }
        Ok(out.freeze())
    }

    /// The batch of one row.
    pub(super) fn one_batch(&self, entry: &Entry) -> Result<Bytes, Fault> {
        let key = self.key(entry.base);
        let value = self.batches.get(&key)?.ok_or_else(|| missing(entry))?;
        let mut out = BytesMut::new();
        self.copy_batch(entry, &key, value.value(), &mut out)?;
        Ok(out.freeze())
    }

    /// Adds a batch, if it is the one that the index speaks of, and undamaged.
    fn copy_batch(
        &self,
        entry: &Entry,
        key: &BatchKey,
        batch: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        if *key != self.key(entry.base) || batch.len() != entry.row.size as usize {
            return Err(missing(entry));
        }
        if !is_stored(entry, batch).unwrap_or(false) {
            return Err(Fault::Damaged(format!("the batch at offset {} is not what was stored", entry.base)));
        }
        out.extend_from_slice(batch);
        Ok(())
    }
}

/// Whether a batch is the one that the index speaks of, and its bytes are those that came.
fn is_stored(entry: &Entry, batch: &[u8]) -> Result<bool, Malformed> {
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

fn missing(entry: &Entry) -> Fault {
    Fault::Damaged(format!("the batch at offset {} is not there", entry.base))
}

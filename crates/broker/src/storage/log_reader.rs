//! Reads of one partition's log, on the thread of the caller.
//!
//! Where batches are is looked up under the lock of the readers' state, or in the index of a complete
//! segment; the batches themselves are read without a lock.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use net::sync::RwLockReadGuard;

use super::error::StorageError;
use super::index_file::read_entries;
use super::partition_log::{Entries, PartitionLog};
use super::read_state::State;
use super::segment::{Segment, SegmentFiles};
use super::segment_index::{BatchEntry, StoredEntries};
use super::store_state::StoreState;
use super::{LOOK_UPS, LogBounds};
use protocol::error_code::ErrorCode;
use protocol::wire::{Malformed, Reader};

/// The largest number of batches of one read.
const MAX_BATCHES: usize = 16_384;
/// Entries that are looked up at once.
pub(super) const LOOKED_UP: usize = 4096;
/// The largest buffer that is allocated before the first batch is read.
const FIRST_ROOM: usize = 1 << 20;
/// Bytes between two batches that are read with them rather than passed over.
const GAP_BYTES: u64 = 4096;
/// Bytes that are read at once, unless one batch is larger.
const RUN_BYTES: u64 = 1 << 20;
/// Bytes of a batch that its size field does not count.
const SIZE_END: usize = 12;

/// A reader of one partition's log.
pub(super) struct LogReader<'s> {
    shared: &'s StoreState,
    topic: &'s str,
    number: u32,
    partition: i32,
    bounds: LogBounds,
}

/// Batches of one log in one segment, without the ones before an offset.
pub(super) struct Located {
    pub segment: Arc<Segment>,
    pub entries: Vec<BatchEntry>,
    /// Where to look for those that follow.
    pub next: i64,
}

impl<'s> LogReader<'s> {
    /// Opens the log; `None` if there is none.
    pub(super) fn open(shared: &'s StoreState, topic: &'s str, partition: i32) -> Option<LogReader<'s>> {
        let state = shared.state();
        let (number, bounds) = state.partition(topic, partition).map(|(number, log)| (number, log.bounds))?;
        Some(LogReader { shared, topic, number, partition, bounds })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn bounds(&self) -> LogBounds {
        self.bounds
    }

    /// The readers' state, for [`LogReader::log_in`].
    pub(super) fn log_state(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state()
    }

    /// The log; `None` if it has been deleted.
    pub(super) fn log_in<'t>(&self, state: &'t State) -> Option<&'t PartitionLog> {
        let (number, log) = state.partition(self.topic, self.partition)?;
        (number == self.number).then_some(log)
    }

    /// The batches from the first that ends after `offset` on, of one segment, at most `count` or a
    /// block more. `None` at the end of the log, or if the log has been deleted.
    pub(super) fn locate(&self, offset: i64, count: usize) -> Result<Option<Located>, StorageError> {
        let mut result = Ok(None);
        for _ in 0..LOOK_UPS {
            result = self.look_up(offset, count);
            // The segment was rewritten, and its former files removed: the state knows the new one.
            match &result {
                Err(error) if error.is_missing_file() => continue,
                _ => return result,
            }
        }
        result
    }

    fn look_up(&self, offset: i64, wanted: usize) -> Result<Option<Located>, StorageError> {
        let mut at = offset;
        while at < self.bounds.log_end_offset {
            let state = self.shared.state();
            let Some(extent) = self.log_in(&state).and_then(|log| log.extent_at(at)) else { return Ok(None) };
            let (segment, next) = (extent.segment.clone(), extent.end);
            let entries = match &extent.entries {
                Entries::Memory(entries) => {
                    let first = entries.partition_point(|entry| entry.next() <= at);
                    entries.iter().skip(first).take(wanted).copied().collect()
                }
                &Entries::Stored(position) => {
                    let count = extent.count as usize;
                    drop(state);
                    let file = self.shared.files.get(&segment.id.index())?;
                    match (StoredEntries { file, position, count }).from(at, wanted) {
                        Err(StorageError::Damaged(what)) => {
                            self.index_anew(&segment, &what)?;
                            continue;
                        }
                        entries => entries?,
                    }
                }
            };
            if !entries.is_empty() {
                let next =
                    if entries.len() < wanted { next } else { entries.last().map_or(next, BatchEntry::next) };
                return Ok(Some(Located { segment, entries, next }));
            }
            // Compaction has removed what was there.
            at = next;
        }
        Ok(None)
    }

    /// Takes the entries of the log's part of a segment from the segment, as its index is damaged. They stay
    /// in memory until the index is stored anew.
    fn index_anew(&self, segment: &Arc<Segment>, what: &str) -> Result<(), StorageError> {
        log::warn!("{}: {}: {what}; it is made anew", self.shared.folder, segment.id.index());
        let entries = read_entries(self.shared, segment, self.number, self.partition)?;
        self.shared.change_state(|state| {
            let log = state.log_mut(self.number, self.partition);
            if let Some(extent) = log.and_then(|log| log.extent_in_mut(segment)) {
                extent.entries = Entries::Memory(entries);
            }
        });
        Ok(())
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
        let mut out = BytesMut::with_capacity(max_bytes.min(FIRST_ROOM));
        let (mut at, mut count) = (offset, 0);
        loop {
            // Damage further on is reported by a read at that offset; the batches before it are in order.
            let located = match self.locate(at, LOOKED_UP) {
                Err(error) if out.is_empty() || error.is_failure() => return Err(error),
                Err(_) | Ok(None) => break,
                Ok(Some(located)) => located,
            };
            let mut size = out.len();
            let chosen = located.entries.iter().take_while(|entry| {
                let is_due = at_least_one && size == 0;
                size += entry.size as usize;
                count += 1;
                entry.base < self.bounds.log_end_offset
                    && (size <= max_bytes || is_due)
                    && count <= MAX_BATCHES
            });
            let chosen = chosen.count();
            let entries = located.entries.get(..chosen).unwrap_or_default();
            let is_whole = match read_batches(&self.shared.files, &located.segment, entries, &mut out) {
                Err(error) if out.is_empty() || error.is_failure() => return Err(error),
                read => read.is_ok(),
            };
            if !is_whole || chosen < located.entries.len() {
                break;
            }
            at = located.next;
        }
        Ok(Ok(out.freeze()))
    }

    /// One batch.
    pub(super) fn one_batch(&self, segment: &Segment, entry: &BatchEntry) -> Result<Bytes, StorageError> {
        let mut out = BytesMut::new();
        read_batches(&self.shared.files, segment, std::slice::from_ref(entry), &mut out)?;
        Ok(out.freeze())
    }
}

/// Appends batches of a segment to `out`, up to the first damaged one.
///
/// # Errors
/// A batch is damaged: those before it are in `out`.
pub(super) fn read_batches(
    files: &SegmentFiles,
    segment: &Segment,
    entries: &[BatchEntry],
    out: &mut BytesMut,
) -> Result<(), StorageError> {
    if entries.is_empty() {
        return Ok(());
    }
    let file = files.get(&segment.id.log())?;
    let mut buffer = Vec::new();
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let start = u64::from(first.position);
        let mut end = start;
        let run = rest.iter().take_while(|entry| {
            let (from, to) = (u64::from(entry.position), u64::from(entry.position) + u64::from(entry.size));
            let follows = end == start || (from >= end && from - end <= GAP_BYTES && to - start <= RUN_BYTES);
            end = if follows { to } else { end };
            follows
        });
        let (run, others) = rest.split_at_checked(run.count()).unwrap_or((rest, &[]));
        buffer.resize(usize::try_from(end - start).unwrap_or(usize::MAX), 0);
        file.read_at(start, &mut buffer)?;
        for entry in run {
            let from = (entry.position - first.position) as usize;
            let batch =
                buffer.get(from..).and_then(|rest| rest.get(..entry.size as usize)).unwrap_or_default();
            if !is_stored(entry, batch).unwrap_or(false) {
                let what = format!("the batch at offset {} is not what was stored", entry.base);
                return Err(StorageError::Damaged(what));
            }
            out.extend_from_slice(batch);
        }
        rest = others;
    }
    Ok(())
}

/// Whether a batch matches its entry and its own checksum.
fn is_stored(entry: &BatchEntry, batch: &[u8]) -> Result<bool, Malformed> {
    let mut reader = Reader::new(batch);
    let (base_offset, size, leader_epoch) = (reader.i64()?, reader.i32()?, reader.i32()?);
    let whole = usize::try_from(size).is_ok_and(|size| size + SIZE_END == batch.len());
    let (magic, crc) = (reader.i8()?, reader.u32()?);
    let summed = crc32c::crc32c(reader.rest());
    reader.i16()?;
    let last_delta = reader.i32()?;
    let in_place = base_offset == entry.base && last_delta == entry.last_delta && leader_epoch == 0;
    Ok(in_place && whole && magic == 2 && crc == summed)
}

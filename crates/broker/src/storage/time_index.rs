//! Record lookup by timestamp, as in ListOffsets.

use super::error::StorageError;
use super::log_reader::{BatchEntry, LogReader};
use protocol::records::{Batches, Record};

/// The largest decompressed size of one batch's records.
const UNPACKED_BYTES: usize = 128 << 20;

impl LogReader {
    /// Offset and timestamp of the first record at or after `timestamp`.
    pub(super) fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<(i64, i64)>, StorageError> {
        let Some(first) = self.first_reaching(timestamp)? else { return Ok(None) };
        for entry in self.entries(first.base)? {
            let entry = entry?;
            if entry.row.max_timestamp < timestamp {
                continue;
            }
            if let Some(found) = self.find(&entry, |record| record.timestamp >= timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Offset and timestamp of the record with the largest timestamp, the first of them.
    pub(super) fn offset_of_max_timestamp(&self) -> Result<Option<(i64, i64)>, StorageError> {
        let bounds = self.bounds();
        if bounds.log_start_offset >= bounds.log_end_offset {
            return Ok(None);
        }
        let max_timestamp_so_far = self.entry_at(bounds.log_end_offset - 1)?.row.max_timestamp_so_far;
        let mut best = self.first_reaching(max_timestamp_so_far)?;
        if best.is_none_or(|entry| entry.row.max_timestamp < max_timestamp_so_far) {
            // The batch with that timestamp is no longer kept.
            for entry in self.entries(bounds.log_start_offset)? {
                let entry = entry?;
                if best.is_none_or(|best| entry.row.max_timestamp > best.row.max_timestamp) {
                    best = Some(entry);
                }
            }
        }
        match best {
            Some(entry) => self.find(&entry, |record| record.timestamp == entry.row.max_timestamp),
            None => Ok(None),
        }
    }

    /// The first batch at which the largest timestamp so far reaches `timestamp`, by binary search.
    fn first_reaching(&self, timestamp: i64) -> Result<Option<BatchEntry>, StorageError> {
        let bounds = self.bounds();
        let (mut low, mut high, mut found) = (bounds.log_start_offset, bounds.log_end_offset, None);
        while low < high {
            let entry = self.entry_at(low + (high - low) / 2)?;
            if entry.row.max_timestamp_so_far >= timestamp {
                high = entry.base;
                found = Some(entry);
            } else {
                low = entry.next;
            }
        }
        Ok(found)
    }

    /// The first record of a batch that satisfies `wanted`.
    fn find(
        &self,
        entry: &BatchEntry,
        wanted: impl Fn(&Record<'_>) -> bool,
    ) -> Result<Option<(i64, i64)>, StorageError> {
        let bytes = self.one_batch(entry)?;
        let damaged = |error: protocol::records::RecordsError| StorageError::Damaged(error.to_string());
        let Some(batch) = Batches::new(&bytes).next() else { return Ok(None) };
        let records = batch.and_then(|batch| batch.unpack(UNPACKED_BYTES)).map_err(damaged)?;
        for record in &records {
            let record = record.map_err(damaged)?;
            if wanted(&record) {
                return Ok(Some((record.offset, record.timestamp)));
            }
        }
        Ok(None)
    }
}

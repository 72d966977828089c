//! Looking for records by their timestamps.

use super::fault::Fault;
use super::read::{Entry, LogReader};
use crate::protocol::records::{Batches, Record};

/// The most that the records of one batch may unpack to.
const UNPACKED_BYTES: usize = 128 << 20;

impl LogReader {
    /// Offset and timestamp of the first record at or after `timestamp`.
    pub(super) fn at_time(&self, timestamp: i64) -> Result<Option<(i64, i64)>, Fault> {
        let Some(first) = self.first_newest(timestamp)? else { return Ok(None) };
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
    pub(super) fn at_max_time(&self) -> Result<Option<(i64, i64)>, Fault> {
        let bounds = self.bounds();
        if bounds.log_start >= bounds.end {
            return Ok(None);
        }
        let newest = self.entry_at(bounds.end - 1)?.row.newest;
        let mut best = self.first_newest(newest)?;
        if best.is_none_or(|entry| entry.row.max_timestamp < newest) {
            // The batch with that timestamp is no longer kept.
            for entry in self.entries(bounds.log_start)? {
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

    /// The first batch up to which there was a timestamp as large as this. Batches before it have none.
    fn first_newest(&self, timestamp: i64) -> Result<Option<Entry>, Fault> {
        let bounds = self.bounds();
        let (mut low, mut high, mut found) = (bounds.log_start, bounds.end, None);
        while low < high {
            let entry = self.entry_at(low + (high - low) / 2)?;
            if entry.row.newest >= timestamp {
                high = entry.base;
                found = Some(entry);
            } else {
                low = entry.next;
            }
        }
        Ok(found)
    }

    /// The first record of a batch that is as wanted.
    fn find(&self, entry: &Entry, wanted: impl Fn(&Record<'_>) -> bool) -> Result<Option<(i64, i64)>, Fault> {
        let bytes = self.one_batch(entry)?;
        let damaged = |error: crate::protocol::records::RecordsError| Fault::Damaged(error.to_string());
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

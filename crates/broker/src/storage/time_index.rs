//! Record lookup by timestamp, as in ListOffsets.

use super::error::StorageError;
use super::log_reader::{LOOKED_UP, Located, LogReader};
use super::segment::Segment;
use super::segment_index::BatchEntry;
use protocol::records::{Batches, Record};

/// The largest decompressed size of one batch's records.
const UNPACKED_BYTES: usize = 128 << 20;

impl LogReader<'_> {
    /// Offset and timestamp of the first record at or after `timestamp`.
    pub(super) fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<(i64, i64)>, StorageError> {
        let mut at = self.bounds().log_start_offset;
        loop {
            at = self.first_reaching(timestamp, at);
            let Some(Located { segment, entries, next }) = self.locate(at, LOOKED_UP)? else {
                return Ok(None);
            };
            for entry in entries.iter().filter(|entry| entry.max_timestamp >= timestamp) {
                let start = self.bounds().log_start_offset;
                let wanted = |record: &Record<'_>| record.timestamp >= timestamp && record.offset >= start;
                if let Some(found) = self.find(&segment, entry, wanted)? {
                    return Ok(Some(found));
                }
            }
            at = next;
        }
    }

    /// Offset and timestamp of the record with the largest timestamp, the first of them.
    pub(super) fn offset_of_max_timestamp(&self) -> Result<Option<(i64, i64)>, StorageError> {
        let start = self.bounds().log_start_offset;
        let (mut at, mut best) = (start, None);
        loop {
            // Only what has a larger timestamp is looked at.
            at = self.first_reaching(
                best.map_or(i64::MIN, |(_, timestamp): (i64, i64)| timestamp.saturating_add(1)),
                at,
            );
            let Some(Located { segment, entries, next }) = self.locate(at, LOOKED_UP)? else {
                return Ok(best);
            };
            let (cut, whole): (Vec<&BatchEntry>, Vec<&BatchEntry>) =
                entries.iter().partition(|entry| entry.base < start);
            // Of a batch in which the log begins, the header tells of records that are removed, too.
            for entry in cut {
                let mut largest = -1;
                self.find(&segment, entry, |record| {
                    largest = if record.offset >= start { record.timestamp.max(largest) } else { largest };
                    false
                })?;
                best = self
                    .find(&segment, entry, |record| record.offset >= start && record.timestamp == largest)?;
            }
            let largest = whole.iter().map(|entry| entry.max_timestamp).max().unwrap_or(-1);
            if best.is_none_or(|(_, timestamp)| timestamp < largest)
                && let Some(entry) = whole.into_iter().find(|entry| entry.max_timestamp == largest)
            {
                best = self.find(&segment, entry, |record| record.timestamp == largest)?.or(best);
            }
            at = next;
        }
    }

    /// Where the first part of the log begins, from `at` on, that has a timestamp as large.
    fn first_reaching(&self, timestamp: i64, at: i64) -> i64 {
        let state = self.log_state();
        let Some(log) = self.log_in(&state) else { return i64::MAX };
        let mut parts = log.extents.iter().filter(|extent| extent.end > at);
        let part = parts.find(|extent| extent.max_timestamp >= timestamp);
        part.map_or(i64::MAX, |part| part.start.max(at))
    }

    /// The first record of a batch that satisfies `wanted`.
    fn find(
        &self,
        segment: &Segment,
        entry: &BatchEntry,
        mut wanted: impl FnMut(&Record<'_>) -> bool,
    ) -> Result<Option<(i64, i64)>, StorageError> {
        let bytes = self.one_batch(segment, entry)?;
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

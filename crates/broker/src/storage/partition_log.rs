//! A partition's log as readers see it: its ends, and the segments that hold its batches.

use std::sync::Arc;

use super::LogBounds;
use super::segment::Segment;
use super::segment_index::{BatchEntry, LogPart};

/// Where the entries of a log's part of a segment are.
#[derive(Debug, Clone)]
pub(super) enum Entries {
    /// In memory, while the index of the segment has no file.
    Memory(Vec<BatchEntry>),
    /// In the file of the index, from this position on.
    Stored(u64),
}

/// The part of a log that is in one segment.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    pub segment: Arc<Segment>,
    /// The first offset that it stands for.
    pub start: i64,
    /// The offset after the last one that it stands for.
    pub end: i64,
    pub bytes: u64,
    pub count: u32,
    /// The largest timestamp of its batches; -1 for none.
    pub max_timestamp: i64,
    pub entries: Entries,
}

impl Extent {
    pub(super) fn stored(segment: Arc<Segment>, log: &LogPart, position: u64) -> Extent {
        Extent { entries: Entries::Stored(position), ..Extent::held(segment, log, Vec::new()) }
    }

    pub(super) fn held(segment: Arc<Segment>, log: &LogPart, entries: Vec<BatchEntry>) -> Extent {
        let LogPart { start, end, bytes, count, max_timestamp, .. } = *log;
        Extent { segment, start, end, bytes, count, max_timestamp, entries: Entries::Memory(entries) }
    }

    /// What the index of its segment says of it.
    pub(super) fn part(&self, number: u32, partition: i32) -> LogPart {
        let Extent { start, end, bytes, count, max_timestamp, .. } = *self;
        LogPart { number, partition, start, end, bytes, count, max_timestamp }
    }

    /// Bytes of its batches from `offset` on: an estimate, unless it is all or nothing.
    pub(super) fn bytes_from(&self, offset: i64) -> u64 {
        let (all, left) = (self.end.saturating_sub(self.start), self.end.saturating_sub(offset));
        match left {
            ..=0 => 0,
            left if left >= all => self.bytes,
            left => u64::try_from(i128::from(self.bytes) * i128::from(left) / i128::from(all)).unwrap_or(0),
        }
    }
}

/// The log of a partition.
#[derive(Debug, Clone)]
pub(super) struct PartitionLog {
    pub bounds: LogBounds,
    /// Bytes of the batches that are kept.
    pub bytes: u64,
    /// By their offsets; each begins where the one before ends, or later.
    pub extents: Vec<Extent>,
}

impl PartitionLog {
    pub(super) const EMPTY: PartitionLog = PartitionLog {
        bounds: LogBounds { log_start_offset: 0, log_end_offset: 0 },
        bytes: 0,
        extents: Vec::new(),
    };

    /// Adds batches that were appended to `segment`.
    pub(super) fn append(&mut self, segment: &Arc<Segment>, entries: &[BatchEntry]) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let is_last = self.extents.last().is_some_and(|extent| Arc::ptr_eq(&extent.segment, segment));
        if !is_last {
            let entries = Entries::Memory(Vec::new());
            let (start, segment) = (first.base, segment.clone());
            let empty = Extent { segment, start, end: start, bytes: 0, count: 0, max_timestamp: -1, entries };
            self.extents.push(empty);
        }
        let Some(extent) = self.extents.last_mut() else { return };
        extent.end = last.next();
        extent.count += u32::try_from(entries.len()).unwrap_or(u32::MAX);
        extent.bytes += bytes_of(entries);
        extent.max_timestamp =
            entries.iter().map(|entry| entry.max_timestamp).fold(extent.max_timestamp, i64::max);
        if let Entries::Memory(known) = &mut extent.entries {
            known.extend_from_slice(entries);
        }
        self.bytes += bytes_of(entries);
        self.bounds.log_end_offset = extent.end;
    }

    /// Forgets what was removed at the start of the log.
    pub(super) fn set_bounds(&mut self, bounds: LogBounds, bytes: Option<u64>) {
        self.bounds = bounds;
        let gone = self.extents.partition_point(|extent| extent.end <= bounds.log_start_offset);
        self.extents.drain(..gone);
        self.bytes = bytes.unwrap_or_else(|| self.extent_bytes());
    }

    /// Bytes of the kept batches: an estimate, if the first segment holds others too.
    pub(super) fn extent_bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.bytes_from(self.bounds.log_start_offset)).sum()
    }

    /// The part that is in a segment: there is one at most.
    pub(super) fn extent_in(&self, segment: &Arc<Segment>) -> Option<&Extent> {
        self.extents.iter().find(|extent| Arc::ptr_eq(&extent.segment, segment))
    }

    /// As [`PartitionLog::extent_in`], to change it.
    pub(super) fn extent_in_mut(&mut self, segment: &Arc<Segment>) -> Option<&mut Extent> {
        self.extents.iter_mut().find(|extent| Arc::ptr_eq(&extent.segment, segment))
    }

    /// The first part that holds offsets from `offset` on.
    pub(super) fn extent_at(&self, offset: i64) -> Option<&Extent> {
        self.extents.get(self.extents.partition_point(|extent| extent.end <= offset)..)?.first()
    }

    /// Whether every kept offset has its part.
    pub(super) fn is_complete(&self) -> bool {
        let mut at = self.bounds.log_start_offset;
        for extent in &self.extents {
            if extent.start > at {
                return false;
            }
            at = at.max(extent.end);
        }
        at == self.bounds.log_end_offset
    }
}

fn bytes_of(entries: &[BatchEntry]) -> u64 {
    entries.iter().map(|entry| u64::from(entry.size)).sum()
}

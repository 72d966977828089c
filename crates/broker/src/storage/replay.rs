//! Replay: builds the state from the rows of a snapshot and the frames that follow it.

use std::sync::Arc;

use super::error::StorageError;
use super::frame::{Found, FrameReader};
use super::producer_state::BatchSequence;
use super::read_state::{State, StateUpdate};
use super::record::{Record, Records};
use super::rows::{Meta, PartitionRow, Removed, Row};
use super::segment::{self, Segment, SegmentFiles};
use super::segment_index::{BatchEntry, LogPart, Parts};
use super::write_state::{Limits, WriteState};
use super::{LogBounds, frame};
use protocol::wire::{Malformed, Reader};

/// The state that is built.
pub(super) struct Replay {
    pub write_state: WriteState,
    pub state: State,
    has_meta: bool,
}

/// Where the frames of a segment end.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub position: u64,
    /// Where the last frame begins, if there is one.
    pub last_frame: Option<u64>,
    /// Bytes follow that are no frame.
    pub is_torn: bool,
}

impl Replay {
    pub(super) fn new(limits: Limits) -> Replay {
        let meta = Meta { cluster_id: [0; 16], next_topic: 1, next_producer: 0 };
        Replay { write_state: WriteState::new(meta, limits), state: State::default(), has_meta: false }
    }

    /// Whether the first row of every store was there.
    pub(super) fn has_meta(&self) -> bool {
        self.has_meta
    }

    /// Takes a row of a snapshot, or of the log.
    pub(super) fn row(
        &mut self,
        key: &[u8],
        value: &[u8],
        segment: &Arc<Segment>,
    ) -> Result<(), StorageError> {
        match Row::read(key, value)? {
            Row::Meta(meta) => {
                self.write_state.meta = meta;
                self.has_meta = true;
            }
            Row::Topic(number, row) => {
                let topic = row.topic();
                self.write_state.put_topic(number, topic.clone());
                self.state.apply(StateUpdate::Topic(number, topic), segment);
            }
            Row::Partition(number, partition, row) => self.log_row(number, partition, row, segment),
            Row::Producer(number, partition, id, producer) => {
                if self.state.names.contains_key(&number) {
                    self.write_state.producers.put((number, partition, id), producer);
                }
            }
            Row::Offset(group, number, partition, committed) => {
                if self.state.names.contains_key(&number) {
                    let update = StateUpdate::OffsetCommitted(group.into(), number, partition, committed);
                    self.state.apply(update, segment);
                }
            }
            Row::Group(group, state) => {
                self.state.apply(StateUpdate::Group(group.into(), state), segment);
            }
        }
        Ok(())
    }

    fn log_row(&mut self, number: u32, partition: i32, row: PartitionRow, segment: &Arc<Segment>) {
        let Some(name) = self.state.names.get(&number).cloned() else { return };
        if let Some((_, log)) = self.write_state.log_mut(&name, partition) {
            *log = row;
        }
        let PartitionRow { log_start_offset, log_end_offset, .. } = row;
        let bounds = LogBounds { log_start_offset, log_end_offset };
        self.state.apply(StateUpdate::LogBounds(name, partition, bounds, None), segment);
    }

    fn removed(&mut self, key: &[u8], segment: &Arc<Segment>) -> Result<(), StorageError> {
        let update = match Removed::read(key)? {
            Removed::Topic(number) => {
                if let Some(name) = self.state.names.get(&number) {
                    self.write_state.remove_topic(name);
                }
                StateUpdate::TopicDeleted(number)
            }
            Removed::Offset(group, number, partition) => {
                StateUpdate::OffsetDeleted(group.into(), number, partition)
            }
            Removed::Group(group) => StateUpdate::GroupDeleted(group.into()),
        };
        self.state.apply(update, segment);
        Ok(())
    }

    /// Applies the frames of a segment that follows the snapshot.
    ///
    /// # Errors
    /// A frame that others follow is damaged, or one holds what no frame does.
    pub(super) fn segment(
        &mut self,
        files: &SegmentFiles,
        segment: &Arc<Segment>,
    ) -> Result<End, StorageError> {
        scan(files, segment, |time, payload_at, payload| {
            for record in Records::new(payload) {
                match record? {
                    Record::Batch { number, partition, at, bytes } => {
                        let entry = entry(bytes, payload_at + at as u64)?;
                        self.batch(number, partition, bytes, entry, time, segment)?;
                    }
                    Record::Row { key, value } => self.row(key, value, segment)?,
                    Record::RemovedRow { key } => self.removed(key, segment)?,
                    Record::Probe => {}
                    Record::Cover { .. } | Record::End { .. } => {
                        return Err(StorageError::Damaged(format!(
                            "{}: a record out of place",
                            segment.id.log()
                        )));
                    }
                }
            }
            Ok(())
        })
    }

    fn batch(
        &mut self,
        number: u32,
        partition: i32,
        bytes: &[u8],
        entry: BatchEntry,
        time: i64,
        segment: &Arc<Segment>,
    ) -> Result<(), StorageError> {
        // Its topic was deleted in the transaction.
        let Some(name) = self.state.names.get(&number).cloned() else { return Ok(()) };
        let Some((_, log)) = self.write_state.log_mut(&name, partition) else {
            return Err(StorageError::Damaged(format!("topic {name} has lost partition {partition}")));
        };
        if entry.base != log.log_end_offset {
            let (end, base) = (log.log_end_offset, entry.base);
            let what = format!("{}: {name}-{partition} goes on at {base}, not at {end}", segment.id.log());
            return Err(StorageError::Damaged(what));
        }
        log.log_end_offset = entry.next();
        if let Some(sequence) = sequence(bytes)? {
            self.write_state.record_producer((number, partition), &sequence, entry.base, time);
        }
        self.state.apply(StateUpdate::Appended(name, partition, vec![entry]), segment);
        Ok(())
    }
}

/// Reads the frames of a segment: `take` gets the time of each, where its payload begins, and the payload.
///
/// # Errors
/// A frame that others follow is damaged.
pub(super) fn scan(
    files: &SegmentFiles,
    segment: &Segment,
    mut take: impl FnMut(i64, u64, &[u8]) -> Result<(), StorageError>,
) -> Result<End, StorageError> {
    let file = files.get(&segment.id.log())?;
    let mut reader = FrameReader::new(file, segment.seed())?;
    let mut end = End { position: segment::HEADER_BYTES, last_frame: None, is_torn: false };
    loop {
        match reader.at(end.position)? {
            Found::Frame { time, payload, end: next } => {
                take(time, end.position + frame::HEADER_BYTES as u64, payload)?;
                end = End { position: next, last_frame: Some(end.position), is_torn: false };
            }
            Found::End => return Ok(end),
            Found::Broken { more: false } => return Ok(End { is_torn: true, ..end }),
            Found::Broken { more: true } => {
                let what = format!("{}: the frame at byte {} is damaged", segment.id.log(), end.position);
                return Err(StorageError::Damaged(what));
            }
        }
    }
}

/// The parts of the logs that a complete segment holds, as its frames have them.
pub(super) fn read_parts(files: &SegmentFiles, segment: &Segment) -> Result<(End, Parts), StorageError> {
    let mut parts: std::collections::BTreeMap<(u32, i32), (LogPart, Vec<BatchEntry>)> = Default::default();
    let none = |number, partition, at| LogPart {
        number,
        partition,
        start: at,
        end: at,
        bytes: 0,
        count: 0,
        max_timestamp: -1,
    };
    let end = scan(files, segment, |_, payload_at, payload| {
        for record in Records::new(payload) {
            match record? {
                Record::Batch { number, partition, at, bytes } => {
                    let entry = entry(bytes, payload_at + at as u64)?;
                    let new = || (none(number, partition, entry.base), Vec::new());
                    let (part, entries) = parts.entry((number, partition)).or_insert_with(new);
                    part.end = part.end.max(entry.next());
                    part.bytes += u64::from(entry.size);
                    part.count += 1;
                    part.max_timestamp = part.max_timestamp.max(entry.max_timestamp);
                    entries.push(entry);
                }
                Record::Cover { number, partition, start, end } => {
                    let new = || (none(number, partition, start), Vec::new());
                    let (part, _) = parts.entry((number, partition)).or_insert_with(new);
                    part.start = part.start.min(start);
                    part.end = part.end.max(end);
                }
                _ => {}
            }
        }
        Ok(())
    })?;
    Ok((end, parts.into_values().collect()))
}

/// The entry of a batch whose bytes begin at `position` of the segment.
pub(super) fn entry(bytes: &[u8], position: u64) -> Result<BatchEntry, Malformed> {
    let mut reader = Reader::new(bytes);
    let base = reader.i64()?;
    reader.take(15)?;
    let last_delta = reader.i32()?;
    reader.i64()?;
    let max_timestamp = reader.i64()?;
    if base < 0 || last_delta < 0 {
        return Err(reader.malformed("a batch that ends before it begins"));
    }
    let (position, size) = (u32::try_from(position), u32::try_from(bytes.len()));
    match (position, size) {
        (Ok(position), Ok(size)) => Ok(BatchEntry { base, last_delta, position, size, max_timestamp }),
        _ => Err(reader.malformed("a segment that is too long")),
    }
}

fn sequence(bytes: &[u8]) -> Result<Option<BatchSequence>, Malformed> {
    let mut reader = Reader::new(bytes);
    reader.take(43)?;
    let (id, epoch, first) = (reader.i64()?, reader.i16()?, reader.i32()?);
    let count = reader.i32()?;
    Ok((id >= 0).then(|| BatchSequence::new(id, epoch, first, count)))
}

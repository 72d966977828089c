//! Gives disk back: segments that hold nothing that is kept are removed, and those that hold little of it are
//! rewritten without the rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use super::error::StorageError;
use super::files::{StoredFile, UNFINISHED};
use super::frame::FrameBuffer;
use super::index_file::{entries, write_index};
use super::log_reader::read_batches;
use super::names::SegmentId;
use super::partition_log::Extent;
use super::record::{put_batch, put_cover};
use super::replay::entry;
use super::segment::{self, Segment};
use super::segment_index::{BatchEntry, LogPart, Parts};
use super::store_state::StoreState;
use protocol::records::Retained;

/// A segment of which so much of a hundred parts, or less, is kept is rewritten.
const REWRITTEN_BELOW: u64 = 30;
/// Bytes of a frame of a rewritten segment, beyond which the next one begins.
const FRAME_BYTES: usize = 1 << 20;

/// Bytes that a rewritten segment gives back, at least.
const GIVEN_BACK: u64 = 16 << 10;

/// Whether segments may be rewritten, which takes room first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rewrites {
    All,
    None,
}

/// What stays of a batch of a log, by topic number and partition.
pub(super) type Filter<'f> = dyn Fn(u32, i32, &Bytes) -> Result<Retained, StorageError> + 'f;

/// Removes or rewrites complete segments, all of whose rows are in the snapshot.
pub(super) fn run(shared: &StoreState, rewrites: Rewrites, now: i64) -> Result<(), StorageError> {
    let snapshot = shared.snapshot.load(Ordering::Acquire);
    let state = shared.state();
    let kept_bytes = state.kept_segments();
    let segments: Vec<Arc<Segment>> =
        state.segments.range(..snapshot).map(|(_, known)| known.clone()).collect();
    drop(state);
    // What is removed makes room for what is rewritten.
    for segment in segments.iter().filter(|segment| !kept_bytes.contains_key(&segment.id.number)) {
        shared.change_state(|state| state.segments.remove(&segment.id.number));
        shared.files.remove(segment.id)?;
    }
    for segment in segments {
        let Some(kept) = kept_bytes.get(&segment.id.number) else { continue };
        let length = segment.length();
        let is_worth_it = kept * 100 <= length * REWRITTEN_BELOW && kept + GIVEN_BACK <= length;
        if rewrites == Rewrites::All && is_worth_it && !shared.is_ending() {
            rewrite_or_report(shared, &segment, now, &|_, _, _| Ok(Retained::All))?;
        }
    }
    Ok(())
}

/// A segment that is being rewritten.
struct Rewritten {
    file: Arc<dyn StoredFile>,
    position: u64,
    frame: FrameBuffer,
    now: i64,
    logs: Parts,
    /// Bytes that the filter has left out of each log.
    filtered: Vec<u64>,
}

impl Rewritten {
    fn end_frame(&mut self, segment: &Segment) -> Result<(), StorageError> {
        if !self.frame.is_empty() {
            self.file.write_at(self.position, self.frame.seal(segment.seed(), self.position, self.now))?;
            self.position += self.frame.len() as u64;
            self.frame.clear();
        }
        Ok(())
    }
}

/// Writes what is kept of a segment, and what `filter` leaves of it, into its next generation, and puts that
/// in its place. It stays as it is if that is all, if there is no room, or if it is damaged, which is
/// reported.
pub(super) fn rewrite_or_report(
    shared: &StoreState,
    segment: &Arc<Segment>,
    now: i64,
    filter: &Filter<'_>,
) -> Result<(), StorageError> {
    if shared.is_reported(segment.id) {
        return Ok(());
    }
    let id = SegmentId { number: segment.id.number, generation: segment.id.generation + 1 };
    let unfinished = format!("{}{UNFINISHED}", id.log());
    let written = write(shared, segment, id, &unfinished, now, filter);
    match written {
        Ok(Some(logs)) => return replace(shared, segment, id, &unfinished, &logs),
        Ok(None) => {}
        Err(StorageError::Damaged(what)) => shared.report_damaged_segment(segment.id, &what),
        Err(error) if error.is_no_room() => {
            log::debug!("{}: {} is not rewritten: {error}", shared.folder, segment.id.log());
        }
        Err(error) => return Err(error),
    }
    shared.files.files.remove(&unfinished)?;
    Ok(shared.files.files.remove(&id.index())?)
}

/// Whether `filter` leaves anything out of the logs of a segment that are `wanted`.
pub(super) fn is_filtered(
    shared: &StoreState,
    segment: &Arc<Segment>,
    wanted: &dyn Fn((u32, i32)) -> bool,
    filter: &Filter<'_>,
) -> Result<bool, StorageError> {
    for (part, log_start, extent) in parts(shared, segment) {
        if !wanted((part.number, part.partition)) {
            continue;
        }
        for kept in kept_entries(shared, &part, log_start, extent)? {
            let batch = match read_batch(shared, segment, &kept) {
                // What is damaged is found again, and reported, when the segment is rewritten.
                Err(StorageError::Damaged(_)) => return Ok(true),
                batch => batch?,
            };
            if filter(part.number, part.partition, &batch)? != Retained::All {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn read_batch(shared: &StoreState, segment: &Segment, entry: &BatchEntry) -> Result<Bytes, StorageError> {
    let mut batch = BytesMut::new();
    read_batches(&shared.files, segment, std::slice::from_ref(entry), &mut batch)?;
    Ok(batch.freeze())
}

/// The entries of the kept batches of one log in a segment.
fn kept_entries(
    shared: &StoreState,
    part: &LogPart,
    log_start: i64,
    extent: Extent,
) -> Result<Vec<BatchEntry>, StorageError> {
    let mut entries = entries(shared, part, extent)?;
    entries.retain(|entry| entry.next() > log_start);
    Ok(entries)
}

/// Writes the next generation of a segment, under another name, and its index; `None` if nothing would be
/// less.
fn write(
    shared: &StoreState,
    segment: &Arc<Segment>,
    id: SegmentId,
    unfinished: &str,
    now: i64,
    filter: &Filter<'_>,
) -> Result<Option<Written>, StorageError> {
    let new = Segment::new(id);
    let file = shared.files.files.create(unfinished)?;
    file.write_at(0, &segment::header(id))?;
    let (frame, logs, filtered) = Default::default();
    let position = segment::HEADER_BYTES;
    let mut out = Rewritten { file, position, frame, now, logs, filtered };
    let is_emptied = shared.state().kept_bytes(segment) + GIVEN_BACK <= segment.length();
    for of_log in parts(shared, segment) {
        copy(shared, segment, &new, &mut out, of_log, filter)?;
    }
    if !is_emptied && out.filtered.iter().all(|bytes| *bytes == 0) {
        return Ok(None);
    }
    out.end_frame(&new)?;
    out.file.sync()?;
    new.length.store(out.position, Ordering::Release);
    let positions = write_index(shared, id, out.position, &out.logs)?;
    Ok(Some(Written { segment: new, logs: out.logs, filtered: out.filtered, positions }))
}

/// The next generation of a segment.
struct Written {
    segment: Arc<Segment>,
    logs: Parts,
    /// Bytes that the filter has left out of each log.
    filtered: Vec<u64>,
    /// Where the entries of each log are in the index.
    positions: BTreeMap<(u32, i32), u64>,
}

/// Puts the next generation of a segment in its place.
fn replace(
    shared: &StoreState,
    segment: &Arc<Segment>,
    id: SegmentId,
    unfinished: &str,
    written: &Written,
) -> Result<(), StorageError> {
    shared.files.files.rename(unfinished, &id.log())?;
    shared.files.files.sync_folder()?;
    shared.change_state(|state| {
        for ((part, _), filtered) in written.logs.iter().zip(&written.filtered) {
            let Some(position) = written.positions.get(&(part.number, part.partition)) else { continue };
            let Some(log) = state.log_mut(part.number, part.partition) else { continue };
            if let Some(known) = log.extent_in_mut(segment) {
                *known = Extent::stored(written.segment.clone(), part, *position);
                log.bytes = log.bytes.saturating_sub(*filtered);
            }
        }
        state.segments.insert(id.number, written.segment.clone());
    });
    Ok(shared.files.remove(segment.id)?)
}

/// What each log has in a segment: the part, the start of the log and the extent.
fn parts(shared: &StoreState, segment: &Arc<Segment>) -> Vec<(LogPart, i64, Extent)> {
    let state = shared.state();
    let start =
        |part: &LogPart| state.log(part.number, part.partition).map(|log| log.bounds.log_start_offset);
    let parts = state.parts_of(segment).into_iter();
    parts.filter_map(|(part, extent)| Some((part, start(&part)?, extent))).collect()
}

/// Copies the kept batches of one log.
fn copy(
    shared: &StoreState,
    segment: &Segment,
    new: &Segment,
    out: &mut Rewritten,
    (part, log_start, extent): (LogPart, i64, Extent),
    filter: &Filter<'_>,
) -> Result<(), StorageError> {
    let entries = kept_entries(shared, &part, log_start, extent)?;
    let (number, partition) = (part.number, part.partition);
    let (mut copied, mut filtered) = (Vec::new(), 0);
    // What was removed at the start of the log is nobody's to stand for.
    let start = part.start.max(log_start).min(part.end);
    put_cover(out.frame.payload(), number, partition, start, part.end);
    for kept in &entries {
        let batch = read_batch(shared, segment, kept)?;
        let batch = match filter(number, partition, &batch)? {
            Retained::All => batch,
            Retained::Some(left) => left.into(),
            Retained::Nothing => Bytes::new(),
        };
        filtered += u64::from(kept.size).saturating_sub(batch.len() as u64);
        if batch.is_empty() {
            continue;
        }
        let at = put_batch(out.frame.payload(), number, partition, &batch);
        copied.push(entry(&batch, out.position + at as u64)?);
        if out.frame.len() >= FRAME_BYTES {
            out.end_frame(new)?;
        }
    }
    let bytes = copied.iter().map(|entry| u64::from(entry.size)).sum();
    let max_timestamp = copied.iter().map(|entry| entry.max_timestamp).max().unwrap_or(-1);
    let count = u32::try_from(copied.len()).unwrap_or(u32::MAX);
    out.logs.push((LogPart { start, bytes, count, max_timestamp, ..part }, copied));
    out.filtered.push(filtered);
    Ok(())
}

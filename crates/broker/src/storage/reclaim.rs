//! Gives disk back: segments that hold nothing that is kept are removed, and those that hold little of it are
//! rewritten without the rest.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use super::error::StorageError;
use super::frame::FrameBuffer;
use super::index_file::write_index;
use super::log_reader::read_batches;
use super::names::SegmentId;
use super::partition_log::{Entries, Extent};
use super::record::{put_batch, put_cover};
use super::replay::entry;
use super::segment::{self, Segment};
use super::segment_index::{LogPart, Parts, StoredEntries};
use super::store_state::StoreState;
use protocol::records::Retained;

/// A segment of which so much of a hundred parts, or less, is kept is rewritten.
const REWRITTEN_BELOW: u64 = 30;
/// Bytes of a frame of a rewritten segment, beyond which the next one begins.
const FRAME_BYTES: usize = 1 << 20;

/// Bytes that a rewritten segment gives back, at least.
const GIVEN_BACK: u64 = 16 << 10;

/// What stays of a batch of a log, by topic number and partition.
pub(super) type Filter<'f> = dyn Fn(u32, i32, &Bytes) -> Result<Retained, StorageError> + 'f;

/// Removes or rewrites complete segments, all of whose rows are in the snapshot.
pub(super) fn run(shared: &Arc<StoreState>, now: i64) -> Result<(), StorageError> {
    let snapshot = shared.snapshot.load(Ordering::Acquire);
    let state = shared.state();
    let segments: Vec<Arc<Segment>> =
        state.segments.range(..snapshot).map(|(_, known)| known.clone()).collect();
    drop(state);
    for segment in segments {
        if shared.queue.is_closed() || shared.has_failed() {
            return Ok(());
        }
        let state = shared.state();
        let (is_kept, kept) = (state.has_kept(&segment), state.kept_bytes(&segment));
        drop(state);
        let length = segment.length();
        if !is_kept {
            remove(shared, &segment)?;
        } else if kept * 100 <= length * REWRITTEN_BELOW && kept + GIVEN_BACK <= length {
            rewrite_or_report(shared, &segment, now, &|_, _, _| Ok(Retained::All))?;
        }
    }
    Ok(())
}

fn remove(shared: &StoreState, segment: &Arc<Segment>) -> Result<(), StorageError> {
    shared.change_state(|state| state.segments.remove(&segment.id.number));
    Ok(shared.files.remove(segment.id)?)
}

/// A segment that is being rewritten.
struct Rewritten {
    file: Arc<dyn super::files::StoredFile>,
    position: u64,
    frame: FrameBuffer,
    now: i64,
    logs: Parts,
    /// Whether anything is left out.
    is_less: bool,
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

/// As [`rewrite`]; a segment that is damaged stays as it is, which is reported.
pub(super) fn rewrite_or_report(
    shared: &Arc<StoreState>,
    segment: &Arc<Segment>,
    now: i64,
    filter: &Filter<'_>,
) -> Result<(), StorageError> {
    match rewrite(shared, segment, now, filter) {
        Err(StorageError::Damaged(what)) => {
            shared.report_damaged_segment(segment.id, &what);
            Ok(())
        }
        done => done,
    }
}

/// Writes what is kept of a segment, and what `filter` leaves of it, into its next generation, and puts that
/// in its place; leaves it as it is if that is all.
fn rewrite(
    shared: &Arc<StoreState>,
    segment: &Arc<Segment>,
    now: i64,
    filter: &Filter<'_>,
) -> Result<(), StorageError> {
    let id = SegmentId { number: segment.id.number, generation: segment.id.generation + 1 };
    let new = Segment::new(id);
    let unfinished = format!("{}{}", id.log(), super::files::UNFINISHED);
    let file = shared.files.files.create(&unfinished)?;
    file.write_at(0, &segment::header(id))?;
    let (frame, logs) = Default::default();
    let position = segment::HEADER_BYTES;
    let mut out = Rewritten { file, position, frame, now, logs, is_less: false };
    out.is_less = shared.state().kept_bytes(segment) + GIVEN_BACK <= segment.length();
    for (part, log_start, extent) in parts(shared, segment) {
        copy(shared, segment, &new, &mut out, (part, log_start, extent), filter)?;
    }
    if !out.is_less {
        return Ok(shared.files.files.remove(&unfinished)?);
    }
    out.end_frame(&new)?;
    out.file.sync()?;
    new.length.store(out.position, Ordering::Release);
    shared.files.files.rename(&unfinished, &id.log())?;
    // It stores the entry of the renamed file, too.
    let positions = write_index(shared, id, out.position, &out.logs)?;
    shared.change_state(|state| {
        for (part, _) in &out.logs {
            let Some(position) = positions.get(&(part.number, part.partition)) else { continue };
            let Some(log) = state.log_mut(part.number, part.partition) else { continue };
            let known = log.extents.iter_mut().find(|extent| Arc::ptr_eq(&extent.segment, segment));
            if let Some(known) = known {
                let removed = known.bytes.saturating_sub(part.bytes);
                *known = Extent::stored(new.clone(), part, *position);
                log.bytes = log.bytes.saturating_sub(removed);
            }
        }
        state.segments.insert(id.number, new);
    });
    Ok(shared.files.remove(segment.id)?)
}

/// What each log has in a segment: the part, the start of the log and the extent.
fn parts(shared: &StoreState, segment: &Arc<Segment>) -> Vec<(LogPart, i64, Extent)> {
    let state = shared.state();
    let mut parts = Vec::new();
    for (number, partition, log) in state.logs() {
        let of_segment = log.extents.iter().filter(|extent| Arc::ptr_eq(&extent.segment, segment));
        let start = log.bounds.log_start_offset;
        parts.extend(of_segment.map(|extent| (extent.part(number, partition), start, extent.clone())));
    }
    parts
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
    let entries = match extent.entries {
        Entries::Memory(entries) => entries,
        Entries::Stored(position) => {
            let file = shared.files.get(&segment.id.index())?;
            StoredEntries { file, position, count: part.count as usize }.from(log_start, usize::MAX)?
        }
    };
    let (number, partition) = (part.number, part.partition);
    let mut copied = Vec::new();
    put_cover(out.frame.payload(), number, partition, part.start, part.end);
    for kept in entries.iter().filter(|entry| entry.next() > log_start) {
        let mut batch = BytesMut::new();
        read_batches(&shared.files, segment, std::slice::from_ref(kept), &mut batch)?;
        let batch = batch.freeze();
        let batch = match filter(number, partition, &batch)? {
            Retained::All => batch,
            Retained::Some(left) => left.into(),
            Retained::Nothing => Bytes::new(),
        };
        out.is_less |= batch.len() < kept.size as usize;
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
    out.logs.push((LogPart { bytes, count, max_timestamp, ..part }, copied));
    Ok(())
}

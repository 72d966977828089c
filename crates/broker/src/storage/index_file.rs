//! The files of indexes: each is written once, when its segment is complete or rewritten.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::StorageError;
use super::files::store_file;
use super::names::SegmentId;
use super::partition_log::{Entries, Extent};
use super::replay;
use super::segment::Segment;
use super::segment_index::{self, BatchEntry, LogPart, Parts, StoredEntries};
use super::store_state::StoreState;

/// Stores the index of a complete segment, which leaves memory then.
pub(super) fn store_index(shared: &StoreState, segment: &Arc<Segment>) -> Result<(), StorageError> {
    let extents = shared.state().parts_of(segment);
    if extents.iter().all(|(_, extent)| matches!(extent.entries, Entries::Stored(_))) {
        return Ok(());
    }
    let mut logs = Parts::new();
    for (part, extent) in extents {
        logs.push((part, entries(shared, &part, extent)?));
    }
    let positions = write_index(shared, segment.id, segment.length(), &logs)?;
    shared.change_state(|state| {
        for ((number, partition), position) in positions {
            let log = state.log_mut(number, partition);
            if let Some(extent) = log.and_then(|log| log.extent_in_mut(segment)) {
                extent.entries = Entries::Stored(position);
            }
        }
    });
    Ok(())
}

/// The entries of a log's part of a segment: of one whose index is damaged, from the segment.
pub(super) fn entries(
    shared: &StoreState,
    part: &LogPart,
    extent: Extent,
) -> Result<Vec<BatchEntry>, StorageError> {
    let position = match extent.entries {
        Entries::Memory(entries) => return Ok(entries),
        Entries::Stored(position) => position,
    };
    let file = shared.files.get(&extent.segment.id.index())?;
    match (StoredEntries { file, position, count: part.count as usize }).all() {
        Err(StorageError::Damaged(_)) => read_entries(shared, &extent.segment, part.number, part.partition),
        entries => entries,
    }
}

/// The entries of a log's part of a segment, as the segment has them.
pub(super) fn read_entries(
    shared: &StoreState,
    segment: &Segment,
    number: u32,
    partition: i32,
) -> Result<Vec<BatchEntry>, StorageError> {
    let (_, parts) = replay::read_parts(&shared.files, segment)?;
    let mut parts = parts.into_iter();
    let found = parts.find(|(part, _)| (part.number, part.partition) == (number, partition));
    let missing = || StorageError::Damaged(format!("{}: a log is missing in it", segment.id.log()));
    found.map(|(_, entries)| entries).ok_or_else(missing)
}

/// Writes the file of an index; where the entries of each log are in it.
pub(super) fn write_index(
    shared: &StoreState,
    id: SegmentId,
    length: u64,
    logs: &Parts,
) -> Result<BTreeMap<(u32, i32), u64>, StorageError> {
    let (bytes, directory) = segment_index::encode(id, length, logs);
    store_file(&*shared.files.files, &id.index(), &bytes)?;
    shared.files.forget(&id.index());
    Ok(directory.into_iter().map(|(part, position)| ((part.number, part.partition), position)).collect())
}

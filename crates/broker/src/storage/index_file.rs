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
    let extents = extents_of(shared, segment);
    if extents.iter().all(|(_, extent)| matches!(extent.entries, Entries::Stored(_))) {
        return Ok(());
    }
    let mut logs = Parts::new();
    for (part, extent) in extents {
        let entries = match extent.entries {
            Entries::Memory(entries) => entries,
            Entries::Stored(position) => {
                let file = shared.files.get(&segment.id.index())?;
                match (StoredEntries { file, position, count: part.count as usize }).all() {
                    Err(StorageError::Damaged(_)) => read_entries(shared, segment, &part)?,
                    entries => entries?,
                }
            }
        };
        logs.push((part, entries));
    }
    let positions = write_index(shared, segment.id, segment.length(), &logs)?;
    shared.change_state(|state| {
        for ((number, partition), position) in positions {
            let Some(log) = state.log_mut(number, partition) else { continue };
            let extent = log.extents.iter_mut().find(|extent| Arc::ptr_eq(&extent.segment, segment));
            if let Some(extent) = extent {
                extent.entries = Entries::Stored(position);
            }
        }
    });
    Ok(())
}

fn extents_of(shared: &StoreState, segment: &Arc<Segment>) -> Vec<(LogPart, Extent)> {
    let state = shared.state();
    let mut extents = Vec::new();
    for (number, partition, log) in state.logs() {
        let of_segment = log.extents.iter().filter(|extent| Arc::ptr_eq(&extent.segment, segment));
        extents.extend(of_segment.map(|extent| (extent.part(number, partition), extent.clone())));
    }
    extents
}

/// The entries of a log's part of a segment, as the segment has them.
fn read_entries(
    shared: &StoreState,
    segment: &Segment,
    part: &LogPart,
) -> Result<Vec<BatchEntry>, StorageError> {
    let (_, parts) = replay::read_parts(&shared.files, segment)?;
    let of_log = |found: &LogPart| (found.number, found.partition) == (part.number, part.partition);
    let entries = parts.into_iter().find(|(found, _)| of_log(found)).map(|(_, entries)| entries);
    entries.ok_or_else(|| StorageError::Damaged("a log is missing in a segment".to_owned()))
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

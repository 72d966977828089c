//! The files of indexes: each is written once, when its segment is complete or rewritten.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::StorageError;
use super::files::store_file;
use super::names::SegmentId;
use super::partition_log::Entries;
use super::segment::Segment;
use super::segment_index::{self, Parts};
use super::store_state::StoreState;

/// Stores the index of a complete segment, which leaves memory then.
pub(super) fn store_index(shared: &StoreState, segment: &Arc<Segment>) -> Result<(), StorageError> {
    let mut logs = Parts::new();
    let state = shared.state();
    for (number, partition, log) in state.logs() {
        for extent in log.extents.iter().filter(|extent| Arc::ptr_eq(&extent.segment, segment)) {
            if let Entries::Memory(entries) = &extent.entries {
                logs.push((extent.part(number, partition), entries.clone()));
            }
        }
    }
    drop(state);
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

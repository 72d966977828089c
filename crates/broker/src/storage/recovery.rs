//! Recovery: opens the store after it has failed.
//!
//! After a failed sync the page cache may hold bytes as written that are not on the disk. Only the failed
//! transaction can have written them, at the end of the log; each opening writes the last frame anew and
//! syncs it before it is believed. As a second line the page cache of the files is dropped, and every frame
//! is checked.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk_folder::DiskFolder;
use super::error::StorageError;
use super::frame::FrameBuffer;
use super::open::{self, Check, Opened};
use super::reclaim::{self, Rewrites};
use super::record::put_probe;
use super::retention;
use super::store_state::StoreState;
use super::write_state::Limits;
use super::{OpenError, Retention};

/// The size of the probe: as much as a large message.
const PROBE_BYTES: usize = 1_000_000;
/// How long retention may run before the probe.
const RETENTION_TIME: Duration = Duration::from_secs(2);

/// Opens the store in `folder` if it takes writes and every frame is in order. Retention runs first, as of
/// `now`: on a full disk it may free the only space.
pub(super) fn open_folder(
    folder: &Path,
    retention: &Retention,
    now: i64,
) -> Result<(Opened, Arc<str>), OpenError> {
    drop_page_cache(folder)?;
    let (opened, _) = open::open_folder(folder, Check::Used, Limits::default())?;
    prove_writable(opened, retention, now)?;
    drop_page_cache(folder)?;
    open::open_folder(folder, Check::All, Limits::default())
}

fn drop_page_cache(folder: &Path) -> Result<(), OpenError> {
    let (files, _lock) = DiskFolder::lock(folder)?;
    files.drop_page_cache().map_err(OpenError::io)
}

/// Runs retention and appends a probe, as proof that the store takes writes, and closes it.
pub(super) fn prove_writable(opened: Opened, retention: &Retention, now: i64) -> Result<(), StorageError> {
    let Opened { files, mut write_state, state, mut active, snapshot, lock: _lock, .. } = opened;
    let shared = Arc::new(StoreState::new("".into(), "".into(), files, state, snapshot));
    let (mut frame, until) = (FrameBuffer::default(), Instant::now() + RETENTION_TIME);
    loop {
        let slice = retention::run_slice(&shared, &mut write_state, &mut frame, retention, now)?;
        if frame.is_empty() {
            break;
        }
        active.append(&mut frame, now).map_err(|failed| failed.error)?;
        frame.clear();
        shared.publish(slice.applied.updates, &active.segment);
        if !slice.more || Instant::now() >= until {
            break;
        }
    }
    reclaim::run(&shared, Rewrites::None, now)?;
    put_probe(frame.payload(), PROBE_BYTES);
    active.append(&mut frame, now).map_err(|failed| failed.error)?;
    Ok(active.finish()?)
}

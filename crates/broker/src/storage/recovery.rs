//! Recovery: opens the database after it has failed.
//!
//! After a failed sync the page cache may hold pages as written that are not on the disk. Only the failed
//! transaction can have written them. If it never became the current transaction, its pages are free, and are
//! written anew before they are used. If its last sync failed, that of the header, the next transaction
//! writes the header anew. So one durable transaction before the first answer removes every such page. As a
//! second line the page cache of the file is dropped and every page is read and checked.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, TableDefinition};

use super::error::{StorageError, guarded};
use super::open::{self, Check, Opened};
use super::retention::RetentionTask;
use super::transaction::begin;
use super::{OpenError, Retention};

/// A table that exists during the probe only.
const PROBE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("room");
/// The size of the probe: as much as a large message.
const PROBE_BYTES: usize = 1_000_000;
/// How long retention may run before the probe.
const RETENTION_TIME: Duration = Duration::from_secs(2);

/// Opens the database in `folder` if it takes writes and every page is in order. Retention runs first, as of
/// `now`: on a full disk it may free the only space.
pub(super) fn open_folder(
    folder: &Path,
    retention: &Retention,
    now: i64,
) -> Result<(Opened, Arc<str>), OpenError> {
    drop_page_cache(folder).map_err(OpenError::io)?;
    let (opened, _) = open::open_folder(folder, Check::Used)?;
    prove_writable(opened, retention, now)?;
    drop_page_cache(folder).map_err(OpenError::io)?;
    open::open_folder(folder, Check::All)
}

/// Syncs the file, and drops its pages from the page cache.
fn drop_page_cache(folder: &Path) -> io::Result<()> {
    let file = match File::options().read(true).write(true).open(open::path_in(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    file.sync_all()?;
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    {
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        // Not every file system can do this; it is the second line only.
        if let Err(error) = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
            log::debug!("the page cache of the database cannot be dropped: {error}");
        }
    }
    Ok(())
}

/// Runs retention and the probe, as proof that the database takes writes, and closes it.
pub(super) fn prove_writable(opened: Opened, retention: &Retention, now: i64) -> Result<(), StorageError> {
    let Opened { database, mut write_state, .. } = opened;
    guarded(|| {
        let (mut retention_task, until) = (RetentionTask::default(), Instant::now() + RETENTION_TIME);
        while retention_task.run_slice(&database, &mut write_state, retention, now)?.more
            && Instant::now() < until
        {}
        write_probe(&database)?;
        database.close().map_err(|error| StorageError::Failed(error.into()))
    })
}

/// Stores a probe of the size of a message, and removes it.
fn write_probe(database: &Database) -> Result<(), StorageError> {
    let transaction = begin(database)?;
    transaction.open_table(PROBE)?.insert([].as_slice(), vec![0x5a; PROBE_BYTES].as_slice())?;
    transaction.commit()?;
    let transaction = begin(database)?;
    transaction.delete_table(PROBE)?;
    transaction.commit()?;
    Ok(())
}

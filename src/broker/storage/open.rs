//! Opening the database: the folder, the lock, what has to be in memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageBackend};

use super::OpenError;
use super::checked_file::CheckedFile;
use super::fault::{Fault, guarded};
use super::ledger::Ledger;
use super::load::load;
use super::rows::{META_KEY, Meta};
use super::state::State;
use super::writer::commit_durably;

/// The database's file in its folder.
const FILE_NAME: &str = "point-to-point.redb";
/// Memory for pages of the database.
const CACHE_BYTES: usize = 48 << 20;

/// An open database and what was read from it.
pub(super) struct Opened {
    pub database: Database,
    pub ledger: Ledger,
    pub state: State,
}

/// Opens, or creates, the database in `folder`; gives its file's name with it.
pub(super) fn open_folder(folder: &Path) -> Result<(Opened, Arc<str>), OpenError> {
    let path = folder.join(FILE_NAME);
    let name: Arc<str> = path.display().to_string().into();
    let failed = |what: &str, error: io::Error| OpenError::Io(format!("{name}: {what}: {error}"));
    prepare_folder(folder)?;
    let open = || open_file(&path).map_err(|error| failed("cannot open the file", error));
    drop(open()?);
    sync_folder(folder).map_err(|error| failed("cannot sync its folder", error))?;
    let backend = || FileBackend::new(open()?).map_err(open_error);
    open_database(backend, name.clone()).map(|opened| (opened, name))
}

/// Opens, or creates, a database on what `backend` gives: the same file each time it is called.
pub(super) fn open_database<B: StorageBackend>(
    mut backend: impl FnMut() -> Result<B, OpenError>,
    name: Arc<str>,
) -> Result<Opened, OpenError> {
    match try_open(CheckedFile::new(backend()?, name.clone())) {
        Err(OpenError::Damaged(what)) => {
            // A crash may have come before the database was there at all.
            let file = CheckedFile::new(backend()?, name.clone());
            clear_if_unfinished(&file, what)?;
            drop(file);
            try_open(CheckedFile::new(backend()?, name))
        }
        opened => opened,
    }
}

/// Empties a file in which nothing was ever stored; the error for any other.
fn clear_if_unfinished<B: StorageBackend>(file: &CheckedFile<B>, what: String) -> Result<(), OpenError> {
    let failed = |error: io::Error| OpenError::Io(error.to_string());
    match file.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(true) | Err(redb::BackendError::Unsupported) => {}
        Ok(false) => return Err(OpenError::Locked),
        Err(error) => return Err(OpenError::Io(error.to_string())),
    }
    let unfinished = file.is_unfinished().map_err(failed);
    let cleared = unfinished.and_then(|unfinished| match unfinished {
        true => file.clear().map_err(failed),
        false => Err(OpenError::Damaged(what)),
    });
    file.close().map_err(failed)?;
    cleared
}

fn try_open<B: StorageBackend>(file: CheckedFile<B>) -> Result<Opened, OpenError> {
    let damage = file.damage();
    let mut opened = None;
    let result = guarded(|| {
        opened = Some(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(file));
        Ok(())
    });
    let database = match (result, opened) {
        (Ok(()), Some(Ok(database))) => database,
        (Ok(()), Some(Err(error))) => return Err(open_error(error)),
        (Err(fault), _) => return Err(OpenError::Damaged(fault.to_string())),
        (Ok(()), None) => return Err(OpenError::Damaged("it was not opened".to_owned())),
    };
    let loaded = guarded(|| {
        create_tables(&database)?;
        load(&database)
    });
    let error = match loaded {
        Ok((ledger, state)) if damage.count() == 0 => return Ok(Opened { database, ledger, state }),
        Ok(_) => OpenError::Damaged("some of its blocks are not what was written".to_owned()),
        Err(Fault::Damaged(what)) => OpenError::Damaged(what),
        Err(Fault::Failed(what)) => OpenError::Io(what),
    };
    let _ = guarded(|| {
        drop(database);
        Ok(())
    });
    Err(error)
}

fn open_error(error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenError::Locked,
        DatabaseError::Storage(redb::StorageError::Io(error)) => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                OpenError::Damaged(error.to_string())
            }
            _ => OpenError::Io(error.to_string()),
        },
        DatabaseError::Storage(error @ redb::StorageError::PreviousIo) => OpenError::Io(error.to_string()),
        error => OpenError::Damaged(error.to_string()),
    }
}

/// Makes what a new database has; nothing in any other.
fn create_tables(database: &Database) -> Result<(), Fault> {
    let transaction = database.begin_read()?;
    let known = transaction.list_tables()?.next().is_some();
    drop(transaction);
    if known {
        return Ok(());
    }
    let mut cluster_id = [0; 16];
    getrandom::fill(&mut cluster_id)
        .map_err(|error| Fault::Failed(format!("no random numbers for its id: {error}")))?;
    let meta = Meta { cluster_id, next_topic: 1, next_producer: 0 };
    commit_durably(database, |tables| {
        tables.state.insert(META_KEY, meta.to_bytes().as_slice())?;
        Ok(())
    })
}

/// Creates the folder for its owner alone. One that others may enter is narrowed if it holds nothing else, and refused
/// if it does.
fn prepare_folder(folder: &Path) -> Result<(), OpenError> {
    let failed =
        |what: &str, error: io::Error| OpenError::Io(format!("{}: {what}: {error}", folder.display()));
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    if !folder.exists() {
        builder.create(folder).map_err(|error| failed("cannot create the folder", error))?;
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    match sync_folder(parent.unwrap_or(Path::new("."))) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            return Err(failed("cannot sync the folder above it", error));
        }
        _ => {}
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = folder.metadata().map_err(|error| failed("cannot look at the folder", error))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            let entries = folder.read_dir().map_err(|error| failed("cannot look into the folder", error))?;
            if entries.flatten().any(|entry| entry.file_name() != FILE_NAME) {
                let text = "others may enter this folder, and it holds more than the database: choose another \
                            folder, or chmod 700";
                return Err(OpenError::Io(format!("{}: {text}", folder.display())));
            }
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
                .map_err(|error| failed("others may enter the folder, and it cannot be narrowed", error))?;
        }
    }
    Ok(())
}

/// The file, for its owner alone.
fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(file)
}

/// Makes a new entry of a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

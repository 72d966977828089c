//! Opens the database: creates folder and file, takes the lock, loads the data that is kept in memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageBackend};

use super::OpenError;
use super::checked_file::{CheckedFile, Syncs};
use super::error::{StorageError, guarded};
use super::load::load;
use super::read_state::State;
use super::schema::{META_KEY, Meta};
use super::transaction::commit_durably;
use super::write_state::WriteState;

/// The database's file in its folder.
const FILE_NAME: &str = "point-to-point.redb";
/// Memory for pages of the database.
const CACHE_BYTES: usize = 48 << 20;

/// An open database and the state that was loaded from it.
pub(super) struct Opened {
    pub database: Database,
    pub write_state: WriteState,
    pub state: State,
    pub syncs: Syncs,
}

/// How much of the database is checked when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// The rows that are loaded into memory; other pages are checked when they are read.
    Used,
    /// Every page.
    All,
}

/// The database's file.
pub(super) fn path_in(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}

/// Opens, or creates, the database in `folder`; gives its file's name with it.
pub(super) fn open_folder(folder: &Path, check: Check) -> Result<(Opened, Arc<str>), OpenError> {
    let path = path_in(folder);
    let name: Arc<str> = path.display().to_string().into();
    let failed = |what: &str, error: io::Error| OpenError::io_at(format!("{name}: {what}"), error);
    prepare_folder(folder)?;
    let open = || open_file(&path).map_err(|error| failed("cannot open the file", error));
    drop(open()?);
    sync_folder(folder).map_err(|error| failed("cannot sync its folder", error))?;
    let backend = || FileBackend::new(open()?).map_err(open_error);
    open_database(backend, name.clone(), check).map(|opened| (opened, name))
}

/// Opens, or creates, a database on a backend; `backend` gives the same file at each call.
pub(super) fn open_database<B: StorageBackend>(
    mut backend: impl FnMut() -> Result<B, OpenError>,
    name: Arc<str>,
    check: Check,
) -> Result<Opened, OpenError> {
    match try_open(CheckedFile::new(backend()?, name.clone()), check) {
        Err(OpenError::Damaged(what)) => {
            // A crash may have come before the database was complete.
            let file = CheckedFile::new(backend()?, name.clone());
            clear_if_unfinished(&file, what)?;
            drop(file);
            try_open(CheckedFile::new(backend()?, name), check)
        }
        opened => opened,
    }
}

/// Empties a file in which nothing was ever stored; returns the error for any other.
fn clear_if_unfinished<B: StorageBackend>(file: &CheckedFile<B>, what: String) -> Result<(), OpenError> {
    match file.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(true) | Err(redb::BackendError::Unsupported) => {}
        Ok(false) => return Err(OpenError::Locked),
        Err(error) => return Err(OpenError::io(error)),
    }
    let unfinished = file.is_unfinished().map_err(OpenError::io);
    let cleared = unfinished.and_then(|unfinished| match unfinished {
        true => file.clear().map_err(OpenError::io),
        false => Err(OpenError::Damaged(what)),
    });
    file.close().map_err(OpenError::io)?;
    cleared
}

fn try_open<B: StorageBackend>(file: CheckedFile<B>, check: Check) -> Result<Opened, OpenError> {
    let (damage, syncs) = (file.damage(), file.syncs());
    let mut opened = None;
    let result = guarded(|| {
        opened = Some(
            Builder::new()
                .set_cache_size(CACHE_BYTES)
                .set_check_integrity_on_open(check == Check::All)
                .create_with_backend(file),
        );
        Ok(())
    });
    let database = match (result, opened) {
        (Ok(()), Some(Ok(database))) => database,
        (Ok(()), Some(Err(error))) => return Err(open_error(error)),
        (Err(error), _) => return Err(OpenError::Damaged(error.to_string())),
        (Ok(()), None) => return Err(OpenError::Damaged("it could not be opened".to_owned())),
    };
    let loaded = guarded(|| {
        create_tables(&database)?;
        load(&database)
    });
    let error = match loaded {
        Ok((write_state, state)) if damage.count() == 0 => {
            return Ok(Opened { database, write_state, state, syncs });
        }
        Ok(_) => OpenError::Damaged("some of its blocks are damaged".to_owned()),
        Err(error) => error.into(),
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
            _ => OpenError::io(error),
        },
        DatabaseError::Storage(error @ redb::StorageError::PreviousIo) => OpenError::io(error),
        error => OpenError::Damaged(error.to_string()),
    }
}

/// Creates the first row of a new database.
fn create_tables(database: &Database) -> Result<(), StorageError> {
    let transaction = database.begin_read()?;
    let known = transaction.list_tables()?.next().is_some();
    drop(transaction);
    if known {
        return Ok(());
    }
    let cluster_id = net::random::bytes().map_err(|error| StorageError::Failed(error.into()))?;
    let meta = Meta { cluster_id, next_topic: 1, next_producer: 0 };
    commit_durably(database, |tables| {
        tables.state.insert(META_KEY, meta.to_bytes().as_slice())?;
        Ok(())
    })
}

/// Creates the folder for its owner alone. A folder that others may enter gets mode 0700 if it holds nothing
/// but the database; else it is refused.
fn prepare_folder(folder: &Path) -> Result<(), OpenError> {
    let failed =
        |what: &str, error: io::Error| OpenError::io_at(format!("{}: {what}", folder.display()), error);
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
                return Err(OpenError::io_at(folder.display().to_string(), text));
            }
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(|error| {
                failed("others may enter the folder, and its mode cannot be changed", error)
            })?;
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

//! The folder of a store on a real disk: its creation, its lock and its files.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform::files;

use super::OpenError;
use super::files::{Files, StoredFile};
use super::names::{self, LOCK};

/// The file of a format that was never released.
const FORMER_FILE: &str = "point-to-point.redb";

/// A folder on the disk.
pub(super) struct DiskFolder {
    path: PathBuf,
}

/// The lock of a folder; it is free when this is dropped.
pub(super) struct FolderLock {
    file: File,
    path: PathBuf,
}

impl FolderLock {
    /// Whether the folder is still where it was, as far as that can be said: it may have been removed or
    /// moved while its files are open.
    pub(super) fn is_in_place(&self) -> bool {
        match files::look_at(&self.path) {
            Ok(found) => files::look_at_open(&self.file).map_or(true, |own| own.id == found.id),
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            log::debug!("the lock of the store is freed by the end of its file: {error}");
        }
    }
}

impl DiskFolder {
    /// Creates the folder, if need be, and takes its lock.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another process has the lock, [`OpenError::Foreign`] if the folder holds
    /// something else, [`OpenError::Io`] otherwise.
    pub(super) fn lock(path: &Path) -> Result<(DiskFolder, FolderLock), OpenError> {
        let failed =
            |what: &str, error: io::Error| OpenError::io_at(format!("{}: {what}", path.display()), error);
        prepare(path)?;
        if path.join(FORMER_FILE).exists() {
            return Err(OpenError::Foreign(format!(
                "{}: {FORMER_FILE} in this folder has the format of a version that was never released, which \
                 this one does not read. Let that version's consumers empty it, then move the file away, or \
                 set embedded.data_dir to another folder",
                path.display()
            )));
        }
        let lock = path.join(LOCK);
        let file = open_file(&lock, true).map_err(|error| failed("cannot open its lock", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked),
            Err(TryLockError::Error(error)) => return Err(failed("cannot be locked", error)),
        }
        let lock = FolderLock { file, path: lock };
        Ok((DiskFolder { path: path.to_owned() }, lock))
    }

    /// Whether a process has the lock of this folder. Nothing is created or written for the answer.
    pub(super) fn is_locked(path: &Path) -> io::Result<bool> {
        let path = path.join(LOCK);
        let file = match File::open(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(false);
            }
            file => file?,
        };
        match file.try_lock_shared() {
            Ok(()) => {
                drop(FolderLock { file, path });
                Ok(false)
            }
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Syncs every file, and drops its bytes from the page cache.
    pub(super) fn drop_page_cache(&self) -> io::Result<()> {
        for name in self.list()? {
            if name == LOCK {
                continue;
            }
            let file = match open_file(&self.path.join(&name), false) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            file.sync_all()?;
            drop_pages(&file);
        }
        Ok(())
    }
}

fn drop_pages(file: &File) {
    // Not every file system can do this; it is the second line only.
    if let Err(error) = files::drop_pages(file) {
        log::debug!("the page cache of the store cannot be dropped: {error}");
    }
}

impl Files for DiskFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.path.read_dir()? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        Ok(Arc::new(DiskFile(open_file(&self.path.join(name), false)?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let file = open_file(&self.path.join(name), true)?;
        file.set_len(0)?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        files::sync_folder(&self.path)
    }
}

/// A file on the disk.
struct DiskFile(File);

impl StoredFile for DiskFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        files::read_exact_at(&self.0, out, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        files::write_all_at(&self.0, data, offset)
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        files::reserve(&self.0, length)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Creates the folder for its owner alone. A folder that others may enter gets mode 0700 if it holds nothing
/// but a store; else it is refused.
fn prepare(folder: &Path) -> Result<(), OpenError> {
    let failed =
        |what: &str, error: io::Error| OpenError::io_at(format!("{}: {what}", folder.display()), error);
    let mut builder = std::fs::DirBuilder::new();
    files::folder_made_private(builder.recursive(true));
    if !folder.exists() {
        builder.create(folder).map_err(|error| failed("cannot create the folder", error))?;
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    match files::sync_folder(parent.unwrap_or(Path::new("."))) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            return Err(failed("cannot sync the folder above it", error));
        }
        _ => {}
    }
    let metadata = folder.metadata().map_err(|error| failed("cannot look at the folder", error))?;
    if files::mode_for_others(&metadata).is_some() {
        let entries = folder.read_dir().map_err(|error| failed("cannot look into the folder", error))?;
        if entries.flatten().any(|entry| !entry.file_name().to_str().is_some_and(is_ours)) {
            return Err(OpenError::Foreign(format!(
                "{}: others may enter this folder, and it holds more than the database: choose another \
                 folder, or chmod 700",
                folder.display()
            )));
        }
        files::make_folder_private(folder)
            .map_err(|error| failed("others may enter the folder, and its mode cannot be changed", error))?;
    }
    Ok(())
}

/// Whether a store, or a process that has served it, may have made a file of this name.
fn is_ours(name: &str) -> bool {
    let beside = [LOCK, names::ADDRESS, names::FAILURE, names::WARNING, names::REFUSAL, FORMER_FILE];
    beside.contains(&name) || names::is_of_store(name)
}

/// A file for its owner alone.
fn open_file(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false);
    let file = files::made_private(&mut options).open(path)?;
    if files::mode_for_others(&file.metadata()?).is_some() {
        files::make_private(&file)?;
    }
    Ok(file)
}

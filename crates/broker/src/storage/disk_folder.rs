//! The folder of a store on a real disk: its creation, its lock and its files.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::OpenError;
use super::files::{Files, StoredFile};

/// The file whose lock its holder keeps for as long as it serves.
const LOCK: &str = "lock";
/// The file of a format that was never released.
const FORMER_FILE: &str = "point-to-point.redb";

/// A folder on the disk.
pub(super) struct DiskFolder {
    path: PathBuf,
}

/// The lock of a folder; it is free when this is dropped.
pub(super) struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            log::debug!("the lock of the store is freed by the end of its file: {error}");
        }
    }
}

impl DiskFolder {
    /// Creates the folder, if need be, and takes its lock.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another process has the lock, [`OpenError::Io`] otherwise.
    pub(super) fn lock(path: &Path) -> Result<(DiskFolder, FolderLock), OpenError> {
        let failed =
            |what: &str, error: io::Error| OpenError::io_at(format!("{}: {what}", path.display()), error);
        prepare(path)?;
        let file =
            open_file(&path.join(LOCK), true).map_err(|error| failed("cannot open its lock", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked),
            Err(TryLockError::Error(error)) => return Err(failed("cannot be locked", error)),
        }
        let lock = FolderLock(file);
        if path.join(FORMER_FILE).exists() {
            let text = format!(
                "{FORMER_FILE} in this folder has the format of a version that was never released, which this \
                 one does not read. Let that version's consumers empty it, then move the file away, or set \
                 embedded.data_dir to another folder"
            );
            return Err(OpenError::io_at(path.display().to_string(), text));
        }
        Ok((DiskFolder { path: path.to_owned() }, lock))
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

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn drop_pages(file: &File) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    // Not every file system can do this; it is the second line only.
    if let Err(error) = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
        log::debug!("the page cache of the store cannot be dropped: {error}");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn drop_pages(_file: &File) {}

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
        sync_folder(&self.path)
    }
}

/// A file on the disk.
struct DiskFile(File);

impl StoredFile for DiskFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, out, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            let count = std::os::windows::fs::FileExt::seek_read(&self.0, out, offset)?;
            match out.get_mut(count..) {
                Some(rest) if count > 0 => out = rest,
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            offset += count as u64;
        }
        Ok(())
    }

    #[cfg(unix)]
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, data, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let count = std::os::windows::fs::FileExt::seek_write(&self.0, data, offset)?;
            match data.get(count..) {
                Some(rest) if count > 0 => data = rest,
                _ => return Err(io::ErrorKind::WriteZero.into()),
            }
            offset += count as u64;
        }
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn reserve(&self, length: u64) -> io::Result<()> {
        use nix::errno::Errno;
        use nix::fcntl::{FallocateFlags, fallocate};
        let from = self.length()?;
        let (Ok(offset), Ok(more)) = (i64::try_from(from), i64::try_from(length.saturating_sub(from))) else {
            return Ok(());
        };
        if more == 0 {
            return Ok(());
        }
        match fallocate(&self.0, FallocateFlags::empty(), offset, more) {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(()),
            reserved => reserved.map_err(io::Error::from),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn reserve(&self, _length: u64) -> io::Result<()> {
        Ok(())
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
            if entries.flatten().any(|entry| !entry.file_name().to_str().is_some_and(is_ours)) {
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

/// Whether a store may have made a file of this name.
fn is_ours(name: &str) -> bool {
    name == LOCK || name == FORMER_FILE || super::names::is_of_store(name)
}

/// A file for its owner alone.
fn open_file(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false);
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

/// Makes the entries of a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

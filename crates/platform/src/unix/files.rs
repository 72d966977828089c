//! Who may read a file, which file it is, and reads and writes at a position.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::fchown;
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Which file it is, whatever its name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId(u64, u64);

/// What is seen of a file.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Which one it is.
    pub id: FileId,
    /// Its length in bytes.
    pub length: u64,
    /// Who may do what with it.
    pub mode: Mode,
}

/// The permissions of a file. Windows has others, which are inherited from the folder, and are not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u32);

/// Differs between two states of a file: device, inode, length, and the times of its last changes; the second
/// is that of its owner and mode as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64, u64, u64, (i64, i64), (i64, i64));

/// The user and the group to whom a file belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
}

impl From<&Metadata> for Seen {
    fn from(found: &Metadata) -> Seen {
        let id = FileId(found.dev(), found.ino());
        Seen { id, length: found.len(), mode: Mode(found.mode() & 0o777) }
    }
}

/// What is seen of the file at `path`, or of that to which it links.
///
/// # Errors
/// The system's.
pub fn look_at(path: &Path) -> io::Result<Seen> {
    fs::metadata(path).map(|found| Seen::from(&found))
}

/// What is seen of an open file.
///
/// # Errors
/// The system's.
pub fn look_at_open(file: &File) -> io::Result<Seen> {
    file.metadata().map(|found| Seen::from(&found))
}

/// The state of the file at `path`; `None` if there is none.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    Some(Stamp(found.dev(), found.ino(), found.len(), modified, changed))
}

/// Has a file that is made get this mode.
pub fn made_with(options: &mut OpenOptions, mode: Mode) -> &mut OpenOptions {
    options.mode(mode.0)
}

/// Has a file that is made be its owner's alone.
pub fn made_private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Has a folder that is made be its owner's alone.
pub fn folder_made_private(builder: &mut DirBuilder) -> &mut DirBuilder {
    builder.mode(0o700)
}

/// The mode of a file or folder that others than its owner may read, write or enter; `None` if they may not.
pub fn mode_for_others(found: &Metadata) -> Option<u32> {
    let mode = found.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Makes an open file its owner's alone.
///
/// # Errors
/// The system's.
pub fn make_private(file: &File) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

/// Makes a folder its owner's alone.
///
/// # Errors
/// The system's.
pub fn make_folder_private(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// To whom a file belongs.
pub fn owner(found: &Metadata) -> Owner {
    Owner { user: found.uid(), group: found.gid() }
}

/// Gives an open file to an owner.
///
/// # Errors
/// The system's.
pub fn give(file: &File, owner: Owner) -> io::Result<()> {
    fchown(file, Some(owner.user), Some(owner.group))
}

/// Whether a file is a named or an unnamed pipe.
pub fn is_pipe(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.file_type().is_fifo())
}

/// A file whose lock is that of the folder, which has to be there: the folder itself.
///
/// # Errors
/// The system's.
pub fn open_for_lock(folder: &Path) -> io::Result<File> {
    File::open(folder)
}

/// Has cleaners of temporary folders leave a folder alone, however old it is, as long as the file is open.
///
/// # Errors
/// The system's.
pub fn keep_from_cleaners(folder: &Path) -> io::Result<Option<File>> {
    let folder = File::open(folder)?;
    folder.lock_shared()?;
    Ok(Some(folder))
}

/// Makes the entries of a folder durable.
///
/// # Errors
/// The system's.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the entries of a folder durable that is open.
///
/// # Errors
/// The system's.
pub fn sync_open_folder(folder: &File) -> io::Result<()> {
    folder.sync_all()
}

/// The right to rename a file that several processes write, until this is dropped.
#[derive(Debug)]
pub struct RenameLock(File);

impl RenameLock {
    /// Takes the right, if nobody has it, to rename `file`, which was opened at `path`.
    ///
    /// # Errors
    /// Another process has it, or the system's.
    pub fn try_of(file: &File, _path: &Path) -> Result<RenameLock, TryLockError> {
        let file = file.try_clone().map_err(TryLockError::Error)?;
        file.try_lock()?;
        Ok(RenameLock(file))
    }
}

impl Drop for RenameLock {
    fn drop(&mut self) {
        // The lock ends with the last handle otherwise.
        let _ = self.0.unlock();
    }
}

/// Reads so many bytes at a position.
///
/// # Errors
/// The system's, and an unexpected end.
pub fn read_exact_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(out, offset)
}

/// Writes all bytes at a position.
///
/// # Errors
/// The system's.
pub fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(data, offset)
}

/// Has the system keep room for a file of so many bytes, where it can.
///
/// # Errors
/// There is no room, or the system's.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn reserve(file: &File, length: u64) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};
    let from = file.metadata()?.len();
    let (Ok(offset), Ok(more)) = (i64::try_from(from), i64::try_from(length.saturating_sub(from))) else {
        return Ok(());
    };
    if more == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), offset, more) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(()),
        reserved => reserved.map_err(io::Error::from),
    }
}

/// Has the system keep room for a file of so many bytes, where it can.
///
/// # Errors
/// None.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn reserve(_file: &File, _length: u64) -> io::Result<()> {
    Ok(())
}

/// Drops a file's bytes from the page cache, where the system can.
///
/// # Errors
/// The system's. Not every file system can do this.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub fn drop_pages(file: &File) -> io::Result<()> {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    Ok(posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}

/// Drops a file's bytes from the page cache, where the system can.
///
/// # Errors
/// None.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub fn drop_pages(_file: &File) -> io::Result<()> {
    Ok(())
}

//! Who may read a file, which file it is, and reads and writes at a position. Permissions of Windows are
//! inherited from the folder, and are not looked at.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::windows::fs::{FileExt, MetadataExt};
use std::path::Path;

use winapi_util::file::{information, typ};

/// Which file it is, whatever its name: the volume's number, and the file's on it.
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
pub struct Mode;

/// Differs between two states of a file: length, and the times of its creation and of its last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64, u64, u64);

/// The user and the group to whom a file belongs: always the same here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
}

/// What is seen of the file at `path`, or of that to which it links.
///
/// # Errors
/// The system's.
pub fn look_at(path: &Path) -> io::Result<Seen> {
    look_at_open(&File::open(path)?)
}

/// What is seen of an open file.
///
/// # Errors
/// The system's.
pub fn look_at_open(file: &File) -> io::Result<Seen> {
    let found = information(file)?;
    let id = FileId(found.volume_serial_number(), found.file_index());
    Ok(Seen { id, length: found.file_size(), mode: Mode })
}

/// The state of the file at `path`; `None` if there is none.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp(found.len(), found.creation_time(), found.last_write_time()))
}

/// Has a file that is made get this mode.
pub fn made_with(options: &mut OpenOptions, _mode: Mode) -> &mut OpenOptions {
    options
}

/// On Unix, has a file that is made be its owner's alone.
pub fn made_private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// On Unix, has a folder that is made be its owner's alone.
pub fn folder_made_private(builder: &mut DirBuilder) -> &mut DirBuilder {
    builder
}

/// The mode of a file or folder that others than its owner may read, write or enter: not known here.
pub fn mode_for_others(_found: &Metadata) -> Option<u32> {
    None
}

/// On Unix, makes an open file its owner's alone.
///
/// # Errors
/// None.
pub fn make_private(_file: &File) -> io::Result<()> {
    Ok(())
}

/// On Unix, makes a folder its owner's alone.
///
/// # Errors
/// None.
pub fn make_folder_private(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// To whom a file belongs.
pub fn owner(_found: &Metadata) -> Owner {
    Owner { user: 0, group: 0 }
}

/// On Unix, gives an open file to an owner.
///
/// # Errors
/// None.
pub fn give(_file: &File, _owner: Owner) -> io::Result<()> {
    Ok(())
}

/// Whether a file is a named or an unnamed pipe.
///
/// # Errors
/// The system's.
pub fn is_pipe(file: &File) -> io::Result<bool> {
    Ok(typ(file)?.is_pipe())
}

/// A file whose lock is that of the folder, which has to be there. Folders have no locks here: it is a file
/// in it.
///
/// # Errors
/// The system's.
pub fn open_for_lock(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).open(folder.join(".point-to-point.lock"))
}

/// On Unix, has cleaners of temporary folders leave a folder alone as long as the file is open.
///
/// # Errors
/// None.
pub fn keep_from_cleaners(_folder: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// On Unix, makes the entries of a folder durable. File systems of Windows keep them in their journal.
///
/// # Errors
/// None.
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// As [`sync_folder`].
///
/// # Errors
/// None.
pub fn sync_open_folder(_folder: &File) -> io::Result<()> {
    Ok(())
}

/// The right to rename a file that several processes write, until this is dropped. A lock on the file itself
/// would keep others from writing it here: it is on a file beside it.
#[derive(Debug)]
pub struct RenameLock(File);

impl RenameLock {
    /// Takes the right, if nobody has it, to rename the file at `path`.
    ///
    /// # Errors
    /// Another process has it, or the system's.
    pub fn try_of(_file: &File, path: &Path) -> Result<RenameLock, TryLockError> {
        let mut name = OsString::from(path);
        name.push(".lock");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(name);
        let file = file.map_err(TryLockError::Error)?;
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
pub fn read_exact_at(file: &File, mut out: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !out.is_empty() {
        let count = file.seek_read(out, offset)?;
        match out.get_mut(count..) {
            Some(rest) if count > 0 => out = rest,
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        offset += count as u64;
    }
    Ok(())
}

/// Writes all bytes at a position.
///
/// # Errors
/// The system's.
pub fn write_all_at(file: &File, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        let count = file.seek_write(data, offset)?;
        match data.get(count..) {
            Some(rest) if count > 0 => data = rest,
            _ => return Err(io::ErrorKind::WriteZero.into()),
        }
        offset += count as u64;
    }
    Ok(())
}

/// On Linux, has the system keep room for a file of so many bytes.
///
/// # Errors
/// None.
pub fn reserve(_file: &File, _length: u64) -> io::Result<()> {
    Ok(())
}

/// On Linux, drops a file's bytes from the page cache.
///
/// # Errors
/// None.
pub fn drop_pages(_file: &File) -> io::Result<()> {
    Ok(())
}

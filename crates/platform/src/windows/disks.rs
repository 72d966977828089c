//! The space of a disk, and how it refuses.

use std::io;
use std::path::Path;

/// What a disk says that takes nothing more: `ERROR_WRITE_PROTECT`, `ERROR_BAD_UNIT`, `ERROR_NOT_READY`,
/// `ERROR_CRC`, `ERROR_WRITE_FAULT`, `ERROR_DEV_NOT_EXIST`, `ERROR_IO_DEVICE` and
/// `ERROR_DEVICE_NOT_CONNECTED`.
const BROKEN: [i32; 8] = [19, 20, 21, 23, 29, 55, 1_117, 1_167];

/// What a file system says of itself, in bytes. Some do not tell their size, and say zero.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// What programs without privileges can still take.
    pub free: u64,
    /// All of it.
    pub size: u64,
    /// Whether it takes no writes. Windows does not tell that here: it is false there.
    pub is_read_only: bool,
}

/// The space of the file system of `path`.
///
/// # Errors
/// The system's.
pub fn space(path: &Path) -> io::Result<Space> {
    // A relative path has no volume.
    let found = fs4::statvfs(path.canonicalize()?)?;
    Ok(Space { free: found.available_space(), size: found.total_space(), is_read_only: false })
}

/// Whether the error says that the disk takes no writes whatever they are.
pub fn refuses_writes(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| BROKEN.contains(&code))
}

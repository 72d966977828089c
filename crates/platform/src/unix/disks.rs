//! The space of a disk, and how it refuses.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};

/// What a disk says that takes nothing more: it was made read-only, is broken, or is gone.
const BROKEN: [Errno; 5] = [Errno::EROFS, Errno::EIO, Errno::ENXIO, Errno::ENODEV, Errno::ESTALE];

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
    let found = statvfs(path)?;
    // The types of these differ between systems.
    #[allow(clippy::unnecessary_cast)]
    let (blocks, available) = (found.blocks() as u64, found.blocks_available() as u64);
    #[allow(clippy::unnecessary_cast)]
    let block = found.fragment_size() as u64;
    Ok(Space {
        free: available.saturating_mul(block),
        size: blocks.saturating_mul(block),
        is_read_only: found.flags().contains(FsFlags::ST_RDONLY),
    })
}

/// Whether the error says that the disk takes no writes whatever they are.
pub fn refuses_writes(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| BROKEN.contains(&Errno::from_raw(code)))
}

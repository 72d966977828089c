//! What the store asks of the disk: a folder of files that are written at their ends, synced, renamed and
//! removed.
//!
//! `disk_folder` is the real one; the tests have one in memory, which can crash, refuse and be full.

use std::io;
use std::sync::Arc;

/// An open file.
pub(super) trait StoredFile: Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills `out` with the bytes from `offset` on; `UnexpectedEof` where the file is shorter.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes the file as long as `length`, with zeros that have their place on the disk. Without effect where
    /// the file system cannot do that.
    fn reserve(&self, length: u64) -> io::Result<()>;

    /// Cuts the file, or makes it longer by zeros.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Returns once everything that was written is on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// The folder of a store.
pub(super) trait Files: Send + Sync {
    /// The names of its files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file; `NotFound` if it is not there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>>;

    /// Creates a file, empty, for its owner alone; one of this name is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>>;

    /// Renames a file; one of the new name is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; `Ok` if it is not there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns once creations, renames and removals are on the disk.
    fn sync_folder(&self) -> io::Result<()>;
}

/// Stores `bytes` as a whole file: after a crash it is there with all of them, or not at all.
pub(super) fn store_file(files: &dyn Files, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = format!("{name}{UNFINISHED}");
    let file = files.create(&unfinished)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    files.rename(&unfinished, name)?;
    files.sync_folder()
}

/// The end of the name of a file that is not complete yet.
pub(super) const UNFINISHED: &str = ".unfinished";

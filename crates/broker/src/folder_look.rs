//! What a store takes of its disk, as any process sees it that may look into the folder.

use std::fs;
use std::io;
use std::path::Path;

use super::free_space::space_of;
use super::storage::is_of_store;

/// The bytes of the files of the store in `folder`: what stands in them, and what the last segment has grown
/// by in advance.
///
/// # Errors
/// The folder cannot be read.
pub fn store_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes: u64 = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(|name| !is_of_store(name)) {
            continue;
        }
        match entry.metadata() {
            Ok(found) => bytes = bytes.saturating_add(found.len()),
            // Retention has removed it since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// The bytes that are free on the file system of `folder` for programs without privileges; `None` where that
/// is not known.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    space_of(folder).map(|space| space.free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Retention, Store};
    use crate::tests::Folder;

    #[test]
    fn the_bytes_of_a_store_are_those_of_its_own_files() {
        let folder = Folder::new();
        assert!(store_bytes(folder.path()).is_err(), "it is not made yet");
        Store::open(folder.path(), Retention::default()).unwrap().close();
        let bytes = store_bytes(folder.path()).unwrap();
        assert!(bytes > 0);
        fs::write(folder.path().join("notes.txt"), [0; 5_000]).unwrap();
        fs::write(folder.path().join("00000000000000000900.0.log"), [0; 700]).unwrap();
        assert_eq!(store_bytes(folder.path()).unwrap(), bytes + 700);
        assert!(free_bytes(folder.path()).is_some_and(|free| free > 0));
    }
}

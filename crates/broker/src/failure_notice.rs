//! Notices of the process that serves: files beside the database that tell every process why nothing can be
//! stored, or what is wrong besides.
//!
//! They are overwritten in place, so that they can be written on a full disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// The name of the file with the reason of a failure, in the folder of the database.
const FAILURE: &str = "failure";
/// The name of the file with what is wrong besides.
const WARNING: &str = "warning";
/// The length of the files, whatever their text.
const BYTES: usize = 1024;
/// What a disk says that takes nothing more: it was made read-only, is broken, or is gone.
const BROKEN: [Errno; 5] = [Errno::EROFS, Errno::EIO, Errno::ENXIO, Errno::ENODEV, Errno::ESTALE];

/// A notice about the store of the embedded broker, readable by every process.
#[derive(Debug, Clone)]
pub struct FailureNotice {
    path: PathBuf,
}

impl FailureNotice {
    /// The notice why the store of the database in `folder` has failed.
    pub fn of(folder: &Path) -> FailureNotice {
        FailureNotice { path: folder.join(FAILURE) }
    }

    /// The notice of what is wrong with the process that serves the database in `folder`, which stores all
    /// the same.
    pub fn warning(folder: &Path) -> FailureNotice {
        FailureNotice { path: folder.join(WARNING) }
    }

    /// The reason of the failure; `None` if the store has not failed since it was last opened.
    pub fn read(&self) -> Option<String> {
        let mut bytes = Vec::with_capacity(BYTES);
        File::open(&self.path).ok()?.take(BYTES as u64).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Why nothing can be written beside the database, if the disk itself refuses it: it is read-only, or
    /// broken. A notice could not be written either. `None` where there is no database yet.
    pub fn disk_failure(&self) -> Option<String> {
        let error = OpenOptions::new().read(true).write(true).open(&self.path).err()?;
        let is_broken = error.raw_os_error().is_some_and(|code| BROKEN.contains(&Errno::from_raw(code)));
        let folder = self.path.parent().unwrap_or(&self.path).display();
        is_broken.then(|| format!("the disk of {folder} takes no writes: {error}"))
    }

    /// Creates the file in advance, as a full disk would refuse it later.
    pub(super) fn prepare(&self) -> io::Result<()> {
        match self.path.metadata() {
            Ok(metadata) if metadata.len() == BYTES as u64 => Ok(()),
            _ => self.write(""),
        }
    }

    /// Clears the notice: the store is served.
    pub(super) fn clear(&self) -> io::Result<()> {
        if self.read().is_some() { self.write("") } else { Ok(()) }
    }

    /// Writes the reason of a failure.
    pub(super) fn set(&self, reason: &str) -> io::Result<()> {
        if self.read().as_deref() == Some(reason) { Ok(()) } else { self.write(reason) }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut file = self.open()?;
        write_text(&mut file, text)?;
        file.sync_data()
    }

    /// Opens the file to write into it, also later, when no descriptor is left.
    pub(super) fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.path)
    }
}

/// Overwrites the text of a notice that is open.
pub(super) fn write_text(file: &mut File, text: &str) -> io::Result<()> {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut bytes = line.into_bytes();
    bytes.resize(BYTES - 1, b' ');
    bytes.push(b'\n');
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Folder;

    #[test]
    fn a_notice_takes_the_same_place_whatever_it_says() {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path()).unwrap();
        let notice = FailureNotice::of(folder.path());
        assert_eq!(notice.read(), None);
        notice.prepare().unwrap();
        for (text, read) in [("", None), ("no room\nleft", Some("no room left")), ("", None)] {
            notice.write(text).unwrap();
            assert_eq!(notice.read().as_deref(), read);
            assert_eq!(folder.path().join(FAILURE).metadata().unwrap().len(), BYTES as u64);
        }
        notice.set(&"ñ".repeat(BYTES)).unwrap();
        assert!(notice.read().is_some_and(|text| text.starts_with("ññ")));
    }

    #[test]
    fn an_open_notice_is_written_again_and_again_in_place() {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path()).unwrap();
        let notice = FailureNotice::warning(folder.path());
        let mut file = notice.open().unwrap();
        for text in ["a long one", "b", ""] {
            write_text(&mut file, text).unwrap();
            assert_eq!(notice.read().unwrap_or_default(), text);
        }
        assert_eq!(folder.path().join(WARNING).metadata().unwrap().len(), BYTES as u64);
    }

    #[test]
    fn a_disk_that_can_be_written_or_a_folder_that_is_not_there_is_no_failure() {
        let folder = Folder::new();
        let notice = FailureNotice::of(folder.path());
        assert_eq!(notice.disk_failure(), None);
        std::fs::create_dir_all(folder.path()).unwrap();
        notice.prepare().unwrap();
        assert_eq!(notice.disk_failure(), None);
    }
}

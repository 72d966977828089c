//! The failure notice: a file beside the database that tells every process why nothing can be stored.
//!
//! It is overwritten in place, so that it can be written on a full disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The name of the file in the folder of the database.
const FILE_NAME: &str = "failure";
/// The length of the file, whatever its text.
const BYTES: usize = 1024;

/// The notice why the store of the embedded broker has failed, readable by every process.
#[derive(Debug, Clone)]
pub struct FailureNotice {
    path: PathBuf,
}

impl FailureNotice {
    /// The notice of the database in `folder`.
    pub fn of(folder: &Path) -> FailureNotice {
        FailureNotice { path: folder.join(FILE_NAME) }
    }

    /// The reason of the failure; `None` if the store has not failed since it was last opened.
    pub fn read(&self) -> Option<String> {
        let mut bytes = Vec::with_capacity(BYTES);
        File::open(&self.path).ok()?.take(BYTES as u64).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
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
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut bytes = line.into_bytes();
        bytes.resize(BYTES - 1, b' ');
        bytes.push(b'\n');
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path)?;
        file.write_all(&bytes)?;
        file.sync_data()
    }
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
            assert_eq!(folder.path().join(FILE_NAME).metadata().unwrap().len(), BYTES as u64);
        }
        notice.set(&"ñ".repeat(BYTES)).unwrap();
        assert!(notice.read().is_some_and(|text| text.starts_with("ññ")));
    }
}

//! Notices of the process that serves: files beside the database that tell every process why nothing can be
//! stored, or what is wrong besides.
//!
//! They are overwritten in place, so that they can be written on a full disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use platform::{disks, files};

use super::storage::names::{FAILURE, REFUSAL, WARNING};

/// The length of the files, whatever their text.
const BYTES: usize = 1024;
/// The age from which a warning is not believed: its process refreshes it, or has ended without a word.
const STALE: Duration = Duration::from_secs(10);

/// A notice about the store of the embedded broker, readable by every process.
#[derive(Debug, Clone)]
pub struct FailureNotice {
    path: PathBuf,
    /// The last write of this process has failed. What the file shows may then be in memory alone.
    is_unsynced: Arc<AtomicBool>,
}

impl FailureNotice {
    /// The notice why the store of the database in `folder` has failed.
    pub fn of(folder: &Path) -> FailureNotice {
        FailureNotice::at(folder.join(FAILURE))
    }

    /// The notice of what is wrong with the process that serves the database in `folder`, which stores all
    /// the same.
    pub fn warning(folder: &Path) -> FailureNotice {
        FailureNotice::at(folder.join(WARNING))
    }

    /// The notice why the process that serves the database in `folder` takes no records at present, although
    /// its store has not failed.
    pub fn refusal(folder: &Path) -> FailureNotice {
        FailureNotice::at(folder.join(REFUSAL))
    }

    fn at(path: PathBuf) -> FailureNotice {
        FailureNotice { path, is_unsynced: Arc::default() }
    }

    /// The reason of the failure; `None` if the store has not failed since it was last opened.
    ///
    /// # Errors
    /// Whether it has failed is not known.
    pub fn read(&self) -> io::Result<Option<String>> {
        let mut bytes = Vec::with_capacity(BYTES);
        match File::open(&self.path) {
            Ok(file) => file.take(BYTES as u64).read_to_end(&mut bytes)?,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// What a process told by a warning or a refusal within the last seconds, see [`dated`].
    pub fn read_recent(&self) -> Option<String> {
        recent(&self.read().ok()??, SystemTime::now())
    }

    /// Why nothing can be written beside the database, if the disk itself refuses it: it is read-only, or
    /// broken. A notice could not be written either. `None` where there is no database yet.
    pub fn disk_failure(&self) -> Option<String> {
        let error = OpenOptions::new().read(true).write(true).open(&self.path).err()?;
        let folder = self.path.parent().unwrap_or(&self.path).display();
        disks::refuses_writes(&error).then(|| format!("the disk of {folder} takes no writes: {error}"))
    }

    /// Creates the file in advance, as a full disk would refuse it later.
    pub(super) fn prepare(&self) -> io::Result<()> {
        match self.path.metadata() {
            Ok(metadata) if metadata.len() == BYTES as u64 => Ok(()),
            Err(error) if !is_absent(&error) => Err(error),
            _ => self.write(""),
        }
    }

    /// Clears the notice: the store is served.
    pub(super) fn clear(&self) -> io::Result<()> {
        if self.says(None) { Ok(()) } else { self.write("") }
    }

    /// Writes the reason of a failure.
    pub(super) fn set(&self, reason: &str) -> io::Result<()> {
        if self.says(Some(reason)) { Ok(()) } else { self.write(reason) }
    }

    /// Whether this stands in the file already, as far as is known on the disk, too.
    fn says(&self, text: Option<&str>) -> bool {
        !self.is_unsynced.load(Ordering::Relaxed) && self.read().is_ok_and(|read| read.as_deref() == text)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        self.is_unsynced.store(true, Ordering::Relaxed);
        let mut file = self.open()?;
        write_text(&mut file, text)?;
        file.sync_data()?;
        self.is_unsynced.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Opens the file to write into it, also later, when no descriptor is left.
    pub(super) fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        files::made_private(&mut options).open(&self.path)
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

/// Whether there is no such file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A warning with the time at which it is true.
pub(super) fn dated(warning: &str, now: SystemTime) -> String {
    format!("{} {warning}", seconds(now))
}

fn recent(dated: &str, now: SystemTime) -> Option<String> {
    let (then, warning) = dated.split_once(' ')?;
    let age = seconds(now).abs_diff(then.parse().ok()?);
    (age <= STALE.as_secs()).then(|| warning.to_owned())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
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
        assert_eq!(notice.read().unwrap(), None);
        notice.prepare().unwrap();
        for (text, read) in [("", None), ("no room\nleft", Some("no room left")), ("", None)] {
            notice.write(text).unwrap();
            assert_eq!(notice.read().unwrap().as_deref(), read);
            assert_eq!(folder.path().join(FAILURE).metadata().unwrap().len(), BYTES as u64);
        }
        notice.set(&"ñ".repeat(BYTES)).unwrap();
        assert!(notice.read().unwrap().is_some_and(|text| text.starts_with("ññ")));
    }

    #[test]
    fn an_open_notice_is_written_again_and_again_in_place() {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path()).unwrap();
        let notice = FailureNotice::warning(folder.path());
        let mut file = notice.open().unwrap();
        for text in ["a long one", "b", ""] {
            write_text(&mut file, text).unwrap();
            assert_eq!(notice.read().unwrap().unwrap_or_default(), text);
        }
        assert_eq!(folder.path().join(WARNING).metadata().unwrap().len(), BYTES as u64);
    }

    #[test]
    #[cfg_attr(windows, ignore = "a folder in place of a file is another error there")]
    fn a_notice_that_cannot_be_read_is_no_word_that_all_is_well() {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path().join(FAILURE)).unwrap();
        let notice = FailureNotice::of(folder.path());
        assert_eq!(notice.read().unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(notice.clear().is_err() && notice.set("no room").is_err());
    }

    #[test]
    fn what_the_file_shows_after_a_failed_write_is_written_again() {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path()).unwrap();
        let notice = FailureNotice::of(folder.path());
        notice.set("no room").unwrap();
        assert!(notice.says(Some("no room")));
        std::fs::rename(folder.path().join(FAILURE), folder.path().join("aside")).unwrap();
        std::fs::create_dir(folder.path().join(FAILURE)).unwrap();
        assert!(notice.write("no room").is_err());
        std::fs::remove_dir(folder.path().join(FAILURE)).unwrap();
        std::fs::rename(folder.path().join("aside"), folder.path().join(FAILURE)).unwrap();
        assert!(!notice.clone().says(Some("no room")), "the file shows it, and no sync has succeeded");
        notice.set("no room").unwrap();
        assert!(notice.says(Some("no room")));
    }

    #[test]
    fn a_warning_is_forgotten_that_nobody_refreshes() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let told = dated("no descriptors left", now);
        assert_eq!(recent(&told, now + STALE).as_deref(), Some("no descriptors left"));
        assert_eq!(recent(&told, now + STALE + Duration::from_secs(1)), None);
        assert_eq!(recent("without a time", now), None);
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

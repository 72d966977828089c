//! The log's file. Several processes may append to it; each of them notices that it was moved away or
//! removed, and makes it anew. When it has grown too long it becomes `NAME.1`, that one `NAME.2`, and so on.
//!
//! Whoever sets a file aside holds a lock on it, and makes sure that the path still leads to it: so one of
//! several processes does it, once, and the others find a new file at the path.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use net::sync::{Mutex, lock};
use platform::files::{self, FileId, Mode, RenameLock};

use super::failure;
use crate::text::escape;

/// How often it is looked whether the file was moved away, where nothing is written.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A file that could not be written is tried again after so many looks, where nothing else is written and its
/// disk tells nothing.
const TRY_AGAIN: u32 = 120;
/// After a failure to open the file anew, it is tried again after this time, ...
const OPEN_AGAIN: Duration = Duration::from_millis(500);
/// ... and after one to set it aside, after this.
const SET_ASIDE_AGAIN: Duration = Duration::from_secs(60);

/// The file at a path, whichever it is.
pub struct LogFile {
    path: PathBuf,
    /// The size from which it is set aside; 0: none.
    max_bytes: u64,
    /// How many of those that were set aside are kept.
    files: u32,
    file: File,
    /// Which one `file` is, and its permissions.
    id: FileId,
    mode: Mode,
    /// The last write ended within a line.
    is_cut_off: bool,
    /// Why the file could not be opened or set aside, as it was told last.
    trouble: Option<String>,
    /// To be logged by whoever looks after the file: it can be written again.
    news: Option<String>,
    open_after: Instant,
    set_aside_after: Instant,
}

/// A handle on the file, for one of several loggers. It is given whole lines.
pub struct SharedFile(pub Arc<Mutex<LogFile>>);

impl Write for SharedFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        lock(&self.0).append(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts a thread that makes the file anew, also where nothing is written. It ends with the file.
///
/// # Errors
/// The system gives no thread.
pub fn look_after(file: &Arc<Mutex<LogFile>>) -> io::Result<()> {
    let path = lock(file).path.clone();
    let file = Arc::downgrade(file);
    let look = move || {
        // The looks since the file was tried, and whether its disk told why it could not be written.
        let (mut looks, mut was_told) = (0, false);
        while let Some(file) = file.upgrade() {
            let news = lock(&file).look();
            drop(file);
            looks += 1;
            if let Some(news) = news {
                log::warn!("{news}");
            } else if failure::failure().is_some() {
                let is_told = failure::disk_trouble(&path.to_string_lossy()).is_some();
                if !is_told && (was_told || looks >= TRY_AGAIN) {
                    looks = 0;
                    log::warn!("the log file {} is tried again", escape(path.as_os_str().as_encoded_bytes()));
                }
                was_told = is_told;
            }
            thread::sleep(LOOK_INTERVAL);
        }
    };
    thread::Builder::new().name("log-file".to_owned()).spawn(look).map(drop)
}

impl LogFile {
    /// Opens the file at `path`, or makes it.
    ///
    /// # Errors
    /// It cannot be opened for writing.
    pub fn open(path: &Path, max_bytes: u64, files: u32) -> io::Result<LogFile> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let found = files::look_at_open(&file)?;
        let now = Instant::now();
        Ok(LogFile {
            path: path.to_owned(),
            max_bytes,
            files,
            file,
            id: found.id,
            mode: found.mode,
            is_cut_off: false,
            trouble: None,
            news: None,
            open_after: now,
            set_aside_after: now,
        })
    }

    /// Makes the file anew if it is not at its path; gives what is to be logged of it.
    fn look(&mut self) -> Option<String> {
        self.size();
        self.news.take()
    }

    /// Appends whole lines; sets the file aside before the line that would make it too long.
    pub fn append(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let size = self.size();
            let fitting = self.fitting(lines, size);
            let (part, rest) = match fitting {
                0 if size > 0 && self.set_aside() => continue,
                // One that is too long on its own, or all where the file stays.
                0 if size == 0 => lines.split_at(first_line(lines)),
                0 => (lines, &[][..]),
                fitting => lines.split_at(fitting),
            };
            self.write(part);
            lines = rest;
        }
    }

    /// How many bytes of these lines fit into the file, which is so long.
    fn fitting(&self, lines: &[u8], size: u64) -> usize {
        let room = self.max_bytes.saturating_sub(size);
        match usize::try_from(room) {
            Ok(room) if self.max_bytes > 0 && room < lines.len() => {
                let fitting = lines.get(..room).unwrap_or_default();
                fitting.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
            }
            _ => lines.len(),
        }
    }

    /// The size of the file at the path. If that is another one, or none, it is opened, or made.
    fn size(&mut self) -> u64 {
        match files::look_at(&self.path) {
            Ok(found) if found.id == self.id => {
                self.mode = found.mode;
                found.length
            }
            Ok(_) => self.open_anew(),
            Err(error) if error.kind() == ErrorKind::NotFound => self.open_anew(),
            // What is open can be written to as before.
            Err(_) => 0,
        }
    }

    fn open_anew(&mut self) -> u64 {
        if Instant::now() < self.open_after {
            return 0;
        }
        let mut options = OpenOptions::new();
        // Whoever could not read the file before cannot read this one.
        files::made_with(options.append(true).create(true), self.mode);
        match options.open(&self.path).and_then(|file| Ok((files::look_at_open(&file)?, file))) {
            Ok((found, file)) => {
                (self.file, self.id, self.mode) = (file, found.id, found.mode);
                self.is_cut_off = false;
                found.length
            }
            Err(error) => {
                self.open_after = Instant::now() + OPEN_AGAIN;
                self.tell(format!(
                    "cannot be opened anew: {error}; lines go to the file that was moved away"
                ));
                0
            }
        }
    }

    /// Sets the file aside, unless another process does. Returns whether there is a new one at the path.
    fn set_aside(&mut self) -> bool {
        if Instant::now() < self.set_aside_after {
            return false;
        }
        let _lock = match RenameLock::try_of(&self.file, &self.path) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => return false,
            Err(TryLockError::Error(error)) => return self.stays(&error),
        };
        // A link, as /dev/stdout is one, is not ours to rename.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| !found.is_file()) {
            self.set_aside_after = Instant::now() + SET_ASIDE_AGAIN;
            return false;
        }
        let is_ours = files::look_at(&self.path).is_ok_and(|found| found.id == self.id);
        if is_ours && let Err(error) = self.rename() {
            return self.stays(&error);
        }
        let before = self.id;
        self.open_anew();
        self.id != before
    }

    /// Renames the file and those that were set aside before it; the last one is replaced.
    fn rename(&self) -> io::Result<()> {
        for number in (1..self.files).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    /// The file could not be set aside, and grows.
    fn stays(&mut self, error: &io::Error) -> bool {
        self.set_aside_after = Instant::now() + SET_ASIDE_AGAIN;
        self.tell(format!("cannot be set aside as .1: {error}; it grows beyond log.max_bytes"));
        false
    }

    fn write(&mut self, lines: &[u8]) {
        let mut rest = lines;
        if self.is_cut_off && self.file.write_all(b"\n").is_ok() {
            self.is_cut_off = false;
        }
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(written) if written > 0 => {
                    let (done, left) = rest.split_at(written.min(rest.len()));
                    (self.is_cut_off, rest) = (!done.ends_with(b"\n"), left);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) => return self.not_written(&io::Error::from(ErrorKind::WriteZero), rest),
                Err(error) => return self.not_written(&error, rest),
            }
        }
        if let Some(news) = failure::ends(&self.path) {
            self.news = Some(news);
        }
        if Instant::now() >= self.open_after.max(self.set_aside_after) {
            self.trouble = None;
        }
    }

    /// What could not be written is left out and counted; that is told of on standard error, once until the
    /// file can be written again.
    fn not_written(&self, error: &io::Error, rest: &[u8]) {
        let lost = rest.iter().filter(|byte| **byte == b'\n').count();
        if let Some(news) = failure::begins(&self.path, error, lost) {
            let _ = writeln!(io::stderr(), "{news}");
        }
    }

    /// Tells of a trouble on standard error, once until it has ended: the log is not the place for it.
    fn tell(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            let path = escape(self.path.as_os_str().as_encoded_bytes()).to_string();
            let _ = writeln!(io::stderr(), "the log file {path} {trouble}");
            self.trouble = Some(trouble);
        }
    }
}

/// The length of the first line, with its end.
fn first_line(lines: &[u8]) -> usize {
    lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let folder = std::env::temp_dir().join(format!("log-{}", net::random::hex::<8>().unwrap()));
            fs::create_dir(&folder).unwrap();
            Folder(folder)
        }

        fn path(&self) -> PathBuf {
            self.0.join("a.log")
        }

        /// The names of the files, sorted.
        fn names(&self) -> Vec<String> {
            let names =
                fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap_or_default()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_that_was_moved_away_or_removed_is_made_anew_with_its_permissions() {
        let folder = Folder::new();
        let mut log = LogFile::open(&folder.path(), 0, 1).unwrap();
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        log.append(b"one\n");
        fs::rename(folder.path(), folder.0.join("moved")).unwrap();
        log.append(b"two\n");
        assert_eq!((folder.text("moved").as_str(), folder.text("a.log").as_str()), ("one\n", "two\n"));
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o600);
        fs::remove_file(folder.path()).unwrap();
        log.append(b"three\n");
        assert_eq!(folder.text("a.log"), "three\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_though_nothing_is_written() {
        let folder = Folder::new();
        let log = Arc::new(Mutex::new(LogFile::open(&folder.path(), 0, 1).unwrap()));
        look_after(&log).unwrap();
        fs::rename(folder.path(), folder.0.join("moved")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !folder.path().exists() {
            assert!(Instant::now() < deadline, "it is not made anew");
            thread::yield_now();
        }
    }

    #[test]
    fn a_file_that_is_full_is_set_aside_and_so_many_are_kept() {
        let folder = Folder::new();
        let mut log = LogFile::open(&folder.path(), 10, 2).unwrap();
        log.append(b"1234\n5678\n9\n");
        assert_eq!((folder.text("a.log.1").as_str(), folder.text("a.log").as_str()), ("1234\n5678\n", "9\n"));
        log.append(b"a line that is too long on its own\nb\n");
        assert_eq!(folder.text("a.log.2"), "9\n");
        assert_eq!(folder.text("a.log.1"), "a line that is too long on its own\n");
        assert_eq!(folder.text("a.log"), "b\n");
        assert_eq!(folder.names(), ["a.log", "a.log.1", "a.log.2"]);
    }

    #[test]
    fn several_writers_set_a_file_aside_once_and_lose_no_line() {
        const LINES: usize = 2_000;
        let folder = Folder::new();
        let line = |writer: usize, number: usize| format!("{writer} {number:06}\n");
        let most = 3 * LINES * line(0, 0).len() / 20;
        // Each opens the file for itself, as processes do.
        thread::scope(|scope| {
            for writer in 0..3 {
                let mut log = LogFile::open(&folder.path(), most as u64, 100).unwrap();
                scope
                    .spawn(move || (0..LINES).for_each(|number| log.append(line(writer, number).as_bytes())));
            }
        });
        let names = folder.names();
        let is_full = |name: &&String| folder.text(name).len() + line(0, 0).len() > most;
        let (full, last): (Vec<_>, Vec<_>) = names.iter().partition(is_full);
        assert!(full.len() > 1 && last.len() <= 1, "each is set aside once, when it is full: {names:?}");
        let mut found: Vec<String> = names
            .iter()
            .flat_map(|name| folder.text(name).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        found.sort();
        let all = (0..3)
            .flat_map(|writer| (0..LINES).map(move |number| line(writer, number).trim_end().to_owned()));
        assert!(found == all.collect::<Vec<_>>(), "a line is lost or cut: {} lines", found.len());
    }

    #[test]
    fn while_another_sets_the_file_aside_lines_go_on_to_where_they_went() {
        let folder = Folder::new();
        let mut log = LogFile::open(&folder.path(), 5, 2).unwrap();
        log.append(b"1234\n");
        let other = File::open(folder.path()).unwrap();
        other.try_lock().unwrap();
        log.append(b"5678\n");
        assert_eq!(folder.text("a.log"), "1234\n5678\n");
        drop(other);
        log.append(b"9\n");
        assert_eq!((folder.text("a.log.1").as_str(), folder.text("a.log").as_str()), ("1234\n5678\n", "9\n"));
    }

    #[test]
    fn what_a_link_leads_to_is_not_set_aside() {
        let folder = Folder::new();
        std::os::unix::fs::symlink(folder.0.join("real"), folder.path()).unwrap();
        let mut log = LogFile::open(&folder.path(), 5, 2).unwrap();
        log.append(b"1234\n5678\n");
        log.append(b"9\n");
        assert_eq!(folder.text("real"), "1234\n5678\n9\n");
        assert_eq!(folder.names(), ["a.log", "real"]);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_until_it_can_be() {
        let folder = Folder::new();
        std::os::unix::fs::symlink("/dev/full", folder.path()).unwrap();
        let mut log = LogFile::open(&folder.path(), 0, 1).unwrap();
        log.append(b"lost\n");
        let told = failure::failure().unwrap();
        assert!(told.contains("a.log cannot be written: No space left on device"), "{told}");
        log.append(b"lost, too\nand this\n");
        assert_eq!((failure::failure(), log.news.take()), (Some(told), None));
        fs::remove_file(folder.path()).unwrap();
        log.append(b"kept\n");
        assert_eq!((failure::failure(), folder.text("a.log").as_str()), (None, "kept\n"));
        let news = log.news.unwrap();
        assert!(news.ends_with("a.log can be written again; 3 lines are not in it"), "{news}");
    }
}

//! A standard output that several processes share: they write whole lines of any length, one process at a
//! time.
//!
//! A writer holds a lock on a file, which the system releases when the process dies. A process that is killed
//! may leave a line cut off. So a process marks the file before a write that could be cut off, and clears the
//! mark afterwards. The next writer that finds the mark writes a newline first.

use net::sync::{Mutex, lock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::files;
use platform::outputs::{RawOutput, WHOLE_IN_A_PIPE};

/// The file's one byte while every line is whole, ...
const WHOLE: u8 = b'0';
/// ... and while one may be cut off.
const CUT_OFF: u8 = b'1';

/// The file that all writers of a shared output lock. It is removed on drop.
pub struct LockFile {
    path: PathBuf,
    /// As long as it is open, cleaners of temporary folders leave the folder alone.
    _folder: Option<File>,
}

impl LockFile {
    /// Creates the file in a new folder that only this user can open.
    ///
    /// # Errors
    /// The system gives no random bytes, or the folder for temporary files takes nothing.
    pub fn create() -> io::Result<LockFile> {
        let folder = format!("point-to-point-output-{}", net::random::hex::<8>()?);
        let folder = std::env::temp_dir().join(folder);
        files::folder_made_private(&mut DirBuilder::new()).create(&folder)?;
        let path = folder.join("lock");
        let file = LockFile { path, _folder: files::keep_from_cleaners(&folder)? };
        let mut options = OpenOptions::new();
        let mut made = files::made_private(options.write(true).create_new(true)).open(&file.path)?;
        made.write_all(&[WHOLE])?;
        Ok(file)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file. Processes that have opened it can go on.
    pub fn remove(&self) {
        remove(&self.path);
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes a lock file and its folder.
pub fn remove(path: &Path) {
    // Another process may have been faster.
    let _ = std::fs::remove_file(path);
    let _ = path.parent().map(std::fs::remove_dir);
}

/// An output that this process shares with other processes, and among its own threads.
pub struct SharedOutput {
    files: Mutex<Files>,
}

struct Files {
    out: RawOutput,
    lock: File,
    /// A pipe takes up to [`WHOLE_IN_A_PIPE`] bytes as a whole or not at all.
    is_pipe: bool,
}

impl SharedOutput {
    /// Opens `out`, which is shared with all processes that lock the file at `lock`.
    ///
    /// # Errors
    /// The file cannot be opened, or the system has no free descriptor.
    pub fn open(out: RawOutput, lock: &Path) -> io::Result<SharedOutput> {
        let is_pipe = out.is_pipe()?;
        let lock = OpenOptions::new().read(true).write(true).open(lock)?;
        Ok(SharedOutput { files: Mutex::new(Files { out, lock, is_pipe }) })
    }

    /// Writes one or more whole lines while no other process writes. The output has taken them when this
    /// returns.
    ///
    /// # Errors
    /// The output takes no more, or the file cannot be locked.
    pub fn print(&self, lines: &[u8]) -> io::Result<()> {
        let files = lock(&self.files);
        loop {
            // The wait for room is without the lock: a process that is frozen in it would block all others.
            files.has_room(None)?;
            retry_interrupted(|| files.lock.lock())?;
            let written = files.has_room(Some(Duration::ZERO)).and_then(|room| {
                if room {
                    files.write(lines)?;
                }
                Ok(room)
            });
            // If this fails, the end of the process releases the lock.
            let _ = files.lock.unlock();
            if written? {
                return Ok(());
            }
        }
    }
}

impl Files {
    /// Waits up to `time` until a write would not block. Returns whether that is so, also where the write
    /// would fail.
    fn has_room(&self, time: Option<Duration>) -> io::Result<bool> {
        retry_interrupted(|| self.out.has_room(time))
    }

    fn write(&self, lines: &[u8]) -> io::Result<()> {
        let mut mark = [WHOLE];
        files::read_exact_at(&self.lock, &mut mark, 0)?;
        let was_cut_off = mark == [CUT_OFF];
        if was_cut_off {
            self.put(b"\n")?;
        }
        let may_be_cut_off = !self.is_pipe || lines.len() > WHOLE_IN_A_PIPE;
        if may_be_cut_off != was_cut_off {
            let mark = [if may_be_cut_off { CUT_OFF } else { WHOLE }];
            files::write_all_at(&self.lock, &mark, 0)?;
        }
        self.put(lines)?;
        if may_be_cut_off { files::write_all_at(&self.lock, &[WHOLE], 0) } else { Ok(()) }
    }

    fn put(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = retry_interrupted(|| match (&self.out).write(bytes) {
                // Another process has set the shared descriptor to non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.has_room(None)?;
                    Err(io::ErrorKind::Interrupted.into())
                }
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            })?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Repeats a system call that a signal interrupts.
fn retry_interrupted<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// As another process has it.
    fn shared(out: &impl AsFd) -> RawOutput {
        RawOutput::of(out.as_fd().try_clone_to_owned().unwrap())
    }

    fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        })
    }

    #[test]
    fn long_lines_of_several_writers_stay_whole() {
        let file = LockFile::create().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let text = read_all(reader);
        thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                // Each opens the file for itself, as processes do.
                let output = SharedOutput::open(shared(&writer), file.path()).unwrap();
                scope.spawn(move || {
                    for length in [1, 5_000, 300_000, 10, 100_000] {
                        output.print(format!("{}\n", name.repeat(length)).as_bytes()).unwrap();
                    }
                });
            }
        });
        drop(writer);
        let text = text.join().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 15);
        for line in lines {
            assert_eq!(line.chars().collect::<BTreeSet<char>>().len(), 1, "a line of two writers");
        }
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended_before_the_next_one_and_only_once() {
        let file = LockFile::create().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let text = read_all(reader);
        let output = SharedOutput::open(shared(&writer), file.path()).unwrap();
        output.print(b"whole\n").unwrap();
        // As a process leaves it that was killed in the middle.
        (&writer).write_all(b"cut o").unwrap();
        std::fs::write(file.path(), [CUT_OFF]).unwrap();
        output.print(b"next\n").unwrap();
        output.print(b"after\n").unwrap();
        drop((output, writer));
        assert_eq!(text.join().unwrap(), "whole\ncut o\nnext\nafter\n");
    }

    #[test]
    fn a_writer_that_waits_for_room_does_not_hold_the_lock() {
        let file = LockFile::create().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let output = SharedOutput::open(shared(&writer), file.path()).unwrap();
        let free = File::open(file.path()).unwrap();
        thread::scope(|scope| {
            let full = &output;
            let printing = scope.spawn(move || (0..100).for_each(|_| full.print(&[b'x'; 4096]).unwrap()));
            // Once the pipe is full it waits, and whoever comes gets the lock.
            while output.files.try_lock().is_ok() || !is_full(&writer) {
                thread::yield_now();
            }
            let deadline = Instant::now() + Duration::from_secs(60);
            while free.try_lock().is_err() {
                assert!(Instant::now() < deadline, "the writer holds the lock");
            }
            free.unlock().unwrap();
            reader.read_exact(&mut vec![0; 100 * 4096]).unwrap();
            printing.join().unwrap();
        });
    }

    fn is_full(pipe: &io::PipeWriter) -> bool {
        !RawOutput::of(pipe.try_clone().unwrap()).has_room(Some(Duration::ZERO)).unwrap()
    }

    #[test]
    fn an_output_that_fails_in_the_middle_of_a_line_leaves_the_mark() {
        let file = LockFile::create().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let output = SharedOutput::open(shared(&writer), file.path()).unwrap();
        let reading = thread::spawn(move || reader.read_exact(&mut [0; 100]).unwrap());
        assert!(output.print(&vec![b'x'; 1_000_000]).is_err());
        reading.join().unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), [CUT_OFF]);
    }

    #[test]
    fn an_output_that_does_not_wait_is_waited_for() {
        use std::os::unix::net::UnixStream;
        let file = LockFile::create().unwrap();
        let (reader, writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let output = SharedOutput::open(shared(&writer), file.path()).unwrap();
        let text = read_all(reader);
        let line = "x".repeat(1_000_000) + "\n";
        output.print(line.as_bytes()).unwrap();
        drop((output, writer));
        assert!(text.join().unwrap() == line);
    }

    #[test]
    fn the_file_and_its_folder_are_removed_in_the_end() {
        let file = LockFile::create().unwrap();
        let folder = file.path().parent().unwrap().to_owned();
        assert!(folder.exists());
        drop(file);
        assert!(!folder.exists());
    }
}

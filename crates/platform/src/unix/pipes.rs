//! The ends of pipes to other programs, which never wait, and the wait for several of them.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::outputs::RawOutput;
use super::poll_time;

/// The end of a pipe that is read: an error of the kind `WouldBlock` where nothing is there.
#[derive(Debug)]
pub struct ReadPipe(File);

/// The end of a pipe that is written: an error of the kind `WouldBlock` where there is no room.
#[derive(Debug)]
pub struct WritePipe(File);

/// What wakes a wait: the other end of a [`Woken`].
#[derive(Debug)]
pub struct Waker(PipeWriter);

/// What is ready once its [`Waker`] was used.
#[derive(Debug)]
pub struct Woken(PipeReader);

/// What a wait is for.
#[derive(Debug, Clone, Copy)]
pub enum Interest<'a> {
    /// There is something to read, or the end.
    Readable(&'a ReadPipe),
    /// There is room, or nobody reads any more.
    Writable(&'a WritePipe),
    /// Its waker was used.
    Woken(&'a Woken),
    /// A write to an output would not wait.
    Room(&'a RawOutput),
}

impl ReadPipe {
    /// The end of a pipe of which nobody else has a copy.
    ///
    /// # Errors
    /// The system's.
    pub fn of(pipe: impl Into<OwnedFd>) -> io::Result<ReadPipe> {
        never_waiting(pipe.into()).map(ReadPipe)
    }

    /// Whether no process has its other end any more; something may be there to be read.
    pub fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        let found = poll(&mut polled, PollTimeout::ZERO);
        let is_ended =
            |polled: &PollFd<'_>| polled.revents().is_some_and(|found| found.contains(PollFlags::POLLHUP));
        found.is_ok() && polled.iter().any(is_ended)
    }

    /// All that was written before can be read from now on, up to the next read that finds nothing. On
    /// Windows these reads wait a little for it.
    pub fn settle(&self) {}
}

impl Read for &ReadPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Read for ReadPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl WritePipe {
    /// The end of a pipe of which nobody else has a copy.
    ///
    /// # Errors
    /// The system's.
    pub fn of(pipe: impl Into<OwnedFd>) -> io::Result<WritePipe> {
        never_waiting(pipe.into()).map(WritePipe)
    }
}

impl Write for WritePipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn never_waiting(pipe: OwnedFd) -> io::Result<File> {
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(File::from(pipe))
}

/// Something to wait for that a thread of this process makes ready.
///
/// # Errors
/// The system gives no pipe.
pub fn waker() -> io::Result<(Waker, Woken)> {
    let (woken, waker) = io::pipe()?;
    for end in [woken.as_fd(), waker.as_fd()] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok((Waker(waker), Woken(woken)))
}

impl Waker {
    /// Wakes whoever waits, or the next one who does.
    pub fn wake(&self) {
        // A pipe that is full wakes as well.
        let _ = (&self.0).write(&[0]);
    }
}

impl Woken {
    /// It was seen, and is ready no more.
    pub fn reset(&self) {
        let _ = (&self.0).read(&mut [0; 64]);
    }
}

impl Interest<'_> {
    fn as_fd(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Interest::Readable(pipe) => (pipe.0.as_fd(), PollFlags::POLLIN),
            Interest::Writable(pipe) => (pipe.0.as_fd(), PollFlags::POLLOUT),
            Interest::Woken(woken) => (woken.0.as_fd(), PollFlags::POLLIN),
            Interest::Room(output) => (output.as_fd(), PollFlags::POLLOUT),
        }
    }
}

/// Waits for one of several things, for `time` at most; `None`: without end. Returns which are ready: none
/// when the time is up, or at a signal.
///
/// # Errors
/// The system's.
pub fn wait(interests: &[Interest<'_>], time: Option<Duration>) -> io::Result<Vec<bool>> {
    let polled = interests.iter().map(Interest::as_fd);
    let mut polled: Vec<PollFd<'_>> = polled.map(|(fd, events)| PollFd::new(fd, events)).collect();
    match poll(&mut polled, time.map_or(PollTimeout::NONE, poll_time::at_least)) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(vec![false; interests.len()]),
        Err(error) => return Err(error.into()),
    }
    let is_ready = |polled: &PollFd<'_>| polled.revents().is_some_and(|found| !found.is_empty());
    Ok(polled.iter().map(is_ready).collect())
}

//! Standard output and standard error, as they are shared with other programs.

use std::fs::File;
use std::io::{self, Write};
pub use std::os::fd::AsFd as AsOutput;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::libc::PIPE_BUF;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{files, poll_time};

/// A pipe takes up to so many bytes as a whole or not at all.
pub const WHOLE_IN_A_PIPE: usize = PIPE_BUF;

/// An output of this process, without a buffer.
#[derive(Debug)]
pub struct RawOutput(File);

impl RawOutput {
    /// Standard output.
    ///
    /// # Errors
    /// The system has no free descriptor.
    pub fn stdout() -> io::Result<RawOutput> {
        Ok(RawOutput::of(io::stdout().as_fd().try_clone_to_owned()?))
    }

    /// Standard error.
    ///
    /// # Errors
    /// The system has no free descriptor.
    pub fn stderr() -> io::Result<RawOutput> {
        Ok(RawOutput::of(io::stderr().as_fd().try_clone_to_owned()?))
    }

    /// Something else, such as a pipe.
    pub fn of(output: impl Into<OwnedFd>) -> RawOutput {
        RawOutput(File::from(output.into()))
    }

    /// Whether it is a pipe, see [`WHOLE_IN_A_PIPE`].
    ///
    /// # Errors
    /// The system's.
    pub fn is_pipe(&self) -> io::Result<bool> {
        files::is_pipe(&self.0)
    }

    /// Waits for `time`, `None` without end, until a write would not have to wait. Returns whether that is
    /// so, also where the write would fail. On Windows it is always so, and the write waits.
    ///
    /// # Errors
    /// The system's.
    pub fn has_room(&self, time: Option<Duration>) -> io::Result<bool> {
        let mut room = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
        let time = time.map_or(PollTimeout::NONE, poll_time::at_least);
        Ok(poll(&mut room, time)? > 0)
    }
}

impl AsFd for RawOutput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Write for &RawOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether whoever read an output has gone, where that is known before a write: it is not on Windows.
pub fn is_unread(output: &impl AsOutput) -> bool {
    let mut polled = [PollFd::new(output.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut polled, PollTimeout::ZERO).is_ok()
        && polled.iter().any(|output| output.revents().is_some_and(|found| found.intersects(gone)))
}

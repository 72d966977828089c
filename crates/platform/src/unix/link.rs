//! The connection between a supervisor and its child: a pair of sockets, one of which is the child's standard
//! input. Its end tells each side that the other has ended.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

/// A connection for a child that is not started yet.
#[derive(Debug)]
pub struct Offer(UnixStream);

/// The supervisor's end.
#[derive(Debug)]
pub struct Link(UnixStream);

impl Offer {
    /// A connection for the process that `command` starts. The command has to be dropped after it: it holds
    /// the child's end.
    ///
    /// # Errors
    /// The system gives no socket.
    pub fn to(command: &mut Command) -> io::Result<Offer> {
        let (ours, theirs) = UnixStream::pair()?;
        command.stdin(OwnedFd::from(theirs));
        Ok(Offer(ours))
    }

    /// The connection, once the child is started. On Windows the child is waited for, for ten seconds at
    /// most.
    ///
    /// # Errors
    /// The system's. A child that has ended is none: the connection has ended then, too.
    pub fn accepted_by(self, _child: &mut Child) -> io::Result<Link> {
        Ok(Link(self.0))
    }
}

impl Link {
    /// Another handle on the same connection.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Link> {
        self.0.try_clone().map(Link)
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the supervisor sends to this process, its child. To be called once.
pub fn from_supervisor() -> impl Read {
    io::stdin()
}

/// Sends to the supervisor of this process.
///
/// # Errors
/// It is gone, or there is none.
pub fn send_to_supervisor(bytes: &[u8]) -> io::Result<()> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    File::from(socket).write_all(bytes)
}

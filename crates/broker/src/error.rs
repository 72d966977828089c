//! Errors of starting a broker.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::storage::Cause;

/// An error of starting a broker; its text says what to do.
#[derive(Debug)]
pub enum Error {
    /// The address cannot be listened on.
    Listen {
        /// `embedded.listen`.
        listen: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another process serves this database at another address.
    ServedElsewhere {
        /// `embedded.data_dir`.
        data_dir: PathBuf,
        /// Where that process listens.
        holder: SocketAddr,
        /// `embedded.listen`.
        listen: String,
    },
    /// Another process holds the database, but does not serve it.
    HolderUnresponsive {
        /// `embedded.data_dir`.
        data_dir: PathBuf,
        /// `embedded.listen`.
        listen: String,
    },
    /// Stored bytes are not those that were written.
    Damaged {
        /// `embedded.data_dir`.
        data_dir: PathBuf,
        /// The damage.
        reason: String,
    },
    /// The operating system refuses access to the folder or the database.
    Io {
        /// `embedded.data_dir`.
        data_dir: PathBuf,
        /// The error of the operating system.
        source: Cause,
    },
    /// The store has failed, and cannot be reopened yet.
    StoreFailed {
        /// `embedded.data_dir`.
        data_dir: PathBuf,
        /// The error of the operating system.
        source: Cause,
    },
    /// The system cannot start a thread.
    Thread(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Listen { listen, source } if source.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "embedded.listen: another program listens on {listen}, perhaps a Kafka or the embedded \
                 broker of another folder: stop it, or choose another port, or use it with \
                 kafka.bootstrap_servers"
            ),
            Error::Listen { listen, source } => {
                write!(f, "embedded.listen: cannot listen on {listen}: {source}")
            }
            Error::ServedElsewhere { data_dir, holder, listen } => write!(
                f,
                "embedded.listen: another process serves the database in {} at {holder}, but this one is \
                 set to {listen}: give both the same address, or this one another embedded.data_dir",
                data_dir.display()
            ),
            Error::HolderUnresponsive { data_dir, listen } => write!(
                f,
                "embedded.data_dir: another process has the database in {} open, but does not answer at \
                 {listen}: look for a process that hangs, and end it",
                data_dir.display()
            ),
            Error::Damaged { data_dir, reason } => write!(
                f,
                "embedded.data_dir: the database in {} is damaged: {reason}: put a copy in its place, or \
                 move it away to begin with an empty one",
                data_dir.display()
            ),
            Error::Io { data_dir, source } => write!(
                f,
                "embedded.data_dir: the database in {} cannot be opened: {source}: check the folder, its \
                 owner and the room on the disk",
                data_dir.display()
            ),
            Error::StoreFailed { data_dir, source } => write!(
                f,
                "embedded.data_dir: the database in {} has failed and cannot be reopened yet: {source}: make \
                 room on the disk, or check it",
                data_dir.display()
            ),
            Error::Thread(source) => write!(f, "the embedded broker cannot start a thread: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { source, .. } | Error::Thread(source) => Some(source),
            Error::Io { source, .. } | Error::StoreFailed { source, .. } => Some(&**source),
            Error::ServedElsewhere { .. } | Error::HolderUnresponsive { .. } | Error::Damaged { .. } => None,
        }
    }
}

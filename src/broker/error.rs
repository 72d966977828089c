//! Why a broker cannot start.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a broker cannot start; the text says what to do about it.
#[derive(Debug)]
pub enum Error {
    /// The address cannot be listened on.
    Listen {
        /// `embedded.listen`.
        listen: String,
        /// The operating system's words.
        source: io::Error,
    },
    /// Another process serves this database at another address.
    Elsewhere {
        /// `embedded.data_dir`.
        data_dir: PathBuf,
        /// Where that process listens.
        holder: SocketAddr,
        /// `embedded.listen`.
        listen: String,
    },
    /// Another process has the database, and nobody serves it.
    Silent {
        /// `embedded.data_dir`.
        data_dir: PathBuf,
        /// `embedded.listen`.
        listen: String,
    },
    /// The bytes of the database are not those that were written.
    Damaged {
        /// `embedded.data_dir`.
        data_dir: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// The operating system does not let us use the folder or the database.
    Io {
        /// `embedded.data_dir`.
        data_dir: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// The operating system gives no thread.
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
            Error::Elsewhere { data_dir, holder, listen } => write!(
                f,
                "embedded.listen: another process serves the database in {} at {holder}, but this one is \
                 set to {listen}: give both the same address, or this one another embedded.data_dir",
                data_dir.display()
            ),
            Error::Silent { data_dir, listen } => write!(
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
            Error::Io { data_dir, reason } => write!(
                f,
                "embedded.data_dir: the database in {} cannot be opened: {reason}: check the folder, its \
                 owner and the room on the disk",
                data_dir.display()
            ),
            Error::Thread(source) => write!(f, "the embedded broker gets no thread: {source}"),
        }
    }
}

impl std::error::Error for Error {}

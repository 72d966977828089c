//! Errors of the store.

use std::error::Error;
use std::fmt;
use std::io;

use protocol::error_code::ErrorCode;
use protocol::wire::Malformed;

/// The cause of an error.
pub type Cause = Box<dyn Error + Send + Sync>;

/// An error of the store.
#[derive(Debug)]
pub(super) enum StorageError {
    /// Stored bytes are not those that were written; other places may be in order.
    Damaged(String),
    /// An error of the operating system.
    Failed(Cause),
    /// This process has no file descriptors left, which says nothing of the disk.
    NoDescriptors(Cause),
}

impl StorageError {
    /// Whether the disk has failed, and with it the store.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, StorageError::Failed(_))
    }

    /// Whether the disk has no room.
    pub(super) fn is_no_room(&self) -> bool {
        let StorageError::Failed(cause) = self else { return false };
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        cause.downcast_ref::<io::Error>().is_some_and(|error| full.contains(&error.kind()))
    }

    /// Whether a file is not there.
    pub(super) fn is_missing_file(&self) -> bool {
        let StorageError::Failed(cause) = self else { return false };
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// The error code in the response to a read.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            StorageError::Damaged(_) => ErrorCode::CORRUPT_MESSAGE,
            StorageError::Failed(_) | StorageError::NoDescriptors(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::Damaged(what) => f.write_str(what),
            StorageError::Failed(cause) | StorageError::NoDescriptors(cause) => write!(f, "{cause}"),
        }
    }
}

impl Error for StorageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StorageError::Damaged(_) => None,
            StorageError::Failed(cause) | StorageError::NoDescriptors(cause) => Some(&**cause),
        }
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> StorageError {
        match error.kind() {
            // A file is shorter than what was written to it.
            io::ErrorKind::UnexpectedEof => StorageError::Damaged("the file ends too early".to_owned()),
            _ if net::descriptors::are_used_up(&error) => StorageError::NoDescriptors(error.into()),
            _ => StorageError::Failed(error.into()),
        }
    }
}

impl From<Malformed> for StorageError {
    fn from(error: Malformed) -> StorageError {
        StorageError::Damaged(error.to_string())
    }
}

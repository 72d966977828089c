//! Errors of the database.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use protocol::error_code::ErrorCode;
use protocol::wire::Malformed;

/// The cause of an error.
pub type Cause = Box<dyn Error + Send + Sync>;

/// An error of the database.
#[derive(Debug)]
pub(super) enum StorageError {
    /// Stored bytes are not those that were written; other places may be in order.
    Damaged(String),
    /// An error of the operating system, after which redb refuses every further operation.
    Failed(Cause),
}

impl StorageError {
    /// The error code in the response to a read.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            StorageError::Damaged(_) => ErrorCode::CORRUPT_MESSAGE,
            StorageError::Failed(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::Damaged(what) => f.write_str(what),
            StorageError::Failed(cause) => write!(f, "{cause}"),
        }
    }
}

impl Error for StorageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StorageError::Damaged(_) => None,
            StorageError::Failed(cause) => Some(&**cause),
        }
    }
}

impl From<redb::Error> for StorageError {
    fn from(error: redb::Error) -> StorageError {
        match error {
            redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                StorageError::Failed(error.into())
            }
            _ => StorageError::Damaged(error.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for StorageError {
            fn from(error: redb::$error) -> StorageError {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_redb!(StorageError, TableError, TransactionError, CommitError, SetDurabilityError);

impl From<Malformed> for StorageError {
    fn from(error: Malformed) -> StorageError {
        StorageError::Damaged(error.to_string())
    }
}

/// Runs `work`. A panic counts as damage, since redb trusts the bytes that it reads.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(StorageError::Damaged(panic_text(&*panic))))
}

/// The message of a panic.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    format!("the database panicked: {}", text.unwrap_or("no message"))
}

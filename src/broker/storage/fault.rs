//! Why the database did not do what it was asked.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::protocol::error_code::ErrorCode;
use crate::protocol::wire::Malformed;

/// Why the database did not do what it was asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// What was read is not what was written; other places may be in order.
    Damaged(String),
    /// The operating system refused something: from here on, redb refuses everything.
    Failed(String),
}

impl Fault {
    /// The code for whoever wanted to read.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Fault::Damaged(_) => ErrorCode::CORRUPT_MESSAGE,
            Fault::Failed(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Damaged(what) | Fault::Failed(what) => f.write_str(what),
        }
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Fault {
        match error {
            redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                Fault::Failed(error.to_string())
            }
            _ => Fault::Damaged(error.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Fault {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_redb!(StorageError, TableError, TransactionError, CommitError, SetDurabilityError);

impl From<Malformed> for Fault {
    fn from(error: Malformed) -> Fault {
        Fault::Damaged(error.to_string())
    }
}

/// Does `work`; a panic in it is damage too: redb takes what it reads for granted.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Fault::Damaged(panic_text(&*panic))))
}

/// What a panic says.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    format!("the database gave up: {}", text.unwrap_or("without a word"))
}

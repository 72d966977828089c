//! Errors of opening a store.

use std::fmt;

use super::error::{Cause, StorageError};

/// Errors of opening a store.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    Locked,
    /// The bytes of the database are not those that were written.
    Damaged(String),
    /// The folder holds something else: the folder and why. Nothing is written into it.
    Foreign(String),
    /// An error of the operating system.
    Io {
        /// The path and the operation; empty if the cause names them.
        context: String,
        /// The error of the operating system or of the database.
        cause: Cause,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked => f.write_str("another process has the database open"),
            OpenError::Damaged(what) => write!(
                f,
                "the database is damaged: {what}. Check the disk, and restore the file from a copy or remove it"
            ),
            OpenError::Foreign(why) => f.write_str(why),
            OpenError::Io { context, cause } if context.is_empty() => write!(f, "{cause}"),
            OpenError::Io { context, cause } => write!(f, "{context}: {cause}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { cause, .. } => Some(&**cause),
            OpenError::Locked | OpenError::Damaged(_) | OpenError::Foreign(_) => None,
        }
    }
}

impl OpenError {
    pub(crate) fn io(cause: impl Into<Cause>) -> OpenError {
        OpenError::io_at(String::new(), cause)
    }

    pub(crate) fn io_at(context: impl Into<String>, cause: impl Into<Cause>) -> OpenError {
        OpenError::Io { context: context.into(), cause: cause.into() }
    }

    /// The same, which names the store.
    pub(super) fn at(self, store: &str) -> OpenError {
        match self {
            OpenError::Damaged(what) => OpenError::Damaged(format!("{store}: {what}")),
            OpenError::Io { context, cause } if context.is_empty() => OpenError::io_at(store, cause),
            other => other,
        }
    }

    /// Whether it says nothing of the disk: this process has no descriptors left, or no rights.
    pub(crate) fn is_of_this_process(&self) -> bool {
        let OpenError::Io { cause, .. } = self else { return false };
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| {
            net::descriptors::are_used_up(error) || error.kind() == std::io::ErrorKind::PermissionDenied
        })
    }
}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> OpenError {
        match error {
            StorageError::Damaged(what) => OpenError::Damaged(what),
            StorageError::Failed(cause) | StorageError::NoDescriptors(cause) => OpenError::io(cause),
        }
    }
}

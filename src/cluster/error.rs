//! What can go wrong between this process and a Kafka cluster.

use std::fmt;

use crate::protocol::error_code::ErrorCode;

/// The result of a call to the cluster.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call. The variants tell whether the request may have had an effect: see [`Error::maybe_sent`].
#[derive(Debug, Clone)]
pub enum Error {
    /// No connection could be made, or it failed before the first byte of the request was written.
    Unreachable {
        /// `host:port`, or all bootstrap servers.
        address: String,
        /// The operating system's words.
        reason: String,
    },
    /// The connection failed, or its deadline passed, after bytes of the request may have been written.
    Lost {
        /// `host:port` of the broker.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The broker does not speak the version of a request that this client needs (Kafka 2.8 to 4.x do).
    Unsupported {
        /// `host:port` of the broker.
        address: String,
        /// The request's name, the version needed and the range offered.
        reason: String,
    },
    /// The broker refused the request with an error code of the protocol.
    Refused {
        /// What was asked: the request, its topic, partition or group.
        what: String,
        /// The protocol's error code.
        code: ErrorCode,
    },
    /// The owner of the call withdrew it, for example because the process stops.
    Cancelled,
}

impl Error {
    /// Whether the cluster may have acted on the request: the answer did not arrive, or could not be read.
    pub fn maybe_sent(&self) -> bool {
        matches!(self, Error::Lost { .. } | Error::Cancelled)
    }

    /// The protocol's error code, where the broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the broker refused for good: the same request will not succeed later.
    pub fn is_lasting(&self) -> bool {
        self.code().is_some_and(|code| !code.is_retriable())
    }

    /// A refusal of `what` with `code`.
    pub fn refused(what: impl Into<String>, code: ErrorCode) -> Error {
        Error::Refused { what: what.into(), code }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable { address, reason } => write!(f, "cannot reach {address}: {reason}"),
            Error::Lost { address, reason } => write!(f, "lost {address}: {reason}"),
            Error::Unsupported { address, reason } => write!(f, "{address} is no Kafka 2.8 to 4.x: {reason}"),
            Error::Refused { what, code } => write!(f, "{what}: {} ({})", code.name(), code.0),
            Error::Cancelled => write!(f, "withdrawn"),
        }
    }
}

impl std::error::Error for Error {}

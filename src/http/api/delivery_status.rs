//! The delivery report of a message as an HTTP status: the same on every route.

use std::sync::Arc;

use crate::http::response::Response;
use crate::ids::RequestId;
use crate::logging::NOT_STORED;
use crate::producer::{DeliveryReport, NotStoredKind, SubmitError};

/// The place at which a message is stored, or why it is not known to be stored.
pub(crate) type DeliveryStatus = Result<StoredAt, DeliveryFailure>;

/// The place at which a message is stored.
pub(crate) struct StoredAt {
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// The partition.
    pub(crate) partition: i32,
    /// The message's offset.
    pub(crate) offset: i64,
}

/// Whether a message that failed may be stored all the same, and whether to send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// It is not stored; another try may succeed.
    Retriable,
    /// It is not stored; another try would fail as well.
    Permanent,
    /// It may or may not be stored.
    Unknown,
}

/// A message that is not stored, though another try may store it.
const RETRIABLE: (FailureKind, u16) = (FailureKind::Retriable, 503);
/// A message that is larger than its topic or the producer takes.
const TOO_LARGE: (FailureKind, u16) = (FailureKind::Permanent, 413);
/// A message that a broker refuses for good.
const REFUSED: (FailureKind, u16) = (FailureKind::Permanent, 502);

/// The failure of a delivery: the message is not stored, or that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryFailure {
    /// Whether the message may be stored, and whether to try again.
    pub(crate) kind: FailureKind,
    /// The HTTP status of a response about this message alone.
    pub(crate) status: u16,
    /// The error code of REST proxies, see [`Response::error_numbered`].
    pub(crate) number: u32,
    /// The error's code, a word for programs.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) sentence: String,
}

impl DeliveryFailure {
    /// The response about this message alone.
    pub(crate) fn response(&self) -> Response {
        Response::error_numbered(self.status, self.number, self.code, &self.sentence)
    }

    fn not_stored((kind, status): (FailureKind, u16), code: &'static str, reason: &str) -> DeliveryFailure {
        let sentence = format!("The message was not stored: {reason}.");
        DeliveryFailure { kind, status, number: status.into(), code, sentence }
    }

    fn unknown(reason: &str) -> DeliveryFailure {
        let sentence = format!("The message may or may not be stored: {reason}.");
        DeliveryFailure { kind: FailureKind::Unknown, status: 504, number: 504, code: "unknown", sentence }
    }
}

impl From<SubmitError> for DeliveryFailure {
    /// The failure of a message that the producer did not take.
    fn from(error: SubmitError) -> DeliveryFailure {
        let (failure, code) = match error {
            SubmitError::QueueFull => (RETRIABLE, "queue_full"),
            SubmitError::Closed => (RETRIABLE, "closing"),
            SubmitError::NoThread => (RETRIABLE, "no_thread"),
            SubmitError::TooLarge { .. } => (TOO_LARGE, NotStoredKind::TooLarge.code()),
        };
        DeliveryFailure::not_stored(failure, code, &error.to_string())
    }
}

/// Logs a message that is not stored or may not be stored; the producer logs stored messages.
pub(crate) fn log_failure(request: &RequestId, delivery: &DeliveryReport) {
    match delivery {
        DeliveryReport::Stored { .. } => {}
        DeliveryReport::NotStored { kind, reason, .. } => {
            log::info!(target: NOT_STORED, "not stored request={request} code={kind}: {reason}");
        }
        DeliveryReport::Unknown { reason } => {
            log::info!(target: NOT_STORED, "fate unknown request={request}: {reason}");
        }
    }
}

/// Logs a message that the producer did not take.
pub(crate) fn log_rejected(request: &RequestId, error: SubmitError) {
    log::info!(target: NOT_STORED, "not stored request={request}: {error}");
}

/// The status of a message that the producer took.
pub(crate) fn of(delivery: DeliveryReport) -> DeliveryStatus {
    match delivery {
        DeliveryReport::Stored { topic, partition, offset } => Ok(StoredAt { topic, partition, offset }),
        DeliveryReport::NotStored { kind, reason, retry } => {
            let failure = match kind {
                _ if retry => RETRIABLE,
                NotStoredKind::TooLarge => TOO_LARGE,
                _ => REFUSED,
            };
            Err(DeliveryFailure::not_stored(failure, kind.code(), &reason))
        }
        DeliveryReport::Unknown { reason } => Err(DeliveryFailure::unknown(&reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_has_its_status() {
        let not_stored = |kind, retry| DeliveryReport::NotStored { kind, reason: "x".to_owned(), retry };
        for (delivery, status) in [
            (not_stored(NotStoredKind::NoLeader, true), 503),
            (not_stored(NotStoredKind::TooLarge, false), 413),
            (not_stored(NotStoredKind::Refused, false), 502),
            (DeliveryReport::Unknown { reason: "x".to_owned() }, 504),
        ] {
            let failure = of(delivery).err().unwrap();
            assert_eq!((failure.status, failure.response().status), (status, status));
        }
        for (error, status) in [
            (SubmitError::QueueFull, 503),
            (SubmitError::Closed, 503),
            (SubmitError::NoThread, 503),
            (SubmitError::TooLarge { limit: 1 }, 413),
        ] {
            assert_eq!(DeliveryFailure::from(error).status, status);
        }
    }
}

//! What became of a message, in HTTP's terms: the same wherever it was posted.

use std::sync::Arc;

use super::answer::Answer;
use crate::channel::sender::{Delivery, SubmitError};
use crate::logging::BURST;
use crate::request_id::RequestId;

/// Where a message is stored.
pub(super) struct Stored {
    /// The topic.
    pub(super) topic: Arc<str>,
    /// The partition.
    pub(super) partition: i32,
    /// The message's own offset in it.
    pub(super) offset: i64,
}

/// Why a message is not stored, or why that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The HTTP status of an answer about this message alone.
    pub(super) status: u16,
    /// The error code of REST proxies, see [`Answer::error_numbered`].
    pub(super) number: u32,
    /// A word for programs.
    pub(super) code: &'static str,
    /// One sentence for people.
    pub(super) sentence: String,
}

/// The status of a message of which nobody knows whether it is stored.
pub(super) const UNKNOWN: u16 = 504;

impl Failure {
    /// The answer about this message alone.
    pub(super) fn answer(&self) -> Answer {
        Answer::error_numbered(self.status, self.number, self.code, &self.sentence)
    }

    fn not_stored(status: u16, code: &'static str, reason: &str) -> Failure {
        let sentence = format!("The message was not stored: {reason}.");
        Failure { status, number: status.into(), code, sentence }
    }
}

impl From<SubmitError> for Failure {
    /// What is said of a message that the channel did not take.
    fn from(error: SubmitError) -> Failure {
        let (status, code) = match error {
            SubmitError::QueueFull => (503, "queue_full"),
            SubmitError::Closed => (503, "closing"),
            SubmitError::NoThread => (503, "no_thread"),
            SubmitError::TooLarge { .. } => (413, "too_large"),
        };
        Failure::not_stored(status, code, &error.to_string())
    }
}

/// One line for a message that is not stored, or not for sure; one that is has its line from the sender.
pub(super) fn log_failure(request: RequestId, delivery: &Delivery) {
    match delivery {
        Delivery::Stored { .. } => {}
        Delivery::NotStored { code, reason, .. } => {
            log::info!(target: BURST, "not stored request={request} code={code}: {reason}");
        }
        Delivery::Unknown { reason } => {
            log::info!(target: BURST, "fate unknown request={request}: {reason}");
        }
    }
}

/// One line for a message that the channel did not take.
pub(super) fn log_not_taken(request: RequestId, error: SubmitError) {
    log::info!(target: BURST, "not stored request={request}: {error}");
}

/// The fate of a message that the channel took.
///
/// # Errors
/// It is not stored, or that is not known.
pub(super) fn of(delivery: Delivery) -> Result<Stored, Failure> {
    match delivery {
        Delivery::Stored { topic, partition, offset } => Ok(Stored { topic, partition, offset }),
        Delivery::NotStored { code, reason, retry } => {
            let status = match code {
                _ if retry => 503,
                "too_large" => 413,
                _ => 502,
            };
            Err(Failure::not_stored(status, code, &reason))
        }
        Delivery::Unknown { reason } => {
            let sentence = format!("The message may or may not be stored: {reason}.");
            Err(Failure { status: UNKNOWN, number: UNKNOWN.into(), code: "unknown", sentence })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fate_has_its_status() {
        let not_stored = |code, retry| Delivery::NotStored { code, reason: "x".to_owned(), retry };
        for (delivery, status) in [
            (not_stored("no_leader", true), 503),
            (not_stored("too_large", false), 413),
            (not_stored("refused", false), 502),
            (Delivery::Unknown { reason: "x".to_owned() }, UNKNOWN),
        ] {
            let failure = of(delivery).err().unwrap();
            assert_eq!((failure.status, failure.answer().status), (status, status));
        }
        for (error, status) in [
            (SubmitError::QueueFull, 503),
            (SubmitError::Closed, 503),
            (SubmitError::NoThread, 503),
            (SubmitError::TooLarge { limit: 1 }, 413),
        ] {
            assert_eq!(Failure::from(error).status, status);
        }
    }
}

//! Answers on their way from the writer.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::protocol::error_code::ErrorCode;

/// How long an answer is waited for: far longer than any disk takes that will answer at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// Something on its way into the database. It is durable, or refused, when [`Pending::wait`] returns.
#[must_use]
pub struct Pending<T>(Receiver<Result<T, ErrorCode>>);

impl<T> Pending<T> {
    /// Waits for the transaction, two minutes at most.
    ///
    /// # Errors
    /// What the store says of this one change, KAFKA_STORAGE_ERROR once the database has failed or was closed, and
    /// REQUEST_TIMED_OUT, after which it may become durable or not.
    pub fn wait(self) -> Result<T, ErrorCode> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(ErrorCode::REQUEST_TIMED_OUT),
            Err(RecvTimeoutError::Disconnected) => Err(ErrorCode::KAFKA_STORAGE_ERROR),
        }
    }
}

/// The other end of a [`Pending`]; dropped, it says KAFKA_STORAGE_ERROR.
pub(super) struct Reply<T>(SyncSender<Result<T, ErrorCode>>);

/// A [`Pending`] and what answers it.
pub(super) fn pending<T>() -> (Reply<T>, Pending<T>) {
    let (sender, receiver) = sync_channel(1);
    (Reply(sender), Pending(receiver))
}

impl<T: Send + 'static> Reply<T> {
    /// Answers. Whoever no longer waits misses it.
    pub(super) fn send(self, result: Result<T, ErrorCode>) {
        let _ = self.0.try_send(result);
    }

    /// Answers when the transaction is durable.
    pub(super) fn once_durable(self, result: Result<T, ErrorCode>) -> Answer {
        Box::new(move || self.send(result))
    }
}

/// What is to be said once the transaction is durable; dropped if it fails.
pub(super) type Answer = Box<dyn FnOnce() + Send>;

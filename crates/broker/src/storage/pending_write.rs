//! A pending write: the caller's handle on a change that the writer has not made durable yet.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use protocol::error_code::ErrorCode;

/// The longest wait for the writer: far longer than a working disk takes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);

/// A change that the writer has not made durable yet. When [`Pending::wait`] returns, it is durable or
/// refused.
#[must_use]
pub struct Pending<T>(Receiver<Result<T, ErrorCode>>);

impl<T> Pending<T> {
    /// Waits for the transaction, two minutes at most.
    ///
    /// # Errors
    /// The error of this one change; KAFKA_STORAGE_ERROR once the database has failed or was closed;
    /// REQUEST_TIMED_OUT, after which the change may still become durable.
    pub fn wait(self) -> Result<T, ErrorCode> {
        match self.0.recv_timeout(WRITE_TIMEOUT) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(ErrorCode::REQUEST_TIMED_OUT),
            Err(RecvTimeoutError::Disconnected) => Err(ErrorCode::KAFKA_STORAGE_ERROR),
        }
    }
}

/// The writer's end of a [`Pending`]; dropped, it answers KAFKA_STORAGE_ERROR.
pub(super) struct Reply<T>(SyncSender<Result<T, ErrorCode>>);

/// A [`Pending`] and its writer's end.
pub(super) fn pending<T>() -> (Reply<T>, Pending<T>) {
    let (sender, receiver) = sync_channel(1);
    (Reply(sender), Pending(receiver))
}

impl<T: Send + 'static> Reply<T> {
    /// Answers; without effect if the caller no longer waits.
    pub(super) fn send(self, result: Result<T, ErrorCode>) {
        let _ = self.0.try_send(result);
    }

    /// Answers when the transaction is durable.
    pub(super) fn once_durable(self, result: Result<T, ErrorCode>) -> Answer {
        Box::new(move || self.send(result))
    }
}

/// Sends an answer once the transaction is durable; dropped if it fails.
pub(super) type Answer = Box<dyn FnOnce() + Send>;

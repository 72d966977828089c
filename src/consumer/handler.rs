//! The interface of handlers, and how they fail.

use std::any::Any;
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::ConsumerRecord;
pub use crate::dead_letters::{FailureCause, StderrTail};
use crate::error::{Error, Result};

/// Handles messages. Any function that takes a [`ConsumerRecord`] and may fail with something that can be
/// shown is a handler: `FnMut(&ConsumerRecord<'_>) -> Result<(), E>`.
///
/// A message is handed to it until it is handled or has failed as often as `[retry]` says, and then becomes a
/// dead letter. Waits between attempts may be days, and hold up nothing but messages with the same key
/// (`consumer.order`). An attempt that takes longer than `consumer.max_processing_ms` has failed: the message
/// is handed out again while the call still runs, and what the call returns then counts no more. A consumer
/// all of whose handlers are in such calls leaves its group until one returns.
///
/// A function that panics has failed at the message, too, and is called again: what it keeps between calls
/// has to bear that.
pub trait Handler {
    /// Called once, when the consumer is a member of the group for the first time.
    ///
    /// # Errors
    /// An error ends the consumer.
    fn joined(&mut self) -> Result<()> {
        Ok(())
    }

    /// Handles one message, which is done with `Ok`, and committed as such. It is JSON, unless
    /// `consumer.payload` is `"any"`: then its value may be any bytes, or null.
    ///
    /// # Errors
    /// See [`Failure`].
    fn handle(&mut self, message: &ConsumerRecord<'_>) -> Result<(), Failure>;

    /// The most messages that [`Handler::handle_batch`] takes at a time.
    fn batch(&self) -> usize {
        1
    }

    /// Handles several messages, and gives the outcome of each, in their order.
    fn handle_batch(&mut self, messages: &[ConsumerRecord<'_>]) -> Vec<Result<(), Failure>> {
        messages.iter().map(|message| self.handle(message)).collect()
    }

    /// Called instead of [`Handler::handle`] for a message that is not JSON, before it becomes a dead letter;
    /// never where `consumer.payload` is `"any"`.
    ///
    /// # Errors
    /// An error ends the consumer; the message is neither a dead letter nor committed.
    fn not_json(&mut self, message: &ConsumerRecord<'_>) -> Result<()> {
        let _ = message;
        Ok(())
    }
}

impl<F, E> Handler for F
where
    F: FnMut(&ConsumerRecord<'_>) -> Result<(), E>,
    E: Display,
{
    fn handle(&mut self, message: &ConsumerRecord<'_>) -> Result<(), Failure> {
        // Otherwise a message that causes a panic would end one consumer after the other.
        match catch_unwind(AssertUnwindSafe(|| self(message))) {
            Ok(outcome) => outcome.map_err(|error| Failure::Failed(FailureCause::of(&error))),
            Err(panic) => Err(Failure::Failed(FailureCause::of(&Panicked::with(&*panic)))),
        }
    }
}

/// A handler function panicked. Standard error has the place.
#[derive(Debug)]
struct Panicked(String);

impl Panicked {
    fn with(payload: &(dyn Any + Send)) -> Panicked {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Panicked(text.unwrap_or("no reason given").to_owned())
    }
}

impl Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handler panicked: {}", self.0)
    }
}

/// How a handler fails.
#[derive(Debug)]
pub enum Failure {
    /// The attempt failed: the message is tried again, and becomes a dead letter after the last attempt. While the
    /// consumer pauses because of failures (`consumer.circuit_failures`) it is as [`Failure::TryLater`].
    Failed(FailureCause),
    /// The same, with a wait that the handler chose instead of that of `[retry]`.
    FailedFor {
        /// Why it failed.
        cause: FailureCause,
        /// The wait before the next attempt.
        wait: Duration,
    },
    /// It was not the message's fault: it is tried again, and no attempt is counted.
    TryLater {
        /// Why it was not handled.
        cause: FailureCause,
        /// The wait before the next try; unset: as `[retry]` says.
        wait: Option<Duration>,
    },
    /// No attempt can succeed: the message becomes a dead letter at once.
    Dead(FailureCause),
    /// The worker has died of the message. It is an attempt, and the dead letter says so.
    WorkerDied(FailureCause),
    /// The handler cannot be started, which is no message's fault: the consumer pauses and tries again, and no
    /// attempt is counted.
    NotStarted(FailureCause),
    /// The attempt was cut off because the consumer stops. The message comes again.
    Interrupted,
    /// The handler cannot work any more: the consumer ends, and the message is not committed.
    Broken(Error),
}

impl Failure {
    /// Why it failed.
    pub fn cause(self) -> FailureCause {
        match self {
            Failure::Failed(cause)
            | Failure::FailedFor { cause, .. }
            | Failure::TryLater { cause, .. }
            | Failure::Dead(cause)
            | Failure::WorkerDied(cause)
            | Failure::NotStarted(cause) => cause,
            Failure::Interrupted => FailureCause::of(&"the consumer stops"),
            Failure::Broken(error) => FailureCause::of(&error),
        }
    }

    /// The same with what the handler program wrote on standard error; it stays with a failure that may end
    /// in a dead letter.
    #[must_use]
    pub(super) fn with_stderr(mut self, stderr: Option<StderrTail>) -> Failure {
        match &mut self {
            Failure::Failed(cause)
            | Failure::FailedFor { cause, .. }
            | Failure::TryLater { cause, .. }
            | Failure::Dead(cause)
            | Failure::WorkerDied(cause) => cause.stderr = stderr,
            Failure::NotStarted(_) | Failure::Interrupted | Failure::Broken(_) => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;

    fn second_attempt() -> ConsumerRecord<'static> {
        ConsumerRecord {
            topic: "t",
            partition: 0,
            offset: 0,
            key: None,
            value: Some(b"1"),
            timestamp: None,
            headers: Headers::default(),
            attempt: 2,
        }
    }

    #[test]
    fn a_function_is_a_handler_and_its_errors_keep_their_type() {
        let mut seen = Vec::new();
        let mut handler = |message: &ConsumerRecord<'_>| -> Result<(), std::num::ParseIntError> {
            seen.push(message.attempt);
            "x".parse().map(|_: i32| ())
        };
        let Err(Failure::Failed(cause)) = Handler::handle(&mut handler, &second_attempt()) else {
            panic!("it must fail");
        };
        assert_eq!(cause.kind, "core::num::error::ParseIntError");
        assert_eq!(cause.message, "invalid digit found in string");
        assert_eq!(seen, [2]);
    }
    #[test]
    fn a_function_that_panics_has_failed() {
        let mut calls = 0;
        let mut handler = |_: &ConsumerRecord<'_>| -> Result<(), String> {
            calls += 1;
            match calls {
                1 => panic!("no text"),
                2 => panic!("no text {}", 2),
                3 => std::panic::panic_any(3),
                _ => Ok(()),
            }
        };
        for told in ["no text", "no text 2", "no reason given"] {
            let Err(Failure::Failed(cause)) = Handler::handle(&mut handler, &second_attempt()) else {
                panic!("it must fail");
            };
            assert_eq!(cause.kind, "point_to_point::consumer::handler::Panicked");
            assert_eq!(cause.message, format!("the handler panicked: {told}"));
        }
        assert!(Handler::handle(&mut handler, &second_attempt()).is_ok(), "and it may succeed after that");
    }
}

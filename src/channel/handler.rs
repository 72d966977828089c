//! What is done with a message, and how that can fail.

use std::any::type_name;
use std::fmt::{self, Display};

use super::puller::Received;
use crate::error::{Error, Result};

/// What is done with each message. Any function that takes a [`Received`] and may fail with something that
/// can be shown is one: `FnMut(&Received<'_>) -> Result<(), E>`. A message is handed to it until it is
/// handled or has failed as often as `[retry]` says; all of that has to take less than
/// `consumer.max_processing_ms`.
pub trait Handler {
    /// Called once, when the consumer is a member of the group for the first time.
    ///
    /// # Errors
    /// An error ends the consumer.
    fn joined(&mut self) -> Result<()> {
        Ok(())
    }

    /// Handles one message, which is JSON and is committed afterwards.
    ///
    /// # Errors
    /// See [`Failure`].
    fn handle(&mut self, message: &Received<'_>) -> Result<(), Failure>;

    /// Is shown a message that is no JSON, instead of handling it, before it goes to the dead letters.
    ///
    /// # Errors
    /// An error ends the consumer; the message is neither a dead letter nor committed.
    fn not_json(&mut self, message: &Received<'_>) -> Result<()> {
        let _ = message;
        Ok(())
    }
}

impl<F, E> Handler for F
where
    F: FnMut(&Received<'_>) -> Result<(), E>,
    E: Display,
{
    fn handle(&mut self, message: &Received<'_>) -> Result<(), Failure> {
        self(message).map_err(|error| Failure::Failed(Cause::of(&error)))
    }
}

/// How a handler fails.
#[derive(Debug)]
pub enum Failure {
    /// It may go better the next time: the message is tried again, at last it is a dead letter.
    Failed(Cause),
    /// It was cut off because the consumer stops; the message comes again.
    Interrupted,
    /// The handler is of no more use: the consumer ends, and the message is not committed.
    Broken(Error),
}

/// Why a message could not be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The full name of the error's type.
    pub kind: &'static str,
    /// What the error says.
    pub message: String,
}

impl Cause {
    /// The cause that an error is.
    pub fn of<E: Display>(error: &E) -> Cause {
        Cause { kind: type_name::<E>(), message: error.to_string() }
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::puller::Headers;

    #[test]
    fn a_function_is_a_handler_and_its_errors_keep_their_type() {
        let mut seen = Vec::new();
        let mut handler = |message: &Received<'_>| -> Result<(), std::num::ParseIntError> {
            seen.push(message.attempt);
            "x".parse().map(|_: i32| ())
        };
        let headers = Headers::default();
        let message = Received {
            topic: "t",
            partition: 0,
            offset: 0,
            key: None,
            value: Some(b"1"),
            timestamp: None,
            headers,
            attempt: 2,
        };
        let Err(Failure::Failed(cause)) = Handler::handle(&mut handler, &message) else {
            panic!("it must fail");
        };
        assert_eq!(cause.kind, "core::num::error::ParseIntError");
        assert_eq!(cause.message, "invalid digit found in string");
        assert_eq!(seen, [2]);
    }
}

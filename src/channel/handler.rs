//! What is done with a message, and how that can fail.

use std::any::{Any, type_name};
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::puller::Received;
use crate::error::{Error, Result};

/// What is done with each message. Any function that takes a [`Received`] and may fail with something that
/// can be shown is one: `FnMut(&Received<'_>) -> Result<(), E>`. A message is handed to it until it is
/// handled or has failed as often as `[retry]` says; all of that has to take less than
/// `consumer.max_processing_ms`. A function that panics has failed at the message, too, and is called again: what it
/// keeps between calls has to bear that.
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
        // Otherwise a message that it panics at would end each consumer that it comes to.
        match catch_unwind(AssertUnwindSafe(|| self(message))) {
            Ok(outcome) => outcome.map_err(|error| Failure::Failed(Cause::of(&error))),
            Err(panic) => Err(Failure::Failed(Cause::of(&Panicked::with(&*panic)))),
        }
    }
}

/// A function panicked over a message; standard error says where.
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

    fn second_attempt() -> Received<'static> {
        Received {
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
        let mut handler = |message: &Received<'_>| -> Result<(), std::num::ParseIntError> {
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
        let mut handler = |_: &Received<'_>| -> Result<(), String> {
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
            assert_eq!(cause.kind, "point_to_point::channel::handler::Panicked");
            assert_eq!(cause.message, format!("the handler panicked: {told}"));
        }
        assert!(Handler::handle(&mut handler, &second_attempt()).is_ok(), "and it may succeed after that");
    }
}

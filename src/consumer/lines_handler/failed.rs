//! Why a kept program did not handle a message, and why it is kept no longer.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a kept program did not handle a message.
#[derive(Debug)]
pub enum HandlerFailed {
    /// It answered that it failed, with these words, if any.
    Answered(Option<String>),
    /// It answered nothing for so long, and was killed.
    Silent(Duration),
    /// It ended, or was ended by a signal, before it answered.
    Ended(ExitStatus),
    /// It closed its output before it answered, and was killed.
    OutputClosed,
    /// It was killed for what it wrote.
    Misanswered(String),
    /// It could not be started.
    NotStarted(io::Error),
    /// The system's error at its pipes.
    Lost(io::Error),
    /// It had to be started anew before it came to this message of its batch.
    NotReached,
}

impl fmt::Display for HandlerFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandlerFailed::Answered(Some(words)) => f.write_str(words),
            HandlerFailed::Answered(None) => f.write_str("the handler gave no reason"),
            HandlerFailed::Silent(limit) => {
                write!(f, "the handler gave no answer for {} ms and was killed", limit.as_millis())
            }
            HandlerFailed::Ended(status) => write!(f, "the handler ended with {status} before it answered"),
            HandlerFailed::OutputClosed => {
                f.write_str("the handler closed its standard output before it answered, and was killed")
            }
            HandlerFailed::Misanswered(what) => write!(f, "the handler was killed: {what}"),
            HandlerFailed::NotStarted(error) => write!(f, "the handler cannot be started: {error}"),
            HandlerFailed::Lost(error) => write!(f, "the handler cannot be spoken to: {error}"),
            HandlerFailed::NotReached => {
                f.write_str("the handler ended before it came to this message of its batch")
            }
        }
    }
}

impl std::error::Error for HandlerFailed {}

/// Why a kept program is of no more use.
#[derive(Debug)]
pub enum Trouble {
    /// It has ended. All other kinds of trouble leave a process that is to be killed.
    Ended(ExitStatus),
    /// It closed its output.
    OutputClosed,
    /// It did not answer in time.
    Silent,
    /// It did not answer before the consumer has to stop.
    Interrupted,
    /// It wrote something else than an answer.
    Misanswered(String),
    /// The system's error at its pipes.
    Lost(io::Error),
}

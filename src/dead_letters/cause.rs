//! The reason why a message became a dead letter.

use std::any::type_name;
use std::fmt::{self, Display};

/// The error with which the handling of a message failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureCause {
    /// The full name of the error's type.
    pub kind: &'static str,
    /// The text of the error.
    pub message: String,
    /// What the handler program wrote on standard error meanwhile, if it was one, and wrote anything.
    pub stderr: Option<StderrTail>,
}

/// The last that a handler program wrote on standard error while it had a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StderrTail {
    /// The bytes, 4 KiB at most.
    pub bytes: Vec<u8>,
    /// The messages that the program had at once meanwhile: which of them the bytes are about is not known
    /// where these are several.
    pub messages: usize,
}

impl FailureCause {
    /// The cause with the type and the text of `error`.
    pub fn of<E: Display>(error: &E) -> FailureCause {
        FailureCause { kind: type_name::<E>(), message: error.to_string(), stderr: None }
    }

    /// The same cause with what the handler program wrote on standard error.
    #[must_use]
    pub fn with_stderr(self, stderr: Option<StderrTail>) -> FailureCause {
        FailureCause { stderr, ..self }
    }
}

impl Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a dead letter says of the attempts at its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The last error.
    pub cause: FailureCause,
    /// The attempts.
    pub attempts: u32,
    /// How many of them the worker or the consumer did not survive.
    pub kills: u32,
    /// The errors that are known, the oldest first, each after the number of its attempt.
    pub errors: Vec<String>,
}

impl Verdict {
    /// That of a message which no handler has got.
    pub fn unattempted(cause: FailureCause) -> Verdict {
        Verdict { cause, attempts: 0, kills: 0, errors: Vec::new() }
    }

    /// The same verdict without what the handler program wrote on standard error.
    pub(super) fn without_stderr(&self) -> Verdict {
        Verdict { cause: self.cause.clone().with_stderr(None), ..self.clone() }
    }
}

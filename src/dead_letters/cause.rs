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
}

impl FailureCause {
    /// The cause with the type and the text of `error`.
    pub fn of<E: Display>(error: &E) -> FailureCause {
        FailureCause { kind: type_name::<E>(), message: error.to_string() }
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
}

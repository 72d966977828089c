//! The rights of users.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A right of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Sending messages.
    Send,
    /// Receiving messages; no route needs it yet.
    Receive,
    /// Seeing the page's events, topics and their messages, brokers and metrics.
    Read,
    /// Replaying dead letters, and every other right.
    Admin,
}

impl Right {
    /// All rights.
    pub const ALL: [Right; 4] = [Right::Send, Right::Receive, Right::Read, Right::Admin];
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Right::Send => "send",
            Right::Receive => "receive",
            Right::Read => "read",
            Right::Admin => "admin",
        })
    }
}

impl FromStr for Right {
    type Err = String;

    fn from_str(text: &str) -> Result<Right, String> {
        let found = Right::ALL.into_iter().find(|right| right.to_string() == text);
        found.ok_or_else(|| "the rights are send, receive, read and admin".to_owned())
    }
}

//! The messages between a supervisor and its child. Each is one line of text.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use platform::paths;

/// The supervisor's message that asks a child to stop.
pub const STOP: &str = "stop";
/// The supervisor's message that asks a child to wait for nothing any more.
pub const STOP_AT_ONCE: &str = "stop at once";
/// What the supervisor's message begins with that says what is wrong with the supervisor; with nothing after
/// it, nothing is.
pub const WARNING: &str = "warning ";
/// The supervisor's message that asks whether the child's loop goes round.
pub const ASK: &str = "alive?";

const TERMINAL: &str = "terminal";
const NO_TERMINAL: &str = "file";
const READY: &str = "ready ";
const OUTPUT_FAILED: &str = "broken ";
const MEMBER: &str = "member ";
const ALIVE: &str = "alive";
const STATUS: &str = "status ";

/// The supervisor's first message, with which the child starts. It may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartMessage {
    /// The prefix of each line that the child prints.
    pub prefix: String,
    /// The file that all writers of the shared standard output lock.
    pub lock_file: PathBuf,
    /// Whether that output is a terminal.
    pub on_terminal: bool,
    /// A text for the child's program: it is not interpreted here.
    pub parameters: String,
}

impl StartMessage {
    /// The message's line, without its end.
    pub fn to_line(&self) -> String {
        let lock_file = STANDARD.encode(paths::to_bytes(self.lock_file.as_os_str()));
        let output = if self.on_terminal { TERMINAL } else { NO_TERMINAL };
        format!("{} {lock_file} {output} {}", STANDARD.encode(&self.prefix), self.parameters)
    }

    /// Parses a line of [`StartMessage::to_line`]; `None` for any other text.
    pub fn from_line(line: &str) -> Option<StartMessage> {
        let mut fields = line.splitn(4, ' ');
        let prefix = String::from_utf8(STANDARD.decode(fields.next()?).ok()?).ok()?;
        let lock_file = PathBuf::from(paths::from_bytes(STANDARD.decode(fields.next()?).ok()?)?);
        let on_terminal = match fields.next()? {
            TERMINAL => true,
            NO_TERMINAL => false,
            _ => return None,
        };
        Some(StartMessage { prefix, lock_file, on_terminal, parameters: fields.next()?.to_owned() })
    }
}

/// A message from a child to its supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildMessage {
    /// The child's server accepts connections at this address.
    Ready(SocketAddr),
    /// A write to standard output failed with this error.
    OutputFailed(String),
    /// The child is this member of its group, which has to be taken out of it when the child is killed.
    Member(String),
    /// The child's loop has gone round since it was asked before.
    Alive,
    /// How the child is, a sentence for people.
    Status(String),
}

impl ChildMessage {
    /// Parses a line without its end; `None` for any other text.
    pub fn from_line(line: &[u8]) -> Option<ChildMessage> {
        let line = std::str::from_utf8(line).ok()?;
        if let Some(address) = line.strip_prefix(READY) {
            return address.parse().ok().map(ChildMessage::Ready);
        }
        if let Some(id) = line.strip_prefix(MEMBER) {
            return Some(ChildMessage::Member(id.to_owned()));
        }
        if line == ALIVE {
            return Some(ChildMessage::Alive);
        }
        if let Some(status) = line.strip_prefix(STATUS) {
            return Some(ChildMessage::Status(status.to_owned()));
        }
        line.strip_prefix(OUTPUT_FAILED).map(|reason| ChildMessage::OutputFailed(reason.to_owned()))
    }
}

impl fmt::Display for ChildMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildMessage::Ready(address) => write!(f, "{READY}{address}"),
            ChildMessage::Member(id) => write!(f, "{MEMBER}{}", id.replace('\n', " ")),
            ChildMessage::Alive => f.write_str(ALIVE),
            ChildMessage::Status(status) => write!(f, "{STATUS}{}", status.replace('\n', " ")),
            ChildMessage::OutputFailed(reason) => write!(f, "{OUTPUT_FAILED}{}", reason.replace('\n', " ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_start_message_is_parsed_whatever_is_in_it() {
        let lock_file = PathBuf::from(OsString::from_vec(b"/a b\n\xff/lock".to_vec()));
        let prefix = "\x1b[35ma\x1b[0m | ".to_owned();
        for on_terminal in [true, false] {
            let (prefix, lock_file) = (prefix.clone(), lock_file.clone());
            let message = StartMessage { prefix, lock_file, on_terminal, parameters: "1:7 token".to_owned() };
            let line = message.to_line();
            assert!(!line.contains('\n'));
            assert_eq!(StartMessage::from_line(&line), Some(message));
        }
        for text in
            ["", "what?", "YQ==", "YQ== YQ==", "YQ== YQ== rest", "YQ== YQ== what rest", "? YQ== file rest"]
        {
            assert_eq!(StartMessage::from_line(text), None, "{text}");
        }
    }

    #[test]
    fn a_childs_messages_are_parsed_and_nothing_else() {
        let address = SocketAddr::from(([127, 0, 0, 1], 5000));
        for message in [
            ChildMessage::Ready(address),
            ChildMessage::OutputFailed("Broken pipe (os error 32)".to_owned()),
            ChildMessage::Member("consumer1-0a1b".to_owned()),
            ChildMessage::Alive,
            ChildMessage::Status("not ready: no broker answers".to_owned()),
        ] {
            assert_eq!(ChildMessage::from_line(message.to_string().as_bytes()), Some(message));
        }
        for line in [&b"ready to go"[..], b"Mensaje recibido: 1", b"\xff", b""] {
            assert_eq!(ChildMessage::from_line(line), None);
        }
    }
}

//! What every program that is run for one message gets: the message in its environment and on its standard
//! input. The pipe is filled as the program reads.

use std::io::{self, Write};
use std::process::{ChildStdin, Command};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use platform::pipes::{self, Interest, ReadPipe, WritePipe};

use crate::record::ConsumerRecord;
use crate::record_json;

/// The message's topic, UTF-8.
pub const TOPIC: &str = "POINT_TO_POINT_TOPIC";
/// Its partition.
pub const PARTITION: &str = "POINT_TO_POINT_PARTITION";
/// Its offset.
pub const OFFSET: &str = "POINT_TO_POINT_OFFSET";
/// The number of the attempt, from 1 on.
pub const ATTEMPT: &str = "POINT_TO_POINT_ATTEMPT";
/// Its time, ms since 1970; unset if it has none.
pub const TIMESTAMP: &str = "POINT_TO_POINT_TIMESTAMP";
/// `1` for a null value, where the program gets nothing on its standard input, as for an empty one; else
/// unset.
pub const NULL: &str = "POINT_TO_POINT_NULL";
/// Its key, if it has one that is text: UTF-8 without NUL.
pub const KEY: &str = "POINT_TO_POINT_KEY";
/// Its key in base64 (RFC 4648, with padding), if it has one that is no text.
pub const KEY_BASE64: &str = "POINT_TO_POINT_KEY_BASE64";
/// Its headers in their order, a JSON list of objects: `{"name":"a","value":"text"}`, with `"base64"` instead
/// of `"value"` where the value is not UTF-8; a null value is null.
pub const HEADERS: &str = "POINT_TO_POINT_HEADERS";

/// The intervals of checks whether the program has ended: a wait for a process cannot also hear its pipes,
/// its time limit and the stop without an async runtime. They are this part of the time for which nothing has
/// happened, within these limits: so the end of a program is noticed late by an eighth of its time at most,
/// however short that is, and hundreds that run long cost next to nothing.
const POLL_SHARE: u32 = 8;
const FIRST_POLL_INTERVAL: Duration = Duration::from_millis(1);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Puts all of a message but its value into the environment of a program.
pub fn set_environment(command: &mut Command, message: &ConsumerRecord<'_>) {
    let set = |command: &mut Command, name: &str, value: Option<String>| {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    };
    let text = message.key.and_then(|key| std::str::from_utf8(key).ok()).filter(|key| !key.contains('\0'));
    let binary = message.key.filter(|_| text.is_none());
    set(command, TOPIC, Some(message.topic.to_owned()));
    set(command, PARTITION, Some(message.partition.to_string()));
    set(command, OFFSET, Some(message.offset.to_string()));
    set(command, ATTEMPT, Some(message.attempt.to_string()));
    set(command, NULL, message.value.is_none().then(|| "1".to_owned()));
    set(command, TIMESTAMP, message.timestamp.map(|timestamp| timestamp.to_string()));
    set(command, KEY, text.map(str::to_owned));
    set(command, KEY_BASE64, binary.map(|key| STANDARD.encode(key)));
    let mut headers = Vec::new();
    record_json::write_headers(&mut headers, message.headers);
    set(command, HEADERS, Some(String::from_utf8_lossy(&headers).into_owned()));
}

/// How long to wait before the next look whether a program has ended, after so long without an event.
pub fn look_interval(quiet: Duration) -> Duration {
    (quiet / POLL_SHARE).clamp(FIRST_POLL_INTERVAL, POLL_INTERVAL)
}

/// The input of a program, on a non-blocking pipe.
pub struct ProgramInput<'a> {
    pipe: Option<WritePipe>,
    rest: &'a [u8],
}

impl<'a> ProgramInput<'a> {
    /// The input for one message.
    ///
    /// # Errors
    /// The pipe cannot be made non-blocking.
    pub fn new(pipe: Option<ChildStdin>, value: &'a [u8]) -> io::Result<ProgramInput<'a>> {
        Ok(ProgramInput { pipe: pipe.map(WritePipe::of).transpose()?, rest: value })
    }

    /// Writes as much as fits, and closes the pipe after the last byte. Returns whether any byte was written.
    pub fn write_available(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let before = self.rest.len();
        while !self.rest.is_empty() {
            match pipe.write(self.rest) {
                Ok(written) => self.rest = self.rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The program does not read the rest. Its exit status says whether that is a failure.
                Err(_) => self.rest = &[],
            }
        }
        let written = self.rest.len() < before;
        if self.rest.is_empty() {
            self.pipe = None;
        }
        written
    }
}

/// Waits until the input takes more, until there is something to read, or for `time`, a millisecond at least.
pub fn wait_for_pipes(input: &ProgramInput<'_>, readable: Option<&ReadPipe>, time: Duration) {
    let writable = input.pipe.as_ref().map(Interest::Writable);
    let pipes: Vec<Interest<'_>> = writable.into_iter().chain(readable.map(Interest::Readable)).collect();
    // A signal or an error ends the wait early: the caller checks everything anyway.
    let _ = pipes::wait(&pipes, Some(time.max(FIRST_POLL_INTERVAL)));
}
